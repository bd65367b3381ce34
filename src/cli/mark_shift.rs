//! `--mark-shift`, of several commands.

use crate::lower::layout::Layout;

/// What it is.
pub(super) const HELP: &str =
    "Leave the low N bits of every mark 0, for others who match marks by masks: 0 to 8";

/// What each bit costs.
const CAPACITY: &str = "Each bit halves what marks can number: 1,073,741,824 servers and 262,144 services that `persist` \
without it, 4,194,304 and 1,024 with 8 bits; a service that has both families counts twice. Slots are as many as ever.";

/// More of it, for a command that makes tables.
pub(super) fn made() -> String {
    format!("{HELP}\n\n{CAPACITY}")
}

/// More of it, for a command that changes tables.
pub(super) fn kept() -> String {
    format!(
        "{HELP}\n\nTables that are there keep what they have unless it is given, and are made with 0. Another N numbers all \
        servers anew: connections, remembered clients and counters go with them. {CAPACITY}"
    )
}

/// Reads it.
pub(super) fn layout(text: &str) -> Result<Layout, String> {
    let number = text.parse::<u8>().ok();
    let layout = number.and_then(Layout::new);
    layout.ok_or_else(|| format!("write a number from 0 to {}", Layout::MOST))
}
