//! Rules in nft's JSON.

use std::collections::HashSet;

use nftables::expr::{
    BinaryOperation, CT, CTDir, Expression as Expr, Exthdr, Fib, FibFlag, FibResult, JHash, Map,
    Meta, MetaKey, NamedExpression as Named, NgMode, Numgen, Payload, PayloadBase, PayloadField,
    PayloadRaw, SetItem,
};
use nftables::stmt::{
    FWD, FWDFamily, Mangle, Match, NAT, NATFamily, Operator, Reject, RejectType, Set as JsonCount,
    SetOp, Statement as Stmt, VerdictMap,
};
use nftables::types::RejectCode;

use crate::model::Family;
use crate::ruleset::{
    Condition, Expression, Header, Mask, Statement, Target, Word, chance, icmp_word,
};

use super::{address, string, target};

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

/// A statement as JSON; `None` where JSON cannot say it.
pub(super) fn statement(statement: &Statement) -> Option<Stmt<'_>> {
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
        Statement::SetHopLimit { family, hops } => Stmt::Mangle(Mangle {
            key: match family {
                Family::V4 => payload("ip", "ttl"),
                Family::V6 => payload("ip6", "hoplimit"),
            },
            value: Expr::Number((*hops).into()),
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
        Condition::TcpSyn => equals(begin_or_end(), string("syn")),
        Condition::TcpSynAck => equals(
            begin_or_end(),
            Expr::List(["syn", "ack"].map(string).into()),
        ),
        Condition::Protocol(protocol) => equals(meta(MetaKey::L4proto), string(protocol.name())),
        Condition::HasPorts => {
            let protocols = ["tcp", "udp", "sctp"].map(|name| SetItem::Element(string(name)));
            let set = Expr::Named(Named::Set(protocols.into()));
            equals(meta(MetaKey::L4proto), set)
        }
        Condition::Dnatted => has(ct("status"), "dnat"),
        Condition::NewConnection => has(ct("state"), "new"),
        Condition::InvalidOrNew => Stmt::Match(Match {
            left: ct("state"),
            right: Expr::List(["invalid", "new"].map(string).into()),
            op: Operator::IN,
        }),
        Condition::Followed => has(ct("status"), "confirmed"),
        Condition::Marked(mark) => equals(meta(MetaKey::Mark), Expr::Number(*mark)),
        Condition::FromClient => equals(ct("direction"), string("original")),
        Condition::CtMarkFrom(mark) => Stmt::Match(Match {
            left: ct("mark"),
            right: Expr::Number(*mark),
            op: Operator::GEQ,
        }),
        Condition::ForOthers => Stmt::Match(Match {
            left: meta(MetaKey::Pkttype),
            right: string("host"),
            op: Operator::NEQ,
        }),
        Condition::OneOfPower(power) => {
            let mask = Expr::Number(chance(*power));
            let bits = BinaryOperation::AND(meta(MetaKey::Random), mask);
            equals(Expr::BinaryOperation(Box::new(bits)), Expr::Number(0))
        }
        Condition::FromEthernet => equals(meta(MetaKey::Iiftype), string("ether")),
        Condition::WordIs(left, value) => equals(word(*left), Expr::Number(*value)),
        Condition::WordIsNot(left, value) => Stmt::Match(Match {
            left: word(*left),
            right: Expr::Number(*value),
            op: Operator::NEQ,
        }),
        Condition::FromThisHost => equals(
            Expr::Named(Named::Fib(Fib {
                result: FibResult::Type,
                flags: HashSet::from([FibFlag::Saddr]),
            })),
            string("local"),
        ),
    }
}

/// Whether this flag is set in these.
fn has(flags: Expr<'static>, flag: &'static str) -> Stmt<'static> {
    Stmt::Match(Match {
        left: flags,
        right: string(flag),
        op: Operator::IN,
    })
}

/// The flags of TCP that begin and end a connection.
fn begin_or_end() -> Expr<'static> {
    let flags = ["fin", "syn", "rst", "ack"].map(string).into();
    let flags = BinaryOperation::AND(payload("tcp", "flags"), Expr::List(flags));
    Expr::BinaryOperation(Box::new(flags))
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
    raw(PayloadBase::TH, offset, length)
}

fn word(word: Word) -> Expr<'static> {
    let base = match word.header {
        Header::Link => PayloadBase::LL,
        Header::Network => PayloadBase::NH,
        Header::Transport => PayloadBase::TH,
    };
    let whole = raw(base, word.offset, word.bits.into());
    match word.mask {
        u32::MAX => whole,
        mask => {
            let both = BinaryOperation::AND(whole, Expr::Number(mask));
            Expr::BinaryOperation(Box::new(both))
        }
    }
}

fn raw(base: PayloadBase, offset: u16, length: u16) -> Expr<'static> {
    Expr::Named(Named::Payload(Payload::PayloadRaw(PayloadRaw {
        base,
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
        Expression::SourcePortOf(protocol) => payload(protocol.name(), "sport"),
        Expression::DestinationPort => payload("th", "dport"),
        Expression::DestinationPortOf(protocol) => payload(protocol.name(), "dport"),
        Expression::EtherDestination => payload("ether", "daddr"),
        Expression::Mac(mac) => string(mac.to_string()),
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
