//! Direct return: by which interfaces packets come and go, and which to write in place of one that does not do.
//!
//! Interfaces stand on each other: a VLAN or a macvlan on a card, a card in a bond, a bond in a bridge. Each packet belongs
//! to one of them, which has the neighbours and by which frames come that are for this machine.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::reach::{clients, is_unresolved, live, silent};
use super::stack::{relation, shares, stands_above, topmost, whose_neighbours};
use super::{Facts, Finding, FindingCode};
use crate::diagnostic::{quote, word};
use crate::kernel::host::{Host, Link, LinkState, Way};
use crate::model::{DirectReturn, Model, Prefix, RealServer, Service};

/// What the headers of IPv4 and TCP take, and those of IPv6 and TCP.
const HEADERS: u32 = 40;
const HEADERS_V6: u32 = 60;

/// The interfaces by which packets leave for a server, and that are there.
fn ways_out<'a>(
    mode: &'a DirectReturn,
    server: &'a RealServer,
    host: &'a Host,
) -> impl Iterator<Item = &'a Link> {
    let names = match mode.interface_to(server) {
        Some(interface) => std::slice::from_ref(interface),
        None => mode.on.as_slice(),
    };
    names.iter().filter_map(|name| host.link(name))
}

/// The interfaces by which direct return sends to a server whose MAC address the kernel has to find.
pub(super) fn links_to<'a>(
    mode: &'a DirectReturn,
    server: &'a RealServer,
    host: &'a Host,
) -> impl Iterator<Item = &'a Link> {
    let has_to = server.mac.is_none();
    let links = ways_out(mode, server, host);
    links.filter(move |link| has_to && link.state == LinkState::Up && link.has_neighbours)
}

/// What stops packets on their way to a server.
pub(super) fn to_server(
    mode: &DirectReturn,
    service: &Service,
    server: &RealServer,
    facts: &Facts<'_>,
) -> Vec<Finding> {
    let (host, name, address) = (facts.host, quote(&server.name), server.address);
    if let Some(finding) = this_machine(server, host).or_else(|| back(service, server, host)) {
        return vec![finding];
    }
    let mut findings = Vec::new();
    for link in links_to(mode, server, host) {
        if link.port_of.is_some() {
            let top = topmost(host, link);
            let has = whose_neighbours(host, link, address);
            let comes = mode.on.iter().any(|on| **on == *link.name);
            let by_mac = !(comes && misses(host, link));
            findings.push(port_of_another(link, top, has, by_mac));
            continue;
        }
        let hop = (link.index, address);
        // Who answers there is there, whatever the routes say.
        if facts.unresolved.is_some() && !is_unresolved(facts, hop) {
            continue;
        }
        let instead = match host.way_to(address) {
            Way::Out {
                interface,
                gateway: None,
            } if interface == link.index => {
                if is_unresolved(facts, hop) {
                    findings.push(silent(server, hop, host));
                }
                continue;
            }
            Way::Local => "it is this machine's own address".to_owned(),
            Way::Nowhere => "no route leads to it; give the address that it has there".to_owned(),
            Way::Refused => "a route refuses packets to it".to_owned(),
            Way::Out {
                interface,
                gateway: None,
            } => elsewhere(mode, link, interface, host),
            Way::Out {
                gateway: Some(gateway),
                ..
            } => format!(
                "the routes put it behind the router {gateway}, and direct return reaches neighbours alone"
            ),
        };
        findings.push(Finding::new(
            FindingCode::NotOnLink,
            format!(
                "the server {name}, {address}, is not on the link of {}: {instead}",
                link.name
            ),
            // A route would send this machine's own packets astray, and bring the server no nearer.
            format!("ip route get {address}"),
        ));
    }
    findings
}

/// That the routes put a server on another link, and what to write.
fn elsewhere(mode: &DirectReturn, link: &Link, interface: u32, host: &Host) -> String {
    let Some(other) = host.link_at(interface) else {
        return "the routes put it on an interface that is not there".to_owned();
    };
    let name = &other.name;
    let related = relation(host, other, link).map_or_else(String::new, |is| format!(", {is}"));
    let comes_here = mode.on.iter().any(|on| **on == *link.name);
    // A macvlan has what is for its own MAC address; all else that stands on an interface has the frames in its place.
    let takes_its_place = stands_above(host, other, link) && !shares(other);
    let write = if comes_here && !takes_its_place {
        format!("write `via {name}`")
    } else {
        format!("write {name} in place of {}", link.name)
    };
    format!("the routes put it on {name}{related}: {write}")
}

