//! An engine that is kept makes the same of every change as whole applies do, and leaves the same behind.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::engine::{Changed, change, set as set_by_engine};
use rustix::io::Errno;

use super::*;
use crate::engine::{Engine, Why};
use crate::model::{
    Effective, Lacking, LayerChanges, Layers, Place, ServerKey, State, Verdict, Wanted, Wish,
};

/// Numbers that a seed gives, and always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        let sides = sides as u64;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 20) % sides).unwrap()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.roll(many) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }
}

/// Servers of a service or a pool.
fn servers(dice: &mut Dice, net: usize, with_port: bool) -> String {
    let mut text = String::new();
    for host in 1..=1 + dice.roll(4) {
        let six = dice.one_in(4);
        let port = if with_port && dice.one_in(3) {
            ":8080"
        } else {
            ""
        };
        let address = match (six, port) {
            (true, "") => format!("2001:db8:{net}::{host}"),
            (true, port) => format!("[2001:db8:{net}::{host}]{port}"),
            (false, port) => format!("10.20.{net}.{host}{port}"),
        };
        let weight = dice.of(&["", "", " weight 2", " weight 3", " weight 0"]);
        let state = dice.of(&["", "", "", " drain", " down", " backup"]);
        let _ = writeln!(text, "    server w{host} {address}{weight}{state}");
    }
    text
}

/// A file with all kinds of services.
fn file(dice: &mut Dice) -> String {
    let pools = 1 + dice.roll(3);
    let mut text = String::new();
    for pool in 0..pools {
        let of_pool = servers(dice, 100 + pool, false);
        let _ = write!(text, "pool p{pool} {{\n{of_pool}}}\n");
    }
    for service in 0..2 + dice.roll(6) {
        let direct = dice.one_in(3);
        let mode = if direct {
            dice.of(&["dr on eth0", "dr on eth0 via eth1"])
        } else {
            dice.of(&["nat", "nat masquerade", "nat snat 192.0.2.1, 2001:db8::1"])
        };
        let _ = writeln!(
            text,
            "service s{service} {{\n    vip 192.0.2.{v}, 2001:db8::{v} tcp, udp 80\n    mode {mode}",
            v = 10 + service
        );
        // Whose later fragments are these?
        if dice.one_in(3) {
            let port = 1000 + service;
            let _ = writeln!(text, "    vip 192.0.2.9, 2001:db8::9 tcp {port}");
        }
        let scheduler = dice.of(&["rr", "random", "hash", "maglev table 31", "hash by source"]);
        let _ = writeln!(text, "    scheduler {scheduler}");
        for statement in ["persist 5m", "deny from 203.0.113.0/24"] {
            if dice.one_in(4) {
                let _ = writeln!(text, "    {statement}");
            }
        }
        let _ = writeln!(text, "    on-empty {}", dice.of(&["reject", "drop"]));
        if direct && dice.one_in(2) {
            text.push_str("    track 5m\n");
        }
        if dice.one_in(2) {
            let _ = writeln!(text, "    pool p{}", dice.roll(pools));
        } else {
            text.push_str(&servers(dice, service, !direct));
        }
        text.push_str("}\n");
    }
    text
}

/// Every server that a file declares.
fn keys(model: &Model) -> Vec<ServerKey> {
    let key = |place: Place, server: &Arc<str>| ServerKey {
        place,
        server: server.clone(),
    };
    let pools = model.pools.iter().flat_map(|pool| {
        let servers = pool.real_servers.iter();
        servers.map(|server| key(Place::Pool(pool.name.clone()), &server.name))
    });
    let own = model.services.iter().flat_map(|service| {
        let servers = service.own_servers();
        servers.map(|server| key(Place::Service(service.name.clone()), &server.name))
    });
    pools.chain(own).collect()
}

