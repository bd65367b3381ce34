//! `flbc fmt`

use std::fs;
use std::path::{Path, PathBuf};

use super::report::Report;
use super::{Exit, output};
use crate::diagnostic::{Diagnostics, escape};
use crate::source::Sources;
use crate::syntax;

pub(super) fn run(report: &Report, check: bool, files: &[PathBuf]) -> Exit {
    files
        .iter()
        .fold(Exit::Fine, |exit, file| exit.max(one(report, check, file)))
}

fn one(report: &Report, check: bool, file: &Path) -> Exit {
    let input = match Report::input(file) {
        Ok(input) => input,
        Err(error) => return Report::unread(&error),
    };
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let formatted = syntax::read_file(input, &mut sources, &mut sink).and_then(|file| {
        let canonical = syntax::format(file, &sources, &mut sink)?;
        Some((&sources.file(file).text, canonical))
    });
    report.human(&sink, &sources);
    let Some((written, canonical)) = formatted else {
        return Exit::Bad;
    };
    let standard_input = file == Path::new("-");
    if check {
        if *written == canonical {
            return Exit::Fine;
        }
        let name = if standard_input {
            "<stdin>".into()
        } else {
            file.to_string_lossy()
        };
        let line = format!("{}\n", escape(&name));
        let listed = Report::written(
            output::to_stdout(output::bytes(line.as_bytes())),
            "standard output",
        );
        return listed.max(Exit::Differs);
    }
    if standard_input {
        return Report::written(
            output::to_stdout(output::bytes(canonical.as_bytes())),
            "standard output",
        );
    }
    if *written == canonical {
        return Exit::Fine;
    }
    Report::written(replace(file, written, &canonical), &file.to_string_lossy())
}

/// Puts the canonical form in place, unless somebody wrote to the file in between.
fn replace(file: &Path, written: &str, canonical: &str) -> std::io::Result<()> {
    if fs::read(file)? != written.as_bytes() {
        return Err(std::io::Error::other("it was changed meanwhile"));
    }
    output::to_file(file, output::bytes(canonical.as_bytes()))
}
