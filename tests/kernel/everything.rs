//! A ruleset that uses every construct there is.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use flbc::emit;
use flbc::emit::netlink::{Desired, desired};
use flbc::kernel::{Kernel, Linux};
use flbc::model::{Family, MacAddress, Ports, Prefix, Protocol};
use flbc::ruleset::{
    Chain, Condition, Data, DataType, Element, Expression, Field, Header, Hook, Key, KeyType, Mask,
    Name, Rule, Ruleset, Set, Statement, Table, Target, Word,
};
use flbc::source::{Sources, Span};

use crate::namespace::interface;

/// Sources, and a place in them.
pub(crate) fn source() -> (Sources, Span) {
    let mut sources = Sources::new();
    let text = "service www {}\n".to_owned();
    let file = sources.add("lb.flb", PathBuf::from("."), text);
    let span = Span {
        file,
        start: 8,
        end: 11,
    };
    (sources, span)
}

/// The kernel with interfaces for it, and what is wanted there.
pub(crate) fn wanted() -> (Linux, Desired) {
    interface("eth0");
    interface("eth1");
    let (_, span) = source();
    let mut kernel = Linux::open().expect("a socket");
    let interfaces = kernel.interfaces().expect("interfaces");
    let desired = desired(ruleset(span, "eth0", "eth1"), &interfaces);
    (kernel, desired.expect("all interfaces are there"))
}

/// A ruleset in nft's own language.
pub(crate) fn text(ruleset: &Ruleset, sources: &Sources) -> String {
    let mut bytes = Vec::new();
    emit::text(ruleset, sources, &mut bytes).expect("memory takes it");
    String::from_utf8(bytes).expect("UTF-8")
}

/// A ruleset in nft's JSON.
pub(crate) fn json(ruleset: &Ruleset) -> String {
    let mut bytes = Vec::new();
    emit::json(ruleset, &mut bytes).expect("memory takes it");
    String::from_utf8(bytes).expect("UTF-8")
}

struct Builder {
    span: Span,
}

impl Builder {
    fn element(&self, key: Key, data: Option<Data>) -> Element {
        Element {
            key,
            data,
            comment: None,
            origin: self.span,
        }
    }

    fn named(&self, key: Key, data: Option<Data>, comment: &str) -> Element {
        Element {
            comment: Some(comment.into()),
            ..self.element(key, data)
        }
    }
}

fn set(name: &str, key: KeyType, data: Option<DataType>, elements: Vec<Element>) -> Set {
    Set {
        name: name.into(),
        key,
        data,
        size: 1024,
        members: 0,
        interval: false,
        counter: false,
        dynamic: None,
        purpose: "for a test",
        elements,
    }
}

fn counted(set: Set) -> Set {
    Set {
        counter: true,
        ..set
    }
}

fn ranges(set: Set) -> Set {
    Set {
        interval: true,
        ..set
    }
}

fn chain(name: &str, rules: Vec<Vec<Statement>>) -> Chain {
    Chain {
        name: name.into(),
        hook: None,
        purpose: "for a test",
        rules: rules.into_iter().map(Rule::fixed).collect(),
    }
}

fn word(header: Header, (offset, bits): (u16, u8), mask: u32, value: u32) -> Statement {
    let word = Word {
        header,
        offset,
        bits,
        mask,
    };
    Statement::Match(Condition::WordIs(word, value))
}

fn no_word(header: Header, (offset, bits): (u16, u8), mask: u32, value: u32) -> Statement {
    let word = Word {
        header,
        offset,
        bits,
        mask,
    };
    Statement::Match(Condition::WordIsNot(word, value))
}

