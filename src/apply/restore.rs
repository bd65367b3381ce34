//! The way back from a trial.

use std::io;
use std::sync::Arc;

use crate::diff::{Identities, Observed, diff};
use crate::kernel::{Kernel, KernelError, random_id};
use crate::model::{Model, ServerKey, Wish};
use crate::notes::trial::{Before, Trials};
use crate::notes::wishes::{Wishes, add};
use crate::outline::Difference;

use super::census::Census;
use super::commit::Transaction;
use super::moves::{Moves, Unfinished};
use super::older;
use super::settle::remember;
use super::work::{keep_counters, tell_layouts};
use super::{Applied, Basis, Failure, Remembered, TRIES, Tables, Totals, settle};
use crate::view::numbers::layout;
use crate::view::told;

/// What the kernel has now, as [`restore`] takes it.
///
/// # Errors
///
/// Those of reading.
pub(super) fn before<K: Kernel>(tables: &mut Tables<K>) -> Result<Before, KernelError> {
    // What cannot be read now is not known afterwards either.
    let wishes = tables
        .layers()
        .map_or_else(|_| Wishes::new(), |(layers, _)| layers.operator);
    for _ in 0..TRIES {
        let seen = tables.see()?;
        let (kernel, _, table) = tables.parts();
        match seen.basis {
            Basis::Read(observed, _) => {
                let note = Vec::new();
                return Ok(Before {
                    observed,
                    note,
                    wishes,
                });
            }
            // What was remembered comes back with the tables, as they follow from it.
            Basis::Left(remembered) => {
                let observed = kernel.observe(table)?;
                if observed.generation == seen.generation {
                    let note = remembered.to_note();
                    return Ok(Before {
                        observed,
                        note,
                        wishes,
                    });
                }
            }
        }
    }
    Err(KernelError::Changed)
}

/// Makes the kernel have what it had, as one transaction or not at all, whatever others did meanwhile.
///
/// Connections to servers that it did not have, or that were down, are forgotten.
///
/// # Errors
///
/// See [`Failure`]; the kernel then has what it has now.
pub(super) fn restore<K: Kernel>(
    tables: &mut Tables<K>,
    before: &Before,
) -> Result<Applied, Failure> {
    let mut wishes = before.wishes.clone();
    // What was set meanwhile is not in force by this: it is as if whoever set it had been killed before that.
    if let Ok(trials) = tables.trials() {
        add(&mut wishes, trials.meanwhile());
    }
    let unwritten = tables.write_wishes(&wishes).err();
    let (kernel, cache, table) = tables.parts();
    let id: Arc<str> = random_id()?.into();
    let remembered = Remembered::from_note(&before.note.clone().into());
    let mut refused = 0;
    for _ in 0..TRIES {
        let mut now = kernel.observe(table)?;
        let mut changes = diff(&now, before.observed.as_desired(table), &id);
        let mut applied = Applied {
            difference: difference(&now, &before.observed),
            totals: Totals::of(&changes),
            ..Applied::default()
        };
        applied.notes.extend(unwritten.as_ref().map(|error| {
            format!("what was set before is in force, and lost with the next `flbc apply --keep`: {error}")
        }));
        let then = Census::of_tables(&before.observed);
        let mut moves = Moves::between(&Census::of_tables(&now), &then);
        let unfinished = Unfinished::of_killed(cache, table);
        let resumes = unfinished.is_some();
        if let Some(unfinished) = unfinished {
            moves.resume(unfinished, &then);
        }
        // Whoever tried may have been cut off meanwhile, and others may have had the tables in their hands: all are looked for.
        let served = older::served(&before.observed);
        keep_counters(kernel, table, &now, &moves, &mut changes)?;
        if !changes.is_empty() {
            let transaction = Transaction {
                place: (cache, table),
                moves: &moves,
                resumes,
                generation: now.generation,
            };
            match transaction.make(kernel, &mut changes, &mut refused, &mut applied)? {
                Some(generation) => now.generation = generation,
                None => continue,
            }
        }
        // Of what rules remember, not all was read that may have been carried over.
        now.drop_sets();
        let structure = changes.iter().filter(|change| change.is_structure());
        let followed = now.apply(structure).is_ok();
        let ids = Identities::of(&now).filter(|_| followed);
        let known = remembered.clone().zip(ids);
        let known = known.map(|(remembered, ids)| Remembered { ids, ..remembered });
        let known = known.as_ref();
        let keep = |kernel: &mut K, generation, applied: &mut Applied| {
            remember(kernel, (cache, table), generation, known, applied);
        };
        settle(
            kernel,
            (cache, table),
            &mut now,
            keep,
            (&moves, &then, &served),
            &mut applied,
        );
        return Ok(applied);
    }
    Err(Failure::Crowded)
}

/// Remembers what is set while a trial is open; says what was remembered before.
pub(super) fn owe(
    trials: &Trials,
    (service, server): (&str, &str),
    wish: Wish,
    otherwise: Option<&Model>,
) -> io::Result<Wishes> {
    let before = trials.meanwhile();
    let noted = trials.before().ok();
    let noted = noted.and_then(|noted| Remembered::from_note(&noted.note.into()));
    let declared = noted.as_ref().map(|noted| noted.effective.declared());
    let Some(declared) = declared.or(otherwise) else {
        return Ok(before);
    };
    let key = declared.place_of(service, server).map(|place| ServerKey {
        place,
        server: server.into(),
    });
    // A server that is gone with the trial needs nothing.
    let there = key.and_then(|key| Some((declared.server(&key)?, key)));
    if let Some((declared, key)) = there {
        let mut owed = before.clone();
        let wish = Wish {
            state: wish.state,
            weight: wish.weight,
            ..Wish::of(declared)
        };
        add(&mut owed, [(key, wish)].into());
        trials.set_meanwhile(&owed)?;
    }
    Ok(before)
}

/// What goes back, in words.
fn difference(now: &Observed, before: &Observed) -> Difference {
    let mut difference = told::difference(now, before, (&[], None));
    if now.has_tables() && before.has_tables() {
        tell_layouts([layout(now), layout(before)], &mut difference);
    }
    difference
}
