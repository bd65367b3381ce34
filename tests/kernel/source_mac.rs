//! The balancer's own MAC address, where servers are given by theirs and the file does not give it.

use crate::apply_host::Host;
use crate::lab::client::Protocol;
use crate::lab::packet;
use crate::lab::topology::{BALANCER_ETH1, Layout, Topology};
use crate::operator::{asked, at, flbc};

#[test]
fn apply_looks_up_its_own_mac_address_and_follows_a_change_of_it() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 2);
    let _serving = topology.serve(&[53]);
    let host = Host::new(&topology.balancer);
    let file = "service dns { vip 192.0.2.53, 2001:db8::53 udp 53; mode dr on eth0 via eth1; scheduler hash
        server a 10.20.0.11 mac 02:00:00:00:00:11; server b 10.20.0.12 mac 02:00:00:00:00:12
        server a6 2001:db8:1::11 mac 02:00:00:00:00:11; server b6 2001:db8:1::12 mac 02:00:00:00:00:12 }";
    // Whoever cannot look asks for it.
    let compiled = flbc(&["compile", "-"], file);
    assert_eq!(compiled.status.code(), Some(2));
    let said = String::from_utf8_lossy(&compiled.stderr).into_owned();
    assert!(
        said.contains("error[no-source-mac]") && said.contains("`via eth1 from MAC`"),
        "{said}"
    );
    host.apply(file);
    let wire = packet::Wire::tap(&topology.servers[0].namespace, "eth0");
    let sent = |wire: &packet::Wire| {
        for to in ["192.0.2.53:53", "[2001:db8::53]:53"] {
            for from in topology.sources(at(to), 6) {
                asked(&topology.client, Protocol::Udp, Some(from), to);
            }
        }
        let frames = wire
            .taken()
            .into_iter()
            .filter(|f| f.destination.port() == 53);
        let macs: std::collections::BTreeSet<String> = frames.map(|f| f.source_mac).collect();
        macs.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(sent(&wire), [BALANCER_ETH1]);
    assert_eq!(host.apply(file), "no difference\n");
    let other = "02:00:00:00:01:77";
    topology
        .balancer
        .ip(&format!("link set eth1 address {other}"));
    let said = host.apply(file);
    assert!(said.contains(&format!("from {other}")), "{said}");
    assert_eq!(sent(&wire), [other]);
}
