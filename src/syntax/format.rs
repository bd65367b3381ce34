//! The one canonical form of a file.
//!
//! Works on the pieces of the text rather than on the tree, since the tree has no comments. Only
//! blanks, line ends, `;` and the names of schedulers are written anew; every other word stays as it
//! is, as a server without a name is named after its address as written.

use std::fmt::Write as _;

use crate::diagnostic::Diagnostics;
use crate::source::{FileId, Sources};

use super::grammar::{Piece, Pieces, Rule};
use super::parse::parse;
use super::vocabulary::{Keyword, PieceKind, SCHEDULER_ALIASES};

/// The canonical form of a file, with all its comments; reads no file that it includes.
///
/// `None` if the file has a syntax error, which is reported: nobody knows what it means.
pub fn format(file: FileId, sources: &Sources, sink: &mut Diagnostics) -> Option<String> {
    let errors = sink.errors();
    parse(file, sources, sink);
    if sink.errors() > errors {
        return None;
    }
    let text = &sources.file(file).text;
    let mut printer = Printer::default();
    let mut end = 0;
    let mut newlines = 0;
    for piece in Pieces::new(file, text) {
        let span = piece.span();
        let gap = text.get(end..span.start as usize).unwrap_or_default();
        newlines += gap.matches('\n').count();
        end = span.end as usize;
        if piece.rule() != Rule::semicolon {
            printer.take(&piece, newlines);
            newlines = 0;
        }
    }
    Some(printer.finish())
}

/// Lists that would make a longer line are broken after every comma.
const LONGEST_LINE: usize = 100;

const INDENT: usize = 4;

/// The text so far, without the end of its last line.
#[derive(Default)]
struct Printer {
    out: String,
    depth: usize,
    last: Last,
    /// The last line ends with a comment, so that nothing can follow on it.
    commented: bool,
    /// `service`, `defaults` or `pool`, until it is known whether `{` follows, and the comments
    /// behind it, each with the number of line ends before it.
    held: Option<(Line, Vec<(String, usize)>)>,
}

/// A statement in canonical form.
struct Line {
    text: String,
    newlines: usize,
    is_header: bool,
}

/// What the last line is.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// There is none.
    #[default]
    Nothing,
    Open,
    Close,
    Statement,
    Comment,
}

impl Printer {
    fn take(&mut self, piece: &Piece<'_>, newlines: usize) {
        match PieceKind::of(piece.rule()) {
            PieceKind::Semicolon => {}
            PieceKind::Comment => {
                let text = piece.text().trim_end().to_owned();
                match &mut self.held {
                    Some((_, comments)) => comments.push((text, newlines)),
                    None => self.comment(&text, newlines),
                }
            }
            PieceKind::Open => self.open(),
            PieceKind::Close => {
                self.release(false);
                self.depth = self.depth.saturating_sub(1);
                self.line(0, "}", Last::Close);
            }
            kind @ (PieceKind::Statement(_) | PieceKind::Malformed) => {
                self.release(false);
                let line = Line {
                    text: canonical(piece, self.depth * INDENT),
                    newlines,
                    is_header: matches!(
                        kind,
                        PieceKind::Statement(Keyword::Service | Keyword::Defaults)
                    ),
                };
                if line.is_header || kind == PieceKind::Statement(Keyword::Pool) {
                    self.held = Some((line, Vec::new()));
                } else {
                    self.line(line.newlines, &line.text, Last::Statement);
                }
            }
        }
    }

    fn open(&mut self) {
        self.release(true);
        self.depth += 1;
    }

    /// Writes what was held back, now that it is known whether a block follows.
    fn release(&mut self, opens: bool) {
        let Some((mut line, comments)) = self.held.take() else {
            return;
        };
        if opens {
            line.text.push_str(" {");
            if self.depth == 0 && self.last == Last::Statement {
                line.newlines = 2;
            }
        }
        let kind = if opens { Last::Open } else { Last::Statement };
        self.line(line.newlines, &line.text, kind);
        // What stood between the header and its brace now stands behind the brace.
        self.depth += usize::from(opens);
        for (text, newlines) in comments {
            self.comment(&text, newlines);
        }
        self.depth -= usize::from(opens);
    }

