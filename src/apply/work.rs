//! What is to be done: from what the tables are known to have to what they should have.

use std::sync::Arc;

use crate::diagnostic::Diagnostics;
use crate::diff::{Observed, Renumbered, carry, diff};
use crate::emit::netlink::change::Change;
use crate::emit::netlink::{Desired, Interfaces, TableFamily, desired};
use crate::kernel::{Kernel, KernelError};
use crate::lower::layout::Layout;
use crate::lower::number::{self, Numbering};
use crate::lower::{Scope, lower_part};
use crate::model::Served;
use crate::outline::Difference;
use crate::schedule::schedule;

use super::census::Census;
use super::delta::{Delta, Side};
use super::moves::Moves;
use super::older::newly_served;
use super::{Failure, Remembered, Request};
use crate::view::moved::moves_from;
use crate::view::numbers::{ObservedNumbers, numbers, turned_away};
use crate::view::told;

/// What is to be done.
pub(crate) struct Work {
    /// In the operator's words.
    pub(crate) difference: Difference,
    /// In the kernel's.
    pub(crate) changes: Vec<Change>,
    /// The numbers of what is to come.
    pub(crate) numbers: Numbering,
    /// The tables before: the chains that were looked at, and no sets.
    pub(super) structure: Observed,
    /// What becomes of those who had numbers.
    pub(super) moves: Moves,
    /// Who has numbers from now on, where that may have changed.
    pub(super) now: Census,
    /// VIPs that none was balanced for before.
    pub(super) served: Served,
}

