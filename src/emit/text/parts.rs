//! The parts of a line in nft's language: declarations, elements, hooks, statements, and what they are made of.

use std::borrow::Cow;
use std::fmt;

use crate::emit::data_type;
use crate::model::{Family, Ports};
use crate::ruleset::{
    Condition, Data, DataType, Element, Expression, Field, Header, Hook, Key, KeyType, Mask, Set,
    Statement, Target, Word, chance, icmp_word,
};

pub(super) struct Declaration<'a>(pub(super) &'a Set);

impl fmt::Display for Declaration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.0;
        let kind = if set.data.is_some() { "map" } else { "set" };
        write!(f, "{kind} {} {{ ", set.name)?;
        let (word, key) = key_type(set.key);
        write!(f, "{word} {key}")?;
        if let Some(data) = set.data {
            let data = match word {
                "type" => data_type(data),
                _ => typeof_data(data),
            };
            write!(f, " : {data}")?;
        }
        write!(f, "; size {};", set.size)?;
        if set.dynamic.is_some() {
            write!(f, " flags dynamic,timeout;")?;
        }
        if set.key == KeyType::MarkDirection {
            write!(f, " flags dynamic;")?;
        }
        if set.interval {
            write!(f, " flags interval;")?;
        }
        if set.counter {
            write!(f, " counter;")?;
        }
        write!(f, " }}")
    }
}

/// `type` or `typeof`, and what follows.
fn key_type(key: KeyType) -> (&'static str, Cow<'static, str>) {
    let single = match key {
        KeyType::Mark => "mark",
        KeyType::Address(Family::V4) => "ipv4_addr",
        KeyType::Address(Family::V6) => "ipv6_addr",
        KeyType::AddressProtocol(Family::V4) => "ipv4_addr . inet_proto",
        KeyType::AddressProtocol(Family::V6) => "ipv6_addr . inet_proto",
        KeyType::AddressPort(Family::V4) => "ipv4_addr . inet_service",
        KeyType::AddressPort(Family::V6) => "ipv6_addr . inet_service",
        KeyType::MarkDirection => "mark . ct_dir",
        KeyType::AddressMark(Family::V4) => "ipv4_addr . mark",
        KeyType::AddressMark(Family::V6) => "ipv6_addr . mark",
        KeyType::AddressProtocolPort(Family::V4) => "ipv4_addr . inet_proto . inet_service",
        KeyType::AddressProtocolPort(Family::V6) => "ipv6_addr . inet_proto . inet_service",
        KeyType::Fields(fields) => {
            let fields: Vec<&str> = fields.iter().copied().map(field).collect();
            return ("type", fields.join(" . ").into());
        }
        KeyType::Hashes(hashes) => {
            return ("typeof", vec![HASH; hashes.into()].join(" . ").into());
        }
        KeyType::HashesMark(hashes) => {
            let mut fields = vec![HASH; hashes.into()];
            fields.push("meta mark");
            return ("typeof", fields.join(" . ").into());
        }
    };
    ("type", single.into())
}

/// An expression of the type of a hash: nft 1.0.6 takes `typeof jhash`, and then cannot list it.
const HASH: &str = "numgen inc mod 2";

const fn field(field: Field) -> &'static str {
    match field {
        Field::Address => "ipv4_addr",
        Field::Mark => "mark",
        Field::Port => "inet_service",
    }
}

/// How a value's type is written beside a key that is written as `typeof`.
const fn typeof_data(data: DataType) -> &'static str {
    match data {
        DataType::Mark => "meta mark",
        other => data_type(other),
    }
}

/// `ip` or `ip6`
const fn protocol(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

/// `icmp` or `icmpv6`
const fn icmp_protocol(family: Family) -> &'static str {
    match family {
        Family::V4 => "icmp",
        Family::V6 => "icmpv6",
    }
}

/// A mark as nft lists it, so that a number can be searched for.
struct Mark(u32);

impl fmt::Display for Mark {
    /// `{:#010x}`, which the library does five times slower: most of a large ruleset is marks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"0x00000000";
        for (at, digit) in text.iter_mut().skip(2).enumerate() {
            let nibble = (self.0 >> (28 - 4 * at)) & 0xf;
            *digit = b"0123456789abcdef"
                .get(nibble as usize)
                .copied()
                .unwrap_or(b'0');
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

/// The last field of a key.
struct PortsText(Ports);

impl fmt::Display for PortsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ports::One(port) => write!(f, " . {port}"),
            Ports::Range(first, last) => write!(f, " . {first}-{last}"),
            Ports::Any => Ok(()),
        }
    }
}

pub(super) struct ElementText<'a>(pub(super) &'a Element);

