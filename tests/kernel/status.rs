//! `flbc status`: what passed between clients and real servers is counted at the right server, both ways.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::{Connection, Datagrams, Protocol};
use crate::lab::namespace::Namespace;
use crate::lab::topology::{Layout, Topology};
use crate::operator::{asked, at, compile, load};

const V4: &str = "192.0.2.10:80";
const V6: &str = "[2001:db8::10]:80";

/// IP and UDP headers.
const HEADERS: [(&str, u64); 2] = [(V4, 28), (V6, 48)];

fn status(host: &Host) -> Value {
    let ran = host.flbc(&["status", "--json"], "");
    let status: Value = serde_json::from_str(&ran.out).unwrap();
    // The status tells a program what the object does.
    let amiss = status["applied"]["in_force"] == false;
    assert_eq!((ran.code, ran.err.as_str()), (Some(i32::from(amiss)), ""));
    status
}

/// The one of this name in a list.
fn named<'v>(list: &'v Value, name: &str) -> &'v Value {
    let mut all = list.as_array().unwrap().iter();
    all.find(|one| one["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {list}"))
}

fn server<'v>(status: &'v Value, service: &str, name: &str) -> &'v Value {
    named(&named(&status["services"], service)["servers"], name)
}

/// Packets and bytes to a server or service, and from it.
fn both_ways(of: &Value) -> [u64; 4] {
    [
        ("to", "packets"),
        ("to", "bytes"),
        ("from", "packets"),
        ("from", "bytes"),
    ]
    .map(|(way, what)| of[way][what].as_u64().unwrap_or_else(|| panic!("{of}")))
}

/// Asks so often, in one flow; packets and bytes that went to the server and came back.
fn ask(from: &Namespace, to: &str, times: u64) -> [u64; 4] {
    let headers = HEADERS.iter().find(|(vip, _)| *vip == to).unwrap().1;
    let flow = Datagrams::open(from, None, at(to), PATIENCE).unwrap();
    let mut amounts = [0; 4];
    for _ in 0..times {
        let answer = flow.ask().unwrap().line().len() as u64;
        let passed = [
            1,
            "who is there?".len() as u64 + headers,
            1,
            answer + headers,
        ];
        for (sum, one) in amounts.iter_mut().zip(passed) {
            *sum += one;
        }
    }
    amounts
}

const SERVERS: &str = "
    vip 192.0.2.10, 2001:db8::10 tcp, udp 80
    server a 10.20.0.11
    server b 10.20.0.12 drain
    server a6 2001:db8:1::11
    server b6 2001:db8:1::12 drain
";

fn plus(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut sum = a;
    sum.iter_mut().zip(b).for_each(|(sum, b)| *sum += b);
    sum
}

#[test]
fn nat_counts_packets_and_bytes_both_ways_and_other_changes_leave_them_alone() {
    for mode in ["nat", "nat masquerade"] {
        let topology = Topology::new(Layout::Nat, 2);
        let _serving = topology.serve(&[80]);
        let host = Host::new(&topology.balancer);
        let www = format!("service www {{ mode {mode}\n{SERVERS} }}");
        host.apply(&www);
        let nothing = status(&host);
        assert_eq!(both_ways(server(&nothing, "www", "a")), [0; 4]);
        // From clients, from the balancer itself, and from a server.
        let sources = [
            &topology.client,
            &topology.balancer,
            &topology.servers[0].namespace,
        ];
        let mut sent = [[0; 4]; 2];
        for from in sources {
            for (sum, (to, _)) in sent.iter_mut().zip(HEADERS) {
                *sum = plus(*sum, ask(from, to, 3));
            }
        }
        let now = status(&host);
        for (name, expected) in [("a", sent[0]), ("a6", sent[1]), ("b", [0; 4])] {
            let found = server(&now, "www", name);
            assert_eq!(both_ways(found), expected, "{mode} {name}");
        }
        let www_now = named(&now["services"], "www");
        assert_eq!(both_ways(www_now), plus(sent[0], sent[1]));
        assert_eq!(www_now["connections"], 6);
        // Something else comes, and a weight changes; then what the table says is told apart from what is forgotten.
        let more = www.replace("10.20.0.11", "10.20.0.11 weight 7");
        host.apply(&format!(
            "service other {{ vip 192.0.2.53 udp 80; server b 10.20.0.12 }} {more}"
        ));
        sent[0] = plus(sent[0], ask(&topology.client, V4, 2));
        let now = status(&host);
        assert_eq!(both_ways(server(&now, "www", "a")), sent[0]);
        assert_eq!(both_ways(server(&now, "other", "b")), [0; 4]);
    }
}

