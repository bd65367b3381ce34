//! What differs between what was applied and what is to be, service by service, before anything is lowered.
//!
//! A service that is the same, of pools that are the same, keeps its numbers and its rules: neither is worked out
//! anew.

use std::collections::BTreeMap;

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use crate::diagnostic::Diagnostics;
use crate::lower::layout::Layout;
use crate::lower::number::{self, BlockNumbers, Numbering, Places};
use crate::lower::{Part, Scope};
use crate::model::{
    Access, AccessEntry, AccessList, Mark, Member, Model, Place, Prefix, ServerKey, Service,
};
use crate::outline::{Difference, Focus, Outline, between_plans};
use crate::ruleset::name;
use crate::schedule::{Block, Choice, Plan, ServicePlan};

use super::census::Census;
use super::{Remembered, Request};

/// One side: a model with its slots.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    model: &'a Model,
    plan: &'a Plan<'a>,
    marks: &'a BTreeMap<ServerKey, Mark>,
}

impl<'a> Side<'a> {
    /// The side of what was applied. `plan` is that of the model.
    pub(crate) fn of(remembered: &'a Remembered<'_>, plan: &'a Plan<'a>) -> Self {
        Self {
            model: remembered.model(),
            plan,
            marks: remembered.effective.marks(),
        }
    }
}

impl<'a> From<&Request<'a>> for Side<'a> {
    fn from(request: &Request<'a>) -> Self {
        Self {
            model: request.effective.model(),
            plan: request.plan,
            marks: request.effective.marks(),
        }
    }
}

/// What differs from the old side to the new.
pub(crate) struct Delta<'a> {
    old: Side<'a>,
    new: Side<'a>,
    /// What is in only one of them, or in both and not the same.
    focus: Focus,
    /// For each block of the old plan, whether the new plan has it.
    stays: Vec<bool>,
    /// For each block of the new plan, the block of the old plan that it is.
    was: Vec<Option<usize>>,
}

impl<'a> Delta<'a> {
    pub(crate) fn between(old: Side<'a>, new: Side<'a>) -> Self {
        let mut delta = Self {
            old,
            new,
            focus: Focus::default(),
            stays: vec![false; old.plan.blocks.len()],
            was: vec![None; new.plan.blocks.len()],
        };
        let same_pools = delta.pools();
        let mut same = Same::default();
        let mut theirs = old.plan.services.iter().peekable();
        // Both plans are in the order of the services' names.
        for service in &new.plan.services {
            while let Some(gone) = theirs.next_if(|o| o.service.name < service.service.name) {
                delta.focus.services.insert(gone.service.name.clone());
            }
            let before = theirs.next_if(|o| o.service.name == service.service.name);
            let before = before.filter(|before| {
                same.are(before.service, service.service)
                    && same.admit(&before.service.access, &service.service.access)
                    && uses_only(service.service, &same_pools)
            });
            if !before.is_some_and(|before| delta.keep(before, service)) {
                let name = service.service.name.clone();
                delta.focus.services.insert(name);
            }
        }
        for gone in theirs {
            delta.focus.services.insert(gone.service.name.clone());
        }
        delta
    }

    /// Compares the pools; says of each of the new ones whether the old one in its place is the same.
    fn pools(&mut self) -> Vec<bool> {
        let mut same = Same::default();
        let (old, new) = (&self.old.model.pools, &self.new.model.pools);
        let places = 0..old.len().max(new.len());
        places
            .map(|at| match (old.get(at), new.get(at)) {
                (Some(old), Some(new)) if same.are(old, new) => true,
                (old, new) => {
                    let names = old.into_iter().chain(new).map(|pool| pool.name.clone());
                    self.focus.pools.extend(names);
                    false
                }
            })
            .collect()
    }

    /// A service that did not change: its blocks are those that they were.
    fn keep(&mut self, before: &ServicePlan<'_>, now: &ServicePlan<'_>) -> bool {
        let pairs = before.families.iter().zip(&now.families);
        let mut kept = true;
        for ((_, old), (_, new)) in pairs {
            let (Some(old), Some(new)) = (*old, *new) else {
                kept &= old == new;
                continue;
            };
            let was = self.was.get_mut(new);
            let stays = self.stays.get_mut(old);
            match (was, stays) {
                (Some(was @ None), Some(stays @ false)) => {
                    *was = Some(old);
                    *stays = true;
                }
                (Some(was), _) => kept &= *was == Some(old),
                _ => kept = false,
            }
        }
        kept
    }

