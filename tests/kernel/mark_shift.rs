//! `--mark-shift`: who matches marks by their low bits never meets flbc there, and a table keeps its shift, or loses
//! nothing when it gets another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::apply_host::{Host, Ran};
use crate::lab::client::{self, Connection, Datagrams, Protocol};
use crate::lab::topology::{Layout, Topology};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::at;
use crate::renumbered::{
    DR, KEPT, NAT, clients, connections, counted, marks_name_servers, servers, service_of_nat,
};

/// The chain by which tables tell of a shift of 8.
const TOLD: &str = "chain mark_shift_8 {";

/// Applies a file with options, without a warning; what is said.
#[track_caller]
fn apply(host: &Host, options: &[&str], file: &str) -> String {
    let arguments = [&["apply"], options, &["-"]].concat();
    let Ran { code, out, err } = host.flbc(&arguments, file);
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    out
}

/// The numbers of all servers, in order.
fn numbers(host: &Host) -> Vec<u32> {
    let mut numbers: Vec<u32> = servers(host).iter().map(|server| server.number).collect();
    numbers.sort_unstable();
    numbers
}

#[track_caller]
fn leaves_eight_bits(numbers: &[u32]) {
    assert!(!numbers.is_empty());
    assert!(
        numbers.iter().all(|n| n.trailing_zeros() >= 8),
        "{numbers:x?}"
    );
}

/// A table of others that looks at every mark, at each place where a packet of flbc's may come by, by a mask of the low bits.
///
/// In direct return packets come in and leave by `eth0`. Its first look at what comes in is behind flbc's. It looks at no
/// multicast: reports of IGMP and MLD, which the kernel makes, have other things where the mark is.
fn watch(host: &Host) {
    let rules = "
        ip daddr 224.0.0.0/4 accept
        ip6 daddr ff00::/8 accept
        meta mark and 0xff != 0 counter name low_of_packet
        ct mark and 0xff != 0 counter name low_of_connection
        meta mark != 0 counter name any_of_packet
        ct mark != 0 counter name any_of_connection";
    let chain = |hook: &str, priority: i32| {
        let name = format!("{hook}{priority}").replace('-', "_");
        format!("chain {name} {{ type filter hook {hook} priority {priority}; {rules}\n}}\n")
    };
    let all = "counter low_of_packet {}\ncounter low_of_connection {}\ncounter any_of_packet {}\ncounter any_of_connection {}\n";
    let mut text = format!("table inet watch {{\n{all}");
    for priority in [-350, -160, -99, 300] {
        text += &chain("prerouting", priority);
    }
    for hook in ["input", "forward", "output", "postrouting"] {
        text += &chain(hook, -350);
        text += &chain(hook, 300);
    }
    text += "}\n";
    let rules = "
        ip daddr 224.0.0.0/4 accept
        ip6 daddr ff00::/8 accept
        meta mark and 0xff != 0 counter name low_of_packet
        meta mark != 0 counter name any_of_packet";
    text += "table netdev watch {\ncounter low_of_packet {}\ncounter any_of_packet {}\n";
    for (hook, priority) in [("ingress", 500), ("egress", -500), ("egress", 500)] {
        let name = format!("{hook}{priority}").replace('-', "_");
        let place = format!("hook {hook} device eth0 priority {priority}");
        text += &[
            "chain ",
            &name,
            " { type filter ",
            &place,
            ";",
            rules,
            "\n}\n",
        ]
        .concat();
    }
    host.namespace.nft(&format!("{text}}}\n"));
}

/// How many packets a counter of [`watch`] has seen.
fn seen(host: &Host, family: &str, counter: &str) -> u64 {
    let listed = host
        .namespace
        .nft_list(&["counter", family, "watch", counter]);
    let (_, packets) = listed.split_once("packets ").unwrap();
    packets.split(' ').next().unwrap().parse().unwrap()
}

