//! What is to be done: from what the tables are known to have to what they should have.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::diagnostic::Diagnostics;
use crate::diff::{Observed, diff};
use crate::emit::netlink::change::Change;
use crate::emit::netlink::{Desired, Interfaces, TableFamily, desired};
use crate::kernel::Kernel;
use crate::lower::number::{self, Numbering};
use crate::lower::{Scope, lower_part};
use crate::outline::{Difference, Outline};
use crate::schedule::schedule;

use super::delta::{Delta, Moved, Side, living};
use super::moved::moves_from;
use super::{Dying, Failure, Remembered, Request, View, numbers};

/// What is to be done.
pub(super) struct Work {
    /// In the operator's words.
    pub(super) difference: Difference,
    /// In the kernel's.
    pub(super) changes: Vec<Change>,
    /// The numbers of what is to come.
    pub(super) numbers: Numbering,
    /// The tables before: the chains that were looked at, and no sets.
    pub(super) structure: Observed,
    /// Servers that go.
    pub(super) dying: Dying,
}

/// What is to be done to tables that are as an apply left them: what differs between two models is looked at, and
/// nothing else. `None`: what was remembered does not fit together.
pub(super) fn since(
    kernel: &mut impl Kernel,
    (remembered, generation): (&Remembered<'_>, u32),
    request: &Request<'_>,
    interfaces: &Interfaces,
    id: &Arc<str>,
    sink: &mut Diagnostics,
) -> Result<Option<Work>, Failure> {
    let plan = schedule(&remembered.model, &mut Diagnostics::new());
    let delta = Delta::between(Side::of(remembered, &plan), request.into());
    let numbers = delta.assign(&remembered.numbers, sink);
    if sink.errors() > 0 {
        return Err(Failure::Numbers);
    }
    let both = |scopes: &[Scope; 2]| -> Result<Option<(Observed, Desired)>, Failure> {
        let [old, new] = scopes;
        let wanted = wanted(request, &numbers, interfaces, new)?;
        let has = remembered.tables(&plan, request.table, old);
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
        kernel.read_handles(request.table, &mut has)?;
    }
    debug_assert_eq!(
        both(&whole)?.map(|(mut old, wanted)| {
            old.take_handles(&has);
            diff(&old, wanted, id)
        }),
        Some(diff(&has, wanted.clone(), id)),
        "a part differs in what the whole does"
    );
    let changes = diff(&has, wanted, id);
    has.drop_sets();
    let dying = delta.dying(&remembered.numbers, &numbers);
    Ok(Some(Work {
        difference: delta.difference(),
        changes,
        structure: has,
        dying: Dying::of(&remembered.model, dying),
        numbers,
    }))
}

/// What is to be done to tables that were read.
pub(super) fn anew(
    (mut observed, remembered): (Observed, Option<&Remembered<'_>>),
    request: &Request<'_>,
    interfaces: &Interfaces,
    id: &Arc<str>,
    sink: &mut Diagnostics,
) -> Result<Work, Failure> {
    let known = numbers(&observed);
    let numbers = number::assign(request.model, request.plan, &known, sink);
    if sink.errors() > 0 {
        return Err(Failure::Numbers);
    }
    let mut dying: FxHashSet<u32> = known.servers.iter().map(|server| server.number).collect();
    for number in living(request.plan.blocks.iter().zip(&numbers.blocks)) {
        dying.remove(&number);
    }
    let before: FxHashSet<u32> = known.servers.iter().map(|server| server.number).collect();
    let blocks = request.plan.blocks.iter().zip(&numbers.blocks);
    let moved = Moved::among(request.model, blocks, |number| !before.contains(&number));
    for server in &known.servers {
        if moved.has(&server.identity, server.address, server.port) {
            dying.remove(&server.number);
        }
    }
    let wanted = wanted(request, &numbers, interfaces, &Scope::Whole)?;
    let changes = diff(&observed, wanted, id);
    let difference = if let Some(remembered) = remembered {
        let plan = schedule(&remembered.model, &mut Diagnostics::new());
        Delta::between(Side::of(remembered, &plan), request.into()).difference()
    } else {
        let old = View::of(&observed).outline();
        let new = Outline::beside(&old, request.model);
        let clients = if changes.is_empty() {
            Vec::new()
        } else {
            moves_from(&observed, &known, request)
        };
        Difference::between(&old, &new, &clients)
    };
    let dying = Dying::among(&observed, dying.into_iter());
    observed.drop_sets();
    Ok(Work {
        difference,
        changes,
        numbers,
        structure: observed,
        dying,
    })
}

/// What the kernel should have.
fn wanted(
    request: &Request<'_>,
    numbers: &Numbering,
    interfaces: &Interfaces,
    scope: &Scope,
) -> Result<Desired, Failure> {
    let ruleset = lower_part(request.model, request.plan, numbers, request.table, scope);
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
