//! Chains of others, read with their rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::linux::Linux;
use super::{BaseChain, Kernel, KernelError};
use crate::emit::netlink::TableFamily;
use crate::emit::netlink::attribute::Attribute;
use crate::emit::netlink::constant::{element, message, rule, table};
use crate::foreign::{Elements, ForeignRule, ForeignRules, Lookup, decoded, whole};

/// A chain of somebody else's where packets enter, and the rules of its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignChain {
    /// Where packets enter.
    pub chain: BaseChain,
    /// The rules that may be reached from there, among others.
    pub rules: Arc<ForeignRules>,
}

/// The number of a family, and the name of a table of it.
type Place = (u8, String);

/// The rules of a table as they were read, with the sets that they look up.
type Read = BTreeMap<String, Vec<(ForeignRule, Vec<Lookup>)>>;

impl Linux {
    /// The chains of others where packets enter, with their rules; those of tables that are not in force are left out.
    ///
    /// # Errors
    ///
    /// Those of netlink; [`KernelError::NoPrivilege`] without `CAP_NET_ADMIN`.
    pub fn foreign_chains(&mut self, own_table: &str) -> Result<Vec<ForeignChain>, KernelError> {
        let chains = self.base_chains(own_table)?;
        self.with_rules(chains)
    }

    /// These chains with the rules of their tables; those of tables that are not in force are left out.
    pub(super) fn with_rules(
        &mut self,
        chains: Vec<BaseChain>,
    ) -> Result<Vec<ForeignChain>, KernelError> {
        if chains.is_empty() {
            return Ok(Vec::new());
        }
        let places: BTreeSet<Place> = chains.iter().map(place_of).collect();
        let (found, _) = self.undisturbed(|kernel| {
            let dormant = kernel.dormant()?;
            let mut all = BTreeMap::new();
            for (place, read) in kernel.rules_of(&places)? {
                let rules = kernel.looked_up(&place, read)?;
                all.insert(place, Arc::new(rules));
            }
            Ok((dormant, all))
        })?;
        let (dormant, rules) = found;
        let mut foreign = Vec::new();
        for chain in chains {
            let place = place_of(&chain);
            if !dormant.contains(&place) {
                let rules = rules.get(&place).cloned().unwrap_or_default();
                foreign.push(ForeignChain { chain, rules });
            }
        }
        Ok(foreign)
    }

    /// The chains of flbc's own table of nat, by their names.
    ///
    /// # Errors
    ///
    /// Those of netlink; [`KernelError::NoPrivilege`] without `CAP_NET_ADMIN`.
    pub fn own_chains(&mut self, table: &str) -> Result<Vec<Arc<str>>, KernelError> {
        let read = |kernel: &mut Self| kernel.read_chains(TableFamily::Inet, table);
        let (chains, _) = self.undisturbed(read)?;
        Ok(chains.into_iter().map(|chain| chain.name).collect())
    }

    /// The tables whose rules no packet meets.
    fn dormant(&mut self) -> Result<BTreeSet<Place>, KernelError> {
        let mut dormant = BTreeSet::new();
        self.socket.dump(
            message::GET_TABLE,
            0,
            |_| {},
            |family, attributes| {
                let flags = attributes.find(table::FLAGS).and_then(Attribute::u32);
                let name = attributes.find(table::NAME).and_then(Attribute::string);
                if let Some(name) = name
                    && flags.is_some_and(|flags| flags & table::DORMANT != 0)
                {
                    dormant.insert((family, name.to_owned()));
                }
            },
        )?;
        Ok(dormant)
    }

    /// The rules of these tables, by chains.
    fn rules_of(&mut self, of: &BTreeSet<Place>) -> Result<BTreeMap<Place, Read>, KernelError> {
        let mut all: BTreeMap<Place, Read> = BTreeMap::new();
        self.socket.dump(
            message::GET_RULE,
            0,
            |_| {},
            |family, attributes| {
                let text = |kind| attributes.find(kind).and_then(Attribute::string);
                let (Some(table), Some(chain)) = (text(rule::TABLE), text(rule::CHAIN)) else {
                    return;
                };
                let place = (family, table.to_owned());
                if of.contains(&place) {
                    let chains = all.entry(place).or_default();
                    let rules = chains.entry(chain.to_owned()).or_default();
                    rules.push(decoded(attributes));
                }
            },
        )?;
        Ok(all)
    }

    /// Puts what sets hold, and what maps of verdicts lead to, in the place of what looks them up.
    fn looked_up(&mut self, place: &Place, chains: Read) -> Result<ForeignRules, KernelError> {
        let mut sets: BTreeMap<String, Elements> = BTreeMap::new();
        for (_, lookups) in chains.values().flatten() {
            for one in lookups {
                if !sets.contains_key(&one.set) {
                    let elements = self.elements(place, &one.set)?;
                    sets.insert(one.set.clone(), elements);
                }
            }
        }
        let all = |(chain, rules): (String, Vec<(ForeignRule, Vec<Lookup>)>)| {
            let rules = rules.into_iter();
            let rules = rules.flat_map(|(rule, lookups)| whole(&rule, &lookups, &sets));
            (chain, rules.collect())
        };
        Ok(chains.into_iter().map(all).collect())
    }

    fn elements(&mut self, (family, table): &Place, set: &str) -> Result<Elements, KernelError> {
        let mut elements = Elements::default();
        self.socket.dump(
            message::GET_ELEMENTS,
            *family,
            |w| {
                w.string(element::TABLE, table);
                w.string(element::SET, set);
            },
            |_, attributes| {
                let list = attributes.find(element::LIST).map(Attribute::inside);
                for one in list.into_iter().flatten() {
                    elements.add(one.inside());
                }
            },
        )?;
        Ok(elements)
    }
}

fn place_of(chain: &BaseChain) -> Place {
    let number = match chain.family {
        "inet" => 1,
        "ip" => 2,
        "arp" => 3,
        "netdev" => 5,
        "bridge" => 7,
        _ => 10,
    };
    (number, chain.table.clone())
}

impl ForeignChain {
    /// A chain whose rules were not read.
    pub fn bare(chain: BaseChain) -> Self {
        Self {
            chain,
            rules: Arc::default(),
        }
    }
}
