//! The table that grows: who moves when servers come and go, asked of the plan that the rules are made from.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "helpers of tests are tests too"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use flbc::diagnostic::Diagnostics;
use flbc::schedule::{Choice, schedule};
use flbc::source::Sources;
use flbc::syntax::Input;
use proptest::prelude::*;

/// A server: the last two bytes of its address, its weight, and its state as the file writes it.
type Server = (u16, u16, &'static str);

/// The owner of each slot, by its address.
fn table(servers: &[Server]) -> Vec<Ipv4Addr> {
    owners("maglev", servers)
}

fn owners(scheduler: &str, servers: &[Server]) -> Vec<Ipv4Addr> {
    let mut text = format!("service a {{\nvip 192.0.2.1 tcp 80\nscheduler {scheduler}\n");
    for (host, weight, state) in servers {
        let _ = writeln!(text, "server {} weight {weight} {state}", address(*host));
    }
    text.push_str("}\n");
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = flbc::read(Input::Stdin(text.clone().into()), &mut sources, &mut sink);
    let model = model.unwrap_or_else(|| panic!("{:?}\n{text}", sink.sorted()));
    let plan = schedule(&model, &mut sink);
    let block = &plan.blocks[0];
    let owner = |at: usize| match block.servers[at].address {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => panic!("IPv6"),
    };
    match &block.choice {
        Choice::Empty => panic!("nobody"),
        Choice::Only(at) => vec![owner(*at)],
        Choice::Slots { owners, .. } => owners.iter().map(|at| owner(*at as usize)).collect(),
    }
}

fn address(host: u16) -> Ipv4Addr {
    Ipv4Addr::from(0x0a14_0000 + u32::from(host))
}

/// The share of clients that have another server now: slots are drawn as parts of the whole.
fn moved(old: &[Ipv4Addr], new: &[Ipv4Addr]) -> f64 {
    let (mut at, mut next, mut moved) = (0, 0, 0);
    let mut here = 0;
    // Ends of slots on a scale that has a whole number for both.
    while at < old.len() && next < new.len() {
        let (old_end, new_end) = ((at + 1) * new.len(), (next + 1) * old.len());
        let end = old_end.min(new_end);
        if old[at] != new[next] {
            moved += end - here;
        }
        at += usize::from(old_end == end);
        next += usize::from(new_end == end);
        here = end;
    }
    moved as f64 / here as f64
}

/// Each server's part of the clients.
fn parts(table: &[Ipv4Addr]) -> BTreeMap<Ipv4Addr, f64> {
    let mut parts = BTreeMap::new();
    for owner in table {
        *parts.entry(*owner).or_default() += 1.0 / table.len() as f64;
    }
    parts
}

/// The part that a server's weight asks for.
fn share(servers: &[Server], host: u16) -> f64 {
    let weight = |these: &mut dyn Iterator<Item = &Server>| -> f64 {
        these.map(|(_, weight, _)| f64::from(*weight)).sum()
    };
    let own = weight(&mut servers.iter().filter(|(one, ..)| *one == host));
    own / weight(&mut servers.iter())
}

/// Every server has something, and where its weight asks for a hundred slots, so much, `within` a part.
#[track_caller]
fn assert_fair(servers: &[Server], table: &[Ipv4Addr], within: f64) {
    let parts = parts(table);
    for (host, ..) in servers {
        let share = share(servers, *host);
        let part = parts.get(&address(*host)).copied().unwrap_or_default();
        assert!(part > 0.0, "{host} of {servers:?} has nothing");
        if share * table.len() as f64 >= 100.0 {
            let off = (part / share - 1.0).abs();
            assert!(
                off <= within,
                "{host} has {part} for {share} of {servers:?}"
            );
        }
    }
}

/// How far from its share a server's part may be.
const FAIR: f64 = 0.03;

/// The same while others are idle: who keeps what it has, so that nobody moves, may be further off.
const FAIR_BESIDE_IDLE: f64 = 0.05;

/// What a server more moves beside its share at most, in these rows of servers: what flb.5 and docs/ruleset.md tell.
const MORE: f64 = 0.10;

/// The same that is promised for any servers.
const PROMISED: f64 = 0.15;

/// So many servers at addresses in no order, another row for each trial.
fn row(count: u16, most: u16, trial: u16) -> Vec<Server> {
    let mixed = |at: u16| (at + trial * 401).wrapping_mul(40_503);
    let weight = |at: u16| mixed(at) / 7 % most + 1;
    (1..=count).map(|at| (mixed(at), weight(at), "")).collect()
}

/// What the last of these servers moves beside its share, which must be little.
fn moved_beside(servers: &[Server]) -> f64 {
    let (last, others) = servers.split_last().unwrap();
    let (before, now) = (table(others), table(servers));
    assert_fair(others, &before, FAIR);
    assert_fair(servers, &now, FAIR);
    let share = share(servers, last.0);
    let more = moved(&before, &now) - share;
    let count = servers.len();
    assert!(more <= MORE, "the {count}th moves {more} beside {share}");
    more
}

/// From every number of servers to the next; going back is the same read backwards. All 300 would take a minute.
fn from_one_to_three_hundred(most: u16) {
    let around_growth = [81, 82, 163, 164];
    let counts = (2..=45).chain(around_growth).chain((50..=301).step_by(25));
    let moved = counts.map(|count| moved_beside(&row(count, most, 0)));
    assert!(
        moved.sum::<f64>() > 0.5,
        "nobody moved: is this test blind?"
    );
}

#[test]
fn a_server_of_equal_weights_moves_little_beside_its_share() {
    from_one_to_three_hundred(1);
}

#[test]
fn a_server_of_weights_from_one_to_five_moves_little_beside_its_share() {
    from_one_to_three_hundred(5);
}

/// The figures of docs/ruleset.md, mean and worst: `FLBC_TRIALS=400 cargo test --release --test growing figures -- --nocapture`.
#[test]
fn the_figures() {
    let trials = std::env::var("FLBC_TRIALS").map_or(4, |trials| trials.parse().unwrap());
    for most in [1, 5] {
        for (count, told) in [
            (1, 0.1),
            (2, 2.0),
            (5, 3.0),
            (10, 3.0),
            (20, 3.5),
            (40, 5.5),
            (81, 6.0),
        ] {
            let moved: Vec<f64> = (0..trials)
                .map(|trial| moved_beside(&row(count + 1, most, trial)) * 100.0)
                .collect();
            let mean = moved.iter().sum::<f64>() / f64::from(trials);
            let worst = moved.iter().copied().fold(0.0, f64::max);
            eprintln!("weights 1 to {most}, {count} servers and one more: {mean:.1}, {worst:.1}");
            assert!(mean <= told + 2.0, "{mean} on average");
        }
    }
}

/// One to so many servers at addresses of their own, in no order.
fn some_servers(most: usize, weight: u16) -> impl Strategy<Value = Vec<Server>> {
    let server = (any::<u16>(), 1..=weight);
    prop::collection::btree_map(any::<u16>(), server, 1..=most).prop_map(|servers| {
        let mut servers: Vec<_> = servers.into_iter().collect();
        servers.sort_by_key(|(_, (order, _))| *order);
        servers
            .into_iter()
            .map(|(host, (_, weight))| (host, weight, ""))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 48,
        ..ProptestConfig::default()
    })]

    /// Any of some servers goes, or comes back.
    #[test]
    fn any_server_moves_little_beside_its_share(
        servers in prop_oneof![some_servers(12, 5), some_servers(60, 1), some_servers(150, 5)],
        which in any::<prop::sample::Index>(),
    ) {
        prop_assume!(servers.len() > 1);
        let mut left = servers.clone();
        let (gone, ..) = left.remove(which.index(servers.len()));
        let (all, rest) = (table(&servers), table(&left));
        assert_fair(&servers, &all, FAIR);
        prop_assert!(moved(&all, &rest) <= share(&servers, gone) + PROMISED);
    }

    /// How the file is ordered and how the servers came to be there says nothing.
    #[test]
    fn the_servers_alone_make_the_table(
        servers in some_servers(30, 5),
        turn in any::<prop::sample::Index>(),
    ) {
        let mut turned = servers.clone();
        turned.rotate_left(turn.index(servers.len()));
        turned.swap(0, turn.index(servers.len()));
        prop_assert_eq!(table(&servers), table(&turned));
    }

    /// A server that is drained or down gives its clients to the others, in proportion, and nobody else moves; when
    /// it comes back it gets the same ones. The same where others are down already.
    #[test]
    fn a_change_of_state_moves_its_servers_clients_alone(
        servers in some_servers(30, 5),
        state in prop::sample::select(&["drain", "down"][..]),
        which in any::<prop::sample::Index>(),
    ) {
        prop_assume!(servers.len() > 1);
        let mut idle = servers.clone();
        let at = which.index(servers.len());
        idle[at].2 = state;
        let gone = address(idle[at].0);
        let (all, rest) = (table(&servers), table(&idle));
        prop_assert_eq!(all.len(), rest.len());
        for (had, has) in all.iter().zip(&rest) {
            prop_assert!(*has != gone);
            prop_assert!(had == has || *had == gone);
        }
        let left: Vec<Server> = idle.into_iter().filter(|(.., state)| state.is_empty()).collect();
        assert_fair(&left, &rest, FAIR_BESIDE_IDLE);
    }

    /// Several idle servers: whoever is left has a fair share, and the clients of those that were up and stay up stay.
    #[test]
    fn whoever_is_left_shares_what_the_idle_had(
        servers in some_servers(40, 5),
        idle in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
    ) {
        let mut some = servers.clone();
        for at in idle {
            some[at.index(servers.len())].2 = "down";
        }
        let left: Vec<Server> = some.iter().filter(|(.., state)| state.is_empty()).copied().collect();
        prop_assume!(!left.is_empty() && servers.len() > 1);
        let (all, rest) = (table(&servers), table(&some));
        let up = |owner: &Ipv4Addr| left.iter().any(|(host, ..)| address(*host) == *owner);
        for (had, has) in all.iter().zip(&rest) {
            prop_assert!(up(has));
            prop_assert!(had == has || !up(had));
        }
        assert_fair(&left, &rest, FAIR_BESIDE_IDLE);
    }
}

