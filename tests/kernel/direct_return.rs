//! Direct return: only MAC addresses change, the server sees the client, and replies do not pass the
//! balancer.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::lab::client::{self, Connection, Protocol};
use crate::lab::counter::ReplyCounter;
use crate::lab::packet::{Frame, Wire, tagged, udp_frame, udp4_frame};
use crate::lab::real_server::RealServer;
use crate::lab::topology::{BALANCER_ETH0, BALANCER_ETH1, Layout, ROUTER_LAN, Topology, VIPS};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::{asked, at, load};

/// Hops that are left behind the client's router: the kernel lowers them as a router does where it finds the MAC address;
/// where that is given, flbc does for a few packets.
const HOPS_BY_NEIGHBOUR: &[u8] = &[62];
const HOPS_BY_MAC: &[u8] = &[63, 31];

/// A client and a VIP, of each family.
const ENDS: [(&str, &str); 2] = [
    ("198.51.100.10:4000", "192.0.2.10:80"),
    ("[2001:db8:c::10]:4000", "[2001:db8::10]:80"),
];

/// A way to reach servers `a` and `b`, each the only one of its family.
struct Way {
    layout: Layout,
    mode: &'static str,
    /// What follows each server's address; `MAC` is its own.
    options: &'static str,
    /// The MAC address that the servers' frames must come from.
    source_mac: &'static str,
    /// What may be left of the hop limit.
    hops: &'static [u8],
}

const WAYS: [Way; 8] = [
    Way {
        layout: Layout::DrOneInterface,
        mode: "dr on eth0",
        options: "",
        source_mac: BALANCER_ETH0,
        hops: HOPS_BY_NEIGHBOUR,
    },
    Way {
        layout: Layout::DrOneInterface,
        mode: "dr on eth0",
        options: "mac MAC",
        source_mac: BALANCER_ETH0,
        hops: HOPS_BY_MAC,
    },
    Way {
        layout: Layout::DrOneInterface,
        mode: "dr on eth0 via eth0",
        options: "",
        source_mac: BALANCER_ETH0,
        hops: HOPS_BY_NEIGHBOUR,
    },
    Way {
        layout: Layout::DrTwoInterfaces,
        mode: "dr on eth0 via eth1",
        options: "",
        source_mac: BALANCER_ETH1,
        hops: HOPS_BY_NEIGHBOUR,
    },
    Way {
        layout: Layout::DrTwoInterfaces,
        mode: "dr on eth0 via eth1 from 02:00:00:00:01:01",
        options: "mac MAC",
        source_mac: BALANCER_ETH1,
        hops: HOPS_BY_MAC,
    },
    Way {
        layout: Layout::DrTwoInterfaces,
        mode: "dr on eth0",
        options: "via eth1",
        source_mac: BALANCER_ETH1,
        hops: HOPS_BY_NEIGHBOUR,
    },
    Way {
        layout: Layout::DrTwoInterfaces,
        mode: "dr on eth0",
        options: "via eth1 from 02:00:00:00:01:01 mac MAC",
        source_mac: BALANCER_ETH1,
        hops: HOPS_BY_MAC,
    },
    Way {
        layout: Layout::DrTwoInterfaces,
        mode: "dr on eth0, eth1 via eth1",
        options: "",
        source_mac: BALANCER_ETH1,
        hops: HOPS_BY_NEIGHBOUR,
    },
];

fn all_interfaces(layout: Layout) -> &'static [&'static str] {
    if layout == Layout::DrOneInterface {
        &["eth0"]
    } else {
        &["eth0", "eth1"]
    }
}

