//! A ruleset in the words of nft: text and JSON. Both load to the same kernel state.

mod json;
mod text;

pub use json::json;
pub use text::text;
