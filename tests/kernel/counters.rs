//! What was counted stays counted, whatever else comes and goes.

use std::fmt::Write as _;

use serde_json::Value;

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::Datagrams;
use crate::lab::namespace::Namespace;
use crate::lab::topology::{Layout, Topology};
use crate::operator::at;

const VIPS: [&str; 2] = ["192.0.2.10:80", "[2001:db8::10]:80"];

fn ask(from: &Namespace, times: u64) {
    for vip in VIPS {
        let flow = Datagrams::open(from, None, at(vip), PATIENCE).unwrap();
        for _ in 0..times {
            flow.ask().unwrap();
        }
    }
}

/// What `flbc status` says of `www`: of the service, its VIPs and its servers.
fn counted(host: &Host) -> Value {
    let ran = host.flbc(&["status", "--json"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let status: Value = serde_json::from_str(&ran.out).unwrap();
    let mut services = status["services"].as_array().unwrap().iter();
    services
        .find(|service| service["name"] == "www")
        .unwrap()
        .clone()
}

/// Every counter in it, by where it stands.
fn counters(of: &Value) -> Vec<(String, u64)> {
    fn walk(place: &str, of: &Value, into: &mut Vec<(String, u64)>) {
        match of {
            Value::Object(fields) => {
                for (name, field) in fields {
                    walk(&format!("{place}/{name}"), field, into);
                }
            }
            Value::Array(list) => {
                for (at, one) in list.iter().enumerate() {
                    walk(&format!("{place}/{at}"), one, into);
                }
            }
            Value::Number(number)
                if ["packets", "bytes", "connections"]
                    .iter()
                    .any(|name| place.ends_with(name)) =>
            {
                into.push((place.to_owned(), number.as_u64().unwrap()));
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    walk("", of, &mut all);
    all
}

/// So many services that have nothing to do with the one that is watched, of both families.
fn crowd(mode: &str, services: u32) -> String {
    let mut file = String::new();
    for at in 0..services {
        let [_, _, high, low] = at.to_be_bytes();
        let _ = writeln!(
            file,
            "service other{at} {{ mode {mode}; vip 198.51.{high}.{low} udp 80; vip 2001:db8:c::{at:x} udp 80
                server a 10.20.0.11:8080; server a6 [2001:db8:1::11]:8080 }}"
        );
    }
    if mode.starts_with("dr") {
        file = file.replace(":8080", "").replace(['[', ']'], "");
    }
    file
}

#[test]
fn unrelated_services_that_come_and_go_leave_counters_alone() {
    for (layout, mode) in [(Layout::Nat, "nat"), (Layout::DrOneInterface, "dr on eth0")] {
        let topology = Topology::new(layout, 2);
        let _serving = topology.serve(&[80]);
        let host = Host::new(&topology.balancer);
        let www = format!(
            "service www {{ mode {mode}; scheduler maglev; vip 192.0.2.10, 2001:db8::10 udp 80
                server a 10.20.0.11; server b 10.20.0.12
                server a6 2001:db8:1::11; server b6 2001:db8:1::12 }}"
        );
        host.apply(&www);
        ask(&topology.client, 3);
        let before = counters(&counted(&host));
        let total: u64 = before.iter().map(|(_, count)| count).sum();
        assert!(total >= 12, "{mode}: {before:?}");
        // Every map of services and servers outgrows its size several times over, then shrinks again.
        for services in [300, 1_100, 30, 0, 1_100] {
            host.apply(&format!("{www}\n{}", crowd(mode, services)));
            let now = counters(&counted(&host));
            assert_eq!(now, before, "{mode}: beside {services} services");
        }
        // They go on from there, each by what is sent now.
        ask(&topology.client, 3);
        let doubled: u64 = counters(&counted(&host)).iter().map(|(_, c)| c).sum();
        assert_eq!(doubled, 2 * total, "{mode}");
    }
}

#[test]
fn a_service_that_is_renamed_and_a_server_that_is_drained_keep_their_counters() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let www = "service www { vip 192.0.2.10, 2001:db8::10 udp 80
        server a 10.20.0.11; server b 10.20.0.12; server a6 2001:db8:1::11; server b6 2001:db8:1::12 }";
    host.apply(&www.replace("www", "web"));
    ask(&topology.client, 3);
    let before = host.flbc(&["status", "--json"], "").out;
    host.apply(www);
    let renamed = counters(&counted(&host));
    let before: Value = serde_json::from_str(&before).unwrap();
    assert_eq!(renamed, counters(&before["services"][0]));
    host.apply(&www.replace("10.20.0.12;", "10.20.0.12 drain;"));
    assert_eq!(counters(&counted(&host)), renamed);
}
