//! Who gets which clients: what the language promises, asked of the plan that the rules are made from.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests too"
)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flbc::diagnostic::Diagnostics;
use flbc::emit;
use flbc::lower::layout::Layout;
use flbc::lower::number;
use flbc::model::{
    Effective, Family, Layers, Model, Place, RealServer, ServerKey, State, Wanted, Wish,
};
use flbc::schedule::predict::predict;
use flbc::schedule::{Block, Choice, Draw, Plan, schedule};
use flbc::source::Sources;
use flbc::syntax::Input;
use proptest::prelude::*;

/// Reads a text and looks at its plan; faults as `CODE MESSAGE`.
fn planned<R>(text: &str, look: impl FnOnce(&Plan<'_>, &Model) -> R) -> (R, Vec<String>) {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = flbc::read(Input::Stdin(text.into()), &mut sources, &mut sink);
    let model = model.unwrap_or_else(|| panic!("{:?}\n{text}", sink.sorted()));
    let result = look(&schedule(&model, &mut sink), &model);
    let faults = sink.sorted().into_iter();
    let faults = faults.map(|fault| format!("{} {}", fault.code, fault.message));
    (result, faults.collect())
}

/// Looks at the block that serves one family of a service.
fn block<R>(text: &str, service: &str, family: Family, look: impl FnOnce(&Block<'_>) -> R) -> R {
    planned(text, |plan, _| {
        let planned = plan.services.iter().find(|p| &*p.service.name == service);
        let families = &planned.unwrap().families;
        let (_, place) = families.iter().find(|(f, _)| *f == family).unwrap();
        look(&plan.blocks[place.unwrap()])
    })
    .0
}

/// The owners of a block's slots, by name.
fn owners(block: &Block<'_>) -> Vec<String> {
    match &block.choice {
        Choice::Empty => Vec::new(),
        Choice::Only(at) => vec![block.servers[*at].name.to_string()],
        Choice::Slots { owners, .. } => owners
            .iter()
            .map(|at| block.servers[*at as usize].name.to_string())
            .collect(),
    }
}

fn owners_of(text: &str, service: &str) -> Vec<String> {
    block(text, service, Family::V4, owners)
}

/// How many slots each server has; those without any are not in it.
fn counts(owners: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for owner in owners {
        *counts.entry(owner.as_str()).or_default() += 1;
    }
    counts
}

/// Clients of one family, spread over addresses and ports.
fn clients(family: Family, count: u32) -> impl Iterator<Item = (IpAddr, u16)> {
    (0..count).map(move |i| {
        let mixed = i.wrapping_mul(0x9e37_79b1);
        let address = match family {
            Family::V4 => Ipv4Addr::from(0xc633_0000 ^ mixed).into(),
            Family::V6 => Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(mixed)).into(),
        };
        (address, 1024 + (mixed >> 17) as u16)
    })
}

/// The server that a client gets, by its address and port: what it is called changes nothing.
fn chosen(block: &Block<'_>, client: (IpAddr, u16)) -> String {
    let at = match &block.choice {
        Choice::Only(at) => *at,
        _ => predict(block, client.0, client.1).unwrap().server,
    };
    block.servers[at].endpoint()
}

fn choices(text: &str, service: &str, count: u32) -> Vec<String> {
    block(text, service, Family::V4, |block| {
        clients(Family::V4, count)
            .map(|client| chosen(block, client))
            .collect()
    })
}

/// A service with servers of these lines.
fn service(name: &str, last: u8, scheduler: &str, servers: &[String]) -> String {
    let servers = servers.join("\n    ");
    format!(
        "service {name} {{\n    vip 192.0.2.{last} tcp 80\n    scheduler {scheduler}\n    {servers}\n}}\n"
    )
}

/// `server w0 10.20.0.1 weight 3`, and so on.
fn weighted(weights: &[u16]) -> Vec<String> {
    (0..)
        .zip(weights)
        .map(|(at, weight): (u32, _)| {
            let address = Ipv4Addr::from(0x0a14_0001 + at);
            format!("server w{at} {address} weight {weight}")
        })
        .collect()
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What can stand behind a server; the first says nothing.
const STATES: [&str; 4] = ["", "drain", "down", "backup"];

/// The state that such a word sets.
fn state(word: &str) -> State {
    match word {
        "drain" => State::Drain,
        "down" => State::Down,
        "backup" => State::Backup,
        _ => State::Up,
    }
}

const HASHED: [&str; 4] = ["hash", "hash by source", "maglev", "maglev by source"];

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Services, servers and `vip` lines in another order: each client has the server that it had.
    #[test]
    fn order_changes_no_clients_server(
        weights in prop::collection::vec(1_u16..10, 2..8),
        more in prop::collection::vec(1_u16..10, 2..8),
        scheduler in prop::sample::select(&HASHED[..]),
        other in prop::sample::select(&HASHED[..]),
        seed in any::<prop::sample::Index>(),
        turn in any::<prop::sample::Index>(),
    ) {
        let (mut first, mut second) = (weighted(&weights), weighted(&more));
        let straight = service("a", 1, scheduler, &first) + &service("b", 2, other, &second);
        first.rotate_left(seed.index(weights.len()));
        first.swap(0, turn.index(weights.len()));
        second.reverse();
        let turned = service("b", 2, other, &second) + &service("a", 1, scheduler, &first);
        for name in ["a", "b"] {
            prop_assert_eq!(choices(&straight, name, 200), choices(&turned, name, 200));
        }
    }

    /// The kernel gets the same bytes whatever the order of statements; JSON has no line numbers in it.
    #[test]
    fn order_of_statements_changes_no_rule(
        weights in prop::collection::vec(1_u16..10, 2..6),
        scheduler in prop::sample::select(&["hash", "maglev table 31", "random"][..]),
        order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
        swap in any::<bool>(),
    ) {
        let compiled = |order: &[usize], swap: bool| {
            let mut servers = weighted(&weights);
            servers.push("server six 2001:db8:1::1 backup".to_owned());
            servers.push("server p5 10.20.0.99:81 drain".to_owned());
            let mut statements = vec![
                "vip 192.0.2.1 tcp 80, 443, 8000-8999".to_owned(),
                "vip 192.0.2.1, 2001:db8::1 udp any".to_owned(),
                "mode nat masquerade".to_owned(),
                format!("scheduler {scheduler}"),
                "on-empty drop".to_owned(),
            ];
            if swap {
                servers.reverse();
            }
            statements.push(servers.join("\n"));
            let body: Vec<&str> = order.iter().map(|at| statements[*at].as_str()).collect();
            let one = format!("service one {{\n{}\n}}\n", body.join("\n"));
            let two = "service two {\nvip 192.0.2.2 sctp 1\nmode dr on eth0\nserver 10.20.0.5\nserver 10.20.0.4\n}\n";
            let three = "service three {\nvip 192.0.2.3 tcp 1\npool p\n}\n";
            let pool = "pool p {\nserver 10.20.0.7\n}\n";
            let mut blocks = [one.as_str(), two, three, pool];
            if swap {
                blocks.reverse();
            }
            rules(&blocks.concat())
        };
        let straight = compiled(&[0, 1, 2, 3, 4, 5], false);
        prop_assert_eq!(compiled(&order, swap), straight);
    }

    /// A server has as many slots as its weight says, divided by what all weights share.
    #[test]
    fn slots_are_exactly_proportional(
        weights in prop::collection::vec(1_u16..200, 2..20),
        scheduler in prop::sample::select(&["round-robin", "random", "hash", "hash by source"][..]),
        factor in 1_u16..300,
    ) {
        let divisor = weights.iter().fold(0, |a, b| gcd(a, *b));
        let scaled: Vec<u16> = weights.iter().map(|w| w * factor).collect();
        let (owners, faults) = planned(&service("a", 1, scheduler, &weighted(&scaled)), |plan, _| {
            owners(&plan.blocks[0])
        });
        prop_assert_eq!(faults, [""; 0]);
        let counts = counts(&owners);
        for (at, weight) in weights.iter().enumerate() {
            prop_assert_eq!(counts[format!("w{at}").as_str()], usize::from(weight / divisor));
        }
    }

    /// How many slots there are follows from what the file says and how servers stand, and from nothing else: those of all
    /// servers that the file gives a share, wherever that is exact, else as few as are exact.
    #[test]
    fn a_change_of_state_keeps_the_slots_where_shares_come_out_exactly(
        weights in prop::collection::vec(0_u16..7, 2..9),
        states in prop::collection::vec(prop::sample::select(&STATES[..]), 9),
        wishes in prop::collection::vec((0_usize..9, prop::sample::select(&STATES[..]), 0_u16..7), 0..4),
        scheduler in prop::sample::select(&["round-robin", "random", "hash"][..]),
    ) {
        let lines: Vec<String> = weighted(&weights)
            .iter()
            .zip(&states)
            .map(|(line, state)| format!("{line} {state}"))
            .collect();
        let (model, _) = planned(&service("a", 1, scheduler, &lines), |_, model| model.clone());
        let gives = weights.iter().zip(&states);
        let declared: Vec<u16> = gives
            .filter(|(weight, state)| **weight > 0 && **state != "backup")
            .map(|(weight, _)| *weight)
            .collect();
        let mut all = BTreeMap::new();
        for (at, word, weight) in wishes.iter().filter(|(at, ..)| *at < weights.len()) {
            let wanted = |value| Some(Wanted { value, since: 1 });
            let wish = Wish { state: wanted(state(word)), weight: Some(Wanted { value: *weight, since: 1 }), address: None, port: None };
            let key = ServerKey { place: Place::Service("a".into()), server: format!("w{at}").into() };
            all.insert(key, wish);
        }
        let layers = Layers { operator: all, ..Layers::default() };
        let effective = Effective::of(model, layers, BTreeMap::new());
        let plan = schedule(effective.model(), &mut Diagnostics::new());
        let block = &plan.blocks[0];
        let serving: Vec<&RealServer> = [State::Up, State::Backup]
            .into_iter()
            .map(|state| block.servers.iter().copied().filter(|s| s.state == state && s.weight > 0).collect())
            .find(|serving: &Vec<_>| !serving.is_empty())
            .unwrap_or_default();
        let owners = owners(block);
        prop_assert_eq!(owners.is_empty(), serving.is_empty());
        if serving.is_empty() {
            return Ok(());
        }
        let sum = |weights: &[u16]| {
            let divisor = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
            weights.iter().map(|weight| usize::from(weight / divisor)).sum::<usize>()
        };
        let live: Vec<u16> = serving.iter().map(|server| server.weight).collect();
        let (least, declared) = (sum(&live), sum(&declared));
        let slots = if declared > 0 && declared % least == 0 { declared } else { least };
        prop_assert_eq!(owners.len(), slots);
        let counts = counts(&owners);
        let total: usize = live.iter().map(|weight| usize::from(*weight)).sum();
        for server in serving {
            let has = counts[&*server.name];
            prop_assert_eq!(has * total, usize::from(server.weight) * slots);
        }
    }

    /// Each server has had its share at every moment of the turn, but for less than two connections.
    #[test]
    fn round_robin_interleaves(weights in prop::collection::vec(1_u16..30, 2..8)) {
        let owners = owners_of(&service("a", 1, "round-robin", &weighted(&weights)), "a");
        let total = owners.len();
        let all = counts(&owners);
        for taken in 1..=total {
            let so_far = counts(&owners[..taken]);
            for (name, count) in &all {
                let due = count * taken;
                let had = so_far.get(name).copied().unwrap_or(0) * total;
                prop_assert!(had.abs_diff(due) < 2 * total, "{} of {}", name, taken);
            }
        }
    }

    /// Maglev's turns: at most one slot more than the share, and less by a round at most.
    #[test]
    fn maglev_shares_are_within_one_round(
        weights in prop::collection::vec(1_u16..20, 2..30),
        table in prop::sample::select(&[31_u32, 251, 509, 1021][..]),
    ) {
        let text = service("a", 1, &format!("maglev table {table}"), &weighted(&weights));
        let owners = owners_of(&text, "a");
        prop_assert_eq!(owners.len(), table as usize);
        let counts = counts(&owners);
        let total: usize = weights.iter().map(|w| usize::from(*w)).sum();
        for (at, weight) in weights.iter().enumerate() {
            let weight = usize::from(*weight);
            // All of it times the sum of the weights, to stay with whole numbers.
            let has = counts[format!("w{at}").as_str()] * total;
            let share = owners.len() * weight;
            let round = weights.len() * weight;
            prop_assert!(has <= share + total, "{} of {}", has, share);
            prop_assert!(has + round >= share, "{} of {}", has, share);
        }
    }

    /// A new service, before or after it by name, moves no client of another.
    #[test]
    fn a_service_elsewhere_moves_nobody(
        weights in prop::collection::vec(1_u16..10, 2..8),
        scheduler in prop::sample::select(&HASHED[..]),
        name in prop::sample::select(&["a", "z"][..]),
    ) {
        let text = service("m", 1, scheduler, &weighted(&weights));
        let other = service(name, 2, "maglev", &weighted(&[1, 2, 3]));
        let alone = (owners_of(&text, "m"), choices(&text, "m", 100));
        for both in [other.clone() + &text, text + &other] {
            prop_assert_eq!((owners_of(&both, "m"), choices(&both, "m", 100)), alone.clone());
        }
    }
}

/// The rules of a text as JSON, which says nothing of lines, and as text without its comments.
fn rules(text: &str) -> (String, String) {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let input = Input::Stdin(text.into());
    let ruleset = flbc::compile(input, ("flbc", Layout::default()), &mut sources, &mut sink);
    let ruleset = ruleset.unwrap_or_else(|| panic!("{:?}\n{text}", sink.sorted()));
    let (mut json, mut nft) = (Vec::new(), Vec::new());
    emit::json(&ruleset, &mut json).unwrap();
    emit::text(&ruleset, &sources, &mut nft).unwrap();
    let nft = String::from_utf8(nft).unwrap();
    let lines = nft.lines().map(|line| line.split(" # ").next().unwrap());
    // Elements of one line of the source share a line; where they break is no rule.
    let words = lines.flat_map(str::split_whitespace).collect::<Vec<_>>();
    (String::from_utf8(json).unwrap(), words.join(" "))
}

#[test]
fn the_turn_of_the_manual() {
    let owners = owners_of(&service("a", 1, "round-robin", &weighted(&[5, 1, 1])), "a");
    assert_eq!(owners.concat(), "w0w0w1w0w2w0w0");
    // In the order of the file, as nothing else could be meant.
    let servers = ["server b 10.20.0.9", "server a 10.20.0.1"].map(str::to_owned);
    assert_eq!(owners_of(&service("a", 1, "rr", &servers), "a"), ["b", "a"]);
}

/// 100 servers, table 16381: of the flows of the other 99, fewer than 3 in 100 move.
#[test]
fn one_of_a_hundred_servers_leaves() {
    let servers = weighted(&[1; 100]);
    let scheduler = "maglev table 16381";
    let before = choices(&service("a", 1, scheduler, &servers), "a", 20_000);
    for gone in [0, 1, 49, 98, 99] {
        let gone_endpoint = format!("10.20.0.{}", gone + 1);
        let mut removed = servers.clone();
        removed.remove(gone);
        let mut down = servers.clone();
        down[gone] += " down";
        let after = choices(&service("a", 1, scheduler, &removed), "a", 20_000);
        // A state says the same as removal, where the table stays.
        assert_eq!(
            choices(&service("a", 1, scheduler, &down), "a", 20_000),
            after
        );
        let others = before
            .iter()
            .filter(|server| **server != gone_endpoint)
            .count();
        let pairs = before.iter().zip(&after);
        let moved = pairs
            .filter(|(b, a)| **b != gone_endpoint && b != a)
            .count();
        assert!(!after.contains(&gone_endpoint));
        assert!(others > 19_000, "{others}");
        assert!(
            moved * 100 < others * 3,
            "{moved} of {others} moved when server {gone} left"
        );
        // And no more than its share had to.
        assert!(moved > 0, "nobody moved: is this test blind?");
    }
}

/// Two balancers, two files: names, order and the number of services differ, servers do not.
#[test]
fn balancers_with_the_same_servers_agree() {
    let here = service("a", 1, "maglev by source", &weighted(&[1, 2, 3]));
    let there = service(
        "b",
        1,
        "mh",
        &weighted(&[1, 2, 3]).into_iter().rev().collect::<Vec<_>>(),
    )
    .replace("server w", "server other");
    assert_eq!(choices(&here, "a", 1000), choices(&there, "b", 1000));
}

/// Without `table`, the size follows from the declared servers, whatever their state.
#[test]
fn a_change_of_state_keeps_the_table() {
    for (servers, size) in [
        (2, 512),
        (5, 512),
        (6, 1024),
        (10, 1024),
        (11, 2048),
        (100, 16384),
    ] {
        for state in ["", " drain", " down", " backup"] {
            let mut lines = weighted(&vec![1; servers]);
            lines[1] += state;
            let owners = owners_of(&service("a", 1, "maglev", &lines), "a");
            assert_eq!(owners.len(), size, "{servers} servers{state}");
        }
    }
}

/// Slots of servers in every state, for every scheduler.
#[test]
fn drain_down_and_backup() {
    let owned = |states: [&str; 4], scheduler: &str| -> BTreeSet<String> {
        let servers: Vec<String> = (1..)
            .zip(states)
            .map(|(at, state): (u32, _)| format!("server w{at} 10.20.0.{at} {state}"))
            .collect();
        owners_of(&service("a", 1, scheduler, &servers), "a")
            .into_iter()
            .collect()
    };
    for scheduler in ["round-robin", "random", "hash", "maglev"] {
        let is = |states, expected: &[&str]| {
            let expected: BTreeSet<String> = expected.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(owned(states, scheduler), expected, "{scheduler} {states:?}");
        };
        is(["", "", "", ""], &["w1", "w2", "w3", "w4"]);
        is(["", "drain", "down", "backup"], &["w1"]);
        is(["", "weight 0", "weight 3", "backup"], &["w1", "w3"]);
        // A drained one is not up.
        is(["drain", "drain", "down", "backup"], &["w4"]);
        is(
            ["weight 0", "backup weight 2", "down", "backup"],
            &["w2", "w4"],
        );
        is(["drain", "drain", "down", "weight 0"], &[]);
        is(["down", "down", "down", "down"], &[]);
    }
    let servers = [
        "server a 10.20.0.1 down",
        "server b 10.20.0.2 backup weight 2",
        "server c 10.20.0.3 backup",
    ];
    let text = service("a", 1, "rr", &servers.map(str::to_owned));
    assert_eq!(
        owners_of(&text, "a"),
        ["b", "c", "b"],
        "backups share by weight"
    );
}

/// A backup works while no other of its family in the service is up, its pools included.
#[test]
fn backups_are_for_their_family_in_the_whole_service() {
    let text = |own: &str| {
        format!(
            "pool p {{\n    server four 10.20.0.1 down\n    server six 2001:db8:1::1\n    server sorry4 10.20.0.9 backup\n    server sorry6 2001:db8:1::9 backup\n}}\n\
             service a {{\n    vip 192.0.2.1, 2001:db8::1 tcp 80\n    pool p\n{own}}}\n"
        )
    };
    assert_eq!(block(&text(""), "a", Family::V4, owners), ["sorry4"]);
    assert_eq!(block(&text(""), "a", Family::V6, owners), ["six"]);
    let with_own = text("    server own 10.20.0.2\n");
    assert_eq!(block(&with_own, "a", Family::V4, owners), ["own", "own"]);
}

/// Services with the same pools, scheduler and mode share their slots; others do not.
#[test]
fn a_shared_pool_costs_its_slots_once() {
    let pool = "pool p {\n    server 10.20.0.[1-3]\n}\n";
    let user = |name: &str, last: u8, more: &str| {
        format!("service {name} {{\n    vip 192.0.2.{last} tcp 80\n    pool p\n{more}}}\n")
    };
    let blocks = |text: &str| planned(text, |plan, _| plan.blocks.len()).0;
    let two = format!("{pool}{}{}", user("a", 1, ""), user("b", 2, ""));
    assert_eq!(blocks(&two), 1);
    for more in [
        "    scheduler hash\n",
        "    mode nat masquerade\n",
        "    server 10.20.0.9\n",
    ] {
        assert_eq!(blocks(&format!("{two}{}", user("c", 3, more))), 2, "{more}");
    }
}

#[test]
fn rounded_weights_tell_the_largest_error() {
    let faults = |weights: &[u16], scheduler: &str| {
        let text = service("a", 1, scheduler, &weighted(weights));
        planned(&text, |plan, _| owners(&plan.blocks[0]).len())
    };
    // 4096 slots are exact, and so is what divides down to them.
    for exact in [&[4095, 1][..], &[8190, 2], &[65535, 65535], &[2048, 2048]] {
        assert_eq!(faults(exact, "random").1, [""; 0], "{exact:?}");
    }
    let (slots, told) = faults(&[4096, 1], "random");
    assert_eq!(slots, 4096);
    assert_eq!(
        told,
        [
            "rounded-weights the weights of service `a` are rounded to 4096 slots: the share of `w1` is less than 0.1% too large"
        ]
    );
    let (_, told) = faults(&[65535, 1], "round-robin");
    assert_eq!(
        told,
        [
            "rounded-weights the weights of service `a` are rounded to 4096 slots: `w1` gets no new clients at all"
        ]
    );
    // 10001 : 5 : 3 of 4096 are 4092.7 : 2.05 : 1.23, so 4093 : 2 : 1.
    let (_, told) = faults(&[10001, 5, 3], "hash");
    assert_eq!(
        told,
        [
            "rounded-weights the weights of service `a` are rounded to 4096 slots: the share of `w2` is 18.5% too small"
        ]
    );
    // A table has as many slots whatever the weights.
    assert_eq!(faults(&[65535, 1], "maglev table 251").1, [""; 0]);
}

/// Marks have room for 262,144 services of one family that remember their clients, and for half with each bit that is left to
/// others.
#[test]
fn more_services_than_marks_can_tell_apart() {
    let text = "service s { vip 192.0.2.1 tcp 80\n persist 1m\n server own 10.99.0.1 }\n";
    let model = planned(text, |_, model| model.clone()).0;
    let told = |services: u32, shift: u8| {
        // That many as text would take a minute to check.
        let mut many = model.clone();
        let of_its_own = |i| {
            let mut service = model.services[0].clone();
            service.name = format!("s{i:06}").into();
            service.vips[0].address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + i));
            service
        };
        many.services = (0..services).map(of_its_own).collect();
        let mut sink = Diagnostics::new();
        let plan = schedule(&many, &mut sink);
        let layout = Layout::new(shift).unwrap();
        let numbers = number::fresh(&plan, "flbc", layout, &mut sink);
        let numbers: HashSet<u32> = numbers
            .blocks
            .iter()
            .flat_map(|b| b.servers.clone())
            .collect();
        assert!(numbers.iter().all(|number| layout.has(*number)));
        let told = sink.sorted().into_iter();
        let told: Vec<String> = told.map(|fault| fault.code.to_string()).collect();
        (numbers.len(), told)
    };
    for (services, shift) in [(262_144, 0), (65_536, 2), (1024, 8)] {
        let room = services as usize;
        // One more than there is room for: all others have a number, so that they alone are no fault.
        let fault = vec!["too-many".to_owned()];
        assert_eq!(told(services + 1, shift), (room, fault));
        if shift > 0 {
            assert_eq!(told(services, shift), (room, Vec::<String>::new()));
        }
    }
}

/// A single server has no slots, and every client.
#[test]
fn a_single_server_needs_no_table() {
    for scheduler in ["rr", "random", "hash", "maglev table 251"] {
        let text = service("a", 1, scheduler, &weighted(&[7]));
        let only = block(&text, "a", Family::V4, |block| block.choice.clone());
        assert_eq!(only, Choice::Only(0), "{scheduler}");
    }
    let drawn = |scheduler: &str| {
        let text = service("a", 1, scheduler, &weighted(&[1, 1]));
        block(&text, "a", Family::V4, |block| match &block.choice {
            Choice::Slots { draw, .. } => Some(*draw),
            _ => None,
        })
    };
    assert_eq!(drawn("rr"), Some(Draw::InTurn));
    assert_eq!(drawn("random"), Some(Draw::AtRandom));
    assert!(matches!(drawn("maglev"), Some(Draw::Hashed(_))));
}
