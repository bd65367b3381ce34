//! The laboratory itself: what the other tests trust.

use crate::lab::client::{self, Connection, Protocol};
use crate::lab::counter::ReplyCounter;
use crate::lab::packet::Wire;
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology, VIPS};
use crate::lab::{PATIENCE, SILENCE};

#[test]
fn servers_are_reached_through_router_and_balancer() {
    let topology = Topology::new(Layout::Nat, 2);
    topology.balancer.nft("table inet hand { chain pre { type nat hook prerouting priority dstnat; ip daddr 192.0.2.10 dnat to 10.20.0.12; ip6 daddr 2001:db8::10 dnat to 2001:db8:1::11; }; }");
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
    for (to, expected) in [("192.0.2.10:80", "b"), ("[2001:db8::10]:80", "a")] {
        let to = to.parse().unwrap();
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            let from = topology.source(to);
            let answer = client::ask(&topology.client, protocol, Some(from), to, PATIENCE)
                .unwrap_or_else(|error| panic!("{protocol:?} {to}: {error}"));
            assert_eq!(
                (answer.server.as_str(), answer.client),
                (expected, from),
                "{protocol:?}"
            );
        }
    }
    let closed = "192.0.2.53:80".parse().unwrap();
    assert!(client::ask(&topology.client, Protocol::Udp, None, closed, SILENCE).is_err());
}

#[test]
fn replies_of_direct_return_bypass_the_balancer() {
    for layout in [Layout::DrOneInterface, Layout::DrTwoInterfaces] {
        let topology = Topology::new(layout, 3);
        let out = topology.lan_interface();
        topology.balancer.nft(&format!("table netdev hand {{ chain on {{ type filter hook ingress device eth0 priority 0; ip daddr 192.0.2.10 fwd ip to 10.20.0.12 device {out}; ip6 daddr 2001:db8::10 fwd ip6 to 2001:db8:1::13 device {out}; }}; }}"));
        let interfaces: &[&str] = if layout == Layout::DrOneInterface {
            &["eth0"]
        } else {
            &["eth0", "eth1"]
        };
        let counter = ReplyCounter::install(&topology.balancer, "replies", interfaces, &VIPS);
        let _serving = topology.serve(&[80]);
        let wire = Wire::tap(&topology.servers[1].namespace, "eth0");
        for (to, expected) in [("192.0.2.10:80", "b"), ("[2001:db8::10]:80", "c")] {
            let to = to.parse().unwrap();
            let mut connection = Connection::open(&topology.client, None, to, PATIENCE).unwrap();
            assert_eq!(connection.answer.server, expected);
            assert_eq!(connection.bulk(200_000).unwrap(), 200_000);
            assert_eq!(counter.bytes(), 0, "{layout:?} {to}");
        }
        let frame = wire
            .taken()
            .into_iter()
            .find(|frame| frame.protocol == 6)
            .unwrap();
        assert_eq!(frame.destination_mac, topology.servers[1].mac);
        assert_eq!(frame.ttl, 62, "{frame:?}");
    }
}

#[test]
fn the_reply_counter_counts() {
    let topology = Topology::new(Layout::Nat, 1);
    topology.balancer.nft("table inet hand { chain pre { type nat hook prerouting priority dstnat; ip daddr 192.0.2.10 dnat to 10.20.0.11; }; }");
    let counter = ReplyCounter::install(&topology.balancer, "replies", &["eth1"], &["10.20.0.11"]);
    let _serving = topology.serve(&[80]);
    let mut connection = Connection::open(
        &topology.client,
        None,
        "192.0.2.10:80".parse().unwrap(),
        PATIENCE,
    )
    .unwrap();
    connection.bulk(100_000).unwrap();
    assert!(counter.bytes() > 100_000);
}
