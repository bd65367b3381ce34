//! Packets that connection tracking calls invalid: too early or late for their connection's window, say. The kernel
//! translates none of them.
//!
//! One from a client would reach the balancer's own stack, which resets the connection. One from a real server would
//! reach the client under the server's own address, and the client would reset what the server takes for its
//! connection. Dropped, it is sent again where it matters, as if it had been lost.

use std::net::IpAddr;

use crate::model::{Family, Mode, Ports, Protocol, Service};
use crate::ruleset::{
    Chain, Condition, Element, Expression, Key, KeyType, Rule, Set, Statement, Table, name,
};
use crate::source::Span;

use super::set::{Counted, SetBuilder};
use super::{Input, guard};

/// The chain for packets that no translation was chosen for.
pub(super) const UNTRANSLATED: &str = "untranslated";

/// The most ports by which a service's servers answer that are told one by one, or a pool's, of all services that use it.
/// Servers of more are told by their addresses alone, so that there are no more elements than a few for each server.
const PORTS: usize = 16;

/// Where a real server answers from, by TCP.
struct Answers {
    address: IpAddr,
    ports: Ports,
    origin: Span,
}

/// The chain, and the sets that it looks up. `families` are those that have a set of VIPs.
///
/// ```text
/// chain untranslated {
///     ip daddr @vip4 goto guard
///     ip6 daddr @vip6 goto guard
///     ct state new return
///     tcp flags & (fin | syn | rst | ack) == syn | ack return
///     ip saddr . tcp sport @answers4 drop
///     ip saddr . tcp sport @answers4_range drop
///     meta l4proto tcp ip saddr @answers4_any drop
/// }
/// ```
///
/// A client that reaches a real server past the balancer, while the answers come through it, is not to be harmed. To
/// connection tracking its SYN-ACK is invalid; what follows begins a connection, which it follows without looking at
/// windows. In SCTP all such answers are invalid: hence TCP alone. What is wrong with a datagram of UDP is its checksum,
/// and it harms nobody.
pub(super) fn lower(input: &Input<'_>, families: &[Family], table: &mut Table) {
    let mut rules: Vec<Rule> = families.iter().copied().map(guard::untranslated).collect();
    let sets = sets(input);
    if !sets.is_empty() {
        rules.extend([
            Rule::fixed([
                Statement::Match(Condition::NewConnection),
                Statement::Return,
            ]),
            Rule::fixed([Statement::Match(Condition::TcpSynAck), Statement::Return]),
        ]);
    }
    rules.extend(sets.iter().map(|(family, set)| {
        let address = Expression::Source(*family);
        let from = |key| Statement::Match(Condition::InSet(key, set.name.clone()));
        if matches!(set.key, KeyType::AddressPort(_)) {
            let port = Expression::SourcePortOf(Protocol::Tcp);
            let key = Expression::Concat(vec![address, port]);
            return Rule::fixed([from(key), Statement::Drop]);
        }
        Rule::fixed([
            Statement::Match(Condition::Protocol(Protocol::Tcp)),
            from(address),
            Statement::Drop,
        ])
    }));
    table.sets.extend(sets.into_iter().map(|(_, set)| set));
    table.chains.push(Chain {
        name: UNTRANSLATED.into(),
        hook: None,
        purpose: "what is of no connection: new, or invalid to connection tracking, which translates none of that",
        rules,
    });
}

const fn is_nat(mode: &Mode) -> bool {
    mode.kernel_tracks()
}

/// Where answers come from, in sets by how their ports are told.
fn sets(input: &Input<'_>) -> Vec<(Family, Set)> {
    let all = merged(answers(input));
    let mut sets = Vec::new();
    for family in Family::BOTH {
        let set = |rest: &str, key| {
            let purpose = "where answers of real servers come from, by TCP";
            SetBuilder::new(
                &name::per_family("answers", family, rest),
                key,
                None,
                purpose,
            )
        };
        let mut exact = set("", KeyType::AddressPort(family));
        let mut ranges = set("_range", KeyType::AddressPort(family)).of_ranges();
        let mut any = set("_any", KeyType::Address(family));
        for one in all.iter().filter(|one| Family::of(one.address) == family) {
            let (set, key) = match one.ports {
                Ports::One(_) => (&mut exact, Key::AddressPorts(one.address, one.ports)),
                Ports::Range(..) => (&mut ranges, Key::AddressPorts(one.address, one.ports)),
                Ports::Any => (&mut any, Key::Address(one.address)),
            };
            set.push(if input.scope.has_address(one.address) {
                Counted::from(Element {
                    key,
                    data: None,
                    comment: None,
                    origin: one.origin,
                })
            } else {
                Counted::OUTSIDE
            });
        }
        let filled = [exact, ranges, any].into_iter();
        sets.extend(
            filled
                .filter_map(SetBuilder::finish)
                .map(|set| (family, set)),
        );
    }
    sets
}

/// Every server with its own port, or else with each port that its services have.
fn answers(input: &Input<'_>) -> Vec<Answers> {
    let mut by_block: Vec<Vec<Ports>> = vec![Vec::new(); input.plan.blocks.len()];
    for plan in input.services(is_nat) {
        let ports = tcp_ports(plan.service);
        for (family, place) in &plan.families {
            let of_family = ports.iter().filter(|(of, _)| of == family);
            if let Some(known) = place.and_then(|place| by_block.get_mut(place)) {
                known.extend(of_family.map(|(_, ports)| *ports));
            }
        }
    }
    let mut all = Vec::new();
    for (block, mut ports) in input.plan.blocks.iter().zip(by_block) {
        if ports.is_empty() {
            continue;
        }
        ports.sort_unstable();
        ports.dedup();
        if ports.len() > PORTS {
            ports = vec![Ports::Any];
        }
        for server in &block.servers {
            let own = server.port.map(Ports::One);
            let of = own.as_ref().map_or(&*ports, std::slice::from_ref);
            all.extend(of.iter().map(|ports| Answers {
                address: server.address,
                ports: *ports,
                origin: server.span,
            }));
        }
    }
    all
}

fn tcp_ports(service: &Service) -> Vec<(Family, Ports)> {
    let vips = service.vips.iter();
    let mut ports: Vec<(Family, Ports)> = vips
        .filter(|vip| vip.protocol == Protocol::Tcp)
        .map(|vip| (vip.family(), vip.ports))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The same, each once, and no ranges of one server that overlap, which nft does not take.
fn merged(mut all: Vec<Answers>) -> Vec<Answers> {
    all.sort_by_key(|one| (one.address, one.ports));
    let mut merged: Vec<Answers> = Vec::with_capacity(all.len());
    for one in all {
        let Some(before) = merged.last_mut().filter(|it| it.address == one.address) else {
            merged.push(one);
            continue;
        };
        match (before.ports, one.ports) {
            (Ports::Range(first, last), Ports::Range(next, end)) if next <= last => {
                before.ports = Ports::Range(first, last.max(end));
            }
            (known, new) if known == new => {}
            _ => merged.push(one),
        }
    }
    merged
}
