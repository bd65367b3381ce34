//! What somebody else changed in flbc's tables: told, and put right.

use super::*;
use crate::diff::{ObservedChain, ObservedTable};
use crate::kernel::fake::Other;

const FILE: &str = "
service www { vip 192.0.2.10 tcp 80, 443; server a 10.20.0.11; server b 10.20.0.12:8080 weight 2 }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; scheduler maglev table 13; server 10.20.0.11; server 10.20.0.12 }
";

fn inet(has: &mut Observed) -> &mut ObservedTable {
    has.inet.as_mut().unwrap()
}

fn chain<'a>(table: &'a mut ObservedTable, name: &str) -> &'a mut ObservedChain {
    let mut chains = table.chains.iter_mut();
    chains.find(|chain| *chain.name == *name).unwrap()
}

/// A rule once more, before or behind all others.
fn again(chain: &mut ObservedChain, first: bool) {
    let mut rule = chain.rules[0].clone();
    rule.handle = 9999;
    let place = if first { 0 } else { chain.rules.len() };
    chain.rules.insert(place, rule);
}

fn empty(table: &mut Option<ObservedTable>, set: &str) {
    let mut sets = table.as_mut().unwrap().sets.iter_mut();
    let set = sets.find(|one| *one.name == *set).unwrap();
    set.elements.clear();
    set.counters.clear();
}

/// What somebody does, and what is told of it.
const BY_HAND: [(Other, &str); 13] = [
    (
        |has| again(chain(inet(has), "input"), false),
        "extra rule 3 of chain `input` in inet",
    ),
    (
        |has| again(chain(inet(has), "dispatch"), true),
        "of chain `dispatch` in inet",
    ),
    (
        |has| chain(inet(has), "output").rules.clear(),
        "missing rule 1 of chain `output` in inet",
    ),
    (
        |has| {
            inet(has).chains.push(ObservedChain {
                name: "stray".into(),
                hook: None,
                rules: Vec::new(),
            });
        },
        "extra chain `stray` in inet",
    ),
    (
        |has| {
            let mut set = inet(has).sets[0].clone();
            set.name = "stray".into();
            inet(has).sets.push(set);
        },
        "extra set `stray` in inet",
    ),
    (
        |has| empty(&mut has.netdev, "slot"),
        "missing element of set `slot` in netdev: slot 3 of service dns",
    ),
    (
        |has| empty(&mut has.inet, "svc4"),
        "missing element of set `svc4` in inet: VIP 192.0.2.10 tcp 443 of service www",
    ),
    (
        |has| empty(&mut has.inet, "addr4p"),
        "missing element of set `addr4p` in inet: server b of www",
    ),
    (
        |has| empty(&mut has.inet, "local4"),
        "missing element of set `local4` in inet: VIP 192.0.2.10 tcp 443",
    ),
    (
        |has| {
            empty(&mut has.inet, "svc4");
            inet(has)
                .chains
                .retain(|chain| &*chain.name != "svc_www_v4");
        },
        "missing chain `svc_www_v4` in inet",
    ),
    (|has| has.netdev = None, "missing table in netdev"),
    // Its rules are all there, and no packet meets them.
    (|has| inet(has).dormant = true, "dormant table in inet"),
    (
        |has| {
            let netdev = has.netdev.as_mut().unwrap();
            netdev.chains.retain(|chain| chain.hook.is_none());
            netdev.dormant = true;
        },
        "dormant table in netdev",
    ),
];

#[test]
fn what_somebody_changed_by_hand_is_told_and_put_right() {
    let mut host = Host::new();
    host.apply(FILE);
    let whole = host.has();
    for (by_hand, told) in BY_HAND {
        host.by_hand(by_hand);
        let applied = host.try_apply(FILE).unwrap();
        let warnings = applied.warnings();
        assert!(
            warnings
                .iter()
                .any(|one| one.starts_with("changed by somebody else: ") && one.ends_with(told)),
            "{told}: {warnings:?}"
        );
        same(&host.has(), &whole);
        assert!(host.apply(FILE).is_nothing(), "{told}");
    }
}

#[test]
fn what_somebody_changed_is_put_right_though_nothing_is_remembered() {
    let mut host = Host::new();
    host.apply(FILE);
    let whole = host.has();
    for (by_hand, told) in BY_HAND {
        host.by_hand(by_hand);
        host.forget();
        let applied = host.apply(FILE);
        assert!(
            applied.drift.is_empty() && !applied.totals.is_empty(),
            "{told}"
        );
        same(&host.has(), &whole);
    }
}