#[test]
fn a_connection_of_tcp_is_counted_with_all_that_it_carries() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(&format!("service www {{ {SERVERS} }}"));
    for (to, name) in [(V4, "a"), (V6, "a6")] {
        let mut connection = Connection::open(&topology.client, None, at(to), PATIENCE).unwrap();
        assert_eq!(connection.bulk(3_000_000).unwrap(), 3_000_000);
        let now = status(&host);
        let [packets_to, bytes_to, packets_from, bytes_from] = both_ways(server(&now, "www", name));
        assert!(
            (3_000_000..3_600_000).contains(&bytes_from),
            "{name}: {bytes_from}"
        );
        assert!(packets_to > 3 && packets_from > 10, "{name}: {now}");
        assert!((100..300_000).contains(&bytes_to), "{name}: {bytes_to}");
    }
}

#[test]
fn other_traffic_and_others_marks_are_not_counted() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(&format!("service www {{ {SERVERS} }}"));
    // Somebody else's translation, with a mark that is a server's number here.
    let number = host.number_of("a");
    host.namespace.nft(&format!(
        "table ip other {{ chain c {{ type nat hook prerouting priority -190;
            ip daddr 192.0.2.53 udp dport 80 ct mark set {number} dnat to 10.20.0.12; }}; }}",
    ));
    let answer = asked(&topology.client, Protocol::Udp, None, "192.0.2.53:80");
    assert_eq!(answer.server, "b");
    asked(&topology.client, Protocol::Udp, None, "10.20.0.11:80");
    let now = status(&host);
    for name in ["a", "b", "a6", "b6"] {
        assert_eq!(both_ways(server(&now, "www", name)), [0; 4], "{name}");
    }
}

#[test]
fn a_server_that_comes_back_begins_at_nothing() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let with = |server: &str| format!("service www {{ vip 192.0.2.10 udp 80; {server} }}");
    host.apply(&with("server a 10.20.0.11"));
    let sent = ask(&topology.client, V4, 3);
    assert_eq!(both_ways(server(&status(&host), "www", "a")), sent);
    // A server that comes back has its number again.
    for (name, host_part) in [("x", 12), ("y", 11), ("z", 12)] {
        host.apply(&with(&format!("server {name} 10.20.0.{host_part}")));
        assert_eq!(
            both_ways(server(&status(&host), "www", name)),
            [0; 4],
            "{name}"
        );
        let sent = ask(&topology.client, V4, 2);
        assert_eq!(
            both_ways(server(&status(&host), "www", name)),
            sent,
            "{name}"
        );
    }
    // One counter for each way, and none of those who left.
    let listed = host.namespace.nft_list(&["set", "inet", "flbc", "traffic"]);
    assert_eq!(listed.matches("counter packets").count(), 2, "{listed}");
}

#[test]
fn direct_return_counts_the_way_that_it_sees() {
    let topology = Topology::new(Layout::DrOneInterface, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(
        "service www { mode dr on eth0; vip 192.0.2.10, 2001:db8::10 udp 80
            server a 10.20.0.11; server b 10.20.0.12 drain
            server a6 2001:db8:1::11; server b6 2001:db8:1::12 drain }",
    );
    let mut all = [0; 2];
    for ((to, _), name) in HEADERS.into_iter().zip(["a", "a6"]) {
        let [packets, bytes, ..] = ask(&topology.client, to, 5);
        let now = status(&host);
        let found = server(&now, "www", name);
        assert_eq!(found["to"]["packets"], packets, "{found}");
        assert_eq!(found["to"]["bytes"], bytes, "{found}");
        assert_eq!(
            (&found["from"], &found["connections"]),
            (&Value::Null, &Value::Null)
        );
        all = [all[0] + packets, all[1] + bytes];
    }
    let now = status(&host);
    let www = named(&now["services"], "www");
    assert_eq!(www["to"]["packets"], all[0]);
    assert_eq!(www["to"]["bytes"], all[1]);
    let human = host.flbc(&["status"], "").out;
    let line = human
        .lines()
        .find(|line| line.starts_with("  a 10.20.0.11 "));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(
        words,
        [
            "a",
            "10.20.0.11",
            "1",
            "up",
            "100.0%",
            "-",
            "5",
            "205",
            "-",
            "-"
        ]
    );
    assert!(
        human.lines().all(|line| line.chars().count() <= 100),
        "{human}"
    );
}

