//! Direct return asks of a packet what a router asks before it sends one on: whether hops are left, and whether its source
//! can be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::lab::namespace::Namespace;
use crate::lab::packet::{Frame, Wire, internet_checksum, udp_frame};
use crate::lab::topology::{BALANCER_ETH0, Layout, Machine, ROUTER_LAN, Topology, hold};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::{at, compile, load};

/// A client and a VIP, of each family.
const ENDS: [(&str, &str); 2] = [
    ("198.51.100.10:4000", "192.0.2.10:80"),
    ("[2001:db8:c::10]:4000", "[2001:db8::10]:80"),
];

/// By the neighbour table, and by the server's MAC address.
const OPTIONS: [&str; 2] = ["", "mac 02:00:00:00:00:11"];

/// A service of both families with one server.
fn one_server(server: &Machine, options: &str) -> String {
    format!(
        "service www {{
            vip 192.0.2.10, 2001:db8::10 udp 80
            mode dr on eth0
            server {} {options}
            server {} {options}
        }}",
        server.v4, server.v6
    )
}

/// A frame for the balancer that ends in its number.
fn numbered(ends: (SocketAddr, SocketAddr), hops: u8, number: u16) -> Vec<u8> {
    udp_frame(BALANCER_ETH0, ROUTER_LAN, ends, hops, &number.to_be_bytes())
}

/// Sends frames and returns those of them that arrive, by number. Waits for `expected`, and a moment for more.
fn sent(
    from: &Wire,
    to: &Wire,
    frames: impl IntoIterator<Item = Vec<u8>>,
    expected: usize,
) -> BTreeMap<u16, Frame> {
    let mut found = BTreeMap::new();
    let mut take = || {
        for frame in to.taken() {
            if !frame.outgoing && frame.protocol == 17 {
                let number = frame.bytes.last_chunk().copied().unwrap();
                found.insert(u16::from_be_bytes(number), frame);
            }
        }
        found.len()
    };
    for (place, frame) in frames.into_iter().enumerate() {
        from.send(&frame);
        // A packet socket has room for some two hundred frames.
        if place % 32 == 31 {
            sleep(Duration::from_millis(5));
            take();
        }
    }
    let start = Instant::now();
    while take() < expected && start.elapsed() < PATIENCE {
        sleep(Duration::from_millis(5));
    }
    sleep(SILENCE);
    take();
    found
}

#[test]
fn two_balancers_that_are_each_others_server_end_what_goes_round() {
    let both = [Namespace::new("one"), Namespace::new("other")];
    let macs = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"];
    both[0].ip(&format!(
        "link add eth0 address {} type veth peer name eth0 address {} netns {}",
        macs[0],
        macs[1],
        both[1].path()
    ));
    for (balancer, own) in both.iter().zip([1, 2]) {
        balancer.ip(&format!(
            "addr add 10.0.0.{own}/24 dev eth0
            addr add 2001:db8:1::{own}/64 dev eth0 nodad
            link set eth0 up"
        ));
    }
    for given in [false, true] {
        for (balancer, peer, mac) in [(&both[0], 2, macs[1]), (&both[1], 1, macs[0])] {
            let options = if given {
                format!("mac {mac}")
            } else {
                String::new()
            };
            load(
                balancer,
                &format!(
                    "service round {{
                        vip 192.0.2.10, 2001:db8::10 udp 80
                        mode dr on eth0
                        server 10.0.0.{peer} {options}
                        server 2001:db8:1::{peer} {options}
                    }}"
                ),
            );
        }
        for (from, to) in ENDS.map(|(from, to)| (at(from), at(to))) {
            for hops in [64, 255] {
                let what = format!("MAC given: {given}, {to}, {hops} hops");
                let wire = Wire::tap(&both[0], "eth0");
                wire.send(&udp_frame(macs[1], macs[0], (from, to), hops, b"round"));
                let (start, mut seen) = (Instant::now(), 0);
                loop {
                    sleep(SILENCE);
                    let round = wire.taken().into_iter();
                    let more = round.filter(|frame| frame.protocol == 17).count();
                    seen += more;
                    if more == 0 {
                        break;
                    }
                    let long = start.elapsed() > PATIENCE;
                    assert!(!long, "{seen} frames, and no end: {what}");
                }
                assert!(seen > 4, "{seen} frames: that was no circle: {what}");
            }
        }
    }
}

#[test]
fn a_hop_limit_is_lowered_to_the_next_number_of_ones_and_the_checksum_with_it() {
    let topology = Topology::new(Layout::DrOneInterface, 1);
    let server = &topology.servers[0];
    let rules = compile(&one_server(server, OPTIONS[1]));
    let sometimes = "meta random & 0xfc000000 == 0x00000000 ";
    assert_eq!(rules.matches(sometimes).count(), 2, "{rules}");
    // Of each packet, not of a few.
    topology.balancer.nft(&rules.replace(sometimes, ""));
    let router = Wire::tap(&topology.router, "lan");
    for ends in ENDS.map(|(from, to)| (at(from), at(to))) {
        let arrived = Wire::tap(&server.namespace, "eth0");
        let frames = (0..=255_u8).map(|hops| numbered(ends, hops, hops.into()));
        let left = sent(&router, &arrived, frames, 254);
        let ones = |hops: u16| (1 << hops.ilog2()) - 1;
        let expected: BTreeMap<u16, u16> = (2..=255).map(|hops| (hops, ones(hops))).collect();
        let found = left.iter().map(|(hops, frame)| (*hops, frame.ttl.into()));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "{}", ends.1);
        for frame in left.values().filter(|frame| frame.source.is_ipv4()) {
            assert_eq!(internet_checksum(&frame.bytes[14..34]), [0, 0], "{frame:?}");
        }
    }
}

