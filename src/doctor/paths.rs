//! The ways that packets take: to the servers, back to the clients, from one interface to another.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::addresses::vips;
use super::{Facts, Finding, FindingCode, nat};
use crate::diagnostic::quote;
use crate::kernel::host::{Host, Link, LinkState, Way};
use crate::model::{DirectReturn, Family, Model, Prefix, RealServer, Service, SourceNat, State};

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
struct Clients {
    /// Who it is about: a prefix of `allow`, or a family.
    whose: String,
    /// Addresses of which one has to have a route.
    samples: Vec<IpAddr>,
}

/// Whom a service of nat answers, by families.
fn clients(service: &Service) -> Vec<Clients> {
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
fn live<'a>(model: &'a Model, service: &'a Service) -> impl Iterator<Item = &'a RealServer> {
    let servers = model.real_servers(service);
    servers.filter(|server| server.state != State::Down)
}

/// The addresses to ask the kernel about, where packets to them go.
pub fn destinations(model: &Model) -> BTreeSet<IpAddr> {
    let mut destinations: BTreeSet<IpAddr> = vips(model).into_keys().collect();
    for service in &model.services {
        destinations.extend(live(model, service).map(|server| server.address));
    }
    for service in nat(model) {
        for group in clients(service) {
            destinations.extend(group.samples);
        }
    }
    destinations
}

/// The neighbours whose MAC addresses are needed: an interface by its number, and an address.
pub fn contacts(model: &Model, host: &Host) -> BTreeSet<(u32, IpAddr)> {
    let mut contacts = BTreeSet::new();
    for service in &model.services {
        for server in live(model, service) {
            match service.mode.direct() {
                None => contacts.extend(next_hop(host, server.address)),
                Some(mode) => contacts.extend(
                    links_to(mode, server, host)
                        .filter(|link| link.port_of.is_none())
                        .map(|link| (link.index, server.address)),
                ),
            }
        }
    }
    contacts
}

/// The neighbour that packets to an address are handed to.
fn next_hop(host: &Host, address: IpAddr) -> Option<(u32, IpAddr)> {
    let Way::Out { interface, gateway } = host.way_to(address) else {
        return None;
    };
    let link = host.link_at(interface)?;
    link.has_neighbours
        .then(|| (interface, gateway.unwrap_or(address)))
}

/// The interfaces by which direct return sends to a server whose MAC address the kernel has to find.
fn links_to<'a>(
    mode: &'a DirectReturn,
    server: &'a RealServer,
    host: &'a Host,
) -> impl Iterator<Item = &'a Link> {
    let names = match mode.interface_to(server) {
        Some(interface) => std::slice::from_ref(interface),
        None => mode.on.as_slice(),
    };
    let names = if server.mac.is_some() { &[] } else { names };
    let links = names.iter().filter_map(|name| host.link(name));
    links.filter(|link| link.state == LinkState::Up && link.has_neighbours)
}

pub(super) fn examine(model: &Model, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    for service in &model.services {
        for server in live(model, service) {
            let mut found = match service.mode.direct() {
                None => to_nat_server(service.mode.source_nat(), server, facts),
                Some(mode) => to_direct_server(mode, server, facts),
            };
            // A server of a pool is one server, however many services use it.
            found.retain(|finding| told.insert(finding.sentence.clone()));
            findings.extend(found.into_iter().map(|finding| finding.at(server.span)));
        }
    }
    to_clients(model, facts.host, findings);
    between(model, facts.host, findings);
    bridges(model, facts.host, findings);
    reverse_paths(model, facts.host, findings);
}

fn to_nat_server(
    source: Option<&SourceNat>,
    server: &RealServer,
    facts: &Facts<'_>,
) -> Vec<Finding> {
    let (host, name, address) = (facts.host, quote(&server.name), server.address);
    let bits = Family::of(address).bits();
    let mut findings = Vec::new();
    match host.way_to(address) {
        Way::Local => {}
        Way::Nowhere | Way::Refused => findings.push(Finding::new(
            FindingCode::NoRouteToServer,
            format!("no route leads to the server {name}, {address}"),
            format!("ip route replace {address}/{bits} via GATEWAY"),
        )),
        Way::Out { gateway, .. } => {
            if let Some(hop) = next_hop(host, address)
                && is_unresolved(facts, hop)
            {
                findings.push(match gateway {
                    None => silent(server, hop, host),
                    Some(gateway) => {
                        let link = name_of(host, hop.0);
                        Finding::new(
                            FindingCode::NeighbourUnresolved,
                            format!(
                                "the router {gateway}, which leads to {name}, does not answer for its MAC address on {link}"
                            ),
                            format!("ping -c 3 -I {link} {gateway}"),
                        )
                    }
                });
            }
            if let (Some(gateway), Some(SourceNat::Keep)) = (gateway, source) {
                findings.push(Finding::new(
                    FindingCode::BehindRouter,
                    format!(
                        "the server {name} is behind the router {gateway}: its answers to clients come back here only if that router sends them, or with `masquerade`"
                    ),
                    format!("ip route get {address}"),
                ));
            }
        }
    }
    findings
}