#[test]
fn servers_that_services_share_have_one_figure_and_the_services_none() {
    let topology = Topology::new(Layout::Nat, 1);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(
        "pool web { server a 10.20.0.11 }
         service one { vip 192.0.2.10 udp 80; pool web }
         service two { vip 192.0.2.53 udp 80; pool web }",
    );
    let sent = ask(&topology.client, V4, 2);
    let now = status(&host);
    for service in ["one", "two"] {
        assert_eq!(both_ways(server(&now, service, "a")), sent);
        let service = named(&now["services"], service);
        assert_eq!(
            (&service["to"], &service["shared"]),
            (&Value::Null, &Value::Bool(true))
        );
    }
    assert_eq!(named(&now["services"], "one")["connections"], 1);
    assert_eq!(named(&now["services"], "two")["connections"], 0);
}

#[test]
fn watching_shows_rates_and_ends_when_it_is_told_to() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(&format!("service www {{ {SERVERS} }}"));
    let mut child = host.start(&["status", "--json", "--watch", "0.3"]);
    drop(child.stdin.take());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let first = next();
    assert_eq!(first.get("interval"), None);
    let sent = ask(&topology.client, V4, 30);
    // The reading that was under way may have come before.
    let mut packets = 0.0;
    let mut bits = 0.0;
    for _ in 0..3 {
        let reading = next();
        let seconds = reading["interval"].as_f64().unwrap();
        let rate = &server(&reading, "www", "a")["rate"];
        packets += rate["to"]["packets"].as_f64().unwrap() * seconds;
        bits += rate["from"]["bits"].as_f64().unwrap() * seconds;
    }
    assert!((packets - 30.0).abs() < 0.01, "{packets}");
    let expected = f64::from(u32::try_from(sent[3] * 8).unwrap());
    assert!((bits - expected).abs() < 0.1, "{bits} {expected}");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // Whoever reads no more ends it too, without a word.
    let mut child = host.start(&["status", "--watch", "0.3"]);
    drop(child.stdin.take());
    let mut first = [0];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_change_by_somebody_else_is_told() {
    let host = Host::alone();
    host.apply(&format!("service www {{ {SERVERS} }}"));
    assert_eq!(status(&host)["warnings"], Value::Array(Vec::new()));
    assert_eq!(status(&host)["applied"]["in_force"], true);
    host.namespace.nft("add rule inet flbc input accept");
    assert_eq!(status(&host)["applied"]["in_force"], false);
    let warnings = status(&host)["warnings"].to_string();
    assert!(
        warnings.contains("rule") && warnings.contains("`input`"),
        "{warnings}"
    );
    let human = host.flbc(&["status"], "").out;
    assert!(
        human.starts_with("warning[not-in-force]: changed by somebody else: "),
        "{human}"
    );
}

