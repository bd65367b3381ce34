//! Packets that connection tracking calls invalid: what becomes of the connections that they seem to be of, and of those
//! that are none of flbc's.

use std::time::Duration;

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::{self, Connection, Protocol};
use crate::lab::packet::{Frame, Segment, Wire};
use crate::lab::real_server::RealServer;
use crate::lab::topology::{BALANCER_ETH1, Layout, Topology, VIPS, hold};
use crate::operator::{at, load, who};

const TARGETS: [&str; 2] = ["192.0.2.10:80", "[2001:db8::10]:80"];

/// How far beyond its connection's window a segment is.
const FAR: u32 = 0x3000_0000;

/// The last segment that was sent to the server, as the server saw it.
fn last(wire: &Wire) -> Segment {
    let frames: Vec<Frame> = wire.taken();
    let segments = frames.iter().filter(|frame| !frame.outgoing);
    segments
        .filter_map(Segment::of)
        .next_back()
        .expect("the server was sent something")
}

/// Waits, and says what of TCP came by.
fn came(wire: &Wire) -> Vec<Segment> {
    std::thread::sleep(Duration::from_millis(200));
    let frames = wire.taken();
    let arrived = frames.iter().filter(|frame| !frame.outgoing);
    arrived.filter_map(Segment::of).collect()
}

#[test]
fn an_invalid_packet_kills_no_connection_from_either_side() {
    for (mode, ports, server) in [
        ("mode nat", "tcp 80", ":8080"),
        ("mode nat masquerade", "tcp 80", ""),
        ("mode nat", "tcp 70-90", ""),
        ("mode nat masquerade", "tcp 1-1023, 2000", ":8080"),
        ("mode nat", "tcp any", ""),
    ] {
        let topology = Topology::new(Layout::Nat, 1);
        let _serving = topology.serve(&[80, 8080]);
        for to in TARGETS {
            hold(&topology.balancer, &at(to).ip().to_string());
        }
        load(
            &topology.balancer,
            &format!(
                "service www {{
                    vip 192.0.2.10, 2001:db8::10 {ports}; {mode}
                    server 10.20.0.11{server}; server [2001:db8:1::11]{server}
                }}"
            )
            .replace("[2001:db8:1::11];", "2001:db8:1::11;")
            .replace("[2001:db8:1::11]\n", "2001:db8:1::11\n"),
        );
        let machine = &topology.servers[0];
        let server = Wire::tap(&machine.namespace, "eth0");
        let client = Wire::tap(&topology.client, "eth0");
        let gateway = Wire::tap(&topology.router, "wan");
        for to in TARGETS {
            let what = format!("{mode} {ports} {to}");
            let from = topology.source(at(to));
            let open = || Connection::open(&topology.client, Some(from), at(to), PATIENCE);
            let mut connection = open().unwrap();
            connection.again().unwrap();

            // From the server, who is answered by nobody then.
            let heard = last(&server);
            came(&client);
            let late = Segment {
                from: heard.to,
                to: heard.from,
                sequence: heard.acknowledged.wrapping_add(FAR),
                acknowledged: heard.sequence,
                flags: Segment::PSH | Segment::ACK,
            };
            server.send(&late.frame(BALANCER_ETH1, &machine.mac));
            assert_eq!(came(&client), [], "{what}: the client sees nothing of it");
            let resets = |wire| came(wire).iter().any(|s| s.flags & Segment::RST != 0);
            assert!(!resets(&server), "{what}: nor does anybody reset it");
            let answer = connection.again();
            assert!(answer.is_ok(), "{what}: after the server's: {answer:?}");

            // From the client.
            let said: Vec<Segment> = client.taken().iter().filter_map(Segment::of).collect();
            let said = said.iter().rev().find(|segment| segment.from == from);
            let said = said.expect("the client said something");
            let late = Segment {
                sequence: said.sequence.wrapping_add(FAR),
                flags: Segment::PSH | Segment::ACK,
                ..*said
            };
            client.send(&late.frame(gateway.mac(), client.mac()));
            assert!(!resets(&client), "{what}: the balancer does not answer");
            let answer = connection.again();
            assert!(answer.is_ok(), "{what}: after the client's: {answer:?}");
        }
    }
}

/// A network in which clients reach the servers past the balancer, and the answers come through it: by nat nothing is
/// known of such connections.
fn around(servers: u8) -> Topology {
    let topology = Topology::new(Layout::DrTwoInterfaces, servers);
    topology.balancer.forward();
    for server in &topology.servers {
        server.namespace.ip("route replace default via 10.20.0.1
            route replace default via 2001:db8:1::1");
    }
    topology
}

#[test]
fn a_client_that_reaches_a_server_past_the_balancer_is_not_harmed() {
    let topology = around(1);
    let server = &topology.servers[0];
    let own = [format!("{}:80", server.v4), format!("[{}]:80", server.v6)];
    let _serving = RealServer::start(&server.namespace, "a", &own.clone().map(|to| at(&to)));
    // By the server's own address, and by all that leads there.
    let service = |ports: &str, port: &str| {
        format!(
            "service www {{ vip 192.0.2.10, 2001:db8::10 {ports}; mode nat masquerade
                server 10.20.0.11{port}; server {}{port} }}",
            if port.is_empty() {
                "2001:db8:1::11"
            } else {
                "[2001:db8:1::11]"
            },
        )
    };
    for (ports, port) in [
        ("tcp 80", ":80"),
        ("tcp 80", ""),
        ("tcp 70-90", ""),
        ("tcp any", ""),
    ] {
        load(&topology.balancer, &service(ports, port));
        for to in &own {
            let seen = Wire::tap(&topology.balancer, "eth1");
            let opened = Connection::open(&topology.client, None, at(to), PATIENCE);
            let mut connection =
                opened.unwrap_or_else(|error| panic!("{ports} {port} {to}: {error}"));
            for _ in 0..3 {
                assert!(connection.again().is_ok(), "{ports} {port} {to}");
            }
            assert_eq!(connection.bulk(1 << 20).unwrap(), 1 << 20, "{to}");
            let answers = seen.taken();
            let answers = answers.iter().filter_map(Segment::of);
            let answers: Vec<Segment> = answers.filter(|s| s.from == at(to)).collect();
            assert!(answers.len() > 10, "the answers come through the balancer");
        }
        // And by the service, in the same moment.
        for to in TARGETS {
            assert_eq!(
                who(&topology.client, Protocol::Tcp, to),
                "a",
                "{ports} {port}"
            );
        }
    }
}

