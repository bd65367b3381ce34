//! Port lists, ranges and `any`: the closest match wins.

use std::net::SocketAddr;

use crate::lab::client::{self, Connection, Datagrams, Protocol};
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::{at, load, who};

/// Ports, and the server that each must lead to: exact is `a`, a range `b`, any `c`.
const EXPECTED: [(u16, &str); 9] = [
    (80, "a"),
    (443, "a"),
    (70, "b"),
    (79, "b"),
    (81, "b"),
    (90, "b"),
    (69, "c"),
    (91, "c"),
    (5000, "c"),
];

const SERVICES: &str = "
    service exact {
        vip 192.0.2.10, 2001:db8::10 tcp, udp 80, 443
        MODE
        server 10.20.0.11; server 2001:db8:1::11
    }
    service range {
        vip 192.0.2.10, 2001:db8::10 tcp, udp 70-90
        MODE
        server 10.20.0.12; server 2001:db8:1::12
    }
    service everything {
        vip 192.0.2.10, 2001:db8::10 tcp, udp any
        MODE
        server 10.20.0.13; server 2001:db8:1::13
    }
";

fn every_port_leads_where_it_should(layout: Layout, mode: &str) {
    let topology = Topology::new(layout, 3);
    load(&topology.balancer, &SERVICES.replace("MODE", mode));
    let _serving = topology.serve(&EXPECTED.map(|(port, _)| port));
    for address in ["192.0.2.10", "[2001:db8::10]"] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for (port, expected) in EXPECTED {
                let to = format!("{address}:{port}");
                assert_eq!(
                    who(&topology.client, protocol, &to),
                    expected,
                    "{protocol:?} {to}"
                );
            }
        }
    }
}

#[test]
fn exact_beats_range_beats_any_in_nat() {
    every_port_leads_where_it_should(Layout::Nat, "mode nat");
}

#[test]
fn exact_beats_range_beats_any_in_direct_return() {
    every_port_leads_where_it_should(Layout::DrTwoInterfaces, "mode dr on eth0 via eth1");
}

/// Direct return takes packets first, at ingress, and only those that are its own: with the errors about them, and their later
/// fragments.
#[test]
fn exact_beats_range_beats_any_whatever_their_modes() {
    const MODES: [&str; 2] = ["mode nat masquerade", "mode dr on eth0 via eth1"];
    let topology = Topology::new(Layout::DrTwoInterfaces, 3);
    topology.balancer.forward();
    let ports = EXPECTED.map(|(port, _)| port);
    let mut serving = topology.serve(&ports);
    for server in &topology.servers {
        let own = [server.v4.into(), server.v6.into()].into_iter();
        let own: Vec<SocketAddr> = own
            .flat_map(|address| ports.map(|port| SocketAddr::new(address, port)))
            .collect();
        serving.push(RealServer::start(&server.namespace, &server.name, &own));
    }
    for combination in 1..7 {
        let modes = [0, 1, 2].map(|bit| MODES[combination >> bit & 1]);
        let file = modes
            .iter()
            .fold(SERVICES.to_owned(), |file, mode| {
                file.replacen("MODE", mode, 1)
            })
            .replace("via eth1", "via eth1; scheduler hash by source");
        load(&topology.balancer, &file);
        for address in ["192.0.2.10", "[2001:db8::10]"] {
            for (port, expected) in EXPECTED {
                let to = format!("{address}:{port}");
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    let answered = who(&topology.client, protocol, &to);
                    assert_eq!(answered, expected, "{modes:?}: {protocol:?} {to}");
                }
            }
            for (port, place) in [(80, 0), (70, 1), (5000, 2)] {
                let to = at(&format!("{address}:{port}"));
                for server in &topology.servers {
                    server.namespace.ip("route flush cache");
                }
                // Only the router knows how narrow the way to the client is.
                topology.router.ip("link set wan mtu 1300");
                let from = Some(topology.source(to));
                let opened = Connection::open(&topology.client, from, to, PATIENCE);
                let received = opened.unwrap().bulk(200_000);
                let received = received.unwrap_or_else(|error| panic!("{modes:?}: {to}: {error}"));
                assert_eq!(received, 200_000);
                topology.router.ip("link set wan mtu 1500");
                if modes[place] == MODES[0] {
                    let from = Some(topology.source(to));
                    let flow = Datagrams::open(&topology.client, from, to, PATIENCE).unwrap();
                    let answer = flow.ask_with(&[b'x'; 4000]);
                    assert!(answer.is_ok(), "{modes:?}: {to}: {answer:?}");
                }
            }
        }
    }
}

#[test]
fn any_is_any_port_of_its_protocol_only() {
    let topology = Topology::new(Layout::Nat, 2);
    load(
        &topology.balancer,
        "service all { vip 192.0.2.10 udp any; server 10.20.0.11 }
         service web { vip 192.0.2.10 tcp 80; server 10.20.0.12 }",
    );
    let _serving = topology.serve(&[1, 80, 65535]);
    for port in [1, 80, 65535] {
        assert_eq!(
            who(
                &topology.client,
                Protocol::Udp,
                &format!("192.0.2.10:{port}")
            ),
            "a"
        );
    }
    assert_eq!(who(&topology.client, Protocol::Tcp, "192.0.2.10:80"), "b");
    assert!(
        client::ask(
            &topology.client,
            Protocol::Tcp,
            None,
            at("192.0.2.10:1"),
            SILENCE
        )
        .is_err()
    );
}

#[test]
fn a_range_of_ports_can_be_translated_to_one() {
    let topology = Topology::new(Layout::Nat, 1);
    load(
        &topology.balancer,
        "service range { vip 192.0.2.10 tcp 5000-5999; server 10.20.0.11:80 }",
    );
    let _serving = topology.serve(&[80]);
    for port in [5000, 5500, 5999] {
        assert_eq!(
            who(
                &topology.client,
                Protocol::Tcp,
                &format!("192.0.2.10:{port}")
            ),
            "a"
        );
    }
    assert!(
        client::ask(
            &topology.client,
            Protocol::Tcp,
            None,
            at("192.0.2.10:6000"),
            SILENCE
        )
        .is_err()
    );
}