/// What is to be done to tables that are as an apply left them: what differs between two models is looked at, and
/// nothing else. `None`: what was remembered does not fit together.
pub(crate) fn since(
    (kernel, table): (&mut impl Kernel, &str),
    (remembered, generation): (&Remembered<'_>, u32),
    request: &Request<'_>,
    interfaces: &Interfaces,
    id: &Arc<str>,
    sink: &mut Diagnostics,
) -> Result<Option<Work>, Failure> {
    let plan = schedule(remembered.model(), &mut Diagnostics::new());
    let mut delta = Delta::between(Side::of(remembered, &plan), request.into());
    let layouts = [
        remembered.numbers.layout,
        request.layout.unwrap_or(remembered.numbers.layout),
    ];
    let naming = (table, layouts[1]);
    let numbers = delta.assign(naming, &remembered.numbers, sink);
    if sink.errors() > 0 {
        return Err(Failure::Numbers);
    }
    let both = |scopes: &[Scope; 2]| -> Result<Option<(Observed, Desired)>, Failure> {
        let [old, new] = scopes;
        let wanted = wanted((request, table), &numbers, interfaces, new)?;
        let has = remembered.tables(&plan, table, old);
        Ok(has.map(|has| (has, wanted)))
    };
    let whole = [Scope::Whole, Scope::Whole];
    let scopes = delta.scopes(&remembered.numbers, &numbers);
    let mut pair = both(&scopes)?;
    // A set that is made anew needs all of its elements.
    let reshaped = pair
        .as_ref()
        .is_some_and(|(has, wanted)| reshapes(has, wanted));
    if reshaped {
        pair = both(&whole)?;
    }
    let Some((mut has, wanted)) = pair else {
        return Ok(None);
    };
    has.generation = generation;
    // A rule is pointed to by its number. Where it is not known a chain is replaced whole.
    if !reshaped {
        kernel.read_handles(table, &mut has)?;
    }
    debug_assert_eq!(
        both(&whole)?.map(|(mut old, wanted)| {
            old.take_handles(&has);
            diff(&old, wanted, id)
        }),
        Some(diff(&has, wanted.clone(), id)),
        "a part differs in what the whole does"
    );
    let mut changes = diff(&has, wanted, id);
    let [before, now] = delta.censuses(&remembered.numbers, &numbers);
    let moves = Moves::between(&before, &now);
    if request.commit {
        keep_counters(kernel, table, &has, &moves, &mut changes)?;
    }
    let served = newly_served(&has, &changes);
    has.drop_sets();
    let mut difference = delta.difference();
    tell_layouts(layouts, &mut difference);
    Ok(Some(Work {
        difference,
        changes,
        structure: has,
        moves,
        now,
        served,
        numbers,
    }))
}

/// What is to be done to tables that were read.
pub(super) fn anew(
    (kernel, table): (&mut impl Kernel, &str),
    (mut observed, remembered): (Observed, Option<&Remembered<'_>>),
    request: &Request<'_>,
    interfaces: &Interfaces,
    id: &Arc<str>,
    sink: &mut Diagnostics,
) -> Result<Work, Failure> {
    let known = numbers(&observed);
    let places = (&known).into();
    let before = own_layout(&known, remembered);
    let layout = request.layout.unwrap_or(before);
    let numbers = number::assign(request.plan, (table, layout), &places, sink);
    if sink.errors() > 0 {
        return Err(Failure::Numbers);
    }
    let wanted = wanted((request, table), &numbers, interfaces, &Scope::Whole)?;
    let mut difference = if let Some(remembered) = remembered {
        let plan = schedule(remembered.model(), &mut Diagnostics::new());
        Delta::between(Side::of(remembered, &plan), request.into()).difference()
    } else {
        let clients = moves_from(&observed, &known, (request.model(), request.plan));
        told::difference(&observed, &wanted, (&clients, Some(request.model())))
    };
    if observed.has_tables() {
        tell_layouts([before, layout], &mut difference);
    }
    let mut changes = diff(&observed, wanted, id);
    let before = Census::of_tables(&observed);
    let now = Census::of_all((request.model(), request.plan, &numbers));
    let moves = Moves::between(&before, &now);
    if request.commit {
        keep_counters(kernel, table, &observed, &moves, &mut changes)?;
    }
    let served = match remembered {
        Some(_) => newly_served(&observed, &changes),
        // Whoever loaded what is there let connection tracking forget nothing.
        None => Served::by_nat(request.model()),
    };
    observed.drop_sets();
    Ok(Work {
        difference,
        changes,
        numbers,
        structure: observed,
        moves,
        now,
        served,
    })
}

/// Which bits of marks the numbers of tables are in that were read. Tables tell; where somebody has taken away what
/// tells, it is what the last apply left, if the numbers are such.
fn own_layout(known: &ObservedNumbers, remembered: Option<&Remembered<'_>>) -> Layout {
    let left = remembered.map_or_else(Layout::default, |left| left.numbers.layout);
    let untold = known.layout == Layout::default() && !known.servers.is_empty();
    let fits = known.servers.iter().all(|server| left.has(server.number));
    if untold && fits { left } else { known.layout }
}

/// Tells that the numbers of the whole table are to be in other bits of marks, if so.
pub fn tell_layouts([old, new]: [Layout; 2], difference: &mut Difference) {
    if old != new {
        let line = format!("~ marks: mark-shift {} -> {}", old.shift(), new.shift());
        difference.lines.insert(0, line);
    }
}

/// Lets the counters of tables go on where `changes` make elements anew, under the numbers that servers have then.
pub(crate) fn keep_counters(
    kernel: &mut impl Kernel,
    table: &str,
    has: &Observed,
    moves: &Moves,
    changes: &mut Vec<Change>,
) -> Result<(), KernelError> {
    let mut renumbered = Renumbered {
        moved: moves.renumbered(),
        gone: moves.dying(),
    };
    renumbered.moved.extend(turned_away(has, changes));
    carry(has, changes, &renumbered, |family, set| {
        kernel.counters(table, family, set)
    })
}

/// What the kernel should have.
fn wanted(
    (request, table): (&Request<'_>, &str),
    numbers: &Numbering,
    interfaces: &Interfaces,
    scope: &Scope,
) -> Result<Desired, Failure> {
    let ruleset = lower_part(request.model(), request.plan, numbers, table, scope);
    desired(ruleset, interfaces).map_err(Failure::Interfaces)
}

/// Whether a set stays and has another declaration.
fn reshapes(has: &Observed, wanted: &Desired) -> bool {
    let pairs = TableFamily::BOTH.map(|family| has.table(family).zip(wanted.table(family)));
    pairs.into_iter().flatten().any(|(has, wanted)| {
        wanted.sets.iter().any(|set| {
            let old = has.set(&set.name);
            old.is_some_and(|old| old.shape != set.shape)
        })
    })
}
