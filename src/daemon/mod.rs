//! `flbc run`: keeps in force what was applied, whatever others do.
//!
//! [`core`] decides, told the time and what it hears; [`hands`] does what it decides, on any kernel; [`pace`] says how often.
//! Whoever waits, listens and reads clocks is in [`crate::cli`].
//!
//! The daemon is one more run of flbc that takes its turns: it holds the lock of the tables only while it changes them, and
//! what it knows is in the notes that every other command reads and writes. So it may be killed at any moment, and every
//! other command works with it and without it.

pub mod core;
pub mod hands;
pub mod order;
pub mod pace;
mod ring;
mod words;

pub use ring::Ring;
pub use words::held;