fn to_direct_server(mode: &DirectReturn, server: &RealServer, facts: &Facts<'_>) -> Vec<Finding> {
    let (host, name, address) = (facts.host, quote(&server.name), server.address);
    let bits = Family::of(address).bits();
    let mut findings = Vec::new();
    for link in links_to(mode, server, host) {
        if let Some(master) = link.port_of {
            let (port, master) = (&link.name, name_of(host, master));
            findings.push(Finding::new(
                FindingCode::PortOfAnother,
                format!(
                    "{port} is a port of {master}, which has the neighbours: write {master} in its place, or give the servers by `mac`"
                ),
                format!("ip -details link show dev {port}"),
            ));
            continue;
        }
        let hop = (link.index, address);
        // Who answers there is there, whatever the routes say.
        if facts.unresolved.is_some() && !is_unresolved(facts, hop) {
            continue;
        }
        let directly = Way::Out {
            interface: link.index,
            gateway: None,
        };
        if host.way_to(address) == directly {
            if is_unresolved(facts, hop) {
                findings.push(silent(server, hop, host));
            }
            continue;
        }
        let instead = match host.way_to(address) {
            Way::Local => "it is this machine's own address".to_owned(),
            Way::Nowhere => "no route leads to it".to_owned(),
            Way::Refused => "a route refuses packets to it".to_owned(),
            Way::Out {
                interface,
                gateway: None,
            } => format!("the routes put it on {}", name_of(host, interface)),
            Way::Out {
                gateway: Some(gateway),
                ..
            } => format!("the routes put it behind the router {gateway}"),
        };
        let link = &link.name;
        findings.push(Finding::new(
            FindingCode::NotOnLink,
            format!("the server {name}, {address}, is not on the link of {link}: {instead}"),
            format!("ip route replace {address}/{bits} dev {link}"),
        ));
    }
    findings
}

fn is_unresolved(facts: &Facts<'_>, hop: (u32, IpAddr)) -> bool {
    facts.unresolved.is_some_and(|silent| silent.contains(&hop))
}

/// A server on the link that does not answer.
fn silent(server: &RealServer, hop: (u32, IpAddr), host: &Host) -> Finding {
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
        format!("ping -c 3 -I {link} {}", hop.1),
    )
}

fn name_of(host: &Host, index: u32) -> &str {
    host.link_at(index).map_or("?", |link| &link.name)
}

/// Whether there is a way back to whoever may come.
fn to_clients(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    for service in nat(model) {
        for group in clients(service) {
            let mut samples = group.samples.iter();
            let leads = |way| !matches!(way, Way::Nowhere | Way::Refused);
            if samples.any(|sample| leads(host.way_to(*sample))) {
                continue;
            }
            if told.insert(group.whose.clone()) {
                let family = group.samples.first().copied().map(Family::of);
                let flag = if family == Some(Family::V6) {
                    "-6 "
                } else {
                    ""
                };
                let finding = Finding::new(
                    FindingCode::NoRouteToClients,
                    format!(
                        "no route leads back to {}: answers of {} go nowhere",
                        group.whose,
                        quote(&service.name)
                    ),
                    format!("ip {flag}route replace default via GATEWAY"),
                );
                findings.push(finding.at(service.span));
            }
        }
    }
}

