//! What was counted stays counted, whatever else comes and goes.

use std::collections::BTreeMap;

use super::*;
use crate::diff::Counter;
use crate::emit::netlink::{Data, Element};
use crate::ruleset::name;

fn www(mode: &str) -> String {
    format!(
        "service www {{ mode {mode}; scheduler maglev table 13; vip 192.0.2.10, 2001:db8::10 udp 80
            server a 10.20.0.11; server b 10.20.0.12; server a6 2001:db8:1::11; server b6 2001:db8:1::12 }}"
    )
}

const MODES: [&str; 2] = ["nat", "dr on eth0"];

/// Packets pass: to each VIP and server, another number of each, and both ways where that is counted.
pub(super) fn pass(host: &mut Host) {
    let mut next = 1..;
    let mut counter = || {
        let packets = next.next().unwrap();
        let bytes = 100 * packets;
        Counter { packets, bytes }
    };
    let numbers: Vec<u32> = host.servers().iter().map(|server| server.number).collect();
    let has = &mut host.kernel.observed;
    let tables = [&mut has.inet, &mut has.netdev];
    let sets = tables
        .into_iter()
        .flatten()
        .flat_map(|table| &mut table.sets);
    for set in sets.filter(|set| set.shape.counts()) {
        if *set.name == *name::TRAFFIC {
            let ways = numbers
                .iter()
                .flat_map(|number| [0, 1].map(|way| (number, way)));
            let elements = ways.map(|(number, way)| Element {
                key: Bytes::new(&[number.to_ne_bytes(), [way, 0, 0, 0]].concat()).unwrap(),
                key_end: None,
                data: Data::None,
                comment: None,
            });
            set.elements = elements.collect();
        }
        set.counters = set.elements.iter().map(|_| counter()).collect();
    }
}

/// What was counted of a service: of its VIPs, its servers, and both ways.
pub(super) fn counted(host: &mut Host, service: &str) -> BTreeMap<String, Vec<Counter>> {
    let mut view = View::of(&host.kernel.observed);
    view.count(&host.kernel.traffic("flbc").unwrap());
    let service = &view.services[service];
    let vips = service
        .vips
        .iter()
        .map(|(vip, counter)| (vip.clone(), vec![*counter]));
    let servers = service.servers.iter().map(|server| {
        let ways = [server.to, server.from].into_iter().flatten();
        (server.name.clone(), ways.chain([server.counter]).collect())
    });
    vips.chain(servers).collect()
}

/// How much that is in all.
fn sum(counted: &BTreeMap<String, Vec<Counter>>) -> u64 {
    counted
        .values()
        .flatten()
        .map(|counter| counter.packets)
        .sum()
}

#[test]
fn unrelated_services_that_come_and_go_leave_counters_alone() {
    for mode in MODES {
        let mut host = Host::new();
        host.apply(&www(mode));
        pass(&mut host);
        let before = counted(&mut host, "www");
        assert!(sum(&before) > 20, "{before:?}");
        // Every map outgrows its size several times over, then shrinks again.
        for count in [20, 100, 3, 0] {
            if count == 3 {
                // Of what is read, too: a server of theirs that has the same address is another.
                host.forget();
            }
            host.apply(&format!("{}\n{}", www(mode), services(count)));
            assert_eq!(counted(&mut host, "www"), before, "{mode}: beside {count}");
        }
    }
}

#[test]
fn a_service_that_is_renamed_and_a_server_that_is_drained_keep_their_counters() {
    for mode in MODES {
        let mut host = Host::new();
        host.apply(&www(mode).replace("www", "web"));
        pass(&mut host);
        let before = counted(&mut host, "web");
        host.apply(&www(mode));
        assert_eq!(counted(&mut host, "www"), before, "{mode}");
        host.apply(&www(mode).replace("10.20.0.12;", "10.20.0.12 drain;"));
        assert_eq!(counted(&mut host, "www"), before, "{mode}");
    }
}

#[test]
fn counters_go_with_a_server_that_gets_another_number() {
    for mode in MODES {
        for forget in [false, true] {
            let mut host = Host::new();
            host.apply(&www(mode));
            pass(&mut host);
            let before = counted(&mut host, "www");
            for shift in [8, 3, 0] {
                if forget {
                    host.forget();
                }
                host.shift(&www(mode), shift);
                assert_eq!(counted(&mut host, "www"), before, "{mode} {shift}");
            }
        }
    }
}

#[test]
fn a_server_that_comes_back_begins_at_nothing() {
    let mut host = Host::new();
    let with = |server: &str| format!("service www {{ vip 192.0.2.10 udp 80; {server} }}");
    host.apply(&with("server a 10.20.0.11"));
    // A server that comes back has its number again.
    for (name, last) in [("x", 12), ("y", 11), ("z", 12)] {
        pass(&mut host);
        host.apply(&with(&format!("server {name} 10.20.0.{last}")));
        let now = &counted(&mut host, "www")[name];
        assert_eq!(*now, [Counter::default(); 3], "{name}");
    }
}

#[test]
fn going_back_keeps_the_counters_of_those_that_stay() {
    let mut host = Host::new();
    host.apply(&www("nat"));
    let before = host.tables().before().unwrap();
    host.shift(&format!("{}\n{}", www("nat"), services(20)), 8);
    pass(&mut host);
    let counters = counted(&mut host, "www");
    host.tables().restore(&before).unwrap();
    assert_eq!(counted(&mut host, "www"), counters);
}
