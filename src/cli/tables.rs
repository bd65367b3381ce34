//! The kernel's tables as the commands open them, and the waiting for one's turn.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use super::daemon;
use super::notes::notes;
use super::report::Report;
use crate::apply::Tables;
use crate::kernel::{KernelError, Linux};
use crate::model::{DurationWords, Effective, Lacking, Layers, Model};
use crate::notes::lock::Holder;
use crate::notes::trial::start_watcher;
use crate::operate::Refused;
use crate::operate::refused::HolderWords;
use crate::operate::trial::is_orphaned;
use crate::operate::turn::{Turn, take};

/// The hidden command that the watcher of a trial runs.
pub(super) const WATCH: &str = "watch-trial";

/// How long a run waits for another one, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long it waits without a word.
const TELL: Duration = Duration::from_secs(1);

/// The tables of this name in the kernel of this machine.
pub(super) fn open(table: &str) -> Result<Tables<Linux>, KernelError> {
    Ok(Tables::new(Linux::open()?, notes(), table))
}

/// The same, for a command that only looks. If a trial is open whose watcher was killed, another one takes its place: it goes
/// back in time, or at once where that is over.
pub(super) fn open_to_look(table: &str) -> Result<Tables<Linux>, KernelError> {
    let mut tables = open(table)?;
    if is_orphaned(&mut tables) {
        watch_again(table);
    }
    Ok(tables)
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
    let taken = patiently(|| take(tables));
    if let Err(Refused::OnTrial { table, open }) = &taken
        && !open.watched
    {
        watch_again(table);
    }
    let turn = taken?;
    daemon::hush(tables.name());
    if let Some(applied) = &turn.went_back {
        Report::warning(
            "the time of a trial was over, and the process that was to go back had been killed: went back first to what was before",
        );
        Report::warnings(&applied.warnings());
    }
    Ok(turn)
}

/// Starts another watcher for a trial whose own was killed.
fn watch_again(table: &str) {
    // Where it cannot be started, what is said of the trial says what to do.
    if start_watcher(&[WATCH, "--table", table]).is_ok() {
        Report::warning(
            "the process that was to go back from a trial had been killed: another one takes its place",
        );
    }
}

/// Tries until no other flbc is busy with these tables, for a minute at most. Who it is is told after a second.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Refused>) -> Result<T, Refused> {
    let start = Instant::now();
    let mut wait = waiting(PATIENCE, LOOK_AGAIN);
    let mut told = false;
    loop {
        match attempt() {
            Err(Refused::Busy { holder, .. }) => {
                if !wait() {
                    return Err(Refused::Busy {
                        waited: PATIENCE,
                        holder,
                    });
                }
                if !told && start.elapsed() >= TELL {
                    told = true;
                    Report::print(&format!("{}\n", waits_for(holder.as_ref())));
                }
            }
            outcome => return outcome,
        }
    }
}

/// For whom a run waits.
fn waits_for(holder: Option<&Holder>) -> String {
    let who = holder.map_or_else(String::new, |holder| {
        let since = DurationWords(Duration::from_secs(holder.held.as_secs()));
        format!(
            ", which has been at work for {since}: {}",
            HolderWords(holder)
        )
    });
    format!(
        "waiting for another flbc that changes the same tables, for {} at most{who}",
        DurationWords(PATIENCE)
    )
}

/// What is read of tables. While another flbc is at work the kernel has what its note does not say yet: that is waited for,
/// so that it is no alarm.
pub(super) fn settled<T, E>(
    tables: &mut Tables<Linux>,
    mut read: impl FnMut(&mut Tables<Linux>) -> Result<T, E>,
    is_well: impl Fn(&T) -> bool,
) -> Result<T, E> {
    const PAUSE: Duration = Duration::from_millis(50);
    const TRIES: usize = 40;
    let mut found = read(tables)?;
    for _ in 0..TRIES {
        if is_well(&found) {
            break;
        }
        let is_busy = matches!(tables.lock(), Ok(None));
        if is_busy {
            thread::sleep(PAUSE);
        }
        found = read(tables)?;
        if !is_busy {
            break;
        }
    }
    Ok(found)
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