/// Asks by TCP and UDP, from clients of their own.
fn ask(topology: &Topology, to: &str) -> Vec<Result<String, std::io::ErrorKind>> {
    let to = at(to);
    let mut answers = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for from in topology.sources(to, 4) {
            let patience = if matches!(to.port(), 80 | 81) {
                PATIENCE
            } else {
                SILENCE
            };
            let answer = client::ask(&topology.client, protocol, Some(from), to, patience);
            answers.push(answer.map(|answer| answer.server).map_err(|e| e.kind()));
        }
    }
    answers
}

/// Services that nobody may come to, or that have no server left.
fn refusing(mode: &str) -> String {
    let remembers = if mode.contains("dr") { "track 1m" } else { "" };
    format!(
        "service closed {{ vip 192.0.2.10, 2001:db8::10 tcp, udp 82; {mode}; on-empty reject
            allow from 203.0.113.0/24, 2001:db8:a::/48; server 10.20.0.11; server 2001:db8:1::11 }}
        service listed {{ vip 192.0.2.10, 2001:db8::10 tcp, udp 83; {mode}; on-empty reject
            allow from 198.18.0.0/15, 2001:db8:c1::/48; persist 5m; {remembers}
            server 10.20.0.11 down; server 2001:db8:1::11 down }}
        service empty {{ vip 192.0.2.10, 2001:db8::10 tcp, udp 84; {mode}; on-empty reject
            deny from 203.0.113.0/24; server 10.20.0.11 drain; server 2001:db8:1::11 drain }}"
    )
}

const REFUSING: [&str; 6] = [
    "192.0.2.10:82",
    "[2001:db8::10]:82",
    "192.0.2.10:83",
    "[2001:db8::10]:83",
    "192.0.2.10:84",
    "[2001:db8::10]:84",
];

#[test]
fn by_nat_nobody_else_sees_a_low_bit_of_a_mark() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80, 81]);
    let host = Host::new(&topology.balancer);
    watch(&host);
    let file = format!("{}\n{}", NAT[0], refusing("mode nat"));
    for shift in ["8", "0"] {
        apply(&host, &["--mark-shift", shift], &file);
        for to in [
            "192.0.2.10:80",
            "[2001:db8::10]:80",
            "192.0.2.10:81",
            KEPT[0],
            KEPT[1],
            "192.0.2.53:81",
        ] {
            let answers = ask(&topology, to);
            assert!(answers.iter().all(Result::is_ok), "{to}: {answers:?}");
        }
        for to in REFUSING {
            let answers = ask(&topology, to);
            assert!(answers.iter().all(Result::is_err), "{to}: {answers:?}");
        }
        let followed = seen(&host, "inet", "any_of_connection");
        assert!(followed > 100, "{followed}");
        let low = seen(&host, "inet", "low_of_connection");
        // Without it they are seen: so the watcher looks where there is something to see.
        assert_eq!(low > 100, shift == "0", "{low}");
        assert_eq!(seen(&host, "inet", "low_of_packet"), 0);
        if shift == "8" {
            assert!(host.list().contains(TOLD));
            leaves_eight_bits(&numbers(&host));
            let marks: Vec<u32> = connections(&host).iter().map(|c| c.mark).collect();
            leaves_eight_bits(&marks);
        }
    }
    assert!(!host.list().contains("mark_shift"));
}

