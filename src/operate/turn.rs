//! Whose turn it is to change the tables.

use std::io;
use std::time::Duration;

use crate::apply::{Applied, Tables};
use crate::kernel::Kernel;
use crate::notes::lock::Lock;
use crate::notes::trial::{Open, Outcome, Trials};

use super::Refused;

/// The right to change the tables, as long as this is there: nobody else does, and no trial is open.
#[derive(Debug)]
pub struct Turn {
    /// Where the folder cannot be used there is none: the kernel's generation alone keeps two runs apart.
    _lock: Option<Lock>,
    /// The time of a trial was over whose watcher had been killed: what going back did.
    pub went_back: Option<Applied>,
}

/// Takes the turn if nobody has it. A trial whose time is over and that nobody watches any more goes back first.
///
/// # Errors
///
/// [`Refused::Busy`]: another flbc has it; worth another try. [`Refused::OnTrial`], [`Refused::TrialUnknown`]; why the
/// kernel cannot go back.
pub fn take<K: Kernel>(tables: &mut Tables<K>) -> Result<Turn, Refused> {
    let lock = locked(tables)?;
    let mut turn = Turn {
        _lock: lock,
        went_back: None,
    };
    let (trials, open) = look(tables)?;
    match open {
        None => {}
        Some(Open {
            remaining: Some(Duration::ZERO),
            watched: false,
        }) => {
            let (applied, still_open) = restore(tables, &trials)?;
            if let Some(error) = still_open {
                return Err(Refused::Trial {
                    doing: "what was before is there again, but the trial cannot be ended",
                    error,
                });
            }
            turn.went_back = Some(applied);
        }
        Some(open) => {
            return Err(Refused::OnTrial {
                table: tables.name().to_owned(),
                open,
            });
        }
    }
    Ok(turn)
}

/// The same for whoever changes what a trial leaves alone; says whether one is open.
///
/// # Errors
///
/// As [`take`], but for a trial that is open.
pub fn take_beside_a_trial<K: Kernel>(tables: &mut Tables<K>) -> Result<(Turn, bool), Refused> {
    match take(tables) {
        Err(Refused::OnTrial { .. }) => {}
        outcome => return outcome.map(|turn| (turn, false)),
    }
    let lock = locked(tables)?;
    let turn = Turn {
        _lock: lock,
        went_back: None,
    };
    Ok((turn, true))
}

/// The trial that is open, if one is.
///
/// # Errors
///
/// [`Refused::TrialUnknown`]. Without the privilege it is that, since the folder of root's notes is closed then.
pub(super) fn look<K: Kernel>(tables: &mut Tables<K>) -> Result<(Trials, Option<Open>), Refused> {
    let now = tables.kernel.now();
    let looked = tables.trials().and_then(|trials| {
        let open = trials.open(now)?;
        Ok((trials, open))
    });
    match looked {
        Ok(looked) => Ok(looked),
        Err(error) => {
            let name = tables.name().to_owned();
            tables.kernel.identities(&name)?;
            Err(Refused::TrialUnknown { error })
        }
    }
}

/// Goes back to what was before the trial that is open, and why it is still open, if it is.
///
/// # Errors
///
/// [`Refused::NoWayBack`], or why the kernel cannot go back.
pub(super) fn restore<K: Kernel>(
    tables: &mut Tables<K>,
    trials: &Trials,
) -> Result<(Applied, Option<io::Error>), Refused> {
    let before = trials.before().map_err(|error| Refused::NoWayBack {
        table: tables.name().to_owned(),
        error,
    })?;
    let applied = tables.restore(&before)?;
    let ended = trials.end(Outcome::WentBack, tables.kernel.now());
    Ok((applied, ended.err()))
}

/// The lock of these tables. Without privilege the kernel says so itself, and where the folder cannot be used there is no
/// lock.
pub(super) fn locked<K: Kernel>(tables: &Tables<K>) -> Result<Option<Lock>, Refused> {
    match tables.lock() {
        Ok(None) => Err(Refused::Busy {
            waited: Duration::ZERO,
            holder: tables.holder(),
        }),
        Ok(lock) => Ok(lock),
        Err(_) => Ok(None),
    }
}
