//! What is wrong with a statement that the grammar does not read, in the operator's words.

use crate::diagnostic::{Code, Diagnostic, clip, nearest, quote};
use crate::source::Span;

use super::arguments::{reads_as_address, second_address, with_mended, wrong_arguments};
use super::foreign::instead_of;
use super::grammar::{Piece, Rule, offset};
use super::vocabulary::{BlockKind, Home, Keyword, quoted_list};

/// Where a statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surroundings {
    /// In no block.
    Top,
    /// In a block of flb's.
    In(BlockKind),
    /// In a block that flb does not have.
    Foreign,
}

/// A statement that no rule reads. If `brief`, the fault is only counted and needs no words.
pub(super) fn malformed(piece: &Piece<'_>, place: Surroundings, brief: bool) -> Diagnostic {
    let keyword = piece.keyword_text();
    let known = Keyword::of(keyword);
    if brief {
        let code = known.map_or(Code::UnknownStatement, |_| Code::BadStatement);
        return Diagnostic::new(code, piece.span(), "");
    }
    match known {
        Some(known) => wrong_arguments(piece, known),
        None if keyword.is_empty() => no_word(piece),
        None => unknown_statement(piece, place),
    }
}

/// A statement that the grammar reads and that can still not be meant as it is written.
///
/// If `brief`, the fault is only counted and needs no words.
pub(super) fn doubtful(piece: &Piece<'_>, brief: bool) -> Option<Diagnostic> {
    if piece.rule() != Rule::server {
        return None;
    }
    let mut parts = piece.parts();
    let (first, second) = (parts.next()?, parts.next()?);
    // Every server of every file comes by here: the cheap test is first.
    (second.rule() == Rule::address && reads_as_address(first.text()))
        .then(|| second_address(piece))
        .flatten()
        .map(|fault| {
            if brief {
                return fault;
            }
            with_mended(fault, piece, Keyword::Server)
        })
}

/// What other languages start a comment with, or end one.
const COMMENT_SIGNS: &[&str] = &[
    "//", "/*", "*/", "--", "<!--", "(*", "%", "!", "*", ";", "/",
];

