//! Where notes are kept.

use crate::notes::Notes;

/// Where notes are kept.
const NOTES: &str = "/run/flbc";

/// The notes.
pub(super) fn notes() -> Notes {
    Notes::new(NOTES)
}
