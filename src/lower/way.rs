//! How a frame of direct return gets to its server: one chain for each way, which asks what a router asks of a packet
//! before it sends it on, and sends the frame.

use crate::model::{DirectReturn, Family, Interface, MacAddress, RealServer};
use crate::ruleset::{
    Chain, Condition, Expression, Header, Name, Rule, Statement, Target, Word, name,
};
use crate::schedule::Block;

/// The chain that sends to the server in the mark.
pub(super) const SEND: &str = "send";

/// The chain for slots of servers that are reached in different ways, and for those of quoted packets.
pub(super) const SLOTTED: &str = "slotted";

/// One packet of two to this power has its hop limit lowered where the kernel does not do it.
const ONE_OF_POWER: u8 = 6;

/// How a frame gets to its server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SendingWay {
    /// Neighbour table; out by an interface of its own.
    NeighbourVia(Family),
    /// Neighbour table; out by the interface it came in by.
    NeighbourBack(Family),
    /// Given MAC address; out by an interface of its own.
    MacVia(Family),
    /// Given MAC address; out by the interface it came in by.
    MacBack(Family),
}

impl SendingWay {
    /// The way to a server.
    pub(super) fn of(server: &RealServer, family: Family, mode: &DirectReturn) -> Self {
        let via = outgoing(server, mode).is_some();
        match (server.mac.is_some(), via) {
            (false, true) => Self::NeighbourVia(family),
            (false, false) => Self::NeighbourBack(family),
            (true, true) => Self::MacVia(family),
            (true, false) => Self::MacBack(family),
        }
    }

    /// The one way to all servers of a block.
    pub(super) fn of_all(block: &Block<'_>) -> Option<Self> {
        let mode = block.mode.direct()?;
        let way = |server: &&RealServer| Self::of(server, block.family, mode);
        let mut ways = block.servers.iter().map(|server| way(&&**server));
        let first = ways.next()?;
        ways.all(|way| way == first).then_some(first)
    }

    /// The family of the packets.
    pub(super) const fn family(self) -> Family {
        match self {
            Self::NeighbourVia(family)
            | Self::NeighbourBack(family)
            | Self::MacVia(family)
            | Self::MacBack(family) => family,
        }
    }

    /// The name of the chain that sends.
    pub(super) fn chain(self) -> Name {
        match self {
            Self::NeighbourVia(family) => name::per_family("send_ip", family, "_via"),
            Self::NeighbourBack(family) => name::per_family("send_ip", family, "_back"),
            Self::MacVia(family) => name::per_family("send_mac", family, "_via"),
            Self::MacBack(family) => name::per_family("send_mac", family, "_back"),
        }
    }

