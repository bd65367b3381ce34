//! The way back from a trial.

use std::sync::Arc;

use crate::diff::{Observed, diff};
use crate::kernel::cache::Cache;
use crate::kernel::trial::Before;
use crate::kernel::{Kernel, KernelError, random_id};
use crate::outline::{Difference, Outline};

use super::{
    Applied, Failure, Remembered, Staying, TRIES, Totals, View, cannot_remember, dying,
    forget_connections, see,
};

/// What the kernel has now, as [`restore`] takes it.
///
/// # Errors
///
/// Those of reading.
pub fn before(kernel: &mut impl Kernel, cache: &Cache, table: &str) -> Result<Before, KernelError> {
    let seen = see(kernel, cache, table)?;
    let note = seen.remembered.as_ref().map(Remembered::to_note);
    Ok(Before {
        observed: seen.observed,
        note: note.unwrap_or_default(),
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
    let wanted = before.observed.as_desired(table);
    let staying = staying(&before.observed);
    let id: Arc<str> = match before.observed.id() {
        Some(id) => id,
        None => random_id()?.into(),
    };
    let outline = match Remembered::from_note(&before.note) {
        Some(remembered) => Outline::of(&remembered.model),
        None => View::of(&before.observed).outline(),
    };
    for _ in 0..TRIES {
        let seen = see(kernel, cache, table)?;
        let changes = diff(&seen.observed, &wanted, &id);
        let mut applied = Applied {
            difference: if outline.partial {
                Difference::between(&View::of(&seen.observed).outline(), &outline)
            } else {
                Difference::between(&seen.outline(), &outline)
            },
            drift: seen.drift,
            totals: Totals::of(&changes),
            forgotten: 0,
            notes: Vec::new(),
        };
        let mut now = seen.observed;
        if !changes.is_empty() {
            let dying = dying(&now, &staying);
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
            let followed = now.apply(&changes).is_ok();
            applied.forgotten = forget_connections(kernel, &dying, &mut applied.notes);
            if !followed || kernel.read_handles(table, &mut now).is_err() {
                // Somebody came right behind: what is there now is for the next run to read.
                now.generation = 0;
            }
        }
        let nothing = now.inet.is_none() && now.netdev.is_none();
        let kept = if nothing || now.generation == 0 {
            cache.forget(table)
        } else {
            cache.remember(kernel, table, &now, &before.note)
        };
        if let Err(error) = kept {
            applied.notes.push(cannot_remember(&error));
        }
        return Ok(applied);
    }
    Err(Failure::Crowded)
}

/// The servers that took packets then.
fn staying(observed: &Observed) -> Staying {
    let view = View::of(observed);
    view.servers()
        .filter(|server| server.state != "down")
        .filter_map(|s| Some((s.identity.clone(), s.address?, s.port)))
        .collect()
}
