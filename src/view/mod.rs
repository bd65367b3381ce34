//! Tables read back: the services and servers that they make, and in the operator's words what differs between two of them.
//!
//! What the kernel has knows nothing of files. All that is told here follows from names of sets and chains, from the
//! comments of servers, and from numbers.

pub mod against;
pub(crate) mod drifted;
pub(crate) mod element;
pub(crate) mod moved;
pub(crate) mod numbers;
pub(crate) mod services;
pub(crate) mod strange;
pub(crate) mod told;
mod traffic;

pub use numbers::{KnownBlock, KnownServer, ObservedNumbers, numbers};
pub use services::{ServerView, ServiceView, View, mode_of};
