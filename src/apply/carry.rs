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

/// How often it is looked what came meanwhile.
const PASSES: usize = 3;

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
    let (stay, go): (Vec<Entry>, Vec<Entry>) = entries
        .into_iter()
        .partition(|entry| matches!(rewritten(&map, moves, entry), Rewritten::Stays));
    // What is about to end is gone by then, or is not: once the kernel has refused, it is left to itself.
    let go = go.into_iter().filter(|entry| !again || entry.left >= SOON);
    let taken = stay.iter().map(|entry| entry.key).collect();
    let steps = moving(&map, moves, (go, taken), again);
    changes.extend(steps.map(|step| Change { family, step }));
}

/// The steps that take these out and put them there anew, under keys that are not `taken`.
fn moving(
    map: &Arc<str>,
    moves: &Moves,
    (entries, mut taken): (impl Iterator<Item = Entry>, FxHashSet<Bytes>),
    again: bool,
) -> impl Iterator<Item = Step> {
    let mut places: FxHashMap<Bytes, usize> = FxHashMap::default();
    let mut going: Vec<Going> = Vec::new();
    for entry in entries {
        let place = *places.entry(entry.key).or_insert(going.len());
        if let Some(known) = going.get_mut(place) {
            known.entries.push(entry);
            continue;
        }
        let to = match rewritten(map, moves, &entry) {
            Rewritten::Stays | Rewritten::Goes => None,
            Rewritten::As(service, server) => carried(map, &entry, service, server),
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
    groups.flat_map(move |group| steps(map, group, again))
}

/// After the transaction: what packets remembered while it was made, under numbers from before. A client or a flow that is
/// remembered twice now is so for the server that it had. `generation` is the last one of which it is known what the kernel
/// has, here and afterwards.
pub(super) fn catch_up(
    kernel: &mut impl Kernel,
    table: &str,
    moves: &Moves,
    generation: &mut u32,
) -> Result<(), KernelError> {
    if !moves.concern_memories() {
        return Ok(());
    }
    let (mut again, mut now) = (false, *generation);
    for _ in 0..PASSES {
        let mut changes = Vec::new();
        for recollection in kernel.recollections(table)? {
            belated(recollection, moves, again, &mut changes);
        }
        if changes.is_empty() {
            break;
        }
        match kernel.commit(table, &changes, now) {
            Ok(committed) => {
                // What others did in between is nothing that this run knows of.
                if *generation == now {
                    *generation = committed.generation;
                }
                now = committed.generation;
            }
            Err(KernelError::Changed) => now = kernel.generation()?,
            Err(error) if error.is_out_of_date() => again = true,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn belated(recollection: Recollection, moves: &Moves, again: bool, changes: &mut Vec<Change>) {
    let Recollection {
        family,
        map,
        entries,
    } = recollection;
    let mut listed: FxHashMap<Bytes, Vec<Entry>> = FxHashMap::default();
    for entry in entries {
        listed.entry(entry.key).or_default().push(entry);
    }
    let (mut late, mut taken) = (Vec::new(), FxHashSet::default());
    let mut doubled = Vec::new();
    for (key, entries) in listed {
        let Some((last, before)) = entries.split_last() else {
            continue;
        };
        // What the transaction put there is found last: whoever came later is before it.
        if before.iter().any(|entry| entry.server != last.server) {
            doubled.extend(before.iter().map(|_| alone(key, Data::None)));
        }
        let stays = matches!(rewritten(&map, moves, last), Rewritten::Stays);
        // A number that is another server's by now may be remembered rightly.
        if stays || moves.is_number(last.server) || last.left < SOON || !before.is_empty() {
            taken.insert(key);
        } else {
            late.push(*last);
        }
    }
    // One for each message: a key may be there several times.
    let doubled = doubled.into_iter().map(|element| Step::DeleteElements {
        set: map.clone(),
        elements: vec![element],
    });
    let steps = doubled.chain(moving(&map, moves, (late.into_iter(), taken), again));
    changes.extend(steps.map(|step| Change { family, step }));
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
