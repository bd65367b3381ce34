//! Who is remembered for a server whose number is another from now on goes with it, in the transaction that numbers it
//! anew, so that nobody sees the one without the other. What it counted does too: [`crate::diff::carry`].

use rustc_hash::{FxHashMap, FxHashSet};

use crate::emit::netlink::change::{Carried, Change, Step};
use crate::emit::netlink::{Bytes, Data, Element};
use crate::kernel::{Entry, Kernel, KernelError, Recollection};
use crate::ruleset::name;

use super::moves::{Moves, Rewritten};

/// What times out within this many milliseconds may be gone before the transaction is made. It is left to itself after the
/// kernel has refused.
const SOON: u64 = 2000;

/// Adds to a transaction what goes with servers. `again`: the kernel has refused what was remembered a moment before.
pub(super) fn carry(
    kernel: &mut impl Kernel,
    table: &str,
    moves: &Moves,
    again: bool,
    changes: &mut Vec<Change>,
) -> Result<(), KernelError> {
    if moves.concern_memories() {
        for recollection in kernel.recollections(table)? {
            memories(recollection, moves, again, changes);
        }
    }
    Ok(())
}

/// Clients and flows are remembered under the new numbers, for as long as they had left.
fn memories(recollection: Recollection, moves: &Moves, again: bool, changes: &mut Vec<Change>) {
    let Recollection {
        family,
        map,
        entries,
    } = recollection;
    let goes = |change: &Change| {
        change.family == family
            && match &change.step {
                Step::DeleteSet { set } => *set == map,
                Step::DeleteTable => true,
                _ => false,
            }
    };
    if changes.iter().any(goes) {
        return;
    }
    let of_clients = map.starts_with(name::CLIENTS);
    let mut gone = Vec::new();
    let mut carried: FxHashMap<Bytes, Carried> = FxHashMap::default();
    let mut seen: FxHashSet<Bytes> = FxHashSet::default();
    let mut taken: FxHashSet<Bytes> = FxHashSet::default();
    for entry in entries {
        let rewritten = if of_clients {
            let service = ended_by(&entry.key);
            service.map_or(Rewritten::Stays, |service| {
                moves.client(service, entry.server)
            })
        } else {
            moves.flow(entry.server)
        };
        let (key, server) = match rewritten {
            Rewritten::Stays => {
                seen.insert(entry.key);
                continue;
            }
            Rewritten::Goes => (None, entry.server),
            Rewritten::As(service, server) if of_clients => {
                (ended_with(&entry.key, service), server)
            }
            Rewritten::As(_, server) => (Some(entry.key), server),
        };
        let left_alone = again && entry.left < SOON;
        // While a map grows, a reading may show an entry twice; it can be taken out once.
        if left_alone || !taken.insert(entry.key) {
            continue;
        }
        gone.push((entry.key, entry.server));
        // One that is without an end, or about to end, is made anew by the next packet.
        if let Some(key) = key
            && let Some(lifetime) = lifetime(&entry)
            && let Some(value) = Bytes::new(&server.to_ne_bytes())
        {
            let element = alone(key, Data::Value(value));
            carried.entry(key).or_insert(Carried { element, lifetime });
        }
    }
    carried.retain(|key, _| !seen.contains(key));
    let elements: Vec<Carried> = carried.into_values().collect();
    let set = map;
    if !gone.is_empty() {
        let set = set.clone();
        // Where packets come and go faster than transactions are made, one entry or another is gone by then each time. What is
        // put there first, as it was, can be taken out; it costs twice the messages.
        let step = if again {
            let as_it_was = |(key, server): (Bytes, u32)| {
                Some(alone(key, Data::Value(Bytes::new(&server.to_ne_bytes())?)))
            };
            let elements = gone.into_iter().filter_map(as_it_was).collect();
            Step::ClearElements { set, elements }
        } else {
            let keys = gone.into_iter().map(|(key, _)| alone(key, Data::None));
            let elements = keys.collect();
            Step::DeleteElements { set, elements }
        };
        changes.push(Change { family, step });
    }
    if !elements.is_empty() {
        let step = Step::CarryElements { set, elements };
        changes.push(Change { family, step });
    }
}

fn lifetime(entry: &Entry) -> Option<[u64; 2]> {
    (entry.timeout > 0 && entry.left <= entry.timeout && entry.left > 0)
        .then_some([entry.timeout, entry.left])
}

const fn alone(key: Bytes, data: Data) -> Element {
    Element {
        key,
        key_end: None,
        data,
        comment: None,
    }
}

/// The number at the end of a key.
fn ended_by(key: &Bytes) -> Option<u32> {
    Some(u32::from_ne_bytes(*key.as_slice().last_chunk()?))
}

/// The same key with another number at its end.
fn ended_with(key: &Bytes, number: u32) -> Option<Bytes> {
    let mut bytes = key.as_slice().to_vec();
    bytes
        .last_chunk_mut::<4>()?
        .copy_from_slice(&number.to_ne_bytes());
    Bytes::new(&bytes)
}