/// A backup has no share while others serve, whether it rests or was set down since; and it counts for the size.
#[test]
fn a_backup_has_no_share_while_others_serve() {
    let two = [(1, 1, ""), (2, 1, "")];
    let with = |state| [(1, 1, ""), (2, 1, ""), (3, 1, state)];
    assert_eq!(table(&two), table(&with("backup")));
    assert_ne!(table(&two), table(&with("down")));
    let alone = table(&[
        (1, 1, "down"),
        (2, 1, "drain"),
        (3, 2, "backup"),
        (4, 1, "backup"),
    ]);
    let backups = [(3, 2, ""), (4, 1, "")];
    assert_fair(&backups, &alone, FAIR);
    let five = [
        (1, 1, ""),
        (2, 1, ""),
        (3, 1, "backup"),
        (4, 1, "backup"),
        (5, 1, "backup"),
    ];
    assert_eq!(table(&five).len(), 512);
    let six = [five.as_slice(), &[(6, 1, "backup")]].concat();
    assert_eq!(table(&six).len(), 1024);
    assert!(
        moved(&table(&five), &table(&six)) < 0.02,
        "halves keep their owners"
    );
}

/// A weight that asks for less than a slot gets one.
#[test]
fn nobody_is_left_out() {
    let servers = [(1, 1, ""), (2, 65_535, ""), (3, 1, ""), (4, 30_000, "")];
    let counts = parts(&table(&servers));
    for (host, slots) in [(1, 1.0), (3, 1.0)] {
        assert!((counts[&address(host)] * 512.0 - slots).abs() < 0.01);
    }
    assert_fair(&servers, &table(&servers), FAIR);
}

