//! What goes with a server whose number is another from now on: what it counted, and who is remembered for it. All of it
//! in the transaction that numbers it anew, so that nobody sees the one without the other.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::emit::netlink::change::{Carried, Change, Step};
use crate::emit::netlink::{Bytes, Data, Element, TableFamily};
use crate::kernel::{Entry, Kernel, KernelError, Recollection};
use crate::ruleset::name;

use super::moves::{Moves, Rewritten};

/// The maps whose elements count for a server.
const COUNTED: [(TableFamily, &[&str]); 2] = [
    (TableFamily::Inet, &["addr4", "addr4p", "addr6", "addr6p"]),
    (TableFamily::Netdev, &["how"]),
];

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
    let renumbered = moves.renumbered();
    if !renumbered.is_empty() {
        for (family, sets) in COUNTED {
            counters(kernel, table, (family, sets), &renumbered, changes)?;
        }
        traffic(kernel, table, &renumbered, changes)?;
    }
    if moves.concern_memories() {
        for recollection in kernel.recollections(table)? {
            memories(recollection, moves, again, changes);
        }
    }
    Ok(())
}

/// Elements that are added to these sets begin with what the server counted under its old number.
fn counters(
    kernel: &mut impl Kernel,
    table: &str,
    (family, sets): (TableFamily, &[&str]),
    renumbered: &FxHashMap<u32, u32>,
    changes: &mut Vec<Change>,
) -> Result<(), KernelError> {
    let mut counted: FxHashMap<u32, [u64; 2]> = FxHashMap::default();
    for set in sets {
        for (number, _, counter) in kernel.counted(table, family, set)? {
            if let Some(now) = renumbered.get(&number) {
                let [packets, bytes] = counted.entry(*now).or_default();
                *packets += counter.packets;
                *bytes += counter.bytes;
            }
        }
    }
    if counted.is_empty() {
        return Ok(());
    }
    let mut carrying = Vec::new();
    for change in changes.iter_mut().filter(|change| change.family == family) {
        let Step::AddElements {
            set,
            elements,
            origins,
        } = &mut change.step
        else {
            continue;
        };
        if !sets.contains(&&**set) {
            continue;
        }
        let mut carried = Vec::new();
        let mut rest = (Vec::new(), Vec::new());
        for (element, origin) in elements.drain(..).zip(origins.drain(..)) {
            let number = number_of(&element.key);
            if let Some(counted) = number.and_then(|number| counted.get(&number)) {
                carried.push(Carried {
                    element,
                    counted: Some(*counted),
                    lifetime: None,
                });
            } else {
                rest.0.push(element);
                rest.1.push(origin);
            }
        }
        (*elements, *origins) = rest;
        if !carried.is_empty() {
            carrying.push(Change {
                family,
                step: Step::CarryElements {
                    set: set.clone(),
                    elements: carried,
                },
            });
        }
    }
    changes.retain(
        |change| !matches!(&change.step, Step::AddElements { elements, .. } if elements.is_empty()),
    );
    changes.extend(carrying);
    Ok(())
}

/// What passed to and from a server goes on under its new number. A number that is somebody else's now begins at 0.
fn traffic(
    kernel: &mut impl Kernel,
    table: &str,
    renumbered: &FxHashMap<u32, u32>,
    changes: &mut Vec<Change>,
) -> Result<(), KernelError> {
    let mut gone = Vec::new();
    let mut passed: FxHashMap<Bytes, [u64; 2]> = FxHashMap::default();
    for (number, element, counter) in kernel.counted(table, TableFamily::Inet, name::TRAFFIC)? {
        let Some(now) = renumbered.get(&number) else {
            continue;
        };
        if let Some(key) = begun_with(&element.key, *now) {
            let [packets, bytes] = passed.entry(key).or_default();
            *packets += counter.packets;
            *bytes += counter.bytes;
        }
        gone.push(element);
    }
    if gone.is_empty() {
        return Ok(());
    }
    let elements = passed.into_iter().map(|(key, counted)| Carried {
        element: alone(key, Data::None),
        counted: Some(counted),
        lifetime: None,
    });
    let elements: Vec<Carried> = elements.collect();
    let set = name::TRAFFIC.into();
    changes.extend(
        [
            Step::ClearElements {
                set: std::sync::Arc::clone(&set),
                elements: gone,
            },
            Step::CarryElements { set, elements },
        ]
        .map(|step| Change {
            family: TableFamily::Inet,
            step,
        }),
    );
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
        if left_alone {
            continue;
        }
        gone.push(alone(entry.key, Data::None));
        // One that is without an end, or about to end, is made anew by the next packet.
        if let Some(key) = key
            && let Some(lifetime) = lifetime(&entry)
            && let Some(value) = Bytes::new(&server.to_ne_bytes())
        {
            let element = alone(key, Data::Value(value));
            carried.entry(key).or_insert(Carried {
                element,
                counted: None,
                lifetime: Some(lifetime),
            });
        }
    }
    carried.retain(|key, _| !seen.contains(key));
    let elements: Vec<Carried> = carried.into_values().collect();
    let set = map;
    if !gone.is_empty() {
        let step = Step::DeleteElements {
            set: set.clone(),
            elements: gone,
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

fn number_of(key: &Bytes) -> Option<u32> {
    Some(u32::from_ne_bytes(key.as_slice().try_into().ok()?))
}

/// The same key with another number at its beginning.
fn begun_with(key: &Bytes, number: u32) -> Option<Bytes> {
    let mut bytes = key.as_slice().to_vec();
    bytes
        .first_chunk_mut::<4>()?
        .copy_from_slice(&number.to_ne_bytes());
    Bytes::new(&bytes)
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
