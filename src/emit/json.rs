//! nft's JSON, for `nft -j -f`, by the types of the `nftables` crate.
//!
//! Four things the crate (0.6) has no type for, and nft does: maps to verdicts and to interface indices,
//! counters in the declaration of a map or set, keys with the direction of a connection, and elements with a comment but without a `null` counter, which nft
//! 1.0.6 would take for a counter. They stand here as small types of our own around the crate's.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use nftables::expr::{
    BinaryOperation, CT, CTDir, Expression as Expr, Exthdr, Fib, FibFlag, FibResult, JHash, Map,
    Meta, MetaKey, NamedExpression as Named, NgMode, Numgen, Payload, PayloadBase, PayloadField,
    PayloadRaw, Range, SetItem,
};
use nftables::schema::{
    Chain as JsonChain, NfCmd, NfListObject, Rule as JsonRule, Set as JsonSet, SetFlag, SetType,
    SetTypeValue, Table as JsonTable,
};
use nftables::stmt::{
    FWD, FWDFamily, JumpTarget, Mangle, Match, NAT, NATFamily, Operator, Reject, RejectType,
    Set as JsonCount, SetOp, Statement as Stmt, VerdictMap,
};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook, RejectCode};
use serde::Serialize;

use crate::model::{Family, Ports};
use crate::ruleset::{
    Chain, Condition, Data, Element, Expression, Hook, Key, KeyType, Mask, Rule, Ruleset, Set,
    Statement, Table, Target, icmp_word,
};
use crate::source::Span;

use super::data_type;

/// See [`super::text`].
const RANGES_A_COMMAND: usize = 500;

