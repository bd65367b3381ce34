//! Whom packets go to: the servers that get some, the clients that answers go to, and neighbours that do not answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Facts, Finding, FindingCode};
use crate::diagnostic::{quote, word};
use crate::kernel::host::Host;
use crate::model::{Family, Model, Prefix, RealServer, Service, State};

/// So many prefixes of a list are looked at.
const LOOKED_AT: usize = 256;

/// Where anybody may be: one of these has a route wherever there is a way to the rest of the world. They are root name
/// servers (root-servers.org), far from each other. Nothing is sent to them.
const ANYWHERE: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)),
    IpAddr::V4(Ipv4Addr::new(192, 33, 4, 12)),
    IpAddr::V4(Ipv4Addr::new(202, 12, 27, 33)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x7fd, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdc3, 0, 0, 0, 0, 0, 0x35)),
];

/// Where clients of a service are.
pub(super) struct Clients {
    /// Who it is about: a prefix of `allow`, or a family.
    pub(super) whose: String,
    /// Addresses of which one has to have a route.
    pub(super) samples: Vec<IpAddr>,
}

/// Who may come to a service, by families.
pub(super) fn clients(service: &Service) -> Vec<Clients> {
    let mut clients = Vec::new();
    for family in service.families() {
        let listed = service.access.allow.iter().map(|entry| entry.prefix);
        let listed: Vec<Prefix> = listed
            .filter(|prefix| prefix.family() == family)
            .take(LOOKED_AT)
            .collect();
        // Whoever may come from everywhere is looked for everywhere.
        let narrow = !service.access.allow.is_empty() && listed.iter().all(|p| p.length() > 0);
        if narrow {
            clients.extend(listed.into_iter().map(|prefix| Clients {
                whose: format!("{prefix}, who may come"),
                samples: vec![inside(prefix)],
            }));
        } else {
            let of_family = ANYWHERE.into_iter().filter(|a| Family::of(*a) == family);
            clients.push(Clients {
                whose: format!("{family} clients beyond the networks of this machine"),
                samples: of_family.collect(),
            });
        }
    }
    clients
}

/// An address of a host inside: the first one of a network is nobody's.
fn inside(prefix: Prefix) -> IpAddr {
    if prefix.length() == prefix.family().bits() {
        return prefix.address();
    }
    match prefix.address() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() | 1).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() | 1).into(),
    }
}

/// Servers that packets are sent to.
pub(super) fn live<'a>(
    model: &'a Model,
    service: &'a Service,
) -> impl Iterator<Item = &'a RealServer> {
    let servers = model.real_servers(service);
    servers.filter(|server| server.state != State::Down)
}

pub(super) fn is_unresolved(facts: &Facts<'_>, hop: (u32, IpAddr)) -> bool {
    facts.unresolved.is_some_and(|silent| silent.contains(&hop))
}

/// A server on the link that does not answer.
pub(super) fn silent(server: &RealServer, hop: (u32, IpAddr), host: &Host) -> Finding {
    let link = name_of(host, hop.0);
    let protocol = match Family::of(hop.1) {
        Family::V4 => "ARP",
        Family::V6 => "neighbour discovery",
    };
    Finding::new(
        FindingCode::NeighbourUnresolved,
        format!(
            "the server {}, {}, does not answer {protocol} on {link}: it is off, on another link, or has another address",
            quote(&server.name),
            hop.1
        ),
        format!("ping -c 3 -I {} {}", word(link), hop.1),
    )
}

pub(super) fn name_of(host: &Host, index: u32) -> &str {
    host.link_at(index).map_or("?", |link| &link.name)
}
