//! flbc compiles a small load-balancer language into nftables rulesets.
//!
//! ```text
//!  text ──syntax──▶ tree ──check──▶ model ──schedule──▶ slots ──lower──▶ ruleset ──emit──▶ text, JSON
//!        (pest)                                                                        
//! ```
//!
//! Data flows one way. Each stage is a module that knows only those to its left; all report to one
//! [`diagnostic::Diagnostics`].

pub mod check;
pub mod diagnostic;
pub mod model;
pub mod ruleset;
pub mod source;
pub mod syntax;