/// What Prometheus asks of a text: every metric once, with help and type, names and labels that it takes, no sample
/// twice.
#[test]
fn metrics_are_as_prometheus_wants_them() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(&format!(
        "service www {{ {SERVERS} allow from 0.0.0.0/0, ::/0 }}
         service dns {{ mode dr on eth0; vip 192.0.2.53 udp 53; server 10.20.0.12 }}"
    ));
    ask(&topology.client, V4, 2);
    let text = host.flbc(&["status", "--format", "prometheus"], "").out;
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut metrics = BTreeSet::new();
    let mut samples = BTreeSet::new();
    let mut current = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(is_name(name) && !words.is_empty(), "{line}");
            assert!(metrics.insert(name), "{name} twice");
            let kind = lines.next().unwrap();
            let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
            current = name;
            continue;
        }
        let rest = line.strip_prefix(current).unwrap();
        let (labels, value) = rest.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(samples.insert((current, labels)), "{line} twice");
        let inside = labels
            .strip_prefix('{')
            .map_or("", |l| l.strip_suffix('}').unwrap());
        for label in inside.split("\",").filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once("=\"").unwrap();
            assert!(
                is_name(name) && !value.trim_end_matches('"').contains('"'),
                "{line}"
            );
        }
    }
    let a = "service=\"www\",server=\"a\",endpoint=\"10.20.0.11\",mode=\"nat\"";
    for expected in [
        format!("flbc_server_packets_total{{{a},direction=\"to_server\"}} 2"),
        format!("flbc_server_packets_total{{{a},direction=\"from_server\"}} 2"),
        format!("flbc_server_bytes_total{{{a},direction=\"to_server\"}} 82"),
        format!("flbc_server_connections_total{{{a}}} 1"),
        format!("flbc_server_share_ratio{{{a}}} 1"),
        format!("flbc_server_state{{{a},state=\"up\"}} 1"),
        "flbc_service_connections_total{service=\"www\",mode=\"nat\"} 1".to_owned(),
    ] {
        assert!(
            text.lines().any(|line| line == expected),
            "{expected} in\n{text}"
        );
    }
}

#[test]
fn clients_and_flows_that_are_remembered_are_counted() {
    let topology = Topology::new(Layout::DrOneInterface, 3);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(
        "service www { vip 192.0.2.10, 2001:db8::10 udp 80; mode dr on eth0; scheduler round-robin; persist 5m
        server a 10.20.0.11; server b 10.20.0.12; server a6 2001:db8:1::11; server b6 2001:db8:1::12 }",
    );
    for to in [V4, V6] {
        for from in topology.sources(at(to), 3) {
            for port in [0, 1] {
                let from = std::net::SocketAddr::new(from.ip(), from.port() + port);
                asked(&topology.client, Protocol::Udp, Some(from), to);
            }
        }
    }
    let now = status(&host);
    let service = named(&now["services"], "www");
    assert_eq!(
        (&service["clients"], &service["flows"]),
        (&6.into(), &12.into()),
        "{now}"
    );
    let used = |map: &str| {
        let tables = now["memory"].as_array().unwrap();
        let table = tables.iter().find(|table| table["map"] == map);
        table.unwrap_or_else(|| panic!("{now}"))["used"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        [used("persist4"), used("persist6"), used("track")],
        [3, 3, 12]
    );
    let human = host.flbc(&["status"], "").out;
    assert!(
        human.contains("\n  clients remembered: 6\n  flows remembered: 12\n"),
        "{human}"
    );
    let metrics = host.flbc(&["status", "--format", "prometheus"], "").out;
    let sample = "\nflbc_remembered{mode=\"dr\",map=\"track\",of=\"flows\"} 12\n";
    assert!(metrics.contains(sample), "{metrics}");

    // A server that is down has none.
    host.apply(
        "service www { vip 192.0.2.10, 2001:db8::10 udp 80; mode dr on eth0; scheduler round-robin; persist 5m
        server a 10.20.0.11 down; server b 10.20.0.12; server a6 2001:db8:1::11; server b6 2001:db8:1::12 }",
    );
    let later = status(&host);
    let left = |what: &str| named(&later["services"], "www")[what].as_u64().unwrap();
    assert!(left("clients") < 6 && left("flows") < 12, "{later}");
    assert_eq!(left("flows"), left("clients") * 2, "{later}");
}

#[test]
fn a_chain_of_others_that_may_drop_what_is_balanced_is_told() {
    let topology = Topology::new(Layout::Nat, 1);
    let host = Host::new(&topology.balancer);
    host.apply("service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11 }");
    assert_eq!(status(&host)["warnings"], serde_json::json!([]));
    topology.balancer.nft(
        "table inet firewall {
            chain strict { type filter hook forward priority 0; policy drop; }
            chain loose { type filter hook forward priority 1; policy accept; }
        }",
    );
    let warnings = status(&host)["warnings"].clone();
    assert_eq!(
        warnings,
        serde_json::json!([
            "chain strict of table inet firewall has policy drop in forward: it may drop balanced connections, unless its rules accept them"
        ])
    );
}

