//! Flows of direct return stay with their server while servers come, go, drain and change weight.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::apply_host::Host;
use crate::lab::client::{self, Connection, Datagrams, Protocol, ask_all, tally};
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::{asked, at, compile, sampled};
use crate::random::Dice;

const TARGETS: [&str; 2] = ["192.0.2.10:80", "[2001:db8::10]:80"];

/// What each server `a`, `b`, ... says beside its address; `None`: it is not there.
fn service(topology: &Topology, scheduler: &str, options: &[Option<String>]) -> String {
    let mut file = format!(
        "service www {{\nvip 192.0.2.10, 2001:db8::10 tcp, udp 80\nmode dr on eth0\n{scheduler}\n"
    );
    for (server, options) in topology.servers.iter().zip(options) {
        if let Some(options) = options {
            let _ = writeln!(
                file,
                "server {name} {} {options}\nserver {name}6 {} {options}",
                server.v4,
                server.v6,
                name = server.name
            );
        }
    }
    file + "}"
}

fn all(count: usize, options: &str) -> Vec<Option<String>> {
    vec![Some(options.to_owned()); count]
}

#[test]
fn no_connection_is_lost_while_servers_come_drain_and_change_weight() {
    for scheduler in [
        "scheduler round-robin",
        "scheduler random",
        "scheduler maglev\ntrack 5m",
        "scheduler hash by source\ntrack 5m",
    ] {
        let topology = Topology::new(Layout::DrOneInterface, 4);
        let _serving = topology.serve(&[80]);
        let host = Host::new(&topology.balancer);
        // The fourth server comes later.
        let mut options = all(4, "");
        options[3] = None;
        host.apply(&service(&topology, scheduler, &options));
        let mut open: Vec<(String, Connection, SocketAddr)> = Vec::new();
        let mut dice = Dice::new(7);
        for _ in 0..sampled(8, 100) {
            let target = at(TARGETS[dice.below(2) as usize]);
            for from in topology.sources(target, sampled(8, 12)) {
                let connection =
                    Connection::open(&topology.client, Some(from), target, PATIENCE).unwrap();
                open.push((connection.answer.server.clone(), connection, from));
            }
            let place = dice.below(4) as usize;
            options[place] = Some(match dice.below(3) {
                0 => "drain".to_owned(),
                _ => format!("weight {}", 1 + dice.below(9)),
            });
            let ran = host.flbc(&["apply", "-"], &service(&topology, scheduler, &options));
            assert_eq!(ran.code, Some(0), "{ran:?}");
            for (server, connection, from) in &mut open {
                let answer = connection.again();
                let answer = answer.unwrap_or_else(|e| panic!("{scheduler}: {from} lost: {e}"));
                assert_eq!(answer.server, *server, "{scheduler} {from}");
            }
        }
        assert!(open.len() >= 64);
        let servers: BTreeMap<&str, usize> =
            open.iter().fold(BTreeMap::new(), |mut sum, (s, ..)| {
                *sum.entry(s.as_str()).or_insert(0) += 1;
                sum
            });
        assert!(servers.len() > 2, "{servers:?}");
    }
}

#[test]
fn round_robin_takes_turns_and_random_takes_all() {
    let topology = Topology::new(Layout::DrOneInterface, 3);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(&service(&topology, "scheduler round-robin", &all(3, "")));
    for to in TARGETS {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let flows = topology.sources(at(to), 30);
            let answers = ask_all(&topology.client, protocol, &flows, at(to));
            assert_eq!(
                tally(&answers),
                BTreeMap::from([("a", 10), ("b", 10), ("c", 10)]),
                "{protocol:?} {to}"
            );
        }
    }
    host.apply(&service(&topology, "scheduler random", &all(3, "")));
    let flows = topology.sources(at(TARGETS[0]), 60);
    let answers = ask_all(&topology.client, Protocol::Tcp, &flows, at(TARGETS[0]));
    assert!(tally(&answers).len() == 3, "{answers:?}");
}

