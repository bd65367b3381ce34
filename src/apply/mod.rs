//! From a checked model to the kernel: read what is there, work out the difference, commit it as one transaction.
//!
//! ```text
//! see ──▶ number ──▶ lower ──▶ diff ──▶ commit ──▶ remember ──▶ forget connections
//!  ▲                                       │
//!  └── somebody else committed meanwhile ──┘
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::check::require_source_macs;
use crate::diagnostic::Diagnostics;
use crate::diff::{Drift, Identities, Observed, diff, drift};
use crate::emit::netlink::change::{Change, Step};
use crate::emit::netlink::{Desired, Interfaces, MissingInterface};
use crate::kernel::cache::{Cache, Left};
use crate::kernel::{Kernel, KernelError, random_id};
use crate::lower::Scope;
use crate::lower::layout::Layout;
use crate::model::{Model, Override};
use crate::outline::{Difference, Outline};
use crate::schedule::{Plan, schedule};

pub mod against;
mod carry;
mod census;
mod commit;
mod delta;
mod dying;
mod moved;
mod moves;
mod numbers;
mod older;
mod remembered;
mod restore;
mod roster;
mod settle;
mod siblings;
mod told;
mod traffic;
mod view;
mod work;

use census::Census;
use commit::Transaction;
use moves::{Moves, Unfinished};
pub use numbers::{KnownBlock, KnownServer, ObservedNumbers, numbers};
pub use remembered::Remembered;
pub use restore::{before, restore};
use settle::{remember, settle};
pub use siblings::Claimed;
pub use view::{ServerView, ServiceView, View};
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
    fn of(changes: &[Change]) -> Self {
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
    /// The name of both tables.
    pub table: &'a str,
    /// Which bits of marks numbers are to be in; `None`: those that they are in, or all where there are no tables.
    pub layout: Option<Layout>,
    /// What should be there.
    pub model: &'a Model,
    /// Its slots.
    pub plan: &'a Plan<'a>,
    /// What of the model no file says.
    pub overrides: &'a [Override],
    /// Whether to commit.
    pub commit: bool,
}

/// What the last apply made of these tables, if it is known, whatever others did since.
pub fn recall(kernel: &mut impl Kernel, cache: &Cache, table: &str) -> Option<Remembered<'static>> {
    Some(recall_and_compare(kernel, cache, table)?.0)
}

/// The same, and whether nobody has committed anything since.
pub fn recall_and_compare(
    kernel: &mut impl Kernel,
    cache: &Cache,
    table: &str,
) -> Option<(Remembered<'static>, bool)> {
    let left = cache.recall(kernel, table)?;
    Some((Remembered::from_note(&left.note)?, left.current))
}

/// What others changed since that, in tables that were read.
pub fn drift_since(left: &Remembered<'_>, table: &str, observed: &Observed) -> Vec<Drift> {
    let plan = schedule(&left.model, &mut Diagnostics::new());
    let tables = left.tables(&plan, table, &Scope::Whole);
    tables.map_or_else(Vec::new, |tables| drift(&tables, observed))
}

/// What was set with no file that says it, as far as is known: also where a run was killed around its transaction, or
/// where another version of flbc was there.
pub fn overrides(kernel: &mut impl Kernel, cache: &Cache, table: &str) -> Vec<Override> {
    let left = cache.recall(kernel, table);
    let left = left.or_else(|| cache.recall_aside(kernel, table));
    let known = left.and_then(|left| Remembered::from_note(&left.note));
    let known = known.map(|known| known.overrides.into_owned());
    let foreign = || Remembered::overrides_of(&cache.recall_foreign(kernel, table)?);
    known.or_else(foreign).unwrap_or_default()
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
}

/// What is known of the tables.
#[derive(Debug)]
pub enum Basis {
    /// They are as the last apply left them: all that is in them follows from this.
    Left(Box<Remembered<'static>>),
    /// They were read. What the last apply left was another thing, or is not known.
    Read(Observed, Option<Box<Remembered<'static>>>),
}

/// Looks at what the kernel has: what is remembered if it is known to be true, else what can be read.
///
/// # Errors
///
/// Those of reading.
pub fn see(kernel: &mut impl Kernel, cache: &Cache, table: &str) -> Result<Seen, KernelError> {
    let left = cache.recall(kernel, table);
    let interfaces = kernel.interfaces()?;
    see_beside(kernel, left, table, &interfaces)
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
        });
    };
    // An interface that is made anew has another number, and may have lost what was bound to it.
    let same_interfaces = remembered.are_there(interfaces);
    if let Some(left) = left.filter(|left| left.current && same_interfaces) {
        return Ok(Seen {
            generation: left.generation,
            basis: Basis::Left(remembered),
            drift: Vec::new(),
        });
    }
    let observed = kernel.observe(table)?;
    let generation = observed.generation;
    let drift = {
        let plan = schedule(&remembered.model, &mut Diagnostics::new());
        let left = remembered.tables(&plan, table, &Scope::Whole);
        left.map(|left| drift(&left, &observed))
    };
    let untouched = drift.as_ref().is_some_and(Vec::is_empty);
    Ok(Seen {
        basis: if untouched && same_interfaces {
            Basis::Left(remembered)
        } else {
            Basis::Read(observed, Some(remembered))
        },
        generation,
        drift: drift.unwrap_or_default(),
    })
}

