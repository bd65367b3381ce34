//! What rules of others may do to a packet: no more is read of them than which verdicts they can end in.
//!
//! What a rule asks of a packet is not understood, but for one: `ct status dnat accept`, with which a firewall lets pass
//! what is balanced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::linux::Linux;
use super::{BaseChain, Kernel, KernelError};
use crate::emit::netlink::TableFamily;
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::{
    cmp, ct, data, element, expr, immediate, lookup, message, nat, rule, table, verdict,
};

/// What rules may do to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Drop or reject what they are for, or leave it to a program to do so.
    Refuse,
    /// Drop or reject all that no rule before has let pass.
    RefuseRest,
    /// Give it another destination.
    Translate,
    /// Keep connection tracking away from it.
    Untrack,
    /// Send it away by another interface.
    Forward,
}

/// A chain of somebody else's where packets enter, and what the rules may do that can be reached from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignChain {
    /// Where packets enter.
    pub chain: BaseChain,
    /// What may become of them, besides what the chain's policy says.
    pub deeds: BTreeSet<Deed>,
    /// Before anything that refuses the rest, `ct status dnat accept` stands there: what is balanced passes.
    pub passes_balanced: bool,
}

/// The number of a family, and the name of a table of it.
type Place = (u8, String);

/// A rule, so far as it is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sketch {
    /// Whether it asks something of the packet.
    asks: bool,
    deeds: BTreeSet<Deed>,
    /// The chains that it leads to.
    leads_to: BTreeSet<String>,
    /// The maps of verdicts that it looks up.
    maps: BTreeSet<String>,
    /// It is `ct status dnat accept`.
    passes_balanced: bool,
}