    /// The same in the operator's words.
    pub(crate) fn difference(&self) -> Difference {
        let mut focus = self.focus.clone();
        // What was set is told also where the file now says the same.
        for [these, those] in [[self.old, self.new], [self.new, self.old]] {
            let these = these.marks.iter();
            for (key, _) in these.filter(|(key, mark)| those.marks.get(key) != Some(mark)) {
                match &key.place {
                    Place::Pool(name) => focus.pools.insert(name.clone()),
                    Place::Service(name) => focus.services.insert(name.clone()),
                };
            }
        }
        let outline = |side: Side<'_>| {
            let mut outline = Outline::focused(side.model, &focus);
            outline.mark(side.marks);
            outline
        };
        let new = (self.new.model, self.new.plan);
        let moves = between_plans(self.old.plan, new, |name| focus.services.contains(name));
        Difference::between(&outline(self.old), &outline(self.new), &moves)
    }

    /// The numbers of the new side; its slots stay where they are. A block whose servers have other numbers than before
    /// is another one.
    pub(super) fn assign(
        &mut self,
        (table, layout): (&str, Layout),
        old: &Numbering,
        sink: &mut Diagnostics,
    ) -> Numbering {
        if layout != old.layout {
            self.part_all();
        }
        let settled = self.was.iter().map(|was| {
            let numbers = old.blocks.get((*was)?)?;
            Some(numbers.first_slot)
        });
        let places = Places {
            settled: settled.collect(),
            others: self.going(old),
        };
        let new = number::assign(self.new.plan, (table, layout), &places, sink);
        self.part(old, &new);
        new
    }

    /// What the chains draw that the new plan does not have as they are.
    fn going(&self, numbers: &Numbering) -> FxHashMap<Arc<str>, (u32, u32)> {
        let mut going = FxHashMap::default();
        for service in &self.old.plan.services {
            for (family, place) in &service.families {
                let Some(place) = place.filter(|place| !self.stays(*place)) else {
                    continue;
                };
                let block = self.old.plan.blocks.get(place);
                if let Some((block, numbers)) = block.zip(numbers.blocks.get(place))
                    && let Choice::Slots { owners, .. } = &block.choice
                    && let Ok(count) = u32::try_from(owners.len())
                {
                    let chain = name::service_chain(&service.service.name, *family);
                    going.insert(chain, (numbers.first_slot, count));
                }
            }
        }
        going
    }

    /// Parts everything: all numbers are others.
    fn part_all(&mut self) {
        self.was.fill(None);
        self.stays.fill(false);
        for side in [self.old, self.new] {
            let services = side.plan.services.iter();
            let names = services.map(|plan| plan.service.name.clone());
            self.focus.services.extend(names);
        }
    }

    /// Parts what is the same but for its numbers: a newcomer elsewhere can have drawn one of them.
    fn part(&mut self, old: &Numbering, new: &Numbering) {
        let mut parted: FxHashSet<usize> = FxHashSet::default();
        for (at, (was, numbers)) in self.was.iter_mut().zip(&new.blocks).enumerate() {
            let Some(before) = *was else { continue };
            let same = old
                .blocks
                .get(before)
                .is_some_and(|old| old.servers == numbers.servers && old.region == numbers.region);
            if !same {
                *was = None;
                if let Some(stays) = self.stays.get_mut(before) {
                    *stays = false;
                }
                parted.insert(at);
            }
        }
        if parted.is_empty() {
            return;
        }
        for service in &self.new.plan.services {
            let mut blocks = service.families.iter().filter_map(|(_, place)| *place);
            if blocks.any(|block| parted.contains(&block)) {
                let name = service.service.name.clone();
                self.focus.services.insert(name);
            }
        }
    }

    fn stays(&self, old_block: usize) -> bool {
        self.stays.get(old_block).copied().unwrap_or_default()
    }

    /// The blocks of the old plan that the new one does not have as they are, with their numbers.
    fn old_blocks<'n>(
        &self,
        numbers: &'n Numbering,
    ) -> impl Iterator<Item = (&'a Block<'a>, &'n BlockNumbers)> {
        let blocks = self.old.plan.blocks.iter().zip(&numbers.blocks);
        let staying = blocks.zip(&self.stays);
        staying.filter_map(|(block, stays)| (!stays).then_some(block))
    }

    /// The blocks of the new plan that the old one does not have as they are, with their numbers.
    fn new_blocks<'n>(
        &self,
        numbers: &'n Numbering,
    ) -> impl Iterator<Item = (&'a Block<'a>, &'n BlockNumbers)> {
        let blocks = self.new.plan.blocks.iter().zip(&numbers.blocks);
        let were = blocks.zip(&self.was);
        were.filter_map(|(block, was)| was.is_none().then_some(block))
    }

    /// The blocks of the new plan that the old one does not have as they are, by their places.
    pub(crate) fn changed(&self) -> impl Iterator<Item = usize> {
        let places = self.was.iter().enumerate();
        places.filter_map(|(at, was)| was.is_none().then_some(at))
    }

    /// What of each side is to be lowered: the rest is the same.
    pub(super) fn scopes(&self, old: &Numbering, new: &Numbering) -> [Scope; 2] {
        let mut addresses: FxHashSet<IpAddr> = FxHashSet::default();
        let blocks = self.old_blocks(old).chain(self.new_blocks(new));
        addresses.extend(blocks.flat_map(|(block, _)| block.servers.iter().map(|s| s.address)));
        for side in [self.old, self.new] {
            let services = side.plan.services.iter();
            let changed = services.filter(|plan| self.focus.services.contains(&plan.service.name));
            for plan in changed {
                addresses.extend(plan.service.vips.iter().map(|vip| vip.address));
                // By which ports servers answer follows from their services.
                let places = plan.families.iter().filter_map(|(_, place)| *place);
                let blocks = places.filter_map(|place| side.plan.blocks.get(place));
                addresses.extend(blocks.flat_map(|block| block.servers.iter().map(|s| s.address)));
            }
        }
        let part = |blocks| {
            Scope::Part(Part {
                blocks,
                services: self.focus.services.clone(),
                addresses: addresses.clone(),
            })
        };
        [
            part(self.stays.iter().map(|stays| !stays).collect()),
            part(self.was.iter().map(Option::is_none).collect()),
        ]
    }

    /// Who had and who has which number, where anything about it may have changed.
    pub(crate) fn censuses(&self, old: &Numbering, new: &Numbering) -> [Census; 2] {
        let focused = |service: &Arc<str>| self.focus.services.contains(service);
        let used = |side: Side<'_>| -> FxHashSet<usize> {
            let services = side.plan.services.iter();
            let focused = services.filter(|service| focused(&service.service.name));
            let blocks = focused.flat_map(|service| service.families.iter());
            blocks.filter_map(|(_, place)| *place).collect()
        };
        // A service may come to a block, or leave one, that stays as it is.
        let (mut theirs, mut ours) = (used(self.old), used(self.new));
        for (at, was) in self.was.iter().enumerate() {
            if let Some(was) = was
                && (theirs.contains(was) || ours.contains(&at))
            {
                theirs.insert(*was);
                ours.insert(at);
            }
        }
        let old_wanted = |at| !self.stays(at) || theirs.contains(&at);
        let is_new = |at: usize| self.was.get(at).copied().flatten().is_none();
        let new_wanted = |at| is_new(at) || ours.contains(&at);
        [
            Census::of_plan((self.old.model, self.old.plan, old), old_wanted, focused),
            Census::of_plan((self.new.model, self.new.plan, new), new_wanted, focused),
        ]
    }
}