    /// The chain for slots of servers that are all reached in this way.
    pub(super) const fn slotted(self) -> &'static str {
        match self {
            Self::NeighbourVia(Family::V4) => "slotted_ip4_via",
            Self::NeighbourVia(Family::V6) => "slotted_ip6_via",
            Self::NeighbourBack(Family::V4) => "slotted_ip4_back",
            Self::NeighbourBack(Family::V6) => "slotted_ip6_back",
            Self::MacVia(Family::V4) => "slotted_mac4_via",
            Self::MacVia(Family::V6) => "slotted_mac6_via",
            Self::MacBack(Family::V4) => "slotted_mac4_back",
            Self::MacBack(Family::V6) => "slotted_mac6_back",
        }
    }

    /// What tells the chains of one family apart that end in this way.
    const fn tail(self) -> &'static str {
        match self {
            Self::NeighbourVia(_) => "_ip_via",
            Self::NeighbourBack(_) => "_ip_back",
            Self::MacVia(_) => "_mac_via",
            Self::MacBack(_) => "_mac_back",
        }
    }

    /// The chain `STEM4_REST_ip_via`, which ends in this way.
    pub(super) fn ending(self, stem: &str, rest: &str) -> Name {
        name::per_family(stem, self.family(), &format!("_{rest}{}", self.tail()))
    }

    const fn purpose(self) -> &'static str {
        match self {
            Self::NeighbourVia(_) => "MAC by neighbour table, out by an interface of its own",
            Self::NeighbourBack(_) => "MAC by neighbour table, out by the interface it came in by",
            Self::MacVia(_) => "given MAC, out by an interface of its own",
            Self::MacBack(_) => "given MAC, out by the interface it came in by",
        }
    }

    /// The family whose hop limit flbc has to lower itself.
    pub(super) const fn lowered(self) -> Option<Family> {
        match self {
            Self::NeighbourVia(_) | Self::NeighbourBack(_) => None,
            Self::MacVia(family) | Self::MacBack(family) => Some(family),
        }
    }

    /// The chain that sends. `from` is the one MAC address that frames of [`Self::MacVia`] come from.
    pub(super) fn sending(self, from: Option<MacAddress>) -> Chain {
        let family = self.family();
        let mut rules = impossible_sources(family);
        rules.push(used_up(family));
        rules.extend(self.lowered().map(lowers));
        rules.push(self.sends(from));
        Chain {
            name: self.chain(),
            hook: None,
            purpose: self.purpose(),
            rules,
        }
    }

    /// The rule that writes to the frame and sends it. Every look-up in it succeeds: `how` and these maps
    /// change together. Where they do not, as for a slot that nobody has, nothing is written.
    fn sends(self, from: Option<MacAddress>) -> Rule {
        let of_mark = |map: &str| Expression::Map(Box::new(Expression::MetaMark), Name::from(map));
        let device = match self {
            Self::NeighbourVia(_) | Self::MacVia(_) => of_mark(name::DEVICES),
            Self::NeighbourBack(_) | Self::MacBack(_) => Expression::Iif,
        };
        let set = |target, value| Statement::Set { target, value };
        match self {
            // fwd ip to meta mark map @addr4 device meta mark map @dev
            Self::NeighbourVia(family) | Self::NeighbourBack(family) => {
                Rule::fixed([Statement::FwdNeighbour {
                    family,
                    address: of_mark(&name::addresses(family)),
                    device,
                }])
            }
            // ether saddr set 02:00:00:00:01:01 ether daddr set meta mark map @mac fwd to meta mark map @dev
            Self::MacVia(_) => Rule::fixed([
                set(
                    Target::EtherSource,
                    from.map_or_else(|| of_mark("from"), Expression::Mac),
                ),
                set(Target::EtherDestination, of_mark(name::MACS)),
                Statement::Fwd { device },
            ]),
            // ether saddr set ether daddr ether daddr set meta mark map @mac fwd to meta iif
            Self::MacBack(_) => Rule::fixed([
                // The client's frame was addressed to this interface's own MAC: that is the source now.
                set(Target::EtherSource, Expression::EtherDestination),
                set(Target::EtherDestination, of_mark(name::MACS)),
                Statement::Fwd { device },
            ]),
        }
    }
}

/// The chain that makes a server of a block's slot and sends.
pub(super) fn slotted(block: &Block<'_>) -> &'static str {
    SendingWay::of_all(block).map_or(SLOTTED, SendingWay::slotted)
}

/// `meta mark vmap @how`: sends to the server in the mark.
pub(super) fn send() -> Statement {
    Statement::Vmap {
        key: Expression::MetaMark,
        map: name::WAYS.into(),
    }
}

/// The interface by which this server's frames leave, where that is not the one by which they came.
pub(super) fn outgoing<'a>(
    server: &'a RealServer,
    mode: &'a DirectReturn,
) -> Option<&'a Interface> {
    let interface = mode.interface_to(server)?;
    let same = mode.on.iter().all(|on| on == interface) && mode.source_mac_to(server).is_none();
    (!same).then_some(interface)
}

