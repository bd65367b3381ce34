//! What somebody else changed in flbc's own tables.

use std::fmt;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::emit::netlink::{Element, Hook, TableFamily};

use super::observed::identity;
use super::{Observed, ObservedTable, bytecode};

/// One thing that is not as flbc left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The family of the table.
    pub family: TableFamily,
    /// What drifted.
    pub what: Drifted,
    /// How it differs from what flbc left.
    pub how: DriftKind,
    /// What an element is about, in the operator's words, where that is known.
    pub about: Option<String>,
}

/// What drifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drifted {
    /// The whole table.
    Table,
    /// A set, or its declaration.
    Set(Arc<str>),
    /// An element of a set.
    Element(Arc<str>, Box<Element>),
    /// A chain, or its hook.
    Chain(Arc<str>),
    /// A rule, by its place in the chain, from 1.
    Rule(Arc<str>, usize),
}

/// How something drifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftKind {
    /// Something is there that flbc did not leave.
    Extra,
    /// Something that flbc left is not there.
    Missing,
    /// Something is there by the same name, and is another.
    Different,
    /// A table is there, and no packet meets its rules.
    Dormant,
}

impl Drift {
    /// Whether it is that such a chain is missing.
    pub fn is_missing_chain(&self, such: impl Fn(&Arc<str>) -> bool) -> bool {
        match &self.what {
            Drifted::Chain(name) => self.how == DriftKind::Missing && such(name),
            Drifted::Table | Drifted::Set(_) | Drifted::Element(..) | Drifted::Rule(..) => false,
        }
    }
}

/// `extra rule 3 of chain `input` in inet`, `missing element of set `port` in inet: server web1 of www`
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            DriftKind::Extra => "extra",
            DriftKind::Missing => "missing",
            DriftKind::Different => "different",
            DriftKind::Dormant => "dormant",
        };
        write!(f, "{how} ")?;
        match &self.what {
            Drifted::Table => write!(f, "table"),
            Drifted::Set(name) => write!(f, "set `{name}`"),
            Drifted::Element(set, _) => write!(f, "element of set `{set}`"),
            Drifted::Chain(name) => write!(f, "chain `{name}`"),
            Drifted::Rule(chain, at) => write!(f, "rule {at} of chain `{chain}`"),
        }?;
        write!(f, " in {}", self.family.name())?;
        match (&self.about, &self.what) {
            (Some(about), _) => write!(f, ": {about}"),
            (None, Drifted::Element(_, element)) => {
                write!(f, ": key ")?;
                let mut bytes = element.key.as_slice().iter();
                bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            (None, Drifted::Table | Drifted::Set(_) | Drifted::Chain(_) | Drifted::Rule(..)) => {
                Ok(())
            }
        }
    }
}

/// What differs in the kernel from what flbc left there.
pub fn drift(left: &Observed, found: &Observed) -> Vec<Drift> {
    let mut all = Vec::new();
    for family in TableFamily::BOTH {
        let mut tell = |what, how| {
            let about = match (&what, how, left.table(family), found.table(family)) {
                (Drifted::Chain(name), DriftKind::Different, Some(left), Some(found)) => {
                    hooks(left, found, name)
                }
                _ => None,
            };
            all.push(Drift {
                family,
                what,
                how,
                about,
            });
        };
        match (left.table(family), found.table(family)) {
            (None, None) => {}
            (Some(_), None) => tell(Drifted::Table, DriftKind::Missing),
            (None, Some(_)) => tell(Drifted::Table, DriftKind::Extra),
            (Some(left), Some(found)) => {
                if found.dormant {
                    tell(Drifted::Table, DriftKind::Dormant);
                }
                sets(left, found, &mut tell);
                chains(left, found, &mut tell);
            }
        }
    }
    all
}

