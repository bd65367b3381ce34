//! Numbers for slots and servers: what a mark says.
//!
//! A mark is a slot first, then a server. The two ranges never meet, so that a missing slot can never be
//! taken for a server. Servers of services whose clients are remembered have ranges of their own, see
//! [`super::region`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::model::Model;
use crate::ruleset::name;
use crate::schedule::{Choice, Plan};

use super::identity;
use super::region::{Ranges, Region};

/// The numbers that servers may have. 0 is "no mark".
pub const SERVERS: RangeInclusive<u32> = 1..=0x00ff_ffff;

/// The numbers that slots may have.
pub const SLOTS: RangeInclusive<u32> = 0x0100_0000..=0x7fff_ffff;

/// Behind the last slot.
const SLOTS_END: u64 = *SLOTS.end() as u64 + 1;

/// The packet mark of what direct return has refused.
pub const REFUSED: u32 = u32::MAX;

/// The numbers of every block of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbering {
    /// Block by block.
    pub blocks: Vec<BlockNumbers>,
}

/// The numbers of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockNumbers {
    /// The number of each server, in the block's order.
    pub servers: Vec<u32>,
    /// The number of the first slot; the others follow. Unused in a block without slots.
    pub first_slot: u32,
    /// Where the servers' numbers are from, if the service remembers its clients.
    pub region: Option<Region>,
}

/// The numbers that the kernel has already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedNumbers {
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
    /// `web1 of www`, as [`super::identity_in`] finds it.
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

/// Numbers for an empty kernel: blocks in the plan's order, servers by name within their block. Depends on
/// names alone, so that a file written in another order gets the same.
///
/// Reports [`Code::TooMany`] at the first service whose numbers do not fit.
pub fn fresh(model: &Model, plan: &Plan<'_>, sink: &mut Diagnostics) -> Numbering {
    assign(model, plan, &ObservedNumbers::default(), sink)
}

/// Numbers that keep those which the kernel has, so that a change here renumbers nothing there: a server that is in
/// both keeps its number, a block that keeps its number of slots keeps its place. What is new gets the lowest
/// numbers that nothing in the kernel has, in the order of [`fresh`].
///
/// Reports [`Code::TooMany`] at the first service whose numbers do not fit.
pub fn assign(
    model: &Model,
    plan: &Plan<'_>,
    observed: &ObservedNumbers,
    sink: &mut Diagnostics,
) -> Numbering {
    let none = vec![None; plan.blocks.len()];
    assign_rest(model, plan, none, observed, sink)
}

/// The same where some blocks have their numbers already, each block in its place of `settled`. `observed` is what
/// the kernel has beside these.
///
/// Reports [`Code::TooMany`] at the first service whose numbers do not fit.
pub fn assign_rest(
    model: &Model,
    plan: &Plan<'_>,
    settled: Vec<Option<BlockNumbers>>,
    observed: &ObservedNumbers,
    sink: &mut Diagnostics,
) -> Numbering {
    let known = known_blocks(plan, &settled, observed);
    let slots = place_slots(plan, &settled, observed, &known);
    let regions = place_regions(plan, &settled, observed, &known);
    let servers = number_servers(model, plan, settled, observed, &known, &regions);
    let mut too_many = false;
    let mut blocks = Vec::with_capacity(plan.blocks.len());
    for (((block, servers), first_slot), region) in
        plan.blocks.iter().zip(servers).zip(slots).zip(regions)
    {
        let numbers = servers.into_iter().collect::<Option<Vec<u32>>>();
        if (numbers.is_none() || first_slot.is_none()) && !too_many {
            too_many = true;
            sink.report(
                Diagnostic::new(
                    Code::TooMany,
                    block.service.span,
                    format!(
                        "up to service `{}` the file needs more real servers or slots than marks can number",
                        block.service.name
                    ),
                )
                .help("share servers through pools with the same scheduler and mode, or use smaller Maglev tables"),
            );
        }
        blocks.push(BlockNumbers {
            servers: numbers.unwrap_or_default(),
            first_slot: first_slot.unwrap_or(u32::MAX),
            region,
        });
    }
    Numbering { blocks }
}

/// For each block of the plan, what the kernel has of it: that of the first service that uses it, and is known.
fn known_blocks<'o>(
    plan: &Plan<'_>,
    settled: &[Option<BlockNumbers>],
    observed: &'o ObservedNumbers,
) -> Vec<Option<&'o KnownBlock>> {
    let mut known = vec![None; plan.blocks.len()];
    if observed.blocks.is_empty() {
        return known;
    }
    for service in &plan.services {
        for (family, place) in &service.families {
            if place.is_none_or(|place| settled.get(place).is_some_and(Option::is_some)) {
                continue;
            }
            let chain = name::service_chain(&service.service.name, *family);
            if let Some(slot) = place.and_then(|place| known.get_mut(place))
                && slot.is_none()
            {
                *slot = observed.blocks.get(&chain);
            }
        }
    }
    known
}

