//! Interfaces that stand on each other: a VLAN or a macvlan on a card, a card in a bond, a bond in a bridge.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::kernel::host::{Host, Link, Way};

/// Whether an interface shares a network with what it stands on, and has a MAC address or IP addresses of its own.
pub(super) fn shares(link: &Link) -> bool {
    matches!(&*link.kind, "macvlan" | "macvtap" | "ipvlan" | "ipvtap")
}

/// What one interface is to another.
pub(super) fn relation(host: &Host, one: &Link, other: &Link) -> Option<String> {
    if one.stands_on == Some(other.index) {
        Some(format!("a {} of {}", one.kind, other.name))
    } else if other.stands_on == Some(one.index) {
        Some(format!("of which {} is a {}", other.name, other.kind))
    } else if stands_above(host, one, other) {
        Some(format!("which stands on {}", other.name))
    } else if stands_above(host, other, one) {
        Some(format!("on which {} stands", other.name))
    } else {
        None
    }
}

/// The interface that takes what comes in by this one, over any number of bonds and bridges.
pub(super) fn topmost<'h>(host: &'h Host, link: &'h Link) -> &'h Link {
    let mut top = link;
    // Each is in another one; the bound is for what was read while it changed.
    for _ in 0..host.links.len() {
        match top.port_of.and_then(|index| host.link_at(index)) {
            Some(master) => top = master,
            None => break,
        }
    }
    top
}

/// The interface that has the neighbours of a port: the topmost, or a VLAN or the like of it by which the routes reach
/// the address.
pub(super) fn whose_neighbours<'h>(host: &'h Host, port: &'h Link, address: IpAddr) -> &'h Link {
    let top = topmost(host, port);
    let on_link = match host.way_to(address) {
        Way::Out {
            interface,
            gateway: None,
        } => host.link_at(interface),
        Way::Out { .. } | Way::Local | Way::Nowhere | Way::Refused => None,
    };
    on_link
        .filter(|link| stands_above(host, link, top))
        .unwrap_or(top)
}

/// Whether an interface stands on another, by any number of others.
pub(super) fn stands_above(host: &Host, upper: &Link, lower: &Link) -> bool {
    let mut left = vec![lower.index];
    let mut seen = BTreeSet::new();
    while let Some(index) = left.pop() {
        if !seen.insert(index) {
            continue;
        }
        if index == upper.index && index != lower.index {
            return true;
        }
        let above = host
            .links
            .iter()
            .filter(|link| link.stands_on == Some(index));
        left.extend(above.map(|link| link.index));
        left.extend(host.link_at(index).and_then(|link| link.port_of));
    }
    false
}