/// Writes the ruleset as a document for `nft -j -f`, which replaces both tables as one transaction and touches
/// no other.
///
/// # Errors
///
/// Those of `to`; [`io::ErrorKind::Unsupported`] where something is [`unsayable`].
pub fn json(ruleset: &Ruleset, to: &mut dyn io::Write) -> io::Result<()> {
    if unsayable(ruleset).is_some() {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    let mut objects = Vec::new();
    let tables = [
        (NfFamily::INet, &ruleset.inet),
        (NfFamily::NetDev, &ruleset.netdev),
    ];
    for (family, _) in tables {
        let place = Place {
            family,
            table: &ruleset.table,
        };
        // `add` first, as `delete` fails where there is nothing to delete.
        objects.push(command(NfCmd::Add(place.whole())));
        objects.push(command(NfCmd::Delete(place.whole())));
    }
    for (family, contents) in tables {
        if let Some(contents) = contents {
            let at = Place {
                family,
                table: &ruleset.table,
            };
            at.table(contents, &mut objects);
        }
    }
    let document = Document { nftables: objects };
    serde_json::to_writer(&mut *to, &document)?;
    to.write_all(b"\n")
}

/// The first statement of the source that nft 1.0.6's JSON has no words for: one that needs a map to which rules add
/// elements.
pub fn unsayable(ruleset: &Ruleset) -> Option<Span> {
    let tables = [&ruleset.inet, &ruleset.netdev].into_iter().flatten();
    let sets = tables.flat_map(|table| &table.sets);
    sets.filter_map(|set| set.dynamic)
        .min_by_key(|span| (span.file, span.start))
}

#[derive(Serialize)]
struct Document<'a> {
    nftables: Vec<Object<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Object<'a> {
    Command(Box<NfCmd<'a>>),
    Added { add: Added<'a> },
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Added<'a> {
    Map(Box<MapDeclaration<'a>>),
    Set(TallyDeclaration<'a>),
    Element(Elements<'a>),
}

fn command(command: NfCmd<'_>) -> Object<'_> {
    Object::Command(Box::new(command))
}

/// A map, as the crate's set with what its map has no room for.
#[derive(Serialize)]
struct MapDeclaration<'a> {
    #[serde(flatten)]
    set: JsonSet<'a>,
    map: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stmt: Option<[CounterDeclaration; 1]>,
}

/// A set in which rules count packets. nft makes it `flags dynamic` by itself, for the sake of these rules; the word
/// 1.0.6 does not know here.
#[derive(Serialize)]
struct TallyDeclaration<'a> {
    family: NfFamily,
    table: &'a str,
    name: &'a str,
    r#type: [&'static str; 2],
    size: u32,
    stmt: [CounterDeclaration; 1],
}

#[derive(Serialize)]
struct CounterDeclaration {
    counter: (),
}

#[derive(Serialize)]
struct Elements<'a> {
    family: NfFamily,
    table: &'a str,
    name: &'a str,
    elem: Vec<ElementValue<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ElementValue<'a> {
    Member(KeyValue<'a>),
    Mapping(KeyValue<'a>, DataValue<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum KeyValue<'a> {
    Plain(Expr<'a>),
    Commented { elem: CommentedKey<'a> },
}

#[derive(Serialize)]
struct CommentedKey<'a> {
    val: Expr<'a>,
    comment: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum DataValue<'a> {
    Plain(Expr<'a>),
    Goto { goto: JumpTarget<'a> },
    Drop { drop: () },
    Return { r#return: () },
}

#[derive(Clone, Copy)]
struct Place<'a> {
    family: NfFamily,
    table: &'a str,
}

impl<'a> Place<'a> {
    fn table(self, table: &'a Table, objects: &mut Vec<Object<'a>>) {
        objects.push(command(NfCmd::Add(self.whole())));
        objects.extend(table.sets.iter().map(|set| self.set(set)));
        // Every chain before any rule: a rule may only jump to a chain that is there.
        let add = |object| command(NfCmd::Add(object));
        objects.extend(table.chains.iter().map(|chain| add(self.chain(chain))));
        for chain in &table.chains {
            objects.extend(chain.rules.iter().map(|rule| add(self.rule(chain, rule))));
        }
        for set in &table.sets {
            let most = if set.interval {
                RANGES_A_COMMAND
            } else {
                usize::MAX
            };
            for elements in set.elements.chunks(most) {
                objects.push(Object::Added {
                    add: Added::Element(Elements {
                        family: self.family,
                        table: self.table,
                        name: &set.name,
                        elem: elements.iter().map(element).collect(),
                    }),
                });
            }
        }
    }

    /// The table itself.
    fn whole(self) -> NfListObject<'a> {
        NfListObject::Table(JsonTable {
            family: self.family,
            name: self.table.into(),
            handle: None,
        })
    }

    fn set(self, set: &'a Set) -> Object<'a> {
        if set.key == KeyType::MarkDirection {
            return Object::Added {
                add: Added::Set(TallyDeclaration {
                    family: self.family,
                    table: self.table,
                    name: &set.name,
                    r#type: ["mark", "ct_dir"],
                    size: set.size,
                    stmt: [CounterDeclaration { counter: () }],
                }),
            };
        }
        let plain = JsonSet {
            family: self.family,
            table: self.table.into(),
            name: (&*set.name).into(),
            handle: None,
            set_type: key_type(set.key),
            policy: None,
            flags: set.interval.then(|| HashSet::from([SetFlag::Interval])),
            elem: None,
            timeout: None,
            gc_interval: None,
            size: Some(set.size),
            comment: None,
        };
        match set.data {
            None => command(NfCmd::Add(NfListObject::Set(Box::new(plain)))),
            Some(data) => Object::Added {
                add: Added::Map(Box::new(MapDeclaration {
                    set: plain,
                    map: data_type(data),
                    stmt: set.counter.then_some([CounterDeclaration { counter: () }]),
                })),
            },
        }
    }

    fn chain(self, chain: &'a Chain) -> NfListObject<'a> {
        let mut json = JsonChain {
            family: self.family,
            table: self.table.into(),
            name: (&*chain.name).into(),
            ..JsonChain::default()
        };
        if let Some(hook) = &chain.hook {
            let (kind, point, priority) = match hook {
                Hook::FilterPrerouting => (NfChainType::Filter, NfHook::Prerouting, -95),
                Hook::FilterOutput => (NfChainType::Filter, NfHook::Output, -95),
                Hook::NatPrerouting => (NfChainType::NAT, NfHook::Prerouting, -100),
                Hook::NatOutput => (NfChainType::NAT, NfHook::Output, -100),
                Hook::NatPostrouting => (NfChainType::NAT, NfHook::Postrouting, 100),
                Hook::FilterInput => (NfChainType::Filter, NfHook::Input, 0),
                Hook::RawPrerouting => (NfChainType::Filter, NfHook::Prerouting, -300),
                Hook::Ingress(_) => (NfChainType::Filter, NfHook::Ingress, 0),
            };
            json._type = Some(kind);
            json.hook = Some(point);
            json.prio = Some(priority);
            json.policy = Some(NfChainPolicy::Accept);
            if let Hook::Ingress(device) = hook {
                json.dev = Some((&**device).into());
            }
        }
        NfListObject::Chain(json)
    }

    fn rule(self, chain: &'a Chain, rule: &'a Rule) -> NfListObject<'a> {
        NfListObject::Rule(JsonRule {
            family: self.family,
            table: self.table.into(),
            chain: (&*chain.name).into(),
            expr: rule.statements.iter().filter_map(statement).collect(),
            handle: None,
            index: None,
            comment: None,
        })
    }
}

fn key_type(key: KeyType) -> SetTypeValue<'static> {
    let address = |family| match family {
        Family::V4 => SetType::Ipv4Addr,
        Family::V6 => SetType::Ipv6Addr,
    };
    match key {
        KeyType::Mark => SetTypeValue::Single(SetType::Mark),
        KeyType::Address(family) => SetTypeValue::Single(address(family)),
        KeyType::AddressProtocol(family) => {
            SetTypeValue::Concatenated(vec![address(family), SetType::InetProto].into())
        }
        KeyType::AddressMark(family) => {
            SetTypeValue::Concatenated(vec![address(family), SetType::Mark].into())
        }
        KeyType::AddressProtocolPort(family) => SetTypeValue::Concatenated(
            vec![address(family), SetType::InetProto, SetType::InetService].into(),
        ),
        // Of dynamic maps, which are unsayable, and of tallies, which have a type of their own.
        KeyType::Fields(_)
        | KeyType::Hashes(_)
        | KeyType::HashesMark(_)
        | KeyType::MarkDirection => SetTypeValue::Concatenated(Vec::new().into()),
    }
}

fn string<'a>(text: impl Into<Cow<'a, str>>) -> Expr<'a> {
    Expr::String(text.into())
}

fn address(address: IpAddr) -> Expr<'static> {
    string(address.to_string())
}

fn element(element: &Element) -> ElementValue<'_> {
    let plain = match element.key {
        Key::Mark(mark) => Expr::Number(mark),
        Key::Address(ip) => address(ip),
        Key::Vip(ip, protocol, ports) => {
            let mut fields = vec![address(ip), string(protocol.name())];
            let number = |port: u16| Expr::Number(port.into());
            match ports {
                Ports::One(port) => fields.push(number(port)),
                Ports::Range(first, last) => fields.push(Expr::Range(Box::new(Range {
                    range: [number(first), number(last)],
                }))),
                Ports::Any => {}
            }
            Expr::Named(Named::Concat(fields))
        }
        Key::AddressMark(ip, mark) => {
            Expr::Named(Named::Concat(vec![address(ip), Expr::Number(mark)]))
        }
    };
    let key = match &element.comment {
        None => KeyValue::Plain(plain),
        Some(comment) => KeyValue::Commented {
            elem: CommentedKey {
                val: plain,
                comment,
            },
        },
    };
    let Some(data) = &element.data else {
        return ElementValue::Member(key);
    };
    let data = match data {
        Data::Mark(mark) => DataValue::Plain(Expr::Number(*mark)),
        Data::Address(ip) => DataValue::Plain(address(*ip)),
        Data::Port(port) => DataValue::Plain(Expr::Number((*port).into())),
        Data::Mac(mac) => DataValue::Plain(string(mac.to_string())),
        Data::Interface(name) => DataValue::Plain(string(&**name)),
        Data::Goto(chain) => DataValue::Goto {
            goto: target(chain),
        },
        Data::Drop => DataValue::Drop { drop: () },
        Data::Return => DataValue::Return { r#return: () },
    };
    ElementValue::Mapping(key, data)
}

fn target(chain: &str) -> JumpTarget<'_> {
    JumpTarget {
        target: chain.into(),
    }
}

fn set_name(name: &str) -> Expr<'static> {
    string(format!("@{name}"))
}

fn equals<'a>(left: Expr<'a>, right: Expr<'a>) -> Stmt<'a> {
    Stmt::Match(Match {
        left,
        right,
        op: Operator::EQ,
    })
}

/// `None`: it is unsayable.
fn statement(statement: &Statement) -> Option<Stmt<'_>> {
    Some(match statement {
        Statement::Update { .. } | Statement::Delete { .. } => return None,
        Statement::Match(wanted) => condition(wanted),
        Statement::Vmap { key, map } => Stmt::VerdictMap(VerdictMap {
            key: expression(key),
            data: set_name(map),
        }),
        Statement::Count { set, key } => Stmt::Set(JsonCount {
            op: SetOp::Add,
            elem: expression(key),
            set: format!("@{set}").into(),
        }),
        Statement::Set { target, value } => Stmt::Mangle(Mangle {
            key: match target {
                Target::CtMark => ct("mark"),
                Target::MetaMark => meta(MetaKey::Mark),
                Target::EtherSource => payload("ether", "saddr"),
                Target::EtherDestination => payload("ether", "daddr"),
            },
            value: expression(value),
        }),
        Statement::Dnat {
            family,
            address,
            port,
        } => Stmt::DNAT(Some(nat(*family, address, port.as_ref()))),
        Statement::Snat { family, address } => Stmt::SNAT(Some(nat(*family, address, None))),
        Statement::Masquerade => Stmt::Masquerade(None),
        Statement::Fwd { device } => Stmt::FWD(Some(FWD {
            dev: Some(expression(device)),
            family: None,
            addr: None,
        })),
        Statement::FwdNeighbour {
            family,
            address,
            device,
        } => Stmt::FWD(Some(FWD {
            dev: Some(expression(device)),
            family: Some(match family {
                Family::V4 => FWDFamily::IP,
                Family::V6 => FWDFamily::IP6,
            }),
            addr: Some(expression(address)),
        })),
        Statement::RejectTcpReset => {
            Stmt::Reject(Some(Reject::new(Some(RejectType::TCPReset), None)))
        }
        Statement::RejectPortUnreachable => Stmt::Reject(Some(Reject::new(
            Some(RejectType::ICMPX),
            Some(RejectCode::PortUnreach),
        ))),
        Statement::Accept => Stmt::Accept(None),
        Statement::Drop => Stmt::Drop(None),
        Statement::Goto(chain) => Stmt::Goto(target(chain)),
        Statement::Jump(chain) => Stmt::Jump(target(chain)),
        Statement::Return => Stmt::Return(None),
    })
}

fn nat<'a>(family: Family, address: &'a Expression, port: Option<&'a Expression>) -> NAT<'a> {
    NAT {
        addr: Some(expression(address)),
        family: Some(match family {
            Family::V4 => NATFamily::IP,
            Family::V6 => NATFamily::IP6,
        }),
        port: port.map(expression),
        flags: None,
    }
}

fn condition(condition: &Condition) -> Stmt<'_> {
    match condition {
        Condition::InSet(key, set) => equals(expression(key), set_name(set)),
        Condition::MarkIs(left, mark) => equals(expression(left), Expr::Number(*mark)),
        Condition::TransportIs(offset, value) => {
            equals(transport(*offset, 8), Expr::Number((*value).into()))
        }
        Condition::IcmpType(family, number) => {
            let protocol = match family {
                Family::V4 => "icmp",
                Family::V6 => "icmpv6",
            };
            let word = string(icmp_word(*family, *number));
            equals(payload(protocol, "type"), word)
        }
        Condition::LaterFragment(family) => {
            let offset = match family {
                Family::V4 => Expr::BinaryOperation(Box::new(BinaryOperation::AND(
                    payload("ip", "frag-off"),
                    Expr::Number(0x1fff),
                ))),
                Family::V6 => Expr::Named(Named::Exthdr(Exthdr {
                    name: "frag".into(),
                    field: Some("frag-off".into()),
                    offset: None,
                })),
            };
            Stmt::Match(Match {
                left: offset,
                right: Expr::Number(0),
                op: Operator::NEQ,
            })
        }
        Condition::TcpSyn => {
            let flags = ["fin", "syn", "rst", "ack"].map(string).into();
            let flags = BinaryOperation::AND(payload("tcp", "flags"), Expr::List(flags));
            let flags = Expr::BinaryOperation(Box::new(flags));
            equals(flags, string("syn"))
        }
        Condition::Protocol(protocol) => equals(meta(MetaKey::L4proto), string(protocol.name())),
        Condition::HasPorts => {
            let protocols = ["tcp", "udp", "sctp"].map(|name| SetItem::Element(string(name)));
            let set = Expr::Named(Named::Set(protocols.into()));
            equals(meta(MetaKey::L4proto), set)
        }
        Condition::Dnatted => has(ct("status"), "dnat"),
        Condition::NewConnection => has(ct("state"), "new"),
        Condition::Marked(mark) => equals(meta(MetaKey::Mark), Expr::Number(*mark)),
        Condition::FromClient => equals(ct("direction"), string("original")),
        Condition::CtMarkFrom(mark) => Stmt::Match(Match {
            left: ct("mark"),
            right: Expr::Number(*mark),
            op: Operator::GEQ,
        }),
        Condition::ForThisHost => equals(meta(MetaKey::Pkttype), string("host")),
        Condition::FromThisHost => equals(
            Expr::Named(Named::Fib(Fib {
                result: FibResult::Type,
                flags: HashSet::from([FibFlag::Saddr]),
            })),
            string("local"),
        ),
    }
}

/// Whether that flag is set.
fn has(flags: Expr<'static>, flag: &'static str) -> Stmt<'static> {
    Stmt::Match(Match {
        left: flags,
        right: string(flag),
        op: Operator::IN,
    })
}

