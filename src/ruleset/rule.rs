//! Rules: what they ask of a packet, what they compute, and what they do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Family, MacAddress, Prefix, Protocol};
use crate::source::Span;

use super::Name;

/// A rule: statements, from left to right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The statements.
    pub statements: Vec<Statement>,
    /// The place in the source that asked for the rule; `None`: every file has it.
    pub origin: Option<Span>,
}

impl Rule {
    /// A rule that every file has.
    pub fn fixed(statements: impl Into<Vec<Statement>>) -> Self {
        Self {
            statements: statements.into(),
            origin: None,
        }
    }

    /// A rule that one place in the source asked for.
    pub fn of(origin: Span, statements: impl Into<Vec<Statement>>) -> Self {
        Self {
            statements: statements.into(),
            origin: Some(origin),
        }
    }
}

/// A statement of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The rule ends here unless this holds.
    Match(Condition),
    /// `KEY vmap @MAP`
    Vmap {
        /// The key.
        key: Expression,
        /// The verdict map.
        map: Name,
    },
    /// `update @MAP { KEY timeout TIMEOUT : VALUE }`: adds an element, or begins the time of one anew, whose value
    /// stays. The rule ends here where the map is full.
    Update {
        /// A dynamic map.
        map: Name,
        /// The key.
        key: Expression,
        /// When the element goes, in seconds.
        timeout: u32,
        /// The value of an element that is added.
        value: Expression,
    },
    /// `delete @MAP { KEY : VALUE }`: removes an element, whatever its value, if it is there.
    Delete {
        /// A dynamic map.
        map: Name,
        /// The key.
        key: Expression,
        /// Any expression of the type of the map's values: nft wants one.
        value: Expression,
    },
    /// `add @SET { KEY }`: counts the packet at its element, which is made by the first. The rule ends here where the
    /// set is full.
    Count {
        /// A set of [`KeyType::MarkDirection`](super::KeyType::MarkDirection).
        set: Name,
        /// The key.
        key: Expression,
    },
    /// `TARGET set VALUE`
    Set {
        /// What is written.
        target: Target,
        /// What it becomes.
        value: Expression,
    },
    /// `ip ttl set HOPS`, `ip6 hoplimit set HOPS`: a constant, as nft cannot subtract.
    SetHopLimit {
        /// Of which protocol.
        family: Family,
        /// How many hops are left.
        hops: u8,
    },
    /// `dnat ip to ADDRESS[ : PORT]`
    Dnat {
        /// The family of `address`.
        family: Family,
        /// The new destination.
        address: Expression,
        /// Its port; without it the port stays. Needs a match of the protocol in the same rule.
        port: Option<Expression>,
    },
    /// `snat ip to ADDRESS`
    Snat {
        /// The family of `address`.
        family: Family,
        /// The new source.
        address: Expression,
    },
    /// `masquerade`
    Masquerade,
    /// `fwd to DEVICE`, the frame as it is.
    Fwd {
        /// The interface.
        device: Expression,
    },
    /// `fwd ip to ADDRESS device DEVICE`, MAC addresses by neighbour table, TTL decremented.
    FwdNeighbour {
        /// The family of `address`.
        family: Family,
        /// The next hop.
        address: Expression,
        /// The interface.
        device: Expression,
    },
    /// `reject with tcp reset`
    RejectTcpReset,
    /// `reject`, with ICMP port unreachable
    RejectPortUnreachable,
    /// `accept`
    Accept,
    /// `drop`
    Drop,
    /// `goto CHAIN`
    Goto(Name),
    /// `jump CHAIN`
    Jump(Name),
    /// `return`
    Return,
}

/// What a rule asks of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `LEFT @SET`
    InSet(Expression, Name),
    /// `ct mark 0x00000000`
    MarkIs(Expression, u32),
    /// `@th,OFFSET,8 0x45`
    TransportIs(u16, u8),
    /// `icmp type destination-unreachable`, by number; in IPv6 `icmpv6 type packet-too-big`
    IcmpType(Family, u8),
    /// `ip frag-off & 0x1fff != 0`, `frag frag-off != 0`: a fragment, and not the first
    LaterFragment(Family),
    /// `tcp flags & (fin | syn | rst | ack) == syn`
    TcpSyn,
    /// `tcp flags & (fin | syn | rst | ack) == syn | ack`
    TcpSynAck,
    /// `meta l4proto tcp`
    Protocol(Protocol),
    /// `meta l4proto { tcp, udp, sctp }`
    HasPorts,
    /// `ct status dnat`
    Dnatted,
    /// `ct state new`
    NewConnection,
    /// `ct state invalid,new`
    InvalidOrNew,
    /// `ct status confirmed`: not the first packet of its connection
    Followed,
    /// `meta mark MARK`
    Marked(u32),
    /// `ct direction original`
    FromClient,
    /// `ct mark >= MARK`
    CtMarkFrom(u32),
    /// `meta pkttype != host`
    ForOthers,
    /// `meta random & 0xfc000000 == 0x00000000`: one packet of so many, which is two to the power of this.
    OneOfPower(u8),
    /// `meta iiftype ether`
    FromEthernet,
    /// `@nh,OFFSET,BITS & MASK == VALUE`: see [`Word`]
    WordIs(Word, u32),
    /// `@nh,OFFSET,BITS & MASK != VALUE`
    WordIsNot(Word, u32),
    /// `fib saddr type local`
    FromThisHost,
}