#[test]
fn in_direct_return_nobody_else_sees_a_low_bit_of_a_mark() {
    let topology = Topology::new(Layout::DrOneInterface, 2);
    let _serving = topology.serve(&[80, 81]);
    let host = Host::new(&topology.balancer);
    watch(&host);
    let hashed = "service hashed { vip 192.0.2.10, 2001:db8::10 tcp, udp 81; mode dr on eth0; scheduler maglev
        server 10.20.0.11 mac 02:00:00:00:00:11; server 10.20.0.12; server 2001:db8:1::11; server 2001:db8:1::12 }";
    let file = format!("{}\n{hashed}\n{}", DR[0], refusing("mode dr on eth0"));
    for shift in ["8", "0"] {
        apply(&host, &["--mark-shift", shift], &file);
        for to in [
            "192.0.2.10:80",
            "[2001:db8::10]:80",
            "192.0.2.10:81",
            "[2001:db8::10]:81",
            KEPT[0],
            KEPT[1],
        ] {
            let answers = ask(&topology, to);
            assert!(answers.iter().all(Result::is_ok), "{to}: {answers:?}");
        }
        for to in REFUSING {
            let answers = ask(&topology, to);
            assert!(answers.iter().all(Result::is_err), "{to}: {answers:?}");
        }
        // The way to the client takes less than it says: errors of ICMP tell the servers, by way of flbc.
        topology.router.ip("link set wan mtu 1300");
        for to in ["192.0.2.10:80", "[2001:db8::10]:80", "192.0.2.10:81"].map(at) {
            for server in &topology.servers {
                server.namespace.ip("route flush cache");
            }
            let from = Some(topology.source(to));
            let mut connection = Connection::open(&topology.client, from, to, PATIENCE).unwrap();
            assert_eq!(connection.bulk(100_000).unwrap(), 100_000);
        }
        topology.router.ip("link set wan mtu 1500");
        // Sent on by `fwd`, a packet leaves with its server's number; what is refused is marked up to the inet table.
        let [sent, refused] = ["netdev", "inet"].map(|family| seen(&host, family, "any_of_packet"));
        assert!(sent > 100 && refused > 10, "{sent} {refused}");
        let [sent, refused] = ["netdev", "inet"].map(|family| seen(&host, family, "low_of_packet"));
        let low = sent > 100 && refused > 10;
        assert_eq!(low, shift == "0", "{sent} {refused}");
        assert_eq!(sent + refused > 0, low);
        if shift == "8" {
            assert_eq!(host.list().matches(TOLD).count(), 2);
            leaves_eight_bits(&numbers(&host));
        }
    }
}

#[test]
fn a_table_keeps_its_shift_whatever_is_lost() {
    let host = Host::alone();
    let [first, second] = ["a", "b"].map(|more| {
        format!("{}\n{}\nservice more {{ vip 192.0.2.99 tcp 80; server {more} 10.20.0.99; persist 1m }}", NAT[0], DR[0]
            .replace("192.0.2", "192.0.3")
            .replace("2001:db8::", "2001:db8:3::")
            .replace("service kept", "service other"))
    });
    apply(&host, &["--mark-shift", "8"], &first);
    let drawn = numbers(&host);
    leaves_eight_bits(&drawn);
    // The numbers are those of any balancer with the same file and shift.
    let compiled = Host::alone();
    let ran = compiled.flbc(&["compile", "--mark-shift", "8", "-"], &first);
    compiled.namespace.nft(&ran.out);
    assert_eq!(numbers(&compiled), drawn);
    assert_eq!(apply(&compiled, &[], &first), "no difference\n");

    let keeps = |file: &str| {
        let said = apply(&host, &[], file);
        assert!(!said.contains("mark-shift"), "{said}");
        assert_eq!(host.list().matches(TOLD).count(), 2);
        leaves_eight_bits(&numbers(&host));
        said
    };
    // JSON tells too; it has no words for what remembers.
    let json = Host::alone();
    let plain = "service www { vip 192.0.2.10 tcp 80; server 10.20.0.11; server 10.20.0.12 }";
    let arguments = ["compile", "--mark-shift", "8", "--format", "json", "-"];
    json.namespace.nft_json(&json.flbc(&arguments, plain).out);
    assert_eq!(apply(&json, &[], plain), "no difference\n");
    leaves_eight_bits(&numbers(&json));

    let human = host.flbc(&["status"], "").out;
    assert!(human.starts_with("mark-shift 8\n\nservice "), "{human}");
    let status = host.flbc(&["status", "--json"], "").out;
    assert!(status.contains("\"mark_shift\":8,"), "{status}");
    assert_eq!(keeps(&first), "no difference\n");
    assert!(keeps(&second).contains("~ more: "), "of what is remembered");
    host.forget();
    assert_eq!(keeps(&second), "no difference\n");
    host.forget();
    keeps(&first);
    assert_eq!(numbers(&host), drawn);
    let set = host.flbc(&["set", "plain", "a", "drain"], "");
    assert_eq!((set.code, &*set.err), (Some(0), ""), "{}", set.out);
    assert_eq!(numbers(&host), drawn);
    keeps(&first);
    // Another boot: what nft had saved is loaded again, and nothing else is left.
    let saved = host.list();
    host.flbc(&["unload"], "");
    host.forget();
    host.namespace.nft(&saved);
    assert_eq!(keeps(&first), "no difference\n");
    assert_eq!(numbers(&host), drawn);
    // Somebody takes away what tells.
    host.namespace
        .nft("delete chain inet flbc mark_shift_8\ndelete chain netdev flbc mark_shift_8\n");
    let ran = host.flbc(&["apply", "-"], &second);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("mark_shift_8"), "{}", ran.err);
    leaves_eight_bits(&numbers(&host));
    assert_eq!(host.list().matches(TOLD).count(), 2);
    // One table of two.
    host.namespace.nft("delete table inet flbc\n");
    host.forget();
    keeps(&second);
    host.flbc(&["unload"], "");
    apply(&host, &[], &first);
    assert!(!host.list().contains("mark_shift"));
    let status = host.flbc(&["status", "--json"], "").out;
    assert!(!status.contains("mark_shift"), "{status}");
}

