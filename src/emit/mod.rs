//! A ruleset in the words of nft: text and JSON. Both load to the same kernel state.

mod json;
pub mod netlink;
mod text;

pub use json::json;
pub use text::text;
