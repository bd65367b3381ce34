//! `flbc reload` and `flbc events`, and what other commands ask of a daemon: see `flbc run`.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::ValueEnum;

use super::notes::notes;
use super::report::Report;
use super::{Exit, output};
use crate::control::client::{Asked, ask};
use crate::control::{About, Answer, Looks, Record, Request, SOCKET, Said};
use crate::diagnostic::{escape, reason};
use crate::operate::refused::option;

/// How long one answer is waited for, where something is to be done first.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long it is where there is nothing to do.
const AT_ONCE: Duration = Duration::from_secs(2);

/// How `flbc events` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// One object a line
    Json,
}

/// `flbc reload`
pub(super) fn reload(report: &Report, table: &str) -> Exit {
    let looks = report.looks();
    match asked(table, &Request::Reload { looks }, Some(PATIENCE)) {
        Ok(Some(mut daemon)) => match daemon.answer() {
            Ok(Some(answer)) => answered(answer),
            Ok(None) => Report::failure("the daemon ended before it answered"),
            Err(error) => unanswered(&error),
        },
        Ok(None) => nobody(table),
        Err(error) => unanswered(&error),
    }
}

/// `flbc events`
pub(super) fn events(format: Format, follow: bool, table: &str) -> Exit {
    let patience = (!follow).then_some(AT_ONCE);
    let mut daemon = match asked(table, &Request::Events { follow }, patience) {
        Ok(Some(daemon)) => daemon,
        Ok(None) => return nobody(table),
        Err(error) => return unanswered(&error),
    };
    loop {
        let record = match daemon.answer() {
            Ok(Some(Answer::Record(record))) => record,
            Ok(Some(other)) => return answered(other),
            // Whoever follows wants to know that there is nothing more to follow.
            Ok(None) if follow => {
                return Report::failure("the daemon ended, or this did not read fast enough");
            }
            Ok(None) => return Exit::Fine,
            Err(error) => return unanswered(&error),
        };
        match shown(format, &record) {
            Ok(()) => {}
            // A reader that went away wanted no more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Fine,
            Err(error) => return Report::written(Err(error), "standard output"),
        }
    }
}

fn shown(format: Format, record: &Record) -> io::Result<()> {
    let mut line = match format {
        Format::Human => record.to_string(),
        Format::Json => serde_json::to_string(record)?,
    };
    line.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// What a daemon says to this request, if one keeps these tables and answers: else the command does it itself.
pub(super) fn done(table: &str, request: &Request) -> Option<Said> {
    let daemon = notes().daemon(table)?;
    if is_stopped(daemon.pid) {
        Report::warning("the daemon is stopped (SIGSTOP): this is done without it");
        return None;
    }
    let mut daemon = asked(table, request, Some(PATIENCE)).ok()??;
    match daemon.answer().ok()?? {
        Answer::Done(said) => Some(said),
        Answer::About(_) | Answer::Record(_) | Answer::Refused { .. } => None,
    }
}

/// Asks a daemon, if one keeps these tables, not to listen while something large is made. Without it all works, and the kernel takes
/// longer.
pub(super) fn hush(table: &str) {
    const MOMENT: Duration = Duration::from_millis(300);
    if let Ok(Some(mut daemon)) = asked(table, &Request::Quiet, Some(MOMENT)) {
        let _ = daemon.answer();
    }
}

/// Whether somebody stopped a process, and it waits to go on.
fn is_stopped(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // Behind the name, which may hold anything, stands the state.
    let state = status
        .as_deref()
        .ok()
        .and_then(|text| text.rsplit_once(") "));
    state.is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

/// The daemon that keeps these tables, if one does; an error where one does and does not answer.
pub(super) fn about(table: &str) -> io::Result<Option<About>> {
    let Some(mut daemon) = asked(table, &Request::About, Some(AT_ONCE))? else {
        return Ok(None);
    };
    match daemon.answer()? {
        Some(Answer::About(about)) => Ok(Some(about)),
        Some(Answer::Refused { why }) => Err(io::Error::other(why)),
        _ => Err(io::Error::other("it says something else")),
    }
}

/// Prints what was done elsewhere, and ends as that ended.
pub(super) fn told(said: &Said) -> Exit {
    Report::print(&said.err);
    let written = output::to_stdout(output::bytes(said.out.as_bytes()));
    said.exit().max(Report::written(written, "standard output"))
}

fn asked(table: &str, request: &Request, patience: Option<Duration>) -> io::Result<Option<Asked>> {
    let path = notes().file(table, SOCKET)?;
    ask(&path, request, patience)
}

fn answered(answer: Answer) -> Exit {
    match answer {
        Answer::Done(said) => told(&said),
        Answer::Refused { why } => Report::failure(&format!("the daemon refuses: {why}")),
        Answer::About(_) | Answer::Record(_) => {
            Report::failure("the daemon answers something else")
        }
    }
}

fn nobody(table: &str) -> Exit {
    let option = option(table);
    Report::failure(&format!(
        "no `flbc run` keeps these tables: start it with `flbc run{option} FILE`, or apply a file without it with `flbc apply{option} FILE`"
    ))
}

fn unanswered(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::PermissionDenied {
        Report::failure("only root and the group `flbc` may ask the daemon");
        return Exit::Unprivileged;
    }
    let why = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "it says nothing: is it stopped?".to_owned()
        }
        _ => reason(error),
    };
    Report::failure(&format!(
        "the daemon that keeps these tables does not answer: {}",
        escape(&why)
    ))
}

impl Report {
    /// How text that a daemon makes is to look here.
    fn looks(&self) -> Looks {
        let options = self.options();
        Looks {
            color: options.color,
            unicode: options.unicode,
            width: options.width,
        }
    }
}
