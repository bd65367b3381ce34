//! Tables of two names on one host: each leaves the other's packets and connections alone.

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::Connection;
use crate::lab::topology::{Layout, Topology};
use crate::operator::{at, compile};

const FIRST: &str =
    "service first { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }";

fn second(what: &str) -> String {
    format!("service second {{ vip 192.0.2.10 tcp 81; mode nat masquerade; {what} }}")
}

fn apply_two(host: &Host, file: &str) -> (Option<i32>, String) {
    let ran = host.flbc(&["apply", "--table", "two", "-"], file);
    (ran.code, ran.out + &ran.err)
}

#[test]
fn on_other_ports_of_a_vip_they_live_beside_each_other() {
    for first_first in [true, false] {
        let topology = Topology::new(Layout::Nat, 2);
        let _serving = topology.serve(&[80, 81]);
        let host = Host::new(&topology.balancer);
        let down = "server b 10.20.0.12; server a 10.20.0.11";
        if first_first {
            host.apply(FIRST);
        }
        assert_eq!(apply_two(&host, &second(down)).0, Some(0));
        if !first_first {
            host.apply(FIRST);
        }
        let open = |vip: &str| -> Vec<Connection> {
            let all = 0..4;
            all.map(|_| Connection::open(&topology.client, None, at(vip), PATIENCE).unwrap())
                .collect()
        };
        let mut theirs = open("192.0.2.10:80");
        let _of_two = open("192.0.2.10:81");
        let client = theirs[0].answer.client.ip();
        assert_eq!(client.to_string(), "198.51.100.10", "not masqueraded");
        let passed = host.namespace.nft_list(&["set", "inet", "flbc", "traffic"]);
        assert_eq!(passed.matches(" . original ").count(), 2, "{passed}");
        let (code, said) = apply_two(
            &host,
            &second("server b 10.20.0.12 down; server a 10.20.0.11"),
        );
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(", 2 connections forgotten"), "{said}");
        for connection in &mut theirs {
            assert_eq!(connection.again().unwrap(), connection.answer);
        }
        for (table, file) in [
            ("flbc", FIRST),
            (
                "two",
                &second("server b 10.20.0.12 down; server a 10.20.0.11"),
            ),
        ] {
            let doctor = host.flbc(&["doctor", "--table", table, "-"], file);
            assert!(
                !doctor.out.contains("foreign-"),
                "of {table}: {}",
                doctor.out
            );
        }
        host.flbc(&["unload", "--table", "two"], "");
        for connection in &mut theirs {
            assert_eq!(connection.again().unwrap(), connection.answer);
        }
    }
}

#[test]
fn a_vip_protocol_and_port_belong_to_one_table() {
    // Whoever loaded the first.
    for loaded in [false, true] {
        let host = Host::alone();
        if loaded {
            host.namespace.nft(&compile(FIRST));
        } else {
            host.apply(FIRST);
        }
        one_table_has(&host);
    }
}

fn one_table_has(host: &Host) {
    let before = host.list();
    for (vip, meets) in [
        ("192.0.2.10 tcp 80", true),
        ("192.0.2.10 tcp 70-90", true),
        ("192.0.2.10 tcp any", true),
        ("192.0.2.10 tcp 81-90", false),
        ("192.0.2.10 udp any", false),
        ("192.0.2.11 tcp 80", false),
    ] {
        for mode in ["nat", "dr on eth0"] {
            let file = format!("service second {{ vip {vip}; mode {mode}; server b 10.20.0.12 }}");
            let dry = host.flbc(&["apply", "--dry-run", "--table", "two", "-"], &file);
            let (code, said) = apply_two(host, &file);
            assert_eq!(dry.err.contains("vip-of-another-table"), meets, "{dry:?}");
            assert_eq!(
                said.contains("error[vip-of-another-table]"),
                meets,
                "{said}"
            );
            if meets {
                assert_eq!(code, Some(3), "{said}");
                assert!(
                    said.contains("`flbc`") && said.contains("192.0.2.10 tcp 80"),
                    "{said}"
                );
                assert_eq!(host.list(), before);
            } else {
                assert_eq!(code, Some(0), "{said}");
                host.flbc(&["unload", "--table", "two"], "");
            }
        }
    }
    // The same table may have it again, and another host's is none of its business.
    host.apply(&FIRST.replace("server b", "server c"));
}