/// Gives a model the own MAC addresses of interfaces that frames need and the file does not give, as the interfaces have
/// them now. An interface that is not there is for [`apply`] to find; one that has none is reported to `sink`.
///
/// # Errors
///
/// Those of looking.
pub fn complete(
    kernel: &mut impl Kernel,
    model: &mut Model,
    sink: &mut Diagnostics,
) -> Result<(), KernelError> {
    let mut macs = BTreeMap::new();
    let lacking = model.lacking_source_macs();
    for interface in &lacking {
        if let Some(mac) = kernel.mac_of(interface)? {
            macs.insert(interface.clone(), mac);
        }
    }
    model.fill_source_macs(|interface| macs.get(interface).copied());
    let left = model.lacking_source_macs();
    if !left.is_empty() {
        let there = kernel.interfaces()?;
        if left.iter().all(|interface| there.contains_key(interface)) {
            require_source_macs(model, sink);
        }
    }
    Ok(())
}

/// Makes the kernel have what the model says, as one transaction or not at all.
///
/// # Errors
///
/// See [`Failure`]; the kernel then has what it had.
pub fn apply(
    kernel: &mut impl Kernel,
    cache: &Cache,
    request: &Request<'_>,
    sink: &mut Diagnostics,
) -> Result<Applied, Failure> {
    let mut refused = 0;
    for _ in 0..TRIES {
        let interfaces = kernel.interfaces()?;
        let left = cache.recall(kernel, request.table);
        let unfinished = Unfinished::of_killed(cache, request.table);
        if unfinished.is_none()
            && left
                .as_ref()
                .is_some_and(|left| left.current && remembered::says(left, request, &interfaces))
        {
            return Ok(Applied::default());
        }
        siblings::keep_apart(kernel, request)?;
        let seen = see_beside(kernel, left, request.table, &interfaces)?;
        let id: Arc<str> = random_id()?.into();
        let work = match seen.basis {
            Basis::Left(remembered) => {
                let before = (&*remembered, seen.generation);
                match work::since(kernel, before, request, &interfaces, &id, sink) {
                    Err(Failure::Kernel(KernelError::Changed)) => {
                        if kernel.generation()? == seen.generation {
                            // The rules are not those that were remembered.
                            let _ = cache.forget(request.table);
                        }
                        continue;
                    }
                    work => work?,
                }
            }
            Basis::Read(observed, remembered) => {
                let before = (observed, remembered.as_deref());
                Some(work::anew(kernel, before, request, &interfaces, &id, sink)?)
            }
        };
        let Some(mut work) = work else {
            // It was not flbc that remembered this.
            let _ = cache.forget(request.table);
            continue;
        };
        let mut applied = Applied {
            difference: work.difference,
            drift: seen.drift,
            totals: Totals::of(&work.changes),
            ..Applied::default()
        };
        if !request.commit {
            if !work.changes.is_empty() {
                kernel.check(request.table, &work.changes)?;
            }
            return Ok(applied);
        }
        let resumes = unfinished.is_some();
        if let Some(unfinished) = unfinished {
            work.now = Census::of_all((request.model, request.plan, &work.numbers));
            work.moves.resume(unfinished, &work.now);
        }
        let mut now = work.structure;
        now.generation = seen.generation;
        let mut followed = true;
        if !work.changes.is_empty() {
            let transaction = Transaction {
                place: (cache, request.table),
                moves: &work.moves,
                resumes,
                generation: now.generation,
            };
            let changes = &mut work.changes;
            match transaction.make(kernel, changes, &mut refused, &mut applied)? {
                Some(generation) => now.generation = generation,
                None => continue,
            }
            let structure = work.changes.iter().filter(|change| change.is_structure());
            followed = now.apply(structure).is_ok();
        }
        // Without a text for each the tables could not be known again.
        let ids = Identities::of(&now).filter(|_| followed);
        let known = ids.map(|ids| Remembered {
            model: Cow::Borrowed(request.model),
            numbers: Cow::Owned(work.numbers),
            interfaces: remembered::named(request.model, &interfaces),
            ids,
            overrides: Cow::Borrowed(request.overrides),
        });
        let place = (cache, request.table);
        if work.changes.is_empty() && !resumes {
            remember(kernel, place, now.generation, known.as_ref(), &mut applied);
            applied.older = older::forget(kernel, &work.served, &mut applied.notes);
        } else {
            let settled = (&work.moves, &work.now, &work.served);
            settle(
                kernel,
                place,
                &mut now,
                known.as_ref(),
                settled,
                &mut applied,
            );
        }
        return Ok(applied);
    }
    Err(Failure::Crowded)
}

/// Removes flbc's own tables, in one transaction, and forgets their connections.
///
/// # Errors
///
/// Those of the kernel.
pub fn unload(
    kernel: &mut impl Kernel,
    cache: &Cache,
    table: &str,
) -> Result<Option<Applied>, Failure> {
    for _ in 0..TRIES {
        let seen = see(kernel, cache, table)?;
        let (tables, outline, before) = match &seen.basis {
            Basis::Left(remembered) => (
                Observed::from(&remembered.ids),
                Outline::of(&remembered.model),
                remembered.census(),
            ),
            Basis::Read(observed, remembered) => (
                observed.hollow(),
                match remembered {
                    Some(remembered) => Outline::of(&remembered.model),
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