fn base(name: &str, hook: Hook, rules: Vec<Vec<Statement>>) -> Chain {
    Chain {
        hook: Some(hook),
        ..chain(name, rules)
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn name(text: &str) -> Name {
    Arc::from(text)
}

fn mapped(key: Expression, map: &str) -> Expression {
    Expression::Map(Box::new(key), name(map))
}

fn set_to(target: Target, value: Expression) -> Statement {
    Statement::Set { target, value }
}

fn vip_key(family: Family) -> Expression {
    Expression::Concat(vec![
        Expression::Destination(family),
        Expression::L4Proto,
        Expression::DestinationPort,
    ])
}

/// A look-up among the ranges of ports of one protocol.
fn ranged(family: Family, protocol: Protocol, map: &str) -> Vec<Statement> {
    let port = Expression::DestinationPortOf(protocol);
    let key = vec![Expression::Destination(family), port];
    vec![vmap(Expression::Concat(key), map)]
}

fn vmap(key: Expression, map: &str) -> Statement {
    Statement::Vmap {
        key,
        map: name(map),
    }
}

fn jhash(family: Family, with_port: bool) -> Expression {
    let key = if with_port {
        Expression::Concat(vec![Expression::Source(family), Expression::SourcePort])
    } else {
        Expression::Source(family)
    };
    Expression::Jhash {
        key: Box::new(key),
        modulus: 251,
        seed: 0x1234,
        offset: 0x0100_0007,
    }
}

fn refuse() -> Chain {
    chain(
        "refuse",
        vec![
            vec![
                Statement::Match(Condition::Protocol(Protocol::Tcp)),
                Statement::RejectTcpReset,
            ],
            vec![Statement::RejectPortUnreachable],
        ],
    )
}

fn goto(chain: &str) -> Statement {
    Statement::Goto(name(chain))
}

/// Both tables. `on` and `via` are interfaces.
pub(crate) fn ruleset(span: Span, on: &str, via: &str) -> Ruleset {
    let builder = Builder { span };
    Ruleset {
        table: "flbc".into(),
        inet: Some(inet(&builder)),
        netdev: Some(netdev(&builder, on, via)),
    }
}

/// A map of prefixes of this length, by the number of their list.
fn access(b: &Builder, family: Family, length: u8, address: IpAddr) -> Set {
    let prefix = Prefix::new(address, length).expect("a length that the family has");
    let key = |list| Key::AddressMark(prefix.address(), list);
    set(
        &format!(
            "access{}_{length}",
            if family == Family::V4 { 4 } else { 6 }
        ),
        KeyType::AddressMark(family),
        Some(DataType::Verdict),
        vec![
            b.element(key(7), Some(Data::Return)),
            b.element(key(8), Some(Data::Goto(name("denied")))),
        ],
    )
}

fn access_chain(mark: &Expression) -> Chain {
    use Family::{V4, V6};
    let look_up = |prefix, map| vec![vmap(Expression::Concat(vec![prefix, mark.clone()]), map)];
    chain(
        "access",
        vec![
            look_up(Expression::Source(V4), "access4_32"),
            look_up(
                Expression::Masked(Box::new(Expression::Source(V4)), Mask::prefix(V4, 24)),
                "access4_24",
            ),
            look_up(Expression::Source(V6), "access6_128"),
            look_up(
                Expression::Masked(Box::new(Expression::Source(V6)), Mask::prefix(V6, 48)),
                "access6_48",
            ),
        ],
    )
}

fn inet(b: &Builder) -> Table {
    use Family::{V4, V6};
    let v4 = address("192.0.2.1");
    let v6 = address("2001:db8::1");
    let mark = |n| Some(Data::Mark(n));
    let to = |chain: &str| Some(Data::Goto(name(chain)));
    let verdicts = Some(DataType::Verdict);
    let sets = vec![
        counted(set(
            "svc4",
            KeyType::AddressProtocolPort(V4),
            verdicts,
            vec![
                b.element(Key::Vip(v4, Protocol::Tcp, Ports::One(80)), to("turn")),
                b.element(
                    Key::Vip(v4, Protocol::Udp, Ports::One(53)),
                    Some(Data::Drop),
                ),
            ],
        )),
        ranges(counted(set(
            "svc4_range_tcp",
            KeyType::AddressPort(V4),
            verdicts,
            vec![
                // The single one first: without an end, nft would take the next key for it.
                b.element(Key::AddressPorts(v4, Ports::One(6001)), to("refuse")),
                b.element(Key::AddressPorts(v4, Ports::Range(5000, 5999)), to("dice")),
            ],
        ))),
        ranges(set(
            "svc6_range_udp",
            KeyType::AddressPort(V6),
            verdicts,
            vec![b.element(Key::AddressPorts(v6, Ports::Range(80, 90)), to("hash6"))],
        )),
        set(
            "answers4",
            KeyType::AddressPort(V4),
            None,
            vec![b.element(Key::AddressPorts(v4, Ports::One(8080)), None)],
        ),
        ranges(set(
            "answers6_range",
            KeyType::AddressPort(V6),
            None,
            vec![b.element(Key::AddressPorts(v6, Ports::Range(80, 90)), None)],
        )),
        set("svc6", KeyType::AddressProtocolPort(V6), verdicts, vec![]),
        set(
            "svc4_any",
            KeyType::AddressProtocol(V4),
            verdicts,
            vec![b.element(Key::Vip(v4, Protocol::Tcp, Ports::Any), to("hash4"))],
        ),
        set("svc6_any", KeyType::AddressProtocol(V6), verdicts, vec![]),
        set(
            "slot",
            KeyType::Mark,
            Some(DataType::Mark),
            vec![
                b.element(Key::Mark(0x0100_0000), mark(1)),
                b.element(Key::Mark(0x0100_0001), mark(2)),
            ],
        ),
        set(
            "server",
            KeyType::Mark,
            None,
            vec![b.named(Key::Mark(1), None, "weight 3, web1 of www")],
        ),
        counted(set(
            "addr4",
            KeyType::Mark,
            Some(DataType::Address(V4)),
            vec![b.named(
                Key::Mark(1),
                Some(Data::Address(address("10.0.0.1"))),
                "web1 of www",
            )],
        )),
        set(
            "addr6p",
            KeyType::Mark,
            Some(DataType::Address(V6)),
            vec![b.element(Key::Mark(2), Some(Data::Address(address("2001:db8::2"))))],
        ),
        set(
            "port",
            KeyType::Mark,
            Some(DataType::Port),
            vec![b.element(Key::Mark(2), Some(Data::Port(8080)))],
        ),
        set(
            "masq",
            KeyType::Mark,
            None,
            vec![b.element(Key::Mark(2), None)],
        ),
        set(
            "vip4",
            KeyType::Address(V4),
            None,
            vec![b.element(Key::Address(v4), None)],
        ),
        set(
            "vip6",
            KeyType::Address(V6),
            None,
            vec![b.element(Key::Address(v6), None)],
        ),
        counted(set("traffic", KeyType::MarkDirection, None, vec![])),
        access(b, V4, 24, v4),
        access(b, V4, 32, v4),
        access(b, V6, 48, v6),
        access(b, V6, 128, v6),
    ];
    let slotted = || goto("slotted");
    let ct_set = |value| set_to(Target::CtMark, value);
    let in_set = |key, set: &str| Statement::Match(Condition::InSet(key, name(set)));
    let chains = vec![
        refuse(),
        chain(
            "translate",
            vec![
                vec![
                    Statement::Match(Condition::HasPorts),
                    Statement::Dnat {
                        family: V6,
                        address: mapped(Expression::CtMark, "addr6p"),
                        port: Some(mapped(Expression::CtMark, "port")),
                    },
                ],
                vec![Statement::Dnat {
                    family: V4,
                    address: mapped(Expression::CtMark, "addr4"),
                    port: None,
                }],
                vec![Statement::Drop],
            ],
        ),
        chain(
            "slotted",
            vec![
                vec![
                    ct_set(mapped(Expression::CtMark, "slot")),
                    goto("translate"),
                ],
                vec![Statement::Drop],
            ],
        ),
        chain(
            "turn",
            vec![vec![
                ct_set(Expression::Increment {
                    modulus: 7,
                    offset: 0x0100_0000,
                }),
                slotted(),
            ]],
        ),
        chain(
            "dice",
            vec![vec![
                ct_set(Expression::Random {
                    modulus: 7,
                    offset: 0x0100_0000,
                }),
                slotted(),
            ]],
        ),
        chain(
            "only",
            vec![vec![ct_set(Expression::Mark(1)), goto("translate")]],
        ),
        chain(
            "denied",
            vec![vec![ct_set(Expression::Mark(0)), Statement::Return]],
        ),
        access_chain(&Expression::CtMark),
        chain(
            "guarded",
            vec![
                vec![ct_set(Expression::Mark(7)), Statement::Jump(name("access"))],
                vec![
                    Statement::Match(Condition::MarkIs(Expression::CtMark, 0)),
                    ct_set(Expression::Mark(8)),
                    goto("translate"),
                ],
            ],
        ),
        chain(
            "balanced",
            vec![vec![
                in_set(Expression::OriginalDestination(V4), "vip4"),
                Statement::Count {
                    set: name("traffic"),
                    key: Expression::Concat(vec![Expression::CtMark, Expression::CtDirection]),
                },
            ]],
        ),
        base(
            "balanced_in",
            Hook::FilterPrerouting,
            vec![
                vec![Statement::Match(Condition::Dnatted), goto("balanced")],
                vec![
                    Statement::Match(Condition::NewConnection),
                    in_set(Expression::Destination(V4), "vip4"),
                    goto("refuse"),
                ],
                vec![Statement::Match(Condition::Followed), Statement::Return],
                vec![Statement::Match(Condition::InvalidOrNew), goto("refuse")],
                vec![Statement::Match(Condition::TcpSynAck), Statement::Return],
                vec![
                    Statement::Match(Condition::Protocol(Protocol::Tcp)),
                    in_set(
                        Expression::Concat(vec![Expression::Source(V4), Expression::SourcePort]),
                        "answers4",
                    ),
                    Statement::Drop,
                ],
                vec![
                    Statement::Match(Condition::Protocol(Protocol::Tcp)),
                    in_set(
                        Expression::Concat(vec![Expression::Source(V6), Expression::SourcePort]),
                        "answers6_range",
                    ),
                    Statement::Drop,
                ],
            ],
        ),
        chain("hash4", vec![vec![ct_set(jhash(V4, true)), slotted()]]),
        chain("hash4s", vec![vec![ct_set(jhash(V4, false)), slotted()]]),
        chain("hash6", vec![vec![ct_set(jhash(V6, true)), slotted()]]),
        chain("hash6s", vec![vec![ct_set(jhash(V6, false)), slotted()]]),
        chain(
            "dispatch",
            vec![
                vec![vmap(vip_key(V4), "svc4")],
                ranged(V4, Protocol::Tcp, "svc4_range_tcp"),
                vec![vmap(
                    Expression::Concat(vec![Expression::Destination(V4), Expression::L4Proto]),
                    "svc4_any",
                )],
                vec![vmap(vip_key(V6), "svc6")],
                ranged(V6, Protocol::Udp, "svc6_range_udp"),
                vec![vmap(
                    Expression::Concat(vec![Expression::Destination(V6), Expression::L4Proto]),
                    "svc6_any",
                )],
            ],
        ),
        chain(
            "source",
            vec![
                vec![in_set(Expression::CtMark, "masq"), Statement::Masquerade],
                vec![Statement::Snat {
                    family: V4,
                    address: mapped(Expression::CtMark, "addr4"),
                }],
                vec![Statement::Snat {
                    family: V6,
                    address: mapped(Expression::CtMark, "addr6p"),
                }],
                vec![
                    in_set(Expression::Source(V4), "vip4"),
                    Statement::Masquerade,
                ],
                vec![
                    in_set(Expression::Source(V6), "vip6"),
                    Statement::Masquerade,
                ],
                vec![
                    Statement::Match(Condition::FromThisHost),
                    Statement::Masquerade,
                ],
            ],
        ),
        base(
            "prerouting",
            Hook::NatPrerouting,
            vec![vec![Statement::Jump(name("dispatch"))]],
        ),
        base(
            "output",
            Hook::NatOutput,
            vec![vec![Statement::Jump(name("dispatch"))]],
        ),
        base(
            "postrouting",
            Hook::NatPostrouting,
            [(V4, "vip4"), (V6, "vip6")]
                .map(|(family, set)| {
                    vec![
                        Statement::Match(Condition::Dnatted),
                        in_set(Expression::OriginalDestination(family), set),
                        goto("source"),
                    ]
                })
                .into(),
        ),
        base(
            "refused",
            Hook::RawPrerouting,
            vec![vec![
                Statement::Match(Condition::Marked(u32::MAX)),
                goto("refuse"),
            ]],
        ),
        base(
            "input",
            Hook::FilterInput,
            vec![vec![
                Statement::Match(Condition::Dnatted),
                Statement::Accept,
            ]],
        ),
    ];
    Table { sets, chains }
}

fn netdev(b: &Builder, on: &str, via: &str) -> Table {
    use Family::{V4, V6};
    let v4 = address("192.0.2.53");
    let v6 = address("2001:db8::53");
    let mac = |last| Some(Data::Mac(MacAddress([2, 0, 0, 0, 0, last])));
    let meta = |map: &str| mapped(Expression::MetaMark, map);
    let neighbour = |family, map: &str, device| Statement::FwdNeighbour {
        family,
        address: meta(map),
        device,
    };
    let sets = vec![
        counted(set(
            "vip4",
            KeyType::AddressProtocolPort(V4),
            Some(DataType::Verdict),
            vec![b.element(
                Key::Vip(v4, Protocol::Udp, Ports::One(53)),
                Some(Data::Goto(name("hash4"))),
            )],
        )),
        counted(set(
            "how",
            KeyType::Mark,
            Some(DataType::Verdict),
            vec![b.element(Key::Mark(1), Some(Data::Goto(name("via4"))))],
        )),
        set(
            "addr4",
            KeyType::Mark,
            Some(DataType::Address(V4)),
            vec![b.element(Key::Mark(1), Some(Data::Address(address("10.0.0.1"))))],
        ),
        set("addr6", KeyType::Mark, Some(DataType::Address(V6)), vec![]),
        set(
            "mac",
            KeyType::Mark,
            Some(DataType::Mac),
            vec![b.element(Key::Mark(2), mac(2))],
        ),
        set(
            "from",
            KeyType::Mark,
            Some(DataType::Mac),
            vec![b.element(Key::Mark(2), mac(3))],
        ),
        set(
            "dev",
            KeyType::Mark,
            Some(DataType::Interface),
            vec![b.element(Key::Mark(1), Some(Data::Interface(via.into())))],
        ),
        set("slot", KeyType::Mark, Some(DataType::Mark), vec![]),
        access(b, V4, 24, v4),
        access(b, V4, 32, v4),
        access(b, V6, 48, v6),
        access(b, V6, 128, v6),
    ];
    let meta_set = |value| set_to(Target::MetaMark, value);
    let given_mac = || set_to(Target::EtherDestination, meta("mac"));
    let chains = vec![
        // What Debian 12's kernel cannot do in this family: reject.
        chain(
            "refuse",
            vec![vec![
                meta_set(Expression::Mark(u32::MAX)),
                Statement::Accept,
            ]],
        ),
        chain("via4", vec![vec![neighbour(V4, "addr4", meta("dev"))]]),
        chain("via6", vec![vec![neighbour(V6, "addr6", meta("dev"))]]),
        chain("back4", vec![vec![neighbour(V4, "addr4", Expression::Iif)]]),
        chain(
            "mac_via",
            vec![vec![
                set_to(Target::EtherSource, meta("from")),
                given_mac(),
                Statement::Fwd {
                    device: meta("dev"),
                },
            ]],
        ),
        chain(
            "mac_back",
            vec![vec![
                set_to(Target::EtherSource, Expression::EtherDestination),
                given_mac(),
                Statement::Fwd {
                    device: Expression::Iif,
                },
            ]],
        ),
        chain(
            "send",
            vec![
                vec![vmap(Expression::MetaMark, "how")],
                vec![Statement::Drop],
            ],
        ),
        chain("slotted", vec![vec![meta_set(meta("slot")), goto("send")]]),
        chain(
            "denied",
            vec![vec![meta_set(Expression::Mark(0)), Statement::Return]],
        ),
        access_chain(&Expression::MetaMark),
        chain(
            "words",
            vec![
                vec![
                    word(Header::Network, (96, 32), u32::MAX, u32::MAX),
                    Statement::Drop,
                ],
                vec![
                    Statement::Match(Condition::OneOfPower(6)),
                    set_to(
                        Target::EtherSource,
                        Expression::Mac(MacAddress([2, 0, 0, 0, 0, 9])),
                    ),
                ],
                vec![
                    word(Header::Network, (64, 32), 0xffff_0000, 0),
                    no_word(Header::Transport, (96, 32), u32::MAX, 7),
                    Statement::SetHopLimit {
                        family: V6,
                        hops: 31,
                    },
                ],
                vec![
                    word(Header::Network, (56, 8), 0xfe, 0x02),
                    Statement::SetHopLimit {
                        family: V4,
                        hops: 127,
                    },
                    Statement::Return,
                ],
            ],
        ),
        chain(
            "quoted",
            vec![
                vec![
                    Statement::Match(Condition::IcmpType(V4, 3)),
                    Statement::Match(Condition::TransportIs(64, 0x45)),
                    goto("send"),
                ],
                vec![Statement::Match(Condition::IcmpType(V6, 2)), goto("send")],
                vec![
                    Statement::Match(Condition::TransportIs(136, 6)),
                    meta_set(Expression::Jhash {
                        key: Box::new(Expression::Masked(
                            Box::new(Expression::Transport(208, 32)),
                            Mask::Packet(0xfff0),
                        )),
                        modulus: u32::MAX,
                        seed: 0x1234,
                        offset: 0,
                    }),
                    vmap(
                        Expression::Concat(vec![Expression::Destination(V4), Expression::MetaMark]),
                        "access4_24",
                    ),
                ],
                vec![
                    Statement::Match(Condition::TcpSyn),
                    meta_set(Expression::Jhash {
                        key: Box::new(Expression::Concat(vec![
                            Expression::Transport(256, 128),
                            Expression::Transport(400, 16),
                        ])),
                        modulus: 251,
                        seed: 0x1234,
                        offset: 0x0100_0007,
                    }),
                    goto("send"),
                ],
            ],
        ),
        chain(
            "guarded",
            vec![vec![
                Statement::Match(Condition::MarkIs(Expression::MetaMark, 0)),
                goto("send"),
            ]],
        ),
        chain(
            "hash4",
            vec![vec![meta_set(jhash(V4, true)), goto("slotted")]],
        ),
        chain(
            "hash6",
            vec![vec![meta_set(jhash(V6, true)), goto("slotted")]],
        ),
        chain(
            "only",
            vec![vec![meta_set(Expression::Mark(1)), goto("send")]],
        ),
        base(
            "on",
            Hook::Ingress(on.into()),
            vec![
                vec![Statement::Match(Condition::ForOthers), Statement::Accept],
                vec![
                    word(Header::Link, (96, 32), 0xff00_0000, 0x8100_0000),
                    Statement::Match(Condition::FromEthernet),
                    no_word(Header::Link, (112, 16), 0x0fff, 0),
                    Statement::Accept,
                ],
                vec![vmap(vip_key(V4), "vip4")],
            ],
        ),
    ];
    Table { sets, chains }
}

/// The constructs for which nft 1.0.6 has no JSON: maps that rules fill, in both tables.
pub(crate) fn remembering(span: Span, on: &str) -> Ruleset {
    let mut inet = remembering_table(span, Target::CtMark);
    let mut inner = std::mem::take(&mut inet.chains);
    let touch = inner[0].rules[0].statements[0].clone();
    inner.push(base(
        "refresh",
        Hook::FilterPrerouting,
        vec![vec![
            Statement::Match(Condition::CtMarkFrom(0x8000_0000)),
            Statement::Match(Condition::FromClient),
            touch.clone(),
        ]],
    ));
    inner.push(base(
        "refresh_output",
        Hook::FilterOutput,
        vec![vec![touch]],
    ));
    inet.chains = inner;
    let mut netdev = remembering_table(span, Target::MetaMark);
    netdev.chains.push(base(
        "on",
        Hook::Ingress(on.into()),
        vec![vec![goto("update0")]],
    ));
    Ruleset {
        table: "flbc".into(),
        inet: Some(inet),
        netdev: Some(netdev),
    }
}

fn remembering_table(span: Span, target: Target) -> Table {
    use Family::{V4, V6};
    let mark = || match target {
        Target::CtMark => Expression::CtMark,
        _ => Expression::MetaMark,
    };
    let masked = |value: Expression, mask| Expression::Masked(Box::new(value), mask);
    let service = || masked(mark(), Mask::Mark(0xffff_f000));
    let prefix4 = || {
        masked(
            Expression::Source(V4),
            Mask::Address(address("255.255.255.0")),
        )
    };
    let prefix6 = || {
        masked(
            Expression::Source(V6),
            Mask::Address(address("ffff:ffff:ffff::")),
        )
    };
    let hashed = |key: Expression, seed| Expression::Jhash {
        key: Box::new(key),
        modulus: u32::MAX,
        seed,
        offset: 0,
    };
    // Both ends in one hash are more than nft 1.0.6 has registers for.
    let client6 = || Expression::Concat(vec![Expression::Source(V6), Expression::SourcePort]);
    let vip6 = || {
        Expression::Concat(vec![
            Expression::Destination(V6),
            Expression::DestinationPort,
        ])
    };
    let remembering = |name: &str, key| Set {
        dynamic: Some(span),
        ..set(name, key, Some(DataType::Mark), vec![])
    };
    let keys: [(&str, KeyType, Vec<Expression>); 4] = [
        (
            "persist4",
            KeyType::Fields(&[Field::Address, Field::Mark]),
            vec![
                Expression::Concat(vec![prefix4(), service()]),
                Expression::Concat(vec![prefix4(), mark()]),
                Expression::Concat(vec![Expression::Source(V4), mark()]),
                Expression::Concat(vec![Expression::Source(V4), Expression::Mark(0x8000_0000)]),
            ],
        ),
        (
            "persist6",
            KeyType::HashesMark(3),
            vec![
                Expression::Concat(vec![
                    hashed(prefix6(), 1),
                    hashed(prefix6(), 2),
                    hashed(prefix6(), 3),
                    service(),
                ]),
                Expression::Concat(vec![
                    hashed(Expression::Source(V6), 1),
                    hashed(Expression::Source(V6), 2),
                    hashed(Expression::Source(V6), 3),
                    mark(),
                ]),
            ],
        ),
        (
            "track4",
            KeyType::Fields(&[Field::Address, Field::Address, Field::Port, Field::Port]),
            vec![Expression::Concat(vec![
                Expression::Source(V4),
                Expression::Destination(V4),
                Expression::SourcePort,
                Expression::DestinationPort,
            ])],
        ),
        (
            "track6",
            KeyType::Hashes(3),
            vec![Expression::Concat(vec![
                hashed(client6(), 1),
                hashed(client6(), 2),
                hashed(vip6(), 3),
            ])],
        ),
    ];
    let mut table = Table::default();
    for (at, (map, kind, keys)) in keys.into_iter().enumerate() {
        table.sets.push(remembering(map, kind));
        let mut rules = Vec::new();
        for key in keys {
            rules.push(vec![Statement::Update {
                map: name(map),
                key: key.clone(),
                timeout: 90_000,
                value: mark(),
            }]);
            rules.push(vec![Statement::Delete {
                map: name(map),
                key: key.clone(),
                value: mark(),
            }]);
            // In the key of a look-up nft takes no constant, and no mask but in the first field.
            let plain =
                |field: &Expression| !matches!(field, Expression::Masked(..) | Expression::Mark(_));
            if matches!(&key, Expression::Concat(fields) if fields.iter().skip(1).all(plain)) {
                rules.push(vec![set_to(target, mapped(key, map))]);
            }
        }
        table.chains.push(chain(&format!("update{at}"), rules));
    }
    table
}
