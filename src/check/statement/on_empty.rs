//! `on-empty reject | drop`

use crate::check::reader::Reader;
use crate::check::values::choice;
use crate::model::{Mode, OnEmpty};
use crate::syntax::tree::Word;

/// Reads an `on-empty` statement.
pub(super) fn read(action: Word, reader: &mut Reader<'_>) -> Option<OnEmpty> {
    let actions = [("reject", OnEmpty::Reject), ("drop", OnEmpty::Drop)];
    reader.read(action, |text| choice(text, "an action", &actions))
}

/// What clients get where nothing is said.
pub(in crate::check) fn default_for(mode: &Mode) -> OnEmpty {
    match mode {
        Mode::Nat(_) => OnEmpty::Reject,
        Mode::Dr(_) => OnEmpty::Drop,
    }
}
