//! Edits here renumber nothing there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use flbc::diagnostic::Diagnostics;
use flbc::diff::{Observed, diff};
use flbc::emit::netlink::{Interfaces, desired};
use flbc::lower::layout::Layout;
use flbc::lower::number::{Places, SERVERS, SLOTS, assign, fresh};
use flbc::model::{Member, Mode, Model};
use flbc::schedule;
use flbc::view::{ObservedNumbers, numbers};

use crate::everything;
use crate::random::{Author, compile};

fn interfaces() -> Interfaces {
    [("lo".into(), 1), ("eth0".into(), 2), ("eth1".into(), 3)].into()
}

/// The state that applying a model to another state leaves.
fn applied(model: &Model, before: &Observed) -> Observed {
    let ruleset = compile(model, &numbers(before));
    let wanted = desired(ruleset.clone(), &interfaces()).expect("all interfaces are there");
    let mut after = before.clone();
    let changes = diff(before, wanted.clone(), &Arc::from("flbc test"));
    after.apply(&changes).expect("the changes fit");
    // As the kernel would, so that rules can be told apart.
    let mut handle = 0;
    let tables = [&mut after.inet, &mut after.netdev].into_iter().flatten();
    for rule in tables
        .flat_map(|t| &mut t.chains)
        .flat_map(|c| &mut c.rules)
    {
        handle += 1;
        rule.handle = handle;
    }
    after
}

/// All numbers, and whose they are.
fn all(numbers: &ObservedNumbers) -> BTreeSet<(u32, &str)> {
    let servers = numbers.servers.iter();
    servers.map(|s| (s.number, &*s.identity)).collect()
}

#[test]
fn numbers_do_not_depend_on_what_was_before() {
    let (_, span) = everything::source();
    for seed in 0..300 {
        let mut author = Author::new(seed, span, true);
        let mut model = author.model();
        let mut state = Observed::default();
        for _ in 0..5 {
            state = applied(&model, &state);
            let anew = applied(&model, &Observed::default());
            assert_eq!(all(&numbers(&state)), all(&numbers(&anew)), "seed {seed}");
            let mut renamed = model.clone();
            rename(&mut renamed);
            let renamed = numbers(&applied(&renamed, &Observed::default()));
            let only = |n: &ObservedNumbers| -> BTreeMap<u32, (Option<IpAddr>, Option<u16>)> {
                let servers = n.servers.iter();
                servers.map(|s| (s.number, (s.address, s.port))).collect()
            };
            assert_eq!(only(&renamed), only(&numbers(&state)), "seed {seed}");
            model = author.edit(&model);
        }
    }
}

/// Other names for everything, in another order.
fn rename(model: &mut Model) {
    let other = |name: &mut Arc<str>| {
        *name = name
            .chars()
            .rev()
            .chain("x".chars())
            .collect::<String>()
            .into();
    };
    for pool in &mut model.pools {
        other(&mut pool.name);
        pool.real_servers
            .iter_mut()
            .for_each(|server| other(&mut server.name));
    }
    for service in &mut model.services {
        other(&mut service.name);
        for member in &mut service.members {
            if let Member::Server(server) = member {
                other(&mut server.name);
            }
        }
        service.members.reverse();
    }
    model.services.reverse();
}

/// The numbers of servers of services that have servers of their own, by what they are known by.
fn by_vip(model: &Model) -> HashMap<String, u32> {
    let mut sink = Diagnostics::new();
    let plan = schedule::schedule(model, &mut sink);
    let numbers = fresh(&plan, "flbc", Layout::default(), &mut sink);
    let mut all = HashMap::new();
    for (block, numbers) in plan.blocks.iter().zip(&numbers.blocks) {
        if !block.pools.is_empty() {
            continue;
        }
        let vips = block.service.vips.iter();
        let vips = vips.filter(|vip| vip.family() == block.family);
        let lowest = vips.map(|vip| (vip.address, vip.protocol, vip.ports)).min();
        let nat = matches!(block.mode, Mode::Nat(_));
        let remembers = block.service.persistence.is_some();
        let mut twice = BTreeSet::new();
        for (server, number) in block.servers.iter().zip(&numbers.servers) {
            let endpoint = (server.address, server.port);
            if twice.insert(endpoint) {
                let key = format!("{lowest:?} {nat} {remembers} {endpoint:?}");
                all.insert(key, *number);
            }
        }
    }
    all
}

