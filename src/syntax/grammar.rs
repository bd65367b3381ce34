//! The parser that pest makes of grammar/flb.pest, and the pieces that it cuts a file into.

use pest::Parser as _;
use pest::iterators::{Pair, Pairs};

use crate::source::{FileId, Span};

use super::word::{Word, WordKind};

/// What pest generates; its names are the grammar's.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated code"
)]
mod generated {
    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/flb.pest"]
    pub struct FlbParser;
}

pub(super) use generated::Rule;

/// One statement, brace, comment or `;`, or a part of one.
#[derive(Debug, Clone)]
pub(super) struct Piece<'t> {
    pair: Pair<'t, Rule>,
    file: FileId,
    /// Where in the file the text starts that pest was given.
    base: usize,
    column: u32,
    first_on_line: bool,
}

impl<'t> Piece<'t> {
    pub(super) fn rule(&self) -> Rule {
        self.pair.as_rule()
    }

    pub(super) fn text(&self) -> &'t str {
        self.pair.as_str()
    }

    pub(super) fn span(&self) -> Span {
        let span = self.pair.as_span();
        Span {
            file: self.file,
            start: offset(self.base + span.start()),
            end: offset(self.base + span.end()),
        }
    }

    /// The keyword that the piece starts with.
    pub(super) fn keyword(&self) -> Span {
        let span = self.span();
        Span {
            end: span.start + offset(keyword_of(self.text()).len()),
            ..span
        }
    }

    /// How many bytes of its line stand before it.
    pub(super) fn column(&self) -> u32 {
        self.column
    }

    /// Whether nothing but blanks stands before it on its line.
    pub(super) fn is_first_on_line(&self) -> bool {
        self.first_on_line
    }

    /// The text of [`Piece::keyword`].
    pub(super) fn keyword_text(&self) -> &'t str {
        keyword_of(self.text())
    }

    /// The pieces in it: its arguments.
    pub(super) fn parts(&self) -> impl Iterator<Item = Piece<'t>> + use<'t> {
        let (file, base, column, first_on_line) =
            (self.file, self.base, self.column, self.first_on_line);
        let parts = self.pair.clone().into_inner();
        parts.map(move |pair| Piece {
            pair,
            file,
            base,
            column,
            first_on_line,
        })
    }

    /// The piece as a word, which it is if it is an argument.
    pub(super) fn word(&self) -> Word {
        let kind = match self.text().as_bytes().first() {
            Some(b'$') => WordKind::Constant,
            Some(b'"') => WordKind::Quoted,
            _ => WordKind::Bare,
        };
        Word {
            span: self.span(),
            kind,
        }
    }
}

/// The pieces of a file, in order. Each is read alone, so that memory is held for one at a time.
#[derive(Debug)]
pub(super) struct Pieces<'t> {
    file: FileId,
    text: &'t str,
    at: usize,
    /// Where the line starts that holds byte `at`.
    line_start: usize,
}

impl<'t> Pieces<'t> {
    pub(super) fn new(file: FileId, text: &'t str) -> Self {
        let at = if text.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len_utf8()
        } else {
            0
        };
        Self {
            file,
            text,
            at,
            line_start: at,
        }
    }
}

impl Pieces<'_> {
    fn advance(&mut self, to: usize) {
        let passed = self.text.get(self.at..to).unwrap_or_default();
        if let Some(newline) = passed.rfind('\n') {
            self.line_start = self.at + newline + 1;
        }
        self.at = to;
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Piece<'t>> {
        let rest = without_blanks(self.text.get(self.at..)?);
        // `malformed` takes what nothing else does, so that this fails at the end of the text alone.
        let pair = read(Rule::piece, rest).ok()?.next()?;
        let base = self.text.len() - rest.len();
        let (start, end) = (base + pair.as_span().start(), base + pair.as_span().end());
        let line_before = self.line_start;
        let is_first = self.at == line_before;
        self.advance(start);
        let first_on_line = is_first || self.line_start != line_before;
        let column = offset(start - self.line_start);
        self.advance(end);
        Some(Piece {
            pair,
            file: self.file,
            base,
            column,
            first_on_line,
        })
    }
}

fn without_blanks(text: &str) -> &str {
    let mut text = text;
    loop {
        text = text.trim_start_matches([' ', '\t', '\n']);
        match text.strip_prefix("\r\n") {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

/// Reads `text` from its start by one rule.
pub(super) fn read(
    rule: Rule,
    text: &str,
) -> Result<Pairs<'_, Rule>, Box<pest::error::Error<Rule>>> {
    generated::FlbParser::parse(rule, text).map_err(Box::new)
}

/// What some editors put at the start of a UTF-8 file.
pub(super) const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// The word that a statement starts with.
pub(super) fn keyword_of(statement: &str) -> &str {
    let end = statement.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_')));
    statement
        .get(..end.unwrap_or(statement.len()))
        .unwrap_or_default()
}

/// A place in a file, which is at most [`crate::source::MAX_FILE_BYTES`] long.
pub(super) fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
