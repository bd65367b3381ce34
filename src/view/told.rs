//! What tables tell, in the operator's words.
//!
//! Those that the kernel has and those that it should have are read the same way: what the one cannot tell the other
//! cannot either. So tables that are the same never seem to differ, however pools are used.

use rustc_hash::FxHashMap;

use crate::diff::Observed;
use crate::emit::netlink::{Data, Desired, Element, TableFamily};
use crate::lower::{Comment, pools_of};
use crate::model::{Model, endpoint};
use crate::outline::{Difference, Outline, ServerOutline, Servers, ServiceMoves};
use crate::ruleset::name::{self, service_of};

use super::element::{address_of, mark, port_of, value};
use super::services::{UNKNOWN, mode_of, unabbreviate, vip};

/// Both tables, whoever has them.
pub(crate) trait Tables {
    /// What is in the table of this family, if there is one.
    fn contents(&self, family: TableFamily) -> Option<Contents<'_>>;
}

/// What is in a table.
pub(crate) struct Contents<'a> {
    sets: Vec<(&'a str, &'a [Element])>,
    chains: Vec<&'a str>,
}

impl Tables for Observed {
    fn contents(&self, family: TableFamily) -> Option<Contents<'_>> {
        let table = self.table(family)?;
        let sets = table.sets.iter();
        Some(Contents {
            sets: sets.map(|set| (&*set.name, &*set.elements)).collect(),
            chains: table.chains.iter().map(|chain| &*chain.name).collect(),
        })
    }
}

impl Tables for Desired {
    fn contents(&self, family: TableFamily) -> Option<Contents<'_>> {
        let table = self.table(family)?;
        let sets = table.sets.iter();
        Some(Contents {
            sets: sets.map(|set| (&*set.name, &*set.elements)).collect(),
            chains: table.chains.iter().map(|chain| &*chain.name).collect(),
        })
    }
}

/// What differs, as far as both tell, and whom that moves; in the order of what the new ones were made from, if that is
/// known.
pub(crate) fn difference(
    old: &impl Tables,
    new: &impl Tables,
    (clients, order): (&[ServiceMoves], Option<&Model>),
) -> Difference {
    let (mut old, mut new) = (outline(old), outline(new));
    if let Some(model) = order {
        new = new.in_order_of(model);
    }
    for (name, old) in &mut old.pools {
        if let Some(new) = new.pools.get_mut(name) {
            level(old, new);
        }
    }
    for (name, old) in &mut old.services {
        if let Some(new) = new.services.get_mut(name) {
            level(&mut old.servers, &mut new.servers);
        }
    }
    Difference::between(&old, &new, clients)
}

/// What tables tell: services with their VIPs, and servers, each where its comment says that it belongs.
///
/// The servers of a service that has a pool and servers of its own are all told as its own, and pools that are used
/// together as one: that is how they are scheduled.
pub(crate) fn outline(tables: &impl Tables) -> Outline {
    let mut outline = Outline::default();
    let mut servers: Vec<Told> = Vec::new();
    for family in TableFamily::BOTH {
        if let Some(contents) = tables.contents(family) {
            services(family, &contents, &mut outline);
            servers.extend(of_table(&contents));
        }
    }
    // In an order that numbers have no part in.
    servers.sort_by(|a, b| (&a.name, &a.outline).cmp(&(&b.name, &b.outline)));
    for server in servers {
        let known = match pools_of(&server.group) {
            Some(pool) => outline.pools.entry(pool.to_owned()).or_default(),
            None => &mut outline.services.entry(server.group).or_default().servers,
        };
        // A pool that is used in two ways has each server twice.
        known.entry(server.name).or_insert(server.outline);
    }
    outline
}

/// A real server.
struct Told {
    name: String,
    /// The service, or `pool NAME`, that it was declared in.
    group: String,
    outline: ServerOutline,
}

/// What only one side tells is no difference.
fn level(old: &mut Servers, new: &mut Servers) {
    for (name, old) in old {
        let Some(new) = new.get_mut(name) else {
            continue;
        };
        if old.endpoint == UNKNOWN || new.endpoint == UNKNOWN {
            UNKNOWN.clone_into(&mut old.endpoint);
            UNKNOWN.clone_into(&mut new.endpoint);
        }
    }
}

fn services(family: TableFamily, contents: &Contents<'_>, outline: &mut Outline) {
    let dispatch = name::dispatch(mode_of(family));
    let sets = contents.sets.iter();
    let elements = sets
        .filter(|(name, _)| name.starts_with(dispatch))
        .flat_map(|(name, elements)| elements.iter().map(move |element| (name, element)));
    for (set, element) in elements {
        if let Data::Verdict(_, Some(chain)) = &element.data
            && let (Some(name), Some(vip)) = (service_of(chain), vip(set, element))
        {
            let service = outline.services.entry(name.to_owned()).or_default();
            service.vips.push(vip.to_string());
        }
    }
    for service in outline.services.values_mut() {
        service.vips.sort_unstable();
        // In direct return the same VIP stands once for each interface.
        service.vips.dedup();
    }
}

fn of_table(contents: &Contents<'_>) -> Vec<Told> {
    let elements = |wanted: fn(&str) -> bool| {
        let sets = contents.sets.iter().filter(move |(name, _)| wanted(name));
        sets.flat_map(|(_, elements)| *elements)
    };
    let addresses: FxHashMap<u32, _> = elements(name::is_addresses)
        .filter_map(|one| Some((mark(one)?, address_of(value(one)?)?)))
        .collect();
    let ports: FxHashMap<u32, u16> = elements(|name| name == name::PORTS)
        .filter_map(|one| Some((mark(one)?, port_of(value(one)?)?)))
        .collect();
    let mut servers: Vec<Told> = elements(|name| name == name::SERVERS)
        .filter_map(|element| {
            let number = mark(element)?;
            let Comment { standing, who } = Comment::read(element.comment.as_deref()?)?;
            let address = addresses.get(&number).copied();
            let endpoint = address.map(|address| endpoint(address, ports.get(&number).copied()));
            Some(Told {
                name: who.name.into_owned(),
                group: who.group.into_owned(),
                outline: ServerOutline {
                    place: 0,
                    endpoint: endpoint.unwrap_or_else(|| UNKNOWN.to_owned()),
                    settings: ServerOutline::standing(standing.weight, standing.state),
                },
            })
        })
        .collect();
    let groups = servers.iter_mut().map(|server| &mut server.group);
    unabbreviate(contents.chains.iter().copied(), groups);
    servers
}
