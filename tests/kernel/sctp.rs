//! Whole associations of SCTP, where the kernel has sockets for them. That an INIT finds its server is tested
//! everywhere, with packets made by hand.

use std::collections::BTreeSet;

use crate::lab::PATIENCE;
use crate::lab::client::Connection;
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology};
use crate::operator::{at, load};

#[test]
#[ignore = "needs SCTP sockets, which Debian's kernel has: `make test-vm`"]
fn associations_carry_data_both_ways_and_stay_with_their_server() {
    for (layout, mode) in [
        (Layout::Nat, "nat"),
        (Layout::Nat, "nat masquerade"),
        (Layout::DrOneInterface, "dr on eth0"),
        (Layout::DrTwoInterfaces, "dr on eth0 via eth1"),
    ] {
        let topology = Topology::new(layout, 2);
        load(
            &topology.balancer,
            &format!(
                "service www {{
                    vip 192.0.2.10, 2001:db8::10 sctp 80
                    mode {mode}
                    scheduler hash by source-port
                    server 10.20.0.11
                    server 10.20.0.12
                    server 2001:db8:1::11
                    server 2001:db8:1::12
                }}"
            ),
        );
        let _serving: Vec<_> = topology
            .servers
            .iter()
            .map(|server| {
                let listens = topology.listens(server, &[80]);
                RealServer::start_associations(&server.namespace, &server.name, &listens)
            })
            .collect();
        for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
            let mut answered = BTreeSet::new();
            for from in topology.sources(at(to), 16) {
                let mut association =
                    Connection::associate(&topology.client, from, at(to), PATIENCE)
                        .unwrap_or_else(|error| panic!("{mode} {to}: {error}"));
                let first = association.answer.clone();
                if mode != "nat masquerade" {
                    assert_eq!(first.client, from, "{mode}");
                }
                assert_eq!(association.bulk(50_000).unwrap(), 50_000, "{mode} {to}");
                assert_eq!(association.again().unwrap(), first, "{mode} {to}");
                answered.insert(first.server);
            }
            assert_eq!(answered.len(), 2, "{mode} {to}: {answered:?}");
        }
    }
}
