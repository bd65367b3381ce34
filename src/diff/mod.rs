//! From what the kernel has to what it should have: the fewest changes, in an order that the kernel takes. Pure.
//!
//! What did not change is not touched: its counters go on, and a rule that takes turns goes on with its turn.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::emit::netlink::attribute::Attributes;
use crate::emit::netlink::change::{Change, Step};
use crate::emit::netlink::constant::{dynset, expr, lookup};
use crate::emit::netlink::{
    Chain, Data, Desired, Element, Rule, RuleBody, Set, Table, TableFamily,
};
use crate::ruleset::name;
use crate::source::Span;

mod afresh;
mod bytecode;
mod carry;
mod drift;
mod elements;
mod made;
mod observed;
mod registers;
mod restore;

pub use carry::{Renumbered, carry};
pub use drift::{Drift, DriftKind, Drifted, drift};
pub use made::Identities;

pub use crate::emit::netlink::Counter;
pub use observed::{
    Misfit, MisfitKind, Observed, ObservedChain, ObservedRule, ObservedSet, ObservedTable,
};

/// The changes that make `observed` into `desired`. `id` is the random text for tables that are made anew.
///
/// An empty list: nothing is to be done.
pub fn diff(observed: &Observed, mut desired: Desired, id: &Arc<str>) -> Vec<Change> {
    let mut changes = Vec::new();
    for family in TableFamily::BOTH {
        let steps = match (observed.table(family), desired.take_table(family)) {
            (None, None) => Vec::new(),
            (Some(_), None) => vec![Step::DeleteTable],
            (None, Some(wanted)) => anew(wanted, id),
            (Some(has), Some(wanted)) if has.dormant => awake(has, wanted, id),
            (Some(has), Some(wanted)) => TableSteps::new(has, wanted).steps(),
        };
        changes.extend(steps.into_iter().map(|step| Change { family, step }));
    }
    changes
}

/// Makes a table.
fn anew(wanted: Table, id: &Arc<str>) -> Vec<Step> {
    let mut steps = vec![Step::AddTable { id: id.clone() }];
    steps.extend(TableSteps::new(&ObservedTable::default(), wanted).steps());
    steps
}

/// Wakes a dormant table first: the kernel then unhooks what goes later. Newer kernels take no chain with a hook after that in
/// the same transaction, so that the table is made anew where there is one.
fn awake(has: &ObservedTable, wanted: Table, id: &Arc<str>) -> Vec<Step> {
    let mut steps = vec![Step::WakeTable];
    steps.extend(TableSteps::new(has, wanted.clone()).steps());
    let hooks = |step: &Step| matches!(step, Step::AddChain { hook: Some(_), .. });
    if steps.iter().any(hooks) {
        steps = vec![Step::DeleteTable];
        steps.extend(anew(wanted, id));
    }
    steps
}

/// The steps for one table, by when they can be taken.
///
/// ```text
/// rules go, elements go, sets go, chains go; sets come, chains come, rules come, elements come
/// ```
///
/// What is pointed to comes before what points to it, and goes after. Rules come before elements: the kernel checks
/// all elements of a map for each rule that is added to it.
#[derive(Default)]
struct TableSteps {
    delete_rules: Vec<Step>,
    delete_elements: Vec<Step>,
    delete_sets: Vec<Step>,
    delete_chains: Vec<Step>,
    add_sets: Vec<Step>,
    add_chains: Vec<Step>,
    add_rules: Vec<Step>,
    add_elements: Vec<Step>,
}

impl TableSteps {
    fn new(has: &ObservedTable, wanted: Table) -> Self {
        let mut plan = Self::default();
        let remade = plan.sets(has, wanted.sets);
        plan.chains(has, &wanted.chains, &remade);
        plan
    }

    fn steps(self) -> Vec<Step> {
        [
            self.delete_rules,
            self.delete_elements,
            self.delete_sets,
            self.delete_chains,
            self.add_sets,
            self.add_chains,
            self.add_rules,
            self.add_elements,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Plans the sets; returns the names of those that go or are made anew, so that no rule may keep them.
    fn sets<'a>(&mut self, has: &'a ObservedTable, wanted: Vec<Set>) -> FxHashSet<&'a str> {
        let names: FxHashSet<&str> = wanted.iter().map(|set| &*set.name).collect();
        let mut remade = FxHashSet::default();
        let stale = afresh::stale(has, &wanted);
        for set in &has.sets {
            if !names.contains(&*set.name) {
                self.delete_set(&set.name);
                remade.insert(&*set.name);
            }
        }
        for set in wanted {
            match has.set(&set.name) {
                // What packets put there is theirs.
                Some(old) if old.shape == set.shape && set.shape.is_dynamic() => continue,
                Some(old) if old.shape == set.shape => {
                    let name = set.name.clone();
                    let difference = elements::difference(&old.elements, set);
                    self.delete_elements(&name, difference.gone);
                    self.add_elements(&name, difference.new, difference.origins);
                    continue;
                }
                Some(old) => {
                    self.delete_set(&set.name);
                    remade.insert(&*old.name);
                }
                None => {}
            }
            let Set {
                name,
                shape,
                origin,
                elements,
                origins,
            } = set;
            self.add_sets.push(Step::AddSet {
                set: name.clone(),
                shape,
                origin: origin.or_else(|| origins.first().copied()),
            });
            self.add_elements(&name, elements, origins);
        }
        if !stale.is_empty() {
            self.add_elements.push(Step::ClearElements {
                set: name::TRAFFIC.into(),
                elements: stale,
            });
        }
        remade
    }

