//! nft's JSON, for `nft -j -f`, by the types of the `nftables` crate.
//!
//! Four things the crate (0.6) has no type for, and nft does: maps to verdicts and to interface indices,
//! counters in the declaration of a map or set, keys with the direction of a connection, and elements with a comment but without a `null` counter, which nft
//! 1.0.6 would take for a counter. They stand here as small types of our own around the crate's.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use nftables::expr::{Expression as Expr, NamedExpression as Named, Range};
use nftables::schema::{
    Chain as JsonChain, NfCmd, NfListObject, Rule as JsonRule, Set as JsonSet, SetFlag, SetType,
    SetTypeValue, Table as JsonTable,
};
use nftables::stmt::JumpTarget;
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};
use serde::Serialize;

use crate::model::{Family, Ports};
use crate::ruleset::{Chain, Data, Element, Hook, Key, KeyType, Rule, Ruleset, Set, Table};
use crate::source::Span;

use super::data_type;

mod rule;

/// How many ranges one command may add, as in the text.
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
        let place = InTable {
            family,
            table: &ruleset.table,
        };
        // `add` first, as `delete` fails where there is nothing to delete.
        objects.push(command(NfCmd::Add(place.whole())));
        objects.push(command(NfCmd::Delete(place.whole())));
    }
    for (family, contents) in tables {
        if let Some(contents) = contents {
            let at = InTable {
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
struct InTable<'a> {
    family: NfFamily,
    table: &'a str,
}

impl<'a> InTable<'a> {
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
                Hook::NatPrerouting => (NfChainType::NAT, NfHook::Prerouting, -150),
                Hook::NatOutput => (NfChainType::NAT, NfHook::Output, -150),
                Hook::NatPostrouting => (NfChainType::NAT, NfHook::Postrouting, 50),
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
            expr: rule.statements.iter().filter_map(rule::statement).collect(),
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
        KeyType::AddressPort(family) => {
            SetTypeValue::Concatenated(vec![address(family), SetType::InetService].into())
        }
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

/// The last field of a key.
fn port_field(ports: Ports) -> Option<Expr<'static>> {
    let number = |port: u16| Expr::Number(port.into());
    match ports {
        Ports::One(port) => Some(number(port)),
        Ports::Range(first, last) => Some(Expr::Range(Box::new(Range {
            range: [number(first), number(last)],
        }))),
        Ports::Any => None,
    }
}

fn element(element: &Element) -> ElementValue<'_> {
    let plain = match element.key {
        Key::Mark(mark) => Expr::Number(mark),
        Key::Address(ip) => address(ip),
        Key::Vip(ip, protocol, ports) => {
            let mut fields = vec![address(ip), string(protocol.name())];
            fields.extend(port_field(ports));
            Expr::Named(Named::Concat(fields))
        }
        Key::AddressPorts(ip, ports) => {
            let fields = [address(ip)].into_iter().chain(port_field(ports));
            Expr::Named(Named::Concat(fields.collect()))
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