impl fmt::Display for ElementText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Element {
            key, data, comment, ..
        } = self.0;
        match key {
            Key::Mark(mark) => Mark(*mark).fmt(f)?,
            Key::Address(address) => address.fmt(f)?,
            Key::Vip(address, protocol, ports) => {
                write!(f, "{address} . {}{}", protocol.name(), PortsText(*ports))?;
            }
            Key::AddressPorts(address, ports) => write!(f, "{address}{}", PortsText(*ports))?,
            Key::AddressMark(address, mark) => write!(f, "{address} . {}", Mark(*mark))?,
        }
        if let Some(comment) = comment {
            write!(f, " comment \"{comment}\"")?;
        }
        match data {
            None => Ok(()),
            Some(Data::Mark(mark)) => {
                f.write_str(" : ")?;
                Mark(*mark).fmt(f)
            }
            Some(Data::Address(address)) => write!(f, " : {address}"),
            Some(Data::Port(port)) => write!(f, " : {port}"),
            Some(Data::Mac(mac)) => write!(f, " : {mac}"),
            Some(Data::Interface(name)) => write!(f, " : \"{name}\""),
            Some(Data::Goto(chain)) => write!(f, " : goto {chain}"),
            Some(Data::Drop) => write!(f, " : drop"),
            Some(Data::Return) => write!(f, " : return"),
        }
    }
}

pub(super) struct HookText<'a>(pub(super) &'a Hook);

impl fmt::Display for HookText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Hook::NatPrerouting => write!(f, "type nat hook prerouting priority -150;")?,
            Hook::NatOutput => write!(f, "type nat hook output priority -150;")?,
            Hook::NatPostrouting => write!(f, "type nat hook postrouting priority 50;")?,
            Hook::FilterPrerouting => write!(f, "type filter hook prerouting priority -95;")?,
            Hook::FilterOutput => write!(f, "type filter hook output priority -95;")?,
            Hook::FilterInput => write!(f, "type filter hook input priority filter;")?,
            Hook::RawPrerouting => write!(f, "type filter hook prerouting priority raw;")?,
            Hook::Ingress(device) => write!(
                f,
                "type filter hook ingress device \"{device}\" priority filter;"
            )?,
        }
        write!(f, " policy accept;")
    }
}

pub(super) struct StatementText<'a>(pub(super) &'a Statement);

impl fmt::Display for StatementText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Statement::Match(condition) => write!(f, "{}", ConditionText(condition)),
            Statement::Vmap { key, map } => write!(f, "{} vmap @{map}", ExpressionText(key)),
            Statement::Update {
                map,
                key,
                timeout,
                value,
            } => write!(
                f,
                "update @{map} {{ {} timeout {timeout}s : {} }}",
                ExpressionText(key),
                ExpressionText(value)
            ),
            Statement::Delete { map, key, value } => write!(
                f,
                "delete @{map} {{ {} : {} }}",
                ExpressionText(key),
                ExpressionText(value)
            ),
            Statement::Count { set, key } => {
                write!(f, "add @{set} {{ {} }}", ExpressionText(key))
            }
            Statement::Set { target, value } => {
                write!(f, "{} set {}", target_text(*target), ExpressionText(value))
            }
            Statement::SetHopLimit { family, hops } => {
                let field = match family {
                    Family::V4 => "ip ttl",
                    Family::V6 => "ip6 hoplimit",
                };
                write!(f, "{field} set {hops}")
            }
            Statement::Dnat {
                family,
                address,
                port,
            } => {
                write!(
                    f,
                    "dnat {} to {}",
                    protocol(*family),
                    ExpressionText(address)
                )?;
                match port {
                    Some(port) => write!(f, " : {}", ExpressionText(port)),
                    None => Ok(()),
                }
            }
            Statement::Snat { family, address } => {
                write!(
                    f,
                    "snat {} to {}",
                    protocol(*family),
                    ExpressionText(address)
                )
            }
            Statement::Masquerade => write!(f, "masquerade"),
            Statement::Fwd { device } => write!(f, "fwd to {}", ExpressionText(device)),
            Statement::FwdNeighbour {
                family,
                address,
                device,
            } => write!(
                f,
                "fwd {} to {} device {}",
                protocol(*family),
                ExpressionText(address),
                ExpressionText(device)
            ),
            Statement::RejectTcpReset => write!(f, "reject with tcp reset"),
            Statement::RejectPortUnreachable => write!(f, "reject"),
            Statement::Accept => write!(f, "accept"),
            Statement::Drop => write!(f, "drop"),
            Statement::Goto(chain) => write!(f, "goto {chain}"),
            Statement::Jump(chain) => write!(f, "jump {chain}"),
            Statement::Return => write!(f, "return"),
        }
    }
}

const fn target_text(target: Target) -> &'static str {
    match target {
        Target::CtMark => "ct mark",
        Target::MetaMark => "meta mark",
        Target::EtherSource => "ether saddr",
        Target::EtherDestination => "ether daddr",
    }
}

struct WordText(Word);

impl fmt::Display for WordText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = match self.0.header {
            Header::Link => "ll",
            Header::Network => "nh",
            Header::Transport => "th",
        };
        write!(f, "@{header},{},{}", self.0.offset, self.0.bits)?;
        match self.0.mask {
            u32::MAX => Ok(()),
            mask => write!(f, " & {}", Mark(mask)),
        }
    }
}

