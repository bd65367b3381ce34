//! Which bits of a mark the numbers are in.
//!
//! Others match marks by masks: a router with two uplinks by the low bits, `ip rule` and `tc` likewise. A layout leaves so
//! many low bits of every mark 0 that others could see. Numbers lie that far apart, so that there are fewer of them; where
//! the ranges begin and end stays.
//!
//! Slots are as they are: they live between two rules of one chain, the second of which makes a server of them or drops the
//! packet, and nobody looks at a mark in between.
//!
//! The tables themselves say which layout their numbers have, by an empty chain: it is listed, saved and loaded with them,
//! as text and as JSON, where the JSON of nft 1.0.6 forgets a table's comment. Tables without one have all bits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ruleset::{Chain, Table, name};

/// How many low bits of marks are left to others.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
pub struct Layout(u8);

impl Layout {
    /// The most bits that can be left to others.
    pub const MOST: u8 = 8;

    /// `None` for more than [`Self::MOST`].
    pub const fn new(shift: u8) -> Option<Self> {
        if shift <= Self::MOST {
            Some(Self(shift))
        } else {
            None
        }
    }

    /// How many low bits are 0.
    pub const fn shift(self) -> u8 {
        self.0
    }

    /// Numbers one after the other, so far apart.
    pub(super) const fn spread(self, number: u32) -> u32 {
        number << self.0
    }

    /// How many numbers a range has.
    pub(super) const fn count(self, range: u32) -> u32 {
        range >> self.0
    }

    /// Whether the low bits of a number are 0.
    pub const fn has(self, number: u32) -> bool {
        number.trailing_zeros() >= self.0 as u32
    }

    /// The layout of tables that have these chains.
    pub fn of_chains<'a>(chains: impl IntoIterator<Item = &'a str>) -> Self {
        let mut told = chains.into_iter().filter_map(name::shift_of);
        told.find_map(Self::new).unwrap_or_default()
    }

    /// Adds the chain to a table that tells its layout.
    pub(super) fn tell(self, table: &mut Table) {
        if self == Self::default() {
            return;
        }
        let chain = Chain {
            name: Arc::from(name::shift_chain(self.0)),
            hook: None,
            purpose: "nothing comes here: the name says how many low bits of marks are 0",
            rules: Vec::new(),
        };
        table.chains.insert(0, chain);
    }
}

impl TryFrom<u8> for Layout {
    type Error = &'static str;

    fn try_from(shift: u8) -> Result<Self, Self::Error> {
        Self::new(shift).ok_or("marks are not shifted so far")
    }
}

impl From<Layout> for u8 {
    fn from(layout: Layout) -> Self {
        layout.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_told_by_a_chain_and_by_no_other() {
        for shift in 1..=Layout::MOST {
            let chain = name::shift_chain(shift);
            let layout = Layout::of_chains(["svc_www_v4", &chain]);
            assert_eq!(layout.shift(), shift);
        }
        for other in [
            "mark_shift_9",
            "mark_shift_",
            "mark_shift_x",
            "svc_mark_shift_8_v4",
        ] {
            assert_eq!(Layout::of_chains([other]), Layout::default(), "{other}");
        }
    }
}