#[test]
fn every_way_to_a_server_changes_the_mac_addresses_and_nothing_else() {
    for way in WAYS {
        let topology = Topology::new(way.layout, 2);
        let [a, b] = &topology.servers[..] else {
            panic!("two servers")
        };
        let options = |mac: &str| way.options.replace("MAC", mac);
        load(
            &topology.balancer,
            &format!(
                "service www {{\nvip 192.0.2.10, 2001:db8::10 tcp, udp, sctp 80\nmode {}\nserver {} {}\nserver {} {}\n}}",
                way.mode,
                a.v4,
                options(&a.mac),
                b.v6,
                options(&b.mac)
            ),
        );
        let counter = ReplyCounter::install(
            &topology.balancer,
            "replies",
            all_interfaces(way.layout),
            &VIPS,
        );
        let _serving = topology.serve(&[80]);
        let _sctp: Vec<_> = topology
            .servers
            .iter()
            .map(|s| RealServer::start_sctp(&s.namespace, &s.name, &topology.listens(s, &[80])))
            .collect();
        for (to, server) in [("192.0.2.10:80", a), ("[2001:db8::10]:80", b)] {
            let wire = Wire::tap(&server.namespace, "eth0");
            for (protocol, number) in [
                (Protocol::Tcp, 6),
                (Protocol::Udp, 17),
                (Protocol::Sctp, 132),
            ] {
                let what = format!("{} {} {protocol:?} {to}", way.mode, way.options);
                let from = topology.source(at(to));
                let answer = client::ask(&topology.client, protocol, Some(from), at(to), PATIENCE)
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(
                    (answer.server.as_str(), answer.client),
                    (server.name.as_str(), from),
                    "{what}"
                );
                let frame = wire
                    .wait_for(PATIENCE, |frame| {
                        frame.protocol == number && !frame.outgoing
                    })
                    .unwrap();
                let Frame {
                    source_mac,
                    destination_mac,
                    ttl,
                    source,
                    destination,
                    ..
                } = frame;
                assert_eq!(
                    (source_mac.as_str(), &destination_mac),
                    (way.source_mac, &server.mac),
                    "{what}"
                );
                assert_eq!((source, destination), (from, at(to)), "{what}");
                assert!(way.hops.contains(&ttl), "{what}: {ttl} hops are left");
            }
            let mut connection =
                Connection::open(&topology.client, None, at(to), PATIENCE).unwrap();
            assert_eq!(connection.bulk(1_000_000).unwrap(), 1_000_000);
        }
        assert_eq!(
            counter.bytes(),
            0,
            "{} {}: replies passed the balancer",
            way.mode,
            way.options
        );
    }
}

#[test]
fn servers_of_one_service_may_be_reached_in_different_ways() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 3);
    load(
        &topology.balancer,
        "service www {
            vip 192.0.2.10 tcp, udp 80
            mode dr on eth0 via eth1
            server 10.20.0.11
            server 10.20.0.12 mac 02:00:00:00:00:12 via eth1 from 02:00:00:00:01:01
            server 10.20.0.13 via eth1
        }",
    );
    let _serving = topology.serve(&[80]);
    let flows = topology.sources(at("192.0.2.10:80"), 120);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let answers = client::ask_all(&topology.client, protocol, &flows, at("192.0.2.10:80"));
        assert_eq!(
            client::tally(&answers).into_keys().collect::<String>(),
            "abc"
        );
    }
}

#[test]
fn the_switch_does_not_learn_the_router_at_the_balancers_port() {
    let topology = Topology::new(Layout::DrOneInterface, 1);
    load(
        &topology.balancer,
        "service www { vip 192.0.2.10 udp 80; mode dr on eth0; server 10.20.0.11 mac 02:00:00:00:00:11 }",
    );
    let _serving = topology.serve(&[80]);
    for _ in 0..3 {
        assert_eq!(
            asked(&topology.client, Protocol::Udp, None, "192.0.2.10:80").server,
            "a"
        );
    }
    let learned = topology
        .lan
        .command("bridge", &["fdb", "show", "br", "br0"], "")
        .stdout;
    let port_of = |mac: &str| {
        learned
            .lines()
            .find(|line| line.starts_with(mac) && line.contains("p-"))
            .map(str::to_owned)
    };
    assert!(
        port_of(ROUTER_LAN).is_some_and(|line| line.contains("p-router")),
        "{learned}"
    );
}

#[test]
fn frames_for_others_are_not_sent_on() {
    let topology = Topology::new(Layout::DrOneInterface, 1);
    let server = &topology.servers[0];
    for options in ["", "mac 02:00:00:00:00:11"] {
        load(
            &topology.balancer,
            &format!(
                "service www {{ vip 192.0.2.10 udp 80; mode dr on eth0; server 10.20.0.11 {options} }}"
            ),
        );
        let router = Wire::tap(&topology.router, "lan");
        let balancer = Wire::tap(&topology.balancer, "eth0");
        let arrived = Wire::tap(&server.namespace, "eth0");
        let frame = |mac: &str| {
            udp4_frame(
                mac,
                ROUTER_LAN,
                (Ipv4Addr::new(198, 51, 100, 10), 4000),
                (Ipv4Addr::new(192, 0, 2, 10), 80),
                b"for another",
            )
        };
        let to_server = |frame: &Frame| {
            frame.protocol == 17 && !frame.outgoing && frame.destination_mac == server.mac
        };
        // A switch that does not know the address shows the frame to everybody.
        router.send(&frame("02:00:00:00:09:09"));
        assert!(
            balancer
                .wait_for(PATIENCE, |frame| frame.protocol == 17)
                .is_some(),
            "the balancer has seen the frame"
        );
        assert_eq!(arrived.wait_for(SILENCE, to_server), None);
        // The same frame, meant for the balancer, is.
        router.send(&frame(BALANCER_ETH0));
        assert!(arrived.wait_for(PATIENCE, to_server).is_some());
    }
}

