//! What somebody else changed in flbc's own tables.

use std::fmt;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::emit::netlink::{Element, TableFamily};

use super::observed::identity;
use super::{Observed, ObservedTable, bytecode};

/// One thing that is not as flbc left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The table.
    pub family: TableFamily,
    /// What it is.
    pub what: What,
    /// How it differs.
    pub how: How,
    /// What an element is about, in the operator's words, where that is known.
    pub about: Option<String>,
}

/// What drifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
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
pub enum How {
    /// It is there and should not be.
    Extra,
    /// It should be there and is not.
    Missing,
    /// It is there and is another.
    Different,
    /// It is there, and no packet meets it.
    Dormant,
}

/// `extra rule 3 of chain `input` in inet`, `missing element of set `port` in inet: server web1 of www`
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Extra => "extra",
            How::Missing => "missing",
            How::Different => "different",
            How::Dormant => "dormant",
        };
        write!(f, "{how} ")?;
        match &self.what {
            What::Table => write!(f, "table"),
            What::Set(name) => write!(f, "set `{name}`"),
            What::Element(set, _) => write!(f, "element of set `{set}`"),
            What::Chain(name) => write!(f, "chain `{name}`"),
            What::Rule(chain, at) => write!(f, "rule {at} of chain `{chain}`"),
        }?;
        write!(f, " in {}", self.family.name())?;
        match (&self.about, &self.what) {
            (Some(about), _) => write!(f, ": {about}"),
            (None, What::Element(_, element)) => {
                write!(f, ": key ")?;
                let mut bytes = element.key.as_slice().iter();
                bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            (None, What::Table | What::Set(_) | What::Chain(_) | What::Rule(..)) => Ok(()),
        }
    }
}

/// What differs in the kernel from what flbc left there.
pub fn drift(left: &Observed, found: &Observed) -> Vec<Drift> {
    let mut all = Vec::new();
    for family in TableFamily::BOTH {
        let mut tell = |what, how| {
            all.push(Drift {
                family,
                what,
                how,
                about: None,
            });
        };
        match (left.table(family), found.table(family)) {
            (None, None) => {}
            (Some(_), None) => tell(What::Table, How::Missing),
            (None, Some(_)) => tell(What::Table, How::Extra),
            (Some(left), Some(found)) => {
                if found.dormant {
                    tell(What::Table, How::Dormant);
                }
                sets(left, found, &mut tell);
                chains(left, found, &mut tell);
            }
        }
    }
    all
}

fn sets(left: &ObservedTable, found: &ObservedTable, tell: &mut impl FnMut(What, How)) {
    for set in &left.sets {
        match found.set(&set.name) {
            None => tell(What::Set(set.name.clone()), How::Missing),
            Some(now) if now.shape != set.shape => {
                tell(What::Set(set.name.clone()), How::Different);
            }
            Some(now) => elements(&set.name, &set.elements, &now.elements, tell),
        }
    }
    for set in &found.sets {
        if left.set(&set.name).is_none() {
            tell(What::Set(set.name.clone()), How::Extra);
        }
    }
}

fn elements(set: &Arc<str>, left: &[Element], found: &[Element], tell: &mut impl FnMut(What, How)) {
    let mut tell = |element: &Element, how| {
        tell(What::Element(set.clone(), Box::new(element.clone())), how);
    };
    // Mostly both are the same, and often in the same order.
    let front = left.iter().zip(found).take_while(|(a, b)| a == b).count();
    let left = left.get(front..).unwrap_or_default();
    let found = found.get(front..).unwrap_or_default();
    let mut rest: FxHashMap<_, &Element> = found.iter().map(|e| (identity(e), e)).collect();
    for element in left {
        match rest.remove(&identity(element)) {
            None => tell(element, How::Missing),
            Some(now) if now != element => tell(now, How::Different),
            Some(_) => {}
        }
    }
    for element in found {
        if rest.contains_key(&identity(element)) {
            tell(element, How::Extra);
        }
    }
}

fn chains(left: &ObservedTable, found: &ObservedTable, tell: &mut impl FnMut(What, How)) {
    let known: FxHashMap<&str, _> = found.chains.iter().map(|c| (&*c.name, c)).collect();
    let ours: FxHashSet<&str> = left.chains.iter().map(|c| &*c.name).collect();
    let shape = |set: &str| found.set(set).map(|set| &set.shape);
    for chain in &left.chains {
        let Some(now) = known.get(&*chain.name) else {
            tell(What::Chain(chain.name.clone()), How::Missing);
            continue;
        };
        if now.hook != chain.hook {
            tell(What::Chain(chain.name.clone()), How::Different);
        }
        let mut tell = |at: usize, how| tell(What::Rule(chain.name.clone(), at + 1), how);
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
                (true, true) => How::Different,
                (true, false) => How::Missing,
                _ => How::Extra,
            };
            tell(front + at, how);
        }
    }
    for chain in &found.chains {
        if !ours.contains(&*chain.name) {
            tell(What::Chain(chain.name.clone()), How::Extra);
        }
    }
}
