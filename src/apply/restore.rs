//! The way back from a trial.

use std::sync::Arc;

use crate::diff::{Identities, Observed, diff};
use crate::kernel::cache::Cache;
use crate::kernel::trial::Before;
use crate::kernel::{Kernel, KernelError, random_id};
use crate::outline::{Difference, Outline};

use super::{
    Applied, Basis, Dying, Failure, Remembered, TRIES, Totals, View, numbers, see, settle,
};

/// What the kernel has now, as [`restore`] takes it.
///
/// # Errors
///
/// Those of reading.
pub fn before(kernel: &mut impl Kernel, cache: &Cache, table: &str) -> Result<Before, KernelError> {
    for _ in 0..TRIES {
        let seen = see(kernel, cache, table)?;
        match seen.basis {
            Basis::Read(observed, _) => {
                let note = Vec::new();
                return Ok(Before { observed, note });
            }
            // What was remembered comes back with the tables, as they follow from it.
            Basis::Left(remembered) => {
                let observed = kernel.observe(table)?;
                if observed.generation == seen.generation {
                    let note = remembered.to_note();
                    return Ok(Before { observed, note });
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
        let ids = Identities::of(&now).filter(|_| followed);
        let known = remembered.clone().zip(ids);
        let known = known.map(|(remembered, ids)| Remembered { ids, ..remembered });
        let known = known.as_ref();
        settle(
            kernel,
            (cache, table),
            &mut now,
            known,
            &dying,
            &mut applied,
        );
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
    Difference::between(&now, &before, &[])
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