/// The region of each block whose service remembers its clients. A service keeps its own, by which its clients are
/// remembered. New ones are those that nothing in the kernel has had: connections and clients of a service that goes may
/// still be on their way out.
fn place_regions(
    plan: &Plan<'_>,
    settled: &[Option<BlockNumbers>],
    observed: &ObservedNumbers,
    known: &[Option<&KnownBlock>],
) -> Vec<Option<Region>> {
    let mut used: FxHashSet<Region> = settled.iter().flatten().filter_map(|b| b.region).collect();
    let mut regions: Vec<Option<Region>> = Vec::with_capacity(plan.blocks.len());
    for ((block, known), settled) in plan.blocks.iter().zip(known).zip(settled) {
        let kept = match settled {
            Some(numbers) => numbers.region,
            None => known
                .and_then(|known| known.region)
                .filter(|region| region.holds(block.servers.len()) && !used.contains(region)),
        };
        let kept = kept.filter(|_| block.service.persistence.is_some());
        used.extend(kept);
        regions.push(kept);
    }
    let mut taken = None;
    let [mut fresh, mut freed] = [Ranges::new(), Ranges::new()];
    for (block, region) in plan.blocks.iter().zip(&mut regions) {
        if block.service.persistence.is_none() || region.is_some() {
            continue;
        }
        let taken = taken.get_or_insert_with(|| {
            let servers = observed.servers.iter().map(|server| server.number);
            let mut taken: FxHashSet<Region> = servers.filter_map(Region::containing).collect();
            taken.extend(observed.blocks.values().filter_map(|block| block.region));
            taken.extend(&used);
            taken
        });
        let servers = block.servers.len();
        *region = fresh
            .free(servers, taken)
            .or_else(|| freed.free(servers, &used));
        used.extend(*region);
    }
    regions
}

/// The numbers of the servers of each block; `None` where none is left.
fn number_servers(
    model: &Model,
    plan: &Plan<'_>,
    settled: Vec<Option<BlockNumbers>>,
    observed: &ObservedNumbers,
    known: &[Option<&KnownBlock>],
    regions: &[Option<Region>],
) -> Vec<Vec<Option<u32>>> {
    // A number that becomes free now still stands in the marks of connections that are to be forgotten.
    let mut before: FxHashSet<u32> = observed
        .servers
        .iter()
        .map(|server| server.number)
        .collect();
    before.extend(settled.iter().flatten().flat_map(|block| &block.servers));
    let mut numbers: Vec<Vec<Option<u32>>> = plan
        .blocks
        .iter()
        .zip(settled)
        .map(|(block, settled)| match settled {
            Some(numbers) => numbers.servers.into_iter().map(Some).collect(),
            None => vec![None; block.servers.len()],
        })
        .collect();
    let mut used: FxHashSet<u32> = numbers.iter().flatten().copied().flatten().collect();
    if !observed.servers.is_empty() {
        let namesakes = Namesakes::new(&observed.servers);
        // The same pool in two blocks has every server twice under one name. Those that a block leads to are its
        // own; the others are taken afterwards, the nearest first.
        for sure in [true, false] {
            for (((block, numbers), known), region) in
                plan.blocks.iter().zip(&mut numbers).zip(known).zip(regions)
            {
                for (server, number) in block.servers.iter().zip(numbers) {
                    if number.is_some() {
                        continue;
                    }
                    let identity = identity(model, block, server);
                    let free = namesakes
                        .of(&identity, *region)
                        .filter(|known| {
                            known.port == server.port
                                && known.address.is_none_or(|a| a == server.address)
                        })
                        .map(|known| known.number)
                        .filter(|number| !used.contains(number));
                    let own = known.map(|known| &known.servers);
                    let found = if sure {
                        free.filter(|n| own.is_some_and(|own| own.contains(n)))
                            .min()
                    } else {
                        let near = own.and_then(|own| own.iter().min()).copied();
                        free.min_by_key(|n| (n.abs_diff(near.unwrap_or_default()), *n))
                    };
                    used.extend(found);
                    *number = found;
                }
            }
        }
    }
    let mut fresh = SERVERS.filter(|n| !before.contains(n));
    let mut freed = SERVERS.filter(|n| before.contains(n) && !used.contains(n));
    for ((block, numbers), region) in plan.blocks.iter().zip(&mut numbers).zip(regions) {
        let own = |wanted: bool| {
            let numbers = region.map(Region::servers).into_iter().flatten();
            let (before, used) = (&before, &used);
            numbers.filter(move |n| before.contains(n) == wanted && !used.contains(n))
        };
        let mut own = own(false).chain(own(true));
        let must_have = block.service.persistence.is_some();
        let mut by_name: Vec<usize> = (0..block.servers.len()).collect();
        by_name.sort_by_key(|at| block.servers.get(*at).map(|server| &server.name));
        for at in by_name {
            if let Some(number) = numbers.get_mut(at)
                && number.is_none()
            {
                *number = if must_have {
                    own.next()
                } else {
                    fresh.next().or_else(|| freed.next())
                };
            }
        }
    }
    numbers
}

