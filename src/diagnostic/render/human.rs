//! Faults with the lines they are about.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, ThemeCharacters, ThemeStyles};

use super::excerpt::Excerpt;
use super::places::Places;
use super::{Diagnostic, Diagnostics, Severity, escape, safe};
use crate::source::Sources;

/// How faults look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether colours are used.
    pub color: bool,
    /// Whether lines and arrows may be drawn by characters that are not ASCII.
    pub unicode: bool,
    /// How wide the terminal is; without it, sentences are not broken.
    pub width: Option<usize>,
}

impl Options {
    /// For files and pipes.
    pub const PLAIN: Self = Self {
        color: false,
        unicode: false,
        width: None,
    };
}

/// The narrowest terminal that sentences are broken for.
const NARROWEST: usize = 40;

/// Writes all faults in file order, and a line that counts them; nothing if there is none.
pub fn human(
    diagnostics: &Diagnostics,
    sources: &Sources,
    options: Options,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let sorted = diagnostics.sorted();
    if sorted.is_empty() {
        return Ok(());
    }
    let handler = handler(options);
    let mut places = Places::new(sources);
    // What stands for a character that cannot be shown.
    let unknown = if options.unicode { '\u{fffd}' } else { '?' };
    for diagnostic in &sorted {
        let excerpt = diagnostic
            .span
            .map(|span| Excerpt::new(diagnostic, span, &mut places, unknown));
        let report = Report {
            severity: diagnostic.code.severity(),
            code: format!("{}[{}]", diagnostic.code.severity().name(), diagnostic.code),
            message: safe(&diagnostic.message),
            help: diagnostic.help.as_deref().map(safe),
            excerpt,
        };
        handler.render_report(out, &report)?;
        out.write_char('\n')?;
    }
    match diagnostics.dropped() {
        0 => {}
        more => writeln!(out, "... and {more} more")?,
    }
    writeln!(out, "{}", summary(diagnostics, &sorted, sources))
}

fn handler(options: Options) -> GraphicalReportHandler {
    let theme = GraphicalTheme {
        characters: if options.unicode {
            ThemeCharacters::unicode()
        } else {
            ThemeCharacters::ascii()
        },
        styles: if options.color {
            ThemeStyles::ansi()
        } else {
            ThemeStyles::none()
        },
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_context_lines(1)
        .with_links(false);
    match options.width {
        Some(width) => handler.with_width(width.max(NARROWEST)),
        None => handler.with_wrap_lines(false),
    }
}

/// `3 errors, 1 warning in lb.flb`
fn summary(diagnostics: &Diagnostics, sorted: &[&Diagnostic], sources: &Sources) -> String {
    let errors = diagnostics.errors();
    let warnings = sorted.len() + diagnostics.dropped() - errors;
    let count = |number: usize, word: &str| match number {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{number} {word}s")),
    };
    let counts = [count(errors, "error"), count(warnings, "warning")];
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    let mut files: Vec<_> = sorted
        .iter()
        .filter_map(|d| d.span.map(|span| span.file))
        .collect();
    files.dedup();
    let place = match *files {
        [] => String::new(),
        [file] => format!(" in {}", escape(&sources.file(file).name)),
        _ => format!(" in {} files", files.len()),
    };
    format!("{}{place}", counts.join(", "))
}

/// A fault as miette wants it.
#[derive(Debug)]
struct Report {
    severity: Severity,
    code: String,
    message: String,
    help: Option<String>,
    excerpt: Option<Excerpt>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        let excerpt = self.excerpt.as_ref()?;
        Some(excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let excerpt = self.excerpt.as_ref()?;
        Some(Box::new(excerpt.labels.iter().cloned()))
    }
}
