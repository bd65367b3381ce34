//! `flbc check`

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::report::Report;
use super::{Exit, output};
use crate::check::advise;
use crate::diagnostic::Diagnostics;
use crate::diagnostic::render::json;
use crate::lower::layout::Layout;
use crate::source::Sources;

/// How `--format` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// An array of objects
    Json,
}

pub(super) fn run(report: &Report, format: Format, files: &[PathBuf]) -> Exit {
    let mut exit = Exit::Fine;
    let mut all = Vec::new();
    for file in files {
        let (sources, sink) = match faults(file) {
            Ok(found) => found,
            Err(error) => return Report::unread(&error),
        };
        if sink.errors() > 0 {
            exit = Exit::Bad;
        }
        match format {
            Format::Human => report.human(&sink, &sources),
            Format::Json => all.push((sink, sources)),
        }
    }
    if format == Format::Json {
        let sets = all.iter().map(|(sink, sources)| (sink, sources));
        let written = output::to_stdout(|out| json(sets, out));
        exit = exit.max(Report::written(written, "standard output"));
    }
    exit
}

/// The faults of one file set: all that compiling it would report, and advice.
fn faults(file: &Path) -> std::io::Result<(Sources, Diagnostics)> {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let table = crate::ruleset::name::DEFAULT_TABLE;
    if let Some(model) = crate::read(Report::input(file)?, &mut sources, &mut sink) {
        advise(&model, &mut sink);
        let _ = crate::rules(&model, (table, Layout::default()), &mut sink);
    }
    Ok((sources, sink))
}
