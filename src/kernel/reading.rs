//! Reads tables of the kernel, part by part.

use std::collections::HashMap;
use std::sync::Arc;

use crate::diff::{ObservedChain, ObservedSet, ObservedTable, lookups};
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::{element, message, rule, set, table};
use crate::emit::netlink::expression::ANONYMOUS_STEM;
use crate::emit::netlink::{LONGEST, TableFamily};

use super::linux::Linux;
use super::read::{self, ATTEMPTS, RulesByChain};
use super::{ID_STEM, KernelError, cache};

impl Linux {
    /// Reads again and again until nobody changed anything meanwhile.
    pub(super) fn undisturbed<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, KernelError>,
    ) -> Result<(T, u32), KernelError> {
        let mut before = self.read_generation()?;
        for _ in 0..ATTEMPTS {
            let result = read(self);
            let after = self.read_generation()?;
            match result {
                Ok(result) if before == after => return Ok((result, after)),
                Ok(_) | Err(KernelError::Changed) => before = after,
                Err(error) => return Err(error),
            }
        }
        Err(KernelError::Changed)
    }

    /// A table without its contents; `None` within if it is not there.
    pub(super) fn read_table(
        &mut self,
        family: TableFamily,
        name: &str,
    ) -> Result<Option<ObservedTable>, KernelError> {
        let mut found = None;
        self.socket.get(
            message::GET_TABLE,
            family.number(),
            |w| w.string(table::NAME, name),
            |_, attributes| {
                let flags = attributes.find(table::FLAGS).and_then(Attribute::u32);
                found = Some(ObservedTable {
                    id: identity(attributes),
                    dormant: flags.is_some_and(|flags| flags & table::DORMANT != 0),
                    ..ObservedTable::default()
                });
            },
        )?;
        Ok(found)
    }

    /// A whole table, if it is there.
    pub(super) fn read_whole_table(
        &mut self,
        family: TableFamily,
        name: &str,
    ) -> Result<Option<ObservedTable>, KernelError> {
        let Some(mut table) = self.read_table(family, name)? else {
            return Ok(None);
        };
        table.chains = self.read_chains(family, name)?;
        let mut rules = self.read_rules(family, name, None)?;
        let sets = self.read_sets(family, name, |_| true)?;
        let (brought_by_rules, kept) = sets
            .into_iter()
            .partition(|set| set.shape.flags & set::ANONYMOUS != 0);
        table.sets = kept;
        give_protocols(&mut rules, brought_by_rules);
        for chain in &mut table.chains {
            chain.rules = rules.remove(&chain.name).unwrap_or_default();
        }
        Ok(Some(table))
    }

    /// The sets of a table that are wanted, with their elements.
    pub(super) fn read_sets(
        &mut self,
        family: TableFamily,
        table: &str,
        wanted: impl FnMut(&ObservedSet) -> bool,
    ) -> Result<Vec<ObservedSet>, KernelError> {
        let mut sets: Vec<ObservedSet> = Vec::new();
        self.socket.dump(
            message::GET_SET,
            family.number(),
            |w| w.string(set::TABLE, table),
            |_, attributes| sets.extend(read::set(attributes)),
        )?;
        sets.retain(wanted);
        let mut names = read::Names::default();
        for set in &mut sets {
            // Longer keys are none of flbc's; the declaration alone tells that the set is another.
            // What packets put into a dynamic one may be a million clients, and is compared with nothing.
            if set.shape.key_length as usize > LONGEST || set.shape.is_dynamic() {
                continue;
            }
            let of = set.name.clone();
            self.socket.dump(
                message::GET_ELEMENTS,
                family.number(),
                |w| {
                    w.string(element::TABLE, table);
                    w.string(element::SET, &of);
                },
                |_, attributes| read::elements(attributes, &mut names, set),
            )?;
        }
        Ok(sets)
    }

    pub(super) fn read_chains(
        &mut self,
        family: TableFamily,
        table: &str,
    ) -> Result<Vec<ObservedChain>, KernelError> {
        let mut chains = Vec::new();
        self.socket.dump(
            message::GET_CHAIN,
            family.number(),
            |_| {},
            |_, attributes| {
                if let Some((of, chain)) = read::chain(attributes)
                    && of == table
                {
                    chains.push(chain);
                }
            },
        )?;
        Ok(chains)
    }

    /// The rules of a table, or of one chain, by their chains.
    pub(super) fn read_rules(
        &mut self,
        family: TableFamily,
        table: &str,
        chain: Option<&str>,
    ) -> Result<RulesByChain, KernelError> {
        let mut rules = RulesByChain::new();
        self.socket.dump(
            message::GET_RULE,
            family.number(),
            |w| {
                w.string(rule::TABLE, table);
                if let Some(chain) = chain {
                    w.string(rule::CHAIN, chain);
                }
            },
            |_, attributes| {
                if let Some((chain, rule)) = read::rule(attributes) {
                    match rules.get_mut(chain) {
                        Some(others) => others.push(rule),
                        None => drop(rules.insert(chain.into(), vec![rule])),
                    }
                }
            },
        )?;
        Ok(rules)
    }
}

/// By what a table is known again: the random text that flbc made it with, or else, where `nft -f` made it, what the
/// kernel gives to no other table before the next boot. A text of somebody else's may come again with other contents.
fn identity(table: Attributes<'_>) -> Option<Arc<str>> {
    let userdata = table.find(table::USERDATA);
    let text = userdata.and_then(|data| read::comment(data.value));
    text.filter(|text| text.starts_with(ID_STEM)).or_else(|| {
        let number = table.find(table::HANDLE)?.u64()?;
        // Each namespace numbers its tables from 1.
        let namespace = cache::lifetime().ok()?;
        Some(format!("table {number} of {namespace}").into())
    })
}

/// Moves the members of anonymous sets into the rules that look them up.
fn give_protocols(rules: &mut RulesByChain, anonymous: Vec<ObservedSet>) {
    let mut members: HashMap<Arc<str>, Vec<u8>> = HashMap::new();
    for set in anonymous {
        let mut bytes: Vec<u8> = set
            .elements
            .iter()
            .flat_map(|element| element.key.as_slice().iter().copied())
            .collect();
        bytes.sort_unstable();
        members.insert(set.name, bytes);
    }
    for rule in rules.values_mut().flatten() {
        let found = lookups(&rule.body)
            .find(|name| name.starts_with(ANONYMOUS_STEM))
            .and_then(|name| members.remove(name));
        rule.body.protocols = found;
    }
}
