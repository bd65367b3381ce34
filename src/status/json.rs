//! The object as JSON, its fields in the order in which they are declared.

use super::Status;
use crate::diagnostic::escape_json;

/// One line, with its end.
pub fn json(status: &Status) -> String {
    // Strings and numbers alone: serialization cannot fail.
    let mut text = serde_json::to_string(status).unwrap_or_default();
    text.push('\n');
    // Names may be anybody's, and the output may be shown on a terminal.
    escape_json(&text).into_owned()
}
