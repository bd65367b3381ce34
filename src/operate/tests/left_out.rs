//! Services whose interface is not there are left out, and come by themselves.

use super::*;
use crate::diagnostic::{Code, Exit};
use crate::model::State;

const FILE: &str = "
    service web { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }
    service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; server a 10.20.0.11 }
    service log { vip 192.0.2.54 udp 514; mode dr on eth0; server a 10.20.0.11; server b 10.20.0.12 via eth1 }";

const DRAIN: Demand = Demand::State(State::Drain);

/// The names of services that the kernel has.
fn there_are(host: &Host) -> Vec<String> {
    View::of(&host.kernel.observed)
        .services
        .keys()
        .cloned()
        .collect()
}

fn left_out(sink: &Diagnostics) -> Vec<String> {
    let faults = sink.sorted();
    let left = faults.iter().filter(|one| one.code == Code::LeftOut);
    left.map(|one| one.message.clone()).collect()
}

fn without(host: &mut Host, interface: &str) {
    host.kernel.interfaces.remove(interface);
    // Its chain goes with it.
    host.by_hand(|has| {
        if let Some(netdev) = &mut has.netdev {
            netdev.chains.retain(|chain| {
                let hook = chain.hook.as_ref();
                hook.is_none_or(|hook| !hook.devices.iter().any(|one| **one == *interface))
            });
        }
    });
}

#[test]
fn at_boot_all_others_are_applied_and_the_rest_comes_with_the_next_apply() {
    for missing in ["eth1", "eth0"] {
        let mut host = Host::new();
        let number = host.kernel.interfaces.remove(missing).unwrap();
        let (applied, sink) = host.run(FILE, (true, false, None));
        let applied = applied.unwrap();
        assert_eq!((applied.exit(), applied.left_out), (Exit::InPart, 2));
        assert_eq!(there_are(&host), ["web"]);
        assert_eq!(
            left_out(&sink),
            ["dns", "log"].map(|name| format!(
                "Service `{name}` is left out: there is no interface `{missing}` on this host"
            ))
        );
        // At rest it is so still, and said each time.
        for commit in [true, false] {
            let (again, sink) = host.run(FILE, (commit, false, None));
            let again = again.unwrap();
            assert!(again.is_nothing());
            assert_eq!((again.exit(), left_out(&sink).len()), (Exit::InPart, 2));
        }
        host.kernel.interfaces.insert(missing.into(), number);
        let applied = host.apply(FILE);
        assert_eq!(applied.exit(), Exit::Fine);
        assert_eq!(applied.difference.lines, ["+ service dns", "+ service log"]);
        assert_eq!(there_are(&host).len(), 3);
        assert!(host.apply(FILE).is_nothing());
    }
}

#[test]
fn a_server_of_another_service_can_be_set() {
    for notes in [true, false] {
        let mut host = Host::new();
        host.apply(FILE);
        without(&mut host, "eth1");
        let set = if notes {
            host.try_set(None, "web a", DRAIN)
        } else {
            host.forget();
            host.try_set(Some(FILE), "web a", DRAIN)
        };
        let set = set.unwrap();
        assert_eq!(
            (set.applied.exit(), set.applied.left_out),
            (Exit::InPart, 2)
        );
        assert_eq!(there_are(&host), ["web"]);
        // Nothing of what is left out is forgotten.
        host.kernel.interfaces.insert("eth1".into(), 3);
        let kept = host.run(FILE, (true, true, None)).0.unwrap();
        assert_eq!(kept.difference.lines, ["+ service dns", "+ service log"]);
        assert_eq!(host.wishes().len(), 1);
    }
}

#[test]
fn what_was_set_in_a_service_that_is_left_out_is_there_when_it_comes_back() {
    let mut host = Host::new();
    host.apply(FILE);
    host.set("log b", DRAIN);
    without(&mut host, "eth1");
    host.try_set(None, "web a", DRAIN).unwrap();
    assert_eq!(host.wishes().len(), 2);
    host.kernel.interfaces.insert("eth1".into(), 7);
    let kept = host.run(FILE, (true, true, None)).0.unwrap();
    assert!(kept.drift.is_empty(), "{:?}", kept.drift);
    let known = host.tables().recall().unwrap();
    let marks: Vec<String> = known
        .effective
        .marks()
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(marks, ["b of log", "a of web"]);
}

#[test]
fn a_mistake_takes_no_service_away_that_works() {
    let mut host = Host::new();
    host.apply(FILE);
    let before = host.has();
    let mistaken = FILE.replace("mode dr on eth0 via eth1", "mode dr on eht0 via eth1");
    for commit in [true, false] {
        let refused = host.run(&mistaken, (commit, false, None)).0.unwrap_err();
        assert_eq!(refused.exit(), Exit::Refused, "{refused}");
    }
    same(&host.has(), &before);
    assert!(host.apply(FILE).is_nothing());
}
