//! Errors of ICMP about a VIP's packets reach the real server that sent the packet.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use crate::lab::PATIENCE;
use crate::lab::client::{Connection, Protocol, ask_all};
use crate::lab::namespace::Namespace;
use crate::lab::packet::Wire;
use crate::lab::topology::{BALANCER_ETH0, Layout, ROUTER_LAN, Topology};
use crate::operator::{at, load, sampled};

/// Every way to a server of direct return: the stage, what `mode dr` says, and whether MAC addresses are given.
pub(crate) const WAYS: [(Layout, &str, &str); 3] = [
    (Layout::DrOneInterface, "on eth0", ""),
    (Layout::DrTwoInterfaces, "on eth0 via eth1", ""),
    (
        Layout::DrTwoInterfaces,
        "on eth0 via eth1 from 02:00:00:00:01:01",
        "mac",
    ),
];

/// `PORTS` on two VIPs, three servers of each family.
fn service(
    topology: &Topology,
    (_, on, mac): (Layout, &str, &str),
    scheduler: &str,
    ports: &str,
) -> String {
    let mut file = format!(
        "service www {{\nvip 192.0.2.10, 2001:db8::10 tcp, udp {ports}\nmode dr {on}\n{scheduler}\n"
    );
    file += &servers(topology, mac);
    file + "}"
}

/// Every server in both families, by its MAC address where `mac` is not empty.
pub(crate) fn servers(topology: &Topology, mac: &str) -> String {
    let mut text = String::new();
    for server in &topology.servers {
        let mac = match mac {
            "" => String::new(),
            _ => format!("mac {}", server.mac),
        };
        let _ = writeln!(
            text,
            "server {name} {} {mac}\nserver {name}6 {} {mac}",
            server.v4,
            server.v6,
            name = server.name
        );
    }
    text
}

/// Every scheduler, and one that is told to remember flows: round-robin and random do that anyway.
pub(crate) const SCHEDULERS: [&str; 5] = [
    "scheduler maglev",
    "scheduler hash by source",
    "scheduler maglev by source\ntrack 1m",
    "scheduler round-robin",
    "scheduler random",
];

#[test]
fn a_download_over_a_narrow_path_completes() {
    for way in WAYS {
        let topology = Topology::new(way.0, 3);
        let _serving = topology.serve(&[80]);
        // The client offers segments of 1,460 bytes; the way to it takes less. Only the router knows.
        topology.router.ip("link set wan mtu 1300");
        for scheduler in SCHEDULERS {
            load(
                &topology.balancer,
                &service(&topology, way, scheduler, "80"),
            );
            for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
                for from in topology.sources(at(to), sampled(3, 30)) {
                    // What a server has learned of the path is forgotten.
                    for server in &topology.servers {
                        server.namespace.ip("route flush cache");
                    }
                    let mut connection =
                        Connection::open(&topology.client, Some(from), at(to), PATIENCE).unwrap();
                    let received = connection.bulk(200_000);
                    assert_eq!(
                        received.unwrap_or_else(|error| panic!(
                            "{way:?} {scheduler} {from} to {to}: {error}"
                        )),
                        200_000
                    );
                }
            }
        }
    }
}

fn be(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_be_bytes()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// An IP packet; what it carries has no checksum.
fn packet(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = match from {
        IpAddr::V4(_) => {
            let mut header = vec![0x45, 0];
            header.extend(be(20 + payload.len()));
            header.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
            header
        }
        IpAddr::V6(_) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(be(payload.len()));
            header.extend([protocol, 64]);
            header
        }
    };
    bytes.extend(octets(from));
    bytes.extend(octets(to));
    if from.is_ipv4() {
        // A bridge looks at it.
        let pairs = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum: u32 = pairs.sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
        bytes.splice(10..12, checksum.to_be_bytes());
    }
    bytes.extend(payload);
    bytes
}

