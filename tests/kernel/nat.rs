//! NAT as it comes: the servers answer through the balancer and see their clients as they are.

use crate::lab::client::{Connection, Datagrams, Protocol};
use crate::lab::packet::Wire;
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::{asked, at, load, who};

const BOTH_FAMILIES: [(&str, &str); 2] = [("192.0.2.10:80", "b"), ("[2001:db8::10]:80", "c")];

#[test]
fn every_protocol_and_family_reaches_its_server_which_sees_the_client() {
    let topology = Topology::new(Layout::Nat, 3);
    load(
        &topology.balancer,
        "service www {
            vip 192.0.2.10 tcp, udp, sctp 80
            vip 2001:db8::10 tcp, udp, sctp 80
            server 10.20.0.12
            server 2001:db8:1::13
        }",
    );
    let _serving = topology.serve(&[80]);
    let _sctp: Vec<_> = topology
        .servers
        .iter()
        .map(|server| {
            RealServer::start_sctp(
                &server.namespace,
                &server.name,
                &topology.listens(server, &[80]),
            )
        })
        .collect();
    for (to, expected) in BOTH_FAMILIES {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            let from = topology.source(at(to));
            let answer = asked(&topology.client, protocol, Some(from), to);
            assert_eq!(
                (answer.server.as_str(), answer.client),
                (expected, from),
                "{protocol:?} {to}"
            );
        }
    }
}

#[test]
fn ports_are_translated_for_servers_that_have_their_own() {
    let topology = Topology::new(Layout::Nat, 2);
    load(
        &topology.balancer,
        "service www {
            vip 192.0.2.10, 2001:db8::10 tcp, udp, sctp 80
            server 10.20.0.11:8080
            server 10.20.0.12
            server [2001:db8:1::11]:8080
            server 2001:db8:1::12
        }",
    );
    let _translated = RealServer::start(
        &topology.servers[0].namespace,
        "a-8080",
        &topology.listens(&topology.servers[0], &[8080]),
    );
    let _as_it_is = RealServer::start(
        &topology.servers[1].namespace,
        "b-80",
        &topology.listens(&topology.servers[1], &[80]),
    );
    let _sctp_a = RealServer::start_sctp(
        &topology.servers[0].namespace,
        "a-8080",
        &topology.listens(&topology.servers[0], &[8080]),
    );
    let _sctp_b = RealServer::start_sctp(
        &topology.servers[1].namespace,
        "b-80",
        &topology.listens(&topology.servers[1], &[80]),
    );
    for (to, _) in BOTH_FAMILIES {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            let flows = topology.sources(at(to), 2);
            let answers: Vec<_> = flows
                .iter()
                .map(|from| asked(&topology.client, protocol, Some(*from), to).server)
                .collect();
            assert_eq!(answers, ["a-8080", "b-80"], "{protocol:?} {to}");
        }
    }
}

#[test]
fn a_connection_stays_with_its_server_and_carries_megabytes() {
    let topology = Topology::new(Layout::Nat, 3);
    load(
        &topology.balancer,
        "service www {
            vip 192.0.2.10, 2001:db8::10 tcp, udp 80
            server a 10.20.0.11
            server b 10.20.0.12
            server a6 2001:db8:1::11
            server b6 2001:db8:1::12
        }",
    );
    let _serving = topology.serve(&[80]);
    for (to, _) in BOTH_FAMILIES {
        let mut first = Connection::open(&topology.client, None, at(to), PATIENCE).unwrap();
        let mut second = Connection::open(&topology.client, None, at(to), PATIENCE).unwrap();
        assert_ne!(first.answer.server, second.answer.server);
        for connection in [&mut first, &mut second] {
            for _ in 0..3 {
                assert_eq!(connection.again().unwrap(), connection.answer);
            }
            assert_eq!(connection.bulk(2_000_000).unwrap(), 2_000_000);
        }
        let datagrams = Datagrams::open(&topology.client, None, at(to), PATIENCE).unwrap();
        let server = datagrams.ask().unwrap();
        for _ in 0..3 {
            assert_eq!(datagrams.ask().unwrap(), server);
        }
    }
}

#[test]
fn what_is_no_service_is_left_alone() {
    let topology = Topology::new(Layout::Nat, 1);
    load(
        &topology.balancer,
        "service www {\n vip 192.0.2.10 tcp 80\n server 10.20.0.11\n}",
    );
    let _serving = topology.serve(&[80, 81]);
    assert_eq!(who(&topology.client, Protocol::Tcp, "192.0.2.10:80"), "a");
    for (protocol, to) in [
        (Protocol::Udp, "192.0.2.10:80"),
        (Protocol::Tcp, "192.0.2.10:81"),
        (Protocol::Tcp, "192.0.2.53:80"),
    ] {
        let answer = crate::lab::client::ask(&topology.client, protocol, None, at(to), SILENCE);
        assert!(answer.is_err(), "{protocol:?} {to}: {answer:?}");
    }
    // Plain routing through the balancer goes on, with nobody's address changed.
    let direct = asked(&topology.client, Protocol::Tcp, None, "10.20.0.11:80");
    assert_eq!(
        (direct.server.as_str(), direct.client.ip()),
        ("a", "198.51.100.10".parse().unwrap())
    );
}

#[test]
fn the_ttl_falls_at_every_router_and_the_balancer_is_one() {
    let topology = Topology::new(Layout::Nat, 1);
    load(
        &topology.balancer,
        "service www {\n vip 192.0.2.10 udp 80\n server 10.20.0.11\n}",
    );
    let _serving = topology.serve(&[80]);
    let wire = Wire::tap(&topology.servers[0].namespace, "eth0");
    assert_eq!(who(&topology.client, Protocol::Udp, "192.0.2.10:80"), "a");
    let frame = wire
        .taken()
        .into_iter()
        .find(|frame| frame.protocol == 17 && !frame.outgoing)
        .unwrap();
    assert_eq!((frame.ttl, frame.destination), (62, at("10.20.0.11:80")));
}