/// Something to change of some servers.
fn changes(dice: &mut Dice, keys: &[ServerKey]) -> LayerChanges {
    let mut changes = LayerChanges::default();
    for _ in 0..=dice.roll(3) {
        let key = keys[dice.roll(keys.len())].clone();
        if dice.one_in(2) {
            let verdict = dice.of(&[None, Some(Verdict::Alive), Some(Verdict::Dead)]);
            changes.health.insert(key, verdict);
            continue;
        }
        let state = dice.of(&[None, Some(State::Up), Some(State::Drain), Some(State::Down)]);
        let weight = dice.of(&[None, None, Some(0), Some(1), Some(2), Some(5)]);
        let wanted = Wish {
            state: state.map(|value| Wanted { value, since: 1 }),
            weight: weight.map(|value| Wanted { value, since: 1 }),
            address: None,
            port: None,
        };
        let ends = dice.one_in(4);
        changes.operator.insert(key, (!ends).then_some(wanted));
    }
    changes
}

impl Host {
    #[track_caller]
    fn engine(&mut self) -> Engine {
        Engine::of(&mut self.tables()).unwrap().unwrap()
    }

    #[track_caller]
    fn change(&mut self, engine: &mut Engine, changes: LayerChanges) -> Changed {
        let outcome = self.in_turn(true, |tables| {
            change(tables, engine, changes, &mut Diagnostics::new())
        });
        outcome.unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// The same by a whole apply.
    #[track_caller]
    fn change_whole(&mut self, declared: &Model, layers: &Layers) -> Applied {
        let outcome = self.in_turn(true, |tables| {
            let beside = (declared.clone(), layers.clone());
            let job = Job::of_complete(tables, beside.0, beside.1, (None, Vec::new()))?;
            job.commit(tables, &mut Diagnostics::new())
        });
        outcome.unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// What the notes say of the tables.
    fn noted(&mut self) -> Option<(Vec<u8>, bool)> {
        let (known, current) = self.tables().recall_and_compare()?;
        Some((known.to_note(), current))
    }
}

/// What an apply says it did.
fn said(applied: &Applied) -> (String, Vec<String>, usize, usize, usize) {
    let Applied {
        forgotten,
        marked,
        clients,
        ..
    } = applied;
    let words = applied.text(false);
    (words, applied.notes.clone(), *forgotten, *marked, *clients)
}

/// Runs changes both ways; says how many were made of the servers alone, and why the others were not.
fn both_ways(seed: u64) -> BTreeMap<String, usize> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let text = file(&mut dice);
    let declared = model(&text);
    let all = keys(&declared);
    let mut host = Host::new();
    let shift = dice.one_in(4).then_some(4);
    if let (Err(refused), _) = host.run(&text, (true, false, shift)) {
        panic!("{refused}\n{text}");
    }
    let mut other = host.twin();
    let mut engine = host.engine();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..12 {
        for server in host.servers() {
            if let Some(address) = server.address
                && dice.one_in(3)
            {
                let last = 10 + dice.roll(8);
                let (vip, protocol) = (at(&format!("192.0.2.{last}:80")), Protocol::Tcp);
                let connection = Connection {
                    protocol: protocol.number(),
                    client: client(host.kernel.connections.len() % 200),
                    client_port: Some(1234),
                    vip: vip.ip(),
                    vip_port: Some(80),
                    server: address,
                    server_port: server.port.or(Some(80)),
                    mark: server.number,
                };
                host.kernel.connections.push(connection.clone());
                other.kernel.connections.push(connection);
            }
        }
        let wanted = changes(&mut dice, &all);
        let mut layers = other.layers_held();
        engine.narrowed(wanted.clone()).put_into(&mut layers);
        let changed = host.change(&mut engine, wanted);
        let whole = other.change_whole(&declared, &layers);
        let why = changed
            .whole
            .map_or_else(String::new, |why| format!("{why:?}"));
        *outcomes.entry(why).or_default() += 1;
        assert_eq!(said(&changed.applied), said(&whole), "{seed}\n{text}");
        assert_eq!(
            host.kernel.observed, other.kernel.observed,
            "{seed}\n{text}"
        );
        assert_eq!(host.kernel.connections, other.kernel.connections, "{seed}");
        assert_eq!(host.noted(), other.noted(), "{seed}\n{text}");
        assert_eq!(*engine.layers(), layers, "{seed}");
        assert_eq!(engine.generation(), host.kernel.observed.generation);
        let look = host.tables().look().unwrap();
        assert_eq!(
            look.in_force(),
            Some(true),
            "{:?} {:?}",
            look.drift,
            look.gaps
        );
        let expected = Effective::of(declared.clone(), layers, Lacking::new());
        assert_eq!(engine.effective().marks(), expected.marks());
        // Whoever is started anew knows the same, and reads nothing.
        if dice.one_in(3) {
            let readings = host.kernel.readings;
            engine = host.engine();
            assert_eq!(host.kernel.readings, readings);
        }
    }
    outcomes
}

impl Host {
    /// What is said beside the file, as the note has it.
    fn layers_held(&mut self) -> Layers {
        let known = self.tables().recall().unwrap();
        known.effective.layers().clone()
    }
}

/// How many files are tried; `FLBC_TRIALS=500 cargo test --lib engine` tries more.
fn trials() -> u64 {
    let wanted = std::env::var("FLBC_TRIALS").ok();
    wanted.and_then(|many| many.parse().ok()).unwrap_or(12)
}

#[test]
fn what_an_engine_makes_of_changes_is_what_whole_applies_make_of_them() {
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 1..=trials() {
        for (why, count) in both_ways(seed) {
            *all.entry(why).or_default() += count;
        }
    }
    let alone = all.remove("").unwrap_or_default();
    let whole: usize = all.values().sum();
    // Files are so small that what services share comes and goes with one of them.
    assert!(
        alone > 3 * whole && whole > 0,
        "{alone} of servers alone, {all:?}"
    );
}

/// Three services of one kind.
const ALIKE: &str = "
    service a { vip 192.0.2.10 tcp 80; server w1 10.20.0.1; server w2 10.20.0.2 weight 2 }
    service b { vip 192.0.2.11 tcp 80; server w1 10.20.1.1; server w2 10.20.1.2; server w3 10.20.1.3 }
    service c { vip 192.0.2.12 tcp 80; server w1 10.20.2.1; server w2 10.20.2.2 }";

/// The verdict on servers of services.
fn verdicts<const N: usize>(all: [(&str, Option<Verdict>); N]) -> LayerChanges {
    let key = |server: &str| {
        let (service, server) = server.split_once(' ').unwrap();
        ServerKey {
            place: Place::Service(service.into()),
            server: server.into(),
        }
    };
    let health = all.map(|(server, verdict)| (key(server), verdict));
    LayerChanges {
        health: health.into(),
        ..LayerChanges::default()
    }
}

const DEAD: Option<Verdict> = Some(Verdict::Dead);

#[test]
fn an_engine_changes_elements_and_its_services_rule_alone() {
    let mut host = Host::new();
    host.apply(ALIKE);
    let mut engine = host.engine();
    let readings = host.kernel.readings;
    host.connect(Protocol::Tcp, "192.0.2.12:80", "w1 of c");
    host.connect(Protocol::Tcp, "192.0.2.12:80", "w2 of c");
    // One of two is half of them: both slots are the other's, and no rule changes.
    let changed = host.change(&mut engine, verdicts([("c w1", DEAD)]));
    let words = changed.applied.text(false);
    assert!(
        words.starts_with("~ c: w1 up -> down (health)\n"),
        "{words}"
    );
    assert_eq!((changed.whole, changed.applied.totals.structure), (None, 0));
    assert_eq!(host.stand("c"), ["w1 down 0/2", "w2 up 2/2"]);
    assert_eq!(changed.applied.forgotten, 1);
    assert_eq!(host.connected(), ["w2 of c"]);
    // Two of three are no part of three slots: the one rule that draws is another.
    let changed = host.change(&mut engine, verdicts([("b w1", DEAD)]));
    assert_eq!((changed.whole, changed.applied.totals.structure), (None, 2));
    assert_eq!(host.stand("b"), ["w1 down 0/2", "w2 up 1/2", "w3 up 1/2"]);
    // Nobody is left, though others of the kind have slots.
    let changed = host.change(&mut engine, verdicts([("c w2", DEAD)]));
    assert_eq!(changed.whole, None);
    assert_eq!(host.stand("c"), ["w1 down 0/0", "w2 down 0/0"]);
    assert_eq!(host.kernel.readings, readings, "nothing was read");
    let all = ["a w1", "a w2", "b w2", "b w3"].map(|server| (server, DEAD));
    let changed = host.change(&mut engine, verdicts(all));
    assert_eq!(
        changed.whole,
        Some(Why::Structure),
        "no slot is left at all"
    );
    let back = ["a w1", "a w2", "b w1", "b w2", "b w3", "c w1", "c w2"];
    host.change(&mut engine, verdicts(back.map(|server| (server, None))));
    assert!(engine.layers().is_empty());
    let after = host.apply(ALIKE);
    assert!(after.is_nothing(), "{}", after.text(false));
}

#[test]
fn what_changed_amends_the_note_and_is_known_to_whoever_comes_next() {
    let mut host = Host::new();
    host.apply(ALIKE);
    let mut engine = host.engine();
    let note = std::fs::read(&host.notes(".state")[0]).unwrap();
    let mut set = |host: &mut Host, (service, server), demand| {
        let set = host.in_turn(true, |tables| {
            let (of, sink) = ((service, server), &mut Diagnostics::new());
            set_by_engine(tables, &mut engine, of, demand, sink)
        });
        set.unwrap()
    };
    set(&mut host, ("b", "w1"), Demand::State(State::Down));
    let set = set(&mut host, ("c", "w1"), Demand::Weight(3));
    assert_eq!(
        set.applied.difference.lines,
        ["~ c: w1 weight 1 -> 3 (set)"]
    );
    assert_eq!(set.users, ["c"]);
    assert_eq!(std::fs::read(&host.notes(".state")[0]).unwrap(), note);
    assert_eq!(host.notes(".aside").len(), 0);
    assert_eq!(host.wishes().len(), 2);
    // `flbc set` without an engine goes on from there.
    let readings = host.kernel.readings;
    let told = host
        .set("c w2", Demand::State(State::Drain))
        .applied
        .text(false);
    assert!(told.starts_with("~ c: w2 up -> drain (set)\n"), "{told}");
    assert_eq!(host.stand("c"), ["w1 up 2/2", "w2 drain 0/2"]);
    assert_eq!(host.kernel.readings, readings);
    assert!(host.notes(".amended").is_empty(), "the note is whole again");
}

#[test]
fn an_amendment_that_is_damaged_or_of_another_note_counts_for_nothing() {
    let damage: [fn(&Host); 3] = [
        |host| {
            let path = &host.notes(".amended")[0];
            let mut bytes = std::fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        |host| std::fs::remove_file(&host.notes(".amended")[0]).unwrap(),
        |host| std::fs::write(&host.notes(".amended")[0], b"").unwrap(),
    ];
    for damage in damage {
        let mut host = Host::new();
        host.apply(ALIKE);
        let mut engine = host.engine();
        let before = host.has();
        host.change(&mut engine, verdicts([("b w1", DEAD)]));
        damage(&host);
        assert!(Engine::of(&mut host.tables()).unwrap().is_none());
        let readings = host.kernel.readings;
        let applied = host.try_apply(ALIKE).unwrap();
        assert!(host.kernel.readings > readings && !applied.totals.is_empty());
        same(&host.has(), &before);
    }
}

#[test]
fn whoever_committed_meanwhile_is_found_by_a_whole_apply() {
    let mut host = Host::new();
    host.apply(ALIKE);
    let mut engine = host.engine();
    let before = host.has();
    // Others' rules, and then flbc's own.
    host.by_hand(|_| {});
    let changed = host.change(&mut engine, verdicts([("b w1", DEAD)]));
    let drift = changed.applied.drift.len();
    assert_eq!((changed.whole, drift), (Some(Why::Foreign), 0));
    let changed = host.change(&mut engine, verdicts([("b w1", None)]));
    assert_eq!(changed.whole, None);
    host.by_hand(|observed| {
        let table = observed.inet.as_mut().unwrap();
        let slots = table.sets.iter_mut().find(|set| *set.name == *"slot");
        slots.unwrap().elements.pop();
    });
    let changed = host.change(&mut engine, verdicts([("a w1", DEAD)]));
    let drift = changed.applied.drift.len();
    assert_eq!((changed.whole, drift), (Some(Why::Foreign), 1));
    let changed = host.change(&mut engine, verdicts([("a w1", None)]));
    assert_eq!(changed.whole, None);
    assert_eq!(host.stand("a"), ["w1 up 1/3", "w2 up 2/3"]);
    assert_eq!(host.apply(ALIKE).totals.structure, 0);
    assert_eq!(host.has().has_tables(), before.has_tables());
}

#[test]
fn what_is_left_out_stays_so_and_is_for_a_whole_apply() {
    let mut host = Host::new();
    let file = format!(
        "service absent {{ vip 192.0.2.20 tcp 80; mode dr on eth9; server w1 10.20.3.1; server w2 10.20.3.2 }}\n{ALIKE}"
    );
    assert_eq!(host.try_apply(&file).unwrap().left_out, 1);
    let mut engine = host.engine();
    let changed = host.change(&mut engine, verdicts([("b w1", DEAD)]));
    assert_eq!((changed.whole, changed.applied.left_out), (None, 1));
    assert_eq!(host.stand("b"), ["w1 down 0/2", "w2 up 1/2", "w3 up 1/2"]);
    let changed = host.change(&mut engine, verdicts([("absent w1", DEAD)]));
    assert_eq!(
        (changed.whole, changed.applied.left_out),
        (Some(Why::LeftOut), 1)
    );
    let changed = host.change(&mut engine, verdicts([("b w1", None), ("c w2", DEAD)]));
    assert_eq!(changed.whole, None);
    assert_eq!(host.stand("b"), ["w1 up 1/3", "w2 up 1/3", "w3 up 1/3"]);
    assert_eq!(engine.layers().health.len(), 2);
}

#[test]
fn a_pool_of_many_services_is_changed_for_all_of_them() {
    let file = (0..80).fold(
        String::from("pool web { server w[1-4] 10.20.0.[1-4] }\n"),
        |mut text, n| {
            let own = if n % 2 == 0 { "" } else { "persist 5m;" };
            let _ = writeln!(
                text,
                "service s{n} {{ vip 203.0.113.{n} tcp 80; {own} pool web }}"
            );
            text
        },
    );
    let mut host = Host::new();
    host.apply(&file);
    let mut engine = host.engine();
    let key = ServerKey {
        place: Place::Pool("web".into()),
        server: "w2".into(),
    };
    let verdict = |verdict| LayerChanges {
        health: [(key.clone(), verdict)].into(),
        ..LayerChanges::default()
    };
    for (said, stands) in [(DEAD, "w2 down 0/3"), (None, "w2 up 1/4")] {
        let changed = host.change(&mut engine, verdict(said));
        assert_eq!(changed.whole, None);
        for service in ["s0", "s79"] {
            assert_eq!(host.stand(service)[1], stands);
        }
        // The rule of each service is another.
        assert_eq!(changed.applied.totals.structure, 2 * 80);
    }
}

#[test]
fn later_fragments_are_one_services_where_no_other_has_the_address() {
    let service = |name: &str, vip: &str, servers: &str| {
        format!(
            "service {name} {{ vip {vip}; mode dr on eth0; scheduler maglev table 31; {servers} }}\n"
        )
    };
    let two = "server w1 10.20.0.1; server w2 10.20.0.2";
    let file = [
        service("one", "192.0.2.10 tcp 80", "server w1 10.20.0.1"),
        service("own", "192.0.2.11 tcp 80", two),
        service("here", "192.0.2.12 tcp 80", two),
        service("there", "192.0.2.12 tcp 81", two),
    ];
    let mut host = Host::new();
    host.apply(&file.concat());
    let mut engine = host.engine();
    let found = |host: &Host| {
        let table = host.kernel.observed.netdev.as_ref().unwrap();
        let set = table.sets.iter().find(|set| *set.name == *"frag4_eth0");
        set.unwrap().elements.len()
    };
    // The one server that is left gets them; where two services might be meant nobody does.
    for (server, fragments) in [("own w1", 2), ("here w1", 1)] {
        let changed = host.change(&mut engine, verdicts([(server, DEAD)]));
        assert_eq!((changed.whole, found(&host)), (None, fragments));
        let changed = host.change(&mut engine, verdicts([(server, None)]));
        assert_eq!((changed.whole, found(&host)), (None, 1));
    }
}

#[test]
fn whoever_is_killed_around_the_transaction_leaves_it_to_be_read() {
    let mut host = Host::new();
    host.apply(ALIKE);
    let mut engine = host.engine();
    host.change(&mut engine, verdicts([("b w1", DEAD)]));
    host.change(&mut engine, verdicts([("c w1", DEAD)]));
    host.kill_after_transaction();
    assert!(Engine::of(&mut host.tables()).unwrap().is_none());
    let declared = model(ALIKE);
    let layers = engine.layers().clone();
    let readings = host.kernel.readings;
    let applied = host.change_whole(&declared, &layers);
    assert!(applied.is_nothing(), "{}", applied.text(false));
    assert!(host.kernel.readings > readings);
    assert_eq!(host.engine().layers(), &layers);
}

#[test]
fn what_another_flbc_applied_meanwhile_stays() {
    let mut host = Host::new();
    host.apply(ALIKE);
    let mut engine = host.engine();
    let other = ALIKE.replace("weight 2", "weight 5");
    host.apply(&other);
    let changed = host.change(&mut engine, verdicts([("b w1", DEAD)]));
    assert_eq!(changed.whole, None);
    assert_eq!(host.stand("a"), ["w1 up 1/6", "w2 up 5/6"]);
    assert_eq!(host.stand("b"), ["w1 down 0/2", "w2 up 1/2", "w3 up 1/2"]);
}

#[test]
fn others_rules_that_touch_no_table_of_flbcs_change_nothing() {
    let mut host = Host::new();
    host.apply(ALIKE);
    let mut engine = host.engine();
    host.change(&mut engine, verdicts([("b w1", DEAD)]));
    for _ in 0..2 {
        host.by_hand(|_| {});
        assert!(engine.is_unchanged(&mut host.tables()).unwrap());
        assert_eq!(engine.generation(), host.kernel.observed.generation);
        assert!(host.noted().unwrap().1);
    }
    assert_eq!(
        host.change(&mut engine, verdicts([("b w1", None)])).whole,
        None
    );
    host.by_hand(|observed| {
        let table = observed.inet.as_mut().unwrap();
        let slots = table.sets.iter_mut().find(|set| *set.name == *"slot");
        slots.unwrap().elements.pop();
    });
    assert!(!engine.is_unchanged(&mut host.tables()).unwrap());
}

#[test]
fn what_the_kernel_refuses_changes_nothing() {
    let mut host = Host::new();
    host.apply(ALIKE);
    let mut engine = host.engine();
    let (before, noted) = (host.has(), host.noted());
    host.kernel.refuse = Some((host.kernel.asked + 1, Errno::NOMEM));
    let outcome = host.in_turn(true, |tables| {
        let server = ("b", "w1");
        let demand = Demand::State(State::Down);
        set_by_engine(tables, &mut engine, server, demand, &mut Diagnostics::new())
    });
    outcome.unwrap_err();
    host.kernel.refuse = None;
    assert_eq!((host.has(), host.noted()), (before, noted));
    assert!(host.wishes().is_empty() && engine.layers().is_empty());
    let changed = host.change(&mut engine, verdicts([("b w1", DEAD)]));
    assert_eq!(changed.whole, None);
}

#[test]
fn many_amendments_make_the_note_whole_again() {
    let file = (0..64).fold(String::new(), |mut text, n| {
        let _ = writeln!(
            text,
            "service s{n} {{ vip 203.0.113.{n} tcp 80; server w[1-20] 10.20.{n}.[1-20] }}"
        );
        text
    });
    let mut host = Host::new();
    host.apply(&file);
    let mut engine = host.engine();
    let keys = keys(&model(&file));
    let verdicts = |keys: &[ServerKey]| LayerChanges {
        health: keys
            .iter()
            .map(|key| (key.clone(), Verdict::Dead.into()))
            .collect(),
        ..LayerChanges::default()
    };
    host.change(&mut engine, verdicts(&keys[..20]));
    assert_eq!(host.notes(".amended").len(), 1);
    host.change(&mut engine, verdicts(&keys[20..1000]));
    assert!(host.notes(".amended").is_empty());
    host.change(&mut engine, verdicts(&keys[1000..1001]));
    assert_eq!(host.notes(".amended").len(), 1);
    assert!(host.noted().unwrap().1);
    let again = host.engine();
    assert_eq!(again.layers(), engine.layers());
    assert_eq!(again.layers().health.len(), 1001);
}
