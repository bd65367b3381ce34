//! Apply among others: clients that connect all the time, a sudden death, a second apply, another tool.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::apply_host::{Host, finish};
use crate::lab::PATIENCE;
use crate::lab::client::{self, Protocol};
use crate::lab::topology::{Layout, Topology};
use crate::operator::{at, sampled};
use crate::random::Dice;

/// Asks until it is told to stop; every client must be answered, and by a server of the service that it asked for.
fn ask_until(
    done: &AtomicBool,
    topology: &Topology,
    protocol: Protocol,
    to: SocketAddr,
    servers: &[&str],
) -> u32 {
    let mut asked = 0;
    while !done.load(Ordering::Relaxed) {
        let from = topology.source(to);
        let answer = client::ask(&topology.client, protocol, Some(from), to, PATIENCE)
            .unwrap_or_else(|error| panic!("{protocol:?} {from} to {to}, after {asked}: {error}"));
        assert!(
            servers.contains(&answer.server.as_str()),
            "{to}: {answer:?}"
        );
        assert_eq!(answer.client.ip(), from.ip(), "{to}");
        asked += 1;
    }
    asked
}

/// Two services that swap what they can among the edits: `www` is always served by `a` or `b`, `alt` by `c` or `d`.
fn edited(turn: u32, mode: &str) -> String {
    let www = [
        "server a 10.20.0.11; server b 10.20.0.12",
        "server a 10.20.0.11 weight 3; server b 10.20.0.12",
        "server a 10.20.0.11 drain; server b 10.20.0.12",
        "server b 10.20.0.12",
        "server b 10.20.0.12 weight 5; server a 10.20.0.11 weight 2",
        "server a 10.20.0.11 down; server b 10.20.0.12",
        "server a 10.20.0.11; server b 10.20.0.12 backup",
        "pool shared",
    ];
    let alt = [
        "server c 10.20.0.13",
        "server c 10.20.0.13; server d 10.20.0.14",
        "server d 10.20.0.14; server c 10.20.0.13 weight 4",
    ];
    let pick = |list: &[&'static str], every: u32| list[(turn / every) as usize % list.len()];
    let www = pick(&www, 1);
    let scheduler = if mode.contains("dr") {
        pick(&["hash", "maglev table 13", "maglev table 31"], 2)
    } else {
        pick(&["rr", "rr", "random", "hash", "maglev table 13"], 2)
    };
    let mut text = format!(
        "service www {{ vip 192.0.2.10 tcp, udp 80; {mode}; scheduler {scheduler}; {www} }}
         service alt {{ vip 192.0.2.53 tcp, udp 80; {mode}; scheduler {scheduler}; {} }}\n",
        pick(&alt, 1)
    );
    if www == "pool shared" {
        text.push_str("pool shared { server a 10.20.0.11; server b 10.20.0.12 }\n");
    }
    // Neighbours that come and go, so that chains, sets and maps do.
    if turn % 3 == 1 {
        text.push_str(
            "service web6 { vip 2001:db8::10 tcp 80; server [2001:db8:1::11]:81 }
             service range { vip 192.0.2.99 udp 1000-2000; mode nat masquerade; server 10.20.0.11 }\n",
        );
    }
    if turn % 4 == 2 {
        text.push_str(
            "service quic { vip 192.0.2.98 udp 443; mode dr on eth0; server 10.20.0.11 }\n",
        );
    }
    text
}

fn clients_through_applies(layout: Layout, mode: &str, scheduler_of: &[Protocol], applies: u32) {
    let topology = Topology::new(layout, 4);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(&edited(0, mode));
    let done = AtomicBool::new(false);
    let asked: Vec<u32> = thread::scope(|scope| {
        let mut asking = Vec::new();
        for protocol in scheduler_of {
            for (to, servers) in [("192.0.2.10:80", ["a", "b"]), ("192.0.2.53:80", ["c", "d"])] {
                let (done, topology) = (&done, &topology);
                asking.push(
                    scope.spawn(move || ask_until(done, topology, *protocol, at(to), &servers)),
                );
            }
        }
        for turn in 1..=applies {
            let ran = host.flbc(&["apply", "-"], &edited(turn, mode));
            let well =
                ran.code == Some(0) && !asking.iter().any(thread::ScopedJoinHandle::is_finished);
            if !well {
                done.store(true, Ordering::Relaxed);
            }
            assert_eq!(ran.code, Some(0), "turn {turn}: {ran:?}");
            assert!(
                well,
                "a client was lost at turn {turn}: {}",
                edited(turn, mode)
            );
        }
        done.store(true, Ordering::Relaxed);
        let ends = asking.into_iter().map(|asking| asking.join().unwrap());
        ends.collect()
    });
    assert!(asked.iter().all(|asked| *asked > applies / 4), "{asked:?}");
}

#[test]
fn no_client_is_refused_or_misrouted_through_applies_of_every_kind() {
    let both = [Protocol::Tcp, Protocol::Udp];
    clients_through_applies(Layout::Nat, "mode nat", &both, sampled(70, 500));
}

#[test]
fn no_datagram_is_lost_or_misrouted_through_applies_in_direct_return() {
    let mode = "mode dr on eth0 via eth1";
    clients_through_applies(
        Layout::DrTwoInterfaces,
        mode,
        &[Protocol::Udp],
        sampled(30, 500),
    );
}

/// So many services that the transaction is a good part of an apply.
fn crowd(servers: &str, services: u32) -> String {
    let mut text = String::new();
    for service in 0..services {
        let _ = writeln!(
            text,
            "service s{service} {{ vip 198.18.0.{service} tcp 80; {servers} }}"
        );
    }
    text
}

#[test]
fn killed_at_any_moment_it_leaves_the_old_or_the_new() {
    let files = [
        crowd("server a 10.20.0.11; server b 10.20.0.12 weight 2", 120),
        crowd("server c 10.20.0.13 weight 3; server b 10.20.0.12", 110)
            + "service dns { vip 192.0.2.53 udp 53; mode dr on eth0; server 10.20.0.11 }",
    ];
    let whole = files.each_ref().map(|file| {
        let fresh = Host::alone();
        fresh.apply(file);
        fresh.unnumbered()
    });
    let host = Host::alone();
    host.apply(&files[0]);
    let start = Instant::now();
    host.apply(&files[1]);
    let span = u64::try_from(start.elapsed().as_micros()).unwrap();
    let mut dice = Dice::new(7);
    let mut left = [0, 0];
    let mut now = 1;
    for kill in 0..sampled(20, 1000) {
        let next = 1 - now;
        let file = host.write("next.flb", &files[next]);
        let mut child = host.start(&["apply", &file]);
        thread::sleep(Duration::from_micros(dice.below(span + span / 4)));
        let _ = child.kill();
        finish(child, "");
        let state = host.unnumbered();
        let is = whole.iter().position(|whole| *whole == state);
        let Some(is) = is else {
            panic!("kill {kill}: neither the old nor the new");
        };
        left[usize::from(is == next)] += 1;
        // The next apply finds its way from wherever it was left: every other time the kernel stays as it is.
        if kill % 2 == 0 {
            host.apply(&files[next]);
            assert_eq!(host.unnumbered(), whole[next], "kill {kill}");
            assert_eq!(host.apply(&files[next]), "no difference\n");
            now = next;
        } else {
            now = is;
        }
    }
    assert!(left[0] > 0, "killed too late every time: {left:?}");
}

#[test]
fn two_applies_at_once_leave_one_of_the_two_whole() {
    let files = [
        crowd("server a 10.20.0.11; server b 10.20.0.12 weight 2", 40),
        crowd("server c 10.20.0.13 weight 3", 30),
    ];
    let whole = files.each_ref().map(|file| {
        let fresh = Host::alone();
        fresh.apply(file);
        fresh.unnumbered()
    });
    for round in 0..sampled(8, 200) {
        let host = Host::alone();
        if round % 2 == 0 {
            host.apply("service old { vip 192.0.2.1 tcp 80; server 10.20.0.1 }");
        }
        let paths = [0, 1].map(|n| host.write(&format!("{n}.flb"), &files[n]));
        let children = paths.each_ref().map(|path| host.start(&["apply", path]));
        for child in children {
            let ran = finish(child, "");
            assert_eq!(ran.code, Some(0), "round {round}: {ran:?}");
        }
        let state = host.unnumbered();
        let is = whole.iter().position(|whole| *whole == state);
        let is = is.unwrap_or_else(|| panic!("round {round}: neither of the two"));
        // What is remembered is what is there.
        assert_eq!(host.apply(&files[is]), "no difference\n", "round {round}");
        let other = host.flbc(&["apply", "-"], &files[1 - is]);
        assert_eq!(other.code, Some(0), "{other:?}");
        assert_eq!(host.unnumbered(), whole[1 - is]);
    }
}

#[test]
fn another_tool_that_commits_all_the_time_does_not_stop_apply() {
    let host = Host::alone();
    let files = [
        crowd("server a 10.20.0.11; server b 10.20.0.12 weight 2", 10),
        crowd("server c 10.20.0.13 weight 3", 12),
    ];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut commits = 0;
            while !done.load(Ordering::Relaxed) {
                host.namespace
                    .nft("table ip other { chain c { type filter hook input priority 0; }; }\n");
                host.namespace.nft("delete table ip other\n");
                commits += 2;
            }
            commits
        });
        let outcomes: Vec<_> = (0..sampled(30, 300))
            .map(|turn| host.flbc(&["apply", "-"], &files[turn as usize % 2]))
            .collect();
        done.store(true, Ordering::Relaxed);
        let commits = other.join().unwrap();
        for (turn, ran) in outcomes.iter().enumerate() {
            assert_eq!(
                (ran.code, ran.err.as_str()),
                (Some(0), ""),
                "{turn}: {ran:?}"
            );
            assert!(
                ran.out.contains(" changed") && ran.out.contains("added"),
                "{ran:?}"
            );
        }
        assert!(commits > outcomes.len(), "{commits}");
    });
    let fresh = Host::alone();
    let last = &files[(sampled(30, 300) as usize - 1) % 2];
    fresh.apply(last);
    assert_eq!(host.unnumbered(), fresh.unnumbered());
}

