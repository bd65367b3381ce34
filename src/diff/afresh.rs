//! Counters that begin at 0 again.
//!
//! What rules count stays when everything else changes, under the number of a real server. A number that is another
//! server's from now on, or nobody's, begins anew.

use rustc_hash::FxHashSet;

use crate::emit::netlink::{Bytes, Data, Element, Set};
use crate::ruleset::name;

use super::ObservedTable;

/// The counters of numbers that are given or taken away, if the set that has them stays.
pub(super) fn stale(has: &ObservedTable, wanted: &[Set]) -> Vec<Element> {
    let find = |name: &str| wanted.iter().find(|set| *set.name == *name);
    let pair = |name: &str| Some((has.set(name)?, find(name)?));
    let (Some((counted, still_counted)), Some((old, new))) =
        (pair(name::TRAFFIC), pair(name::SERVERS))
    else {
        return Vec::new();
    };
    if counted.shape != still_counted.shape {
        return Vec::new();
    }
    // Both lists are mostly the same.
    let same = old.elements.iter().zip(&new.elements);
    let front = same.take_while(|(old, new)| old.key == new.key).count();
    let old = old.elements.iter().skip(front).map(|element| element.key);
    let new = new.elements.iter().skip(front).map(|element| element.key);
    let before: FxHashSet<Bytes> = old.clone().collect();
    let after: FxHashSet<Bytes> = new.clone().collect();
    let gone = old.filter(|key| !after.contains(key));
    let come = new.filter(|key| !before.contains(key));
    let both_ways = |server: Bytes| [0, 1].map(|way| counter(server, way));
    gone.chain(come).flat_map(both_ways).collect()
}

/// The element that counts one way of a server's packets: 0 is to it, 1 from it.
fn counter(server: Bytes, way: u8) -> Element {
    Element {
        key: server.then_padded(&[way]),
        key_end: None,
        data: Data::None,
        comment: None,
    }
}
