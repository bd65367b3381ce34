//! The chain of one service: who may come, who is known, who is drawn.

use crate::model::{Access, Family, Service};
use crate::ruleset::{Chain, Expression, Rule, Statement, name};
use crate::schedule::{Block, Choice, ServicePlan};

use super::access::Gates;
use super::block::{Onward, draw_slot};
use super::number::BlockNumbers;
use super::{Input, empty, persist, track};

/// The chains of one service, one a family. The last rules choose, and that before them asks whether the client is
/// remembered, if the service does so:
///
/// ```text
/// ct mark set 0x80000000 jump return4_32
/// ct mark set numgen inc mod 7 offset 0x01000000
/// goto slotted
/// ```
///
/// or `ct mark set 0x00000001` and `goto translate`, or `goto refuse` alone. What goes somewhere is a rule of its own:
/// the kernel walks all chains after each transaction that touches such a rule, and the draw changes more often.
pub(super) fn chains(
    input: &Input<'_>,
    plan: &ServicePlan<'_>,
    onward: Onward,
    gates: &Gates,
) -> Vec<Chain> {
    let service = plan.service;
    if !input.scope.has_service(&service.name) {
        return Vec::new();
    }
    // All that a service says, so that nothing new is forgotten: what is not used here says who does it.
    let Service {
        name: _,
        span,
        // The maps of `dispatch` lead to these chains.
        vips: _,
        // Each mode has a table of its own, which says where the chains go on.
        mode: _,
        // `schedule` made the block's choice of it, ...
        scheduler: _,
        // ... and of the servers.
        members: _,
        // Its servers have a region of their own for it: `persist::returning`.
        persistence: _,
        // `track::asking` and `track::choosing`
        track: _,
        on_empty,
        // The gates are made of it.
        access: Access { allow: _, deny: _ },
    } = service;
    let chain = |(family, place): &(Family, Option<usize>)| {
        let block = place.and_then(|at| {
            let block = input.plan.blocks.get(at)?;
            Some((block, input.numbers.blocks.get(at)?))
        });
        let each = |statements: Vec<Statement>| -> Vec<Rule> {
            let rules = statements.into_iter();
            rules
                .map(|statement| Rule::of(*span, [statement]))
                .collect()
        };
        let choosing = block.and_then(|(block, numbers)| {
            let tracked = track::choosing(service, block, numbers, onward);
            tracked.or_else(|| choose(block, numbers, onward).map(each))
        });
        let mut rules = gates.rules(service, *family);
        rules.extend(block.and_then(|_| track::asking(service, *family)));
        let empty = || each(vec![empty::statement(*on_empty)]);
        let returning = block
            .and_then(|(block, numbers)| persist::returning(block, numbers.region, onward.mark));
        rules.extend(returning.map(|returning| Rule::of(*span, returning)));
        rules.extend(choosing.unwrap_or_else(empty));
        Chain {
            name: name::service_chain(&service.name, *family),
            hook: None,
            purpose: "",
            rules,
        }
    };
    plan.families.iter().map(chain).collect()
}

/// The rules that choose a server, of one statement each; `None` where no server takes clients.
fn choose(block: &Block<'_>, numbers: &BlockNumbers, onward: Onward) -> Option<Vec<Statement>> {
    let [slotted, chosen] = match numbers.region {
        Some(_) => onward.kept,
        None => [(onward.slotted)(block), onward.chosen],
    };
    let (value, next) = match &block.choice {
        Choice::Empty => return None,
        Choice::Only(at) => (Expression::Mark(*numbers.servers.get(*at)?), chosen),
        Choice::Slots { draw, owners } => {
            let slots = u32::try_from(owners.len()).unwrap_or(u32::MAX);
            let value = draw_slot(*draw, block.family, slots, numbers.first_slot);
            (value, slotted)
        }
    };
    Some(vec![
        Statement::Set {
            target: onward.mark.target(),
            value,
        },
        Statement::Goto(next.into()),
    ])
}
