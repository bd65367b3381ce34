//! Rules of others, so far as they decide what becomes of a packet: out of the kernel's expressions, what each asks and does.
//!
//! What a rule asks of a packet is understood where it is about addresses, ports and protocols, and `ct status dnat`, with
//! which a firewall lets pass what is balanced. All else it may ask is [`Subject::Else`].

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Family;

mod decoded;
mod elements;

pub(crate) use decoded::{Lookup, decoded};
pub(crate) use elements::{Elements, whole};

/// What a rule may do to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Drop or reject it, or leave it to a program to do so.
    Refuse,
    /// Give it another destination, and the answers the old one.
    Translate,
    /// Write other addresses or ports into it.
    Rewrite,
    /// Keep connection tracking away from it.
    Untrack,
    /// Send it away by another interface.
    Forward,
    /// Write these bits of the mark of its connection.
    Mark(u32),
    /// Write the packet's mark to its connection.
    CopyMark,
}

/// Where it goes on with a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Then {
    /// Behind the base chain.
    Accept,
    /// In the chain that led here.
    Return,
    /// In this chain, and then here again.
    Jump(String),
    /// In this chain, and then where this one ends.
    Goto(String),
}

/// What of a packet a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Its family: 4 or 6.
    Family,
    /// The address that it goes to, of this family.
    To(Family),
    /// The address that it comes from.
    From(Family),
    /// The number of its transport protocol.
    Protocol,
    /// The port that it goes to.
    ToPort,
    /// The port that it comes from.
    FromPort,
    /// Whether the destination of its connection was translated: 0 or 1.
    Translated,
    /// The state of its connection, as a bit.
    State,
    /// What is not understood.
    Else,
}

/// What a rule asks of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// What it looks at.
    pub subject: Subject,
    /// The values that it asks for: the first and the last of each range.
    pub ranges: Vec<(u128, u128)>,
    /// It asks for all others.
    pub other: bool,
}

impl Ask {
    /// A question that is not understood.
    pub const UNKNOWN: Self = Self {
        subject: Subject::Else,
        ranges: Vec::new(),
        other: false,
    };

    /// Whether a value is what it asks for.
    pub fn holds_for(&self, value: u128) -> bool {
        let mut ranges = self.ranges.iter();
        let is_in = ranges.any(|(first, last)| (first..=last).contains(&&value));
        is_in != self.other
    }
}

/// A rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignRule {
    /// What all has to be so for the rest.
    pub asks: Vec<Ask>,
    /// What it does.
    pub deeds: BTreeSet<Deed>,
    /// Where it goes on, if not at the next rule.
    pub then: Option<Then>,
}

/// The rules of a table, by their chains.
pub type ForeignRules = BTreeMap<String, Vec<ForeignRule>>;
