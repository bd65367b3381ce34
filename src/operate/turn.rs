//! Whose turn it is to change the tables.

use std::time::Duration;

use crate::apply::Tables;
use crate::kernel::Kernel;
use crate::kernel::cache::Lock;
use crate::kernel::trial::Outcome;

use super::Refused;

/// The right to change the tables, as long as this is there: nobody else does, and no trial is open.
#[derive(Debug)]
pub struct Turn {
    /// Where the folder cannot be used there is none: the kernel's generation alone keeps two runs apart.
    _lock: Option<Lock>,
    /// A trial was open whose watcher was killed: what it tried was still there, and stays.
    pub orphaned: bool,
}

/// Takes the turn if nobody has it.
///
/// # Errors
///
/// [`Refused::Busy`]: another flbc has it; worth another try. [`Refused::OnTrial`].
pub fn take<K: Kernel>(tables: &mut Tables<K>) -> Result<Turn, Refused> {
    let lock = locked(tables)?;
    let mut turn = Turn {
        _lock: lock,
        orphaned: false,
    };
    let now = tables.kernel.now();
    let Ok(trials) = tables.trials() else {
        return Ok(turn);
    };
    let Some(open) = trials.open(now) else {
        return Ok(turn);
    };
    if open.watched {
        return Err(Refused::OnTrial {
            table: tables.name().to_owned(),
            remaining: open.remaining,
        });
    }
    trials
        .end(Outcome::Void, now)
        .map_err(|error| Refused::Trial {
            doing: "cannot end the trial",
            error,
        })?;
    turn.orphaned = true;
    Ok(turn)
}

/// The lock of these tables. Without privilege the kernel says so itself, and where the folder cannot be used there is no
/// lock.
pub(super) fn locked<K: Kernel>(tables: &Tables<K>) -> Result<Option<Lock>, Refused> {
    match tables.lock() {
        Ok(None) => Err(Refused::Busy {
            waited: Duration::ZERO,
        }),
        Ok(lock) => Ok(lock),
        Err(_) => Ok(None),
    }
}
