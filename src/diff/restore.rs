//! What was there, as what should be there: the way back.

use std::sync::Arc;

use crate::emit::netlink::{Chain, Desired, Rule, Set, Table};
use crate::source::Span;

use super::{Observed, ObservedTable};

impl Observed {
    /// What the kernel must have to have this again, in tables of this name.
    pub fn as_desired(&self, table: &str) -> Desired {
        Desired {
            table: table.into(),
            inet: self.inet.as_ref().map(wanted),
            netdev: self.netdev.as_ref().map(wanted),
        }
    }

    /// The random text of the tables.
    pub fn id(&self) -> Option<Arc<str>> {
        let mut tables = [&self.inet, &self.netdev].into_iter().flatten();
        tables.find_map(|table| table.id.clone())
    }
}

fn wanted(table: &ObservedTable) -> Table {
    let sets = table.sets.iter().map(|set| Set {
        name: set.name.clone(),
        shape: set.shape.clone(),
        origin: None,
        elements: set.elements.clone(),
        // No file says it.
        origins: vec![Span::NOWHERE; set.elements.len()],
    });
    let chains = table.chains.iter().map(|chain| Chain {
        name: chain.name.clone(),
        hook: chain.hook.clone(),
        rules: chain
            .rules
            .iter()
            .map(|rule| Rule {
                body: rule.body.clone(),
                origin: None,
            })
            .collect(),
    });
    Table {
        sets: sets.collect(),
        chains: chains.collect(),
    }
}
