//! Faults for programs.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

use super::places::Places;
use super::{Diagnostic, Diagnostics, Span, escape_json};
use crate::source::Sources;

/// Writes all faults of some file sets, each set's in file order, as one JSON array on one line.
pub fn json<'d>(
    sets: impl IntoIterator<Item = (&'d Diagnostics, &'d Sources)>,
    out: &mut (impl io::Write + ?Sized),
) -> io::Result<()> {
    let mut faults = Vec::new();
    for (diagnostics, sources) in sets {
        let mut places = Places::new(sources);
        let sorted = diagnostics.sorted().into_iter();
        faults.extend(sorted.map(|diagnostic| Fault::of(diagnostic, &mut places)));
    }
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Safe);
    faults.serialize(&mut serializer)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Fault<'d> {
    severity: &'static str,
    code: &'static str,
    message: &'d str,
    #[serde(flatten)]
    place: Option<Location<'d>>,
    label: Option<&'d str>,
    help: Option<&'d str>,
    related: Vec<Related<'d>>,
}

impl<'d> Fault<'d> {
    fn of(diagnostic: &'d Diagnostic, places: &mut Places<'d>) -> Self {
        Self {
            severity: diagnostic.code.severity().name(),
            code: diagnostic.code.name(),
            message: &diagnostic.message,
            place: diagnostic.span.map(|span| Location::of(span, places)),
            label: diagnostic.label.as_deref(),
            help: diagnostic.help.as_deref(),
            related: diagnostic
                .related
                .iter()
                .map(|(span, message)| Related {
                    place: Location::of(*span, places),
                    message,
                })
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct Related<'d> {
    #[serde(flatten)]
    place: Location<'d>,
    message: &'d str,
}

/// Lines and columns count from 1, columns in characters; the end is one past the last character.
#[derive(Serialize)]
struct Location<'d> {
    file: &'d str,
    line: u32,
    column: u32,
    end_line: u32,
    end_column: u32,
}

impl<'d> Location<'d> {
    fn of(span: Span, places: &mut Places<'d>) -> Self {
        let start = places.place(span.file, span.start);
        let end = places.place(span.file, span.end);
        let sources: &'d Sources = places.sources;
        Self {
            file: &sources.file(span.file).name,
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
        }
    }
}

/// JSON that says every character and holds none that a terminal would obey.
struct Safe;

impl Formatter for Safe {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        out.write_all(escape_json(fragment).as_bytes())
    }
}
