//! Model and slots to rules.
//!
//! `nat` and `dr` each make one table; what they share (dispatch by VIP, blocks of slots, refusal) stands in
//! rooms of its own.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::{DirectReturn, HookedIn, Mode, Model, Ports, Protocol, Vip};
use crate::ruleset::{Ruleset, Table};
use crate::schedule::{Block, Plan, ServicePlan};

mod access;
mod block;
mod dispatch;
mod dr;
mod empty;
mod guard;
mod identity;
pub mod layout;
mod lot;
mod nat;
pub mod number;
mod persist;
mod quoted;
pub mod region;
pub mod remembered;
mod scope;
mod service;
mod set;
pub mod slots;
mod strays;
mod track;
mod traffic;
mod way;

pub use identity::{Comment, Who, abbreviated, identity, identity_in, identity_of, pools_of};
use layout::Layout;
use number::Numbering;
pub use scope::{Part, Scope};
pub use set::room;

/// Everything that lowering reads.
struct Input<'a> {
    model: &'a Model,
    plan: &'a Plan<'a>,
    numbers: &'a Numbering,
    scope: &'a Scope,
}

impl<'a> Input<'a> {
    /// Which bits of marks numbers are in.
    const fn layout(&self) -> Layout {
        self.numbers.layout
    }

    /// The blocks that are made.
    fn made(&self) -> impl Iterator<Item = &'a Block<'a>> {
        let blocks = self.plan.blocks.iter().enumerate();
        let made = blocks.filter(|(at, _)| self.scope.has_block(*at));
        made.map(|(_, block)| block)
    }

    /// How many real servers are made, in nat and dr together.
    fn servers(&self) -> usize {
        self.made().map(|block| block.servers.len()).sum()
    }

    /// How many slots are made, in nat and dr together.
    fn slots(&self) -> usize {
        self.made().map(|block| block.choice.slots() as usize).sum()
    }

    /// The VIPs of nat that lie inside those of direct return for which `wanted` holds, and beat them: direct return, which
    /// sees packets first, must leave theirs alone.
    fn beaten_by_nat(&self, wanted: impl Fn(&DirectReturn) -> bool) -> Vec<Vip> {
        let mut wide: FxHashMap<(IpAddr, Protocol), Vec<Ports>> = FxHashMap::default();
        for plan in &self.plan.services {
            if !plan.service.mode.direct().is_some_and(&wanted) {
                continue;
            }
            for vip in &plan.service.vips {
                if !matches!(vip.ports, Ports::One(_)) {
                    let known = wide.entry((vip.address, vip.protocol)).or_default();
                    known.push(vip.ports);
                }
            }
        }
        if wide.is_empty() {
            return Vec::new();
        }
        let of_nat = self.services(|mode| mode.hooked_in() == HookedIn::Inet);
        of_nat
            .flat_map(|plan| &plan.service.vips)
            .filter(|vip| {
                let beaten = wide.get(&(vip.address, vip.protocol));
                let mut beaten = beaten.into_iter().flatten();
                beaten.any(|ports| ports.lose_to(vip.ports))
            })
            .copied()
            .collect()
    }

    fn services(
        &self,
        wanted: impl Fn(&Mode) -> bool + 'a,
    ) -> impl Iterator<Item = &'a ServicePlan<'a>> {
        let services = self.plan.services.iter();
        services.filter(move |plan| wanted(&plan.service.mode))
    }
}

/// Makes the rules for a plan of a model, in tables called `table`.
pub fn lower(model: &Model, plan: &Plan<'_>, numbers: &Numbering, table: &str) -> Ruleset {
    lower_part(model, plan, numbers, table, &Scope::Whole)
}

/// Makes the rules for a plan of a model, in tables called `table`, as far as `scope` goes.
pub fn lower_part(
    model: &Model,
    plan: &Plan<'_>,
    numbers: &Numbering,
    table: &str,
    scope: &Scope,
) -> Ruleset {
    let input = Input {
        model,
        plan,
        numbers,
        scope,
    };
    let told = |mut table: Table| {
        numbers.layout.tell(&mut table);
        table
    };
    Ruleset {
        table: Arc::from(table),
        inet: nat::table(&input).map(told),
        netdev: dr::table(&input).map(told),
    }
}

/// A table with something in it.
fn inhabited(table: Table) -> Option<Table> {
    (!table.chains.is_empty()).then_some(table)
}
