//! Model and slots to rules.
//!
//! `nat` and `dr` each make one table; what they share (dispatch by VIP, blocks of slots, refusal) stands in
//! rooms of its own.

use std::sync::Arc;

use crate::model::{Mode, Model};
use crate::ruleset::{Ruleset, Table};
use crate::schedule::{Choice, Plan, ServicePlan};

mod block;
mod dispatch;
mod dr;
mod empty;
mod identity;
mod nat;
pub mod number;

pub use identity::{identity, identity_in};
use number::Numbering;

/// Everything that lowering reads.
struct Input<'a> {
    model: &'a Model,
    plan: &'a Plan<'a>,
    numbers: &'a Numbering,
}

impl<'a> Input<'a> {
    /// How many real servers there are, in nat and dr together.
    fn servers(&self) -> usize {
        let blocks = self.plan.blocks.iter();
        blocks.map(|block| block.servers.len()).sum()
    }

    /// How many slots there are, in nat and dr together.
    fn slots(&self) -> usize {
        let blocks = self.plan.blocks.iter();
        blocks
            .map(|block| match &block.choice {
                Choice::Slots { owners, .. } => owners.len(),
                Choice::Empty | Choice::Only(_) => 0,
            })
            .sum()
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
    let input = Input {
        model,
        plan,
        numbers,
    };
    Ruleset {
        table: Arc::from(table),
        inet: nat::table(&input),
        netdev: dr::table(&input),
    }
}

/// A table with something in it.
fn inhabited(table: Table) -> Option<Table> {
    (!table.chains.is_empty()).then_some(table)
}