fn meta(key: MetaKey) -> Expr<'static> {
    Expr::Named(Named::Meta(Meta { key }))
}

fn ct(key: &'static str) -> Expr<'static> {
    Expr::Named(Named::CT(CT {
        key: key.into(),
        family: None,
        dir: None,
    }))
}

fn payload(protocol: &'static str, field: &'static str) -> Expr<'static> {
    Expr::Named(Named::Payload(Payload::PayloadField(PayloadField {
        protocol: protocol.into(),
        field: field.into(),
    })))
}

fn transport(offset: u16, length: u16) -> Expr<'static> {
    Expr::Named(Named::Payload(Payload::PayloadRaw(PayloadRaw {
        base: PayloadBase::TH,
        offset: offset.into(),
        len: length.into(),
    })))
}

/// `ip` or `ip6`
const fn protocol(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

fn expression(expression_: &Expression) -> Expr<'_> {
    match expression_ {
        Expression::Mark(mark) => Expr::Number(*mark),
        Expression::CtMark => ct("mark"),
        Expression::CtDirection => ct("direction"),
        Expression::MetaMark => meta(MetaKey::Mark),
        Expression::L4Proto => meta(MetaKey::L4proto),
        Expression::Iif => meta(MetaKey::Iif),
        Expression::Source(family) => payload(protocol(*family), "saddr"),
        Expression::Destination(family) => payload(protocol(*family), "daddr"),
        Expression::OriginalDestination(family) => Expr::Named(Named::CT(CT {
            key: match family {
                Family::V4 => "ip daddr".into(),
                Family::V6 => "ip6 daddr".into(),
            },
            family: None,
            dir: Some(CTDir::Original),
        })),
        Expression::SourcePort => payload("th", "sport"),
        Expression::DestinationPort => payload("th", "dport"),
        Expression::EtherDestination => payload("ether", "daddr"),
        Expression::Transport(offset, length) => transport(*offset, *length),
        Expression::Masked(value, mask) => {
            let mask = match mask {
                Mask::Address(mask) => address(*mask),
                Mask::Mark(mask) | Mask::Packet(mask) => Expr::Number(*mask),
            };
            let both = BinaryOperation::AND(expression(value), mask);
            Expr::BinaryOperation(Box::new(both))
        }
        Expression::Concat(fields) => {
            Expr::Named(Named::Concat(fields.iter().map(expression).collect()))
        }
        Expression::Map(key, map) => Expr::Named(Named::Map(Box::new(Map {
            key: expression(key),
            data: set_name(map),
        }))),
        Expression::Increment { modulus, offset } => numgen(NgMode::Inc, *modulus, *offset),
        Expression::Random { modulus, offset } => numgen(NgMode::Random, *modulus, *offset),
        Expression::Jhash {
            key,
            modulus,
            seed,
            offset,
        } => Expr::Named(Named::JHash(JHash {
            hash_mod: *modulus,
            offset: Some(*offset),
            expr: Box::new(expression(key)),
            seed: Some(*seed),
        })),
    }
}

fn numgen(mode: NgMode, modulus: u32, offset: u32) -> Expr<'static> {
    Expr::Named(Named::Numgen(Numgen {
        mode,
        ng_mod: modulus,
        offset: Some(offset),
    }))
}