/// Servers by who they are, and where their numbers are from: mostly one of each.
struct Namesakes<'o> {
    servers: &'o [KnownServer],
    /// The last of each name.
    last: FxHashMap<(&'o str, Option<Region>), usize>,
    /// For each server, the one before it of the same name.
    before: Vec<Option<usize>>,
}

impl<'o> Namesakes<'o> {
    fn new(servers: &'o [KnownServer]) -> Self {
        let mut last = FxHashMap::default();
        last.reserve(servers.len());
        let before = servers.iter().enumerate().map(|(at, server)| {
            let region = Region::containing(server.number);
            // What is neither a server's number nor of a region was changed by hand.
            let sound = region.is_some() || SERVERS.contains(&server.number);
            sound
                .then(|| last.insert((&*server.identity, region), at))
                .flatten()
        });
        Self {
            servers,
            before: before.collect(),
            last,
        }
    }

    fn of(&self, identity: &str, region: Option<Region>) -> impl Iterator<Item = &'o KnownServer> {
        let last = self.last.get(&(identity, region)).copied();
        std::iter::successors(last, |at| self.before.get(*at).copied().flatten())
            .filter_map(|at| self.servers.get(at))
    }
}

/// The first slot of each block; `None` where no range is left that is long enough.
fn place_slots(
    plan: &Plan<'_>,
    settled: &[Option<BlockNumbers>],
    observed: &ObservedNumbers,
    known: &[Option<&KnownBlock>],
) -> Vec<Option<u32>> {
    let wanted = |choice: &Choice| match choice {
        Choice::Slots { owners, .. } => owners.len() as u64,
        Choice::Empty | Choice::Only(_) => 0,
    };
    // Ranges that stay, from their first to behind their last.
    let mut kept: BTreeMap<u64, u64> = BTreeMap::new();
    for (block, numbers) in plan.blocks.iter().zip(settled) {
        let count = wanted(&block.choice);
        if let Some(numbers) = numbers
            && count > 0
        {
            let first = u64::from(numbers.first_slot);
            kept.insert(first, first + count);
        }
    }
    let mut places: Vec<Option<u32>> = Vec::with_capacity(plan.blocks.len());
    for ((block, known), settled) in plan.blocks.iter().zip(known).zip(settled) {
        if let Some(numbers) = settled {
            places.push(Some(numbers.first_slot));
            continue;
        }
        let slots = known.and_then(|known| known.slots);
        let stays = slots.filter(|(first, count)| {
            let (first, count) = (u64::from(*first), u64::from(*count));
            let before = kept.range(..first + count).next_back();
            count == wanted(&block.choice)
                && first >= u64::from(*SLOTS.start())
                && first + count <= SLOTS_END
                && before.is_none_or(|(_, end)| *end <= first)
        });
        if let Some((first, count)) = stays {
            kept.insert(first.into(), u64::from(first) + u64::from(count));
        }
        places.push(stays.map(|(first, _)| first));
    }
    // A packet that is on its way through the rules at the very commit has drawn a slot by the old ones and is led on by
    // the new ones: a slot that becomes free now must not be another service's at once.
    let mut taken = kept.clone();
    for (first, count) in observed.blocks.values().filter_map(|known| known.slots) {
        let end = taken.entry(first.into()).or_default();
        *end = (*end).max(u64::from(first) + u64::from(count));
    }
    let mut fresh = Gaps::new(&taken);
    let mut freed = Gaps::new(&kept);
    for (block, place) in plan.blocks.iter().zip(&mut places) {
        if place.is_none() {
            let length = wanted(&block.choice);
            *place = fresh.take(length).or_else(|| freed.take(length));
        }
    }
    places
}

/// The ranges of slots that are free, from first to behind the last, in order.
struct Gaps {
    gaps: Vec<(u64, u64)>,
    /// Gaps before this one are used up.
    from: usize,
}

impl Gaps {
    fn new(kept: &BTreeMap<u64, u64>) -> Self {
        let mut gaps = Vec::new();
        let mut free = u64::from(*SLOTS.start());
        for (first, end) in kept {
            // What the kernel has may be anything: somebody can have changed its rules.
            let first = (*first).min(SLOTS_END);
            if first > free {
                gaps.push((free, first));
            }
            free = free.max(*end).min(SLOTS_END);
        }
        gaps.push((free, SLOTS_END));
        Self { gaps, from: 0 }
    }

    /// The first range of this length.
    fn take(&mut self, length: u64) -> Option<u32> {
        while let Some((first, end)) = self.gaps.get(self.from)
            && first == end
            && self.from + 1 < self.gaps.len()
        {
            self.from += 1;
        }
        let mut gaps = self.gaps.iter_mut().skip(self.from);
        let gap = gaps.find(|(first, end)| end - first >= length)?;
        let place = gap.0;
        gap.0 += length;
        u32::try_from(place)
            .ok()
            .or((length == 0).then_some(u32::MAX))
    }
}