impl Linux {
    /// The chains of others where packets enter, with what their rules may do; those of tables that are not in force are
    /// left out.
    ///
    /// # Errors
    ///
    /// Those of netlink; [`KernelError::NoPrivilege`] without `CAP_NET_ADMIN`.
    pub fn foreign_chains(&mut self, own_table: &str) -> Result<Vec<ForeignChain>, KernelError> {
        let chains = self.base_chains(own_table)?;
        if chains.is_empty() {
            return Ok(Vec::new());
        }
        let tables: BTreeSet<Place> = chains
            .iter()
            .map(|chain| (number_of(chain.family), chain.table.clone()))
            .collect();
        let (found, _) = self.undisturbed(|kernel| {
            let dormant = kernel.dormant()?;
            let mut rules = kernel.sketches(&tables)?;
            kernel.follow_maps(&mut rules)?;
            Ok((dormant, rules))
        })?;
        let (dormant, rules) = found;
        let none = BTreeMap::new();
        let mut foreign = Vec::new();
        for chain in chains {
            let place = (number_of(chain.family), chain.table.clone());
            if dormant.contains(&place) {
                continue;
            }
            let rules = rules.get(&place).unwrap_or(&none);
            let (deeds, passes_balanced) = reached(rules, &chain.chain);
            foreign.push(ForeignChain {
                chain,
                deeds,
                passes_balanced,
            });
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
    fn sketches(&mut self, of: &BTreeSet<Place>) -> Result<BTreeMap<Place, Chains>, KernelError> {
        let mut all: BTreeMap<Place, Chains> = BTreeMap::new();
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
                    rules.push(sketch(attributes));
                }
            },
        )?;
        Ok(all)
    }

    /// Puts what the elements of maps lead to beside the rules that look them up.
    fn follow_maps(&mut self, all: &mut BTreeMap<Place, Chains>) -> Result<(), KernelError> {
        for ((family, table), chains) in all {
            let rules = || chains.values().flatten();
            let maps: BTreeSet<String> = rules().flat_map(|one| one.maps.clone()).collect();
            let mut ends: BTreeMap<String, Sketch> = BTreeMap::new();
            for map in maps {
                let mut end = Sketch::default();
                self.socket.dump(
                    message::GET_ELEMENTS,
                    *family,
                    |w| {
                        w.string(element::TABLE, table);
                        w.string(element::SET, &map);
                    },
                    |_, attributes| {
                        let list = attributes.find(element::LIST).map(Attribute::inside);
                        for one in list.into_iter().flatten() {
                            if let Some(data) = one.inside().find(element::DATA) {
                                decide(data.inside(), &mut end);
                            }
                        }
                    },
                )?;
                ends.insert(map, end);
            }
            for rule in chains.values_mut().flatten() {
                for map in &rule.maps {
                    if let Some(end) = ends.get(map) {
                        rule.deeds.extend(&end.deeds);
                        rule.leads_to.extend(end.leads_to.iter().cloned());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Rules by the name of their chain.
type Chains = BTreeMap<String, Vec<Sketch>>;

fn number_of(family: &str) -> u8 {
    match family {
        "inet" => 1,
        "ip" => 2,
        "arp" => 3,
        "netdev" => 5,
        "bridge" => 7,
        _ => 10,
    }
}

/// What may become of a packet that enters by this chain, and whether what is balanced passes.
fn reached(rules: &Chains, entrance: &str) -> (BTreeSet<Deed>, bool) {
    let mut deeds = BTreeSet::new();
    let mut passes = false;
    // A chain, and whether every packet comes there that no rule has let pass.
    let mut left = vec![(entrance, true)];
    let mut seen: BTreeSet<(&str, bool)> = BTreeSet::new();
    while let Some((name, always)) = left.pop() {
        if !seen.insert((name, always)) {
            continue;
        }
        for rule in rules.get(name).into_iter().flatten() {
            if name == entrance && rule.passes_balanced && !deeds.contains(&Deed::RefuseRest) {
                passes = true;
            }
            let always = always && !rule.asks;
            for deed in &rule.deeds {
                deeds.insert(match deed {
                    Deed::Refuse | Deed::RefuseRest if always => Deed::RefuseRest,
                    Deed::Refuse | Deed::RefuseRest => Deed::Refuse,
                    Deed::Translate | Deed::Untrack | Deed::Forward => *deed,
                });
            }
            left.extend(rule.leads_to.iter().map(|next| (&**next, always)));
        }
    }
    (deeds, passes)
}

/// What a rule may do.
fn sketch(attributes: Attributes<'_>) -> Sketch {
    /// In a target of iptables: its name.
    const TARGET: u16 = 1;
    let mut sketch = Sketch::default();
    let list = attributes.find(rule::EXPRESSIONS).map(Attribute::inside);
    let mut accepts = false;
    let mut status = 0;
    let mut names = Vec::new();
    for expression in list.into_iter().flatten() {
        let expression = expression.inside();
        let Some(name) = expression.find(expr::NAME).and_then(Attribute::string) else {
            continue;
        };
        let inside = expression.find(expr::DATA).map(Attribute::inside);
        let find = |kind| inside.and_then(|inside| inside.find(kind));
        let number = |kind| find(kind).and_then(Attribute::u32);
        names.push(name);
        match name {
            "immediate" => {
                if let Some(data) = find(immediate::DATA) {
                    accepts |= decide(data.inside(), &mut sketch);
                }
            }
            "reject" | "queue" => drop(sketch.deeds.insert(Deed::Refuse)),
            "nat" if number(nat::TYPE) == Some(nat::DESTINATION) => {
                sketch.deeds.insert(Deed::Translate);
            }
            "redir" | "tproxy" => drop(sketch.deeds.insert(Deed::Translate)),
            "notrack" => drop(sketch.deeds.insert(Deed::Untrack)),
            "fwd" => drop(sketch.deeds.insert(Deed::Forward)),
            "target" => {
                let target = find(TARGET).and_then(Attribute::string);
                sketch.deeds.extend(target.and_then(deed_of_target));
            }
            "lookup" => {
                let set = find(lookup::SET).and_then(Attribute::string);
                // Register 0 is the verdict.
                if number(lookup::TO) == Some(0) {
                    sketch.maps.extend(set.map(str::to_owned));
                }
                sketch.asks = true;
            }
            "ct" if number(ct::KEY) == Some(ct::STATUS) => status = 1,
            "bitwise" if status == 1 => {
                let mask = find(crate::emit::netlink::constant::bitwise::MASK);
                let mask = mask.and_then(|mask| mask.inside().find(data::VALUE));
                let wanted = ct::DESTINATION_TRANSLATED.to_ne_bytes();
                status = if mask.is_some_and(|mask| mask.value == wanted) {
                    2
                } else {
                    0
                };
            }
            "cmp" => {
                let differs = number(cmp::OPERATOR) == Some(cmp::DIFFERENT);
                status = if status == 2 && differs { 3 } else { 0 };
                sketch.asks = true;
            }
            "match" | "range" | "limit" | "connlimit" | "quota" | "dynset" => sketch.asks = true,
            _ => {}
        }
    }
    names.retain(|name| *name != "counter");
    sketch.passes_balanced =
        accepts && status == 3 && names == ["ct", "bitwise", "cmp", "immediate"];
    sketch
}

/// Reads a verdict; says whether it accepts.
fn decide(data: Attributes<'_>, into: &mut Sketch) -> bool {
    let Some(found) = data.find(data::VERDICT).map(Attribute::inside) else {
        return false;
    };
    let code = found.find(verdict::CODE).and_then(Attribute::u32);
    let code = code.map(u32::cast_signed);
    if code == Some(verdict::DROP) {
        into.deeds.insert(Deed::Refuse);
    }
    let chain = found.find(verdict::CHAIN).and_then(Attribute::string);
    into.leads_to.extend(chain.map(str::to_owned));
    code == Some(verdict::ACCEPT)
}

/// What a target of iptables does.
fn deed_of_target(target: &str) -> Option<Deed> {
    match target {
        "REJECT" | "DROP" | "NFQUEUE" => Some(Deed::Refuse),
        "DNAT" | "REDIRECT" | "NETMAP" | "TPROXY" => Some(Deed::Translate),
        "CT" | "NOTRACK" => Some(Deed::Untrack),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(asks: bool, deeds: &[Deed], leads_to: &[&str]) -> Sketch {
        Sketch {
            asks,
            deeds: deeds.iter().copied().collect(),
            leads_to: leads_to.iter().map(|one| (*one).to_owned()).collect(),
            ..Sketch::default()
        }
    }

    fn passing() -> Sketch {
        Sketch {
            asks: true,
            passes_balanced: true,
            ..Sketch::default()
        }
    }

    fn chains(all: Vec<(&str, Vec<Sketch>)>) -> Chains {
        let named = all.into_iter();
        named
            .map(|(name, rules)| (name.to_owned(), rules))
            .collect()
    }

    #[test]
    fn what_is_behind_a_condition_refuses_some_and_no_more() {
        use Deed::{Refuse, RefuseRest, Translate};
        let cases = [
            (vec![("a", vec![])], vec![], false),
            (
                vec![("a", vec![rule(true, &[Refuse], &[])])],
                vec![Refuse],
                false,
            ),
            (
                vec![("a", vec![rule(false, &[Refuse], &[])])],
                vec![RefuseRest],
                false,
            ),
            (
                vec![
                    ("a", vec![rule(false, &[], &["b"])]),
                    ("b", vec![rule(false, &[Refuse, Translate], &["a"])]),
                ],
                vec![RefuseRest, Translate],
                false,
            ),
            (
                vec![
                    ("a", vec![rule(true, &[], &["b"])]),
                    ("b", vec![rule(false, &[Refuse], &[])]),
                ],
                vec![Refuse],
                false,
            ),
            (
                vec![("a", vec![passing(), rule(false, &[Refuse], &[])])],
                vec![RefuseRest],
                true,
            ),
            (
                vec![("a", vec![rule(false, &[Refuse], &[]), passing()])],
                vec![RefuseRest],
                false,
            ),
            // Nobody comes there.
            (
                vec![("b", vec![rule(false, &[Refuse], &[])])],
                vec![],
                false,
            ),
        ];
        for (all, deeds, passes) in cases {
            let found = reached(&chains(all.clone()), "a");
            assert_eq!(found, (deeds.into_iter().collect(), passes), "{all:?}");
        }
    }
}
