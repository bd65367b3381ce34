//! `flbc apply` as the operator runs it: what is in the kernel afterwards, and what is not touched.

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::{self, Connection, Protocol};
use crate::lab::topology::{Layout, Topology};
use crate::operator::{at, compile};

const WWW: &str = "192.0.2.10:80";

/// Two services in nat and one in direct return, of all kinds of slots.
const MIXED: &str = "
pool shared { server x1 10.20.0.21; server x2 10.20.0.22 weight 2; server x6 2001:db8:1::21 }
service www { vip 192.0.2.10 tcp 80, 443; vip 2001:db8::10 tcp 80; pool shared }
service alt { vip 192.0.2.11 tcp, udp 1000-2000; pool shared; scheduler random; mode nat masquerade }
service own { vip 192.0.2.12 udp any; server a 10.20.0.31:81; server b 10.20.0.32 weight 3; scheduler hash; mode nat snat 10.1.1.1 }
service one { vip 192.0.2.13 udp 5; server only 10.20.0.41; on-empty drop }
service none { vip 192.0.2.14 udp 5; server only 10.20.0.41 down }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; scheduler maglev table 13; server 10.20.0.11; server 10.20.0.12 drain; server 10.20.0.13 }
";

/// How often each server answers that many new flows.
fn shares(topology: &Topology, protocol: Protocol, to: &str, flows: u32) -> Vec<(String, usize)> {
    let sources = topology.sources(at(to), flows);
    let answers = client::ask_all(&topology.client, protocol, &sources, at(to));
    let tally = client::tally(&answers).into_iter();
    tally.map(|(name, n)| (name.to_owned(), n)).collect()
}

fn three(weight: u16) -> String {
    format!(
        "service www {{
            vip 192.0.2.10 tcp, udp 80
            server a 10.20.0.11 weight {weight}
            server b 10.20.0.12
            server c 10.20.0.13
        }}
        service other {{ vip 192.0.2.53 tcp, udp 80; server b 10.20.0.12; server c 10.20.0.13 }}"
    )
}

#[test]
fn what_is_applied_balances_and_a_second_time_nothing_is_sent() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let said = host.apply(&three(2));
    assert!(
        said.starts_with("+ service www\n+ service other\n"),
        "{said}"
    );
    assert!(said.contains("2 added, 0 changed, 0 removed"), "{said}");
    let expected = [
        ("a".to_owned(), 20),
        ("b".to_owned(), 10),
        ("c".to_owned(), 10),
    ];
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        assert_eq!(shares(&topology, protocol, WWW, 40), expected);
    }
    let generation = host.generation();
    let listed = host.list();
    assert_eq!(host.apply(&three(2)), "no difference\n");
    assert!(host.remembers());
    // Nor when nothing is remembered and the kernel has to be read.
    host.forget();
    assert_eq!(host.apply(&three(2)), "no difference\n");
    assert_eq!(host.generation(), generation, "no transaction was made");
    assert_eq!(host.list(), listed);
}

#[test]
fn direct_return_balances_what_is_applied() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let file = "service www {
        vip 192.0.2.10 tcp, udp 80
        mode dr on eth0 via eth1
        server a 10.20.0.11
        server b 10.20.0.12
    }";
    host.apply(file);
    let shares = shares(&topology, Protocol::Tcp, WWW, 100);
    let [(_, a), (_, b)] = &shares[..] else {
        panic!("two servers: {shares:?}")
    };
    assert!(*a > 25 && *b > 25, "{shares:?}");
    let generation = host.generation();
    assert_eq!(host.apply(file), "no difference\n");
    assert_eq!(host.generation(), generation);
}

