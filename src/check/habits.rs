//! What is right by the language and cannot be meant, as files that come from other balancers have it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::pool::Pools;
use super::reader::Reader;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::model::{Member, Ports, Protocol, RealServer, Service};

/// Warns of servers that are VIPs.
pub(super) fn check(services: &[Service], pools: &Pools<'_>, reader: &mut Reader<'_>) {
    let mut vips: HashMap<IpAddr, Vec<(Protocol, Ports)>> = HashMap::new();
    for vip in services.iter().flat_map(|service| &service.vips) {
        vips.entry(vip.address)
            .or_default()
            .push((vip.protocol, vip.ports));
    }
    // A pool of many servers may be used by many services: it is looked through once.
    let of_pools: Vec<Vec<&RealServer>> = pools
        .read
        .iter()
        .map(|pool| {
            let servers = pool.real_servers.iter();
            servers
                .filter(|server| vips.contains_key(&server.address))
                .collect()
        })
        .collect();
    let mut told = HashSet::new();
    for service in services {
        for member in &service.members {
            let suspects: &[&RealServer] = match member {
                Member::Server(server) if vips.contains_key(&server.address) => &[server],
                Member::Server(_) => &[],
                Member::Pool(id) => of_pools.get(id.0).map_or(&[], Vec::as_slice),
            };
            for server in suspects {
                if !told.contains(&server.span) && meets(service, server, &vips) {
                    told.insert(server.span);
                    report_vip(service, server, reader);
                }
            }
        }
    }
}

/// Whether what is sent to a server comes to a VIP: in direct return by the address alone, else also by protocol and port.
fn meets(
    service: &Service,
    server: &RealServer,
    vips: &HashMap<IpAddr, Vec<(Protocol, Ports)>>,
) -> bool {
    if !service.mode.translates() {
        return true;
    }
    let Some(claimed) = vips.get(&server.address) else {
        return false;
    };
    service.vips.iter().any(|vip| {
        let ports = server.port.map_or(vip.ports, Ports::One);
        claimed
            .iter()
            .any(|(protocol, of_vip)| *protocol == vip.protocol && overlap(ports, *of_vip))
    })
}

fn overlap(one: Ports, other: Ports) -> bool {
    let ((first, last), (other_first, other_last)) = (bounds(one), bounds(other));
    first <= other_last && other_first <= last
}

const fn bounds(ports: Ports) -> (u16, u16) {
    match ports {
        Ports::One(port) => (port, port),
        Ports::Range(first, last) => (first, last),
        Ports::Any => (1, u16::MAX),
    }
}

fn report_vip(service: &Service, server: &RealServer, reader: &mut Reader<'_>) {
    let why = if service.mode.translates() {
        "what is sent there is not balanced again"
    } else {
        "frames for it would come back to the balancer"
    };
    let message = format!(
        "The server {} is a VIP of this file: {why}",
        quote(&server.name)
    );
    let fault = Diagnostic::new(Code::ServerIsVip, server.span, message)
        .related(service.span, "a server of this service");
    reader.report(fault.help("write the real server's own address"));
}
