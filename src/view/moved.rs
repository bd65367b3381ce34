//! Whom an apply moves where nothing is remembered of what was applied: read off the slots that the kernel has.

use std::cell::LazyCell;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::diff::{Observed, ObservedChain};
use crate::emit::netlink::TableFamily;
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::{expr, hash};
use crate::model::{Family, HashKey, Model, Scheduler, Service};
use crate::outline::{ServiceMoves, moves};
use crate::ruleset::name;
use crate::schedule::Plan;
use crate::schedule::maglev::{ServerIdentity, is_prime};
use crate::schedule::moved::Owned;

use super::ObservedNumbers;
use super::services::slot_owners;

/// Whom a plan moves, from what was read and the numbers in it.
pub(crate) fn moves_from(
    observed: &Observed,
    known: &ObservedNumbers,
    now: (&Model, &Plan<'_>),
) -> Vec<ServiceMoves> {
    let had = owned(observed, known);
    let had = |service: &str, family| had.get(&name::service_chain(service, family)).cloned();
    by_what_was_had(now, had)
}

/// Whom a plan moves, from what services had.
///
/// A table whose size is a prime was made as the paper says, for a file that named the size or by flbc before tables grew:
/// the size would keep it.
pub(super) fn by_what_was_had(
    (model, plan): (&Model, &Plan<'_>),
    had: impl Fn(&str, Family) -> Option<(usize, Owned<'static>)>,
) -> Vec<ServiceMoves> {
    let of_service = |service: &Service, family| had(&service.name, family);
    let other = |service: &Service, had: &[Owned<'_>]| {
        let Scheduler::Maglev { key, table } = service.scheduler else {
            return None;
        };
        let sizes = had.iter().filter_map(|had| u32::try_from(had.slots()).ok());
        let size = sizes.max().filter(|size| is_prime(*size))?;
        let other = Scheduler::Maglev {
            key,
            table: Some(size),
        };
        (table != Some(size)).then_some(other)
    };
    moves((model, plan), |_| true, of_service, other)
}

/// Who had which clients, by the chain of a service and family. Blocks that services share have the same number.
fn owned(
    observed: &Observed,
    known: &ObservedNumbers,
) -> FxHashMap<Arc<str>, (usize, Owned<'static>)> {
    let servers: FxHashMap<u32, ServerIdentity> = known
        .servers
        .iter()
        .filter_map(|server| {
            let identity = ServerIdentity {
                address: server.address?,
                port: server.port,
            };
            Some((server.number, identity))
        })
        .collect();
    let identity = |number: u32| servers.get(&number).copied();
    let mut all = FxHashMap::default();
    for family in TableFamily::BOTH {
        let Some(table) = observed.table(family) else {
            continue;
        };
        let slots = LazyCell::new(|| slot_owners(table));
        for chain in &table.chains {
            let owned = known.blocks.get(&chain.name).and_then(|block| {
                let Some((first, count)) = block.slots else {
                    let number = *block.servers.iter().next()?;
                    return Some((number, Owned::by_one(identity(number)?)));
                };
                let key = hashed(chain)?;
                let numbers = first..first.checked_add(count)?;
                // A slot without a server was changed by somebody else.
                let owners: Option<Vec<u32>> =
                    numbers.map(|slot| slots.get(&slot).copied()).collect();
                Some((first, owned_by_numbers(key, &owners?, identity)?))
            });
            // The number of the first slot, or of the only server: what has the same is the same.
            if let Some((number, owned)) = owned {
                all.insert(chain.name.clone(), (number as usize, owned));
            }
        }
    }
    all
}

/// Slots with the numbers of their owners.
pub(super) fn owned_by_numbers<N: Copy + Eq + std::hash::Hash>(
    key: HashKey,
    owners: &[N],
    identity: impl Fn(N) -> Option<ServerIdentity>,
) -> Option<Owned<'static>> {
    let mut servers = Vec::new();
    let mut places: FxHashMap<N, u32> = FxHashMap::default();
    let mut slots = Vec::with_capacity(owners.len());
    for owner in owners {
        let known = places.get(owner).copied();
        let place = known.unwrap_or(u32::try_from(servers.len()).ok()?);
        if known.is_none() {
            servers.push(identity(*owner)?);
            places.insert(*owner, place);
        }
        slots.push(place);
    }
    Owned::by_hash(key, slots, servers)
}

/// What the chain of a service hashes, if that is how it draws: an address, or an address and a port, which fills a register.
fn hashed(chain: &ObservedChain) -> Option<HashKey> {
    let address = match name::service_and_family_of(&chain.name)?.1 {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    let [.., rule, _] = chain.rules.as_slice() else {
        return None;
    };
    Attributes::new(&rule.body.expressions)
        .into_iter()
        .find_map(|expression| {
            let name = expression.inside().find(expr::NAME)?.string()?;
            let inside = expression.inside().find(expr::DATA)?.inside();
            let length = inside.find(hash::LENGTH).and_then(Attribute::u32);
            match length.filter(|_| name == "hash")? {
                length if length == address => Some(HashKey::Source),
                length if length == address + 4 => Some(HashKey::SourcePort),
                _ => None,
            }
        })
}
