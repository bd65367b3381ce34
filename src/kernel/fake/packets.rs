//! What packets have put into sets and maps, where a transaction meets it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::diff::{MisfitKind, Observed, ObservedSet, ObservedTable};
use crate::emit::netlink::change::{Carried, Change, Step};
use crate::emit::netlink::{Counter, Data, Element};
use crate::kernel::{Counted, Entry, Recollection};

/// The change without elements that packets have put there already: these stay as they are. The kernel does so in every
/// set, but flbc never adds to its own what is there.
pub(super) fn beside<'c>(change: &'c Change, table: Option<&ObservedTable>) -> Cow<'c, Change> {
    let Step::AddElements {
        set,
        elements,
        origins,
        counters,
    } = &change.step
    else {
        return Cow::Borrowed(change);
    };
    let found = table.and_then(|table| table.set(set));
    let Some(found) = found.filter(|found| found.shape.is_dynamic()) else {
        return Cow::Borrowed(change);
    };
    let known: HashSet<_> = found.elements.iter().map(|element| element.key).collect();
    let none = std::iter::repeat(Counter::default());
    let each = elements.iter().zip(counters.iter().copied().chain(none));
    let (elements, counters) = each
        .filter(|(element, _)| !known.contains(&element.key))
        .map(|(element, counter)| (element.clone(), counter))
        .unzip();
    Cow::Owned(Change {
        family: change.family,
        step: Step::AddElements {
            set: set.clone(),
            elements,
            origins: origins.clone(),
            counters,
        },
    })
}

/// Makes a change of what rules remember of servers; says whether it is one of that alone.
pub(super) fn remember(
    remembered: &mut Vec<Recollection>,
    observed: &Observed,
    change: &Change,
) -> Result<bool, MisfitKind> {
    let is = |one: &Recollection, set: &Arc<str>| (one.family, &one.map) == (change.family, set);
    let is_map = |set: &str| {
        let table = observed.table(change.family);
        let set = table.and_then(|table| table.set(set));
        set.is_some_and(|set| set.shape.is_dynamic() && set.shape.data_length == 4)
    };
    match &change.step {
        Step::DeleteTable => remembered.retain(|one| one.family != change.family),
        Step::DeleteSet { set } => remembered.retain(|one| !is(one, set)),
        Step::DeleteElements { set, elements } if is_map(set) => {
            let map = remembered.iter_mut().find(|one| is(one, set));
            let entries = &mut map.ok_or(MisfitKind::Missing)?.entries;
            for element in elements {
                let place = entries.iter().position(|entry| entry.key == element.key);
                entries.remove(place.ok_or(MisfitKind::Missing)?);
            }
            return Ok(true);
        }
        Step::ClearElements { set, elements } if is_map(set) => {
            let map = remembered.iter_mut().find(|one| is(one, set));
            let entries = &mut map.ok_or(MisfitKind::Missing)?.entries;
            for element in elements {
                let place = entries.iter().position(|entry| entry.key == element.key);
                place.map(|place| entries.remove(place));
            }
            return Ok(true);
        }
        Step::CarryElements { set, elements } if is_map(set) => {
            let map = remembered.iter_mut().find(|one| is(one, set));
            let entries = &mut map.ok_or(MisfitKind::Missing)?.entries;
            for Carried { element, lifetime } in elements {
                if entries.iter().any(|entry| entry.key == element.key) {
                    return Err(MisfitKind::Exists);
                }
                entries.extend(entry(element, *lifetime));
            }
            return Ok(true);
        }
        _ => {}
    }
    Ok(false)
}

fn entry(element: &Element, [timeout, left]: [u64; 2]) -> Option<Entry> {
    let Data::Value(server) = &element.data else {
        return None;
    };
    Some(Entry {
        key: element.key,
        server: u32::from_ne_bytes(server.as_slice().try_into().ok()?),
        timeout,
        left,
    })
}

/// Counts connections as connection tracking does.
pub(super) fn by_mark(
    all: impl Iterator<Item = u32>,
    unanswered: &[u32],
    which: Counted,
) -> FxHashMap<u32, usize> {
    let marks: Vec<u32> = match which {
        Counted::All => all.collect(),
        Counted::Of(mark) => all.filter(|one| *one == mark).collect(),
        Counted::Unanswered => unanswered.to_vec(),
    };
    let mut by_mark: FxHashMap<u32, usize> = FxHashMap::default();
    for mark in marks {
        *by_mark.entry(mark).or_default() += 1;
    }
    by_mark
}

/// Keeps the elements that have these keys.
pub(super) fn keep(set: &mut ObservedSet, keys: &[u32]) {
    let keys: HashSet<u32> = keys.iter().copied().collect();
    let is_wanted = |element: &Element| {
        let key = element.key.as_slice().try_into();
        key.is_ok_and(|key| keys.contains(&u32::from_ne_bytes(key)))
    };
    set.retain(is_wanted);
}
