//! What becomes of the connections that servers have.

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::{Connection, Datagrams};
use crate::lab::topology::{Layout, Topology};
use crate::operator::at;

const WWW: &str = "192.0.2.10:80";

fn service(a: &str) -> String {
    format!(
        "service www {{ vip 192.0.2.10, 2001:db8::10 tcp, udp 80
            {a}
            server b 10.20.0.12
            server b6 2001:db8:1::12
        }}"
    )
}

#[test]
fn a_server_that_is_gone_or_down_loses_its_flows_and_a_drained_one_keeps_them() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    for (after, answering) in [
        ("server a 10.20.0.11 drain", "a"),
        ("server a 10.20.0.11 weight 9", "a"),
        ("server a 10.20.0.11 down", "b"),
        ("", "b"),
    ] {
        host.apply(&service("server a 10.20.0.11"));
        // Two flows: the servers take turns.
        let flows: Vec<Datagrams> = (0..2)
            .map(|_| Datagrams::open(&topology.client, None, at(WWW), PATIENCE).unwrap())
            .collect();
        let mut first: Vec<String> = flows.iter().map(|f| f.ask().unwrap().server).collect();
        assert!(first.contains(&"a".to_owned()), "{first:?}");
        let said = host.apply(&service(after));
        assert_eq!(said.contains(" forgotten"), answering == "b", "{said}");
        for (flow, before) in flows.iter().zip(&mut first) {
            let now = flow.ask().unwrap().server;
            let expected = if before == "a" { answering } else { "b" };
            assert_eq!(now, expected, "{after:?}");
        }
    }
}

#[test]
fn connections_of_a_server_in_one_family_do_not_die_with_those_of_another() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(&service("server a 10.20.0.11; server a6 2001:db8:1::11"));
    let mut six: Vec<Connection> = (0..2)
        .map(|_| {
            Connection::open(&topology.client, None, at("[2001:db8::10]:80"), PATIENCE).unwrap()
        })
        .collect();
    host.apply(&service("server a6 2001:db8:1::11"));
    for connection in &mut six {
        assert_eq!(connection.again().unwrap(), connection.answer);
    }
}

#[test]
fn connections_of_others_with_the_same_mark_stay() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80, 81]);
    let host = Host::new(&topology.balancer);
    host.apply(&service("server a 10.20.0.11"));
    // Others use the numbers of servers, on connections plain and translated.
    let names = ["a", "b", "b6", "b"];
    let others: Vec<(Datagrams, String)> = names
        .iter()
        .flat_map(|name| {
            let mark = host.number_of(name);
            topology.balancer.nft(&format!(
                "table ip foreign; delete table ip foreign; table ip foreign {{
                    chain early {{ type filter hook prerouting priority -150; udp dport 81 ct mark set {mark}; }}
                    chain pre {{ type nat hook prerouting priority -190; ip daddr 192.0.2.53 udp dport 81 dnat to 10.20.0.12; }}
                }}\n"
            ));
            ["10.20.0.11:81", "192.0.2.53:81"].map(|to| {
                let flow = Datagrams::open(&topology.client, None, at(to), PATIENCE).unwrap();
                let server = flow.ask().unwrap().server;
                (flow, server)
            })
        })
        .collect();
    let marked = || {
        let listed = topology
            .balancer
            .command("conntrack", &["-L", "-p", "udp"], "")
            .stdout;
        let lines = listed.lines().filter(|line| line.contains("dport=81 "));
        lines.filter(|line| !line.contains("mark=0")).count()
    };
    assert_eq!(marked(), 8);
    let flow = Datagrams::open(&topology.client, None, at(WWW), PATIENCE).unwrap();
    flow.ask().unwrap();
    host.apply(&service(""));
    host.flbc(&["unload"], "");
    assert_eq!(marked(), 8, "none of them was forgotten");
    for (flow, server) in &others {
        assert_eq!(&flow.ask().unwrap().server, server);
    }
}