/// That an interface is a port of another one, `top`, and `has` has the neighbours.
fn port_of_another(port: &Link, top: &Link, has: &Link, by_mac: bool) -> Finding {
    let name = &port.name;
    let or = if by_mac {
        ", or give the servers by `mac`"
    } else {
        ""
    };
    let (of, write) = if has.index == top.index {
        let of = format!("{}, which has the neighbours", top.name);
        (of, format!("{} in its place", top.name))
    } else {
        let of = format!(
            "{}, on which {} stands, which has the neighbours",
            top.name, has.name
        );
        if shares(has) {
            (of, format!("`on {} via {}`", top.name, has.name))
        } else {
            (of, format!("{} in its place", has.name))
        }
    };
    Finding::new(
        FindingCode::PortOfAnother,
        format!("{name} is a port of {of}: write {write}{or}"),
        format!("ip -details link show dev {}", word(name)),
    )
}

/// A server that is this machine: what is sent to it never leaves, or comes back at once.
fn this_machine(server: &RealServer, host: &Host) -> Option<Finding> {
    let name = quote(&server.name);
    let own = server
        .mac
        .and_then(|mac| host.links.iter().find(|link| link.mac == Some(mac)));
    let own_address = host.way_to(server.address) == Way::Local;
    let (what, remedy) = match own {
        Some(link) => (
            format!("its MAC address is that of {} here", link.name),
            format!("ip link show dev {}", word(&link.name)),
        ),
        None if own_address && server.mac.is_none() => (
            format!("{} is an address of its own", server.address),
            format!("ip address show to {}", server.address),
        ),
        None => return None,
    };
    Some(Finding::new(
        FindingCode::ServerIsHere,
        format!(
            "the server {name} is this machine itself, {what}: direct return sends to other machines alone, so write the server's own, or use `mode nat`"
        ),
        remedy,
    ))
}

/// A server that is the router by which a VIP's packets come: it sends them here again.
fn back(service: &Service, server: &RealServer, host: &Host) -> Option<Finding> {
    let routed = |address| match host.way_to(address) {
        Way::Out { gateway, .. } => gateway == Some(server.address),
        Way::Local | Way::Nowhere | Way::Refused => false,
    };
    let vip = service
        .vips
        .iter()
        .map(|vip| vip.address)
        .find(|vip| routed(*vip));
    let to_clients = clients(service)
        .into_iter()
        .flat_map(|group| group.samples)
        .any(routed);
    let (sentence, known) = match vip {
        Some(vip) => (
            format!(
                "the server {} is the router {} to which the routes send what is for the VIP {vip}: it sends the packets here again, unless it has the VIP itself",
                quote(&server.name),
                server.address
            ),
            false,
        ),
        None if to_clients => (
            format!(
                "the server {} is the router {} to the clients: what it does not take for the VIP itself it sends here again",
                quote(&server.name),
                server.address
            ),
            true,
        ),
        None => return None,
    };
    let finding = Finding::new(
        FindingCode::ServerRoutesBack,
        sentence,
        format!("ip route get {}", vip.unwrap_or(server.address)),
    );
    Some(if known { finding.known() } else { finding })
}

/// The interfaces of all services: those by which nothing comes or goes, and those that others are to be written for.
pub(super) fn examine(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let mut told: BTreeSet<String> = findings.iter().map(|one| one.sentence.clone()).collect();
    for service in &model.services {
        let Some(mode) = service.mode.direct() else {
            continue;
        };
        let mut found = nowhere(model, service, mode, host);
        found.extend(coming(service, mode, host));
        found.extend(lengths(model, service, mode, host));
        // Of a port it is told once what to write.
        let ports = findings
            .iter()
            .filter(|one| one.code == FindingCode::PortOfAnother);
        let ports: BTreeSet<_> = ports.map(|one| one.remedy.clone()).collect();
        found.retain(|one| one.code != FindingCode::PortOfAnother || !ports.contains(&one.remedy));
        found.retain(|finding| told.insert(finding.sentence.clone()));
        findings.extend(found.into_iter().map(|finding| finding.at(service.span)));
    }
}

/// `lo` leads nowhere but here.
fn nowhere(model: &Model, service: &Service, mode: &DirectReturn, host: &Host) -> Vec<Finding> {
    let ways = live(model, service).filter_map(|server| mode.interface_to(server));
    let on = mode.on.iter().map(|name| (name, "on"));
    let named: BTreeSet<_> = on.chain(ways.map(|name| (name, "via"))).collect();
    let lo = named.into_iter().filter_map(|(name, how)| {
        let link = host.link(name)?;
        // The kernel calls it `lo` in every network namespace, and has no other.
        (*link.name == *"lo").then_some((link, how))
    });
    lo.map(|(link, how)| {
        let does = if how == "on" {
            "no client's packet comes in by it"
        } else {
            "no server is reached by it"
        };
        Finding::new(
            FindingCode::LoopbackInterface,
            format!(
                "{} says `{how} {}`, which leads to this machine alone: {does}; write the interface of their network",
                quote(&service.name),
                link.name
            ),
            "ip -brief address show",
        )
    })
    .collect()
}

