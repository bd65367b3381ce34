//! `persist DURATION [by source[/PREFIX4[/PREFIX6]]]`

use super::{Setting, duration_or_off};
use crate::check::reader::Reader;
use crate::check::values::client_prefixes;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::Persistence;
use crate::source::Span;
use crate::syntax::tree::Word;

/// Reads a `persist` statement.
pub(super) fn read(
    word: Word,
    by: Option<Word>,
    span: Span,
    reader: &mut Reader<'_>,
) -> Setting<Persistence> {
    let timeout = duration_or_off(word, reader);
    let prefixes = match by {
        None => Some((32, 128)),
        Some(by) => reader.read(by, client_prefixes),
    };
    match (timeout, by) {
        (Setting::Said(timeout), _) => {
            Setting::of(prefixes.map(|(ipv4_prefix, ipv6_prefix)| Persistence {
                timeout,
                ipv4_prefix,
                ipv6_prefix,
                span,
            }))
        }
        (Setting::Off, Some(by)) => {
            let message = "`persist off` goes by nothing";
            let fault = Diagnostic::new(Code::BadStatement, by.span, message);
            reader.report(fault.help("write `persist off` alone"));
            Setting::Damaged
        }
        (Setting::Off, None) => Setting::Off,
        (Setting::Unsaid | Setting::Damaged, _) => Setting::Damaged,
    }
}