/// A run that hangs while it has the lock: whoever waits says for whom.
#[test]
fn who_waits_for_another_run_says_for_whom() {
    let host = Host::alone();
    host.apply("service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11 }\n");
    let notes = std::fs::read_dir(host.folder().join("flbc")).expect("notes");
    let mut paths = notes.map(|entry| entry.expect("an entry").path());
    let lock = paths
        .find(|path| path.extension().is_some_and(|what| what == "lock"))
        .expect("a lock");
    // It takes a while.
    let mut large = String::new();
    for n in 0..2_000 {
        let (high, low) = (n / 250, n % 250);
        let _ = writeln!(
            large,
            "service s{n} {{ vip 192.0.{high}.{low} tcp 81; server a 10.20.0.11; server b 10.20.0.12 }}"
        );
    }
    let file = host.write("large.flb", &large);
    let first = host.start(&["apply", &file]);
    let signal = |name: &str| {
        let pid = first.id().to_string();
        let done = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(done.expect("kill (procps)").success());
    };
    let start = Instant::now();
    let mine = format!("\"pid\":{},", first.id());
    while !std::fs::read_to_string(&lock).is_ok_and(|text| text.contains(&mine)) {
        assert!(start.elapsed() < Duration::from_secs(30), "it never had it");
    }
    signal("-STOP");
    let second = host.start(&["set", "www", "a", "drain"]);
    thread::sleep(Duration::from_millis(2_500));
    signal("-CONT");
    let pid = first.id();
    let first = finish(first, "");
    assert_eq!(first.code, Some(0), "{}", first.err);
    // The large file has no such service.
    let second = finish(second, "");
    assert_eq!(second.code, Some(2), "{second:?}");
    let told: Vec<&str> = second.err.lines().collect();
    let [waiting, _] = told[..] else {
        panic!("{told:?}")
    };
    let start = "waiting for another flbc that changes the same tables, for 1m at most, which has been at work for ";
    let end = format!("s: process {pid}, `flbc apply /run/large.flb`");
    assert!(
        waiting.starts_with(start) && waiting.ends_with(&end),
        "{waiting}"
    );
}
