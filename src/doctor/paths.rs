//! The ways that packets take: to the servers, back to the clients, from one interface to another.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::addresses::{link_near, vips};
use super::reach::{clients, is_unresolved, live, name_of, silent};
use super::{Facts, Finding, FindingCode, direct, nat, set_for_link};
use crate::diagnostic::{quote, word};
use crate::kernel::host::{Host, Link, LinkState, RefusingRule, Way};
use crate::model::{Family, Model, Prefix, RealServer, Service, SourceNat};

/// The addresses to ask the kernel about, where packets to them go.
pub fn destinations(model: &Model) -> BTreeSet<IpAddr> {
    let mut destinations: BTreeSet<IpAddr> = vips(model).into_keys().collect();
    for service in &model.services {
        destinations.extend(live(model, service).map(|server| server.address));
    }
    for service in &model.services {
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
                    direct::links_to(mode, server, host)
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

pub(super) fn examine(model: &Model, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    for service in &model.services {
        for server in live(model, service) {
            let mut found = match service.mode.direct() {
                None => to_nat_server(service.mode.source_nat(), server, facts),
                Some(mode) => direct::to_server(mode, service, server, facts),
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
    refusing_rules(model, facts.host, findings);
}

fn to_nat_server(
    source: Option<&SourceNat>,
    server: &RealServer,
    facts: &Facts<'_>,
) -> Vec<Finding> {
    let (host, name, address) = (facts.host, quote(&server.name), server.address);
    let bits = Family::of(address).bits();
    let mut findings = Vec::new();
    // Without it another route may lead elsewhere.
    let near = link_near(host, address).filter(|link| link.state != LinkState::Up);
    if let Some(near) = near {
        let link = &near.name;
        let (what, remedy) = if near.state == LinkState::Down {
            ("is down", format!("ip link set dev {} up", word(link)))
        } else {
            let show = format!("ip -statistics link show dev {}", word(link));
            ("has nothing at its other end", show)
        };
        return vec![Finding::new(
            FindingCode::InterfaceDown,
            format!(
                "the interface {link}, in whose network the server {name} is ({address}), {what}"
            ),
            remedy,
        )];
    }
    match host.way_to(address) {
        Way::Local => {}
        // Told of the rule, once.
        Way::Refused
            if host
                .refusing_rules
                .iter()
                .any(|rule| surely_for(rule, address)) => {}
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
                            format!("ping -c 3 -I {} {gateway}", word(link)),
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
                set_for_link(&link.name, "forwarding", 1),
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
                ports.map(|port| format!("bridge link set dev {} hairpin on", word(&port.name)));
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

/// Whether a rule is for all packets to a server, or for all of its answers.
fn surely_for(rule: &RefusingRule, server: IpAddr) -> bool {
    let has = |prefix: &Option<Prefix>| prefix.is_some_and(|prefix| prefix.contains(server));
    let nothing_else = |other: &Option<Prefix>| other.is_none_or(|other| other.length() == 0);
    let to = (has(&rule.to) || rule.to.is_none()) && nothing_else(&rule.from);
    let from = has(&rule.from) && nothing_else(&rule.to);
    !rule.asks_more && rule.family == Family::of(server) && (to || from)
}

/// Rules that refuse packets on their way to servers or back.
fn refusing_rules(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    for rule in &host.refusing_rules {
        let of_family = |service: &&Service| service.families().any(|its| its == rule.family);
        let mut services = nat(model).filter(of_family).peekable();
        if services.peek().is_none() {
            continue;
        }
        let mut servers = services.flat_map(|service| live(model, service));
        let server = servers.find(|server| surely_for(rule, server.address));
        let (priority, action) = (rule.priority, rule.action);
        let ip = match rule.family {
            Family::V4 => "ip",
            Family::V6 => "ip -6",
        };
        let sentence = match server {
            Some(server) => format!(
                "`ip rule` {priority} ({action}) refuses all packets of the server {}, {}",
                quote(&server.name),
                server.address
            ),
            None => format!(
                "`ip rule` {priority} ({action}) refuses packets: those to servers and to clients must not be among what it is for"
            ),
        };
        let remedy = format!("{ip} rule show pref {priority}");
        let finding = Finding::new(FindingCode::RuleRefuses, sentence, remedy);
        findings.push(match server {
            Some(server) => finding.at(server.span),
            None => finding.known(),
        });
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
                    set_for_link(name, "rp_filter", 2),
                );
                findings.push(finding.at(vip.span));
            }
        }
    }
}