#[test]
fn a_known_flow_whose_server_is_down_is_scheduled_anew() {
    let topology = Topology::new(Layout::DrOneInterface, 2);
    let _serving = topology.serve(&[80]);
    for scheduler in ["scheduler round-robin", "scheduler maglev\ntrack 1h"] {
        for to in TARGETS {
            let host = Host::new(&topology.balancer);
            host.apply(&service(&topology, scheduler, &all(2, "")));
            let from = topology.source(at(to));
            let udp = Datagrams::open(&topology.client, Some(from), at(to), PATIENCE).unwrap();
            let (tcp, first) = (
                asked(&topology.client, Protocol::Tcp, Some(from), to).server,
                udp.ask().unwrap().server,
            );
            for server in [&tcp, &first] {
                let mut options = all(2, "");
                let other = if server == "a" { "b" } else { "a" };
                options[usize::from(server == "b")] = Some("down".to_owned());
                host.apply(&service(&topology, scheduler, &options));
                assert_eq!(udp.ask().unwrap().server, other, "{scheduler} {to}");
                let again = asked(&topology.client, Protocol::Tcp, Some(from), to);
                assert_eq!(again.server, other, "{scheduler} {to}");
                // And stays there when the first one is back.
                host.apply(&service(&topology, scheduler, &all(2, "")));
                assert_eq!(udp.ask().unwrap().server, other, "{scheduler} {to}");
            }
            host.flbc(&["unload"], "");
        }
    }
}

#[test]
fn a_full_table_scatters_no_connection() {
    let topology = Topology::new(Layout::DrOneInterface, 3);
    let _serving = topology.serve(&[80]);
    for scheduler in [
        "scheduler round-robin",
        "scheduler random",
        "scheduler maglev\ntrack 1m",
    ] {
        let rules = compile(&service(&topology, scheduler, &all(3, "")));
        assert!(rules.contains("size 1048576; flags dynamic"), "{rules}");
        topology
            .balancer
            .nft(&rules.replace("size 1048576;", "size 8;"));
        for to in TARGETS {
            let mut open: Vec<Connection> = topology
                .sources(at(to), 40)
                .into_iter()
                .map(|from| {
                    Connection::open(&topology.client, Some(from), at(to), PATIENCE).unwrap()
                })
                .collect();
            for _ in 0..3 {
                for connection in &mut open {
                    let server = connection.answer.server.clone();
                    assert_eq!(
                        connection.again().unwrap().server,
                        server,
                        "{scheduler} {to}"
                    );
                }
            }
        }
        let listed = topology
            .balancer
            .nft_list(&["map", "netdev", "flbc", "track"]);
        assert!(
            (6..=9).contains(&listed.matches("timeout").count()),
            "{listed}"
        );
    }
}

#[test]
fn a_silent_flow_is_forgotten_and_one_that_speaks_is_not() {
    let topology = Topology::new(Layout::DrOneInterface, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(&service(
        &topology,
        "scheduler round-robin\ntrack 2s",
        &all(2, ""),
    ));
    let remembered = || {
        let listed = topology
            .balancer
            .nft_list(&["map", "netdev", "flbc", "track"]);
        listed.matches("expires").count()
    };
    let from = topology.source(at(TARGETS[0]));
    let flow = Datagrams::open(&topology.client, Some(from), at(TARGETS[0]), PATIENCE).unwrap();
    let server = flow.ask().unwrap().server;
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(500));
        assert_eq!(flow.ask().unwrap().server, server);
    }
    assert_eq!(remembered(), 1);
    thread::sleep(Duration::from_millis(3500));
    assert_eq!(remembered(), 0);
}

