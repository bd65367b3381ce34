//! `flbc compile`

use std::io;
use std::path::Path;

use clap::ValueEnum;

use super::report::Report;
use super::{Exit, output};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::emit;
use crate::lower::layout::Layout;
use crate::ruleset::name::{self, BadTableName};
use crate::source::Sources;

/// What `--format` may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// nft's own language
    Nft,
    /// nft's JSON
    Json,
}

/// Reads `--table`.
pub(super) fn table_name(text: &str) -> Result<String, String> {
    match name::check_table(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(BadTableName::Form) => Err(format!(
            "a table's name is a letter, then letters, digits, `_` and `-`, at most {} in all",
            name::MAX_TABLE
        )),
        Err(BadTableName::Reserved) => Err(format!(
            "nft reads `{text}` as a word of its own language, not as a name; write `flbc-{text}`"
        )),
    }
}

pub(super) fn run(
    report: &Report,
    format: Format,
    to: Option<&Path>,
    naming: (&str, Layout),
    file: &Path,
) -> Exit {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let input = match Report::input(file) {
        Ok(input) => input,
        Err(error) => return Report::unread(&error),
    };
    let ruleset = crate::compile(input, naming, &mut sources, &mut sink);
    if let Format::Json = format
        && let Some(span) = ruleset.as_ref().and_then(emit::unsayable)
    {
        let message = "The JSON of nft 1.0.6 has no words for maps that rules fill, on which this statement rests";
        let fault = Diagnostic::new(Code::FormatCannotSay, span, message);
        sink.report(fault.help("compile without `--format json`, or use `flbc apply`"));
    }
    report.human(&sink, &sources);
    if sink.errors() > 0 {
        return Exit::Bad;
    }
    let Some(ruleset) = ruleset else {
        return Exit::Bad;
    };
    let emit = |to: &mut dyn io::Write| match format {
        Format::Nft => emit::text(&ruleset, &sources, to),
        Format::Json => emit::json(&ruleset, to),
    };
    match to {
        None => Report::written(output::to_stdout(emit), "standard output"),
        Some(path) => Report::written(output::to_file(path, emit), &path.to_string_lossy()),
    }
}