#[test]
fn the_longest_names_are_read_back() {
    let [service, a, b] = ["s", "a", "b"].map(|letter| letter.repeat(64));
    let file = |state: &str| {
        format!(
            "service {service} {{ vip 192.0.2.10 tcp 80; server {a} 10.20.0.11; server {b} 10.20.0.12 {state} }}"
        )
    };
    let host = Host::alone();
    load(&host.namespace, &file("drain"));
    let status = host.flbc(&["status"], "");
    assert!(
        status.out.contains(&a) && status.out.contains(&b),
        "{}",
        status.out
    );
    assert_eq!(host.apply(&file("drain")), "no difference\n");
    host.forget();
    let said = host.apply(&file("weight 3"));
    assert!(
        said.starts_with(&format!(
            "~ {service}: {b} drain -> up\n~ {service}: {b} weight 1 -> 3\n0 added"
        )),
        "{said}"
    );
    let rules = host.write("old.nft", &compile(&file("")));
    let against = ["apply", "--dry-run", "--against", &rules, "-"];
    let said = host.flbc(&against, &file("weight 3")).out;
    assert!(
        said.starts_with(&format!("~ {service}: {b} weight 1 -> 3\n0 added")),
        "{said}"
    );
}

#[test]
fn the_only_server_of_a_service_that_tracks_has_its_whole_share() {
    let host = Host::alone();
    for options in ["track 5m", "persist 1h", "track 5m\npersist 1h"] {
        host.apply(&format!(
            "service dns {{ vip 192.0.2.53 udp 53\nmode dr on eth0\n{options}\nserver a 10.20.0.11 }}"
        ));
        let status = host.flbc(&["status"], "");
        assert!(status.out.contains("100.0%"), "{options}: {}", status.out);
    }
}

/// More slots than the kernel is asked to list: each is asked for by its number.
#[test]
fn of_many_slots_the_missing_ones_are_told_and_shares_are_the_same_however_they_are_read() {
    let host = Host::alone();
    host.apply(
        "service www { vip 192.0.2.10 tcp 80; scheduler maglev table 131101
        server a 10.20.0.11 weight 3; server b 10.20.0.12; server c 10.20.0.13 }",
    );
    let known = status(&host);
    host.namespace.nft("add table ip other");
    assert_eq!(status(&host), known);
    let slots = host.namespace.nft_list(&["map", "inet", "flbc", "slot"]);
    let (_, elements) = slots.split_once("elements = {").unwrap();
    let element = elements.split(',').nth(1000).unwrap().trim();
    let (slot, _) = element.split_once(" : ").unwrap();
    // The first, one in the middle and the last; so it goes on behind what is not there.
    for slot in ["0x00100000", slot, "0x0012001c"] {
        host.namespace
            .nft(&format!("delete element inet flbc slot {{ {slot} }}"));
    }
    let drifted = status(&host);
    let told: Vec<&str> = drifted["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.iter().all(
            |one| one.contains("missing element of set `slot` in inet: slot ")
                && one.contains(" of service www")
        ),
        "{told:?}"
    );
    let share = |status: &Value, name: &str| server(status, "www", name)["share"].as_f64().unwrap();
    for name in ["a", "b", "c"] {
        assert!(
            (share(&drifted, name) - share(&known, name)).abs() < 1e-4,
            "{name}: {drifted}"
        );
    }
    host.forget();
    let alone = status(&host);
    for name in ["a", "b", "c"] {
        assert!(
            (share(&alone, name) - share(&drifted, name)).abs() < 1e-9,
            "{name}: {alone}"
        );
    }
}

