//! The rules, in memory: tables, sets, chains, elements and rules, as nf_tables knows them.
//!
//! `lower` builds a [`Ruleset`], `emit` writes it as text, JSON or netlink. The types allow what flbc
//! makes and no more, so that an emitter that handles every variant handles every ruleset. Names are
//! made by [`name`], never by an operator's text alone: nothing here needs quoting.

use std::sync::Arc;

use crate::model::Interface;

pub mod name;
mod rule;
mod set;

pub use rule::{
    Condition, Expression, Header, MarkOf, Mask, Rule, Statement, Target, Word, icmp_errors,
};
pub(crate) use rule::{chance, icmp_word};
pub use set::{Data, DataType, Element, Field, Key, KeyType, MAX_COMMENT, Set};

/// Both tables of one compilation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// The name of both tables.
    pub table: Arc<str>,
    /// `inet NAME`, what NAT services need. Without it that table goes away.
    pub inet: Option<Table>,
    /// `netdev NAME`, what direct-return services need. Without it that table goes away.
    pub netdev: Option<Table>,
}

/// The contents of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Sets and maps.
    pub sets: Vec<Set>,
    /// Chains; one that is jumped to stands before the rule that does.
    pub chains: Vec<Chain>,
}

/// The name of a set or chain, shared by all that point to it.
pub type Name = Arc<str>;

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The chain's name, unique in the table.
    pub name: Name,
    /// Where packets enter the chain; `None`: rules of other chains lead to it.
    pub hook: Option<Hook>,
    /// What the chain is for, told to the reader of the text form. Empty for a service's own chain.
    pub purpose: &'static str,
    /// The chain's rules, in order.
    pub rules: Vec<Rule>,
}

/// Where packets enter a base chain. The policy is always `accept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// `type nat hook prerouting priority -150`
    ///
    /// All nat chains of a hook run at one place, -100 in prerouting; their priorities order them among themselves. Whoever translates first
    /// has the connection: others use `dstnat`, -100, and of equal ones the newest comes first.
    NatPrerouting,
    /// `type nat hook output priority -150`
    NatOutput,
    /// `type nat hook postrouting priority 50`: before those of others, at `srcnat`, 100
    NatPostrouting,
    /// `type filter hook prerouting priority -95`: after the translation of a connection's first packet
    FilterPrerouting,
    /// `type filter hook output priority -95`: the same for the balancer's own connections
    FilterOutput,
    /// `type filter hook input priority filter`
    FilterInput,
    /// `type filter hook prerouting priority raw`: before connection tracking
    RawPrerouting,
    /// `type filter hook ingress device DEVICE priority filter`
    Ingress(Interface),
}
