//! A ruleset in the kernel's own words: nf_tables objects, as they cross a netlink socket.
//!
//! [`desired`] says what the kernel should have. What it has is read into the same [`Shape`]s, [`Element`]s,
//! [`Hook`]s and expressions, so that the two compare byte by byte. Nothing here touches Linux.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::source::Span;

pub(crate) mod attribute;
pub(crate) mod batch;
mod builder;
mod bytes;
pub mod change;
pub(crate) mod constant;
mod desired;
pub(crate) mod expression;
pub(crate) mod header;
mod rule;
mod shape;

pub use bytes::{Bytes, LONGEST};
pub use desired::desired;

/// The fields of a concatenated key are padded to multiples of this.
pub(crate) const KEY_UNIT: u32 = 4;

/// The protocols that have ports: TCP, UDP, SCTP.
pub(crate) const PORT_PROTOCOLS: [u8; 3] = [6, 17, 132];

/// The family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TableFamily {
    /// `inet`
    Inet,
    /// `netdev`
    Netdev,
}

impl TableFamily {
    /// Both, in the order in which they are written.
    pub const BOTH: [Self; 2] = [Self::Inet, Self::Netdev];

    /// nft's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Netdev => "netdev",
        }
    }

    /// The kernel's number of it.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Netdev => 5,
        }
    }
}

/// What the kernel should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The name of both tables.
    pub table: Arc<str>,
    /// `inet NAME`
    pub inet: Option<Table>,
    /// `netdev NAME`
    pub netdev: Option<Table>,
}

impl Desired {
    /// No tables at all: what `unload` wants.
    pub const fn nothing(table: Arc<str>) -> Self {
        Self {
            table,
            inet: None,
            netdev: None,
        }
    }

    /// The table of this family.
    pub const fn table(&self, family: TableFamily) -> Option<&Table> {
        match family {
            TableFamily::Inet => self.inet.as_ref(),
            TableFamily::Netdev => self.netdev.as_ref(),
        }
    }

    /// The table of this family, which is then gone from here.
    pub(crate) const fn take_table(&mut self, family: TableFamily) -> Option<Table> {
        match family {
            TableFamily::Inet => self.inet.take(),
            TableFamily::Netdev => self.netdev.take(),
        }
    }
}

/// The contents of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Sets and maps.
    pub sets: Vec<Set>,
    /// Chains.
    pub chains: Vec<Chain>,
}

/// A named set or map, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The set's name, unique in the table.
    pub name: Arc<str>,
    /// The set's declaration.
    pub shape: Shape,
    /// The place in the source that asked for a dynamic set; others were asked for by their elements.
    pub origin: Option<Span>,
    /// The set's elements, each key once.
    pub elements: Vec<Element>,
    /// The place in the source of each element, in the same order.
    pub origins: Vec<Span>,
}

/// The declaration of a set, as the kernel keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Flags: map, interval and so on.
    pub flags: u32,
    /// The type of the key; means something to nft alone.
    pub key_type: u32,
    /// The length of a key, in bytes.
    pub key_length: u32,
    /// The type of the values; means something to nft alone, but for verdicts.
    pub data_type: Option<u32>,
    /// The length of a value, in bytes; 0 for verdicts.
    pub data_length: u32,
    /// How many elements the set has room for.
    pub size: u32,
    /// The lengths of the key's fields, where it is a concatenation with ranges.
    pub fields: Vec<u8>,
    /// What every element carries: `counter`.
    pub statements: Vec<Arc<str>>,
}

impl Shape {
    /// Whether every element carries a counter.
    pub fn counts(&self) -> bool {
        self.statements.iter().any(|name| &**name == "counter")
    }

    /// Whether rules add the elements: then what is in the set is the packets' affair and never compared.
    pub const fn is_dynamic(&self) -> bool {
        self.flags & constant::set::DYNAMIC != 0
    }
}

/// One element of a set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Element {
    /// The key, or the first of a range of keys. Empty for the catch-all element, which flbc never makes.
    pub key: Bytes,
    /// The last of a range of keys; where a set has ranges, every element has one.
    pub key_end: Option<Box<Bytes>>,
    /// What a map has for the key.
    pub data: Data,
    /// The comment: which server or service the element stands for.
    pub comment: Option<Arc<str>>,
}

/// What an element counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counter {
    /// Look-ups: packets, or new connections in a nat chain.
    pub packets: u64,
    /// The bytes of these packets.
    pub bytes: u64,
}

impl std::ops::AddAssign for Counter {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Data {
    /// None: an element of a set.
    None,
    /// Bytes.
    Value(Bytes),
    /// A verdict, and the chain that it goes to.
    Verdict(i32, Option<Arc<str>>),
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The chain's name, unique in the table.
    pub name: Arc<str>,
    /// Where packets enter the chain; `None`: rules lead to it.
    pub hook: Option<Hook>,
    /// The chain's rules, in order.
    pub rules: Vec<Rule>,
}

/// Where packets enter a base chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hook {
    /// `nat` or `filter`
    pub kind: Arc<str>,
    /// The kernel's number of the hook.
    pub number: u32,
    /// The priority.
    pub priority: i32,
    /// The verdict for what reaches the end: 0 is drop, 1 is accept.
    pub policy: u32,
    /// The interfaces, for a netdev chain.
    pub devices: Vec<Arc<str>>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What the rule does.
    pub body: RuleBody,
    /// The place in the source that asked for the rule; `None`: every file has it.
    pub origin: Option<Span>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleBody {
    /// The rule's expressions, as a netlink list.
    pub expressions: Vec<u8>,
    /// The members of the rule's anonymous set, one byte each, if the rule has one.
    pub protocols: Option<Vec<u8>>,
}

/// The interfaces of a network namespace: name to index.
pub type Interfaces = BTreeMap<Arc<str>, u32>;

/// The rules name an interface that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingInterface {
    /// The interface's name.
    pub name: Arc<str>,
    /// The place in the source that named the interface.
    pub origin: Option<Span>,
}

/// nft's numbers for types.
pub(crate) mod kind {
    pub(crate) const INTEGER: u32 = 4;
    pub(crate) const IPV4: u32 = 7;
    pub(crate) const IPV6: u32 = 8;
    pub(crate) const MAC: u32 = 9;
    pub(crate) const PROTOCOL: u32 = 12;
    pub(crate) const SERVICE: u32 = 13;
    pub(crate) const MARK: u32 = 19;
    pub(crate) const INTERFACE: u32 = 20;
    pub(crate) const CT_DIRECTION: u32 = 27;
    pub(crate) const VERDICT: u32 = 0xffff_ff00;
    /// What is larger is a concatenation, or the verdict.
    pub(crate) const LARGEST_SINGLE: u32 = 63;
    /// How many bits a type takes in the number of a concatenation.
    const BITS: u32 = 6;

    /// The number of a concatenation.
    pub(crate) fn concatenation(fields: &[u32]) -> u32 {
        fields.iter().fold(0, |sum, field| sum << BITS | field)
    }

    /// The fields of a concatenation.
    pub(crate) fn fields(mut of: u32) -> Vec<u32> {
        let mut fields = Vec::new();
        while of > 0 {
            fields.insert(0, of & LARGEST_SINGLE);
            of >>= BITS;
        }
        fields
    }
}
