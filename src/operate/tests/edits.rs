//! Any sequence of edits leaves what applying the last file to an empty kernel leaves, up to the places of slots.

use super::counters::{counted, pass};
use super::*;
use crate::model::{ModeKind, Ports, State};

/// Files that differ in all kinds of things, in an order in which each has something of the one before.
const EDITS: [&str; 15] = [
    "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 weight 2 }",
    "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 weight 5; server c 10.20.0.13 }",
    "service www { vip 192.0.2.10 tcp 80; persist 1m; server a 10.20.0.11; server b 10.20.0.12 drain; server c 10.20.0.13 }",
    "service www { vip 192.0.2.10, 2001:db8::10 tcp 80, 443; scheduler hash; server a 10.20.0.11; server a6 2001:db8:1::11 }
     service dns { vip 192.0.2.53 udp 53; mode dr on eth0; scheduler maglev table 13; server 10.20.0.11; server 10.20.0.12 }",
    "service dns { vip 192.0.2.53 udp 53; mode dr on eth0, eth1 via eth1; scheduler random; track 90s; server 10.20.0.11; server 10.20.0.12; server 10.20.0.13 }
     service www { vip 192.0.2.10 tcp 80; mode nat masquerade; deny from 198.51.100.0/24; server a 10.20.0.11:8080 }",
    "pool p { server a 10.20.0.11; server b 10.20.0.12 }
     service one { vip 192.0.2.10 tcp 80; allow from 10.0.0.0/8; pool p }
     service two { vip 192.0.2.11 tcp any; scheduler random; pool p }",
    "pool p { server a 10.20.0.11 down; server b 10.20.0.12; server c 10.20.0.13 backup }
     service one { vip 192.0.2.10 tcp 1000-2000; allow from 10.0.0.0/8; deny from 10.9.0.0/16; pool p }
     service two { vip 192.0.2.11 tcp any; scheduler maglev table 13; persist 1m by source/24; pool p }",
    "pool p { server a 10.20.0.11 down; server b 10.20.0.12 down }
     service one { vip 192.0.2.10 tcp 1000-2000; on-empty drop; pool p }
     service two { vip 192.0.2.11 tcp any; on-empty reject; pool p }",
    "service dns { vip 192.0.2.53 udp 53; mode dr on eth1; server a 10.20.0.11 }",
    "service dns { vip 192.0.2.53 udp 53; mode nat snat 10.0.0.9; server a 10.20.0.11 }",
    "pool p { server a 10.20.0.11; server b 10.20.0.12 }
     service one { vip 192.0.2.10 tcp 80; pool p }
     service two { vip 192.0.2.11 tcp 81; server a 10.20.0.11; server c 10.20.0.13 }
     service dns { vip 192.0.2.53 udp 53; mode dr on eth0; server a 10.20.0.11 }",
    "pool p { server a 10.20.0.11; server c 10.20.0.13 }
     service two { vip 192.0.2.11, 192.0.2.12 tcp 81; pool p }
     service three { vip 192.0.2.10 tcp 80; persist 1m; server a 10.20.0.11 }",
    "pool p { server a 10.20.0.11; server c 10.20.0.13 }
     service two { vip 192.0.2.12, 192.0.2.10 tcp 80, 81; pool p; server d 10.20.0.14 }
     service three { vip 192.0.2.9 tcp 80; persist 1m; pool p }",
    "service other { vip 192.0.2.53 udp 53; mode nat snat 10.0.0.9; server b 10.20.0.11 }",
    "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 weight 2 }",
];

#[track_caller]
fn as_if_alone(host: &Host, text: &str) {
    let mut fresh = Host::new();
    fresh.apply(text);
    as_if(host, &fresh, text);
}

#[track_caller]
fn as_if(host: &Host, fresh: &Host, text: &str) {
    assert_eq!(host.servers(), fresh.servers(), "{text}");
    assert_eq!(host.stands(), fresh.stands(), "{text}");
    let shapes = |has: Observed| {
        let tables = [has.inet, has.netdev];
        tables.map(|table| {
            let table = table?;
            let mut sets: Vec<_> = table
                .sets
                .into_iter()
                .map(|set| (set.name, set.elements.len()))
                .collect();
            let mut chains: Vec<_> = table
                .chains
                .into_iter()
                .map(|one| (one.name, one.rules.len()))
                .collect();
            sets.sort();
            chains.sort();
            Some((sets, chains))
        })
    };
    assert_eq!(shapes(host.has()), shapes(fresh.has()), "{text}");
}

