//! The numbers that the kernel's tables give to servers and slots.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::diff::{Observed, ObservedChain, ObservedRule, ObservedTable};
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::change::{Change, Step};
use crate::emit::netlink::constant::{data, expr, hash, immediate, numgen, verdict};
use crate::emit::netlink::{Element, TableFamily};
use crate::lower::identity_in;
use crate::lower::layout::Layout;
use crate::lower::number::Places;
use crate::lower::region::Region;
use crate::ruleset::name;

use super::element::{address_of, mark, port_of, value, word};

/// The numbers that the kernel has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedNumbers {
    /// Which bits they are in.
    pub layout: Layout,
    /// Every server.
    pub servers: Vec<KnownServer>,
    /// What the chain of each service and family draws, by the chain's name.
    pub blocks: FxHashMap<Arc<str>, KnownBlock>,
}

/// A server that has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// Its number.
    pub number: u32,
    /// `web1 of www`, as [`identity_in`] finds it.
    pub identity: Arc<str>,
    /// Its address, where the kernel has it.
    pub address: Option<IpAddr>,
    /// Its own port.
    pub port: Option<u16>,
}

/// What a service's chain draws.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownBlock {
    /// The first slot, and how many; none where there is one server alone.
    pub slots: Option<(u32, u32)>,
    /// The numbers of servers that it can lead to.
    pub servers: FxHashSet<u32>,
    /// Where all of its servers' numbers are from, if the service remembers its clients.
    pub region: Option<Region>,
}

impl From<&ObservedNumbers> for Places {
    fn from(known: &ObservedNumbers) -> Self {
        let blocks = known.blocks.iter();
        Self {
            settled: Vec::new(),
            others: blocks
                .filter_map(|(chain, block)| Some((chain.clone(), block.slots?)))
                .collect(),
        }
    }
}

/// Which bits of marks the numbers of tables are in, as they tell themselves.
pub(crate) fn layout(observed: &Observed) -> Layout {
    let tables = TableFamily::BOTH.into_iter();
    let tables = tables.filter_map(|family| observed.table(family));
    let chains = tables.flat_map(|table| &table.chains);
    Layout::of_chains(chains.map(|chain| &*chain.name))
}

/// Reads the numbers out of what the kernel has.
pub fn numbers(observed: &Observed) -> ObservedNumbers {
    let layout = layout(observed);
    let mut numbers = ObservedNumbers {
        layout,
        ..ObservedNumbers::default()
    };
    for table in TableFamily::BOTH
        .into_iter()
        .filter_map(|f| observed.table(f))
    {
        numbers.servers.extend(servers(table));
        let slots: FxHashMap<u32, u32> = elements_of(table, name::SLOTS)
            .filter_map(|e| Some((mark(e)?, value(e).and_then(word)?)))
            .collect();
        for chain in &table.chains {
            if name::is_service_chain(&chain.name)
                && let Some(block) = block(chain, &slots, layout)
            {
                numbers.blocks.insert(chain.name.clone(), block);
            }
        }
    }
    numbers
}

/// The numbers of services whose clients are turned away, which go with those of servers: from the one that a service has
/// to the one that it is to have.
pub(crate) fn turned_away(has: &Observed, changes: &[Change]) -> FxHashMap<u32, u32> {
    let mut had: FxHashMap<(TableFamily, &str), u32> = FxHashMap::default();
    for family in TableFamily::BOTH {
        let elements = has.table(family).into_iter();
        for element in elements.flat_map(|table| elements_of(table, name::AWAY)) {
            if let (Some(service), Some(number)) = (&element.comment, mark(element)) {
                had.insert((family, service), number);
            }
        }
    }
    let mut moved = FxHashMap::default();
    for change in changes {
        let Step::AddElements { set, elements, .. } = &change.step else {
            continue;
        };
        for element in elements.iter().filter(|_| **set == *name::AWAY) {
            if let (Some(service), Some(number)) = (&element.comment, mark(element))
                && let Some(before) = had.get(&(change.family, &**service))
                && *before != number
            {
                moved.insert(*before, number);
            }
        }
    }
    moved
}

fn elements_of<'a>(table: &'a ObservedTable, set: &str) -> impl Iterator<Item = &'a Element> {
    table.set(set).into_iter().flat_map(|set| &set.elements)
}

/// The servers of a table: who they are, from the set that says so, and where, from the maps that lead there.
fn servers(table: &ObservedTable) -> Vec<KnownServer> {
    let maps = table.sets.iter();
    let maps = maps.filter(|set| name::is_addresses(&set.name));
    let addresses: FxHashMap<u32, IpAddr> = maps
        .flat_map(|set| &set.elements)
        .filter_map(|e| Some((mark(e)?, address_of(value(e)?)?)))
        .collect();
    let ports: FxHashMap<u32, u16> = elements_of(table, name::PORTS)
        .filter_map(|e| Some((mark(e)?, port_of(value(e)?)?)))
        .collect();
    elements_of(table, name::SERVERS)
        .filter_map(|element| {
            let number = mark(element)?;
            let identity: Arc<str> = identity_in(element.comment.as_ref()?)?.into();
            Some(KnownServer {
                number,
                identity,
                address: addresses.get(&number).copied(),
                port: ports.get(&number).copied(),
            })
        })
        .collect()
}

/// The chain that a rule goes to, if that is all it does.
fn goes_to(rule: &ObservedRule) -> Option<&str> {
    leads_to(Attributes::new(&rule.body.expressions).into_iter().next()?)
}

