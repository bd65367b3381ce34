//! Where the slots of blocks lie. They are free to lie anywhere, and stay where they are while there are as many.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::ruleset::name;
use crate::schedule::{Choice, Plan};

/// The numbers that slots may have. What is below is left to others, who mark by small numbers; 0 is "no mark".
pub const SLOTS: RangeInclusive<u32> = 0x0010_0000..=0x3fff_ffff;

/// Behind the last slot.
const SLOTS_END: u64 = *SLOTS.end() as u64 + 1;

/// Where slots lie already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// For each block of the plan that stays as it is, its first slot. May be shorter than the plan.
    pub settled: Vec<Option<u32>>,
    /// The first slot, and how many, that the chains of other services draw, by the chain's name.
    pub others: FxHashMap<Arc<str>, (u32, u32)>,
}

impl Places {
    fn settled(&self, block: usize) -> Option<u32> {
        self.settled.get(block).copied().flatten()
    }
}

/// For each block of the plan, the slots that the kernel has of it: those of the first service that uses it, and is
/// known.
fn known_slots(plan: &Plan<'_>, places: &Places) -> Vec<Option<(u32, u32)>> {
    let mut known = vec![None; plan.blocks.len()];
    if places.others.is_empty() {
        return known;
    }
    for service in &plan.services {
        for (family, place) in &service.families {
            let Some(place) = place.filter(|place| places.settled(*place).is_none()) else {
                continue;
            };
            if let Some(slots @ None) = known.get_mut(place) {
                let chain = name::service_chain(&service.service.name, *family);
                *slots = places.others.get(&chain).copied();
            }
        }
    }
    known
}

/// The first slot of each block; `None` where no range is left that is long enough.
pub(super) fn place_slots(plan: &Plan<'_>, places: &Places) -> Vec<Option<u32>> {
    let known = known_slots(plan, places);
    let wanted = |choice: &Choice| u64::from(choice.slots());
    // Ranges that stay, from their first to behind their last.
    let mut kept: BTreeMap<u64, u64> = BTreeMap::new();
    for (at, block) in plan.blocks.iter().enumerate() {
        let count = wanted(&block.choice);
        if let Some(first) = places.settled(at)
            && count > 0
        {
            kept.insert(first.into(), u64::from(first) + count);
        }
    }
    let mut firsts: Vec<Option<u32>> = Vec::with_capacity(plan.blocks.len());
    for ((at, block), known) in plan.blocks.iter().enumerate().zip(known) {
        if let Some(first) = places.settled(at) {
            firsts.push(Some(first));
            continue;
        }
        let stays = known.filter(|(first, count)| {
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
        firsts.push(stays.map(|(first, _)| first));
    }
    // A packet that is on its way through the rules at the very commit has drawn a slot by the old ones and is led on by
    // the new ones: a slot that becomes free now must not be another service's at once.
    let mut taken = kept.clone();
    for &(first, count) in places.others.values() {
        let end = taken.entry(first.into()).or_default();
        *end = (*end).max(u64::from(first) + u64::from(count));
    }
    let mut fresh = Gaps::new(&taken);
    let mut freed = Gaps::new(&kept);
    for (block, place) in plan.blocks.iter().zip(&mut firsts) {
        if place.is_none() {
            let length = wanted(&block.choice);
            *place = fresh.take(length).or_else(|| freed.take(length));
        }
    }
    firsts
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

/// Where the slots of a whole plan lie, for whoever changes some blocks of it and none else: what [`place_slots`] finds for
/// the whole plan, found for those blocks alone.
#[derive(Debug, Clone)]
pub struct SlotSpace {
    /// The ranges that are free, from first to behind the last.
    gaps: BTreeMap<u64, u64>,
    /// The same by how long they are.
    by_length: BTreeMap<u64, BTreeSet<u64>>,
}

/// Where the slots of a block lie that changed, and what it took and leaves by that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The first slot of each block.
    pub firsts: Vec<u32>,
    taken: Vec<(u64, u64)>,
    left: Vec<(u64, u64)>,
}

/// A block that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// Its first slot so far.
    pub first: u32,
    /// How many slots it had.
    pub had: u32,
    /// How many it is to have.
    pub wants: u32,
}

impl SlotSpace {
    /// All but these: the first slot of each block, and how many it has.
    pub fn around(blocks: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut kept: BTreeMap<u64, u64> = BTreeMap::new();
        for (first, count) in blocks.filter(|(_, count)| *count > 0) {
            kept.insert(first.into(), u64::from(first) + u64::from(count));
        }
        let mut space = Self {
            gaps: BTreeMap::new(),
            by_length: BTreeMap::new(),
        };
        for (first, end) in Gaps::new(&kept).gaps {
            space.add(first, end);
        }
        space
    }

    /// Finds places for these blocks, in the order of the plan; `None`: there is not room enough beside what they have. What
    /// they leave is free only when they have left: see [`Self::settle`] and [`Self::undo`].
    pub fn place(&mut self, blocks: impl Iterator<Item = Replaced>) -> Option<Placement> {
        let mut placement = Placement::default();
        for block in blocks {
            let Replaced { first, had, wants } = block;
            if had == wants && had > 0 {
                placement.firsts.push(first);
                continue;
            }
            let Some(place) = self.take(wants.into()) else {
                self.undo(&placement);
                return None;
            };
            placement
                .firsts
                .push(u32::try_from(place).unwrap_or(u32::MAX));
            let range = |first: u64, count: u32| (first, first + u64::from(count));
            placement.taken.push(range(place, wants));
            placement.left.push(range(first.into(), had));
        }
        Some(placement)
    }

    /// The blocks are where they were placed: what they had is free.
    pub fn settle(&mut self, placement: &Placement) {
        for (first, end) in &placement.left {
            self.add(*first, *end);
        }
    }

    /// The blocks are where they were.
    pub fn undo(&mut self, placement: &Placement) {
        for (first, end) in &placement.taken {
            self.add(*first, *end);
        }
    }

    /// The first free range of this length, which is taken then.
    fn take(&mut self, length: u64) -> Option<u64> {
        if length == 0 {
            return Some(
                self.gaps
                    .first_key_value()
                    .map_or(SLOTS_END, |(first, _)| *first),
            );
        }
        let fitting = self.by_length.range(length..);
        let first = fitting.filter_map(|(_, firsts)| firsts.first()).min();
        let first = *first?;
        let end = self.remove(first)?;
        self.insert(first + length, end);
        Some(first)
    }

    /// Makes a range free, and one with those beside it.
    fn add(&mut self, mut first: u64, mut end: u64) {
        if first >= end {
            return;
        }
        let before = self.gaps.range(..first).next_back();
        if let Some((before, _)) = before.filter(|(_, end)| **end == first) {
            let before = *before;
            self.remove(before);
            first = before;
        }
        if let Some(behind) = self.remove(end) {
            end = behind;
        }
        self.insert(first, end);
    }

    fn insert(&mut self, first: u64, end: u64) {
        if first < end {
            self.gaps.insert(first, end);
            self.by_length.entry(end - first).or_default().insert(first);
        }
    }

    fn remove(&mut self, first: u64) -> Option<u64> {
        let end = self.gaps.remove(&first)?;
        if let Some(firsts) = self.by_length.get_mut(&(end - first)) {
            firsts.remove(&first);
            if firsts.is_empty() {
                self.by_length.remove(&(end - first));
            }
        }
        Some(end)
    }
}