/// Whether a service uses no pool but those that are the same.
fn uses_only(service: &Service, same_pools: &[bool]) -> bool {
    service.members.iter().all(|member| match member {
        Member::Pool(id) => same_pools.get(id.0).copied().unwrap_or_default(),
        Member::Server(_) => true,
    })
}

/// Compares facts but for their places in files, which are not written down. No field can be forgotten.
#[derive(Default)]
struct Same {
    buffers: [Vec<u8>; 2],
    /// Lists that services share are compared once.
    lists: FxHashMap<[*const Vec<AccessEntry>; 2], bool>,
}

impl Same {
    fn are<T: Serialize>(&mut self, one: &T, other: &T) -> bool {
        let [first, second] = &mut self.buffers;
        let (one, other) = (rewrite(first, one), rewrite(second, other));
        one && other && first == second
    }

    /// Whether two services admit the same clients; services are written down without their lists.
    fn admit(&mut self, one: &Access, other: &Access) -> bool {
        let mut same = |one: &AccessList, other: &AccessList| {
            let pair = [Arc::as_ptr(one), Arc::as_ptr(other)];
            *self.lists.entry(pair).or_insert_with(|| {
                let prefixes = |list: &AccessList| list.iter().map(|entry| entry.prefix).collect();
                let [one, other]: [Vec<Prefix>; 2] = [one, other].map(prefixes);
                one == other
            })
        };
        same(&one.allow, &other.allow) && same(&one.deny, &other.deny)
    }
}

/// Writes a value over a buffer; says whether it could be written.
fn rewrite(buffer: &mut Vec<u8>, value: &impl Serialize) -> bool {
    let mut bytes = std::mem::take(buffer);
    bytes.clear();
    let written = postcard::to_extend(value, bytes);
    *buffer = written.unwrap_or_default();
    !buffer.is_empty()
}
