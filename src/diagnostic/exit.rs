//! How flbc ends.

use std::process::ExitCode;

/// How flbc ends; the numbers are for scripts and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All well; no difference.
    Fine = 0,
    /// There is a difference (`diff`, `fmt --check`, `apply --dry-run`).
    Differs = 1,
    /// Bad input or usage, or output that could not be written.
    Bad = 2,
    /// The kernel refused.
    Refused = 3,
    /// The privilege is missing.
    Unprivileged = 4,
    /// Another run or a trial holds the tables.
    Busy = 5,
    /// Applied in part: services whose interface is missing are left out, as a whole.
    InPart = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
