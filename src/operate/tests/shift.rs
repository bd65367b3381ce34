//! `--mark-shift`: a table keeps its shift, or loses nothing when it gets another.

use super::*;
use crate::model::State;

const FILE: &str = "
service plain { vip 192.0.2.10 tcp, udp 80; server a 10.20.0.11; server b 10.20.0.12 }
service kept { vip 192.0.2.53 tcp, udp 80; scheduler random; persist 10m; server a 10.20.0.11; server b 10.20.0.12 }
service dns { vip 192.0.2.54 udp 53; mode dr on eth0; scheduler maglev table 13; server a 10.20.0.11; server b 10.20.0.12 }
";

/// What is asked of a table whose shift changes: there, further, and back.
const SHIFTS: [(u8, u32); 4] = [(8, 0xff), (3, 7), (0, 0), (8, 0xff)];

fn leaves(host: &Host, bits: u32) {
    let servers = host.servers();
    assert!(!servers.is_empty());
    assert!(
        servers.iter().all(|one| one.number & bits == 0),
        "{servers:x?}"
    );
}

#[test]
fn a_table_keeps_its_shift_whatever_is_lost() {
    let mut host = Host::new();
    host.shift(FILE, 8);
    let drawn = host.servers();
    let second = FILE.replace("10.20.0.12", "10.20.0.13");
    leaves(&host, 0xff);
    assert!(host.apply(FILE).is_nothing());
    for forget in [false, true, true] {
        if forget {
            host.forget();
        }
        for text in [&second, FILE] {
            let applied = host.apply(text);
            assert!(!applied.text(false).contains("mark-shift"));
            leaves(&host, 0xff);
        }
        assert_eq!(host.servers(), drawn);
    }
    host.set("plain a", Demand::State(State::Drain));
    assert_eq!(host.servers(), drawn);
    // Somebody takes away what tells.
    host.by_hand(|has| {
        for table in [&mut has.inet, &mut has.netdev].into_iter().flatten() {
            table.chains.retain(|chain| &*chain.name != "mark_shift_8");
        }
    });
    let warnings = host.try_apply(&second).unwrap().warnings();
    assert!(
        warnings
            .iter()
            .all(|one| one.contains("missing chain `mark_shift_8`")),
        "{warnings:?}"
    );
    leaves(&host, 0xff);
    // One table of two.
    host.by_hand(|has| has.inet = None);
    host.forget();
    host.apply(FILE);
    assert_eq!(host.servers(), drawn);
    // And a table that is made anew has none.
    host.unload();
    host.apply(FILE);
    assert_ne!(host.servers(), drawn);
}

#[test]
fn another_shift_loses_nothing() {
    for forget in [false, true] {
        let mut host = Host::new();
        host.apply(FILE);
        let drawn = host.servers();
        for server in ["a of plain", "b of plain"] {
            host.connect(Protocol::Tcp, "192.0.2.10:80", server);
        }
        host.connect(Protocol::Udp, "192.0.2.53:80", "b of kept");
        host.remember("svc_kept_v4", "a of kept", 1000);
        host.remember("svc_kept_v4", "b of kept", 2000);
        let (connected, mut remembered) = (host.connected(), host.remembered());
        remembered.sort();
        for (shift, left) in SHIFTS {
            if forget {
                host.forget();
            }
            let (dry, _) = host.run(FILE, (false, true, Some(shift)));
            let line = dry.unwrap().difference.lines.remove(0);
            assert!(
                line.starts_with("~ marks: mark-shift ") && line.ends_with(&format!(" -> {shift}")),
                "{line}"
            );
            let marks = |host: &Host| -> Vec<u32> {
                let connections = host.kernel.connections.iter();
                connections.map(|one| one.mark).collect()
            };
            let before = marks(&host);
            let applied = host.shift(FILE, shift);
            assert_eq!(applied.difference.lines, [line]);
            let now = marks(&host);
            let marked = before.iter().zip(&now).filter(|(was, is)| was != is);
            assert_eq!(
                (applied.forgotten, applied.marked, applied.clients),
                (0, marked.count(), 0)
            );
            leaves(&host, left);
            assert_eq!(host.connected(), connected);
            let mut now = host.remembered();
            now.sort();
            assert_eq!(now, remembered);
            assert!(host.keep(FILE).is_nothing());
            assert!(host.shift(FILE, shift).is_nothing());
            if shift == 0 {
                assert_eq!(host.servers(), drawn);
            }
        }
    }
}

#[test]
fn another_shift_keeps_what_was_set() {
    let mut host = Host::new();
    host.apply(FILE);
    host.set("plain b", Demand::State(State::Drain));
    for (shift, _) in SHIFTS {
        host.shift(FILE, shift);
        assert_eq!(host.stand("plain"), ["a up 2/2", "b drain 0/2"]);
    }
    assert_eq!(
        host.apply(FILE).difference.lines,
        ["~ plain: b drain (set) -> up"]
    );
}

#[test]
fn going_back_brings_back_the_shift_that_was() {
    let mut host = Host::new();
    host.shift(FILE, 4);
    let before = host.has();
    let was = host.tables().before().unwrap();
    host.shift(FILE, 8);
    let applied = host.tables().restore(&was).unwrap();
    assert_eq!(applied.difference.lines[0], "~ marks: mark-shift 8 -> 4");
    same(&host.has(), &before);
    assert!(host.apply(FILE).is_nothing());
    assert!(host.shift(FILE, 4).is_nothing());
}
