//! Trials: a configuration that stays only if it is confirmed in time.
//!
//! ```text
//! begin ── keeps what is there ── starts the watcher ── commits
//!                                    │
//!                                    └─ looks whenever it is told the time ── goes back, or is confirmed
//! ```

use std::fs::File;
use std::io;
use std::time::Duration;

use crate::apply::{Applied, Tables};
use crate::diagnostic::Diagnostics;
use crate::kernel::cache::Lock;
use crate::kernel::trial::{Before, Outcome, Trials};
use crate::kernel::{Kernel, KernelError};

use super::refused::{Refused, option, seconds};
use super::{Job, turn};

/// A trial that began.
#[derive(Debug)]
pub struct Begun {
    /// What the apply did.
    pub applied: Applied,
    /// Why the time could not be counted from the commit on; it counts from the start then.
    pub early: Option<io::Error>,
}

/// Tries a job until it is confirmed, or for so long; `None`: there is nothing to try.
///
/// `watch` starts what calls [`Watcher::look`], before anything is changed. Whoever calls this has the turn.
///
/// # Errors
///
/// Why it cannot be applied, or that nobody watches; the kernel has what it had, and no trial is open.
pub fn begin<K: Kernel>(
    tables: &mut Tables<K>,
    job: &Job,
    timeout: Duration,
    watch: impl FnOnce() -> io::Result<()>,
    sink: &mut Diagnostics,
) -> Result<Option<Begun>, Refused> {
    // What the kernel would refuse needs no trial. What is said of the plan is said once, by the commit.
    let mut unheard = sink.clone();
    let foreseen = job.check(tables, &mut unheard);
    if !foreseen
        .as_ref()
        .is_ok_and(|foreseen| !foreseen.is_nothing())
    {
        *sink = unheard;
        return foreseen.map(|_| None);
    }
    let before = tables.before()?;
    let unwatched = |error| Refused::Trial {
        doing: "nothing was applied: the process that would go back cannot be started",
        error,
    };
    let trials = tables.trials().map_err(unwatched)?;
    let deadline = tables.kernel.now() + timeout;
    trials.begin(&before, deadline).map_err(unwatched)?;
    if let Err(error) = watch() {
        let _ = trials.end(Outcome::Void, tables.kernel.now());
        return Err(unwatched(error));
    }
    let outcome = job.commit(tables, sink);
    // The time counts from now on. Where that cannot be written it counts from the start.
    let now = tables.kernel.now();
    let kept = match &outcome {
        Ok(_) => trials.extend(now + timeout),
        Err(_) => trials.end(Outcome::Void, now),
    };
    Ok(Some(Begun {
        applied: outcome?,
        early: kept.err(),
    }))
}

/// Keeps what is tried.
///
/// # Errors
///
/// [`Refused::Busy`], [`Refused::NoTrial`], or that the trial cannot be ended.
pub fn confirm<K: Kernel>(tables: &mut Tables<K>) -> Result<(), Refused> {
    let (trials, _lock) = open(tables)?;
    let ended = trials.end(Outcome::Confirmed, tables.kernel.now());
    ended.map_err(|error| Refused::Trial {
        doing: "cannot end the trial",
        error,
    })
}

/// Goes back to what was before, and why the trial is still open, if it is.
///
/// # Errors
///
/// [`Refused::Busy`], [`Refused::NoTrial`], or why the kernel cannot go back.
pub fn back<K: Kernel>(tables: &mut Tables<K>) -> Result<(Applied, Option<io::Error>), Refused> {
    let (trials, _lock) = open(tables)?;
    let before = trials.before().map_err(|error| Refused::Trial {
        doing: "what was before cannot be read",
        error,
    })?;
    let applied = tables.restore(&before)?;
    let ended = trials.end(Outcome::WentBack, tables.kernel.now());
    Ok((applied, ended.err()))
}

