//! Traffic for a virtual service never reaches a socket of the balancer itself.

use crate::lab::client::{self, Datagrams, Protocol};
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology, hold};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::{at, load, who};

const TARGETS: [&str; 2] = ["192.0.2.10:80", "[2001:db8::10]:80"];
const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
const MODES: [(Layout, &str); 3] = [
    (Layout::Nat, "mode nat"),
    (Layout::DrOneInterface, "mode dr on eth0"),
    (Layout::DrTwoInterfaces, "mode dr on eth0 via eth1"),
];

fn service(mode: &str, state: &str) -> String {
    format!(
        "service www {{
            vip 192.0.2.10, 2001:db8::10 tcp, udp 80
            {mode}
            server 10.20.0.11 {state}
            server 2001:db8:1::11 {state}
        }}"
    )
}

/// A balancer that holds the VIPs and has a program that listens on them, beside ordinary servers.
fn with_own_sockets(layout: Layout) -> (Topology, Vec<RealServer>) {
    let topology = Topology::new(layout, 1);
    hold(&topology.balancer, "192.0.2.10");
    hold(&topology.balancer, "2001:db8::10");
    let own: Vec<_> = TARGETS
        .iter()
        .map(|to| at(to))
        .chain([at("192.0.2.10:81")])
        .collect();
    let mut serving = topology.serve(&[80]);
    serving.push(RealServer::start(&topology.balancer, "balancer", &own));
    (topology, serving)
}

#[test]
fn a_socket_of_the_balancer_loses_to_the_service() {
    for (layout, mode) in MODES {
        let (topology, _serving) = with_own_sockets(layout);
        for to in TARGETS {
            for protocol in PROTOCOLS {
                assert_eq!(
                    who(&topology.client, protocol, to),
                    "balancer",
                    "before the rules: {protocol:?} {to}"
                );
            }
        }
        load(&topology.balancer, &service(mode, ""));
        for to in TARGETS {
            for protocol in PROTOCOLS {
                assert_eq!(
                    who(&topology.client, protocol, to),
                    "a",
                    "{mode} {protocol:?} {to}"
                );
            }
        }
        assert_eq!(
            who(&topology.client, Protocol::Tcp, "192.0.2.10:81"),
            "balancer",
            "{mode}: no service on that port"
        );
    }
}

#[test]
fn a_socket_of_the_balancer_does_not_take_over_from_the_last_server() {
    for (layout, mode) in MODES {
        let (topology, _serving) = with_own_sockets(layout);
        for on_empty in ["reject", "drop"] {
            load(
                &topology.balancer,
                &service(&format!("{mode}\non-empty {on_empty}"), "down"),
            );
            for to in TARGETS {
                for protocol in PROTOCOLS {
                    let answer = client::ask(&topology.client, protocol, None, at(to), SILENCE);
                    assert!(
                        answer.is_err(),
                        "{mode} {on_empty} {protocol:?} {to}: {answer:?}"
                    );
                }
            }
        }
    }
}

/// Another program's firewall. It makes the kernel track connections, so that a flow is known,
/// untranslated, before flbc's rules come: nat chains will not see it again.
const FIREWALL: &str = "table inet firewall { chain input { type filter hook input priority 0; ct state established accept; }; }";

#[test]
fn a_udp_flow_that_was_open_before_the_rules_is_cut_off_from_the_socket() {
    for (layout, mode) in MODES {
        for to in TARGETS {
            for (state, firewall) in [("", ""), ("down", ""), ("", FIREWALL), ("down", FIREWALL)] {
                let (topology, _serving) = with_own_sockets(layout);
                topology.balancer.nft(firewall);
                let mut flow = Datagrams::open(&topology.client, None, at(to), PATIENCE).unwrap();
                assert_eq!(flow.ask().unwrap().server, "balancer");
                flow.set_patience(SILENCE);
                load(&topology.balancer, &service(mode, state));
                // The first question may hear of a refusal that came late.
                for _ in 0..3 {
                    if let Ok(answer) = flow.ask() {
                        assert_eq!(
                            (answer.server.as_str(), state),
                            ("a", ""),
                            "{mode} {to} {firewall}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn direct_return_guards_the_interfaces_that_it_does_not_listen_on() {
    let (topology, _serving) = with_own_sockets(Layout::DrTwoInterfaces);
    load(&topology.balancer, &service("mode dr on eth0 via eth1", ""));
    // The server asks for the VIP by eth1, as if it did not hold it itself.
    let server = &topology.servers[0].namespace;
    server.ip("addr del 192.0.2.10/32 dev lo\nroute add 192.0.2.10/32 via 10.20.0.1");
    for protocol in PROTOCOLS {
        let answer = client::ask(server, protocol, None, at(TARGETS[0]), SILENCE);
        assert!(answer.is_err(), "{protocol:?}: {answer:?}");
    }
}

#[test]
fn the_balancer_itself_does_not_reach_its_own_socket_by_the_vip() {
    let (topology, _serving) = with_own_sockets(Layout::Nat);
    load(&topology.balancer, &service("", ""));
    for to in TARGETS {
        for protocol in PROTOCOLS {
            let answer = client::ask(&topology.balancer, protocol, None, at(to), PATIENCE).unwrap();
            assert_eq!(answer.server, "a", "{protocol:?} {to}");
        }
    }
}