    fn comment(&mut self, text: &str, newlines: usize) {
        if newlines == 0 && self.last != Last::Nothing && !self.commented {
            let _ = write!(self.out, " {text}");
        } else {
            self.line(newlines, text, Last::Comment);
        }
        self.commented = true;
    }

    fn line(&mut self, newlines: usize, text: &str, kind: Last) {
        let parted = newlines > 1 || (self.last == Last::Close && self.depth == 0);
        let beside_brace = self.last == Last::Open || kind == Last::Close;
        if self.last != Last::Nothing {
            self.out.push('\n');
            if parted && !beside_brace {
                self.out.push('\n');
            }
        }
        let indent = self.depth * INDENT;
        let _ = write!(self.out, "{:indent$}{text}", "");
        self.last = kind;
        self.commented = false;
    }

    fn finish(mut self) -> String {
        self.release(false);
        if self.last != Last::Nothing {
            self.out.push('\n');
        }
        self.out
    }
}

/// A statement in canonical form, to be written after `indent` blanks.
fn canonical(piece: &Piece<'_>, indent: usize) -> String {
    let mut groups = groups(piece.text());
    if piece.rule() == Rule::scheduler
        && let [group] = groups.as_mut_slice()
    {
        spell_out_scheduler(&mut group.words);
    }
    let texts: Vec<_> = groups.iter().map(|group| group.words.join(" ")).collect();
    let on_one_line = texts.join(", ");
    let has_comments = groups.iter().any(|group| !group.comments.is_empty());
    if groups.len() == 1 || (!has_comments && indent + on_one_line.chars().count() <= LONGEST_LINE)
    {
        return on_one_line;
    }
    let deeper = indent + INDENT;
    let mut out = String::new();
    for (group, text) in groups.iter().zip(&texts) {
        if out.is_empty() {
            out.push_str(text);
        } else {
            let _ = write!(out, "\n{:deeper$}{text}", "");
        }
        if !group.is_last {
            out.push(',');
        }
        for comment in &group.comments {
            if comment.is_trailing {
                let _ = write!(out, " {}", comment.text);
            } else {
                let _ = write!(out, "\n{:deeper$}{}", "", comment.text);
            }
        }
    }
    out
}

/// Writes a scheduler's alias as what it stands for.
fn spell_out_scheduler(words: &mut Vec<&str>) {
    let Some(name) = words.get_mut(1) else { return };
    let mut known = SCHEDULER_ALIASES.iter();
    let Some((_, meant, key)) = known.find(|(alias, ..)| alias == name) else {
        return;
    };
    *name = meant;
    // A key that is written counts more than the alias's own.
    if let Some(key) = key
        && words.get(2) != Some(&"by")
    {
        words.splice(2..2, ["by", key]);
    }
}

/// The words of a statement up to a comma, and the comments behind that comma.
#[derive(Default)]
struct Group<'t> {
    words: Vec<&'t str>,
    comments: Vec<Comment<'t>>,
    /// No comma follows.
    is_last: bool,
}

struct Comment<'t> {
    text: &'t str,
    is_trailing: bool,
}

fn groups(statement: &str) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    let mut group = Group::default();
    let mut rest = statement;
    // After a comma: whether the line has ended since.
    let mut comma: Option<bool> = None;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' => rest
                .match_indices('"')
                .nth(1)
                .map_or(rest.len(), |(at, _)| at + 1),
            c if is_sign(c) => c.len_utf8(),
            _ => rest
                .find(|c| is_sign(c) || matches!(c, '"' | '#'))
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = after;
        match first {
            '\n' => comma = comma.map(|_| true),
            ' ' | '\t' | '\r' => {}
            ',' => comma = Some(false),
            '#' => group.comments.push(Comment {
                text: token.trim_end(),
                is_trailing: comma == Some(false),
            }),
            _ => {
                if comma.take().is_some() {
                    groups.push(std::mem::take(&mut group));
                }
                group.words.push(token);
            }
        }
    }
    group.is_last = true;
    groups.push(group);
    groups
}

/// Whether a character is a piece of a statement by itself.
fn is_sign(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n' | ',' | '=')
}