    fn delete_set(&mut self, name: &Arc<str>) {
        self.delete_sets.push(Step::DeleteSet { set: name.clone() });
    }

    fn delete_elements(&mut self, set: &Arc<str>, elements: Vec<Element>) {
        if !elements.is_empty() {
            self.delete_elements.push(Step::DeleteElements {
                set: set.clone(),
                elements,
            });
        }
    }

    fn add_elements(&mut self, set: &Arc<str>, elements: Vec<Element>, origins: Vec<Span>) {
        if !elements.is_empty() {
            self.add_elements.push(Step::AddElements {
                set: set.clone(),
                elements,
                origins,
                counters: Vec::new(),
            });
        }
    }

    fn chains(&mut self, has: &ObservedTable, wanted: &[Chain], remade: &FxHashSet<&str>) {
        let known: FxHashMap<&str, &ObservedChain> = has
            .chains
            .iter()
            .map(|chain| (&*chain.name, chain))
            .collect();
        let names: FxHashSet<&str> = wanted.iter().map(|chain| &*chain.name).collect();
        for chain in &has.chains {
            if !names.contains(&*chain.name) {
                self.delete_chain(chain);
            }
        }
        for chain in wanted {
            let old = known.get(&*chain.name).copied();
            match old {
                Some(old) if old.hook == chain.hook => self.rules(has, old, chain, remade),
                _ => {
                    if let Some(old) = old {
                        self.delete_chain(old);
                    }
                    self.add_chains.push(Step::AddChain {
                        chain: chain.name.clone(),
                        hook: chain.hook.clone(),
                        origin: chain.rules.iter().find_map(|rule| rule.origin),
                    });
                    self.add_rules(&chain.name, None, &chain.rules);
                }
            }
        }
    }

    fn delete_chain(&mut self, chain: &ObservedChain) {
        if !chain.rules.is_empty() {
            self.delete_rules.push(Step::FlushChain {
                chain: chain.name.clone(),
            });
        }
        self.delete_chains.push(Step::DeleteChain {
            chain: chain.name.clone(),
        });
    }

    fn add_rules(&mut self, chain: &Arc<str>, before: Option<u64>, rules: &[Rule]) {
        self.add_rules
            .extend(rules.iter().map(|rule| Step::AddRule {
                chain: chain.clone(),
                before,
                body: rule.body.clone(),
                origin: rule.origin,
            }));
    }

    /// Keeps the rules at both ends that are right, and replaces those between.
    fn rules(
        &mut self,
        has: &ObservedTable,
        old: &ObservedChain,
        new: &Chain,
        remade: &FxHashSet<&str>,
    ) {
        let shape = |set: &str| has.set(set).map(|set| &set.shape);
        let kept = |(old, new): &(&ObservedRule, &Rule)| {
            bytecode::same(&old.body, &new.body, &shape)
                && (remade.is_empty() || !uses(&new.body, remade))
        };
        let front = old.rules.iter().zip(&new.rules).take_while(kept).count();
        let old_rest = old.rules.get(front..).unwrap_or_default();
        let new_rest = new.rules.get(front..).unwrap_or_default();
        let back = old_rest.iter().rev().zip(new_rest.iter().rev());
        let back = back.take_while(kept).count();
        let old_middle = old_rest.get(..old_rest.len() - back).unwrap_or_default();
        let new_middle = new_rest.get(..new_rest.len() - back).unwrap_or_default();
        let next = old_rest.get(old_middle.len());
        // A rule whose number is not known cannot be pointed to.
        let unknown = old_middle.iter().chain(next).any(|rule| rule.handle == 0);
        let changes = !old_middle.is_empty() || !new_middle.is_empty();
        let all = !old_middle.is_empty() && old_middle.len() == old.rules.len();
        if all || changes && unknown {
            self.delete_rules.push(Step::FlushChain {
                chain: old.name.clone(),
            });
            self.add_rules(&new.name, None, &new.rules);
        } else {
            let delete = |rule: &ObservedRule| Step::DeleteRule {
                chain: old.name.clone(),
                handle: rule.handle,
            };
            self.delete_rules.extend(old_middle.iter().map(delete));
            self.add_rules(&new.name, next.map(|rule| rule.handle), new_middle);
        }
    }
}

/// Whether a rule looks up one of these sets.
fn uses(body: &RuleBody, sets: &FxHashSet<&str>) -> bool {
    lookups(body).any(|set| sets.contains(set))
}

/// The sets that a rule looks up or adds to.
pub(crate) fn lookups(body: &RuleBody) -> impl Iterator<Item = &str> {
    Attributes::new(&body.expressions)
        .into_iter()
        .filter_map(|expression| {
            let inside = expression.inside();
            let attribute = match inside.find(expr::NAME)?.string()? {
                "lookup" => lookup::SET,
                "dynset" => dynset::SET,
                _ => return None,
            };
            inside.find(expr::DATA)?.inside().find(attribute)?.string()
        })
}

/// The chain to which an element of a verdict map leads.
pub(crate) fn destination(element: &Element) -> Option<&Arc<str>> {
    match &element.data {
        Data::Verdict(_, chain) => chain.as_ref(),
        Data::None | Data::Value(_) => None,
    }
}
