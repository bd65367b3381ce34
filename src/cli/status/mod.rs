//! `flbc status`

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::report::{self, Report};
use super::{Exit, daemon, output, tables};
use crate::apply::Tables;
use crate::kernel::{KernelError, Linux};
use crate::status::{self, Status};

mod screen;

use screen::Pause;

/// How `--format` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// One object; with `--watch` one a line
    Json,
    /// Metrics for a textfile collector
    Prometheus,
}

/// Reads the seconds of `--watch`.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    seconds
        .filter(|seconds| (0.1..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "write seconds, 0.1 to 86400".to_owned())
}

pub(super) fn run(format: Format, watch: Option<Duration>, table: &str) -> Exit {
    if format == Format::Prometheus && watch.is_some() {
        Report::failure("metrics are written once: `--watch` goes with human and json");
        return Exit::Bad;
    }
    let mut tables = match tables::open_to_look(table) {
        Ok(tables) => tables,
        Err(error) => return Report::kernel(&error),
    };
    let Some(interval) = watch else {
        return match settled(&mut tables) {
            Ok(mut status) => {
                attend(&mut status, table);
                let written = output::to_stdout(|out| write(format, &status, out));
                status.exit().max(Report::written(written, OUTPUT))
            }
            Err(error) => Report::kernel(&error),
        };
    };
    let redraw = format == Format::Human && io::stdout().is_terminal() && report::obeys();
    let pause = match Pause::new() {
        Ok(pause) => pause,
        Err(error) => {
            Report::failure(&format!("cannot wait for a signal: {error}"));
            return Exit::Refused;
        }
    };
    let mut before: Option<(Instant, Status)> = None;
    loop {
        let now = Instant::now();
        let mut status = match settled(&mut tables) {
            Ok(status) => status,
            Err(error) => return Report::kernel(&error),
        };
        attend(&mut status, table);
        if let Some((then, before)) = &before {
            status.compare(before, now - *then);
        }
        let mut text = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = write(format, &status, &mut text);
        if redraw {
            text = screen::redrawn(&String::from_utf8_lossy(&text)).into_bytes();
        }
        match output::watched(&text) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Fine,
            written => return Report::written(written, OUTPUT),
        }
        before = Some((now, status));
        if pause.ends(interval.saturating_sub(now.elapsed())) {
            return Exit::Fine;
        }
    }
}

/// One reading of everything.
fn settled(tables: &mut Tables<Linux>) -> Result<Status, KernelError> {
    tables::settled(tables, Status::read, |status| {
        status.applied.in_force != Some(false)
    })
}

/// Adds what a daemon says, if one keeps these tables.
fn attend(status: &mut Status, table: &str) {
    match daemon::about(table) {
        Ok(about) => status.attend(about),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(_) => status.warnings.push(
            "the daemon that keeps this in force does not answer: is it stopped? Nothing is put right meanwhile".to_owned(),
        ),
    }
}

const OUTPUT: &str = "standard output";

fn write(format: Format, status: &Status, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Human => out.write_all(status::human(status).as_bytes()),
        Format::Json => out.write_all(status::json(status).as_bytes()),
        Format::Prometheus => {
            let mut pieces = Pieces { out, failed: None };
            let written = status::write_prometheus(status, &mut pieces);
            let failed = pieces.failed.unwrap_or_else(|| io::ErrorKind::Other.into());
            written.map_err(|fmt::Error| failed)
        }
    }
}

/// Text that goes on to where bytes go.
struct Pieces<'o> {
    out: &'o mut dyn Write,
    /// Why it went no further.
    failed: Option<io::Error>,
}

impl fmt::Write for Pieces<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.failed = Some(error);
            fmt::Error
        })
    }
}
