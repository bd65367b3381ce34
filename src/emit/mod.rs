//! A ruleset in the words of nft: text and JSON. Both load to the same kernel state, where JSON has words for it.

mod json;
pub mod listing;
pub mod netlink;
mod text;

pub use json::{json, unsayable};
pub use text::text;
