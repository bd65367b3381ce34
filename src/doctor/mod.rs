//! What would stop a configuration from working. Facts in, findings out: nothing here asks the kernel.

mod foreign;

pub use foreign::{Hooked, Obstacle, Trouble, obstacles};
