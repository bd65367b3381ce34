//! What an apply leaves for the next one beside the state of the tables.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::model::Model;

/// What was applied.
///
/// It has no places in files: its spans are [`crate::source::Span::NOWHERE`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Remembered<'a> {
    /// What the tables were made from.
    pub model: Cow<'a, Model>,
}

impl Remembered<'_> {
    /// What the cache keeps.
    pub(super) fn to_note(&self) -> Vec<u8> {
        // Plain data: serialization cannot fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// What a note says; `None` if it is none.
    pub(super) fn from_note(note: &[u8]) -> Option<Self> {
        postcard::from_bytes(note).ok()
    }
}