/// How the hook of a chain differs: `priority -90, was -150`.
fn hooks(left: &ObservedTable, found: &ObservedTable, name: &str) -> Option<String> {
    let of = |table: &ObservedTable| {
        let mut chains = table.chains.iter();
        chains.find(|chain| *chain.name == *name)?.hook.clone()
    };
    let (then, now) = match (of(left), of(found)) {
        (Some(then), Some(now)) => (then, now),
        (Some(_), None) => return Some("no packet enters it any more".to_owned()),
        (None, Some(_)) => return Some("packets enter it, and did not".to_owned()),
        (None, None) => return None,
    };
    let policy = |policy: u32| if policy == 0 { "drop" } else { "accept" };
    let devices = |hook: &Hook| match &*hook.devices {
        [] => "none".to_owned(),
        devices => devices.join(" "),
    };
    let fields = [
        ("type", now.kind.to_string(), then.kind.to_string()),
        ("hook", now.number.to_string(), then.number.to_string()),
        (
            "priority",
            now.priority.to_string(),
            then.priority.to_string(),
        ),
        (
            "policy",
            policy(now.policy).to_owned(),
            policy(then.policy).to_owned(),
        ),
        ("devices", devices(&now), devices(&then)),
    ];
    let differing = fields.into_iter().filter(|(_, now, then)| now != then);
    let differing: Vec<String> = differing
        .map(|(what, now, then)| format!("{what} {now}, was {then}"))
        .collect();
    (!differing.is_empty()).then(|| differing.join("; "))
}

fn sets(left: &ObservedTable, found: &ObservedTable, tell: &mut impl FnMut(Drifted, DriftKind)) {
    for set in &left.sets {
        match found.set(&set.name) {
            None => tell(Drifted::Set(set.name.clone()), DriftKind::Missing),
            Some(now) if now.shape != set.shape => {
                tell(Drifted::Set(set.name.clone()), DriftKind::Different);
            }
            Some(now) => elements(&set.name, &set.elements, &now.elements, tell),
        }
    }
    for set in &found.sets {
        if left.set(&set.name).is_none() {
            tell(Drifted::Set(set.name.clone()), DriftKind::Extra);
        }
    }
}

fn elements(
    set: &Arc<str>,
    left: &[Element],
    found: &[Element],
    tell: &mut impl FnMut(Drifted, DriftKind),
) {
    let mut tell = |element: &Element, how| {
        tell(
            Drifted::Element(set.clone(), Box::new(element.clone())),
            how,
        );
    };
    // Mostly both are the same, and often in the same order.
    let front = left.iter().zip(found).take_while(|(a, b)| a == b).count();
    let left = left.get(front..).unwrap_or_default();
    let found = found.get(front..).unwrap_or_default();
    let mut rest: FxHashMap<_, &Element> = found.iter().map(|e| (identity(e), e)).collect();
    for element in left {
        match rest.remove(&identity(element)) {
            None => tell(element, DriftKind::Missing),
            Some(now) if now != element => tell(now, DriftKind::Different),
            Some(_) => {}
        }
    }
    for element in found {
        if rest.contains_key(&identity(element)) {
            tell(element, DriftKind::Extra);
        }
    }
}

fn chains(left: &ObservedTable, found: &ObservedTable, tell: &mut impl FnMut(Drifted, DriftKind)) {
    let known: FxHashMap<&str, _> = found.chains.iter().map(|c| (&*c.name, c)).collect();
    let ours: FxHashSet<&str> = left.chains.iter().map(|c| &*c.name).collect();
    let shape = |set: &str| found.set(set).map(|set| &set.shape);
    for chain in &left.chains {
        let Some(now) = known.get(&*chain.name) else {
            tell(Drifted::Chain(chain.name.clone()), DriftKind::Missing);
            continue;
        };
        if now.hook != chain.hook {
            tell(Drifted::Chain(chain.name.clone()), DriftKind::Different);
        }
        let mut tell = |at: usize, how| tell(Drifted::Rule(chain.name.clone(), at + 1), how);
        let same = |(a, b): &(&super::ObservedRule, &super::ObservedRule)| {
            bytecode::same(&b.body, &a.body, &shape) || bytecode::same(&a.body, &b.body, &shape)
        };
        let front = chain.rules.iter().zip(&now.rules).take_while(same).count();
        let (left, found) = (chain.rules.iter().skip(front), now.rules.iter().skip(front));
        let back = left.clone().rev().zip(found.clone().rev());
        let back = back.take_while(same).count();
        let (left, found) = (left.len() - back, found.len() - back);
        for at in 0..left.max(found) {
            let how = match (at < left, at < found) {
                (true, true) => DriftKind::Different,
                (true, false) => DriftKind::Missing,
                _ => DriftKind::Extra,
            };
            tell(front + at, how);
        }
    }
    for chain in &found.chains {
        if !ours.contains(&*chain.name) {
            tell(Drifted::Chain(chain.name.clone()), DriftKind::Extra);
        }
    }
}