/// How often clients were turned away.
fn turned_away(host: &Host) -> u64 {
    let status = host.flbc(&["status", "--json"], "").out;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let services = status["services"].as_array().unwrap().iter();
    services.filter_map(|one| one["turned_away"].as_u64()).sum()
}

/// What is asked of a table whose shift changes: there, further, and back.
const SHIFTS: [(&str, u32); 4] = [("8", 0xff), ("3", 7), ("0", 0), ("8", 0xff)];

/// Applies a file with another shift. `forgets`: what is there is read, as nothing is remembered of it.
#[track_caller]
fn shifted(host: &Host, shift: &str, forgets: bool, file: &str) -> String {
    if forgets {
        host.forget();
    }
    let options = ["--keep", "--mark-shift", shift];
    let arguments = [&["apply", "--dry-run"], &options[..], &["-"]].concat();
    let dry = host.flbc(&arguments, file);
    assert_eq!((dry.code, &*dry.err), (Some(1), ""), "{}", dry.out);
    let said = apply(host, &options, file);
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("~ marks: mark-shift "), "{said}");
    assert!(first.ends_with(&format!(" -> {shift}")), "{said}");
    assert!(!said.contains("forgotten"), "{said}");
    assert_eq!(apply(host, &["--keep"], file), "no difference\n");
    assert_eq!(apply(host, &options, file), "no difference\n");
    said
}