#[test]
fn a_server_keeps_its_number() {
    let (_, span) = everything::source();
    let mut kept = 0;
    for seed in 0..300 {
        let mut author = Author::new(seed, span, true);
        let mut model = author.model();
        for _ in 0..5 {
            let before = by_vip(&model);
            model = author.edit(&model);
            for (server, now) in by_vip(&model) {
                if let Some(number) = before.get(&server) {
                    kept += 1;
                    assert_eq!(now, *number, "seed {seed}: {server}");
                }
            }
        }
    }
    assert!(kept > 1000, "{kept}");
}

#[test]
fn a_block_keeps_its_place_while_its_neighbours_come_and_go() {
    let (_, span) = everything::source();
    let mut kept = 0;
    for seed in 0..300 {
        let mut author = Author::new(seed, span, false);
        let model = author.model();
        let whole = applied(&model, &Observed::default());
        for gone in 0..model.services.len() {
            let mut less = model.clone();
            less.services.remove(gone);
            let state = applied(&less, &whole);
            for service in &less.services {
                let prefix = format!("svc_{}_", service.name);
                let before = numbers(&whole);
                for (chain, now) in numbers(&state).blocks {
                    if chain.starts_with(&prefix) {
                        kept += 1;
                        assert_eq!(before.blocks.get(&chain), Some(&now), "{seed}: {chain}");
                    }
                }
            }
            // And back: all have the numbers that they had.
            let back = numbers(&applied(&model, &state));
            assert_eq!(all(&back), all(&numbers(&whole)), "{seed}");
        }
    }
    assert!(kept > 200, "{kept}");
}

#[test]
fn numbers_are_valid_whatever_was_observed() {
    let (_, span) = everything::source();
    for seed in 0..200 {
        let mut author = Author::new(seed, span, true);
        let mut model = author.model();
        let mut state = Observed::default();
        for _ in 0..4 {
            let mut sink = Diagnostics::new();
            let plan = schedule::schedule(&model, &mut sink);
            let layout = Layout::new((seed % 9) as u8).expect("at most 8");
            let naming = ("flbc", layout);
            let numbering = assign(&plan, naming, &(&numbers(&state)).into(), &mut sink);
            let mut servers: Vec<u32> = Vec::new();
            let mut slots: Vec<(u32, u32)> = Vec::new();
            for (block, numbers) in plan.blocks.iter().zip(&numbering.blocks) {
                assert_eq!(numbers.servers.len(), block.servers.len());
                servers.extend(&numbers.servers);
                if let schedule::Choice::Slots { owners, .. } = &block.choice {
                    let count = u32::try_from(owners.len()).expect("few");
                    slots.push((numbers.first_slot, count));
                }
            }
            let count = servers.len();
            servers.sort_unstable();
            servers.dedup();
            assert_eq!(servers.len(), count, "each number once");
            assert!(
                servers
                    .iter()
                    .all(|n| SERVERS.contains(n) && layout.has(*n))
            );
            slots.sort_unstable();
            assert!(slots.iter().all(|(first, _)| SLOTS.contains(first)));
            for pair in slots.windows(2) {
                assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{slots:?}");
            }
            let empty = assign(&plan, naming, &Places::default(), &mut sink);
            assert_eq!(fresh(&plan, "flbc", layout, &mut sink), empty);
            state = applied(&model, &state);
            model = author.edit(&model);
        }
    }
}

#[test]
fn slots_that_become_free_are_nobodys_at_once() {
    // A packet on its way at the commit has drawn a slot by the old rules and is led on by the new ones.
    let (_, span) = everything::source();
    let mut moved = 0;
    for seed in 0..200 {
        let mut author = Author::new(seed, span, true);
        let mut model = author.model();
        let mut state = Observed::default();
        for _ in 0..4 {
            let next = applied(&model, &state);
            let (before, after) = (numbers(&state), numbers(&next));
            for (chain, now) in &after.blocks {
                let Some((first, count)) = now.slots else {
                    continue;
                };
                let overlaps = |(at, n): (u32, u32)| first < at + n && at < first + count;
                for (other, then) in &before.blocks {
                    if then.slots.is_some_and(overlaps) {
                        moved += 1;
                        assert_eq!(then.slots, now.slots, "seed {seed}: {chain} after {other}");
                        let gone = !after.blocks.contains_key(other);
                        let shared = before.blocks.get(chain).and_then(|was| was.slots);
                        let kept = shared == now.slots || !gone;
                        assert!(
                            kept,
                            "seed {seed}: {chain} has the slots of {other}, which is gone"
                        );
                    }
                }
            }
            state = next;
            model = author.edit(&model);
        }
    }
    assert!(moved > 200, "{moved}");
}