#[test]
fn servers_of_direct_return_whose_gateway_is_the_balancer_are_not_harmed() {
    let topology = around(1);
    let server = &topology.servers[0];
    let all = VIPS.map(|vip| {
        let host = if vip.contains(':') {
            format!("[{vip}]")
        } else {
            vip.to_owned()
        };
        at(&format!("{host}:80"))
    });
    let _serving = RealServer::start(&server.namespace, "a", &all);
    // The same machine is a server by nat too, and one VIP has a service of either kind.
    let file = "
        service direct { vip 192.0.2.10, 2001:db8::10 tcp 80; mode dr on eth0 via eth1; server a 10.20.0.11; server a6 2001:db8:1::11 }
        service other { vip 192.0.2.10, 192.0.2.53, 2001:db8::10, 2001:db8::53 tcp 81; server a 10.20.0.11:80; server a6 [2001:db8:1::11]:80 }
        service same { vip 192.0.2.53, 2001:db8::53 tcp 8080; server a 10.20.0.11; server a6 2001:db8:1::11 }";
    load(&topology.balancer, file);
    for to in TARGETS {
        let mut connection = Connection::open(&topology.client, None, at(to), PATIENCE).unwrap();
        for _ in 0..3 {
            assert!(connection.again().is_ok(), "{to}");
        }
        assert_eq!(connection.bulk(1 << 20).unwrap(), 1 << 20, "{to}");
    }
}

/// What is neither for a VIP nor from where a server answers is the network's own affair.
#[test]
fn what_is_invalid_and_not_balanced_goes_on() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80, 81]);
    load(
        &topology.balancer,
        "service www { vip 192.0.2.10, 2001:db8::10 tcp 80, 443; server 10.20.0.11; server 2001:db8:1::11 }",
    );
    let client = Wire::tap(&topology.client, "eth0");
    for (machine, port) in [(&topology.servers[0], 81), (&topology.servers[1], 80)] {
        let wire = Wire::tap(&machine.namespace, "eth0");
        for to in [
            format!("{}:{port}", machine.v4),
            format!("[{}]:{port}", machine.v6),
        ] {
            let mut connection =
                Connection::open(&topology.client, None, at(&to), PATIENCE).unwrap();
            connection.again().unwrap();
            let heard = last(&wire);
            came(&client);
            let late = Segment {
                from: heard.to,
                to: heard.from,
                sequence: heard.acknowledged.wrapping_add(FAR),
                acknowledged: heard.sequence,
                flags: Segment::PSH | Segment::ACK,
            };
            wire.send(&late.frame(BALANCER_ETH1, &machine.mac));
            let seen = came(&client);
            assert!(seen.contains(&late), "{to}: {seen:?}");
            assert!(connection.again().is_ok(), "{to}");
        }
    }
    // Nor does a SYN-ACK come from a connection that is there.
    let answered = client::ask(
        &topology.client,
        Protocol::Tcp,
        None,
        at(TARGETS[0]),
        PATIENCE,
    );
    assert!(answered.is_ok(), "{answered:?}");
}

/// Where servers answer from follows from the ports of the services that use them, and of no other.
#[test]
fn where_answers_come_from_follows_every_change_of_ports() {
    let many: Vec<String> = (0..17).map(|at| (9000 + 2 * at).to_string()).collect();
    let host = Host::alone();
    for ports in [
        "tcp 81",
        "tcp 81, 82",
        "tcp 100-200",
        "tcp 100-200; vip 192.0.2.13 tcp 150-300",
        &format!("tcp {}", many.join(", ")),
        "tcp any",
        "udp 81",
        "sctp 81; vip 192.0.2.13 tcp 80",
    ] {
        let file = format!(
            "pool web {{ server a 10.20.0.11; server b 10.20.0.12:8080; server c 2001:db8:1::11 }}
             service one {{ vip 192.0.2.10, 2001:db8::10 tcp 80; pool web }}
             service two {{ vip 192.0.2.11 {ports}; pool web }}
             service three {{ vip 192.0.2.12 tcp 90; server d 10.20.0.14 }}"
        );
        let ran = host.flbc(&["apply", "-"], &file);
        assert_eq!(ran.code, Some(0), "{ports}: {ran:?}");
        let fresh = Host::alone();
        load(&fresh.namespace, &file);
        assert_eq!(host.unnumbered(), fresh.unnumbered(), "{ports}");
    }
}
