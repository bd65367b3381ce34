//! The balanced packets that pass a chain of others.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::doctor::fate::{Packet, State};
use crate::doctor::foreign::{Hooked, Trouble, trouble_of};
use crate::doctor::reach::live;
use crate::kernel::BaseChain;
use crate::kernel::host::{Host, Way};
use crate::model::{Family, Model, Ports, Service, Vip};

/// The priority at which the kernel asks the chains that translate.
const TRANSLATION: i32 = -100;

/// The priority at which the kernel finds the connection of a packet.
pub(super) const CONNTRACK: i32 = -200;

/// The interfaces by which packets come and go, so far as routes say so.
pub(super) fn links_on_the_way(host: &Host) -> BTreeSet<&str> {
    let ways = host.ways.values().filter_map(|way| match way {
        Way::Out { interface, .. } => host.link_at(*interface),
        Way::Nowhere | Way::Refused | Way::Local => None,
    });
    ways.map(|link| &*link.name).collect()
}

/// Where a chain stands on the way of packets.
#[derive(Clone, Copy)]
struct Place<'c> {
    chain: &'c BaseChain,
    /// flbc has not given a packet its server yet.
    before: bool,
    /// The kernel knows the connection of a packet.
    tracked: bool,
}

/// The balanced packets that enter by a chain: new ones, those behind them, and answers.
pub(super) fn packets(
    model: &Model,
    chain: &BaseChain,
    hooked: &Hooked,
    ways: &BTreeSet<&str>,
) -> BTreeSet<(Trouble, Packet)> {
    let is_wire = matches!(chain.hook, "ingress" | "egress");
    let own = chain.hook == "output";
    let direct = trouble_of(chain, hooked) == Some(Trouble::MayDropDirectReturn);
    let nat = if is_wire {
        let mut devices = chain.devices.iter();
        devices.any(|device| ways.contains(device.as_str()))
    } else {
        own || trouble_of(chain, hooked).is_some()
    };
    let before = own || chain.hook == "ingress" || is_before(chain);
    let early = before && chain.priority <= CONNTRACK;
    let place = Place {
        chain,
        before,
        tracked: !is_wire && !early,
    };
    let mut packets = BTreeSet::new();
    for service in &model.services {
        let (trouble, is_concerned) = if service.mode.translates() {
            (Trouble::MayDropNat, nat)
        } else {
            (Trouble::MayDropDirectReturn, direct)
        };
        if !is_concerned {
            continue;
        }
        let mut add = |packet: Packet| {
            let fits = match chain.family {
                "ip" => packet.family == Family::V4,
                "ip6" => packet.family == Family::V6,
                _ => true,
            };
            if fits {
                packets.insert((trouble, packet));
            }
        };
        of_vips(service, place, &mut add);
        if service.mode.translates() && !own {
            of_servers(model, service, place, &mut add);
        }
    }
    packets
}

const fn any(address: IpAddr, protocol: u8) -> Packet {
    Packet {
        family: Family::of(address),
        to: None,
        from: None,
        protocol: Some(protocol),
        to_ports: None,
        translated: None,
        state: None,
    }
}

/// Those that bear the VIP's address.
fn of_vips(service: &Service, place: Place<'_>, add: &mut impl FnMut(Packet)) {
    for vip in &service.vips {
        let packet = any(vip.address, vip.protocol.number());
        if place.before || !service.mode.translates() {
            let first = Packet {
                to: Some(vip.address),
                to_ports: Some(ports_of(vip)),
                translated: Some(false),
                state: place.tracked.then_some(State::New),
                ..packet
            };
            add(first);
            // And those behind the first, where they are known.
            add(Packet {
                translated: Some(place.tracked),
                state: place.tracked.then_some(State::Established),
                ..first
            });
        } else if place.chain.hook == "egress" {
            add(Packet {
                from: Some(vip.address),
                ..packet
            });
        }
    }
}

/// Those that bear a server's address.
fn of_servers(model: &Model, service: &Service, place: Place<'_>, add: &mut impl FnMut(Packet)) {
    let vips = service.vips.iter();
    let reached: BTreeSet<(u8, (u16, u16))> = vips
        .map(|vip| (vip.protocol.number(), ports_of(vip)))
        .collect();
    let answer = place.tracked.then_some(State::Established);
    for server in live(model, service) {
        for (protocol, ports) in &reached {
            let packet = Packet {
                translated: place.tracked.then_some(true),
                ..any(server.address, *protocol)
            };
            if !place.before {
                // A server without a port of its own is sent to by the VIP's.
                let port = server.port.map(|port| (port, port));
                let first = Packet {
                    to: Some(server.address),
                    to_ports: Some(port.unwrap_or(*ports)),
                    state: place.tracked.then_some(State::New),
                    ..packet
                };
                add(first);
                add(Packet {
                    state: answer,
                    ..first
                });
            }
            if place.chain.hook != "egress" {
                add(Packet {
                    from: Some(server.address),
                    state: answer,
                    ..packet
                });
            }
        }
    }
}

/// Whether a chain sees packets before they are translated.
pub(super) fn is_before(chain: &BaseChain) -> bool {
    chain.hook == "prerouting" && chain.priority <= TRANSLATION
}

fn ports_of(vip: &Vip) -> (u16, u16) {
    match vip.ports {
        Ports::One(port) => (port, port),
        Ports::Range(first, last) => (first, last),
        Ports::Any => (1, u16::MAX),
    }
}
