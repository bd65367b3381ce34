//! `flbc status`

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::report::{self, Report};
use super::{Exit, output, tables};
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
    let mut tables = match tables::open(table) {
        Ok(tables) => tables,
        Err(error) => return Report::kernel(&error),
    };
    let Some(interval) = watch else {
        return match Status::read(&mut tables) {
            Ok(status) => {
                let text = show(format, &status);
                Report::written(output::to_stdout(output::bytes(text.as_bytes())), OUTPUT)
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
        let mut status = match Status::read(&mut tables) {
            Ok(status) => status,
            Err(error) => return Report::kernel(&error),
        };
        if let Some((then, before)) = &before {
            status.compare(before, now - *then);
        }
        let mut text = show(format, &status);
        if redraw {
            text = screen::redrawn(&text);
        }
        match output::watched(text.as_bytes()) {
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

const OUTPUT: &str = "standard output";

fn show(format: Format, status: &Status) -> String {
    match format {
        Format::Human => status::human(status),
        Format::Json => status::json(status),
        Format::Prometheus => status::prometheus(status),
    }
}
