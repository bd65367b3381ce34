//! The difference, applied: to a kernel in memory and to the real one.

use std::sync::Arc;

use flbc::diff::{DriftKind, Drifted, Observed, diff, drift};
use flbc::emit::netlink::change::{Change, Step};
use flbc::emit::netlink::{Desired, Interfaces, desired};
#[cfg(debug_assertions)]
use flbc::kernel::fake::Fake;
use flbc::kernel::{Kernel, Linux};
#[cfg(debug_assertions)]
use flbc::kernel::{KernelError, Reason};
use flbc::model::Model;
use flbc::ruleset::Ruleset;
use flbc::source::Sources;
use flbc::view::numbers;
#[cfg(debug_assertions)]
use rustix::io::Errno;

use crate::everything;
use crate::namespace::{fresh_listing, inside, interface, listing, objects, run};
use crate::random::{Author, compile};

fn id() -> Arc<str> {
    Arc::from("flbc test")
}

/// The wanted state for a model, with the numbers that the kernel has.
fn wanted(model: &Model, observed: &Observed, interfaces: &Interfaces) -> (Ruleset, Desired) {
    let ruleset = compile(model, &numbers(observed));
    let desired = desired(ruleset.clone(), interfaces).expect("all interfaces are there");
    (ruleset, desired)
}

/// Applies a model; returns what was changed.
fn apply(kernel: &mut impl Kernel, model: &Model) -> (Ruleset, Vec<Change>) {
    let interfaces = kernel.interfaces().expect("interfaces");
    let observed = kernel.observe("flbc").expect("the kernel's tables");
    let (ruleset, desired) = wanted(model, &observed, &interfaces);
    let changes = diff(&observed, desired.clone(), &id());
    let checked = kernel.check("flbc", &changes);
    checked.unwrap_or_else(|e| panic!("check: {e:?}\n{changes:#?}"));
    let before = observed.generation;
    let committed = kernel
        .commit("flbc", &changes, before)
        .unwrap_or_else(|e| panic!("commit: {e:?}\n{changes:#?}"));
    let now = kernel.observe("flbc").expect("the kernel's tables");
    assert_eq!(now.generation, committed.generation, "nobody else is here");
    let again = diff(&now, desired.clone(), &id());
    assert_eq!(again, [], "nothing is left to do");
    let mut followed = observed;
    followed.apply(&changes).expect("the changes fit");
    followed.generation = committed.generation;
    kernel
        .read_handles("flbc", &mut followed)
        .expect("the kernel has these rules");
    assert_eq!(drift(&followed, &now), [], "what flbc believes is there");
    assert!(!followed.lacks_handles());
    (ruleset, changes)
}

fn interfaces() -> Interfaces {
    [("lo".into(), 1), ("eth0".into(), 2), ("eth1".into(), 3)].into()
}

// A release has no kernel in memory.
#[cfg(debug_assertions)]
#[test]
fn a_kernel_in_memory_follows_every_edit() {
    let (_, span) = everything::source();
    for seed in 0..150 {
        let mut author = Author::new(seed, span, true);
        let mut kernel = Fake {
            interfaces: interfaces(),
            ..Fake::default()
        };
        let mut model = author.model();
        for _ in 0..6 {
            apply(&mut kernel, &model);
            model = author.edit(&model);
        }
        assert!(kernel.committed > 0 || model.services.len() < 3);
    }
}

