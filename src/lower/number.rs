//! Numbers for slots and servers: what a mark says.
//!
//! A mark is a slot first, then a server. The two ranges never meet, so that a missing slot can never be
//! taken for a server.

use std::ops::RangeInclusive;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::schedule::{Choice, Plan};

/// The numbers that servers may have. 0 is "no mark".
pub const SERVERS: RangeInclusive<u32> = 1..=0x00ff_ffff;

/// The numbers that slots may have.
pub const SLOTS: RangeInclusive<u32> = 0x0100_0000..=u32::MAX;

/// The numbers of every block of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbering {
    /// Block by block.
    pub blocks: Vec<BlockNumbers>,
}

/// The numbers of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockNumbers {
    /// The number of each server, in the block's order.
    pub servers: Vec<u32>,
    /// The number of the first slot; the others follow. Unused in a block without slots.
    pub first_slot: u32,
}

/// Numbers for an empty kernel: blocks in the plan's order, servers by name within their block. Depends on
/// names alone, so that a file written in another order gets the same.
///
/// Reports [`Code::TooMany`] at the first service whose numbers do not fit.
pub fn fresh(plan: &Plan<'_>, sink: &mut Diagnostics) -> Numbering {
    let mut next_server = u64::from(*SERVERS.start());
    let mut next_slot = u64::from(*SLOTS.start());
    let mut too_many = false;
    let mut blocks = Vec::with_capacity(plan.blocks.len());
    for block in &plan.blocks {
        let mut by_name: Vec<usize> = (0..block.servers.len()).collect();
        by_name.sort_by_key(|at| block.servers.get(*at).map(|server| &server.name));
        let mut servers = vec![0; block.servers.len()];
        for (number, at) in (next_server..).zip(by_name) {
            if let Some(server) = servers.get_mut(at) {
                *server = u32::try_from(number).unwrap_or(u32::MAX);
            }
        }
        next_server += block.servers.len() as u64;
        let first_slot = u32::try_from(next_slot).unwrap_or(u32::MAX);
        if let Choice::Slots { owners, .. } = &block.choice {
            next_slot += owners.len() as u64;
        }
        let fits = next_server <= u64::from(*SERVERS.end()) + 1
            && next_slot <= u64::from(*SLOTS.end()) + 1;
        if !fits && !too_many {
            too_many = true;
            sink.report(
                Diagnostic::new(
                    Code::TooMany,
                    block.service.span,
                    format!(
                        "up to service `{}` the file needs more real servers or slots than marks can number",
                        block.service.name
                    ),
                )
                .help("share servers through pools with the same scheduler and mode, or use smaller Maglev tables"),
            );
        }
        blocks.push(BlockNumbers {
            servers,
            first_slot,
        });
    }
    Numbering { blocks }
}
