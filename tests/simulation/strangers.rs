//! What other programs do to flbc's tables.

use std::sync::Arc;

use flbc::diff::{Observed, ObservedChain, ObservedRule, ObservedTable};
use flbc::emit::netlink::{Bytes, TableFamily};
use flbc::kernel::events::Process;

use super::author::Dice;
use super::deeds::Deed;

/// Another program.
pub(crate) fn stranger(dice: &mut Dice) -> Process {
    let (id, name) = dice.pick(&[(301, "nft"), (302, "firewalld"), (303, "iptables-nft")]);
    Process {
        id,
        name: name.to_owned(),
    }
}

pub(crate) fn nothing(_: &mut Observed) {}

/// What it does; nothing, where there is nothing that it could do it to.
pub(crate) fn deed(deed: Deed, dice: &mut Dice) -> impl FnOnce(&mut Observed) + use<> {
    let mut dice = Dice::new(dice.below(1 << 30));
    move |observed| {
        let dice = &mut dice;
        match deed {
            Deed::Flush => (observed.inet, observed.netdev) = (None, None),
            Deed::DeleteTable => {
                if observed.netdev.is_some() && (observed.inet.is_none() || dice.one_in(2)) {
                    observed.netdev = None;
                } else {
                    observed.inet = None;
                }
            }
            Deed::TakeOver => {
                // One without a text of flbc's is told by its number.
                let id = format!("handle {}", 100 + dice.below(1 << 20));
                let table = ObservedTable {
                    id: Some(id.into()),
                    chains: vec![chain("hers", Vec::new())],
                    ..ObservedTable::default()
                };
                *table_mut(observed, dice) = Some(table);
            }
            _ => {
                if let Some(table) = table_mut(observed, dice) {
                    in_table(deed, table, dice);
                }
            }
        }
    }
}

fn table_mut<'o>(observed: &'o mut Observed, dice: &mut Dice) -> &'o mut Option<ObservedTable> {
    let family = match (&observed.inet, &observed.netdev) {
        (Some(_), None) => TableFamily::Inet,
        (None, Some(_)) => TableFamily::Netdev,
        _ if dice.one_in(2) => TableFamily::Inet,
        _ => TableFamily::Netdev,
    };
    match family {
        TableFamily::Inet => &mut observed.inet,
        TableFamily::Netdev => &mut observed.netdev,
    }
}

fn chain(name: &str, rules: Vec<ObservedRule>) -> ObservedChain {
    ObservedChain {
        name: name.into(),
        hook: None,
        rules,
    }
}

fn in_table(deed: Deed, table: &mut ObservedTable, dice: &mut Dice) {
    match deed {
        Deed::Dormant => table.dormant = true,
        Deed::AddRule => {
            let all: Vec<usize> = with_rules(table);
            if let Some((from, to)) = two(&all, dice) {
                let body = table.chains[from].rules[0].body.clone();
                let at = dice.index(table.chains[to].rules.len());
                table.chains[to]
                    .rules
                    .insert(at, ObservedRule { handle: 0, body });
            }
        }
        Deed::RemoveRule => {
            let all = with_rules(table);
            if let Some((at, _)) = two(&all, dice) {
                let rules = &mut table.chains[at].rules;
                rules.remove(dice.index(rules.len()));
            }
        }
        Deed::AddElement => {
            let all = with_elements(table);
            let Some((at, _)) = two(&all, dice) else {
                return;
            };
            let set = &mut table.sets[at];
            let mut element = set.elements[dice.index(set.elements.len())].clone();
            let mut key = element.key.as_slice().to_vec();
            if let Some(byte) = key.first_mut() {
                *byte ^= 0x55;
            }
            element.key = Bytes::new(&key).expect("as long as before");
            // A range would meet others.
            let is_there = set.elements.iter().any(|one| one.key == element.key);
            if !is_there && element.key_end.is_none() {
                set.elements.push(element);
            }
        }
        Deed::RemoveElement => {
            let all = with_elements(table);
            if let Some((at, _)) = two(&all, dice) {
                let set = &mut table.sets[at];
                let place = dice.index(set.elements.len());
                set.elements.remove(place);
                if place < set.counters.len() {
                    set.counters.remove(place);
                }
            }
        }
        Deed::AddChain if table.chains.iter().all(|chain| *chain.name != *"hers") => {
            table.chains.push(chain("hers", Vec::new()));
        }
        Deed::RemoveChain => {
            // Rules lead to the others: the kernel keeps those.
            let hooked = |chain: &ObservedChain| chain.hook.is_some();
            if let Some(place) = table.chains.iter().position(hooked) {
                table.chains.remove(place);
            }
        }
        Deed::AddSet => {
            let is_there = table.sets.iter().any(|set| *set.name == *"hers");
            if let Some(set) = table.sets.first().filter(|_| !is_there) {
                let mut set = set.clone();
                set.name = Arc::from("hers");
                set.elements.clear();
                set.counters.clear();
                table.sets.push(set);
            }
        }
        Deed::FlushSet => {
            let all = with_elements(table);
            if let Some((at, _)) = two(&all, dice) {
                table.sets[at].elements.clear();
                table.sets[at].counters.clear();
            }
        }
        _ => {}
    }
}

fn with_rules(table: &ObservedTable) -> Vec<usize> {
    let all = table.chains.iter().enumerate();
    all.filter(|(_, chain)| !chain.rules.is_empty())
        .map(|(at, _)| at)
        .collect()
}

/// The sets that have elements, and that packets put nothing into.
fn with_elements(table: &ObservedTable) -> Vec<usize> {
    let all = table.sets.iter().enumerate();
    all.filter(|(_, set)| !set.shape.is_dynamic() && !set.elements.is_empty())
        .map(|(at, _)| at)
        .collect()
}

/// Two of them, which may be one.
fn two(all: &[usize], dice: &mut Dice) -> Option<(usize, usize)> {
    if all.is_empty() {
        return None;
    }
    Some((dice.pick(all), dice.pick(all)))
}
