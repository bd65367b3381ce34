//! Some services before and after a change, in the kernel's words: what is the same in both is left out, and what is left
//! must be theirs alone.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::diff::{Observed, ObservedChain, ObservedSet, ObservedTable};
use crate::emit::netlink::{Chain, Desired, Set, Table, TableFamily, kind};
use crate::lower::room;

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

/// Leaves of both sides what differs. `own` are the chains of the services; `members` says how many elements sets have as a
/// whole.
///
/// # Errors
///
/// Why it does not follow from these services alone what is to be done to the whole.
pub(super) fn narrow(
    has: &mut Observed,
    wanted: &mut Desired,
    own: &FxHashSet<Arc<str>>,
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
                sets(family, has, wanted, members, &mut growth)?;
                chains(has, wanted, own)?;
            }
            (None, Some(_)) | (Some(_), None) => return Err(Why::Structure),
        }
    }
    Ok(growth)
}

fn sets(
    family: TableFamily,
    has: &mut ObservedTable,
    wanted: &mut Table,
    members: &Members,
    growth: &mut Growth,
) -> Result<(), Why> {
    let names = |sets: &[ObservedSet]| sets.iter().map(|set| set.name.clone()).collect::<Vec<_>>();
    if names(&has.sets)
        != wanted
            .sets
            .iter()
            .map(|set| set.name.clone())
            .collect::<Vec<_>>()
    {
        return Err(Why::Structure);
    }
    let pairs = std::mem::take(&mut has.sets).into_iter();
    for (mut old, mut new) in pairs.zip(std::mem::take(&mut wanted.sets)) {
        if old.elements == new.elements && same_but_for_room(&old, &new) {
            continue;
        }
        // An element whose key is a mark is of one block, and no other service's.
        let of_marks = old.shape.key_type == kind::MARK && old.shape.fields.is_empty();
        if !of_marks || old.shape.is_dynamic() || !same_but_for_room(&old, &new) {
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
        if room(before) != room(after) {
            return Err(Why::Room);
        }
        growth.push((set, more - fewer));
        old.shape.size = room(after);
        new.shape.size = room(after);
        has.sets.push(old);
        wanted.sets.push(new);
    }
    Ok(())
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

fn chains(
    has: &mut ObservedTable,
    wanted: &mut Table,
    own: &FxHashSet<Arc<str>>,
) -> Result<(), Why> {
    let names = |chains: &[ObservedChain]| {
        chains
            .iter()
            .map(|one| one.name.clone())
            .collect::<Vec<_>>()
    };
    if names(&has.chains)
        != wanted
            .chains
            .iter()
            .map(|one| one.name.clone())
            .collect::<Vec<_>>()
    {
        return Err(Why::Structure);
    }
    let pairs = std::mem::take(&mut has.chains).into_iter();
    for (old, new) in pairs.zip(std::mem::take(&mut wanted.chains)) {
        if same(&old, &new) {
            continue;
        }
        if !own.contains(&old.name) || old.hook != new.hook {
            return Err(Why::Structure);
        }
        has.chains.push(old);
        wanted.chains.push(new);
    }
    Ok(())
}

fn same(old: &ObservedChain, new: &Chain) -> bool {
    let bodies = old.rules.iter().map(|rule| &rule.body);
    old.hook == new.hook && bodies.eq(new.rules.iter().map(|rule| &rule.body))
}