#[test]
fn a_change_touches_nothing_but_what_changed() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(&three(1));
    let other = "192.0.2.53:80";
    let mut kept = Connection::open(&topology.client, None, at(WWW), PATIENCE).unwrap();
    // An odd number: the turn is in the middle of a round.
    let first = client::ask_all(
        &topology.client,
        Protocol::Tcp,
        &topology.sources(at(other), 3),
        at(other),
    );
    assert_eq!(first, ["b", "c", "b"]);
    let rules = host.handles("svc_other_v4");
    let number = |name: &str| {
        let listed = host.namespace.nft_list(&["set", "inet", "flbc", "server"]);
        let (before, _) = listed
            .split_once(&format!(", {name} of www\""))
            .unwrap_or_else(|| panic!("{name} in {listed}"));
        before.rsplit("0x").next().unwrap()[..8].to_owned()
    };
    let numbers = ["a", "b", "c"].map(number);
    let said = host.apply(&three(5));
    assert!(said.starts_with("~ www: a weight 1 -> 5\n"), "{said}");
    assert!(said.contains("0 added, 1 changed, 0 removed"), "{said}");
    assert_eq!(["a", "b", "c"].map(number), numbers);
    assert_eq!(host.handles("svc_other_v4"), rules);
    let counted = host.namespace.nft_list(&["map", "inet", "flbc", "svc4"]);
    assert!(
        counted.contains("192.0.2.53 . tcp . 80 counter packets 3 "),
        "{counted}"
    );
    assert_eq!(kept.again().unwrap(), kept.answer);
    let next = client::ask_all(
        &topology.client,
        Protocol::Tcp,
        &topology.sources(at(other), 2),
        at(other),
    );
    assert_eq!(next, ["c", "b"], "the turn goes on");
    let expected = [
        ("a".to_owned(), 20),
        ("b".to_owned(), 4),
        ("c".to_owned(), 4),
    ];
    assert_eq!(shares(&topology, Protocol::Tcp, WWW, 28), expected);
}

#[test]
fn apply_leaves_what_compile_and_nft_leave() {
    for file in [MIXED, &three(3)] {
        let (applied, loaded) = (Host::alone(), Host::alone());
        applied.apply(file);
        loaded.namespace.nft(&compile(file));
        let (applied, loaded) = (applied.state(), loaded.state());
        assert!(applied.len() > 10, "{applied:?}");
        assert_eq!(applied, loaded);
    }
}

#[test]
fn status_counts_what_was_sent() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let empty = host.flbc(&["status"], "");
    assert_eq!((empty.code, empty.out.as_str()), (Some(0), "no services\n"));
    host.apply(&three(2));
    shares(&topology, Protocol::Tcp, WWW, 8);
    shares(&topology, Protocol::Udp, WWW, 4);
    shares(&topology, Protocol::Tcp, "192.0.2.53:80", 5);
    let human = host.flbc(&["status"], "").out;
    let words: Vec<Vec<&str>> = human
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for expected in [
        "service www (nat) weight state share conn pkt in byte in pkt out byte out",
        "vip 192.0.2.10 tcp 80 8 - - - -",
        "vip 192.0.2.10 udp 80 4 - - - -",
        "vip 192.0.2.53 tcp 80 5 - - - -",
        "a 10.20.0.11 2 up 50.0% 6",
        "b 10.20.0.12 1 up 25.0% 3",
        "c 10.20.0.13 1 up 50.0% 2",
    ] {
        let expected: Vec<&str> = expected.split(' ').collect();
        let is_there = words.iter().any(|line| line.starts_with(&expected));
        assert!(is_there, "{expected:?} in\n{human}");
    }
    let json = host.flbc(&["status", "--json"], "").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let www = &json["services"][0];
    assert_eq!(www["name"], "www");
    let a = &www["servers"][0];
    assert_eq!(
        (a["name"].as_str(), a["connections"].as_u64()),
        (Some("a"), Some(6))
    );
    assert_eq!(
        (a["weight"].as_u64(), a["share"].as_f64()),
        (Some(2), Some(0.5))
    );
    let metrics = host.flbc(&["status", "--format", "prometheus"], "").out;
    for line in [
        "flbc_server_connections_total{service=\"www\",server=\"a\",endpoint=\"10.20.0.11\",mode=\"nat\"} 6",
        "flbc_server_weight{service=\"www\",server=\"a\",endpoint=\"10.20.0.11\",mode=\"nat\"} 2",
        "flbc_server_share_ratio{service=\"www\",server=\"a\",endpoint=\"10.20.0.11\",mode=\"nat\"} 0.5",
        "flbc_vip_connections_total{service=\"www\",vip=\"192.0.2.10 udp 80\",mode=\"nat\"} 4",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
}