#[test]
fn frames_of_a_vlan_are_left_to_its_own_interface() {
    const TAG: u16 = 0x8100;
    const SERVICE_TAG: u16 = 0x88a8;
    let topology = Topology::new(Layout::DrOneInterface, 1);
    let server = &topology.servers[0];
    for options in ["", "mac 02:00:00:00:00:11"] {
        load(
            &topology.balancer,
            &format!(
                "service www {{
                    vip 192.0.2.10, 2001:db8::10 udp 80
                    mode dr on eth0
                    server {} {options}
                    server {} {options}
                }}",
                server.v4, server.v6
            ),
        );
        let router = Wire::tap(&topology.router, "lan");
        let arrived = Wire::tap(&server.namespace, "eth0");
        let sent = |marker: &str, tags: &[(u16, u16)]| {
            for ends in ENDS.map(|(from, to)| (at(from), at(to))) {
                let frame = udp_frame(BALANCER_ETH0, ROUTER_LAN, ends, 64, marker.as_bytes());
                router.send(&tagged(&frame, tags));
            }
        };
        sent("of VLAN 5", &[(TAG, 5)]);
        sent("of VLAN 5, urgent", &[(TAG, 0x6005)]);
        sent("of VLAN 4094", &[(TAG, 4094)]);
        sent("of a provider's VLAN", &[(SERVICE_TAG, 6)]);
        sent("of a provider's VLAN in it", &[(SERVICE_TAG, 6), (TAG, 7)]);
        sent("of a VLAN in a VLAN", &[(TAG, 6), (TAG, 7)]);
        // A priority is no VLAN.
        sent("untagged", &[]);
        sent("with a priority", &[(TAG, 0x6000)]);
        let start = Instant::now();
        let mut seen: Vec<String> = Vec::new();
        while seen.len() < 4 && start.elapsed() < PATIENCE {
            for raw in arrived.taken_raw() {
                let text = String::from_utf8_lossy(&raw.bytes).into_owned();
                let marker = ["of VLAN", "of a ", "untagged", "with a priority"]
                    .into_iter()
                    .find(|marker| text.contains(marker));
                seen.extend(marker.filter(|_| !raw.outgoing).map(str::to_owned));
            }
            sleep(Duration::from_millis(5));
        }
        let expected = ["untagged", "untagged", "with a priority", "with a priority"];
        assert_eq!(seen, expected, "{options}");
    }
}

#[test]
fn a_server_whose_mac_nobody_knows_yet_is_asked_for() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 1);
    load(
        &topology.balancer,
        "service www {
            vip 192.0.2.10, 2001:db8::10 udp 80
            mode dr on eth0 via eth1
            server 10.20.0.11
            server 2001:db8:1::11
        }",
    );
    let _serving = topology.serve(&[80]);
    for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
        topology.balancer.ip("neigh flush dev eth1");
        // The very first packet waits for the answer to ARP or NDP; it is not lost.
        assert_eq!(asked(&topology.client, Protocol::Udp, None, to).server, "a");
    }
}

#[test]
fn a_mac_address_is_the_only_thing_needed_of_a_server_that_answers_no_arp() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 1);
    load(
        &topology.balancer,
        "service www {
            vip 192.0.2.10 udp 80
            mode dr on eth0 via eth1 from 02:00:00:00:01:01
            server 10.20.0.77 mac 02:00:00:00:00:11
        }",
    );
    let _serving = topology.serve(&[80]);
    assert_eq!(
        asked(&topology.client, Protocol::Udp, None, "192.0.2.10:80").server,
        "a"
    );
}

#[test]
fn services_of_both_modes_live_on_one_balancer() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 2);
    topology.balancer.forward();
    load(
        &topology.balancer,
        "service direct { vip 192.0.2.10 tcp 80; mode dr on eth0 via eth1; server 10.20.0.11 }
         service translated { vip 192.0.2.10 tcp 443; mode nat masquerade; server 10.20.0.12:8443 }",
    );
    let _direct = topology.serve(&[80]);
    let _translated = RealServer::start(
        &topology.servers[1].namespace,
        "b-nat",
        &[at("10.20.0.12:8443")],
    );
    let from = Some(topology.source(at("192.0.2.10:80")));
    let direct = asked(&topology.client, Protocol::Tcp, from, "192.0.2.10:80");
    assert_eq!((direct.server.as_str(), Some(direct.client)), ("a", from));
    let translated = asked(&topology.client, Protocol::Tcp, from, "192.0.2.10:443");
    assert_eq!(
        (
            translated.server.as_str(),
            translated.client.ip().to_string().as_str()
        ),
        ("b-nat", "10.20.0.1")
    );
}
