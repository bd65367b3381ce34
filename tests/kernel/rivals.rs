//! Other programs translate what is for a service too: flbc comes first, whoever started last.

use crate::apply_host::Host;
use crate::lab::client::Protocol;
use crate::lab::topology::{Layout, Topology};
use crate::operator::asked;

const VIPS: [&str; 2] = ["192.0.2.10:80", "[2001:db8::10]:80"];

/// What docker and kube-proxy do: everything at the usual priorities.
const RIVAL: &str = "table inet rival {
    chain pre { type nat hook prerouting priority dstnat; jump take; }
    chain out { type nat hook output priority -100; jump take; }
    chain post { type nat hook postrouting priority srcnat; masquerade; }
    chain take {
        meta l4proto { tcp, udp } th dport 80 ip daddr 192.0.2.10 dnat to 10.20.0.12
        meta l4proto { tcp, udp } th dport 80 ip6 daddr 2001:db8::10 dnat to 2001:db8:1::12
    }
}
";

#[test]
fn a_rival_at_the_usual_priorities_comes_after() {
    let file = "service www {
        vip 192.0.2.10, 2001:db8::10 tcp, udp 80
        mode nat snat 10.20.0.200, 2001:db8:1::200
        server a 10.20.0.11
        server a6 2001:db8:1::11
    }";
    for rival_first in [true, false] {
        let topology = Topology::new(Layout::Nat, 2);
        let _serving = topology.serve(&[80]);
        topology
            .balancer
            .ip("addr add 10.20.0.200/24 dev eth1\naddr add 2001:db8:1::200/64 dev eth1 nodad");
        let host = Host::new(&topology.balancer);
        if rival_first {
            host.namespace.nft(RIVAL);
        }
        host.apply(file);
        if !rival_first {
            host.namespace.nft(RIVAL);
        }
        for vip in VIPS {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let answer = asked(&topology.client, protocol, None, vip);
                assert!(
                    answer.server.starts_with('a'),
                    "{rival_first} {vip}: {answer:?}"
                );
                let source = answer.client.ip().to_string();
                assert!(source.ends_with("200"), "{rival_first} {vip}: {answer:?}");
                let own = asked(&topology.balancer, protocol, None, vip);
                assert!(
                    own.server.starts_with('a'),
                    "{rival_first} own {vip}: {own:?}"
                );
            }
        }
    }
}

/// What flb.5 has an operator tell Docker, which drops what it does not know on its way, and firewalld says by itself.
#[test]
fn a_firewall_that_lets_through_what_was_translated_lets_nat_through() {
    // As iptables of nf_tables writes `-I DOCKER-USER -m conntrack --ctstate DNAT -j ACCEPT`.
    const LET: &str = "insert rule inet filter DOCKER-USER ct status dnat accept\n";
    const DOCKER: &str = "table inet filter {
        chain DOCKER-USER { }
        chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; }
    }
    ";
    let refused = |topology: &Topology| {
        let to = crate::operator::at(VIPS[0]);
        let patience = std::time::Duration::from_millis(500);
        crate::lab::client::ask(&topology.client, Protocol::Tcp, None, to, patience).is_err()
    };
    for mode in ["nat", "dr on eth0"] {
        let layout = if mode == "nat" {
            Layout::Nat
        } else {
            Layout::DrOneInterface
        };
        let topology = Topology::new(layout, 2);
        let _serving = topology.serve(&[80]);
        let host = Host::new(&topology.balancer);
        host.apply(&format!(
            "service www {{ vip 192.0.2.10 tcp 80; mode {mode}; server a 10.20.0.11 }}"
        ));
        host.namespace.nft(DOCKER);
        // Direct return passes it by.
        assert_eq!(refused(&topology), mode == "nat", "{mode}");
        host.namespace.nft(LET);
        assert!(!refused(&topology), "{mode}");
    }
}
