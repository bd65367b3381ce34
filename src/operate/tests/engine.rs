//! An engine that is kept makes the same of every change as whole applies do, and leaves the same behind.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::engine::{Changed, change, set as set_by_engine};
use super::*;
use crate::engine::{Engine, Why};
use crate::model::{
    Effective, Lacking, LayerChanges, Layers, Place, ServerKey, State, Verdict, Wanted, Wish,
};

/// Numbers that a seed gives, and always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.roll(many) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len() as u64) as usize]
    }
}

/// Servers of a service or a pool.
fn servers(dice: &mut Dice, net: u64, with_port: bool) -> String {
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
        let key = keys[dice.roll(keys.len() as u64) as usize].clone();
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
    if let Err(refused) = host.try_apply(&text) {
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
        let changes = changes(&mut dice, &all);
        let mut layers = other.layers_held();
        engine.narrowed(changes.clone()).put_into(&mut layers);
        let changed = host.change(&mut engine, changes);
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

#[test]
fn what_an_engine_makes_of_changes_is_what_whole_applies_make_of_them() {
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 1..=60 {
        for (why, count) in both_ways(seed) {
            *all.entry(why).or_default() += count;
        }
    }
    let (alone, whole) = (
        all.remove("").unwrap_or_default(),
        all.values().sum::<usize>(),
    );
    assert!(
        alone > 8 * whole,
        "{alone} changes were of servers alone, {all:?}"
    );
}