/// One, two or four bytes of a packet, and which of their bits count.
///
/// The kernel looks at four in nft's main loop, where any other expression is a call: asked of each packet they cost
/// next to nothing. They name no protocol, so that nft asks for none.
///
/// The bits are one run, and a byte in front of it is left out: nft 1.1 lists `@nh,32,32 & 0xfe` as a field of seven bits,
/// which it reads again as one byte, and a mask with gaps as something else that it cannot read or that means another thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Word {
    /// The header that the bytes are in.
    pub header: Header,
    /// The first bit, counted from the start of the header.
    pub offset: u16,
    /// How many bits: 8, 16 or 32.
    pub bits: u8,
    /// The bits that count.
    pub mask: u32,
}

/// A header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Header {
    /// `ll`: Ethernet.
    Link,
    /// `nh`: IPv4 or IPv6.
    Network,
    /// `th`: TCP, UDP, SCTP.
    Transport,
}

/// What a statement can write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `ct mark`
    CtMark,
    /// `meta mark`
    MetaMark,
    /// `ether saddr`
    EtherSource,
    /// `ether daddr`
    EtherDestination,
}

/// Which mark a chain works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkOf {
    /// `ct mark`
    Connection,
    /// `meta mark`
    Packet,
}

impl MarkOf {
    /// The mark, where a rule writes it.
    pub const fn target(self) -> Target {
        match self {
            Self::Connection => Target::CtMark,
            Self::Packet => Target::MetaMark,
        }
    }

    /// The mark, where a rule reads it.
    pub const fn expression(self) -> Expression {
        match self {
            Self::Connection => Expression::CtMark,
            Self::Packet => Expression::MetaMark,
        }
    }
}

/// A value that a rule computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A mark.
    Mark(u32),
    /// `ct mark`
    CtMark,
    /// `ct direction`
    CtDirection,
    /// `meta mark`
    MetaMark,
    /// `meta l4proto`
    L4Proto,
    /// `meta iif`
    Iif,
    /// `ip saddr`, `ip6 saddr`
    Source(Family),
    /// `ip daddr`, `ip6 daddr`
    Destination(Family),
    /// `ct original ip daddr`, `ct original ip6 daddr`
    OriginalDestination(Family),
    /// `th sport`
    SourcePort,
    /// `tcp sport`, which asks for the protocol first
    SourcePortOf(Protocol),
    /// `th dport`
    DestinationPort,
    /// `tcp dport`, which asks for the protocol first
    DestinationPortOf(Protocol),
    /// `ether daddr`
    EtherDestination,
    /// A MAC address.
    Mac(MacAddress),
    /// `@th,OFFSET,LENGTH`: bits counted from the start of the transport header.
    Transport(u16, u16),
    /// `VALUE & MASK`
    Masked(Box<Expression>, Mask),
    /// `A . B`
    Concat(Vec<Expression>),
    /// `KEY map @MAP`
    Map(Box<Expression>, Name),
    /// `numgen inc mod MODULUS offset OFFSET`
    Increment {
        /// How many numbers.
        modulus: u32,
        /// The first.
        offset: u32,
    },
    /// `numgen random mod MODULUS offset OFFSET`
    Random {
        /// How many numbers.
        modulus: u32,
        /// The first.
        offset: u32,
    },
    /// `jhash KEY mod MODULUS seed SEED offset OFFSET`
    Jhash {
        /// What is hashed.
        key: Box<Expression>,
        /// How many numbers.
        modulus: u32,
        /// Never 0, which would mean a new one at each load.
        seed: u32,
        /// The first.
        offset: u32,
    },
}

/// The bits of a random number that are all 0 for one packet of two to this power.
pub(crate) const fn chance(power: u8) -> u32 {
    !(u32::MAX >> power)
}

/// Which bits of a value count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mask {
    /// Those of an address's prefix.
    Address(IpAddr),
    /// Those of a mark.
    Mark(u32),
    /// Those of four bytes of a packet.
    Packet(u32),
}

impl Mask {
    /// The mask that keeps so many leading bits of an address of this family: `255.255.255.0`.
    pub fn prefix(family: Family, length: u8) -> Self {
        let ones = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::BROADCAST),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        };
        Self::Address(Prefix::new(ones, length).map_or(ones, Prefix::address))
    }
}

/// The errors of ICMP that quote the packet they are about: number and nft's word.
#[rustfmt::skip]
pub const fn icmp_errors(family: Family) -> &'static [(u8, &'static str)] {
    match family {
        Family::V4 => &[(3, "destination-unreachable"), (11, "time-exceeded"), (12, "parameter-problem")],
        Family::V6 => &[
            (1, "destination-unreachable"), (2, "packet-too-big"), (3, "time-exceeded"), (4, "parameter-problem"),
        ],
    }
}

/// nft's word for an error of ICMP.
pub(crate) fn icmp_word(family: Family, number: u8) -> &'static str {
    let mut all = icmp_errors(family).iter();
    all.find(|(known, _)| *known == number)
        .map_or("", |(_, word)| word)
}
