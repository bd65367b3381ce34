//! A ruleset in the words of nft: text and JSON. Both load to the same kernel state, where JSON has words for it.

mod json;
pub mod listing;
pub mod netlink;
mod text;

pub use json::{json, unsayable};
pub use text::text;

use crate::model::Family;
use crate::ruleset::DataType;

/// What nft calls the type of a map's data.
const fn data_type(data: DataType) -> &'static str {
    match data {
        DataType::Verdict => "verdict",
        DataType::Mark => "mark",
        DataType::Address(Family::V4) => "ipv4_addr",
        DataType::Address(Family::V6) => "ipv6_addr",
        DataType::Port => "inet_service",
        DataType::Mac => "ether_addr",
        DataType::Interface => "iface_index",
    }
}
