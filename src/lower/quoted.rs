//! Errors of ICMP, of both families, about packets of direct return, on their way to the server that sent the packet.
//!
//! A router sends them to the source of the packet that it quotes, which is the VIP. So the balancer gets them: nobody
//! else can tell whose they are. The quoted packet goes from server to client: its source is the VIP, its destination
//! the client, and the client's own packets would hash to the same server.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::{Family, HashKey, HookedIn, Mode, Ports, Protocol};
use crate::ruleset::{
    Chain, Condition, Data, DataType, Element, Expression, Key, KeyType, Mask, Rule, Statement,
    Table, Target, icmp_errors, name,
};
use crate::schedule::{Choice, Draw, jhash};
use crate::source::Span;

use super::Input;
use super::set::SetBuilder;
use super::track::{self, FlowFields};
use super::way::{SEND, SLOTTED};

/// Where a quoted packet's fields are, in bits from the start of the ICMP header.
struct QuotedPacket {
    protocol: u16,
    /// The server's address and port.
    source: u16,
    source_port: u16,
    /// The client's address and port.
    destination: u16,
    destination_port: u16,
    /// How long an address is.
    address: u16,
}

/// The quoted IPv4 header has no options: [`entry`] asks for that.
const V4: QuotedPacket = QuotedPacket {
    protocol: 136,
    source: 160,
    source_port: 224,
    destination: 192,
    destination_port: 240,
    address: 32,
};

/// The quoted IPv6 header is followed by the transport header.
const V6: QuotedPacket = QuotedPacket {
    protocol: 112,
    source: 128,
    source_port: 384,
    destination: 256,
    destination_port: 400,
    address: 128,
};

impl QuotedPacket {
    const fn of(family: Family) -> &'static Self {
        match family {
            Family::V4 => &V4,
            Family::V6 => &V6,
        }
    }

    /// The flow that the quoted packet is the answer in.
    const fn flow(&self) -> FlowFields {
        FlowFields {
            client: Expression::Transport(self.destination, self.address),
            client_port: Expression::Transport(self.destination_port, 16),
            vip: Expression::Transport(self.source, self.address),
            vip_port: Expression::Transport(self.source_port, 16),
            protocol: Expression::Transport(self.protocol, 8),
        }
    }
}

/// The chain of errors that go on as they came.
const OF_NAT: &str = "errors_of_nat";

/// `meta mark set 0x00000000`
fn unmarked() -> Rule {
    Rule::fixed([Statement::Set {
        target: Target::MetaMark,
        value: Expression::Mark(0),
    }])
}

/// The chain of a family.
fn chain_name(family: Family) -> std::sync::Arc<str> {
    name::per_family("errors", family, "")
}

/// What a base chain asks of packets that are for no service.
///
/// ```text
/// icmp type destination-unreachable @th,64,8 0x45 goto errors4
/// icmpv6 type packet-too-big goto errors6
/// ```
pub(super) fn entry(family: Family) -> Vec<Rule> {
    let rule = |(number, _): &(u8, &str)| {
        let mut statements = vec![Statement::Match(Condition::IcmpType(family, *number))];
        if family == Family::V4 {
            statements.push(Statement::Match(Condition::TransportIs(64, 0x45)));
        }
        statements.push(Statement::Goto(chain_name(family)));
        Rule::fixed(statements)
    };
    icmp_errors(family).iter().map(rule).collect()
}

/// One map for each protocol and number of leading bits of a port: ranges are blocks of ports.
type Maps = BTreeMap<(Protocol, u8), BTreeMap<(IpAddr, u16), (Data, Span)>>;

/// The chains `errors4` and `errors6` with their maps, and one chain for each service. Says which families there are.
pub(super) fn lower(input: &Input<'_>, table: &mut Table) -> Vec<Family> {
    service_chains(input, table);
    if !input.beaten_by_nat(|_| true).is_empty() {
        table.chains.push(Chain {
            name: OF_NAT.into(),
            hook: None,
            purpose: "an error that quotes a packet of nat: connection tracking knows whose it is",
            rules: vec![unmarked()],
        });
    }
    let families = Family::BOTH.into_iter();
    let made = families.filter(|family| {
        let maps = maps(input, *family);
        if maps.is_empty() {
            return false;
        }
        dispatch(*family, maps, table);
        true
    });
    made.collect()
}

fn is_dr(mode: &Mode) -> bool {
    mode.hooked_in() == HookedIn::Netdev
}

/// Every VIP, by protocol and block of ports. An exact port is there before ranges are, which leave it out, and those of nat
/// are there that lie inside others.
fn maps(input: &Input<'_>, family: Family) -> Maps {
    let mut maps = Maps::new();
    for vip in input.beaten_by_nat(|_| true) {
        if vip.family() == family {
            for (port, length) in blocks(vip.ports) {
                let map = maps.entry((vip.protocol, length)).or_default();
                map.insert((vip.address, port), (Data::Goto(OF_NAT.into()), vip.span));
            }
        }
    }
    for exact in [true, false] {
        for plan in input.services(is_dr) {
            for vip in &plan.service.vips {
                if vip.family() != family || matches!(vip.ports, Ports::One(_)) != exact {
                    continue;
                }
                let chain = Data::Goto(name::error_chain(&plan.service.name, family));
                for (port, length) in blocks(vip.ports) {
                    let map = maps.entry((vip.protocol, length)).or_default();
                    let place = map.entry((vip.address, port));
                    place.or_insert_with(|| (chain.clone(), vip.span));
                }
            }
        }
    }
    maps
}

