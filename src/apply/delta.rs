//! What differs between what was applied and what is to be, service by service, before anything is lowered.
//!
//! A service that is the same, of pools that are the same, keeps its numbers and its rules: neither is worked out
//! anew.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use crate::lower::number::{
    BlockNumbers, KnownBlock, KnownServer, Numbering, ObservedNumbers, assign_rest,
};
use crate::lower::{Part, Scope, identity};
use crate::model::{
    Access, AccessEntry, AccessList, Member, Model, Override, Place, Prefix, Service, State,
};
use crate::outline::{Difference, Focus, Outline, between_plans};
use crate::ruleset::name;
use crate::schedule::{Block, Choice, Plan, ServicePlan};

use super::{Remembered, Request};

/// One side: a model with its slots.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    model: &'a Model,
    plan: &'a Plan<'a>,
    overrides: &'a [Override],
}

impl<'a> Side<'a> {
    /// The side of what was applied. `plan` is that of the model.
    pub(super) fn of(remembered: &'a Remembered<'_>, plan: &'a Plan<'a>) -> Self {
        Self {
            model: &remembered.model,
            plan,
            overrides: &remembered.overrides,
        }
    }
}

impl<'a> From<&Request<'a>> for Side<'a> {
    fn from(request: &Request<'a>) -> Self {
        Self {
            model: request.model,
            plan: request.plan,
            overrides: request.overrides,
        }
    }
}