#[test]
fn a_drained_service_keeps_its_flows_and_takes_none() {
    let topology = Topology::new(Layout::DrOneInterface, 1);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    for to in TARGETS {
        host.apply(&service(&topology, "scheduler round-robin", &all(1, "")));
        let mut connection = Connection::open(&topology.client, None, at(to), PATIENCE).unwrap();
        host.apply(&service(
            &topology,
            "scheduler round-robin",
            &all(1, "drain"),
        ));
        assert_eq!(connection.again().unwrap().server, "a");
        let from = topology.source(at(to));
        let new = client::ask(&topology.client, Protocol::Udp, Some(from), at(to), SILENCE);
        assert!(new.is_err(), "{new:?}");
    }
}

#[test]
fn a_client_comes_back_and_every_flow_of_its_stays_longer_than_it_is_remembered() {
    let topology = Topology::new(Layout::DrOneInterface, 3);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let scheduler = "scheduler round-robin\npersist 2s\ntrack 5m";
    host.apply(&service(&topology, scheduler, &all(3, "")));
    for to in TARGETS {
        let client = topology.source(at(to)).ip();
        let from = |port: u16| Some(SocketAddr::new(client, port));
        let open = |port| Connection::open(&topology.client, from(port), at(to), PATIENCE).unwrap();
        let mut drawn = open(20_001);
        let server = drawn.answer.server.clone();
        let mut returned = Vec::new();
        for port in 20_002..20_008 {
            returned.push(open(port));
            let datagram = asked(&topology.client, Protocol::Udp, from(port), to);
            assert_eq!(
                datagram.server, server,
                "{to}: a datagram of the same client"
            );
        }
        for connection in &returned {
            assert_eq!(connection.answer.server, server, "{to}: the same client");
        }
        // Longer than the client is remembered.
        thread::sleep(Duration::from_millis(3_500));
        let forgotten = open(20_020).answer.server;
        assert_ne!(forgotten, server, "{to}: it is the next server's turn");
        for connection in std::iter::once(&mut drawn).chain(&mut returned) {
            assert_eq!(
                connection.again().unwrap().server,
                server,
                "{to}: a flow stays"
            );
        }
        assert_eq!(
            open(20_021).answer.server,
            forgotten,
            "{to}: it comes back again"
        );
    }
}

#[test]
fn traffic_of_a_known_flow_keeps_its_client_known() {
    let topology = Topology::new(Layout::DrOneInterface, 3);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let scheduler = "scheduler round-robin\npersist 2s\ntrack 5m";
    host.apply(&service(&topology, scheduler, &all(3, "")));
    let to = at(TARGETS[0]);
    let client = topology.source(to).ip();
    let open = |port| {
        let from = SocketAddr::new(client, port);
        Connection::open(&topology.client, Some(from), to, PATIENCE).unwrap()
    };
    let mut first = open(20_001);
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(500));
        first.again().unwrap();
    }
    assert_eq!(open(20_002).answer.server, first.answer.server);
}