/// Every command that speaks of the kernel says when standard output is full or closed.
#[test]
fn a_standard_output_that_is_full_or_closed_is_told() {
    let host = Host::alone();
    let file = host.write(
        "lb.flb",
        "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }",
    );
    let run = |to: &str, arguments: &str| {
        let flbc = env!("CARGO_BIN_EXE_flbc");
        host.command(&[
            "sh",
            "-c",
            &format!("TERM=dumb exec {flbc} {arguments} {to}"),
        ])
    };
    let commands = [
        format!("apply {file}"),
        "status".to_owned(),
        "status --json".to_owned(),
        "status --format prometheus".to_owned(),
        "status --watch 60".to_owned(),
        "set www a drain".to_owned(),
        format!("explain --live --from 192.0.2.1:1 --to 192.0.2.10:80 {file}"),
        "unload".to_owned(),
    ];
    for command in &commands {
        let ran = run(">/dev/full", command);
        assert_eq!(ran.code, Some(2), "{command}: {}", ran.err);
        assert_eq!(
            ran.err, "error: cannot write standard output: No space left on device\n",
            "{command}"
        );
    }
    host.apply("service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }");
    for command in &commands {
        let ran = run(">&-", command);
        assert_eq!(ran.code, Some(2), "{command}: {}", ran.err);
        assert_eq!(
            ran.err, "error: cannot write standard output: Bad file descriptor\n",
            "{command}"
        );
    }
}

#[test]
fn what_is_not_in_force_is_an_alarm_of_status_and_doctor() {
    let host = Host::alone();
    let file = host.write(
        "lb.flb",
        "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; server 10.20.0.21 }\n",
    );
    let compiled = host.flbc(&["compile", &file], "").out;
    let apply = || assert_eq!(host.flbc(&["apply", "--keep", &file], "").code, Some(0));
    let alarm = |sentence: &str| {
        let ran = host.flbc(&["status"], "");
        assert_eq!(ran.code, Some(1), "{sentence}: {ran:?}");
        assert!(
            ran.out.starts_with("warning[not-in-force]: "),
            "{sentence}: {ran:?}"
        );
        assert!(ran.out.contains(sentence), "{sentence}: {ran:?}");
        let ran = host.flbc(&["status", "--json"], "");
        assert_eq!(ran.code, Some(1), "{sentence}");
        assert!(
            ran.out.contains("\"in_force\":false"),
            "{sentence}: {ran:?}"
        );
        let ran = host.flbc(&["status", "--format", "prometheus"], "");
        assert_eq!(ran.code, Some(1), "{sentence}");
        assert!(
            ran.out.contains("\nflbc_in_force 0\n"),
            "{sentence}: {ran:?}"
        );
        let ran = host.flbc(&["doctor", &file], "");
        assert_eq!(ran.code, Some(1), "{sentence}: {ran:?}");
        assert!(
            ran.out.contains("error[not-in-force]: "),
            "{sentence}: {ran:?}"
        );
        assert!(!ran.out.contains("all well"), "{sentence}: {ran:?}");
    };
    let quiet = || {
        let ran = host.flbc(&["status"], "");
        assert_eq!(
            (ran.code, ran.out.contains("warning")),
            (Some(0), false),
            "{ran:?}"
        );
        let ran = host.flbc(&["status", "--format", "prometheus"], "");
        assert!(ran.out.contains("\nflbc_in_force 1\n"), "{ran:?}");
    };
    apply();
    quiet();
    for (deed, sentence) in [
        ("flush ruleset", "the tables of the last apply are gone"),
        ("delete table netdev flbc", "missing table in netdev"),
        ("delete table inet flbc", "missing table in inet"),
        (
            "add table inet flbc { flags dormant; }",
            "dormant table in inet",
        ),
        (
            "flush chain inet flbc svc_www_v4",
            "of chain `svc_www_v4` in inet",
        ),
        (
            "delete element inet flbc svc4 { 192.0.2.10 . tcp . 80 }",
            "VIP 192.0.2.10 tcp 80 of service www",
        ),
        (
            "flush ruleset; table inet flbc { set server { type mark; }; }",
            "the tables are not those of the last apply",
        ),
    ] {
        host.namespace.nft(deed);
        alarm(sentence);
        apply();
        quiet();
    }
    // What an interface takes with it is no change of the rules that the kernel would count.
    host.namespace.ip("link del eth0");
    alarm("there is no interface `eth0` any more, which service `dns` needs");
    host.namespace.ip("link add eth0 type veth peer name eth1
        link set eth0 up
        link set eth1 up");
    alarm("`eth0` is another interface than at the last apply");
    apply();
    quiet();
    // The same from another hand is in force; others from another hand are not.
    host.namespace.nft(&compiled);
    quiet();
    host.namespace
        .nft(&compiled.replace("10.20.0.11", "10.20.0.99"));
    alarm("the tables are not those of the last apply");
    apply();
    // Notes are of one namespace: what was unloaded is missed by nobody.
    host.namespace.nft("flush ruleset");
    assert_eq!(host.flbc(&["unload"], "").code, Some(0));
    let ran = host.flbc(&["status"], "");
    assert_eq!((ran.code, &*ran.out), (Some(0), "no services\n"), "{ran:?}");
}

#[test]
fn what_a_drained_server_still_has_is_counted_and_who_does_not_answer_is_told() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(
        "service www { vip 192.0.2.10, 2001:db8::10 tcp 80; persist 5m
            server a 10.20.0.11; server b 10.20.0.12; server c 2001:db8:1::11; server d 2001:db8:1::12 }
        service dead { vip 192.0.2.53 tcp 80; server x 10.20.0.99 }",
    );
    for (to, families) in [(V4, ["a", "b"]), (V6, ["c", "d"])] {
        let client = topology.source(at(to));
        let mut open: Vec<Connection> = (0..2)
            .map(|number| {
                let from = std::net::SocketAddr::new(client.ip(), 30_000 + number);
                Connection::open(&topology.client, Some(from), at(to), PATIENCE).unwrap()
            })
            .collect();
        // By `persist` both went to one.
        let name = if open[0].answer.server == "a" {
            families[0]
        } else {
            families[1]
        };
        assert_eq!(host.flbc(&["set", "www", name, "drain"], "").code, Some(0));
        let now = status(&host);
        let drained = server(&now, "www", name);
        assert_eq!(
            (&drained["left"], &drained["returning"]),
            (&2.into(), &1.into()),
            "{drained}"
        );
        for connection in &mut open {
            assert_eq!(connection.again().unwrap(), connection.answer);
        }
        let human = host.flbc(&["status"], "").out;
        let told = "2 connections left  1 client comes back by persist\n";
        assert!(human.contains(told), "{human}");
        assert_eq!(host.flbc(&["set", "www", name, "up"], "").code, Some(0));
        assert_eq!(server(&status(&host), "www", name)["left"], Value::Null);
    }
    assert_eq!(status(&host)["warnings"], Value::Array(Vec::new()));
    for _ in 0..3 {
        let to = at("192.0.2.53:80");
        let from = Some(topology.source(to));
        let soon = std::time::Duration::from_millis(50);
        assert!(Connection::open(&topology.client, from, to, soon).is_err());
    }
    assert_eq!(
        status(&host)["warnings"],
        serde_json::json!([
            "server `x` of `dead` is sent to and does not answer: 3 connections wait for its first packet"
        ])
    );
}