/// Ports as blocks that share leading bits: the first port, and how many bits.
fn blocks(ports: Ports) -> Vec<(u16, u8)> {
    let (first, last) = match ports {
        Ports::One(port) => (port, port),
        Ports::Range(first, last) => (first, last),
        Ports::Any => (0, u16::MAX),
    };
    let (mut first, end) = (u32::from(first), u32::from(last) + 1);
    let mut blocks = Vec::new();
    while first < end {
        let mut size = 1_u32 << first.trailing_zeros().min(16);
        while first + size > end {
            size /= 2;
        }
        let length = 16 - u8::try_from(size.trailing_zeros()).unwrap_or(16);
        blocks.push((u16::try_from(first).unwrap_or(u16::MAX), length));
        first += size;
    }
    blocks
}

/// What stands for leading bits of a port in the maps' keys: their hash, as rules compute it from the packet. Every
/// version of nft makes the same of a hash; of a field that is copied into a mark, newer ones swap the bytes. Four bytes,
/// of which the port is the last two, hash the same on machines of either order, and with this seed no two ports do.
fn hashed(port: u16) -> u32 {
    let [high, low] = port.to_be_bytes();
    jhash::bucket(jhash::jhash(&[0, 0, high, low], jhash::SEED), u32::MAX)
}

/// ```text
/// @th,136,8 0x06 meta mark set jhash @th,208,32 & 0x0000ffff mod 4294967295 seed 0x666c6263 ip daddr . meta mark vmap @errors4_tcp_16
/// meta mark set 0x00000000
/// ```
fn dispatch(family: Family, maps: Maps, table: &mut Table) {
    let place = QuotedPacket::of(family);
    let mut rules = Vec::new();
    // The longest block first.
    for ((protocol, length), entries) in maps.into_iter().rev() {
        let rest = format!("_{}_{length}", protocol.name());
        let mut map = SetBuilder::new(
            &name::per_family("errors", family, &rest),
            KeyType::AddressMark(family),
            Some(DataType::Verdict),
            "VIP and hashed leading bits of its port, as a quoted packet has them, to what finds the server",
        );
        for ((address, port), (chain, origin)) in entries {
            let mark = if length == 0 { 0 } else { hashed(port) };
            map.push(Element {
                key: Key::AddressMark(address, mark),
                data: Some(chain),
                comment: None,
                origin,
            });
        }
        let bits = u32::from(u16::MAX.checked_shl(16 - u32::from(length)).unwrap_or(0));
        let four_bytes = Expression::Transport(place.source_port - 16, 32);
        let port = match length {
            0 => Expression::Mark(0),
            _ => Expression::Jhash {
                key: Box::new(Expression::Masked(Box::new(four_bytes), Mask::Packet(bits))),
                modulus: u32::MAX,
                seed: jhash::SEED,
                offset: 0,
            },
        };
        rules.push(Rule::fixed([
            Statement::Match(Condition::TransportIs(place.protocol, protocol.number())),
            Statement::Set {
                target: Target::MetaMark,
                value: port,
            },
            Statement::Vmap {
                key: Expression::Concat(vec![
                    Expression::Destination(family),
                    Expression::MetaMark,
                ]),
                map: map.name(),
            },
        ]));
        table.sets.extend(map.finish());
    }
    rules.push(unmarked());
    table.chains.push(Chain {
        name: chain_name(family),
        hook: None,
        purpose: "an error that quotes a server's packet: of which service?",
        rules,
    });
}

/// ```text
/// chain err_www_v4 { meta mark set jhash @th,192,32 . @th,240,16 mod 251 seed 0x666c6263 offset 0x01000000 goto slotted }
/// ```
fn service_chains(input: &Input<'_>, table: &mut Table) {
    for plan in input.services(is_dr) {
        let service = plan.service;
        if !input.scope.has_service(&service.name) {
            continue;
        }
        for (family, block) in &plan.families {
            let flow = QuotedPacket::of(*family).flow();
            let block = block.and_then(|at| {
                let block = input.plan.blocks.get(at)?;
                Some((block, input.numbers.blocks.get(at)?))
            });
            let mut rules = Vec::new();
            if service.track.is_some() && block.is_some() {
                rules.push(Rule::of(service.span, track::known(&flow, SEND)));
            }
            let chosen = block.and_then(|(block, numbers)| match &block.choice {
                Choice::Empty => None,
                Choice::Only(at) => Some((Expression::Mark(*numbers.servers.get(*at)?), SEND)),
                Choice::Slots { draw, owners } => {
                    let key = match draw {
                        Draw::Hashed(HashKey::Source) => flow.client.clone(),
                        // A flow that is drawn by turns or at random is tracked; of one that is not known any more
                        // any server will do.
                        Draw::Hashed(HashKey::SourcePort) | Draw::InTurn | Draw::AtRandom => {
                            Expression::Concat(vec![flow.client.clone(), flow.client_port.clone()])
                        }
                    };
                    let slot = Expression::Jhash {
                        key: Box::new(key),
                        modulus: u32::try_from(owners.len()).unwrap_or(u32::MAX),
                        seed: jhash::SEED,
                        offset: numbers.first_slot,
                    };
                    Some((slot, SLOTTED))
                }
            });
            rules.push(match chosen {
                Some((value, next)) => Rule::of(
                    service.span,
                    [
                        Statement::Set {
                            target: Target::MetaMark,
                            value,
                        },
                        Statement::Goto(next.into()),
                    ],
                ),
                None => Rule::of(service.span, [Statement::Drop]),
            });
            table.chains.push(Chain {
                name: name::error_chain(&service.name, *family),
                hook: None,
                purpose: "",
                rules,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_ports_have_one_hash() {
        let all: HashSet<u32> = (0..=u16::MAX).map(hashed).collect();
        assert_eq!(all.len(), 1 << 16);
    }
}
