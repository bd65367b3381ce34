//! What operators ask of flbc, each in one call: what the commands do, without their words.
//!
//! ```text
//! model ──▶ complete ──▶ set what was set ──▶ plan ──▶ check or commit
//!              (job)          (set)                        (job)
//! a turn first, for whoever changes something (turn)       a way back, for a trial (trial)
//! ```
//!
//! Nothing here prints, waits or knows where notes are kept: it is given [`Tables`], and says what it did or why it did
//! not. The time is that of the kernel.

pub mod engine;
pub mod refused;
pub mod set;
pub mod trial;
pub mod turn;

mod job;

pub use job::{Earlier, Job};
pub use refused::Refused;

#[cfg(test)]
mod tests;

#[cfg(doc)]
use crate::apply::Tables;