/// A frame with an error about a packet from a VIP to a client.
fn error(vip: SocketAddr, client: SocketAddr, protocol: u8, kind: u8) -> Vec<u8> {
    let mut transport = Vec::new();
    transport.extend(vip.port().to_be_bytes());
    transport.extend(client.port().to_be_bytes());
    transport.extend([0; 16]);
    let quoted = packet(vip.ip(), client.ip(), protocol, &transport);
    let mut icmp = vec![kind, 0, 0, 0, 0, 0, 5, 20];
    icmp.extend(quoted);
    let (router, number, ether): (IpAddr, u8, [u8; 2]) = if vip.is_ipv4() {
        ("203.0.113.1".parse().unwrap(), 1, [0x08, 0x00])
    } else {
        ("2001:db8:f::1".parse().unwrap(), 58, [0x86, 0xdd])
    };
    let mac = |text: &str| -> Vec<u8> {
        let bytes = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap());
        bytes.collect()
    };
    let mut frame = mac(BALANCER_ETH0);
    frame.extend(mac(ROUTER_LAN));
    frame.extend(ether);
    frame.extend(packet(router, vip.ip(), number, &icmp));
    frame
}

#[test]
fn every_error_goes_to_the_server_that_has_the_flow() {
    for way in WAYS {
        follow_all(way, &SCHEDULERS, load);
    }
}

/// Flows of every kind, and an error for each of them, over rules that `load` brings into the kernel.
pub(crate) fn follow_all(
    way: (Layout, &str, &str),
    schedulers: &[&str],
    load: impl Fn(&Namespace, &str),
) {
    let topology = Topology::new(way.0, 3);
    // A port of its own, both ends and the middle of a range, and what only `any` has.
    for (ports, asked) in [
        ("80, 5000-5999", &[80, 5513, 5999][..]),
        ("any", &[40_001][..]),
    ] {
        let _serving = topology.serve(asked);
        for scheduler in schedulers {
            load(
                &topology.balancer,
                &service(&topology, way, scheduler, ports),
            );
            for port in asked {
                for vip in ["192.0.2.10", "2001:db8::10"] {
                    let to = SocketAddr::new(vip.parse().unwrap(), *port);
                    for (protocol, number) in [(Protocol::Tcp, 6), (Protocol::Udp, 17)] {
                        let clients = topology.sources(to, sampled(2, 40));
                        let answers = ask_all(&topology.client, protocol, &clients, to);
                        follow(&topology, way, (to, number), &clients, &answers);
                    }
                }
            }
        }
    }
}

/// Sends an error for each flow, and looks at which server it comes out.
fn follow(
    topology: &Topology,
    way: (Layout, &str, &str),
    (to, protocol): (SocketAddr, u8),
    clients: &[SocketAddr],
    answers: &[String],
) {
    let taps: Vec<(String, Wire)> = topology
        .servers
        .iter()
        .map(|server| (server.name.clone(), Wire::tap(&server.namespace, "eth0")))
        .collect();
    let inside = if way.0 == Layout::DrOneInterface {
        "lan"
    } else {
        "transit"
    };
    let router = Wire::tap(&topology.router, inside);
    let kinds: &[u8] = if to.is_ipv4() {
        &[3, 11, 12]
    } else {
        &[1, 2, 3, 4]
    };
    for ((client, answer), kind) in clients.iter().zip(answers).zip(kinds.iter().cycle()) {
        let frame = error(to, *client, protocol, *kind);
        router.send(&frame);
        let number = if to.is_ipv4() { 1 } else { 58 };
        let quoted = &frame[14..][if to.is_ipv4() { 20 } else { 40 }..];
        let is_it = |frame: &crate::lab::packet::Frame| {
            frame.protocol == number && !frame.outgoing && frame.bytes.ends_with(quoted)
        };
        let (_, wire) = taps.iter().find(|(name, _)| name == answer).unwrap();
        let arrived = wire.wait_for(PATIENCE, is_it);
        assert!(
            arrived.is_some(),
            "{way:?} {protocol} {client} to {to}: not at {answer}"
        );
        let elsewhere: BTreeMap<&str, bool> = taps
            .iter()
            .filter(|(name, _)| name != answer)
            .map(|(name, wire)| (name.as_str(), wire.taken().iter().any(is_it)))
            .collect();
        assert!(elsewhere.values().all(|seen| !seen), "{elsewhere:?}");
    }
}
