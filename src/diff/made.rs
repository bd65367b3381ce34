//! Both tables as flbc left them: all of it follows from what they were made from.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::emit::netlink::{Desired, Rule, Set, Table};

use super::{Observed, ObservedChain, ObservedRule, ObservedSet, ObservedTable};

/// The texts by which the tables are known again; none where there is no table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identities {
    inet: Option<Arc<str>>,
    netdev: Option<Arc<str>>,
}

impl Identities {
    /// Those of these tables; `None` if a table has no such text.
    pub fn of(observed: &Observed) -> Option<Self> {
        let id = |table: &Option<ObservedTable>| match table {
            None => Some(None),
            Some(table) => table.id.clone().map(Some),
        };
        Some(Self {
            inet: id(&observed.inet)?,
            netdev: id(&observed.netdev)?,
        })
    }

    /// `inet` first.
    pub fn each(&self) -> [Option<&str>; 2] {
        [self.inet.as_deref(), self.netdev.as_deref()]
    }
}

impl From<&Identities> for Observed {
    /// Tables with nothing in them.
    fn from(ids: &Identities) -> Self {
        let hollow = |id: &Arc<str>| ObservedTable {
            id: Some(id.clone()),
            ..ObservedTable::default()
        };
        Self {
            generation: 0,
            inet: ids.inet.as_ref().map(hollow),
            netdev: ids.netdev.as_ref().map(hollow),
        }
    }
}

impl Observed {
    /// The tables as they are after `desired` was made. The numbers of the rules are not known.
    pub fn made(desired: Desired, ids: &Identities) -> Self {
        let table = |table: Option<Table>, id: &Option<Arc<str>>| {
            table.map(|table| made(table, id.clone()))
        };
        Self {
            generation: 0,
            inet: table(desired.inet, &ids.inet),
            netdev: table(desired.netdev, &ids.netdev),
        }
    }

    /// The same tables, with nothing in them.
    #[must_use]
    pub fn hollow(&self) -> Self {
        let hollow = |table: &ObservedTable| ObservedTable {
            id: table.id.clone(),
            ..ObservedTable::default()
        };
        Self {
            generation: self.generation,
            inet: self.inet.as_ref().map(hollow),
            netdev: self.netdev.as_ref().map(hollow),
        }
    }
}

fn made(table: Table, id: Option<Arc<str>>) -> ObservedTable {
    let set = |set: Set| ObservedSet {
        name: set.name,
        shape: set.shape,
        elements: set.elements,
        counters: Vec::new(),
    };
    let rule = |rule: Rule| ObservedRule {
        handle: 0,
        body: rule.body,
    };
    let chains = table.chains.into_iter().map(|chain| ObservedChain {
        name: chain.name,
        hook: chain.hook,
        rules: chain.rules.into_iter().map(rule).collect(),
    });
    ObservedTable {
        id,
        dormant: false,
        sets: table.sets.into_iter().map(set).collect(),
        chains: chains.collect(),
    }
}
