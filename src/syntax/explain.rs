//! What is wrong with a statement that the grammar does not read, in the operator's words.

use crate::diagnostic::{Code, Diagnostic, clip, quote};
use crate::source::Span;

use super::arguments::{reads_as_address, second_address, wrong_arguments};
use super::grammar::{Piece, Rule, offset};
use super::vocabulary::{BlockKind, TOP_STATEMENTS, foreign_word, form_of, nearest, quoted_list};

/// Where a statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In no block.
    Top,
    /// In a block of flb's.
    In(BlockKind),
    /// In a block that flb does not have.
    Foreign,
}

/// A statement that no rule reads. If `brief`, the fault is only counted and needs no words.
pub(super) fn malformed(piece: &Piece<'_>, place: Place, brief: bool) -> Diagnostic {
    let keyword = piece.keyword_text();
    let form = form_of(keyword);
    if brief {
        let code = form.map_or(Code::UnknownStatement, |_| Code::BadStatement);
        return Diagnostic::new(code, piece.span(), "");
    }
    match form {
        Some(form) => wrong_arguments(piece, form),
        None if keyword.is_empty() => no_word(piece),
        None => unknown_statement(piece, place),
    }
}

/// A statement that the grammar reads and that can still not be meant as it is written.
pub(super) fn doubtful(piece: &Piece<'_>) -> Option<Diagnostic> {
    if piece.rule() != Rule::server {
        return None;
    }
    let mut parts = piece.parts();
    let (first, second) = (parts.next()?, parts.next()?);
    // Asked of every server of every file: the quick look comes first.
    (second.rule() == Rule::address && reads_as_address(first.text()))
        .then(|| second_address(piece))
        .flatten()
}

/// `service NAME` without a `{` behind it.
pub(super) fn missing_brace(piece: &Piece<'_>) -> Diagnostic {
    let text = clip(&on_one_line(piece));
    Diagnostic::new(
        Code::BadStatement,
        piece.span(),
        format!("`{text}` needs a `{{` after it"),
    )
    .help(format!("write `{text} {{`, its statements, and `}}`"))
}

/// A statement's words as a message can show them.
pub(super) fn on_one_line(piece: &Piece<'_>) -> String {
    let words: Vec<_> = piece.text().split_whitespace().collect();
    words.join(" ").replace(char::is_control, "\u{FFFD}")
}

/// A statement for a block that stands in none.
pub(super) fn outside_of_blocks(piece: &Piece<'_>) -> Diagnostic {
    let keyword = piece.keyword_text();
    let blocks = match keyword {
        "server" => "a service or a pool",
        "vip" => "a service",
        _ => "a service or in `defaults`",
    };
    Diagnostic::new(
        Code::MisplacedStatement,
        piece.keyword(),
        format!("`{keyword}` stands outside of any block"),
    )
    .help(format!(
        "it stands in {blocks}; is there a `}}` too many before it?"
    ))
}

fn no_word(piece: &Piece<'_>) -> Diagnostic {
    let first = piece.text().chars().next().unwrap_or_default();
    let span = Span {
        end: piece.span().start + offset(first.len_utf8()),
        ..piece.span()
    };
    let message = match first {
        '"' => "A statement starts with a word, not with a quote".to_owned(),
        '$' => "A constant stands where a value stands, not as a statement".to_owned(),
        _ => format!("A statement starts with a word, not with `{first}`"),
    };
    Diagnostic::new(Code::BadStatement, span, message)
}

fn unknown_statement(piece: &Piece<'_>, place: Place) -> Diagnostic {
    let keyword = piece.keyword_text();
    let fault = |message| Diagnostic::new(Code::UnknownStatement, piece.keyword(), message);
    if let Some(help) = foreign_word(keyword) {
        return fault(format!("{} starts no statement", quote(keyword))).help(help);
    }
    let (here, where_to) = match place {
        Place::Top => (TOP_STATEMENTS, "at the top level"),
        Place::In(BlockKind::Service) => (BlockKind::Service.statements(), "in a service"),
        Place::In(BlockKind::Pool) => (BlockKind::Pool.statements(), "in a pool"),
        Place::In(BlockKind::Defaults) => (BlockKind::Defaults.statements(), "in `defaults`"),
        Place::Foreign => (&[][..], "here"),
    };
    let everywhere = TOP_STATEMENTS.iter().chain(BlockKind::Service.statements());
    let near = nearest(keyword, here.iter().copied())
        .or_else(|| nearest(keyword, everywhere.copied()))
        .or_else(|| glued(keyword));
    let fault = fault(format!("{} is no statement", quote(keyword)));
    match near {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None if here.is_empty() => fault,
        None => fault.help(format!("{where_to}, flb has {}", quoted_list(here))),
    }
}

/// The keyword that has its argument glued to it: `vip10.0.0.1`.
fn glued(word: &str) -> Option<&'static str> {
    let everywhere = TOP_STATEMENTS.iter().chain(BlockKind::Service.statements());
    everywhere.copied().find(|keyword| {
        word.strip_prefix(keyword)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}
