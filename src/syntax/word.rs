//! A word as it was written.

use crate::source::Span;

/// One word of a statement's arguments: its place, and how to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The whole word, with `$` or quotes.
    pub span: Span,
    /// Whether the word was written in quotes, as a constant, or plainly.
    pub kind: WordKind,
}

/// How a word was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordKind {
    /// `10.0.0.1`, `tcp`, `5m`
    Bare,
    /// `$NAME`
    Constant,
    /// `"eth0"`
    Quoted,
}
