//! Direct return: the later fragments of a datagram, which have no ports, follow the first one to its server.

use crate::lab::client::Datagrams;
use crate::lab::packet::Wire;
use crate::lab::topology::{Layout, Topology};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::{at, load, sampled};
use crate::quoted::{WAYS, servers};

/// Three fragments at an MTU of 1,500.
const LONG: [u8; 4000] = [b'x'; 4000];

#[test]
fn a_long_datagram_reaches_the_server_of_its_client() {
    let schedulers = [
        "scheduler hash by source",
        "scheduler maglev by source",
        "scheduler maglev by source\npersist 1m",
        "scheduler hash by source-port\npersist 1m",
    ];
    for (layout, on, mac) in WAYS {
        let topology = Topology::new(layout, 3);
        let _serving = topology.serve(&[53, 54]);
        for scheduler in schedulers {
            load(
                &topology.balancer,
                &format!(
                    "service dns {{\nvip 192.0.2.10, 2001:db8::10 udp 53-54\nmode dr {on}\n{scheduler}\n{}}}",
                    servers(&topology, mac)
                ),
            );
            for to in ["192.0.2.10:53", "[2001:db8::10]:54"] {
                for from in topology.sources(at(to), sampled(8, 200)) {
                    let flow =
                        Datagrams::open(&topology.client, Some(from), at(to), PATIENCE).unwrap();
                    let short = flow.ask().unwrap();
                    let long = flow.ask_with(&LONG).unwrap_or_else(|error| {
                        panic!("{layout:?} {scheduler} {from} to {to}: {error}")
                    });
                    assert_eq!(long.server, short.server, "{scheduler} {from} to {to}");
                }
            }
        }
    }
}

#[test]
fn fragments_that_nobody_knows_the_server_of_reach_no_server() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 3);
    let _serving = topology.serve(&[53, 80]);
    let all = servers(&topology, "");
    let of = |service: &str, ports: &str, scheduler: &str| {
        format!(
            "service {service} {{\nvip 192.0.2.10, 2001:db8::10 udp {ports}\nmode dr on eth0 via eth1\nscheduler {scheduler}\n{all}}}\n"
        )
    };
    let files = [
        of("dns", "53", "hash by source-port"),
        of("dns", "any", "hash by source-port"),
        of("dns", "53", "hash by source\ntrack 1m"),
        // Whose are they?
        of("dns", "53", "hash by source") + &of("web", "80", "hash by source"),
        of("dns", "53", "hash by source") + &of("rest", "any", "hash by source"),
    ];
    for file in files {
        load(&topology.balancer, &file);
        let wires: Vec<Wire> = topology
            .servers
            .iter()
            .map(|server| Wire::tap(&server.namespace, "eth0"))
            .collect();
        for to in ["192.0.2.10:53", "[2001:db8::10]:53"] {
            let from = topology.source(at(to));
            let mut flow = Datagrams::open(&topology.client, Some(from), at(to), PATIENCE).unwrap();
            flow.ask().unwrap();
            flow.set_patience(SILENCE);
            assert!(flow.ask_with(&LONG).is_err(), "{file}");
        }
        let later = wires.iter().flat_map(Wire::taken).filter(|frame| {
            let fragment = match frame.source {
                std::net::SocketAddr::V4(_) => frame.bytes.get(20..22),
                std::net::SocketAddr::V6(_) => frame.bytes.get(56..58),
            };
            let offset = match (frame.source, fragment) {
                (std::net::SocketAddr::V4(_), Some(&[high, low])) => [high & 0x1f, low],
                (std::net::SocketAddr::V6(_), Some(&[high, low])) if frame.protocol == 44 => {
                    [high, low & 0xf8]
                }
                _ => [0, 0],
            };
            offset != [0, 0]
        });
        assert_eq!(later.count(), 0, "{file}");
    }
}