#[test]
fn a_sequence_of_edits_ends_where_the_last_file_alone_does() {
    // One after the other as remembered, and in leaps as read.
    let count = EDITS.len();
    let alone = EDITS.map(|text| {
        let mut fresh = Host::new();
        fresh.apply(text);
        fresh
    });
    for (step, forget) in [(1, false), (7, true)] {
        let mut host = Host::new();
        for turn in 0..=count {
            let edit = turn * step % count;
            let text = EDITS[edit];
            if forget && turn > 0 {
                host.forget();
            }
            host.apply(text);
            as_if(&host, &alone[edit], text);
        }
        assert!(host.apply(EDITS[0]).is_nothing());
    }
}

#[test]
fn what_is_told_of_an_edit_is_the_same_dry_and_done() {
    let mut host = Host::new();
    for text in EDITS {
        let dry = host.dry(text);
        let done = host.apply(text);
        assert_eq!(dry.difference, done.difference, "{text}");
        assert_eq!(dry.totals, done.totals, "{text}");
    }
}

#[test]
fn a_refused_transaction_leaves_what_was_and_what_was_remembered() {
    let mut host = Host::new();
    host.apply(EDITS[5]);
    let before = host.has();
    // At its first change, at its last, and in between.
    let checked = host.kernel.asked;
    host.dry(EDITS[4]);
    let changes = host.kernel.asked - checked;
    for place in [0, 1, changes / 2, changes - 1] {
        host.kernel.refuse = Some((host.kernel.asked + place, rustix::io::Errno::NOMEM));
        let refused = host.try_apply(EDITS[4]).unwrap_err();
        assert_eq!(refused.exit() as u8, 3);
        assert_eq!(host.has(), before);
        let asked = host.kernel.asked;
        assert!(host.apply(EDITS[5]).is_nothing());
        assert_eq!(host.kernel.asked, asked, "it is still remembered");
    }
    host.kernel.refuse = None;
    host.apply(EDITS[4]);
    as_if_alone(&host, EDITS[4]);
}

#[test]
fn killed_before_or_after_its_transaction_the_next_run_finds_its_way() {
    for committed in [false, true] {
        let mut host = Host::new();
        host.apply(EDITS[5]);
        if committed {
            host.apply(EDITS[4]);
        }
        host.kill_after_transaction();
        let applied = host.apply(EDITS[6]);
        assert!(applied.drift.is_empty(), "its own change is nobody else's");
        as_if_alone(&host, EDITS[6]);
        assert!(host.notes(".aside").is_empty());
        assert!(host.apply(EDITS[6]).is_nothing());
    }
}

/// Whoever can have a connection to a service of nat has one.
fn connect_all(host: &mut Host) {
    let view = View::of(&host.kernel.observed);
    let mut all = Vec::new();
    for service in view
        .services
        .values()
        .filter(|one| one.mode == ModeKind::Nat)
    {
        for vip in &service.addressed {
            let port = match vip.ports {
                Ports::One(port) | Ports::Range(port, _) => port,
                Ports::Any => 7,
            };
            for server in service
                .servers
                .iter()
                .filter(|one| one.state != State::Down)
            {
                let address = server.address.unwrap();
                if address.is_ipv4() != vip.address.is_ipv4() {
                    continue;
                }
                all.push(Connection {
                    protocol: vip.protocol.number(),
                    client: client(all.len()),
                    client_port: Some(1234),
                    vip: vip.address,
                    vip_port: Some(port),
                    server: address,
                    server_port: server.port.or(Some(port)),
                    mark: server.number,
                });
            }
        }
    }
    host.kernel.connections = all;
}

#[test]
fn what_is_remembered_does_what_reading_would_do() {
    let mut forgotten = 0;
    for (from, before) in EDITS.iter().enumerate() {
        let mut host = Host::new();
        host.apply(before);
        connect_all(&mut host);
        pass(&mut host);
        for next in [1, 6].map(|step| EDITS[(from + step) % EDITS.len()]) {
            let [remembered, read] = [false, true].map(|forget| {
                let mut one = host.twin();
                if forget {
                    one.forget();
                }
                let applied = one.try_apply(next).unwrap();
                forgotten += applied.forgotten;
                let names: Vec<_> = View::of(&one.kernel.observed)
                    .services
                    .into_keys()
                    .collect();
                let counted = names.iter().map(|name| counted(&mut one, name));
                let counted: Vec<_> = counted.collect();
                let done = (applied.forgotten, applied.marked, applied.clients);
                (done, one.kernel.connections.clone(), counted, one.has())
            });
            assert_eq!(remembered.0, read.0, "{before}\n{next}");
            assert_eq!(remembered.1, read.1, "{before}\n{next}");
            assert_eq!(remembered.2, read.2, "{before}\n{next}");
            same(&remembered.3, &read.3);
        }
    }
    assert!(forgotten > 20, "{forgotten}");
}