#[test]
fn status_shows_servers_that_take_nobody() {
    let host = Host::alone();
    host.apply(
        "service none { vip 192.0.2.14, 2001:db8::14 udp 5
            server gone 10.20.0.41 down; server last 10.20.0.42 drain; server six 2001:db8:1::1 }",
    );
    let human = host.flbc(&["status"], "").out;
    for (server, state) in [("gone", "down"), ("last", "drain"), ("six", "up")] {
        let lines: Vec<&str> = human
            .lines()
            .filter(|line| line.split_whitespace().next() == Some(server))
            .collect();
        assert!(
            lines.len() == 1 && lines[0].contains(state),
            "{server}: {human}"
        );
    }
}

#[test]
fn status_leaves_out_no_server_that_is_declared() {
    let host = Host::alone();
    host.apply(
        "pool shared { server x1 10.20.0.21 drain; server x2 10.20.0.22 down; server x6 2001:db8:1::21 }
         pool more { server y1 10.20.0.31 }
         service none { vip 192.0.2.10 tcp 80; pool shared }
         service both { vip 192.0.2.11, 2001:db8::11 tcp 80; pool shared; pool more; server z1 10.20.0.41 backup }
         service twins { vip 192.0.2.12 tcp 80; pool more; pool shared; mode nat masquerade }
         service dns { vip 192.0.2.53 udp 53; mode dr on eth0; scheduler hash; pool shared }",
    );
    let json = host.flbc(&["status", "--json"], "").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names = |at: usize| -> String {
        let service = &json["services"][at];
        let servers = service["servers"].as_array().unwrap().iter();
        let names = servers.map(|s| format!("{} {}", s["name"], s["endpoint"]).replace('"', ""));
        format!(
            "{} {}",
            service["name"],
            names.collect::<Vec<_>>().join(", ")
        )
    };
    assert_eq!(
        [0, 1, 2, 3].map(names),
        [
            "\"none\" x1 10.20.0.21, x2 10.20.0.22",
            "\"both\" x1 10.20.0.21, x2 10.20.0.22, x6 2001:db8:1::21, y1 10.20.0.31, z1 10.20.0.41",
            "\"twins\" y1 10.20.0.31, x1 10.20.0.21, x2 10.20.0.22",
            "\"dns\" x1 10.20.0.21, x2 10.20.0.22",
        ]
    );
}

#[test]
fn unload_removes_both_tables_and_nothing_else() {
    let host = Host::alone();
    let foreign = "table inet foreign { set s { type ipv4_addr; elements = { 10.0.0.1 } }; chain c { type filter hook input priority 5; ip saddr @s accept; }; }";
    host.namespace.nft(foreign);
    let before = host.list();
    host.apply(MIXED);
    assert!(host.list().contains("table netdev flbc"));
    let said = host.flbc(&["unload"], "");
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.contains("- service www\n"), "{said:?}");
    assert_eq!(host.list(), before);
    assert!(!host.remembers());
    let again = host.flbc(&["unload"], "");
    assert_eq!(
        (again.code, again.out.as_str()),
        (Some(0), "nothing to unload\n")
    );
    assert_eq!(host.list(), before);
    // And on again.
    host.apply(MIXED);
    assert_eq!(host.apply(MIXED), "no difference\n");
}
