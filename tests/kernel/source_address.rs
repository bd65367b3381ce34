//! Whose address the servers see: masquerade, a fixed address, the balancer's own connections, and servers
//! that are clients.

use std::net::IpAddr;

use crate::lab::client::Protocol;
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology, hold};
use crate::operator::{asked, at, load, who};

/// Both families' VIPs, and the last part of an address on the servers' network in each.
const VIPS: [(&str, &str); 2] = [
    ("192.0.2.10:80", "10.20.0."),
    ("[2001:db8::10]:80", "2001:db8:1::"),
];

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

fn on_lan(prefix: &str, last: &str) -> IpAddr {
    format!("{prefix}{last}").parse().unwrap()
}

/// A topology in which no server has a way back to the client.
fn without_way_back() -> (Topology, Vec<RealServer>) {
    let topology = Topology::new(Layout::Nat, 2);
    for server in &topology.servers {
        server
            .namespace
            .ip("route del default via 10.20.0.1\nroute del default via 2001:db8:1::1");
    }
    let mut serving = topology.serve(&[80]);
    serving.extend(topology.servers.iter().map(|server| {
        RealServer::start_sctp(
            &server.namespace,
            &server.name,
            &topology.listens(server, &[80]),
        )
    }));
    (topology, serving)
}

const TWO_SERVERS: &str = "
    vip 192.0.2.10, 2001:db8::10 tcp, udp, sctp 80
    server 10.20.0.11
    server 10.20.0.12
    server 2001:db8:1::11
    server 2001:db8:1::12
";

#[test]
fn masqueraded_clients_have_the_balancers_address() {
    let (topology, _serving) = without_way_back();
    load(
        &topology.balancer,
        &format!("service www {{ mode nat masquerade\n{TWO_SERVERS} }}"),
    );
    for (to, prefix) in VIPS {
        for protocol in PROTOCOLS {
            let from = topology.source(at(to));
            let answer = asked(&topology.client, protocol, Some(from), to);
            assert_eq!(answer.client.ip(), on_lan(prefix, "1"), "{protocol:?} {to}");
        }
    }
}

#[test]
fn snat_gives_clients_the_address_that_was_asked_for() {
    let (topology, _serving) = without_way_back();
    topology
        .balancer
        .ip("addr add 10.20.0.200/24 dev eth1\naddr add 2001:db8:1::200/64 dev eth1 nodad");
    load(
        &topology.balancer,
        &format!("service www {{ mode nat snat 10.20.0.200, 2001:db8:1::200\n{TWO_SERVERS} }}"),
    );
    for (to, prefix) in VIPS {
        for protocol in PROTOCOLS {
            let from = topology.source(at(to));
            let answer = asked(&topology.client, protocol, Some(from), to);
            assert_eq!(
                answer.client.ip(),
                on_lan(prefix, "200"),
                "{protocol:?} {to}"
            );
        }
    }
}

#[test]
fn one_services_masquerade_is_not_anothers() {
    let topology = Topology::new(Layout::Nat, 2);
    load(
        &topology.balancer,
        "service plain { vip 192.0.2.10 tcp 80; server 10.20.0.11 }
         service hidden { vip 192.0.2.53 tcp 80; mode nat masquerade; server 10.20.0.11 }",
    );
    let _serving = topology.serve(&[80]);
    let seen = |to| {
        asked(&topology.client, Protocol::Tcp, None, to)
            .client
            .ip()
            .to_string()
    };
    assert_eq!(
        (seen("192.0.2.10:80"), seen("192.0.2.53:80")),
        ("198.51.100.10".to_owned(), "10.20.0.1".to_owned())
    );
}

#[test]
fn the_balancers_own_connections_are_balanced_whether_it_holds_the_vip_or_not() {
    for held in [false, true] {
        let topology = Topology::new(Layout::Nat, 2);
        if held {
            hold(&topology.balancer, "192.0.2.10");
            hold(&topology.balancer, "2001:db8::10");
        }
        load(
            &topology.balancer,
            &format!("service www {{ {TWO_SERVERS} }}"),
        );
        let _serving = topology.serve(&[80]);
        for (to, _) in VIPS {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let answers = [
                    who(&topology.balancer, protocol, to),
                    who(&topology.balancer, protocol, to),
                ];
                assert_eq!(answers, ["a", "b"], "{protocol:?} {to}, held: {held}");
            }
        }
    }
}

#[test]
fn a_server_that_is_a_client_of_its_own_service_gets_its_answer() {
    let topology = Topology::new(Layout::Nat, 2);
    load(
        &topology.balancer,
        &format!("service www {{ {TWO_SERVERS} }}"),
    );
    let _serving = topology.serve(&[80]);
    for (to, prefix) in VIPS {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for server in &topology.servers {
                // One answer comes from the server itself, the other from its neighbour.
                for expected in ["a", "b"] {
                    let answer = asked(&server.namespace, protocol, None, to);
                    assert_eq!(
                        answer.server, expected,
                        "{protocol:?} {to} from {}",
                        server.name
                    );
                    assert_eq!(answer.client.ip(), on_lan(prefix, "1"));
                }
            }
        }
    }
}