/// The chain of a verdict.
fn leads_to(expression: Attribute<'_>) -> Option<&str> {
    let value = expression.inside().find(expr::DATA)?.inside();
    let verdict = value.find(immediate::DATA)?.inside().find(data::VERDICT)?;
    verdict.inside().find(verdict::CHAIN)?.string()
}

/// What a service's chain draws: read from the expression that makes the mark.
fn block(chain: &ObservedChain, slots: &FxHashMap<u32, u32>, layout: Layout) -> Option<KnownBlock> {
    let region = chain.rules.iter().find_map(|rule| region(rule, layout));
    let drawn = drawn(chain, slots);
    region.map_or(drawn.clone(), |region| {
        Some(KnownBlock {
            region: Some(region),
            ..drawn.unwrap_or_default()
        })
    })
}

/// The number of the service, if the rule sets the mark to it and asks whether the client is remembered:
/// `ct mark set 0x80000000 jump return4_32`. Other rules set the mark to hashes, which may look like such a number.
fn region(rule: &ObservedRule, layout: Layout) -> Option<Region> {
    let expressions = || Attributes::new(&rule.body.expressions).into_iter();
    let asks = expressions()
        .filter_map(leads_to)
        .any(|chain| chain.starts_with(name::RETURN));
    let number = expressions().find_map(|expression| {
        if expression.inside().find(expr::NAME)?.string()? != "immediate" {
            return None;
        }
        let inside = expression.inside().find(expr::DATA)?.inside();
        let value = inside.find(immediate::DATA)?.inside().find(data::VALUE)?;
        word(value.value)
    });
    let number = number.filter(|_| asks)?;
    Region::containing(number, layout).filter(|region| region.service() == number)
}

/// Every slot that the rules of a table draw, once. Of rules that draw more than the map can hold, which none of flbc's
/// do, nothing.
pub(crate) fn drawn_slots(table: &ObservedTable) -> Vec<u32> {
    let room = table
        .set(name::SLOTS)
        .map_or(0, |set| u64::from(set.shape.size));
    let chains = table.chains.iter();
    let chains = chains.filter(|chain| name::is_service_chain(&chain.name));
    let drawn: BTreeSet<(u32, u32)> = chains
        .filter_map(|chain| match draw(chain)? {
            Draw::Slots(first, count) => Some((first, count)),
            Draw::Only(_) => None,
        })
        .collect();
    if drawn
        .iter()
        .map(|(_, count)| u64::from(*count))
        .sum::<u64>()
        > room
    {
        return Vec::new();
    }
    let ranges = drawn.into_iter();
    ranges
        .flat_map(|(first, count)| first..first.saturating_add(count))
        .collect()
}

/// What a service's chain draws from.
pub(crate) enum Draw {
    /// The first slot, and how many.
    Slots(u32, u32),
    /// The number of a server that is alone.
    Only(Option<u32>),
}

pub(crate) fn draw(chain: &ObservedChain) -> Option<Draw> {
    // What comes before these two asks who may come, and whether the client is remembered.
    let [.., rule, goes] = chain.rules.as_slice() else {
        return None;
    };
    if goes_to(goes)? == name::REFUSE {
        return None;
    }
    Attributes::new(&rule.body.expressions)
        .into_iter()
        .find_map(|expression| {
            let name = expression.inside().find(expr::NAME)?.string()?;
            let inside = expression.inside().find(expr::DATA)?.inside();
            let number = |kind| inside.find(kind).and_then(Attribute::u32);
            let slots = |first: Option<u32>, count| Draw::Slots(first.unwrap_or_default(), count);
            match name {
                "numgen" => Some(slots(number(numgen::OFFSET), number(numgen::MODULUS)?)),
                "hash" => Some(slots(number(hash::OFFSET), number(hash::MODULUS)?)),
                "immediate" => {
                    let value = inside.find(immediate::DATA)?.inside().find(data::VALUE)?;
                    Some(Draw::Only(word(value.value)))
                }
                _ => None,
            }
        })
}

/// Whose the slots are that are drawn, one for each that is there. A rule of somebody else's may draw from all numbers that
/// there are: that takes no longer than the map is large.
pub(super) fn owners((first, count): (u32, u32), slots: &FxHashMap<u32, u32>) -> Vec<u32> {
    let range = first..first.saturating_add(count);
    if count as usize > slots.len() {
        let drawn = slots.iter().filter(|(slot, _)| range.contains(slot));
        return drawn.map(|(_, owner)| *owner).collect();
    }
    range.filter_map(|slot| slots.get(&slot).copied()).collect()
}

fn drawn(chain: &ObservedChain, slots: &FxHashMap<u32, u32>) -> Option<KnownBlock> {
    Some(match draw(chain)? {
        Draw::Slots(first, count) => KnownBlock {
            slots: Some((first, count)),
            servers: owners((first, count), slots).into_iter().collect(),
            region: None,
        },
        Draw::Only(number) => KnownBlock {
            slots: None,
            servers: number.into_iter().collect(),
            region: None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_draws_from_all_numbers_waits_for_none_of_them() {
        let slots: FxHashMap<u32, u32> = [(0, 7), (1, 8), (5, 7), (u32::MAX, 9)]
            .into_iter()
            .collect();
        let sorted = |drawn| {
            let mut owners = owners(drawn, &slots);
            owners.sort_unstable();
            owners
        };
        assert_eq!(sorted((0, 2)), [7, 8]);
        assert_eq!(sorted((0, u32::MAX)), [7, 7, 8]);
        assert_eq!(sorted((5, u32::MAX)), [7]);
        assert_eq!(sorted((2, 3)), Vec::<u32>::new());
    }
}
