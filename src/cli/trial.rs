//! `flbc try` and `flbc confirm`

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::report::Report;
use super::{Exit, output, tables};
use crate::check;
use crate::diagnostic::Diagnostics;
use crate::kernel::Kernel;
use crate::lower::layout::Layout;
use crate::model::{DurationWords, Model};
use crate::notes::trial;
use crate::operate::refused::option;
use crate::operate::trial::{Begun, Next, Watcher, back as go_back, begin, confirm as keep};
use crate::operate::{Earlier, Job, Refused};
use crate::source::Sources;

/// The longest time to confirm.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// How `flbc try` is to go about it.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// How long to wait for `flbc confirm`.
    pub(super) timeout: Duration,
    /// A file without any service is tried too.
    pub(super) allow_empty: bool,
}

/// Reads `--timeout`.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let longest = DurationWords(LONGEST);
    let why = match check::read_duration(text) {
        Ok(duration) if duration <= LONGEST => return Ok(duration),
        Ok(_) => format!("this is more than {longest}"),
        // What to write instead is told for a trial, which cannot be `off`.
        Err(wrong) => wrong.split("; write").next().unwrap_or_default().to_owned(),
    };
    Err(format!(
        "{why}; a trial lasts from 1s to {longest}: write 60s, 5m, 1h"
    ))
}

/// `flbc try FILE`
pub(super) fn run(report: &Report, how: How, target: (&str, Option<Layout>), file: &Path) -> Exit {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = match report.model(file, &mut sources, &mut sink) {
        Ok(model) => model,
        Err(exit) => return exit,
    };
    if let Some(exit) = report.refuse_empty(&model, how.allow_empty, (&sink, &sources), file) {
        return exit;
    }
    let timeout = how.timeout;
    // Nothing of what follows may keep the watcher waiting, so that the turn is over by then: a terminal that is dead
    // takes no words.
    let begun = match begun(target, timeout, model, &mut sink) {
        Ok(begun) => begun,
        Err(refused) => return report.refused(&refused, sink, &sources),
    };
    report.human(&sink, &sources);
    let Some(Begun { applied, early }) = begun else {
        return output::say("no difference: there is nothing to try\n", Exit::Fine);
    };
    Report::warnings(&applied.warnings());
    if let Some(error) = early {
        Report::warning(&format!("the time to confirm cannot be written: {error}"));
    }
    let mut text = applied.text(false);
    let option = option(target.0);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "on trial for {}: `flbc confirm{option}` keeps it, `flbc try --back{option}` goes back at once; without either flbc goes back by itself",
        DurationWords(timeout)
    );
    output::say(&text, applied.exit())
}

fn begun(
    (table, layout): (&str, Option<Layout>),
    timeout: Duration,
    model: Model,
    sink: &mut Diagnostics,
) -> Result<Option<Begun>, Refused> {
    let mut tables = tables::open(table)?;
    let _turn = tables::turn(&mut tables)?;
    // Whoever tries something sits there and wants all of it.
    let job = Job::new(&mut tables, model, Earlier::Dropped, layout, sink)?.whole();
    let watch = || trial::start_watcher(&[tables::WATCH, "--table", table]);
    begin(&mut tables, &job, timeout, watch, sink)
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
    let mut clock = tables::open(table).map_err(std::io::Error::other)?;
    let mut watcher = Watcher::new(clock.trials()?, clock.kernel.now())?;
    trial::tell_ready()?;
    loop {
        let now = clock.kernel.now();
        match watcher.look(now, || clock.lock(), || tables::open(table)) {
            Next::Over => return Ok(()),
            Next::Look(pause) => thread::sleep(pause),
        }
    }
}

/// `flbc confirm`
pub(super) fn confirm(report: &Report, table: &str) -> Exit {
    let confirmed = tables::open(table)
        .map_err(Refused::from)
        .and_then(|mut tables| tables::patiently(|| keep(&mut tables)));
    match confirmed {
        Ok(()) => output::say("confirmed: this stays\n", Exit::Fine),
        Err(refused) => report.refused(&refused, Diagnostics::new(), &Sources::new()),
    }
}

/// `flbc try --back`
pub(super) fn back(report: &Report, table: &str) -> Exit {
    let went = tables::open(table)
        .map_err(Refused::from)
        .and_then(|mut tables| tables::patiently(|| go_back(&mut tables)));
    match went {
        Err(refused) => report.refused(&refused, Diagnostics::new(), &Sources::new()),
        Ok((applied, still_open)) => {
            Report::warnings(&applied.warnings());
            if let Some(error) = still_open {
                Report::warning(&format!("the trial cannot be ended: {error}"));
            }
            let text = format!("{}went back to what was before\n", applied.text(false));
            output::say(&text, Exit::Fine)
        }
    }
}
