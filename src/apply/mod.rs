//! From a checked model to the kernel: read what is there, work out the difference, commit it as one transaction.
//!
//! ```text
//! see ──▶ number ──▶ lower ──▶ diff ──▶ commit ──▶ remember ──▶ forget connections
//!  ▲                                       │
//!  └── somebody else committed meanwhile ──┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashSet;

use crate::diagnostic::Diagnostics;
use crate::diff::{Drift, Observed, diff};
use crate::emit::netlink::change::{Change, Step};
use crate::emit::netlink::{Desired, Interfaces, MissingInterface, TableFamily};
use crate::kernel::{Kernel, KernelError};
use crate::lower::Scope;
use crate::lower::layout::Layout;
use crate::model::{Effective, Model};
use crate::notes::Left;
use crate::outline::{Difference, Outline};
use crate::schedule::{Plan, schedule};

mod attempt;
mod carry;
pub(crate) mod census;
pub(crate) mod commit;
pub(crate) mod delta;
mod dying;
mod gap;
mod left;
pub(crate) mod moves;
mod older;
pub(crate) mod remembered;
mod restore;
mod roster;
pub(crate) mod settle;
mod siblings;
mod tables;
mod words;
pub(crate) mod work;

use crate::view::drifted::drifted_since;
use crate::view::told;
use attempt::Attempt;
use census::Census;
pub use gap::Gap;
pub use left::Look;
use moves::{Moves, Unfinished};
pub use remembered::{Remembered, Stranger};
use settle::settle;
pub use siblings::Claimed;
pub use tables::Tables;
pub use words::drifted;
pub use work::tell_layouts;

/// How often a transaction is worked out anew because somebody else committed one meanwhile.
const TRIES: usize = 20;

/// What an apply did, or with `--dry-run` would do.
#[derive(Debug, Default)]
pub struct Applied {
    /// What changes in the operator's words.
    pub difference: Difference,
    /// What others had changed in flbc's own tables.
    pub drift: Vec<Drift>,
    /// What the transaction holds.
    pub totals: Totals,
    /// How many connections to servers that are gone or down were forgotten.
    pub forgotten: usize,
    /// How many connections got the number that their server has now.
    pub marked: usize,
    /// How many flows were forgotten that are older than their service, so that they are balanced from now on.
    pub older: usize,
    /// How many clients were remembered for servers that are gone or down, and are no more.
    pub clients: usize,
    /// How many services were left out, as their interfaces are not there.
    pub left_out: usize,
    /// How long the kernel took for the transaction.
    pub transaction: Duration,
    /// Something that went wrong without harm to the rules, in a sentence.
    pub notes: Vec<String>,
}

/// What a transaction holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Elements added.
    pub added: usize,
    /// Elements removed.
    pub removed: usize,
    /// Rules, chains, sets and tables added or removed.
    pub structure: usize,
}

impl Totals {
    pub(crate) fn of(changes: &[Change]) -> Self {
        let mut totals = Self::default();
        for change in changes {
            match &change.step {
                // What packets made, in a set that is made anew.
                Step::AddElements { origins, .. } if origins.is_empty() => {}
                Step::AddElements { elements, .. } => totals.added += elements.len(),
                Step::DeleteElements { elements, .. } => totals.removed += elements.len(),
                // What is counted or remembered under the numbers of what comes or goes anyway.
                Step::ClearElements { .. } | Step::CarryElements { .. } => {}
                _ => totals.structure += 1,
            }
        }
        totals
    }

    /// Whether there is nothing to do.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Why nothing was applied.
#[derive(Debug)]
pub enum Failure {
    /// The rules name interfaces that are not there.
    Interfaces(Vec<MissingInterface>),
    /// Another table of flbc's has VIPs of these.
    Claimed(Vec<Claimed>),
    /// Another program made a table of this name.
    Strange {
        /// The family of the table.
        family: TableFamily,
        /// What shows it.
        has: String,
    },
    /// More servers or slots than there are numbers; reported to the sink.
    Numbers,
    /// The kernel's answer.
    Kernel(KernelError),
    /// Others committed so often that no difference stayed true for long enough.
    Crowded,
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

/// What is to be applied, and where.
#[derive(Debug)]
pub struct Request<'a> {
    /// Which bits of marks numbers are to be in; `None`: those that they are in, or all where there are no tables.
    pub layout: Option<Layout>,
    /// What should be there, and what of it the file says.
    pub effective: &'a Effective,
    /// Its slots.
    pub plan: &'a Plan<'a>,
    /// Whether to commit.
    pub commit: bool,
}

impl Request<'_> {
    /// What should be there.
    pub fn model(&self) -> &Model {
        self.effective.model()
    }
}

/// What the kernel has, and what is known of how it came about.
#[derive(Debug)]
pub struct Seen {
    /// What is known of the tables.
    pub basis: Basis,
    /// The generation that it was true at.
    pub generation: u32,
    /// What others changed since the last apply.
    pub drift: Vec<Drift>,
    /// The interfaces that are others than at the last apply, though their names are the same.
    pub strangers: Vec<Stranger>,
}