/// Whether packets that come in go out again: by family, all interfaces that they come in by.
fn between(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    for family in Family::BOTH {
        let of_family = |service: &&Service| service.families().any(|its| its == family);
        let services: Vec<&Service> = nat(model).filter(of_family).collect();
        let Some(first) = services.first() else {
            continue;
        };
        let who = match services.len() {
            1 => quote(&first.name),
            more => format!("{} and {} more", quote(&first.name), more - 1),
        };
        let nothing = format!("nothing of {who} reaches a server");
        if family == Family::V6 {
            if host.settings.ipv6_forward == Some(0) {
                let finding = Finding::new(
                    FindingCode::ForwardingOff,
                    format!("IPv6 forwarding is off: {nothing}"),
                    "sysctl -w net.ipv6.conf.all.forwarding=1",
                );
                findings.push(finding.at(first.span));
            }
            continue;
        }
        let mut passed = BTreeSet::new();
        for service in &services {
            let samples = clients(service).into_iter().flat_map(|group| group.samples);
            let servers = live(model, service).map(|server| server.address);
            for address in samples.chain(servers).filter(IpAddr::is_ipv4) {
                if let Way::Out { interface, .. } = host.way_to(address) {
                    passed.insert(interface);
                }
            }
        }
        let passed = passed.into_iter().filter_map(|index| host.link_at(index));
        let stuck: Vec<&Link> = passed.filter(|link| !link.forwards_ipv4).collect();
        let off = host.settings.ipv4_forward == Some(0);
        if off && (!stuck.is_empty() || host.links.iter().all(|link| !link.forwards_ipv4)) {
            let finding = Finding::new(
                FindingCode::ForwardingOff,
                format!("IPv4 forwarding is off: {nothing}"),
                "sysctl -w net.ipv4.ip_forward=1",
            );
            findings.push(finding.at(first.span));
            continue;
        }
        for link in stuck {
            let finding = Finding::new(
                FindingCode::ForwardingOff,
                format!(
                    "IPv4 forwarding is off for what comes in by {}: packets of {who} stop there",
                    link.name
                ),
                // With slashes, as an interface's name may have dots.
                format!("sysctl -w net/ipv4/conf/{}/forwarding=1", link.name),
            );
            findings.push(finding.at(first.span));
        }
    }
}

/// Where the rules of nat see what a bridge passes on, the bridge itself passes on what they translated: not to where it came
/// from, so that a server that is drawn for its own connection never gets it. The client asks again after a second, and is
/// given another.
fn bridges(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    for service in nat(model) {
        for server in live(model, service) {
            let called = match Family::of(server.address) {
                Family::V4 => host.settings.bridges_call_ipv4,
                Family::V6 => host.settings.bridges_call_ipv6,
            };
            let Way::Out {
                interface,
                gateway: None,
            } = host.way_to(server.address)
            else {
                continue;
            };
            let ports = host
                .links
                .iter()
                .filter(|link| link.port_of == Some(interface) && link.hairpin == Some(false));
            let mut commands =
                ports.map(|port| format!("bridge link set dev {} hairpin on", port.name));
            let Some(first) = commands.next().filter(|_| called == Some(1)) else {
                continue;
            };
            if told.insert(interface) {
                let mut finding = Finding::new(
                    FindingCode::BridgeWithoutHairpin,
                    format!(
                        "packets on the bridge {} pass the rules (bridge-nf-call-iptables): a server there that is a client of its own VIP waits a second where it is chosen itself, unless its port of the bridge sends back what came in by it",
                        name_of(host, interface)
                    ),
                    first,
                );
                finding.remedy.extend(commands);
                findings.push(finding.at(server.span));
            }
        }
    }
}

/// Whether strict reverse path filtering drops what comes in where a VIP is, because the way back is another.
fn reverse_paths(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    for service in nat(model) {
        let ways = clients(service).into_iter().flat_map(|group| group.samples);
        let back: BTreeSet<u32> = ways
            .filter(IpAddr::is_ipv4)
            .filter_map(|sample| match host.way_to(sample) {
                Way::Out { interface, .. } => Some(interface),
                Way::Nowhere | Way::Refused | Way::Local => None,
            })
            .collect();
        let Some(other) = back.first().map(|index| name_of(host, *index)) else {
            continue;
        };
        for vip in service.vips.iter().filter(|vip| vip.address.is_ipv4()) {
            let own = host.addresses.iter().find(|own| own.address == vip.address);
            let link = own.and_then(|own| host.link_at(own.interface));
            let Some(link) = link.filter(|link| link.has_neighbours) else {
                continue;
            };
            let all = host.settings.rp_filter.unwrap_or(0);
            let strict = all.max(link.rp_filter.into()) == 1;
            if strict && !back.contains(&link.index) && told.insert(link.index) {
                let name = &link.name;
                let finding = Finding::new(
                    FindingCode::StrictReversePath,
                    format!(
                        "{name} has the VIP {} and drops what clients send (rp_filter is strict), because the route back to them leads by {other}",
                        vip.address
                    ),
                    format!("sysctl -w net/ipv4/conf/{name}/rp_filter=2"),
                );
                findings.push(finding.at(vip.span));
            }
        }
    }
}