#[test]
fn what_somebody_changed_is_told_by_a_dry_run_and_stays() {
    let mut host = Host::new();
    host.apply(FILE);
    host.by_hand(|has| chain(inet(has), "output").rules.clear());
    let before = host.has();
    for _ in 0..2 {
        let (dry, _) = host.run(FILE, (false, false, None));
        let dry = dry.unwrap();
        assert!(!dry.drift.is_empty());
        assert!(!dry.is_nothing(), "something would be done");
        assert_eq!(host.has(), before);
    }
}

#[test]
fn what_others_do_to_their_own_is_no_drift() {
    let mut host = Host::new();
    host.apply(FILE);
    let before = host.has();
    host.by_hand(|_| {});
    let asked = host.kernel.asked;
    assert!(host.apply(FILE).is_nothing());
    assert_eq!(host.kernel.asked, asked, "nothing was sent");
    assert_eq!(host.has().inet, before.inet);
    host.by_hand(|_| {});
    assert_eq!(
        host.apply(&FILE.replace("weight 2", "weight 3"))
            .difference
            .lines
            .len(),
        1
    );
}

#[test]
fn what_somebody_changes_right_behind_a_transaction_is_found_by_the_next_run() {
    let mut host = Host::new();
    host.kernel.behind = vec![|has| chain(inet(has), "output").rules.clear()];
    host.apply(FILE);
    let warnings = host.try_apply(FILE).unwrap().warnings();
    assert!(
        warnings[0].starts_with("changed by somebody else: missing rule 1 of chain `output` "),
        "{warnings:?}"
    );
    let mut fresh = Host::new();
    fresh.apply(FILE);
    same(&host.has(), &fresh.has());
    // One table of two, too.
    host.kernel.behind = vec![|has| has.netdev = None];
    host.apply(&FILE.replace("weight 2", "weight 3"));
    let warnings = host.try_apply(FILE).unwrap().warnings();
    assert_eq!(
        warnings,
        ["changed by somebody else: missing table in netdev"]
    );
    same(&host.has(), &fresh.has());
}

#[test]
fn of_many_changes_some_are_told_and_the_others_counted() {
    let mut host = Host::new();
    let many = services(20);
    host.apply(&many);
    host.by_hand(|has| empty(&mut has.inet, "svc4"));
    let warnings = host.try_apply(&many).unwrap().warnings();
    assert_eq!(warnings.len(), 11);
    assert_eq!(warnings[10], "changed by somebody else: and 10 more");
}

#[test]
fn a_hash_is_not_taken_for_the_number_of_a_service() {
    // A rule that turns somebody away sets a hash. That of this service could be the number of one that persists.
    const FILE: &str = "service n2913 { vip 192.0.2.10 tcp 80; deny from 10.9.0.0/16; persist 1h; server a 10.20.0.11; server b 10.20.0.12 }";
    let mut host = Host::new();
    host.apply(FILE);
    let whole = host.has();
    host.by_hand(|has| again(chain(inet(has), "input"), false));
    host.try_apply(FILE).unwrap();
    same(&host.has(), &whole);
}

#[test]
fn slots_that_somebody_moved_out_of_their_range_come_back() {
    const FILE: &str =
        "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }";
    let mut host = Host::new();
    host.apply(FILE);
    let whole = host.has();
    host.by_hand(|has| {
        // The rule that draws, with the last numbers that there are as its slots.
        let first = 0x0010_0000_u32.to_be_bytes();
        let last = 0xffff_fffe_u32.to_be_bytes();
        let rule = &mut chain(inet(has), "svc_www_v4").rules[0].body.expressions;
        let places = rule.windows(4).enumerate();
        let places: Vec<usize> = places
            .filter(|(_, w)| *w == first)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(places.len(), 1);
        rule[places[0]..places[0] + 4].copy_from_slice(&last);
        let slot = inet(has)
            .sets
            .iter_mut()
            .find(|set| &*set.name == "slot")
            .unwrap();
        let mut extra = slot.elements.clone();
        for (element, number) in extra.iter_mut().zip([0xffff_fffe_u32, 0xffff_ffff]) {
            element.key = Bytes::new(&number.to_ne_bytes()).unwrap();
        }
        slot.elements.extend(extra);
    });
    host.forget();
    host.apply(FILE);
    same(&host.has(), &whole);
}
