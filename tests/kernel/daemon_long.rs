//! `flbc run` for long: killed again and again, and given more to do than it can tell.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use dice::Dice;

use crate::apply_host::Host;
use crate::daemon::Run;
use crate::lab::PATIENCE;
use crate::lab::client::Connection;
use crate::lab::topology::{Layout, Topology};
use crate::operator::{at, sampled};

const WWW: &str = "192.0.2.10:80";

const FILE: &str = "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12; server c 10.20.0.13 }";

/// Numbers that a seed says, all there is to say of them.
mod dice {
    pub(super) struct Dice(pub(super) u64);

    impl Dice {
        /// One of so many.
        pub(super) fn below(&mut self, many: u64) -> u64 {
            // Knuth's linear congruential generator; the high bits are the good ones.
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % many
        }
    }
}

/// Whoever is killed under load, in the middle of whatever it does, costs no connection, leaves nothing by halves, and the next
/// one is as if nothing had been.
#[test]
fn killed_again_and_again_under_load() {
    let kills = sampled(12, 1_000);
    let seed = std::env::var("FLBC_KILL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let mut dice = Dice(seed.unwrap_or(20_261_128));
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    let mut run = Run::new(Host::new(&topology.balancer), &[], FILE);
    let mut open: Vec<Connection> = (0..12)
        .map(|_| {
            let from = Some(topology.source(at(WWW)));
            Connection::open(&topology.client, from, at(WWW), PATIENCE).unwrap()
        })
        .collect();
    // What is set last is what holds: server `c` alone, and never down, as that would end connections.
    let mut drained = false;
    let mut in_the_middle = 0;
    for kill in 0..kills {
        // Something is to be done, and it is killed at any moment of that.
        match dice.below(4) {
            0 => run.nft("flush ruleset"),
            1 => {
                drained = !drained;
                let what = if drained { "drain" } else { "up" };
                // Asked and not waited for.
                let mut stream = UnixStream::connect(run.socket()).unwrap();
                let line = format!(
                    "{{\"ask\":\"set\",\"service\":\"www\",\"server\":\"c\",\"demand\":{{\"state\":\"{what}\"}}}}\n"
                );
                stream.write_all(line.as_bytes()).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                std::thread::sleep(Duration::from_millis(dice.below(40)));
                run.kill();
                let mut answer = String::new();
                let _ = stream.read_to_string(&mut answer);
                // Whether it was done shows only in the kernel: what holds is what the notes say.
                in_the_middle += u32::from(answer.is_empty());
            }
            2 => run.nft("delete table inet flbc"),
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(dice.below(120)));
        run.kill();
        run.start();
        run.wait_for("it begins", || run.count("started") == 1);
        run.all_is_well();
        // What they would have sent without rules would have found none.
        for connection in open
            .iter_mut()
            .skip(usize::try_from(kill % 4).unwrap())
            .step_by(4)
        {
            connection
                .again()
                .unwrap_or_else(|error| panic!("kill {kill}: a connection is lost: {error}"));
        }
        // It has nothing to do now, and does nothing.
        if kill % 16 == 0 {
            let generation = run.host.generation();
            run.kill();
            run.start();
            run.wait_for("it begins", || run.count("started") == 1);
            assert_eq!(
                run.host.generation(),
                generation,
                "kill {kill}: a change without a reason"
            );
        }
    }
    for connection in &mut open {
        connection.again().unwrap();
    }
    let what = if drained { "drain" } else { "up" };
    assert_eq!(run.flbc(&format!("set www c {what}")).code, Some(0));
    // As if it had lived: what a fresh machine has with the same file and the same word.
    let fresh = Host::alone();
    fresh.apply(FILE);
    let ran = fresh.flbc(&["set", "www", "c", what], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(run.host.unnumbered(), fresh.unnumbered());
    println!("{kills} kills, {in_the_middle} of them before the answer");
}

/// What a process holds: kilobytes of memory, and descriptors.
fn holds(pid: u32) -> (u64, usize) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    (kilobytes, descriptors)
}

/// Ten thousand changes a minute, of a server and of an interface: what the daemon holds stays what it was, and its log is a few
/// lines a second.
#[test]
fn flaps_without_end_are_borne() {
    let flaps = sampled(300, 10_000);
    let file = "
        service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }
        service dns { vip 192.0.2.53 udp 53; mode dr on eth0; server a 10.20.0.21 }";
    let run = Run::new(Host::alone(), &[], file);
    let whole = run.host.unnumbered();
    let pid = run.pid();
    let kinds: [(&str, &dyn Fn(u32)); 3] = [
        ("set", &|at: u32| {
            let mut stream = UnixStream::connect(run.socket()).unwrap();
            let state = if at.is_multiple_of(2) { "drain" } else { "up" };
            let line = format!(
                "{{\"ask\":\"set\",\"service\":\"www\",\"server\":\"a\",\"demand\":{{\"state\":\"{state}\"}}}}\n"
            );
            stream.write_all(line.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.contains("\"exit\":0"), "{answer}");
        }),
        ("link", &|at: u32| {
            let way = if at.is_multiple_of(2) { "down" } else { "up" };
            run.host.namespace.ip(&format!("link set eth0 {way}"));
        }),
        ("name", &|at: u32| {
            let [from, to] = if at.is_multiple_of(2) {
                ["eth0", "gone0"]
            } else {
                ["gone0", "eth0"]
            };
            run.host.namespace.ip(&format!("link set {from} name {to}"));
        }),
    ];
    for (what, flap) in kinds {
        // The allocator and the ring of events have what they need after a while.
        for at in 0..40 {
            flap(at);
        }
        let before = holds(pid);
        let log = run.log().lines().count();
        let begun = Instant::now();
        for at in 0..flaps {
            flap(at);
            // No faster than ten thousand a minute.
            let due = Duration::from_millis(6) * (at + 1);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        let took = begun.elapsed();
        run.wait_for("it is as before", || run.host.unnumbered() == whole);
        run.all_is_well();
        let after = holds(pid);
        let lines = run.log().lines().count() - log;
        println!(
            "{flaps} flaps of a {what} in {took:.1?}: memory {} to {} KiB, descriptors {} to {}, {lines} lines in the log",
            before.0, after.0, before.1, after.1
        );
        // The ring takes 10,000 events of some 300 bytes at most.
        assert!(after.0 < before.0 + 8_192, "{what}: {before:?} {after:?}");
        assert_eq!(after.1, before.1, "{what}");
        let bound = 40 + 16 * usize::try_from(took.as_secs() + 1).unwrap();
        assert!(lines <= bound, "{what}: {lines} lines in {took:?}");
    }
}