/// A remark that starts with another sign than `#`.
pub(super) fn wrong_comment(piece: &Piece<'_>, sign: &str) -> Diagnostic {
    let text = clip(&on_one_line(piece));
    let mut remark = text.as_str();
    while let Some(rest) = COMMENT_SIGNS
        .iter()
        .find_map(|sign| remark.strip_prefix(sign))
    {
        remark = rest.trim_start();
    }
    let remark = ["*/", "-->", "*)"]
        .iter()
        .find_map(|end| remark.strip_suffix(end))
        .unwrap_or(remark);
    let remark = format!("# {}", remark.trim());
    Diagnostic::new(
        Code::BadStatement,
        piece.span(),
        format!("A comment starts with `#`, not with `{sign}`"),
    )
    .help(format!("write `{}`", remark.trim_end()))
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

/// What to write for a statement that a block follows, and that takes none.
pub(super) fn without_block(piece: &Piece<'_>, keyword: Keyword) -> String {
    match keyword {
        // `server web1 {`, as keepalived has it.
        Keyword::Server => {
            let words: Vec<&str> = piece.text().split_whitespace().skip(1).collect();
            let text = match *words.as_slice() {
                [name] if !reads_as_address(name) && !name.starts_with('$') => {
                    format!("server {} 10.20.0.11:8080", clip(name))
                }
                _ => clip(&on_one_line(piece)),
            };
            format!("write `{text}`, with its options on the same line: `weight 3`, `backup`")
        }
        Keyword::Include
        | Keyword::Define
        | Keyword::Defaults
        | Keyword::Service
        | Keyword::Vip
        | Keyword::Mode
        | Keyword::Scheduler
        | Keyword::Persist
        | Keyword::Track
        | Keyword::Allow
        | Keyword::Deny
        | Keyword::OnEmpty
        | Keyword::Pool => format!("write `{}`", clip(&on_one_line(piece))),
    }
}

/// A statement's words as a message can show them.
pub(super) fn on_one_line(piece: &Piece<'_>) -> String {
    let words: Vec<_> = piece.text().split_whitespace().collect();
    words.join(" ").replace(char::is_control, "\u{FFFD}")
}

/// A statement for a block that stands in none.
pub(super) fn outside_of_blocks(piece: &Piece<'_>) -> Diagnostic {
    let keyword = piece.keyword_text();
    let homes = Keyword::of(keyword).map_or(&[][..], Keyword::homes);
    let blocks: Vec<&str> = homes.iter().filter_map(|home| block_at(*home)).collect();
    let blocks = blocks.join(" or ");
    Diagnostic::new(
        Code::MisplacedStatement,
        piece.keyword(),
        format!("`{keyword}` stands outside of any block"),
    )
    .help(format!(
        "it stands {blocks}; is there a `}}` too many before it?"
    ))
}

fn no_word(piece: &Piece<'_>) -> Diagnostic {
    let first = piece.text().chars().next().unwrap_or_default();
    let span = Span {
        end: piece.span().start + offset(first.len_utf8()),
        ..piece.span()
    };
    if let Some(sign) = COMMENT_SIGNS
        .iter()
        .find(|sign| piece.text().starts_with(**sign))
    {
        return wrong_comment(piece, sign);
    }
    let message = match first {
        '"' => "A statement starts with a word, not with a quote".to_owned(),
        '$' => "A constant stands where a value stands, not as a statement".to_owned(),
        _ => format!("A statement starts with a word, not with `{first}`"),
    };
    Diagnostic::new(Code::BadStatement, span, message)
}

fn unknown_statement(piece: &Piece<'_>, place: Surroundings) -> Diagnostic {
    let keyword = piece.keyword_text();
    if keyword.starts_with("--") {
        return wrong_comment(piece, "--");
    }
    let fault = |message| Diagnostic::new(Code::UnknownStatement, piece.keyword(), message);
    let arguments = piece.text().get(keyword.len()..).unwrap_or_default();
    let home = match place {
        Surroundings::Top => Some(Home::Top),
        Surroundings::In(kind) => Some(kind.home()),
        Surroundings::Foreign => None,
    };
    let here = || home.into_iter().flat_map(Home::statements);
    let slip = nearest(keyword, here().map(Keyword::text));
    // The same word with capitals is a slip of the hand; else a word that another tool has beats one that is near.
    let is_capitals = slip.is_some_and(|near| near.eq_ignore_ascii_case(keyword));
    if let Some(help) = instead_of(keyword, arguments).filter(|_| !is_capitals) {
        return fault(format!("{} starts no statement", quote(keyword))).help(help);
    }
    let everywhere = Keyword::ALL.iter().copied();
    let near = slip
        .or_else(|| nearest(keyword, everywhere.map(Keyword::text)))
        .or_else(|| glued(keyword));
    let fault = fault(format!("{} is no statement", quote(keyword)));
    match (near, home) {
        (Some(near), _) => fault.help(format!("did you mean `{near}`?")),
        (None, None) => fault,
        (None, Some(home)) => fault.help(format!(
            "{}, flb has {}",
            block_at(home).unwrap_or("at the top level"),
            quoted_list(here().map(Keyword::text))
        )),
    }
}

/// Where a block's statements stand, as a message says it; nothing for those outside of blocks.
fn block_at(home: Home) -> Option<&'static str> {
    match home {
        Home::Top => None,
        Home::Service => Some("in a service"),
        Home::Pool => Some("in a pool"),
        Home::Defaults => Some("in `defaults`"),
    }
}

/// The keyword that has its argument glued to it: `vip10.0.0.1`.
fn glued(word: &str) -> Option<&'static str> {
    let mut everywhere = Keyword::ALL.iter().map(|keyword| keyword.text());
    everywhere.find(|keyword| {
        word.strip_prefix(keyword)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}