const fn network(offset: u16, mask: u32) -> Word {
    Word {
        header: Header::Network,
        offset,
        bits: 32,
        mask,
    }
}

/// No client can have these addresses: no router sends on what comes from there, and no host takes it. The kernel would
/// drop it, had it been asked; at ingress nobody has.
///
/// ```text
/// @nh,96,32 & 0xff000000 == 0x7f000000 drop
/// ```
fn impossible_sources(family: Family) -> Vec<Rule> {
    let prefixes: &[(Word, u32)] = match family {
        Family::V4 => &[
            // 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4, 255.255.255.255
            (network(96, 0xff00_0000), 0),
            (network(96, 0xff00_0000), 0x7f00_0000),
            (network(96, 0xf000_0000), 0xe000_0000),
            (network(96, u32::MAX), u32::MAX),
        ],
        Family::V6 => &[
            // ::/16 with :: and ::1, and ff00::/8
            (network(64, 0xffff_0000), 0),
            (network(64, 0xff00_0000), 0xff00_0000),
        ],
    };
    let rule = |(word, value): &(Word, u32)| {
        Rule::fixed([
            Statement::Match(Condition::WordIs(*word, *value)),
            Statement::Drop,
        ])
    };
    prefixes.iter().map(rule).collect()
}

/// The bits of a hop limit under a mask, and the value that they have there.
fn hops(family: Family, mask: u8, value: u8) -> Statement {
    // In IPv4 it is the first of four bytes; in IPv6 the last, and is looked at alone.
    let (offset, bits, shift) = match family {
        Family::V4 => (64, 32, 24),
        Family::V6 => (56, 8, 0),
    };
    let word = Word {
        header: Header::Network,
        offset,
        bits,
        mask: u32::from(mask) << shift,
    };
    Statement::Match(Condition::WordIs(word, u32::from(value) << shift))
}

/// A packet that was to be sent on and has no hop left goes to the kernel, which answers as a router where it would send
/// on the VIP's packets. The forwarding of Linux 6.18 would drop it without a word, that by a given MAC address send it.
///
/// ```text
/// @nh,64,32 & 0xfe000000 == 0x00000000 meta mark set 0x00000000 accept
/// ```
fn used_up(family: Family) -> Rule {
    Rule::fixed([
        hops(family, 0xfe, 0),
        Statement::Set {
            target: Target::MetaMark,
            value: Expression::Mark(0),
        },
        Statement::Accept,
    ])
}

fn lowering_chain(family: Family) -> Name {
    name::per_family("lower", family, "")
}

/// `meta random & 0xfc000000 == 0x00000000 jump lower4`
///
/// Where the MAC address is given, the kernel does not lower the hop limit. So a packet could go round for ever, between
/// two balancers that each have the other for a server. To write to every packet would cost a tenth of the speed.
fn lowers(family: Family) -> Rule {
    Rule::fixed([
        Statement::Match(Condition::OneOfPower(ONE_OF_POWER)),
        Statement::Jump(lowering_chain(family)),
    ])
}

/// The chain that lowers the hop limit to the next number of ones: nft cannot subtract. The smallest first, so that what
/// one rule has written no other finds.
///
/// ```text
/// @nh,64,32 & 0xfe000000 == 0x02000000 ip ttl set 1
/// @nh,64,32 & 0xfc000000 == 0x04000000 ip ttl set 3
/// @nh,64,32 & 0xe0000000 == 0x20000000 ip ttl set 31
/// ```
pub(super) fn lowering(family: Family) -> Chain {
    let rule = |highest: u8| {
        let bit = 1_u8 << highest;
        let hop_limit = Statement::SetHopLimit {
            family,
            hops: bit - 1,
        };
        Rule::fixed([hops(family, !(bit - 1), bit), hop_limit])
    };
    Chain {
        name: lowering_chain(family),
        hook: None,
        purpose: "fewer hops are left: what goes in a circle must end",
        rules: (1..8).map(rule).collect(),
    }
}
