//! Drain, down, backup, and what clients get when nobody is left.

use std::io::{self, ErrorKind};

use crate::lab::client::{self, Connection, Datagrams, Protocol};
use crate::lab::topology::{Layout, Topology};
use crate::lab::{Answer, PATIENCE, SILENCE};
use crate::operator::{at, load, who};

const TARGETS: [&str; 2] = ["192.0.2.10:80", "[2001:db8::10]:80"];
const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
const MODES: [(Layout, &str); 3] = [
    (Layout::Nat, "mode nat"),
    (Layout::DrOneInterface, "mode dr on eth0"),
    (Layout::DrTwoInterfaces, "mode dr on eth0 via eth1"),
];

/// A service of both families whose servers `a`, `b`, `c` are in these states.
fn service(mode: &str, states: [&str; 3]) -> String {
    let [a, b, c] = states;
    format!(
        "service www {{
            vip 192.0.2.10, 2001:db8::10 tcp, udp 80
            {mode}
            server a 10.20.0.11 {a}
            server b 10.20.0.12 {b}
            server c 10.20.0.13 {c}
            server a6 2001:db8:1::11 {a}
            server b6 2001:db8:1::12 {b}
            server c6 2001:db8:1::13 {c}
        }}"
    )
}

/// The servers that answer twenty new flows.
fn answering(topology: &Topology, protocol: Protocol, to: &str) -> String {
    let flows = topology.sources(at(to), 20);
    let answers = client::ask_all(&topology.client, protocol, &flows, at(to));
    client::tally(&answers).into_keys().collect()
}

fn refused(topology: &Topology, protocol: Protocol, to: &str) -> io::Result<Answer> {
    client::ask(&topology.client, protocol, None, at(to), SILENCE)
}

#[test]
fn only_servers_that_are_up_get_new_clients() {
    for (layout, mode) in MODES {
        let topology = Topology::new(layout, 3);
        let _serving = topology.serve(&[80]);
        for (states, expected) in [
            (["", "", ""], "abc"),
            (["", "drain", ""], "ac"),
            (["", "down", "weight 0"], "a"),
            (["", "", "backup"], "ab"),
            (["down", "drain", "backup"], "c"),
            (["backup", "down", "backup"], "ac"),
        ] {
            load(&topology.balancer, &service(mode, states));
            for to in TARGETS {
                for protocol in PROTOCOLS {
                    assert_eq!(
                        answering(&topology, protocol, to),
                        expected,
                        "{mode} {states:?} {protocol:?} {to}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_backup_stands_in_for_its_own_family_only() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    load(
        &topology.balancer,
        "service www {
            vip 192.0.2.10, 2001:db8::10 tcp 80
            server a 10.20.0.11 down
            server b 10.20.0.12 backup
            server a6 2001:db8:1::11
            server b6 2001:db8:1::12 backup
        }",
    );
    assert_eq!(answering(&topology, Protocol::Tcp, TARGETS[0]), "b");
    assert_eq!(answering(&topology, Protocol::Tcp, TARGETS[1]), "a");
}

#[test]
fn a_drained_server_keeps_the_connections_that_it_has() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    for to in TARGETS {
        load(
            &topology.balancer,
            &service("mode nat", ["", "down", "down"]),
        );
        let mut connection = Connection::open(&topology.client, None, at(to), PATIENCE).unwrap();
        let datagrams = Datagrams::open(&topology.client, None, at(to), PATIENCE).unwrap();
        assert_eq!(
            (
                connection.answer.server.as_str(),
                datagrams.ask().unwrap().server.as_str()
            ),
            ("a", "a")
        );
        load(&topology.balancer, &service("mode nat", ["drain", "", ""]));
        assert_eq!(connection.again().unwrap().server, "a");
        assert_eq!(connection.bulk(100_000).unwrap(), 100_000);
        assert_eq!(datagrams.ask().unwrap().server, "a");
        assert_eq!(answering(&topology, Protocol::Tcp, to), "bc");
    }
}

#[test]
fn nobody_left_is_a_refusal_or_silence_as_the_operator_says() {
    for (layout, mode) in MODES {
        let topology = Topology::new(layout, 3);
        let _serving = topology.serve(&[80]);
        let by_default = if layout == Layout::Nat {
            "reject"
        } else {
            "drop"
        };
        for statement in ["", "on-empty reject", "on-empty drop"] {
            let expected = match statement.strip_prefix("on-empty ").unwrap_or(by_default) {
                "reject" => [ErrorKind::ConnectionRefused, ErrorKind::ConnectionRefused],
                _ => [ErrorKind::TimedOut, ErrorKind::WouldBlock],
            };
            load(
                &topology.balancer,
                &service(&format!("{mode}\n{statement}"), ["down", "drain", "down"]),
            );
            for to in TARGETS {
                for (protocol, expected) in PROTOCOLS.into_iter().zip(expected) {
                    let error = refused(&topology, protocol, to).unwrap_err();
                    assert_eq!(
                        error.kind(),
                        expected,
                        "{mode} {statement:?} {protocol:?} {to}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_family_without_servers_gets_what_on_empty_says() {
    let topology = Topology::new(Layout::Nat, 1);
    let _serving = topology.serve(&[80]);
    load(
        &topology.balancer,
        "service www {
            vip 192.0.2.10, 2001:db8::10 tcp, udp 80
            on-empty reject
            server a 10.20.0.11
        }",
    );
    for protocol in PROTOCOLS {
        assert_eq!(who(&topology.client, protocol, TARGETS[0]), "a");
        assert_eq!(
            refused(&topology, protocol, TARGETS[1]).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
    }
}

#[test]
fn the_balancers_own_clients_are_refused_too() {
    let topology = Topology::new(Layout::Nat, 3);
    load(&topology.balancer, &service("", ["down", "down", "down"]));
    for to in TARGETS {
        for protocol in PROTOCOLS {
            let error =
                client::ask(&topology.balancer, protocol, None, at(to), SILENCE).unwrap_err();
            // A rejected packet on its way out is an error of the sending call, or the reset that follows.
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused
                        | ErrorKind::PermissionDenied
                        | ErrorKind::HostUnreachable
                ),
                "{protocol:?} {to}: {error}"
            );
        }
    }
}