/// The trial that is open, and the right to end it.
fn open<K: Kernel>(tables: &mut Tables<K>) -> Result<(Trials, Option<Lock>), Refused> {
    let lock = turn::locked(tables)?;
    let trials = tables.trials().map_err(|error| Refused::Trial {
        doing: "cannot look for a trial",
        error,
    })?;
    let now = tables.kernel.now();
    if trials.open(now).is_some() {
        return Ok((trials, lock));
    }
    // Without the privilege the folder of root's notes is closed, and no trial is seen.
    let name = tables.name().to_owned();
    tables.kernel.identities(&name)?;
    Err(Refused::NoTrial {
        last: trials.last(now),
    })
}

/// What there is to say of a trial of these tables, if one is open.
pub fn notice<K: Kernel>(tables: &mut Tables<K>) -> Option<String> {
    let trials = tables.trials().ok()?;
    let open = trials.open(tables.kernel.now())?;
    let option = option(tables.name());
    Some(if open.watched {
        format!(
            "on trial: goes back in {} unless `flbc confirm{option}` comes",
            seconds(open.remaining)
        )
    } else {
        format!(
            "on trial, but the process that was to go back was killed: `flbc confirm{option}` keeps this, `flbc try --back{option}` goes back"
        )
    })
}

/// What waits for the end of a trial. It has no clock, and waits for nothing by itself.
#[derive(Debug)]
pub struct Watcher {
    trials: Trials,
    before: Before,
    /// Held as long as it watches: so others see that it lives.
    _held: File,
    /// Since when it waits for a run that is at work.
    waiting: Option<Duration>,
}

/// What a watcher does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the trial is over.
    Over,
    /// It looks again after so long.
    Look(Duration),
}

impl Watcher {
    /// How often it looks whether it is confirmed.
    const EACH: Duration = Duration::from_millis(100);
    /// How often it looks whether a run that is at work has ended.
    const WHILE_BUSY: Duration = Duration::from_millis(20);
    /// How long it waits for one.
    const PATIENCE: Duration = Duration::from_secs(10);
    /// How long it waits where it could not go back.
    const AFTER_FAILURE: Duration = Duration::from_secs(1);

    /// Watches the trial that is open.
    ///
    /// # Errors
    ///
    /// It cannot be read, or somebody watches already.
    pub fn new(trials: Trials) -> io::Result<Self> {
        let (before, held) = trials.watch()?;
        Ok(Self {
            trials,
            before,
            _held: held,
            waiting: None,
        })
    }

    /// Looks whether the trial is over, and goes back if its time is. `lock` tries to keep others from the tables,
    /// `tables` opens them: memory may be short for a moment, so that they are opened anew each time.
    pub fn look<K: Kernel>(
        &mut self,
        now: Duration,
        lock: impl FnOnce() -> io::Result<Option<Lock>>,
        tables: impl FnOnce() -> Result<Tables<K>, KernelError>,
    ) -> Next {
        match self.trials.open(now) {
            None => return Next::Over,
            Some(open) if !open.remaining.is_zero() => {
                self.waiting = None;
                return Next::Look(Self::EACH);
            }
            Some(_) => {}
        }
        // Whoever is at work may be about to confirm. But one that hangs must not keep what was tried in place; and as it
        // may still go on, and commit, the trial is not over before it has ended.
        let lock = lock();
        let is_busy = matches!(lock, Ok(None));
        let since = *self.waiting.get_or_insert(now);
        if is_busy && now.saturating_sub(since) < Self::PATIENCE {
            return Next::Look(Self::WHILE_BUSY);
        }
        // Confirmed or put off, just before it was this one's turn.
        match self.trials.open(now) {
            None => return Next::Over,
            Some(open) if !open.remaining.is_zero() => return Next::Look(Self::EACH),
            Some(_) => {}
        }
        self.waiting = None;
        let restored = tables()
            .map_err(Into::into)
            .and_then(|mut tables| tables.restore(&self.before));
        if restored.is_ok() && !is_busy && self.trials.end(Outcome::WentBack, now).is_ok() {
            return Next::Over;
        }
        // There is no giving up.
        drop(lock);
        Next::Look(Self::AFTER_FAILURE)
    }
}
