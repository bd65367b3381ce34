//! The kernel's tables as the commands open them, and the waiting for one's turn.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use super::report::Report;
use crate::apply::Tables;
use crate::kernel::cache::Cache;
use crate::kernel::{KernelError, Linux};
use crate::model::{Effective, Lacking, Layers, Model};
use crate::operate::Refused;
use crate::operate::turn::{Turn, take};

/// Where notes are kept.
const NOTES: &str = "/run/flbc";

/// How long a run waits for another one, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The notes.
pub(super) fn notes() -> Cache {
    Cache::new(NOTES)
}

/// The tables of this name in the kernel of this machine.
pub(super) fn open(table: &str) -> Result<Tables<Linux>, KernelError> {
    Ok(Tables::new(Linux::open()?, notes(), table))
}

/// What holds: what the file says, with what was set beside it. Where that cannot be read it is the file alone, with a
/// sentence that says so.
pub(super) fn held(table: &str, declared: &Model) -> (Effective, Option<String>) {
    let alone = || Effective::of(declared.clone(), Layers::default(), Lacking::new());
    let unread = |why: &dyn fmt::Display| Some(format!("what was set with `flbc set`: {why}"));
    let mut tables = match open(table) {
        Ok(tables) => tables,
        Err(error) => return (alone(), unread(&error)),
    };
    match tables.layers() {
        Ok((layers, _)) => {
            let (layers, _) = layers.beside(declared);
            let effective = Effective::of(declared.clone(), layers, Lacking::new());
            (effective, None)
        }
        Err(unreadable) => (alone(), unread(&unreadable)),
    }
}

/// Waits for the turn to change these tables.
pub(super) fn turn(tables: &mut Tables<Linux>) -> Result<Turn, Refused> {
    let turn = patiently(|| take(tables))?;
    if turn.orphaned {
        Report::warning(
            "a trial was open, but the process that was to go back was killed: what it tried was still there",
        );
    }
    Ok(turn)
}

/// Tries until no other flbc is busy with these tables, for a minute at most.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Refused>) -> Result<T, Refused> {
    let mut wait = waiting(PATIENCE, LOOK_AGAIN);
    loop {
        match attempt() {
            Err(Refused::Busy { .. }) if wait() => {}
            Err(Refused::Busy { .. }) => return Err(Refused::Busy { waited: PATIENCE }),
            outcome => return outcome,
        }
    }
}

/// What waits a moment each time, and says whether that was within the time.
pub(super) fn waiting(time: Duration, moment: Duration) -> impl FnMut() -> bool {
    let start = Instant::now();
    move || {
        if start.elapsed() >= time {
            return false;
        }
        thread::sleep(moment);
        true
    }
}