#[test]
fn rules_whose_numbers_are_unknown_are_replaced_too() {
    let (_, span) = everything::source();
    for seed in 0..60 {
        let mut author = Author::new(seed, span, true);
        let mut state = Observed::default();
        let mut model = author.model();
        for _ in 0..5 {
            let (_, desired) = wanted(&model, &state, &interfaces());
            let changes = diff(&state, desired.clone(), &id());
            let by_number = |c: &Change| {
                let Step::AddRule { before, .. } = &c.step else {
                    return matches!(c.step, Step::DeleteRule { .. });
                };
                before.is_some()
            };
            assert!(!changes.iter().any(by_number), "no number is known");
            state.apply(&changes).expect("the changes fit");
            assert_eq!(diff(&state, desired.clone(), &id()), [], "seed {seed}");
            model = author.edit(&model);
        }
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_refused_change_leaves_all_as_it_was() {
    let (_, span) = everything::source();
    let mut kernel = Fake {
        interfaces: interfaces(),
        ..Fake::default()
    };
    let ruleset = everything::ruleset(span, "eth0", "eth1");
    let desired = desired(ruleset.clone(), &interfaces()).expect("all interfaces are there");
    let changes = diff(&Observed::default(), desired.clone(), &id());
    assert!(changes.len() > 50);
    for place in 0..changes.len() {
        kernel.refuse = Some((kernel.asked + place, Errno::NOMEM));
        let refused = kernel.commit("flbc", &changes, 0);
        let Err(KernelError::Refused(refusals)) = refused else {
            panic!("{place}: {refused:?}");
        };
        assert_eq!(refusals[0].change, place);
        assert_eq!(refusals[0].reason, Reason::OutOfMemory);
        assert_eq!(kernel.observed, Observed::default());
    }
}

#[test]
fn the_kernel_follows_every_edit() {
    inside(|| {
        interface("eth0");
        interface("eth1");
        let (sources, span): (Sources, _) = everything::source();
        for seed in 0..12 {
            let mut author = Author::new(seed, span, true);
            let mut kernel = Linux::open().expect("a socket");
            let mut model = author.model();
            for _ in 0..5 {
                let (ruleset, _) = apply(&mut kernel, &model);
                let fresh = fresh_listing(&everything::text(&ruleset, &sources));
                assert_eq!(objects(&listing()), objects(&fresh), "seed {seed}");
                model = author.edit(&model);
            }
            run("nft", &["flush", "ruleset"], "");
        }
    });
}

#[test]
fn whoever_loaded_it_nothing_is_left_to_do() {
    inside(|| {
        interface("eth0");
        interface("eth1");
        let (sources, span) = everything::source();
        let ruleset = everything::ruleset(span, "eth0", "eth1");
        let mut kernel = Linux::open().expect("a socket");
        let interfaces = kernel.interfaces().expect("interfaces");
        let desired = desired(ruleset.clone(), &interfaces).expect("all interfaces are there");
        for (arguments, input) in [
            (vec!["-f", "-"], everything::text(&ruleset, &sources)),
            (vec!["-j", "-f", "-"], everything::json(&ruleset)),
        ] {
            run("nft", &arguments, &input);
            let observed = kernel.observe("flbc").expect("the kernel's tables");
            assert_eq!(diff(&observed, desired.clone(), &id()), [], "{arguments:?}");
            run("nft", &["flush", "ruleset"], "");
        }
    });
}

#[test]
fn what_did_not_change_is_not_touched() {
    inside(|| {
        let (_, span) = everything::source();
        let mut author = Author::new(7, span, false);
        let mut model = author.model();
        while model.services.len() < 4 {
            model = author.edit(&model);
        }
        let mut kernel = Linux::open().expect("a socket");
        apply(&mut kernel, &model);
        let before = kernel.observe("flbc").expect("the kernel's tables");
        // One server more in one service: no other service's rule may be made anew.
        let gone = model.services.remove(0);
        let (_, changes) = apply(&mut kernel, &model);
        for change in &changes {
            if let Step::AddRule { chain, .. } | Step::FlushChain { chain } = &change.step {
                let own = format!("svc_{}_", gone.name);
                let foreign = chain.starts_with("svc_") && !chain.starts_with(&own);
                assert!(!foreign, "{change}");
            }
        }
        let after = kernel.observe("flbc").expect("the kernel's tables");
        let (before, after) = (before.inet.expect("inet"), after.inet.expect("inet"));
        for chain in after.chains.iter().filter(|c| c.name.starts_with("svc_")) {
            let old = before.chains.iter().find(|old| old.name == chain.name);
            assert_eq!(old, Some(chain), "the same rule, the same handle");
        }
    });
}

#[test]
fn a_change_by_hand_is_noticed_and_put_right() {
    inside(|| {
        let (mut kernel, desired) = everything::wanted();
        let changes = diff(&Observed::default(), desired.clone(), &id());
        let generation = kernel.generation().expect("a generation");
        kernel.commit("flbc", &changes, generation).expect("loads");
        let whole = listing();
        let left = kernel.observe("flbc").expect("the kernel's tables");
        for (command, what, how) in [
            (
                "add rule inet flbc input drop",
                Drifted::Rule("input".into(), 2),
                DriftKind::Extra,
            ),
            (
                "insert rule inet flbc input counter",
                Drifted::Rule("input".into(), 1),
                DriftKind::Extra,
            ),
            (
                "flush chain inet flbc output",
                Drifted::Rule("output".into(), 1),
                DriftKind::Missing,
            ),
            (
                "add chain inet flbc stray",
                Drifted::Chain("stray".into()),
                DriftKind::Extra,
            ),
            (
                "add chain inet flbc input { policy drop; }",
                Drifted::Chain("input".into()),
                DriftKind::Different,
            ),
            (
                "add set inet flbc stray { type ipv4_addr; }",
                Drifted::Set("stray".into()),
                DriftKind::Extra,
            ),
            (
                "delete table netdev flbc",
                Drifted::Table,
                DriftKind::Missing,
            ),
        ] {
            run("nft", &["-f", "-"], &format!("{command}\n"));
            let found = kernel.observe("flbc").expect("the kernel's tables");
            let told = drift(&left, &found);
            assert!(
                told.iter().any(|d| d.what == what && d.how == how),
                "{command}: {told:?}"
            );
            let changes = diff(&found, desired.clone(), &id());
            kernel
                .commit("flbc", &changes, found.generation)
                .unwrap_or_else(|e| panic!("{command}: {e:?}"));
            assert_eq!(objects(&listing()), objects(&whole), "{command}");
        }
        for (command, how) in [
            (
                "add element inet flbc slot { 0x01000009 : 0x1 }",
                DriftKind::Extra,
            ),
            (
                "delete element inet flbc slot { 0x01000000 : 0x1 }",
                DriftKind::Missing,
            ),
            (
                "delete element inet flbc port { 0x2 : 8080 }\nadd element inet flbc port { 0x2 : 81 }",
                DriftKind::Different,
            ),
            (
                "delete element inet flbc svc4_range_tcp { 192.0.2.1 . 5000-5999 }",
                DriftKind::Missing,
            ),
        ] {
            run("nft", &["-f", "-"], &format!("{command}\n"));
            let found = kernel.observe("flbc").expect("the kernel's tables");
            let told = drift(&left, &found);
            let element = told
                .iter()
                .any(|d| matches!(d.what, Drifted::Element(..)) && d.how == how);
            assert!(element && told.len() == 1, "{command}: {told:?}");
            let changes = diff(&found, desired.clone(), &id());
            kernel
                .commit("flbc", &changes, found.generation)
                .unwrap_or_else(|e| panic!("{command}: {e:?}"));
            assert_eq!(objects(&listing()), objects(&whole), "{command}");
        }
    });
}