/// What differs from the old side to the new.
pub(super) struct Delta<'a> {
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
    pub(super) fn between(old: Side<'a>, new: Side<'a>) -> Self {
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
    pub(super) fn difference(&self) -> Difference {
        let mut focus = self.focus.clone();
        // What was set is told also where the file now says the same.
        for [these, those] in [[self.old, self.new], [self.new, self.old]] {
            let these = these.overrides.iter();
            for one in these.filter(|one| !those.overrides.contains(one)) {
                match &one.place {
                    Place::Pool(name) => focus.pools.insert(name.clone()),
                    Place::Service(name) => focus.services.insert(name.clone()),
                };
            }
        }
        let outline = |side: Side<'_>| {
            let mut outline = Outline::focused(side.model, &focus);
            outline.mark(side.overrides);
            outline
        };
        let new = (self.new.model, self.new.plan);
        let moves = between_plans(self.old.plan, new, |name| focus.services.contains(name));
        Difference::between(&outline(self.old), &outline(self.new), &moves)
    }

    /// The numbers of the new side, which keep those of the old.
    pub(super) fn assign(
        &self,
        numbers: &Numbering,
        sink: &mut crate::diagnostic::Diagnostics,
    ) -> Numbering {
        let settled = self.was.iter().map(|was| {
            let numbers = numbers.blocks.get((*was)?)?;
            Some(numbers.clone())
        });
        let (model, plan) = (self.new.model, self.new.plan);
        assign_rest(model, plan, settled.collect(), &self.going(numbers), sink)
    }

    /// The numbers of what the new plan does not have as it is.
    fn going(&self, numbers: &Numbering) -> ObservedNumbers {
        let mut going = ObservedNumbers::default();
        for (block, numbers) in self.old_blocks(numbers) {
            let servers = block.servers.iter().zip(&numbers.servers);
            going
                .servers
                .extend(servers.map(|(server, number)| KnownServer {
                    number: *number,
                    identity: identity(self.old.model, block, server).into(),
                    address: Some(server.address),
                    port: server.port,
                }));
        }
        for service in &self.old.plan.services {
            for (family, place) in &service.families {
                let Some(place) = place.filter(|place| !self.stays(*place)) else {
                    continue;
                };
                let block = self.old.plan.blocks.get(place);
                if let Some((block, numbers)) = block.zip(numbers.blocks.get(place)) {
                    let chain = name::service_chain(&service.service.name, *family);
                    going.blocks.insert(chain, drawn(block, numbers));
                }
            }
        }
        going
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

    /// What of each side is to be lowered: the rest is the same.
    pub(super) fn scopes(&self, old: &Numbering, new: &Numbering) -> [Scope; 2] {
        let mut addresses: FxHashSet<IpAddr> = FxHashSet::default();
        let blocks = self.old_blocks(old).chain(self.new_blocks(new));
        addresses.extend(blocks.flat_map(|(block, _)| block.servers.iter().map(|s| s.address)));
        for side in [self.old, self.new] {
            let services = side.plan.services.iter().map(|plan| plan.service);
            let changed = services.filter(|service| self.focus.services.contains(&service.name));
            addresses.extend(changed.flat_map(|service| service.vips.iter().map(|v| v.address)));
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

    /// The numbers of servers that take no packet any more.
    pub(super) fn dying(&self, old: &Numbering, new: &Numbering) -> FxHashSet<u32> {
        let numbers = self
            .old_blocks(old)
            .flat_map(|(_, numbers)| &numbers.servers);
        let mut dying: FxHashSet<u32> = numbers.copied().collect();
        for number in living(self.new_blocks(new)) {
            dying.remove(&number);
        }
        // A service that begins or ends to remember its clients has other numbers, and the same servers.
        if dying.is_empty() {
            return dying;
        }
        let had: FxHashSet<u32> = self
            .old_blocks(old)
            .flat_map(|(_, numbers)| numbers.servers.iter().copied())
            .collect();
        let is_new = |number| !had.contains(&number);
        let moved = Moved::among(self.new.model, self.new_blocks(new), is_new);
        for (block, numbers) in self.old_blocks(old) {
            for (server, number) in block.servers.iter().zip(&numbers.servers) {
                if dying.contains(number)
                    && moved.has(
                        &identity(self.old.model, block, server),
                        Some(server.address),
                        server.port,
                    )
                {
                    dying.remove(number);
                }
            }
        }
        dying
    }
}

/// Servers that live on and got a number that nothing had.
pub(super) struct Moved(FxHashSet<(String, IpAddr, Option<u16>)>);

impl Moved {
    pub(super) fn among<'a>(
        model: &Model,
        blocks: impl Iterator<Item = (&'a Block<'a>, &'a BlockNumbers)>,
        is_new: impl Fn(u32) -> bool,
    ) -> Self {
        let mut moved = FxHashSet::default();
        for (block, numbers) in blocks {
            for (server, number) in block.servers.iter().zip(&numbers.servers) {
                if server.state != State::Down && is_new(*number) {
                    let identity = identity(model, block, server);
                    moved.insert((identity, server.address, server.port));
                }
            }
        }
        Self(moved)
    }

    /// Whether one of them is this server.
    pub(super) fn has(&self, identity: &str, address: Option<IpAddr>, port: Option<u16>) -> bool {
        !self.0.is_empty()
            && address.is_some_and(|address| self.0.contains(&(identity.to_owned(), address, port)))
    }
}

/// The numbers of servers that are not down.
pub(super) fn living<'a>(
    blocks: impl Iterator<Item = (&'a Block<'a>, &'a BlockNumbers)>,
) -> impl Iterator<Item = u32> {
    let servers = blocks.flat_map(|(block, numbers)| block.servers.iter().zip(&numbers.servers));
    servers.filter_map(|(server, number)| (server.state != State::Down).then_some(*number))
}

/// What the rule of a block draws.
fn drawn(block: &Block<'_>, numbers: &BlockNumbers) -> KnownBlock {
    let number = |at: usize| numbers.servers.get(at).copied();
    let drawn = match &block.choice {
        Choice::Empty => KnownBlock::default(),
        Choice::Only(at) => KnownBlock {
            servers: number(*at).into_iter().collect(),
            ..KnownBlock::default()
        },
        Choice::Slots { owners, .. } => KnownBlock {
            slots: u32::try_from(owners.len())
                .ok()
                .map(|count| (numbers.first_slot, count)),
            servers: owners
                .iter()
                .filter_map(|at| number(*at as usize))
                .collect(),
            ..KnownBlock::default()
        },
    };
    KnownBlock {
        region: numbers.region,
        ..drawn
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
