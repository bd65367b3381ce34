//! Both tables as flbc left them: all of it follows from what they were made from, but for the numbers that the kernel
//! gave.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::emit::netlink::{Desired, Rule, Set, Table, TableFamily};

use super::{Observed, ObservedChain, ObservedRule, ObservedSet, ObservedTable};

/// What the kernel gave to both tables.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Given {
    inet: Option<GivenTable>,
    netdev: Option<GivenTable>,
}

/// What the kernel gave to one table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct GivenTable {
    /// [`ObservedTable::id`]
    id: Option<Arc<str>>,
    /// The numbers of the rules of each chain that has more than one.
    handles: BTreeMap<Arc<str>, Vec<u64>>,
}

impl Given {
    /// What the kernel gave to these tables.
    pub fn of(observed: &Observed) -> Self {
        let given = |table: &ObservedTable| GivenTable {
            id: table.id.clone(),
            handles: table
                .chains
                .iter()
                .filter(|chain| chain.rules.len() > 1)
                .map(|chain| {
                    let handles = chain.rules.iter().map(|rule| rule.handle);
                    (chain.name.clone(), handles.collect())
                })
                .collect(),
        };
        Self {
            inet: observed.inet.as_ref().map(given),
            netdev: observed.netdev.as_ref().map(given),
        }
    }

    /// Without the chains that stand in these tables: what is left of them is in others.
    pub fn forget(&mut self, observed: &Observed) {
        for family in TableFamily::BOTH {
            let (Some(given), Some(table)) = (self.table_mut(family), observed.table(family))
            else {
                continue;
            };
            for chain in &table.chains {
                given.handles.remove(&chain.name);
            }
        }
    }

    /// With what the kernel gave to these tables; a table that is not among them is gone.
    pub fn adopt(&mut self, observed: &Observed) {
        let Self { inet, netdev } = Self::of(observed);
        for (family, new) in TableFamily::BOTH.into_iter().zip([inet, netdev]) {
            let old = self.table_mut(family);
            match (old.as_mut(), new) {
                (Some(old), Some(new)) if old.id == new.id => old.handles.extend(new.handles),
                (_, new) => *old = new,
            }
        }
    }

    const fn table_mut(&mut self, family: TableFamily) -> &mut Option<GivenTable> {
        match family {
            TableFamily::Inet => &mut self.inet,
            TableFamily::Netdev => &mut self.netdev,
        }
    }

    const fn table(&self, family: TableFamily) -> Option<&GivenTable> {
        match family {
            TableFamily::Inet => self.inet.as_ref(),
            TableFamily::Netdev => self.netdev.as_ref(),
        }
    }

    /// The random texts of the tables that are there; `Some(None)` for one that has none.
    pub fn ids(&self) -> [Option<Option<&str>>; 2] {
        TableFamily::BOTH.map(|family| Some(self.table(family)?.id.as_deref()))
    }
}

impl Observed {
    /// The tables as they are after `desired` was made, if the kernel gave them this.
    pub fn made(desired: Desired, given: &Given) -> Self {
        let table =
            |made: Option<Table>, family| made.map(|table| made_table(table, given.table(family)));
        Self {
            generation: 0,
            inet: table(desired.inet, TableFamily::Inet),
            netdev: table(desired.netdev, TableFamily::Netdev),
        }
    }

    /// The tables that are there, with nothing in them.
    pub fn hollow(given: &Given) -> Self {
        let table = |family| {
            given.table(family).map(|given| ObservedTable {
                id: given.id.clone(),
                ..ObservedTable::default()
            })
        };
        Self {
            generation: 0,
            inet: table(TableFamily::Inet),
            netdev: table(TableFamily::Netdev),
        }
    }
}

fn made_table(table: Table, given: Option<&GivenTable>) -> ObservedTable {
    let set = |set: Set| ObservedSet {
        name: set.name,
        shape: set.shape,
        elements: set.elements,
        counters: Vec::new(),
    };
    let sets = table.sets.into_iter().map(set).collect();
    let chains = table.chains.into_iter().map(|chain| {
        let known = given.and_then(|given| given.handles.get(&chain.name));
        let known = known.filter(|handles| handles.len() == chain.rules.len());
        let rule = |(at, rule): (usize, Rule)| ObservedRule {
            handle: known.and_then(|known| known.get(at)).copied().unwrap_or(0),
            body: rule.body,
        };
        ObservedChain {
            name: chain.name,
            hook: chain.hook,
            rules: chain.rules.into_iter().enumerate().map(rule).collect(),
        }
    });
    ObservedTable {
        id: given.and_then(|given| given.id.clone()),
        sets,
        chains: chains.collect(),
    }
}