/// The same for the paper's table, of exactly the size that the file names.
#[test]
fn a_table_that_is_named_is_the_papers() {
    let servers: Vec<Server> = (1..=7).map(|host| (host, 1, "")).collect();
    let table = owners("maglev table 251", &servers);
    assert_eq!(table.len(), 251);
    let parts = parts(&table);
    for part in parts.values() {
        assert!((part * 251.0 - 251.0 / 7.0).abs() <= 1.0, "{parts:?}");
    }
}

/// What a release changes here moves the clients of every table at the first apply after it.
#[test]
fn the_tables_are_those_that_they_were() {
    let hosts = |servers: &[Server]| -> Vec<u8> {
        let owners = table(servers);
        owners.iter().map(|owner| owner.octets()[3]).collect()
    };
    let few = hosts(&[(1, 1, ""), (2, 2, ""), (3, 1, "down"), (4, 3, "")]);
    let first = [
        4, 1, 1, 4, 4, 2, 1, 2, 1, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2, 4, 2, 4,
    ];
    assert_eq!(few[..24], first);
    // Doubled twice.
    let many: Vec<Server> = (1..=12).map(|host| (host, host % 5 + 1, "")).collect();
    let sum = hosts(&many).iter().fold(0_u32, |sum, host| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*host))
    });
    assert_eq!(sum, 1_522_369_791);
}
