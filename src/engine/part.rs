//! Some services before and after a change, in the kernel's words: what is the same in both is left out, and what is left
//! must be theirs alone.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::diff::{Observed, ObservedChain, ObservedSet, ObservedTable, lookups};
use crate::emit::netlink::{Chain, Desired, RuleBody, Set, Table, TableFamily, kind};
use crate::lower::room;
use crate::ruleset::name;

use super::Members;

/// Why a whole apply is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Sets or chains come or go, or what several services share changes.
    Structure,
    /// A set needs more room, or less.
    Room,
    /// No numbers are left for slots beside those that are in use.
    Slots,
    /// A service is concerned that is left out.
    LeftOut,
    /// Others committed or noted something meanwhile, or an interface is another.
    Foreign,
    /// A run that was killed has left something to be done.
    Unfinished,
}

/// How many elements sets have more or fewer.
pub(super) type Growth = Vec<((TableFamily, Arc<str>), isize)>;

/// What is of these services and of no other.
pub(super) struct Own {
    /// Their chains.
    pub(super) chains: FxHashSet<Arc<str>>,
    /// Whether what finds the service of later fragments for their VIPs is.
    pub(super) fragments: bool,
}

/// Leaves of both sides what differs. `members` says how many elements sets have as a whole.
///
/// # Errors
///
/// Why it does not follow from these services alone what is to be done to the whole.
pub(super) fn narrow(
    has: &mut Observed,
    wanted: &mut Desired,
    own: &Own,
    members: &Members,
) -> Result<Growth, Why> {
    let mut growth = Growth::new();
    for (family, has, wanted) in [
        (TableFamily::Inet, &mut has.inet, &mut wanted.inet),
        (TableFamily::Netdev, &mut has.netdev, &mut wanted.netdev),
    ] {
        match (has, wanted) {
            (None, None) => {}
            (Some(has), Some(wanted)) => {
                let staying = sets(family, (has, wanted), (own, members), &mut growth)?;
                chains(has, wanted, own, &staying)?;
            }
            (None, Some(_)) | (Some(_), None) => return Err(Why::Structure),
        }
    }
    Ok(growth)
}

/// Leaves the sets that differ. Says which of them one side alone has: as a whole they stay, with what others have in them.
fn sets(
    family: TableFamily,
    (has, wanted): (&mut ObservedTable, &mut Table),
    (own, members): (&Own, &Members),
    growth: &mut Growth,
) -> Result<FxHashSet<Arc<str>>, Why> {
    let mut staying = FxHashSet::default();
    for (old, new) in pairs(
        std::mem::take(&mut has.sets),
        std::mem::take(&mut wanted.sets),
    ) {
        let (mut old, mut new) = match (old, new) {
            (Some(old), Some(new)) => (old, new),
            (Some(old), None) => {
                staying.insert(old.name.clone());
                let new = Set {
                    name: old.name.clone(),
                    shape: old.shape.clone(),
                    origin: None,
                    elements: Vec::new(),
                    origins: Vec::new(),
                };
                (old, new)
            }
            (None, Some(new)) => {
                staying.insert(new.name.clone());
                let old = ObservedSet {
                    name: new.name.clone(),
                    shape: new.shape.clone(),
                    elements: Vec::new(),
                    counters: Vec::new(),
                };
                (old, new)
            }
            (None, None) => continue,
        };
        if old.elements == new.elements && same_but_for_room(&old, &new) {
            continue;
        }
        // An element whose key is a mark is of one block, and no other service's; one whose key is a VIP without ports may
        // be several services'.
        let of_marks = old.shape.key_type == kind::MARK && old.shape.fields.is_empty();
        let of_fragments = own.fragments && old.name.starts_with(name::FRAGMENTS);
        let is_own = of_marks || of_fragments;
        if !is_own || old.shape.is_dynamic() || !same_but_for_room(&old, &new) {
            return Err(Why::Structure);
        }
        let set = (family, old.name.clone());
        let (Some(before), Ok(fewer), Ok(more)) = (
            members.get(&set).copied(),
            isize::try_from(old.elements.len()),
            isize::try_from(new.elements.len()),
        ) else {
            return Err(Why::Structure);
        };
        let Some(after) = before.checked_add_signed(more - fewer) else {
            return Err(Why::Structure);
        };
        let alone = staying.contains(&old.name) && (before == 0 || after == 0);
        if alone {
            return Err(Why::Structure);
        }
        if room(before) != room(after) {
            return Err(Why::Room);
        }
        growth.push((set, more - fewer));
        old.shape.size = room(after);
        new.shape.size = room(after);
        has.sets.push(old);
        wanted.sets.push(new);
    }
    Ok(staying)
}

/// The sets of both sides by their names, in the order that both have.
fn pairs(old: Vec<ObservedSet>, new: Vec<Set>) -> Vec<(Option<ObservedSet>, Option<Set>)> {
    let names: FxHashSet<Arc<str>> = new.iter().map(|set| set.name.clone()).collect();
    let mut new = new.into_iter().peekable();
    let mut pairs = Vec::new();
    for old in old {
        if names.contains(&old.name) {
            while let Some(only) = new.next_if(|set| set.name != old.name) {
                pairs.push((None, Some(only)));
            }
            pairs.push((Some(old), new.next()));
        } else {
            pairs.push((Some(old), None));
        }
    }
    pairs.extend(new.map(|only| (None, Some(only))));
    pairs
}

/// How much room there is follows from the whole.
fn same_but_for_room(old: &ObservedSet, new: &Set) -> bool {
    if old.shape.is_dynamic() || old.shape.size == new.shape.size {
        return old.shape == new.shape;
    }
    let mut shape = old.shape.clone();
    shape.size = new.shape.size;
    shape == new.shape
}

/// Leaves the chains that differ. Rules that look up what stays, stay.
fn chains(
    has: &mut ObservedTable,
    wanted: &mut Table,
    own: &Own,
    staying: &FxHashSet<Arc<str>>,
) -> Result<(), Why> {
    if has.chains.len() != wanted.chains.len() {
        return Err(Why::Structure);
    }
    let pairs = std::mem::take(&mut has.chains).into_iter();
    for (old, new) in pairs.zip(std::mem::take(&mut wanted.chains)) {
        if old.name != new.name {
            return Err(Why::Structure);
        }
        if same(&old, &new, staying) {
            continue;
        }
        if !own.chains.contains(&old.name) || old.hook != new.hook {
            return Err(Why::Structure);
        }
        has.chains.push(old);
        wanted.chains.push(new);
    }
    Ok(())
}

fn same(old: &ObservedChain, new: &Chain, staying: &FxHashSet<Arc<str>>) -> bool {
    let counts =
        |body: &&RuleBody| staying.is_empty() || !lookups(body).any(|set| staying.contains(set));
    let old_bodies = old.rules.iter().map(|rule| &rule.body).filter(counts);
    let new_bodies = new.rules.iter().map(|rule| &rule.body).filter(counts);
    old.hook == new.hook && old_bodies.eq(new_bodies)
}