/// Whether frames for what an interface is a port of are not all seen on it. Those for a bridge have its MAC address, and
/// are strangers on a port with another; those for a bond come by any of its ports.
fn misses(host: &Host, port: &Link) -> bool {
    let Some(master) = port.port_of.and_then(|index| host.link_at(index)) else {
        return false;
    };
    let mut ports = host
        .links
        .iter()
        .filter(|link| link.port_of == port.port_of);
    match &*master.kind {
        "bridge" => master.mac != port.mac,
        "bond" | "team" => ports.nth(1).is_some(),
        _ => false,
    }
}

/// Whether frames for the VIPs come by the interfaces that are named for it.
fn coming(service: &Service, mode: &DirectReturn, host: &Host) -> Vec<Finding> {
    let on: Vec<&Link> = mode.on.iter().filter_map(|name| host.link(name)).collect();
    let is_on = |link: &Link| on.iter().any(|one| one.index == link.index);
    let mut findings = Vec::new();
    for link in &on {
        let top = topmost(host, link);
        if misses(host, link) && !is_on(top) {
            findings.push(port_of_another(link, top, top, false));
        }
    }
    for vip in &service.vips {
        let carriers = carriers(service, vip.address, host);
        if carriers.iter().any(|link| is_on(link)) {
            continue;
        }
        let upper = carriers.iter().find_map(|upper| {
            let is_below = |lower: &&&Link| {
                let own = topmost(host, lower).index == upper.index;
                stands_above(host, upper, lower) && !own
            };
            Some((*upper, *on.iter().find(is_below)?))
        });
        let Some((upper, lower)) = upper else {
            continue;
        };
        let instead = if shares(upper) && mode.via.is_none() {
            // Its neighbours are those of what it stands on, where the addresses for it are.
            format!("write `on {} via {}`", upper.name, lower.name)
        } else if mode.via.is_none() {
            format!("write {} in place of {}", upper.name, lower.name)
        } else {
            format!("write `on {}` in place of `on {}`", upper.name, lower.name)
        };
        let is = relation(host, upper, lower).unwrap_or_default();
        findings.push(Finding::new(
            FindingCode::ComesByAnother,
            format!(
                "packets for the VIP {} come in by {}, {is}, and {} does not see them as its own: {instead}",
                vip.address, upper.name, lower.name
            ),
            format!("ip -details link show dev {}", word(&upper.name)),
        ));
    }
    findings
}

/// The interfaces by which packets for a VIP come, so far as it can be told: those that have it, else those of its network,
/// else those of the way back to where they come from.
fn carriers<'h>(service: &Service, vip: IpAddr, host: &'h Host) -> Vec<&'h Link> {
    let with = |wanted: &dyn Fn(&crate::kernel::host::Address) -> bool| -> Vec<&Link> {
        let own = host.addresses.iter().filter(|own| wanted(own));
        own.filter_map(|own| host.link_at(own.interface))
            .filter(|link| link.has_neighbours)
            .collect()
    };
    let has = with(&|own| own.address == vip);
    if !has.is_empty() {
        return has;
    }
    let near = with(&|own| {
        let network = Prefix::new(own.address, own.prefix);
        own.prefix > 0 && network.is_some_and(|network| network.contains(vip))
    });
    if !near.is_empty() {
        return near;
    }
    let back = clients(service).into_iter().flat_map(|group| group.samples);
    let back = back.filter(|address| address.is_ipv4() == vip.is_ipv4());
    let ways = back.filter_map(|address| match host.way_to(address) {
        Way::Out { interface, .. } => host.link_at(interface),
        Way::Local | Way::Nowhere | Way::Refused => None,
    });
    ways.collect()
}

/// Packets that are longer than what the interface to a server takes are lost without a word: nothing here cuts them up or
/// tells their sender.
fn lengths(model: &Model, service: &Service, mode: &DirectReturn, host: &Host) -> Vec<Finding> {
    let mut pairs = BTreeSet::new();
    for server in live(model, service) {
        // Without one, they leave by the interface that they came in by.
        let Some(out) = mode.interface_to(server).and_then(|name| host.link(name)) else {
            continue;
        };
        let on = mode.on.iter().filter_map(|name| host.link(name));
        let longer = on.filter(|on| out.mtu > 0 && on.mtu > out.mtu && on.name != "lo");
        pairs.extend(longer.map(|on| (on.index, out.index)));
    }
    let named = pairs
        .into_iter()
        .filter_map(|(on, out)| Some((host.link_at(on)?, host.link_at(out)?)));
    named
        .map(|(on, out)| {
            let (mss, mss_v6) = (out.mtu.saturating_sub(HEADERS), out.mtu.saturating_sub(HEADERS_V6));
            Finding::new(
                FindingCode::SmallerMtu,
                format!(
                    "packets of up to {} bytes come in by {}, and {} takes {}: longer ones are lost without a word, unless the servers announce an MSS of {mss} at most (IPv6: {mss_v6}) or all machines on the link of {} can have a greater MTU",
                    on.mtu, on.name, out.name, out.mtu, out.name
                ),
                format!("ip -details link show dev {}", word(&out.name)),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
