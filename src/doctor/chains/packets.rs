//! The balanced packets that pass a chain of others.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::doctor::fate::Packet;
use crate::doctor::foreign::{Hooked, Trouble, trouble_of};
use crate::doctor::reach::live;
use crate::kernel::BaseChain;
use crate::kernel::host::{Host, Way};
use crate::model::{Family, Model, Ports};

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

/// The balanced packets that enter by a chain: new ones, and answers.
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
        chain
            .devices
            .iter()
            .any(|device| ways.contains(device.as_str()))
    } else {
        own || trouble_of(chain, hooked).is_some()
    };
    // Where flbc has not given a packet its server yet.
    let before = own || chain.hook == "ingress" || is_before(chain);
    let tracked = !is_wire && !(before && chain.priority <= CONNTRACK);
    let mut packets = BTreeSet::new();
    for service in &model.services {
        let trouble = if service.mode.translates() {
            Trouble::MayDropNat
        } else {
            Trouble::MayDropDirectReturn
        };
        let is_concerned = if service.mode.translates() {
            nat
        } else {
            direct
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
        let any = |address: IpAddr| Packet {
            family: Family::of(address),
            to: None,
            from: None,
            protocol: None,
            to_ports: None,
            translated: None,
        };
        for vip in &service.vips {
            let ports = match vip.ports {
                Ports::One(port) => (port, port),
                Ports::Range(first, last) => (first, last),
                Ports::Any => (1, u16::MAX),
            };
            let packet = Packet {
                protocol: Some(vip.protocol.number()),
                ..any(vip.address)
            };
            if before || !service.mode.translates() {
                add(Packet {
                    to: Some(vip.address),
                    to_ports: Some(ports),
                    translated: Some(false),
                    ..packet
                });
            } else if chain.hook == "egress" {
                add(Packet {
                    from: Some(vip.address),
                    ..packet
                });
            }
        }
        if !service.mode.translates() || own {
            continue;
        }
        let protocols: BTreeSet<u8> = service
            .vips
            .iter()
            .map(|vip| vip.protocol.number())
            .collect();
        for server in live(model, service) {
            for protocol in &protocols {
                let packet = Packet {
                    protocol: Some(*protocol),
                    translated: tracked.then_some(true),
                    ..any(server.address)
                };
                if !before {
                    add(Packet {
                        to: Some(server.address),
                        ..packet
                    });
                }
                if chain.hook != "egress" {
                    add(Packet {
                        from: Some(server.address),
                        ..packet
                    });
                }
            }
        }
    }
    packets
}

/// Whether a chain sees packets before they are translated.
pub(super) fn is_before(chain: &BaseChain) -> bool {
    chain.hook == "prerouting" && chain.priority <= TRANSLATION
}
