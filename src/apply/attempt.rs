//! One attempt to make the kernel have what a model says: see, work out, commit, settle.

use std::borrow::Cow;
use std::sync::Arc;

use crate::diagnostic::Diagnostics;
use crate::diff::{Drift, Identities};
use crate::emit::netlink::{Interfaces, TableFamily};
use crate::kernel::{Kernel, KernelError, random_id};
use crate::model::Served;
use crate::notes::Notes;
use crate::view::strange::strange;

use super::census::Census;
use super::commit::Transaction;
use super::moves::Unfinished;
use super::remembered::{self, Remembered, Stranger};
use super::settle::{remember, settle};
use super::work::{self, Work};
use super::{Applied, Basis, Failure, Request, Tables, Totals, older, see_beside, siblings};

/// What was seen and what is to be done about it.
pub(super) struct Attempt<'t, 'r, K> {
    place: (&'t mut K, &'t Notes, &'t str),
    request: &'t Request<'r>,
    interfaces: Interfaces,
    unfinished: Option<Unfinished>,
    todo: Todo,
}

/// What is to be done.
enum Todo {
    /// Nothing: the kernel is as the last apply left it, and that is what the model says.
    Nothing,
    /// This, worked out at a generation.
    Work {
        work: Box<Work>,
        generation: u32,
        drift: Vec<Drift>,
        strangers: Vec<Stranger>,
    },
    /// It is to be looked at anew: the kernel has not what was remembered.
    LookAgain,
}

impl<'t, 'r, K: Kernel> Attempt<'t, 'r, K> {
    /// Looks at the kernel and works out what is to be done.
    pub(super) fn of(
        tables: &'t mut Tables<K>,
        request: &'t Request<'r>,
        sink: &mut Diagnostics,
    ) -> Result<Self, Failure> {
        let force = tables.force;
        let (kernel, cache, table) = tables.parts();
        let interfaces = kernel.interfaces()?;
        let left = cache.recall(kernel, table);
        let unfinished = Unfinished::of_killed(cache, table);
        let untouched = left.as_ref().is_some_and(|left| left.current);
        let is_so = left
            .as_ref()
            .is_some_and(|left| left.current && remembered::says(left, request, &interfaces));
        let todo = if is_so && unfinished.is_none() {
            Todo::Nothing
        } else {
            siblings::keep_apart(kernel, table, request)?;
            let seen = see_beside(kernel, left, table, &interfaces)?;
            let (generation, drift, strangers) = (seen.generation, seen.drift, seen.strangers);
            if !force {
                refuse_strangers(&seen.basis)?;
            }
            let at = (seen.basis, generation);
            match worked_out((kernel, cache, table), at, request, &interfaces, sink)? {
                Some(mut work) => {
                    if !untouched {
                        // The rules may not have been in force all the time, though they are there again: dormant, or gone
                        // and restored. A flow that began meanwhile would pass its service by.
                        work.served = Served::by_nat(request.model());
                    }
                    Todo::Work {
                        work: Box::new(work),
                        generation,
                        drift,
                        strangers,
                    }
                }
                None => Todo::LookAgain,
            }
        };
        Ok(Self {
            place: (kernel, cache, table),
            request,
            interfaces,
            unfinished,
            todo,
        })
    }