fn by_nat_another_shift_loses_nothing(forgets: bool) {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80, 81]);
    let host = Host::new(&topology.balancer);
    let mut file = format!("{}\n{}", NAT[0], refusing("mode nat"));
    if forgets {
        let masked = "masquerade\n    server a 10.20.0.11\n    server b 10.20.0.12";
        assert!(file.contains(masked));
        file = file.replace(masked, &format!("{masked} drain"));
    }
    apply(&host, &[], &file);
    let drawn = numbers(&host);
    if !forgets {
        let ran = host.flbc(&["set", "masked", "b", "drain"], "");
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let mut open: Vec<Connection> = Vec::new();
    let mut flows: Vec<(Datagrams, String)> = Vec::new();
    for to in [
        "192.0.2.10:80",
        "[2001:db8::10]:80",
        "192.0.2.10:81",
        KEPT[0],
        KEPT[1],
        "192.0.2.53:81",
    ] {
        for _ in 0..3 {
            open.push(Connection::open(&topology.client, None, at(to), PATIENCE).unwrap());
            let flow = Datagrams::open(&topology.client, None, at(to), PATIENCE).unwrap();
            let server = flow.ask().unwrap().server;
            flows.push((flow, server));
        }
    }
    let before = KEPT.map(|to| clients(&topology, at(to), 2000, 12));
    ask(&topology, REFUSING[0]);
    let away = turned_away(&host);
    assert!(away >= 8, "{away}");
    let remembered = host.list().matches(" expires ").count();
    for ((shift, left), port) in SHIFTS.into_iter().zip(3000..) {
        let counts = counted(&host);
        assert!(counts["\"masked\" \"b\""][0].contains("drain"));
        let said = shifted(&host, shift, forgets, &file);
        assert!(said.contains(" connections numbered anew"), "{said}");
        assert!(numbers(&host).iter().all(|n| n & left == 0));
        assert_eq!(counted(&host), counts, "counted, and drained by `flbc set`");
        assert_eq!(turned_away(&host), away);
        assert_eq!(host.list().matches(" expires ").count(), remembered);
        let connections = marks_name_servers(&host, service_of_nat);
        assert!(connections > 36 + 20, "{connections}");
        for connection in &mut open {
            assert_eq!(connection.again().unwrap(), connection.answer);
        }
        for (flow, server) in &flows {
            assert_eq!(&flow.ask().unwrap().server, server);
        }
        let after = KEPT.map(|to| clients(&topology, at(to), port, 12));
        assert_eq!(after, before, "clients come back");
        assert_eq!(host.list().matches(" expires ").count(), remembered);
        if shift == "0" {
            assert_eq!(numbers(&host), drawn);
        }
    }
}

#[test]
fn by_nat_another_shift_loses_nothing_of_what_is_remembered() {
    by_nat_another_shift_loses_nothing(false);
}

#[test]
fn by_nat_another_shift_loses_nothing_of_what_is_read() {
    by_nat_another_shift_loses_nothing(true);
}

fn in_direct_return_another_shift_loses_nothing(forgets: bool) {
    let topology = Topology::new(Layout::DrOneInterface, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let file = format!("{}\n{}", DR[0], refusing("mode dr on eth0"));
    apply(&host, &[], &file);
    let drawn = numbers(&host);
    let mut open: Vec<Connection> = Vec::new();
    for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
        for _ in 0..12 {
            open.push(Connection::open(&topology.client, None, at(to), PATIENCE).unwrap());
        }
    }
    let before = KEPT.map(|to| clients(&topology, at(to), 2000, 12));
    ask(&topology, REFUSING[0]);
    let away = turned_away(&host);
    assert!(away >= 8, "{away}");
    let remembered = |host: &Host| host.list().matches(" expires ").count();
    for ((shift, left), port) in SHIFTS.into_iter().zip(3000..) {
        let counts = counted(&host);
        let flows = remembered(&host);
        shifted(&host, shift, forgets, &file);
        assert!(numbers(&host).iter().all(|n| n & left == 0));
        assert_eq!(counted(&host), counts);
        assert_eq!(turned_away(&host), away);
        assert_eq!(remembered(&host), flows);
        for connection in &mut open {
            assert_eq!(connection.again().unwrap(), connection.answer);
        }
        assert_eq!(remembered(&host), flows, "no flow was drawn anew");
        let after = KEPT.map(|to| clients(&topology, at(to), port, 12));
        assert_eq!(after, before, "clients come back");
        if shift == "0" {
            assert_eq!(numbers(&host), drawn);
        }
    }
}

#[test]
fn in_direct_return_another_shift_loses_nothing_of_what_is_remembered() {
    in_direct_return_another_shift_loses_nothing(false);
}

#[test]
fn in_direct_return_another_shift_loses_nothing_of_what_is_read() {
    in_direct_return_another_shift_loses_nothing(true);
}

