//! What the kernel in memory takes.

use std::collections::HashSet;
use std::sync::Arc;

use crate::diff::{MisfitKind, ObservedTable, destination, lookups};
use crate::emit::netlink::RuleBody;
use crate::emit::netlink::attribute::Attributes;
use crate::emit::netlink::change::Step;
use crate::emit::netlink::constant::{data, expr, immediate, verdict};

/// Whether the kernel takes this step, as far as what points to what is concerned.
pub(super) fn permitted(table: Option<&ObservedTable>, step: &Step) -> Result<(), MisfitKind> {
    let Some(table) = table else {
        return Ok(());
    };
    let chains: HashSet<&str> = table.chains.iter().map(|chain| &*chain.name).collect();
    let bodies = || {
        let rules = table.chains.iter().flat_map(|chain| &chain.rules);
        rules.map(|rule| &rule.body)
    };
    let is_there = |there: bool| {
        if there {
            Ok(())
        } else {
            Err(MisfitKind::Missing)
        }
    };
    match step {
        Step::AddRule { body, .. } => {
            let sets = lookups(body).filter(|name| !name.starts_with("__set"));
            let mut sets = sets.map(|name| table.set(name).is_some());
            is_there(sets.all(|there| there) && targets(body).all(|to| chains.contains(to)))
        }
        Step::AddElements { set, elements, .. } => {
            let keys: HashSet<_> = table
                .set(set)
                .into_iter()
                .flat_map(|set| &set.elements)
                .map(|element| (element.key, &element.key_end))
                .collect();
            if elements.iter().any(|e| keys.contains(&(e.key, &e.key_end))) {
                return Err(MisfitKind::Exists);
            }
            let mut to = elements.iter().filter_map(destination);
            is_there(to.all(|to| chains.contains(&**to)))
        }
        Step::DeleteSet { set } => {
            if bodies().any(|body| lookups(body).any(|name| *name == **set)) {
                return Err(MisfitKind::Busy);
            }
            Ok(())
        }
        Step::DeleteChain { chain } => {
            let goes_there = |to: &Arc<str>| to == chain;
            let elements = table.sets.iter().flat_map(|set| &set.elements);
            let pointed = bodies().any(|body| targets(body).any(|to| *to == **chain))
                || elements.filter_map(destination).any(goes_there);
            if pointed {
                Err(MisfitKind::Busy)
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}

/// The chains that a rule goes to.
fn targets(body: &RuleBody) -> impl Iterator<Item = &str> {
    Attributes::new(&body.expressions)
        .into_iter()
        .filter_map(|expression| {
            let value = expression.inside().find(expr::DATA)?.inside();
            let verdict = value.find(immediate::DATA)?.inside().find(data::VERDICT)?;
            verdict.inside().find(verdict::CHAIN)?.string()
        })
}