    /// Lets the kernel check it, or makes it and sees to what follows from it. `None`: somebody else committed meanwhile,
    /// and all is to be worked out anew. `refused` counts how often that was because of what rules remember.
    pub(super) fn make(self, refused: &mut usize) -> Result<Option<Applied>, Failure> {
        let (work, generation, drift, strangers) = match self.todo {
            Todo::Nothing => return Ok(Some(Applied::default())),
            Todo::LookAgain => return Ok(None),
            Todo::Work {
                work,
                generation,
                drift,
                strangers,
            } => (*work, generation, drift, strangers),
        };
        let (kernel, cache, table) = self.place;
        let request = self.request;
        let mut work = work;
        // Where the kernel has bound to it by its name what is to be bound, there is nothing to tell.
        let strangers = if work.changes.is_empty() {
            Vec::new()
        } else {
            strangers
        };
        let mut applied = Applied {
            difference: std::mem::take(&mut work.difference),
            drift,
            totals: Totals::of(&work.changes),
            notes: strangers.iter().map(ToString::to_string).collect(),
            ..Applied::default()
        };
        if !request.commit {
            if !work.changes.is_empty() {
                kernel.check(table, &work.changes)?;
            }
            return Ok(Some(applied));
        }
        let resumes = self.unfinished.is_some();
        if let Some(unfinished) = self.unfinished {
            work.now = Census::of_all((request.model(), request.plan, &work.numbers));
            work.moves.resume(unfinished, &work.now);
        }
        let mut now = work.structure;
        now.generation = generation;
        let mut followed = true;
        if !work.changes.is_empty() {
            let transaction = Transaction {
                place: (cache, table),
                moves: &work.moves,
                resumes,
                generation,
            };
            let changes = &mut work.changes;
            match transaction.make(kernel, changes, refused, &mut applied)? {
                Some(generation) => now.generation = generation,
                None => return Ok(None),
            }
            let structure = work.changes.iter().filter(|change| change.is_structure());
            followed = now.apply(structure).is_ok();
        }
        // Without a text for each the tables could not be known again.
        let ids = Identities::of(&now).filter(|_| followed);
        let known = ids.map(|ids| Remembered {
            effective: Cow::Borrowed(request.effective),
            numbers: Cow::Owned(work.numbers),
            interfaces: remembered::named(request.model(), &self.interfaces),
            ids,
        });
        let place = (cache, table);
        let known = known.as_ref();
        if work.changes.is_empty() && !resumes {
            remember(kernel, place, now.generation, known, &mut applied);
            applied.older = older::forget_at_rest(kernel, &work.served, &mut applied.notes);
        } else {
            let settled = (&work.moves, &work.now, &work.served);
            let keep = |kernel: &mut K, generation, applied: &mut Applied| {
                remember(kernel, place, generation, known, applied);
            };
            settle(kernel, place, &mut now, keep, settled, &mut applied);
        }
        Ok(Some(applied))
    }
}

/// Refuses to take over what another program made.
///
/// # Errors
///
/// [`Failure::Strange`].
pub(super) fn refuse_strangers(basis: &Basis) -> Result<(), Failure> {
    let Basis::Read(observed, None) = basis else {
        return Ok(());
    };
    for family in TableFamily::BOTH {
        let has = observed.table(family).and_then(strange);
        if let Some(has) = has {
            return Err(Failure::Strange { family, has });
        }
    }
    Ok(())
}

/// What is to be done to tables of which so much is known at this generation; `None`: the kernel has not what was
/// remembered, and the note is gone.
fn worked_out<K: Kernel>(
    (kernel, cache, table): (&mut K, &Notes, &str),
    (basis, generation): (Basis, u32),
    request: &Request<'_>,
    interfaces: &Interfaces,
    sink: &mut Diagnostics,
) -> Result<Option<Work>, Failure> {
    let id: Arc<str> = random_id()?.into();
    let remembered = match basis {
        Basis::Left(remembered) => remembered,
        Basis::Read(observed, remembered) => {
            let before = (observed, remembered.as_deref());
            let work = work::anew((kernel, table), before, request, interfaces, &id, sink)?;
            return Ok(Some(work));
        }
    };
    let before = (&*remembered, generation);
    match work::since((kernel, table), before, request, interfaces, &id, sink) {
        Err(Failure::Kernel(KernelError::Changed)) => {
            if kernel.generation()? == generation {
                // The rules are not those that were remembered.
                let _ = cache.forget(table);
            }
            Ok(None)
        }
        Ok(None) => {
            // The note does not fit these tables: another program or version wrote it. The kernel is read instead.
            let _ = cache.forget(table);
            Ok(None)
        }
        work => work,
    }
}