struct ConditionText<'a>(&'a Condition);

impl fmt::Display for ConditionText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Condition::InSet(key, set) => write!(f, "{} @{set}", ExpressionText(key)),
            Condition::MarkIs(left, mark) => write!(f, "{} {}", ExpressionText(left), Mark(*mark)),
            Condition::TransportIs(offset, value) => write!(f, "@th,{offset},8 {value:#04x}"),
            Condition::IcmpType(family, number) => {
                let protocol = icmp_protocol(*family);
                write!(f, "{protocol} type {}", icmp_word(*family, *number))
            }
            Condition::LaterFragment(Family::V4) => write!(f, "ip frag-off & 0x1fff != 0"),
            Condition::LaterFragment(Family::V6) => write!(f, "frag frag-off != 0"),
            Condition::TcpSyn => write!(f, "tcp flags & (fin | syn | rst | ack) == syn"),
            Condition::TcpSynAck => {
                write!(f, "tcp flags & (fin | syn | rst | ack) == syn | ack")
            }
            Condition::Protocol(protocol) => write!(f, "meta l4proto {}", protocol.name()),
            Condition::HasPorts => write!(f, "meta l4proto {{ tcp, udp, sctp }}"),
            Condition::Dnatted => write!(f, "ct status dnat"),
            Condition::NewConnection => write!(f, "ct state new"),
            Condition::InvalidOrNew => write!(f, "ct state invalid,new"),
            Condition::Followed => write!(f, "ct status confirmed"),
            Condition::Marked(mark) => write!(f, "meta mark {}", Mark(*mark)),
            Condition::FromClient => write!(f, "ct direction original"),
            Condition::CtMarkFrom(mark) => write!(f, "ct mark >= {}", Mark(*mark)),
            Condition::ForOthers => write!(f, "meta pkttype != host"),
            Condition::OneOfPower(power) => {
                write!(f, "meta random & {} == {}", Mark(chance(*power)), Mark(0))
            }
            Condition::FromEthernet => write!(f, "meta iiftype ether"),
            Condition::WordIs(word, value) => write!(f, "{} == {}", WordText(*word), Mark(*value)),
            Condition::WordIsNot(word, value) => {
                write!(f, "{} != {}", WordText(*word), Mark(*value))
            }
            Condition::FromThisHost => write!(f, "fib saddr type local"),
        }
    }
}

struct ExpressionText<'a>(&'a Expression);

impl fmt::Display for ExpressionText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expression::Mark(mark) => write!(f, "{}", Mark(*mark)),
            Expression::CtMark => write!(f, "ct mark"),
            Expression::CtDirection => write!(f, "ct direction"),
            Expression::MetaMark => write!(f, "meta mark"),
            Expression::L4Proto => write!(f, "meta l4proto"),
            Expression::Iif => write!(f, "meta iif"),
            Expression::Source(family) => write!(f, "{} saddr", protocol(*family)),
            Expression::Destination(family) => write!(f, "{} daddr", protocol(*family)),
            Expression::OriginalDestination(family) => {
                write!(f, "ct original {} daddr", protocol(*family))
            }
            Expression::SourcePort => write!(f, "th sport"),
            Expression::SourcePortOf(protocol) => write!(f, "{} sport", protocol.name()),
            Expression::DestinationPort => write!(f, "th dport"),
            Expression::DestinationPortOf(protocol) => write!(f, "{} dport", protocol.name()),
            Expression::EtherDestination => write!(f, "ether daddr"),
            Expression::Mac(mac) => write!(f, "{mac}"),
            Expression::Masked(value, Mask::Address(mask)) => {
                write!(f, "{} & {mask}", ExpressionText(value))
            }
            Expression::Transport(offset, length) => write!(f, "@th,{offset},{length}"),
            Expression::Masked(value, Mask::Mark(mask) | Mask::Packet(mask)) => {
                write!(f, "{} & {}", ExpressionText(value), Mark(*mask))
            }
            Expression::Concat(fields) => {
                for (at, field) in fields.iter().enumerate() {
                    let dot = if at == 0 { "" } else { " . " };
                    write!(f, "{dot}{}", ExpressionText(field))?;
                }
                Ok(())
            }
            Expression::Map(key, map) => write!(f, "{} map @{map}", ExpressionText(key)),
            Expression::Increment { modulus, offset } => {
                write!(f, "numgen inc mod {modulus} offset {}", Mark(*offset))
            }
            Expression::Random { modulus, offset } => {
                write!(f, "numgen random mod {modulus} offset {}", Mark(*offset))
            }
            Expression::Jhash {
                key,
                modulus,
                seed,
                offset,
            } => {
                let key = ExpressionText(key);
                write!(f, "jhash {key} mod {modulus} seed {seed:#x}")?;
                match offset {
                    0 => Ok(()),
                    offset => write!(f, " offset {}", Mark(*offset)),
                }
            }
        }
    }
}
