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
use super::{ID_STEM, KernelError, Part, files};
use crate::ruleset::name;

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

    /// So much of a table, if it is there.
    pub(super) fn read_part(
        &mut self,
        family: TableFamily,
        name: &str,
        part: Part<'_>,
    ) -> Result<Option<ObservedTable>, KernelError> {
        let Some(mut table) = self.read_table(family, name)? else {
            return Ok(None);
        };
        match part {
            Part::Whole => self.read_contents(family, name, &mut table, |_| true)?,
            Part::Counters(keys) => {
                table.sets = self.read_declarations(family, name)?;
                table.sets.retain(|set| set.shape.counts());
                for set in &mut table.sets {
                    let keys = keys(family, &set.name).unwrap_or_default();
                    if !self.read_counters_of(family, name, set, keys)? {
                        self.fill(family, name, [set])?;
                    }
                }
            }
            Part::Slots(wanted) => {
                let is_slots = |set: &ObservedSet| *set.name == *name::SLOTS;
                self.read_contents(family, name, &mut table, |set| !is_slots(set))?;
                let keys = wanted(family, &table);
                if let Some(slots) = table.sets.iter_mut().find(|set| is_slots(set))
                    && !self.read_slots(family, name, slots, &keys)?
                {
                    self.read_elements(family, name, slots, &mut read::Names::default())?;
                }
            }
        }
        Ok(Some(table))
    }

    /// What is in a table: chains, rules and sets, and the elements of those that are `wanted`.
    pub(super) fn read_contents(
        &mut self,
        family: TableFamily,
        name: &str,
        table: &mut ObservedTable,
        wanted: impl Fn(&ObservedSet) -> bool,
    ) -> Result<(), KernelError> {
        table.chains = self.read_chains(family, name)?;
        let mut rules = self.read_rules(family, name, None)?;
        let mut sets = self.read_declarations(family, name)?;
        self.fill(family, name, sets.iter_mut().filter(|set| wanted(set)))?;
        let (brought_by_rules, kept) = sets
            .into_iter()
            .partition(|set| set.shape.flags & set::ANONYMOUS != 0);
        table.sets = kept;
        give_protocols(&mut rules, brought_by_rules);
        for chain in &mut table.chains {
            chain.rules = rules.remove(&chain.name).unwrap_or_default();
        }
        Ok(())
    }

    /// The sets of a table that are wanted, with their elements.
    pub(super) fn read_sets(
        &mut self,
        family: TableFamily,
        table: &str,
        wanted: impl FnMut(&ObservedSet) -> bool,
    ) -> Result<Vec<ObservedSet>, KernelError> {
        let mut sets = self.read_declarations(family, table)?;
        sets.retain(wanted);
        self.fill(family, table, &mut sets)?;
        Ok(sets)
    }

    /// The sets of a table, without their elements.
    pub(super) fn read_declarations(
        &mut self,
        family: TableFamily,
        table: &str,
    ) -> Result<Vec<ObservedSet>, KernelError> {
        let mut sets: Vec<ObservedSet> = Vec::new();
        self.socket.dump(
            message::GET_SET,
            family.number(),
            |w| w.string(set::TABLE, table),
            |_, attributes| sets.extend(read::set(attributes)),
        )?;
        Ok(sets)
    }

    /// Reads the elements of these sets.
    pub(super) fn fill<'s>(
        &mut self,
        family: TableFamily,
        table: &str,
        sets: impl IntoIterator<Item = &'s mut ObservedSet>,
    ) -> Result<(), KernelError> {
        let mut names = read::Names::default();
        for set in sets {
            // Longer keys are none of flbc's; the declaration alone tells that the set is another.
            // What packets put into a dynamic one may be a million clients, and is compared with nothing.
            if set.shape.key_length as usize > LONGEST || set.shape.is_dynamic() {
                continue;
            }
            self.read_elements(family, table, set, &mut names)?;
        }
        Ok(())
    }

    pub(super) fn read_elements(
        &mut self,
        family: TableFamily,
        table: &str,
        set: &mut ObservedSet,
        names: &mut read::Names,
    ) -> Result<(), KernelError> {
        let of = set.name.clone();
        self.socket.dump(
            message::GET_ELEMENTS,
            family.number(),
            |w| {
                w.string(element::TABLE, table);
                w.string(element::SET, &of);
            },
            |_, attributes| read::elements(attributes, names, set),
        )
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
        let namespace = files::lifetime().ok()?;
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
