//! `flbc try` and `flbc confirm`
//!
//! ```text
//! flbc try ── keeps what is there ── starts the watcher ── commits ── says how to confirm, and ends
//!                                       │
//!                                       └─ waits, in a session of its own ── goes back, or is confirmed
//! ```

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::apply::{completed, failed, say, text_of, warn_of};
use super::report::Report;
use super::{Exit, output};
use crate::apply::{self, Failure, Request};
use crate::check;
use crate::diagnostic::Diagnostics;
use crate::kernel::Linux;
use crate::kernel::cache::{self, Cache, Lock};
use crate::kernel::trial::{self, Before, Outcome, Trials};
use crate::lower::layout::Layout;
use crate::model::DurationWords;
use crate::ruleset::name::DEFAULT_TABLE;
use crate::schedule;
use crate::source::Sources;

/// The hidden command that the watcher runs.
pub(super) const WATCH: &str = "watch-trial";

/// The longest time to confirm.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// How often the watcher looks whether it is confirmed.
const LOOK: Duration = Duration::from_millis(100);

/// How long a run waits for another one.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the watcher waits for a run that is at work when the time is over.
const WATCHERS_PATIENCE: Duration = Duration::from_secs(10);

/// Reads `--timeout`.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let duration = check::read_duration(text)?;
    if duration > LONGEST {
        return Err(format!(
            "a trial of more than {} is none",
            DurationWords(LONGEST)
        ));
    }
    Ok(duration)
}

/// ` --table NAME`, where it must be said.
fn option(table: &str) -> String {
    if table == DEFAULT_TABLE {
        String::new()
    } else {
        format!(" --table {table}")
    }
}

/// Waits until no other flbc is at work on these tables.
///
/// Where the folder cannot be used, the kernel's generation alone keeps two runs apart; without privilege the kernel
/// says so itself.
fn locked(table: &str) -> Result<Option<Lock>, Exit> {
    match Cache::new(cache::DIRECTORY).lock(table, PATIENCE) {
        Ok(None) => {
            Report::failure(&format!(
                "another flbc has been changing these tables for {}; wait for it or end it",
                DurationWords(PATIENCE)
            ));
            Err(Exit::Refused)
        }
        Ok(lock) => Ok(lock),
        Err(_) => Ok(None),
    }
}

/// The right to change the tables: nobody else does, and no trial is open.
pub(super) fn exclusive(table: &str) -> Result<Option<Lock>, Exit> {
    let lock = locked(table)?;
    let trials = Trials::new(&Cache::new(cache::DIRECTORY), table);
    let Some((trials, open)) = trials.ok().and_then(|t| Some((t.clone(), t.open()?))) else {
        return Ok(lock);
    };
    if open.watched {
        let option = option(table);
        Report::failure(&format!(
            "a trial is open for another {}: `flbc confirm{option}` keeps what it tries, `flbc try --back{option}` goes back at once; then try again",
            seconds(open.remaining)
        ));
        return Err(Exit::Bad);
    }
    Report::warning(
        "a trial was open, but the process that was to go back was killed: what it tried was still there",
    );
    if let Err(error) = trials.end(Outcome::Void) {
        Report::failure(&format!("cannot end the trial: {error}"));
        return Err(Exit::Bad);
    }
    Ok(lock)
}

/// In whole seconds, the last one begun too.
fn seconds(duration: Duration) -> String {
    let begun = u64::from(duration.subsec_nanos() > 0);
    let whole = Duration::from_secs(duration.as_secs() + begun);
    DurationWords(whole).to_string()
}

