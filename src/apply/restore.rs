//! The way back from a trial.

use std::sync::Arc;

use crate::diff::{Identities, Observed, diff};
use crate::kernel::cache::Cache;
use crate::kernel::trial::Before;
use crate::kernel::{Kernel, KernelError, numbers, random_id};
use crate::outline::{Difference, Outline};

use super::{
    Applied, Basis, Dying, Failure, Remembered, TRIES, Totals, View, cannot_remember, see,
};

/// What the kernel has now, as [`restore`] takes it.
///
/// # Errors
///
/// Those of reading.
pub fn before(kernel: &mut impl Kernel, cache: &Cache, table: &str) -> Result<Before, KernelError> {
    // What was remembered comes back with the tables, if they follow from it.
    let note = match see(kernel, cache, table)?.basis {
        Basis::Left(remembered) => remembered.to_note(),
        Basis::Read(..) => Vec::new(),
    };
    Ok(Before {
        observed: kernel.observe(table)?,
        note,
    })
}

/// Makes the kernel have what it had, as one transaction or not at all, whatever others did meanwhile.
///
/// Connections to servers that it did not have, or that were down, are forgotten.
///
/// # Errors
///
/// See [`Failure`]; the kernel then has what it has now.
pub fn restore(
    kernel: &mut impl Kernel,
    cache: &Cache,
    table: &str,
    before: &Before,
) -> Result<Applied, Failure> {
    let id: Arc<str> = match before.observed.id() {
        Some(id) => id,
        None => random_id()?.into(),
    };
    let remembered = Remembered::from_note(&before.note);
    for _ in 0..TRIES {
        let mut now = kernel.observe(table)?;
        let changes = diff(&now, before.observed.as_desired(table), &id);
        let mut applied = Applied {
            difference: difference(&now, before, remembered.as_ref()),
            totals: Totals::of(&changes),
            ..Applied::default()
        };
        let dying = dying(&now, &before.observed);
        if !changes.is_empty() {
            cache.set_aside(table);
            match kernel.commit(table, &changes, now.generation) {
                Ok(committed) => now.generation = committed.generation,
                Err(error) => {
                    cache.put_back(table);
                    if error == KernelError::Changed {
                        continue;
                    }
                    return Err(error.into());
                }
            }
        }
        let followed = now.apply(&changes).is_ok();
        applied.forgotten = dying.forget(kernel, &mut applied.notes);
        applied.clients =
            dying.forget_clients(kernel, table, &mut now.generation, &mut applied.notes);
        let known = followed && kernel.generation()? == now.generation;
        let kept = match remembered.clone().zip(Identities::of(&now)) {
            Some((remembered, ids)) if known => {
                let remembered = Remembered { ids, ..remembered };
                let of = (now.generation, remembered.ids.each());
                cache.remember(kernel, table, of, &remembered.to_note())
            }
            _ => cache.forget(table),
        };
        if let Err(error) = kept {
            applied.notes.push(cannot_remember(&error));
        }
        return Ok(applied);
    }
    Err(Failure::Crowded)
}

/// What changes in the operator's words, as far as the tables tell.
fn difference(now: &Observed, before: &Before, remembered: Option<&Remembered<'_>>) -> Difference {
    let now = View::of(now).outline();
    let before = match remembered {
        Some(remembered) => Outline::beside(&now, &remembered.model),
        None => View::of(&before.observed).outline(),
    };
    Difference::between(&now, &before)
}

/// The servers that the kernel has now and that took no packets then.
fn dying(now: &Observed, before: &Observed) -> Dying {
    let view = View::of(before);
    let living = view.servers().filter(|server| server.state != "down");
    let living: Vec<_> = living
        .map(|s| (s.number, s.identity.as_str(), s.address, s.port))
        .collect();
    let living: std::collections::HashSet<_> = living.into_iter().collect();
    let numbers = numbers(now).servers;
    let dying = numbers.iter().filter(|server| {
        !living.contains(&(server.number, &server.identity, server.address, server.port))
    });
    Dying::among(now, dying.map(|server| server.number))
}