#[test]
fn where_the_mac_address_is_given_the_hop_limit_of_some_packets_is_lowered() {
    let topology = Topology::new(Layout::DrOneInterface, 1);
    let server = &topology.servers[0];
    load(&topology.balancer, &one_server(server, OPTIONS[1]));
    let router = Wire::tap(&topology.router, "lan");
    for ends in ENDS.map(|(from, to)| (at(from), at(to))) {
        let arrived = Wire::tap(&server.namespace, "eth0");
        let frames = (0..1920).map(|number| numbered(ends, 64, number));
        let left = sent(&router, &arrived, frames, 1920);
        let with = |hops| left.values().filter(|frame| frame.ttl == hops).count();
        assert_eq!(with(63) + with(64), 1920);
        // 30, give or take five times the deviation.
        assert!((4..=57).contains(&with(63)), "{} of 1920", with(63));
    }
}

#[test]
fn a_packet_that_has_no_hop_left_goes_to_no_server_and_is_answered_as_by_a_router() {
    for options in OPTIONS {
        let topology = Topology::new(Layout::DrOneInterface, 1);
        let server = &topology.servers[0];
        load(&topology.balancer, &one_server(server, options));
        // It would send on the VIP's packets, to the router.
        topology.balancer.forward();
        let router = Wire::tap(&topology.router, "lan");
        let wan = Wire::tap(&topology.router, "wan");
        for ends in ENDS.map(|(from, to)| (at(from), at(to))) {
            let arrived = Wire::tap(&server.namespace, "eth0");
            let frames = [0, 1, 2, 64].map(|hops| numbered(ends, hops, hops.into()));
            let left = sent(&router, &arrived, frames, 2);
            let arrived: Vec<u16> = left.keys().copied().collect();
            assert_eq!(arrived, [2, 64], "{options}");
            assert!(left.values().all(|frame| frame.ttl > 0), "{options}");
            let answer = wan.wait_for(PATIENCE, |frame| {
                let exceeded = match frame.protocol {
                    1 => frame.bytes.get(34) == Some(&11),
                    58 => frame.bytes.get(54) == Some(&3),
                    _ => false,
                };
                exceeded && frame.destination.ip() == ends.0.ip()
            });
            assert!(answer.is_some(), "{options} {}", ends.1);
        }
    }
}

/// Addresses that no client can have, and those beside them that one can.
const SOURCES: [(&str, bool); 22] = [
    ("0.0.0.0", false),
    ("0.1.2.3", false),
    ("1.0.0.1", true),
    ("126.255.255.254", true),
    ("127.0.0.1", false),
    ("127.255.255.254", false),
    ("128.0.0.1", true),
    ("223.255.255.254", true),
    ("224.0.0.1", false),
    ("239.255.255.255", false),
    ("240.0.0.1", true),
    ("255.255.255.254", true),
    ("255.255.255.255", false),
    ("::", false),
    ("::1", false),
    ("::ffff:198.51.100.10", false),
    ("64:ff9b::198.51.100.10", true),
    ("2001:db8:c::10", true),
    ("fd00::1", true),
    ("feff::1", true),
    ("ff02::1", false),
    ("ffff::1", false),
];

/// Those of [`SOURCES`] from which a datagram passes.
fn passing(from: &Wire, to: &Wire, expected: usize) -> Vec<&'static str> {
    let frames = (0..).zip(SOURCES).map(|(number, (source, _))| {
        let source = SocketAddr::new(source.parse().unwrap(), 4000);
        let to = at(ENDS[usize::from(source.is_ipv6())].1);
        numbered((source, to), 64, number)
    });
    let passed = sent(from, to, frames, expected);
    let passed = passed.keys().map(|number| SOURCES[usize::from(*number)].0);
    passed.collect()
}

#[test]
fn from_addresses_that_no_client_can_have_nothing_is_sent_on() {
    for options in OPTIONS {
        let topology = Topology::new(Layout::DrOneInterface, 1);
        let server = &topology.servers[0];
        load(&topology.balancer, &one_server(server, options));
        let router = Wire::tap(&topology.router, "lan");
        let arrived = Wire::tap(&server.namespace, "eth0");
        let possible = SOURCES.iter().filter(|(_, can_be)| *can_be);
        let possible: Vec<&str> = possible.map(|(source, _)| *source).collect();
        let passed = passing(&router, &arrived, possible.len());
        assert_eq!(passed, possible, "{options}");
    }
}

/// In nat the kernel looks for the way to the server, and asks of the source what a router asks.
#[test]
fn in_nat_the_kernel_sends_on_nothing_from_addresses_that_no_client_can_have() {
    for local in [false, true] {
        let topology = Topology::new(Layout::Nat, 1);
        let server = &topology.servers[0];
        if local {
            hold(&topology.balancer, "192.0.2.10");
            hold(&topology.balancer, "2001:db8::10");
        }
        load(
            &topology.balancer,
            &format!(
                "service www {{ vip 192.0.2.10, 2001:db8::10 udp 80; server {}; server {} }}",
                server.v4, server.v6
            ),
        );
        let router = Wire::tap(&topology.router, "transit");
        let arrived = Wire::tap(&server.namespace, "eth0");
        let passed = passing(&router, &arrived, 9);
        for (source, can_be) in SOURCES {
            // Of these the kernel is of another opinion than flbc.
            if !matches!(source, "0.1.2.3" | "::ffff:198.51.100.10") {
                assert_eq!(
                    passed.contains(&source),
                    can_be,
                    "{source}, VIP local: {local}"
                );
            }
        }
    }
}
