//! Characters that cannot stand in a flb file.

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{FileId, Span};

use super::grammar::{BYTE_ORDER_MARK, offset};

/// Reports the characters of a text that cannot stand in a flb file, a fault for each line that has any.
pub(super) fn report_bad_characters(file: FileId, text: &str, sink: &mut Diagnostics) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if !line.bytes().all(is_plain) {
            report_line(file, start, line, sink);
        }
        start += line.len();
    }
}

/// Whether a text has any character that [`report_bad_characters`] reports.
pub(super) fn has_bad_character(text: &str) -> bool {
    !text.bytes().all(is_plain)
        && text
            .split_inclusive('\n')
            .any(|line| bad_characters(without_end(line)).next().is_some())
}

fn without_end(line: &str) -> &str {
    let plain = line.strip_suffix('\n');
    plain.map_or(line, |line| line.strip_suffix('\r').unwrap_or(line))
}

/// Printable ASCII, the most common blanks: what needs no closer look.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n')
}

fn report_line(file: FileId, line_start: usize, line: &str, sink: &mut Diagnostics) {
    let (from, line) = match line.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) if line_start == 0 => (BYTE_ORDER_MARK.len_utf8(), rest),
        _ => (line_start, line),
    };
    let mut bad = bad_characters(without_end(line));
    let Some((at, character)) = bad.next() else {
        return;
    };
    let others = bad.count();
    let span = Span {
        file,
        start: offset(from + at),
        end: offset(from + at + character.len_utf8()),
    };
    if sink.is_full() {
        sink.report(Diagnostic::new(Code::BadCharacter, span, ""));
        return;
    }
    let (what, help) = name(character);
    let mut message = format!(
        "{what} (U+{:04X}) cannot stand in a flb file",
        u32::from(character)
    );
    if others > 0 {
        use std::fmt::Write as _;
        let _ = write!(message, ", nor can {others} more on this line");
    }
    sink.report(Diagnostic::new(Code::BadCharacter, span, message).help(help));
}

/// The bad characters of a line, with their places in it.
fn bad_characters(line: &str) -> impl Iterator<Item = (usize, char)> {
    // In a comment, letters that join, part or direct others are text like any other.
    let comment = comment_start(line);
    line.char_indices().filter(move |(at, character)| {
        is_never_text(*character) || (*at < comment && is_invisible(*character))
    })
}

/// Where the comment of a line starts, or the line ends.
pub(super) fn comment_start(line: &str) -> usize {
    let mut quoted = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'#' if !quoted => return at,
            _ => {}
        }
    }
    line.len()
}

/// Controls, and what makes a line read otherwise than it is.
fn is_never_text(character: char) -> bool {
    (character.is_control() && character != '\t')
        || matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Blanks that are none, and characters that nobody sees.
fn is_invisible(character: char) -> bool {
    (character.is_whitespace() && !character.is_ascii())
        || matches!(
            character,
            '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}' | BYTE_ORDER_MARK
        )
}

/// What a character is called, and what to do about it.
fn name(character: char) -> (&'static str, &'static str) {
    match character {
        '\0' => ("A NUL byte", "is this a text file? flbc reads UTF-8 text"),
        '\r' => (
            "A carriage return without a line feed",
            "end lines with a line feed, or with a carriage return and a line feed",
        ),
        '\u{1B}' => ("An escape character", "remove it; it drives terminals"),
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => (
            "A character that changes the direction of writing",
            "remove it; it makes the line read otherwise than it is",
        ),
        c if c.is_control() => ("A control character", "remove it"),
        c if c.is_whitespace() => ("A blank that is not a space", "write a plain space"),
        _ => ("An invisible character", "remove it"),
    }
}
