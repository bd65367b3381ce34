//! Who gets how much, and who comes next.

use crate::lab::client::{Protocol, ask_all, tally};
use crate::lab::topology::{Layout, Topology};
use crate::operator::{at, load, sampled, who};

const TARGETS: [&str; 2] = ["192.0.2.10:80", "[2001:db8::10]:80"];

/// A service of both families with servers `a`, `b`, `c` of these weights.
fn service(statements: &str, weights: [u32; 3]) -> String {
    let [a, b, c] = weights;
    format!(
        "service www {{
            vip 192.0.2.10, 2001:db8::10 tcp, udp 80
            {statements}
            server a 10.20.0.11 weight {a}
            server b 10.20.0.12 weight {b}
            server c 10.20.0.13 weight {c}
            server a6 2001:db8:1::11 weight {a}
            server b6 2001:db8:1::12 weight {b}
            server c6 2001:db8:1::13 weight {c}
        }}"
    )
}

/// Every server's count is within five standard deviations of its share.
fn assert_shares(answers: &[String], weights: [u32; 3], what: &str) {
    let counts = tally(answers);
    let total = f64::from(u32::try_from(answers.len()).unwrap());
    for (name, weight) in ["a", "b", "c"].into_iter().zip(weights) {
        let share = f64::from(weight) / f64::from(weights.iter().sum::<u32>());
        let deviation = (total * share * (1.0 - share)).sqrt();
        let count =
            f64::from(u32::try_from(counts.get(name).copied().unwrap_or_default()).unwrap());
        assert!(
            (count - total * share).abs() <= 5.0 * deviation,
            "{what}: {name} answered {count} of {total}, its share is {:.1}: {counts:?}",
            total * share
        );
    }
    assert_eq!(
        counts.len(),
        weights.iter().filter(|weight| **weight > 0).count(),
        "{what}: {counts:?}"
    );
}

#[test]
fn round_robin_takes_turns_by_weight_interleaved() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    for (weights, expected) in [
        ([5, 1, 1], "aabacaa"),
        ([1, 1, 1], "abc"),
        ([10, 10, 0], "ab"),
    ] {
        for to in TARGETS {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                load(
                    &topology.balancer,
                    &service("scheduler round-robin", weights),
                );
                let flows = topology.sources(at(to), u32::try_from(3 * expected.len()).unwrap());
                let answers = ask_all(&topology.client, protocol, &flows, at(to)).concat();
                assert_eq!(answers, expected.repeat(3), "{weights:?} {protocol:?} {to}");
            }
        }
    }
}

#[test]
fn round_robin_is_what_nat_does_if_nothing_is_said() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    load(&topology.balancer, &service("", [1, 1, 1]));
    let flows = topology.sources(at(TARGETS[0]), 6);
    assert_eq!(
        ask_all(&topology.client, Protocol::Tcp, &flows, at(TARGETS[0])).concat(),
        "abcabc"
    );
}

#[test]
fn services_take_turns_independently() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    load(
        &topology.balancer,
        "pool web { server 10.20.0.11; server 10.20.0.12; server 10.20.0.13 }
         service one { vip 192.0.2.10 tcp 80; pool web }
         service two { vip 192.0.2.53 tcp 80; pool web }",
    );
    let turn = |to| who(&topology.client, Protocol::Tcp, to);
    let (one, two) = ("192.0.2.10:80", "192.0.2.53:80");
    let answers = [
        turn(one),
        turn(two),
        turn(one),
        turn(two),
        turn(two),
        turn(one),
    ]
    .concat();
    assert_eq!(answers, "aabbcc");
}

#[test]
fn random_and_hashed_shares_follow_the_weights() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    let weights = [3, 1, 2];
    for scheduler in ["random", "hash", "maglev table 1021"] {
        load(
            &topology.balancer,
            &service(&format!("scheduler {scheduler}"), weights),
        );
        for to in TARGETS {
            let flows = topology.sources(at(to), sampled(400, 10_000));
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let answers = ask_all(&topology.client, protocol, &flows, at(to));
                assert_shares(
                    &answers,
                    weights,
                    &format!("{scheduler}, {protocol:?} {to}"),
                );
            }
        }
    }
}

#[test]
fn hash_by_source_keeps_an_address_together_and_by_port_does_not() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    for scheduler in ["hash", "maglev"] {
        for to in TARGETS {
            let flows = || -> Vec<_> {
                let mut from = topology.source(at(to));
                (3000..3060)
                    .map(|port| {
                        from.set_port(port);
                        from
                    })
                    .collect()
            };
            load(
                &topology.balancer,
                &service(&format!("scheduler {scheduler} by source"), [1, 1, 1]),
            );
            let together = ask_all(&topology.client, Protocol::Udp, &flows(), at(to));
            assert_eq!(tally(&together).len(), 1, "{scheduler} {to}: {together:?}");
            load(
                &topology.balancer,
                &service(&format!("scheduler {scheduler} by source-port"), [1, 1, 1]),
            );
            let apart = ask_all(&topology.client, Protocol::Udp, &flows(), at(to));
            assert_shares(&apart, [1, 1, 1], &format!("{scheduler} {to}"));
        }
    }
}

#[test]
fn a_reload_moves_no_hashed_client() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 3);
    let _serving = topology.serve(&[80]);
    for scheduler in ["hash", "maglev"] {
        let file = service(
            &format!("mode dr on eth0 via eth1\nscheduler {scheduler}"),
            [3, 1, 2],
        );
        let flows = topology.sources(at(TARGETS[0]), 100);
        load(&topology.balancer, &file);
        let before = ask_all(&topology.client, Protocol::Udp, &flows, at(TARGETS[0]));
        load(&topology.balancer, &file);
        assert_eq!(
            ask_all(&topology.client, Protocol::Udp, &flows, at(TARGETS[0])),
            before
        );
    }
}

#[test]
fn maglev_moves_few_clients_of_the_servers_that_stay() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 5);
    let _serving = topology.serve(&[80]);
    let file = |state: &str| {
        format!(
            "service www {{
                vip 192.0.2.10 udp 80
                mode dr on eth0 via eth1
                scheduler maglev table 16381
                server 10.20.0.[11-14]
                server 10.20.0.15 {state}
            }}"
        )
    };
    let flows = topology.sources(at(TARGETS[0]), sampled(500, 10_000));
    load(&topology.balancer, &file(""));
    let before = ask_all(&topology.client, Protocol::Udp, &flows, at(TARGETS[0]));
    load(&topology.balancer, &file("down"));
    let after = ask_all(&topology.client, Protocol::Udp, &flows, at(TARGETS[0]));
    let stayed = before.iter().filter(|server| *server != "e").count();
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| *before != "e" && before != after)
        .count();
    assert!(
        stayed > 0 && moved * 20 < stayed,
        "{moved} of {stayed} moved"
    );
    assert!(!after.iter().any(|server| server == "e"));
}
