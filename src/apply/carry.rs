//! Who is remembered for a server whose number is another from now on goes with it, in the transaction that numbers it
//! anew, so that nobody sees the one without the other. What it counted does too: [`crate::diff::carry`].

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::emit::netlink::change::{Carried, Change, Step};
use crate::emit::netlink::{Bytes, Data, Element};
use crate::kernel::{Entry, Kernel, KernelError, Recollection};
use crate::ruleset::name;

use super::moves::{Moves, Rewritten};

/// What times out within this many milliseconds may be gone before the transaction is made. It is left to itself after the
/// kernel has refused.
const SOON: u64 = 2000;

/// How many entries are taken out and put there anew at a time. The kernel goes through a transaction step by step while
/// packets come. To those, an entry that was taken out is neither there nor gone: whoever would make it last longer makes
/// another under its key, and the one that is to be put there is refused. So no entry is out for longer than a few steps.
const TOGETHER: usize = 8;

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

/// What is remembered under one key, and what becomes of it.
struct Going {
    /// Every entry that the kernel listed under it, in the order in which it finds them.
    entries: Vec<Entry>,
    /// What is remembered from now on, maybe under another key.
    to: Option<Carried>,
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
    let rewritten = |entry: &Entry| rewritten(&map, moves, entry);
    let (stay, go): (Vec<Entry>, Vec<Entry>) = entries
        .into_iter()
        .partition(|entry| matches!(rewritten(entry), Rewritten::Stays));
    // What is about to end is gone by then, or is not: once the kernel has refused, it is left to itself.
    let left_alone = |entry: &Entry| again && entry.left < SOON;
    let mut taken: FxHashSet<Bytes> = stay.iter().map(|entry| entry.key).collect();
    let mut places: FxHashMap<Bytes, usize> = FxHashMap::default();
    let mut going: Vec<Going> = Vec::new();
    for entry in go.into_iter().filter(|entry| !left_alone(entry)) {
        let place = *places.entry(entry.key).or_insert(going.len());
        if let Some(known) = going.get_mut(place) {
            known.entries.push(entry);
            continue;
        }
        let to = match rewritten(&entry) {
            Rewritten::Stays | Rewritten::Goes => None,
            Rewritten::As(service, server) => carried(&map, &entry, service, server),
        };
        let to = to.filter(|one| taken.insert(one.element.key));
        let entries = vec![entry];
        going.push(Going { entries, to });
    }
    let same_key = |one: &Going| {
        let (entry, to) = (one.entries.first(), one.to.as_ref());
        to.zip(entry)
            .is_some_and(|(to, entry)| to.element.key == entry.key)
    };
    let (same, other): (Vec<Going>, Vec<Going>) = going.into_iter().partition(same_key);
    let groups = std::iter::once(other).chain(in_groups(same));
    for group in groups {
        changes.extend(
            steps(&map, group, again)
                .into_iter()
                .map(|step| Change { family, step }),
        );
    }
}

/// As many as [`TOGETHER`] at a time.
fn in_groups(all: Vec<Going>) -> impl Iterator<Item = Vec<Going>> {
    let mut rest = all.into_iter();
    std::iter::from_fn(move || {
        let group: Vec<Going> = rest.by_ref().take(TOGETHER).collect();
        (!group.is_empty()).then_some(group)
    })
}

/// What takes these out and puts there what is remembered from now on.
fn steps(map: &Arc<str>, group: Vec<Going>, again: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let most = group.iter().map(|one| one.entries.len()).max();
    for round in 0..most.unwrap_or_default() {
        let (mut cleared, mut deleted) = (Vec::new(), Vec::new());
        for Going { entries, .. } in &group {
            let (Some(first), Some(entry)) = (entries.first(), entries.get(round)) else {
                continue;
            };
            // Where packets come and go faster than transactions are made, one entry or another is gone by then each time.
            // What is put there first, as it was, can be taken out; it costs twice the messages. A key that was listed
            // twice with the same server may be one entry that was read twice, or two: so each can be taken out.
            if again && entry.server == first.server {
                let data = Bytes::new(&entry.server.to_ne_bytes()).map(Data::Value);
                cleared.extend(data.map(|data| alone(entry.key, data)));
            } else if again || round == 0 {
                deleted.push(alone(entry.key, Data::None));
            }
        }
        let set = map.clone();
        let elements = cleared;
        steps.extend((!elements.is_empty()).then_some(Step::ClearElements { set, elements }));
        let set = map.clone();
        let elements = deleted;
        steps.extend((!elements.is_empty()).then_some(Step::DeleteElements { set, elements }));
    }
    let set = map.clone();
    let elements: Vec<Carried> = group.into_iter().filter_map(|one| one.to).collect();
    steps.extend((!elements.is_empty()).then_some(Step::CarryElements { set, elements }));
    steps
}

fn rewritten(map: &str, moves: &Moves, entry: &Entry) -> Rewritten {
    if !is_of_clients(map) {
        return moves.flow(entry.server);
    }
    let service = ended_by(&entry.key);
    service.map_or(Rewritten::Stays, |service| {
        moves.client(service, entry.server)
    })
}

fn is_of_clients(map: &str) -> bool {
    map.starts_with(name::CLIENTS)
}

/// What is remembered from now on. An entry that is without an end, or about to end, is made anew by the next packet.
fn carried(map: &str, entry: &Entry, service: u32, server: u32) -> Option<Carried> {
    let key = if is_of_clients(map) {
        ended_with(&entry.key, service)?
    } else {
        entry.key
    };
    let value = Bytes::new(&server.to_ne_bytes())?;
    Some(Carried {
        element: alone(key, Data::Value(value)),
        lifetime: lifetime(entry)?,
    })
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