/// Who answers a connection from a port that another had a moment ago, which takes a moment to end.
fn asked_again(topology: &Topology, protocol: Protocol, from: SocketAddr, to: &str) -> String {
    let start = Instant::now();
    loop {
        let asked = client::ask(&topology.client, protocol, Some(from), at(to), PATIENCE);
        match asked {
            Ok(answer) => return answer.server,
            Err(error) if start.elapsed() > PATIENCE => panic!("{protocol:?} {from}: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Whoever asks from a port that was known before, while its flow is remembered, begins a connection: it is a new one.
#[test]
fn a_connection_from_a_port_that_was_known_goes_to_no_server_that_takes_no_new_ones() {
    let topology = Topology::new(Layout::DrOneInterface, 3);
    let _serving = topology.serve(&[80]);
    let _sctp: Vec<_> = topology
        .servers
        .iter()
        .map(|s| RealServer::start_sctp(&s.namespace, &s.name, &topology.listens(s, &[80])))
        .collect();
    // A port is free again as soon as its connection ends.
    topology.client.sysctl("net/ipv4/tcp_max_tw_buckets", "0");
    let host = Host::new(&topology.balancer);
    let of = |scheduler: &str, options: [&str; 3]| {
        let options = options.map(|options| Some(options.to_owned()));
        service(&topology, scheduler, &options).replace("tcp, udp 80", "tcp, udp, sctp 80")
    };
    let changes = [
        (["", "down", "down"], ["drain", "", ""]),
        (["", "down", "down"], ["weight 0", "", ""]),
        // A backup is for as long as it stands in.
        (["backup", "down", "down"], ["backup", "", ""]),
    ];
    let ways = TARGETS.map(|to| [Protocol::Tcp, Protocol::Sctp].map(|protocol| (to, protocol)));
    for scheduler in ["scheduler round-robin", "scheduler maglev\ntrack 1h"] {
        for (before, after) in changes {
            for (to, protocol) in ways.iter().flatten().copied() {
                let what = format!("{scheduler} {protocol:?} {after:?} {to}");
                host.apply(&of(scheduler, before));
                let ports = topology.sources(at(to), 3);
                for from in &ports {
                    assert_eq!(asked_again(&topology, protocol, *from, to), "a", "{what}");
                }
                let from = topology.source(at(to));
                let flow = Datagrams::open(&topology.client, Some(from), at(to), PATIENCE).unwrap();
                let mut open = Connection::open(&topology.client, None, at(to), PATIENCE).unwrap();
                assert_eq!(flow.ask().unwrap().server, "a");
                assert_eq!(open.answer.server, "a");
                host.apply(&of(scheduler, after));
                for from in &ports {
                    let again = asked_again(&topology, protocol, *from, to);
                    assert_ne!(again, "a", "{what} {from}");
                    // And there it stays.
                    let more = asked_again(&topology, protocol, *from, to);
                    assert_eq!(more, again, "{what} {from}");
                }
                // What was open stays, and a datagram does not say that it is the first.
                assert_eq!(open.again().unwrap().server, "a", "{what}");
                assert_eq!(flow.ask().unwrap().server, "a", "{what}");
            }
        }
    }
    // A client that is remembered stays with a server that drains: `persist` says so.
    let persist = "scheduler round-robin\npersist 1h\ntrack 1h";
    for to in TARGETS {
        let from = topology.source(at(to));
        for options in [["", "down", "down"], ["drain", "", ""]] {
            host.apply(&of(persist, options));
            assert_eq!(asked_again(&topology, Protocol::Tcp, from, to), "a", "{to}");
        }
    }
}

/// The paper's figure 12: with tables a hundred times as large as there are servers, a server that leaves takes hardly any
/// flow of others with it.
#[test]
fn without_track_maglev_loses_hardly_any_connection_of_servers_that_stay() {
    let topology = Topology::new(Layout::DrOneInterface, 6);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let scheduler = "scheduler maglev by source-port table 16381";
    let mut options = all(6, "");
    host.apply(&service(&topology, scheduler, &options));
    let count = sampled(150, 1000);
    let mut open = Vec::new();
    for target in TARGETS.map(at) {
        for from in topology.sources(target, count / 2) {
            open.push(Connection::open(&topology.client, Some(from), target, PATIENCE).unwrap());
        }
    }
    options[2] = None;
    host.apply(&service(&topology, scheduler, &options));
    let (mut gone, mut lost) = (0, 0);
    for connection in &mut open {
        let server = connection.answer.server.clone();
        let stays = server != "c";
        gone += u32::from(!stays);
        // Another server knows nothing of the connection, and resets it.
        lost += u32::from(stays && connection.again().is_err());
    }
    assert!(
        gone > count / 12,
        "{gone} of {count} were with the server that went"
    );
    let stayed = count - gone;
    assert!(
        lost * 100 <= stayed * 3,
        "{lost} of {stayed} connections lost"
    );
}
