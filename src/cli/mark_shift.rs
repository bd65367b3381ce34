//! `--mark-shift`, of several commands.

use clap::builder::TypedValueParser;

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
pub(super) fn layout() -> impl TypedValueParser<Value = Layout> {
    let range = clap::value_parser!(u8).range(0..=i64::from(Layout::MOST));
    range.try_map(Layout::try_from)
}
