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
use crate::kernel::{Kernel, KernelError};
use crate::notes::lock::Lock;
use crate::notes::trial::{Before, Open, Outcome, Trials};

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
    if let Err(error) = watch().and_then(|()| trials.extend(deadline)) {
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
/// [`Refused::Busy`], [`Refused::NoTrial`], [`Refused::TrialUnknown`], [`Refused::NoWayBack`], or why the kernel cannot go
/// back.
pub fn back<K: Kernel>(tables: &mut Tables<K>) -> Result<(Applied, Option<io::Error>), Refused> {
    let (trials, _lock) = open(tables)?;
    turn::restore(tables, &trials)
}

/// The trial that is open, and the right to end it.
fn open<K: Kernel>(tables: &mut Tables<K>) -> Result<(Trials, Option<Lock>), Refused> {
    let lock = turn::locked(tables)?;
    let (trials, open) = turn::look(tables)?;
    if open.is_some() {
        return Ok((trials, lock));
    }
    // Without the privilege this is no answer that anybody could use.
    let name = tables.name().to_owned();
    tables.kernel.identities(&name)?;
    Err(Refused::NoTrial {
        last: trials.last(tables.kernel.now()),
    })
}

/// What there is to say of a trial of these tables, if one is open, or if that cannot be told.
pub fn notice<K: Kernel>(tables: &mut Tables<K>) -> Option<String> {
    let open = match turn::look(tables) {
        Ok((_, open)) => open?,
        Err(refused) => return Some(refused.to_string()),
    };
    let option = option(tables.name());
    let keep = format!("`flbc confirm{option}` keeps this, `flbc try --back{option}` goes back");
    Some(match open {
        Open {
            remaining: Some(Duration::ZERO),
            watched: true,
        } => format!(
            "on trial, and the time is over: the process that goes back is stopped, or waits for another run; {keep}"
        ),
        Open {
            remaining: Some(left),
            watched: true,
        } => format!(
            "on trial: goes back in {} unless `flbc confirm{option}` comes",
            seconds(left)
        ),
        Open {
            remaining: None,
            watched: true,
        } => {
            format!("on trial: goes back by itself, and the note that says when is damaged; {keep}")
        }
        Open {
            remaining,
            watched: false,
        } => {
            let left = match remaining {
                Some(Duration::ZERO) => {
                    ", and the time is over: the next command that changes the tables goes back first".to_owned()
                }
                Some(left) => format!(", with {} left", seconds(left)),
                None => ", and the note that says until when is damaged".to_owned(),
            };
            format!("on trial, but the process that was to go back was killed{left}; {keep}")
        }
    })
}

/// Whether a trial is open whose watcher was killed, so that another one is to take its place.
pub fn is_orphaned<K: Kernel>(tables: &mut Tables<K>) -> bool {
    let looked = turn::look(tables);
    looked.is_ok_and(|(_, open)| open.is_some_and(|open| !open.watched))
}

/// What waits for the end of a trial. It has no clock, and waits for nothing by itself.
#[derive(Debug)]
pub struct Watcher {
    trials: Trials,
    before: Before,
    /// When it goes back, in time since boot, as it was told last: the note that says so may be damaged meanwhile.
    deadline: Duration,
    /// Held as long as it watches: so others see that it lives.
    held: File,
    /// Since when it watches: a trial that ended earlier is not this one.
    since: Duration,
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
    /// It cannot be read, its end is not known, or somebody watches already.
    pub fn new(trials: Trials, now: Duration) -> io::Result<Self> {
        let (before, held) = trials.watch()?;
        let open = trials.open(Duration::ZERO)?;
        let deadline = open.and_then(|open| open.remaining);
        let deadline = deadline.ok_or_else(|| io::Error::other("it is not known until when"))?;
        Ok(Self {
            trials,
            before,
            deadline,
            held,
            since: now,
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
        let sight = self.see(now);
        if sight == Sight::Over {
            return Next::Over;
        }
        if now < self.deadline {
            self.waiting = None;
            // Whoever ends a trial has the lock until that is noted: what is missing under the lock was removed by a stranger.
            if sight == Sight::Lost
                && let Ok(Some(_lock)) = lock()
                && self.see(now) == Sight::Lost
            {
                // Where it cannot be written now, it is at the next look.
                let _ = self.note_anew();
            }
            return Next::Look(Self::EACH);
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
        if self.see(now) == Sight::Over {
            return Next::Over;
        }
        if now < self.deadline {
            return Next::Look(Self::EACH);
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

    /// What the files say of the trial, and of its deadline.
    fn see(&mut self, now: Duration) -> Sight {
        match self.trials.open(now) {
            Ok(Some(open)) => {
                if let Some(left) = open.remaining {
                    self.deadline = now + left;
                }
                // The file that this one holds is not the one that others look at.
                if open.watched {
                    Sight::Open
                } else {
                    Sight::Lost
                }
            }
            Ok(None) => match self.trials.last(now) {
                Some((_, ago)) if now.saturating_sub(ago) >= self.since => Sight::Over,
                _ => Sight::Lost,
            },
            // What cannot be read was not confirmed: that removes it.
            Err(_) => Sight::Open,
        }
    }

    /// Writes what a stranger removed, so that other runs know of the trial again and `flbc confirm` reaches it.
    fn note_anew(&mut self) -> io::Result<()> {
        self.trials.begin(&self.before, self.deadline)?;
        self.held = self.trials.watch()?.1;
        self.trials.extend(self.deadline)
    }
}

/// What a watcher sees of its trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// It goes on.
    Open,
    /// It was confirmed, or went back.
    Over,
    /// Its files are gone, and nobody ended it.
    Lost,
}
