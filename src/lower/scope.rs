//! How much of a plan becomes elements and chains.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashSet;

/// What is made. Everything else is only counted, so that the size of every set, and all that depends on what there
/// is, comes out as if everything were made.
///
/// Two plans, each lowered in a scope that leaves out nothing but what is the same in both, differ in exactly what
/// they differ in as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Whole,
    /// What is in this part of the plan.
    Part(Part),
}

/// A part of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// For each block of the plan, whether its servers and slots are made.
    pub blocks: Vec<bool>,
    /// The services whose chains, and ways there, are made.
    pub services: FxHashSet<Arc<str>>,
    /// The addresses that are made elements of sets of addresses.
    pub addresses: FxHashSet<IpAddr>,
}

impl Scope {
    /// Whether the block at this place is made.
    pub(super) fn has_block(&self, at: usize) -> bool {
        match self {
            Self::Whole => true,
            Self::Part(part) => part.blocks.get(at).copied().unwrap_or(true),
        }
    }

    /// Whether a service is made.
    pub(super) fn has_service(&self, name: &Arc<str>) -> bool {
        match self {
            Self::Whole => true,
            Self::Part(part) => part.services.contains(name),
        }
    }

    /// Whether an address is made.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Whole => true,
            Self::Part(part) => part.addresses.contains(&address),
        }
    }
}