/// What `status` says of trials, if anything.
pub(super) fn notice(table: &str) -> Option<String> {
    let trials = Trials::new(&Cache::new(cache::DIRECTORY), table).ok()?;
    let open = trials.open()?;
    let option = option(table);
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

/// `flbc try FILE`
pub(super) fn run(
    report: &Report,
    timeout: Duration,
    (table, layout): (&str, Option<Layout>),
    file: &Path,
) -> Exit {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let mut model = match report.model(file, &mut sources, &mut sink) {
        Ok(model) => model,
        Err(exit) => return exit,
    };
    let lock = match exclusive(table) {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let cache = Cache::new(cache::DIRECTORY);
    let mut kernel = match Linux::open().map_err(Failure::from) {
        Ok(kernel) => kernel,
        Err(failure) => return failed(report, failure, sink, &sources),
    };
    if let Err(exit) = completed(report, &mut kernel, &mut model, &mut sink, &sources) {
        return exit;
    }
    let plan = schedule::schedule(&model, &mut sink);
    let request = Request {
        table,
        layout,
        model: &model,
        plan: &plan,
        overrides: &[],
        commit: true,
    };
    // What the kernel would refuse needs no trial.
    let checked = Request {
        commit: false,
        ..request
    };
    let mut unheard = Diagnostics::new();
    let foreseen = match apply::apply(&mut kernel, &cache, &checked, &mut unheard) {
        Ok(foreseen) => foreseen,
        Err(failure) => return failed(report, failure, sink, &sources),
    };
    if foreseen.totals.is_empty() && foreseen.difference.is_empty() {
        report.human(&sink, &sources);
        return say("no difference: there is nothing to try\n", Exit::Fine);
    }
    let before = match apply::before(&mut kernel, &cache, table) {
        Ok(before) => before,
        Err(error) => return failed(report, error.into(), sink, &sources),
    };
    let trials = match begin(&cache, table, &before, timeout) {
        Ok(trials) => trials,
        Err(error) => {
            return Report::failure(&format!(
                "nothing was applied: the process that would go back cannot be started: {error}"
            ));
        }
    };
    let outcome = apply::apply(&mut kernel, &cache, &request, &mut sink);
    // The time counts from now on. Where that cannot be written it counts from the start.
    let kept = match &outcome {
        Ok(_) => trials.extend(timeout),
        Err(_) => trials.end(Outcome::Void),
    };
    // Nothing of what follows may keep the watcher waiting: a terminal that is dead takes no words.
    drop(lock);
    let applied = match outcome {
        Ok(applied) => applied,
        Err(failure) => return failed(report, failure, sink, &sources),
    };
    report.human(&sink, &sources);
    warn_of(&applied);
    if let Err(error) = kept {
        Report::warning(&format!("the time to confirm cannot be written: {error}"));
    }
    let mut text = text_of(&applied, false);
    let option = option(table);
    let _ = writeln!(
        text,
        "on trial for {}: `flbc confirm{option}` keeps it, `flbc try --back{option}` goes back at once; without either flbc goes back by itself",
        DurationWords(timeout)
    );
    say(&text, Exit::Fine)
}

/// Keeps what was before and starts the watcher: from here on there is a way back.
fn begin(
    cache: &Cache,
    table: &str,
    before: &Before,
    timeout: Duration,
) -> std::io::Result<Trials> {
    let trials = Trials::new(cache, table)?;
    trials.begin(before, timeout)?;
    if let Err(error) = trial::start_watcher(&[WATCH, "--table", table]) {
        let _ = trials.end(Outcome::Void);
        return Err(error);
    }
    Ok(trials)
}

/// The watcher. Nobody hears it, once it has said that it watches.
pub(super) fn watch(table: &str) -> Exit {
    match watched(table) {
        Ok(()) => Exit::Fine,
        Err(error) => {
            let text = format!("{error}\n");
            Report::written(
                output::to_stdout(output::bytes(text.as_bytes())),
                "standard output",
            );
            Exit::Bad
        }
    }
}

fn watched(table: &str) -> std::io::Result<()> {
    trial::detach()?;
    let cache = Cache::new(cache::DIRECTORY);
    let trials = Trials::new(&cache, table)?;
    let (before, _held) = trials.watch()?;
    trial::tell_ready()?;
    loop {
        thread::sleep(LOOK);
        match trials.open() {
            None => return Ok(()),
            Some(open) if !open.remaining.is_zero() => continue,
            Some(_) => {}
        }
        // Whoever is at work may be about to confirm. But one that hangs must not keep what was tried in place; and as
        // it may still go on, and commit, the trial is not over before it has ended.
        let lock = cache.lock(table, WATCHERS_PATIENCE);
        match trials.open() {
            None => return Ok(()),
            Some(open) if !open.remaining.is_zero() => continue,
            Some(_) => {}
        }
        let restored = Linux::open()
            .map_err(Failure::from)
            .and_then(|mut kernel| apply::restore(&mut kernel, &cache, table, &before));
        if restored.is_ok() && !matches!(lock, Ok(None)) {
            return trials.end(Outcome::WentBack);
        }
        // There is no giving up: memory may be short for a moment.
        drop(lock);
        thread::sleep(Duration::from_secs(1));
    }
}

/// `flbc confirm`
pub(super) fn confirm(table: &str) -> Exit {
    let (trials, _lock) = match open(table) {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    match trials.end(Outcome::Confirmed) {
        Ok(()) => say("confirmed: this stays\n", Exit::Fine),
        Err(error) => Report::failure(&format!("cannot end the trial: {error}")),
    }
}

/// `flbc try --back`
pub(super) fn back(report: &Report, table: &str) -> Exit {
    let (trials, lock) = match open(table) {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    let before = match trials.before() {
        Ok(before) => before,
        Err(error) => {
            return Report::failure(&format!("what was before cannot be read: {error}"));
        }
    };
    let cache = Cache::new(cache::DIRECTORY);
    let restored = Linux::open()
        .map_err(Failure::from)
        .and_then(|mut kernel| apply::restore(&mut kernel, &cache, table, &before));
    let ended = match &restored {
        Ok(_) => trials.end(Outcome::WentBack),
        Err(_) => Ok(()),
    };
    drop(lock);
    match restored {
        Err(failure) => failed(report, failure, Diagnostics::new(), &Sources::new()),
        Ok(applied) => {
            warn_of(&applied);
            if let Err(error) = ended {
                Report::warning(&format!("the trial cannot be ended: {error}"));
            }
            let text = format!("{}went back to what was before\n", text_of(&applied, false));
            say(&text, Exit::Fine)
        }
    }
}

/// The trial that is open, and the right to end it.
fn open(table: &str) -> Result<(Trials, Option<Lock>), Exit> {
    let lock = locked(table)?;
    let trials = match Trials::new(&Cache::new(cache::DIRECTORY), table) {
        Ok(trials) => trials,
        Err(error) => {
            return Err(Report::failure(&format!(
                "cannot look for a trial: {error}"
            )));
        }
    };
    if trials.open().is_some() {
        return Ok((trials, lock));
    }
    let last = match trials.last() {
        Some((Outcome::WentBack, ago)) => {
            format!(
                ": the last one went back to what was before, {} ago",
                seconds(ago)
            )
        }
        Some((Outcome::Confirmed, ago)) => {
            format!(": the last one was confirmed, {} ago", seconds(ago))
        }
        Some((Outcome::Void, _)) | None => String::new(),
    };
    Err(Report::failure(&format!("no trial is open{last}")))
}
