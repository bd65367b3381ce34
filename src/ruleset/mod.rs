//! The rules, in memory: tables, sets, chains, elements and rules, as nf_tables knows them.
//!
//! `lower` builds a [`Ruleset`], `emit` writes it as text, JSON or netlink. The types allow what flbc
//! makes and no more, so that an emitter that handles every variant handles every ruleset. Names are
//! made by [`name`], never by an operator's text alone: nothing here needs quoting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::model::{Family, Interface, MacAddress, Ports, Prefix, Protocol};
use crate::source::Span;

pub mod name;

/// Both tables of one compilation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// The name of both tables.
    pub table: Arc<str>,
    /// `inet NAME`, what NAT services need. Without it that table goes away.
    pub inet: Option<Table>,
    /// `netdev NAME`, what direct-return services need. Without it that table goes away.
    pub netdev: Option<Table>,
}

/// The contents of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Sets and maps.
    pub sets: Vec<Set>,
    /// Chains; one that is jumped to stands before the rule that does.
    pub chains: Vec<Chain>,
}

/// The name of a set or chain, shared by all that point to it.
pub type Name = Arc<str>;

/// A named set, or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name, unique in the table.
    pub name: Name,
    /// The fields of its key.
    pub key: KeyType,
    /// What it maps to; `None` for a set.
    pub data: Option<DataType>,
    /// Room for so many elements. Fixed, so that the kernel sizes its hash table once.
    pub size: u32,
    /// Whether keys hold ranges (`flags interval`).
    pub interval: bool,
    /// Whether every element counts its look-ups.
    pub counter: bool,
    /// Where rules add the elements and each of them times out (`flags dynamic,timeout`), the statement that first
    /// asked for it. Such a set has no elements here, and what is in it in the kernel is never compared.
    pub dynamic: Option<Span>,
    /// What it is for, for the reader of the text form.
    pub purpose: &'static str,
    /// Its elements, each key once.
    pub elements: Vec<Element>,
}

/// The type of a set's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `mark`
    Mark,
    /// `ipv4_addr` or `ipv6_addr`
    Address(Family),
    /// `ipv4_addr . inet_proto . inet_service`, or with `ipv6_addr`
    AddressProtocolPort(Family),
    /// `ipv4_addr . inet_proto`, or with `ipv6_addr`
    AddressProtocol(Family),
    /// `ipv4_addr . inet_service`, or with `ipv6_addr`
    AddressPort(Family),
    /// `ipv4_addr . mark`, or with `ipv6_addr`
    AddressMark(Family),
    /// `mark . ct_dir`, of a set to which [`Statement::Count`] adds: `flags dynamic`, and nothing times out.
    MarkDirection,
    /// Fields of a dynamic map's key, 16 bytes in all at most: nft 1.0.6 makes rules that store longer keys wrongly.
    Fields(&'static [Field]),
    /// So many hashes and then a mark, for a dynamic map whose keys would be longer; at most three. A hash has no name
    /// as a type: nft takes an expression of the same type, `typeof numgen inc mod 2 . meta mark`.
    HashesMark(u8),
    /// So many hashes, at most four, otherwise the same.
    Hashes(u8),
}

/// One field of a key, padded to 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `ipv4_addr`
    Address,
    /// `mark`
    Mark,
    /// `inet_service`
    Port,
}

/// The type of a map's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `verdict`
    Verdict,
    /// `mark`
    Mark,
    /// `ipv4_addr` or `ipv6_addr`
    Address(Family),
    /// `inet_service`
    Port,
    /// `ether_addr`
    Mac,
    /// `iface_index`
    Interface,
}

/// One element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The key, of the set's key type.
    pub key: Key,
    /// The value, of the set's data type.
    pub data: Option<Data>,
    /// Which server or service it stands for, kept by the kernel; at most [`MAX_COMMENT`] bytes.
    pub comment: Option<Arc<str>>,
    /// The source that it came from.
    pub origin: Span,
}

/// The longest comment that nft takes, in bytes.
pub const MAX_COMMENT: usize = 127;

/// The key of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A slot's or a server's number.
    Mark(u32),
    /// An address.
    Address(IpAddr),
    /// An address, protocol and port; [`Ports::Any`] where the key has no port.
    Vip(IpAddr, Protocol, Ports),
    /// An address and a port, or a range of ports.
    AddressPorts(IpAddr, Ports),
    /// The lowest address of a prefix, and the number of the list that the prefix is in.
    AddressMark(IpAddr, u32),
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Data {
    /// A slot's or a server's number.
    Mark(u32),
    /// An address.
    Address(IpAddr),
    /// A port.
    Port(u16),
    /// A MAC address.
    Mac(MacAddress),
    /// An interface, by name; the kernel keeps its index.
    Interface(Interface),
    /// `goto CHAIN`
    Goto(Name),
    /// `drop`
    Drop,
    /// `return`
    Return,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name, unique in the table.
    pub name: Name,
    /// Where packets enter it; `None` for a chain that others jump to.
    pub hook: Option<Hook>,
    /// What it is for, for the reader of the text form. Empty for a service's own chain.
    pub purpose: &'static str,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// Where packets enter a base chain. The policy is always `accept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// `type nat hook prerouting priority -150`
    ///
    /// All nat chains of a hook run at one place, -100 in prerouting; their priorities order them among themselves. Whoever translates first
    /// has the connection: others use `dstnat`, -100, and of equal ones the newest comes first.
    NatPrerouting,
    /// `type nat hook output priority -150`
    NatOutput,
    /// `type nat hook postrouting priority 50`: before those of others, at `srcnat`, 100
    NatPostrouting,
    /// `type filter hook prerouting priority -95`: after the translation of a connection's first packet
    FilterPrerouting,
    /// `type filter hook output priority -95`: the same for the balancer's own connections
    FilterOutput,
    /// `type filter hook input priority filter`
    FilterInput,
    /// `type filter hook prerouting priority raw`: before connection tracking
    RawPrerouting,
    /// `type filter hook ingress device DEVICE priority filter`
    Ingress(Interface),
}

/// A rule: statements, from left to right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The statements.
    pub statements: Vec<Statement>,
    /// The source that it came from; `None` for what every file has.
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
        /// A set of [`KeyType::MarkDirection`].
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
    /// Of which header.
    pub header: Header,
    /// Where, in bits from the start of the header.
    pub offset: u16,
    /// How many bits: 8, 16 or 32.
    pub bits: u8,
    /// Which of them count.
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
    /// What a rule sets.
    pub const fn target(self) -> Target {
        match self {
            Self::Connection => Target::CtMark,
            Self::Packet => Target::MetaMark,
        }
    }

    /// What a rule asks.
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