/// What is known of the tables.
#[derive(Debug)]
pub enum Basis {
    /// They are as the last apply left them: all that is in them follows from this.
    Left(Box<Remembered<'static>>),
    /// They were read. What the last apply left was another thing, or is not known.
    Read(Observed, Option<Box<Remembered<'static>>>),
}

fn see_beside(
    kernel: &mut impl Kernel,
    left: Option<Left>,
    table: &str,
    interfaces: &Interfaces,
) -> Result<Seen, KernelError> {
    let remembered = left
        .as_ref()
        .and_then(|left| Some(Box::new(Remembered::from_note(&left.note)?)));
    let Some(remembered) = remembered else {
        let observed = kernel.observe(table)?;
        return Ok(Seen {
            generation: observed.generation,
            basis: Basis::Read(observed, None),
            drift: Vec::new(),
            strangers: Vec::new(),
        });
    };
    // An interface that is made anew has another number, and may have lost what was bound to it.
    let same_interfaces = remembered.are_there(interfaces);
    if let Some(left) = left.filter(|left| left.current && same_interfaces) {
        return Ok(Seen {
            generation: left.generation,
            basis: Basis::Left(remembered),
            drift: Vec::new(),
            strangers: Vec::new(),
        });
    }
    let observed = kernel.observe(table)?;
    let generation = observed.generation;
    let drift = {
        let plan = schedule(remembered.model(), &mut Diagnostics::new());
        let left = remembered.tables(&plan, table, &Scope::Whole);
        left.map(|left| {
            let mut drift = drifted_since(&left, &observed);
            // A chain goes with its interface: nobody removed it.
            let gone = went_with(&left, &remembered.interfaces, interfaces);
            drift.retain(|one| !one.is_missing_chain(|chain| gone.contains(chain)));
            drift
        })
    };
    let strangers = remembered.strangers(interfaces);
    let untouched = drift.as_ref().is_some_and(Vec::is_empty);
    Ok(Seen {
        basis: if untouched && same_interfaces {
            Basis::Left(remembered)
        } else {
            Basis::Read(observed, Some(remembered))
        },
        generation,
        drift: drift.unwrap_or_default(),
        strangers,
    })
}

/// The chains that went with an interface that is gone, or another one by now.
fn went_with(left: &Observed, then: &Interfaces, now: &Interfaces) -> FxHashSet<Arc<str>> {
    let went = |name: &Arc<str>| then.contains_key(name) && then.get(name) != now.get(name);
    let tables = TableFamily::BOTH
        .into_iter()
        .filter_map(|family| left.table(family));
    let chains = tables.flat_map(|table| &table.chains);
    let of_those = chains.filter(|chain| {
        let hook = chain.hook.as_ref();
        hook.is_some_and(|hook| hook.devices.iter().any(went))
    });
    of_those.map(|chain| chain.name.clone()).collect()
}

/// Makes the kernel have what the model says, as one transaction or not at all: in as many attempts as it takes.
fn apply<K: Kernel>(
    tables: &mut Tables<K>,
    request: &Request<'_>,
    sink: &mut Diagnostics,
) -> Result<Applied, Failure> {
    let mut refused = 0;
    for _ in 0..TRIES {
        if let Some(applied) = Attempt::of(tables, request, sink)?.make(&mut refused)? {
            return Ok(applied);
        }
    }
    Err(Failure::Crowded)
}

/// Removes flbc's own tables, in one transaction, and forgets their connections.
///
/// # Errors
///
/// Those of the kernel.
fn unload<K: Kernel>(tables: &mut Tables<K>) -> Result<Option<Applied>, Failure> {
    for _ in 0..TRIES {
        let seen = tables.see()?;
        if !tables.force {
            attempt::refuse_strangers(&seen.basis)?;
        }
        let (kernel, cache, table) = tables.parts();
        let (tables, outline, before) = match &seen.basis {
            Basis::Left(remembered) => (
                Observed::from(&remembered.ids),
                Outline::of(remembered.model()),
                remembered.census(),
            ),
            Basis::Read(observed, remembered) => (
                observed.hollow(),
                match remembered {
                    Some(remembered) => Outline::of(remembered.model()),
                    None => told::outline(observed),
                },
                Census::of_tables(observed),
            ),
        };
        let changes = diff(&tables, Desired::nothing(table.into()), &"".into());
        if changes.is_empty() {
            return Ok(None);
        }
        let nobody = Census::default();
        let mut moves = Moves::between(&before, &nobody);
        if let Some(unfinished) = Unfinished::of_killed(cache, table) {
            moves.resume(unfinished, &nobody);
        }
        let mut applied = Applied {
            difference: Difference::between(&outline, &Outline::default(), &[]),
            totals: Totals::of(&changes),
            ..Applied::default()
        };
        moves::begin(&moves, (cache, table), &mut applied.notes);
        cache.set_aside(table);
        if let Err(error) = kernel.commit(table, &changes, seen.generation) {
            cache.put_back(table);
            if error == KernelError::Changed {
                continue;
            }
            return Err(error.into());
        }
        if let Some(judged) = dying::judge(kernel, &moves, &nobody, &mut applied.notes) {
            applied.forgotten = judged.forgotten;
            cache.finish(table);
        }
        if let Err(error) = cache.forget(table) {
            applied
                .notes
                .push(format!("what was remembered of them stays: {error}"));
        }
        return Ok(Some(applied));
    }
    Err(Failure::Crowded)
}
