//! Faults as people and as programs read them.
//!
//! Whatever comes from a file, names of files too, is made safe for a terminal here, once more and for all.

use crate::source::Span;

use super::{Diagnostic, Diagnostics, Severity, escape, escape_json, escape_lines, is_treacherous};

mod excerpt;
mod human;
mod json;
mod places;

pub use human::{Options, human};
pub use json::json;

/// A text of several lines, each safe for a terminal.
fn safe(text: &str) -> String {
    escape_lines(text).into_owned()
}
