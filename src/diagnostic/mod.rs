//! Faults: what is wrong, where, and what to write instead.

use crate::source::Span;

mod code;
mod exit;
mod nearest;
pub mod render;
mod text;

pub use code::Code;
pub use exit::Exit;
pub use nearest::{is_one_slip, nearest};
pub use text::{
    argument, clip, escape, escape_json, escape_lines, is_treacherous, listed, quote, reason, word,
};

/// Whether a fault stops compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is compiled.
    Error,
    /// Worth knowing; compilation goes on.
    Warning,
}

impl Severity {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One fault of a file, or one thing worth knowing about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The kind of fault.
    pub code: Code,
    /// Where; `None` where no file could be read at all, or none says it.
    pub span: Option<Span>,
    /// One sentence in the operator's words, without a full stop.
    pub message: String,
    /// A few words at the place itself.
    pub label: Option<String>,
    /// Other places that matter, with a few words each.
    pub related: Vec<(Span, String)>,
    /// What to write instead, or why it cannot be.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A fault at a place; without one, if no file of this run has it.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            span: span.is_somewhere().then_some(span),
            message: message.into(),
            label: None,
            related: Vec::new(),
            help: None,
        }
    }

    /// A fault without a place: the file itself could not be read.
    pub fn placeless(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            span: None,
            message: message.into(),
            label: None,
            related: Vec::new(),
            help: None,
        }
    }

    /// Puts a few words at the place itself.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another place that matters, with a few words.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        if span.is_somewhere() {
            self.related.push((span, label.into()));
        }
        self
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What every stage reports to.
///
/// The first [`Diagnostics::LIMIT`] faults are kept, the rest counted, so that a hundred megabytes of
/// noise do not become a gigabyte of messages.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    dropped: usize,
    errors: usize,
}

impl Diagnostics {
    /// How many faults are kept.
    pub const LIMIT: usize = 10_000;

    /// An empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a fault.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        if diagnostic.code.severity() == Severity::Error {
            self.errors += 1;
        }
        if self.kept.len() < Self::LIMIT {
            self.kept.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Whether further faults are only counted, so that their words need not be made.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= Self::LIMIT
    }

    /// How many errors were reported, kept or not.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many faults were reported beyond the limit.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// The faults in file order, then by place; those at one place in the order reported.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<_> = self.kept.iter().collect();
        sorted.sort_by_key(|d| d.span);
        sorted
    }
}
