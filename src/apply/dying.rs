//! Servers that take no packet any more, and the connections that they leave behind.

use std::collections::HashSet;
use std::net::IpAddr;

use rustc_hash::FxHashSet;

use crate::diff::Observed;
use crate::kernel::{Connection, Kernel};
use crate::model::{Mode, Model};

use super::{Remembered, View};

/// Servers that will take no packet any more: their numbers, and the VIPs that their connections were made to.
#[derive(Debug, Default)]
pub(super) struct Dying {
    numbers: FxHashSet<u32>,
    vips: HashSet<IpAddr>,
}

impl Dying {
    /// Servers of this model.
    pub(super) fn of(model: &Model, numbers: FxHashSet<u32>) -> Self {
        if numbers.is_empty() {
            return Self::default();
        }
        let services = model.services.iter();
        let nat = services.filter(|service| matches!(service.mode, Mode::Nat(_)));
        let vips = nat.flat_map(|service| service.vips.iter().map(|vip| vip.address));
        Self {
            vips: vips.collect(),
            numbers,
        }
    }

    /// All servers of what was applied.
    pub(super) fn all_of(remembered: &Remembered<'_>) -> Self {
        let blocks = remembered.numbers.blocks.iter();
        let numbers = blocks.flat_map(|block| block.servers.iter().copied());
        Self::of(&remembered.model, numbers.collect())
    }

    /// Servers in these tables.
    pub(super) fn among(observed: &Observed, numbers: impl Iterator<Item = u32>) -> Self {
        let numbers: FxHashSet<u32> = numbers.collect();
        if numbers.is_empty() {
            return Self::default();
        }
        Self {
            vips: View::of(observed).nat_vips().collect(),
            numbers,
        }
    }

    /// Forgets the clients that are remembered for servers that take none any more. `generation` is the kernel's, here
    /// and afterwards. Says how many.
    pub(super) fn forget_clients(
        &self,
        kernel: &mut impl Kernel,
        table: &str,
        generation: &mut u32,
        notes: &mut Vec<String>,
    ) -> usize {
        if self.numbers.is_empty() {
            return 0;
        }
        match kernel.forget_remembered(table, &self.numbers, *generation) {
            Ok((forgotten, now)) => {
                *generation = now;
                forgotten
            }
            Err(error) => {
                notes.push(format!(
                    "clients of servers that are gone may be remembered until they time out: {error}"
                ));
                0
            }
        }
    }

    /// Forgets the connections to servers that take none any more: those with their mark, translated, and made to a
    /// VIP of flbc's. Others use marks too. Says how many.
    pub(super) fn forget(&self, kernel: &mut impl Kernel, notes: &mut Vec<String>) -> usize {
        if self.numbers.is_empty() {
            return 0;
        }
        let doomed = |connection: &Connection| {
            self.numbers.contains(&connection.mark) && self.vips.contains(&connection.vip)
        };
        match kernel.forget(&doomed) {
            Ok(forgotten) => forgotten,
            Err(error) => {
                notes.push(format!(
                    "connections to servers that are gone may live on: {error}"
                ));
                0
            }
        }
    }
}