#[test]
fn an_apply_that_could_not_write_its_note_is_no_change_of_somebody_else() {
    let host = Host::alone();
    let file =
        |number| format!("service www {{ vip 192.0.2.10 tcp 80; server a 10.20.0.{number} }}\n");
    let first = host.write("first.flb", &file(1));
    let second = host.write("second.flb", &file(2));
    // A small disk for the notes, which is full at the second apply.
    let ran = host.command(&[
        "sh",
        "-c",
        "mkdir /run/flbc; chmod 700 /run/flbc
         mount -t tmpfs -o size=32k,mode=700 tmpfs /run/flbc
         $0 apply $1 > /dev/null || exit 91
         dd if=/dev/zero of=/run/flbc/fill bs=1k count=100 2> /dev/null
         $0 apply $2 > /dev/null 2> /run/said || exit 92
         $0 status
         rm /run/flbc/fill
         $0 apply $2 && $0 status > /run/after; exit $?",
        env!("CARGO_BIN_EXE_flbc"),
        &first,
        &second,
    ]);
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    let said = std::fs::read_to_string(host.folder().join("said")).unwrap();
    assert!(said.contains("No space left on device"), "{said}");
    let told: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| line.starts_with("warning"))
        .collect();
    assert_eq!(told.len(), 1, "{}", ran.out);
    assert!(told[0].contains("could not be written"), "{}", told[0]);
    assert!(ran.out.contains("a 10.20.0.2"), "{}", ran.out);
    assert!(ran.out.ends_with("no difference\n"), "{}", ran.out);
    let after = std::fs::read_to_string(host.folder().join("after")).unwrap();
    assert!(!after.contains("warning"), "{after}");
}