#[test]
fn a_shift_can_be_tried() {
    let host = Host::alone();
    let file = NAT[0];
    apply(&host, &["--mark-shift", "4"], file);
    let before = (host.state(), numbers(&host));
    for (options, line) in [
        (&[][..], None),
        (&["--mark-shift", "8"], Some("~ marks: mark-shift 4 -> 8")),
    ] {
        let arguments = [&["try"], options, &["-"]].concat();
        let tried = host.flbc(&arguments, file);
        assert_eq!((tried.code, &*tried.err), (Some(0), ""), "{}", tried.out);
        let Some(line) = line else {
            assert_eq!(tried.out, "no difference: there is nothing to try\n");
            continue;
        };
        assert_eq!(tried.out.lines().next(), Some(line));
        leaves_eight_bits(&numbers(&host));
        let back = host.flbc(&["try", "--back"], "");
        assert_eq!((back.code, &*back.err), (Some(0), ""), "{}", back.out);
    }
    assert_eq!((host.state(), numbers(&host)), before);
    assert_eq!(apply(&host, &[], file), "no difference\n");
    assert_eq!(
        apply(&host, &["--mark-shift", "4"], file),
        "no difference\n"
    );
}

/// The number of a server in what follows `expires` in nft's listing of an entry: `4m59s : 0x00000300,`.
fn number_in(entry: &str) -> Option<u32> {
    let (_, value) = entry.split_once(" : 0x")?;
    u32::from_str_radix(value.get(..8)?, 16).ok()
}

#[test]
fn whoever_comes_while_the_shift_changes_is_answered() {
    // In direct return what is remembered between the reading and the commit is lost: the hash leads to the same server.
    for (layout, mode) in [
        (Layout::Nat, "nat; scheduler random"),
        (
            Layout::DrOneInterface,
            "dr on eth0; track 5m; scheduler maglev",
        ),
    ] {
        let topology = Topology::new(layout, 2);
        let _serving = topology.serve(&[80]);
        let host = Host::new(&topology.balancer);
        let file = format!(
            "service www {{ vip 192.0.2.10, 2001:db8::10 tcp 80; mode {mode}; persist 5m
            server 10.20.0.11; server 10.20.0.12; server 2001:db8:1::11; server 2001:db8:1::12 }}"
        );
        apply(&host, &[], &file);
        let done = AtomicBool::new(false);
        let open = thread::scope(|scope| {
            let clients = ["192.0.2.10:80", "[2001:db8::10]:80"].map(|to| {
                let (topology, done) = (&topology, &done);
                scope.spawn(move || {
                    let mut open = Vec::new();
                    // No more than this process may have open.
                    while !done.load(Ordering::Relaxed) && open.len() < 200 {
                        let from = Some(topology.source(at(to)));
                        open.push(Connection::open(&topology.client, from, at(to), PATIENCE));
                        thread::sleep(Duration::from_millis(5));
                    }
                    open
                })
            });
            let changed = ["8", "0", "5", "8", "1", "0", "8"].map(|shift| {
                let arguments = ["apply", "--mark-shift", shift, "-"];
                host.flbc(&arguments, &file)
            });
            done.store(true, Ordering::Relaxed);
            for Ran { code, out, err } in changed {
                assert_eq!((code, &*err), (Some(0), ""), "{out}");
            }
            clients.map(|client| client.join().unwrap())
        });
        let mut open: Vec<Connection> = open.into_iter().flatten().map(Result::unwrap).collect();
        assert!(open.len() > 20, "{}", open.len());
        for connection in &mut open {
            assert_eq!(connection.again().unwrap(), connection.answer);
        }
        let numbers = numbers(&host);
        leaves_eight_bits(&numbers);
        let listed = host.list();
        let remembered: Vec<u32> = listed
            .split(" expires ")
            .skip(1)
            .map(|entry| number_in(entry).unwrap_or_else(|| panic!("{entry}")))
            .collect();
        assert!(!remembered.is_empty());
        let strange = remembered.iter().find(|one| !numbers.contains(one));
        assert_eq!(strange, None, "{numbers:x?}\n{listed}");
        if layout == Layout::Nat {
            assert_eq!(marks_name_servers(&host, |_| "www".to_owned()), open.len());
        }
    }
}
