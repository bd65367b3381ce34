//! What the kernel does not take is told in terms of the file.

use std::sync::Arc;

use flbc::diff::{Observed, diff};
use flbc::emit::netlink::change::{Change, Step};
use flbc::emit::netlink::{Desired, MissingInterface, RuleBody, TableFamily, desired};
use flbc::kernel::{Kernel, KernelError, Linux, Reason, Refusal};
use flbc::ruleset::{Data, Key, Ruleset};
use flbc::source::Span;

use crate::everything;
use crate::namespace::{inside, listing, run, unprivileged};

fn id() -> Arc<str> {
    Arc::from("flbc test")
}

fn inet_only(span: Span) -> Ruleset {
    Ruleset {
        netdev: None,
        ..everything::ruleset(span, "lo", "lo")
    }
}

fn loaded(kernel: &mut Linux, ruleset: &Ruleset) -> (Observed, Desired) {
    let interfaces = kernel.interfaces().expect("interfaces");
    let desired = desired(ruleset.clone(), &interfaces).expect("all interfaces are there");
    let observed = kernel.observe("flbc").expect("the kernel's tables");
    let changes = diff(&observed, desired.clone(), &id());
    kernel
        .commit("flbc", &changes, observed.generation)
        .expect("loads");
    (
        kernel.observe("flbc").expect("the kernel's tables"),
        desired,
    )
}

fn refusals(result: Result<(), KernelError>) -> Vec<Refusal> {
    match result {
        Err(KernelError::Refused(refusals)) => refusals,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_missing_interface_is_named_once() {
    let (_, span) = everything::source();
    let ruleset = everything::ruleset(span, "eth0", "eth9");
    let missing = desired(ruleset.clone(), &[("lo".into(), 1)].into());
    let expected = ["eth0", "eth9"].map(|name| MissingInterface {
        name: name.into(),
        origin: Some(span),
    });
    assert_eq!(missing, Err(expected.to_vec()));
}

#[test]
fn the_refused_element_is_named() {
    inside(|| {
        let (_, span) = everything::source();
        let mut kernel = Linux::open().expect("a socket");
        let (observed, _) = loaded(&mut kernel, &inet_only(span));
        let before = listing();
        let inet = observed.inet.as_ref().expect("inet");
        let old = inet.set("slot").expect("slot").elements[0].clone();
        // Enough for several messages; one in the last has another value than the kernel's.
        let place = |at: u32| Span { start: at, ..span };
        let mut elements = Vec::new();
        for at in 0..3000_u32 {
            let mut element = old.clone();
            let key = if at == 2500 {
                0x0100_0000
            } else {
                0x0200_0000 + at
            };
            element.key = flbc::emit::netlink::Bytes::new(&key.to_ne_bytes()).expect("short");
            if at == 2500 {
                let other = flbc::emit::netlink::Bytes::new(&77_u32.to_ne_bytes());
                element.data = flbc::emit::netlink::Data::Value(other.expect("short"));
            }
            elements.push(element);
        }
        let step = Step::AddElements {
            set: "slot".into(),
            origins: (0..3000).map(place).collect(),
            elements: elements.clone(),
            counters: Vec::new(),
        };
        let family = TableFamily::Inet;
        let changes = [Change { family, step }];
        let full = refusals(kernel.check("flbc", &changes));
        assert!(full.iter().any(|r| r.reason == Reason::SetFull), "{full:?}");
        let few = Step::AddElements {
            set: "slot".into(),
            origins: (0..3000).map(place).skip(2000).take(900).collect(),
            elements: elements.into_iter().skip(2000).take(900).collect(),
            counters: Vec::new(),
        };
        let changes = [Change { family, step: few }];
        for refused in [
            kernel.check("flbc", &changes),
            kernel
                .commit("flbc", &changes, observed.generation)
                .map(drop),
        ] {
            let refused = refusals(refused);
            assert_eq!(refused.len(), 1, "{refused:?}");
            assert_eq!(refused[0].reason, Reason::Exists);
            assert_eq!(refused[0].element, Some(500));
            assert_eq!(refused[0].origin, Some(place(2500)));
        }
        assert_eq!(listing(), before, "nothing was done");
    });
}

#[test]
fn reasons_are_told_apart() {
    inside(|| {
        let (_, span) = everything::source();
        let mut kernel = Linux::open().expect("a socket");
        let (observed, _) = loaded(&mut kernel, &inet_only(span));
        let family = TableFamily::Inet;
        let before = listing();
        let busy = Step::DeleteChain {
            chain: "translate".into(),
        };
        let busy_set = Step::DeleteSet { set: "slot".into() };
        let missing = Step::FlushChain {
            chain: "nowhere".into(),
        };
        for (step, reason) in [
            (busy, Reason::Busy),
            (busy_set, Reason::Busy),
            (missing, Reason::Missing),
        ] {
            let changes = [Change { family, step }];
            let refused = refusals(kernel.check("flbc", &changes));
            assert_eq!(refused[0].change, 0);
            assert_eq!(refused[0].reason, reason, "{refused:?}");
        }
        // A rule with an expression that no kernel has.
        let inet = observed.inet.as_ref().expect("inet");
        let chain = inet.chains.iter().find(|c| &*c.name == "turn");
        let mut body = chain.expect("turn").rules[0].body.clone();
        let name = b"numgen";
        let at = body.expressions.windows(6).position(|w| w == name);
        let at = at.expect("it draws a number");
        body.expressions[at..at + 6].copy_from_slice(b"flbcxx");
        let step = Step::AddRule {
            chain: "turn".into(),
            before: None,
            body,
            origin: Some(span),
        };
        let refused = refusals(kernel.check("flbc", &[Change { family, step }]));
        let module = Reason::NoModule("nft_flbcxx".to_owned());
        assert_eq!(refused[0].reason, module, "{refused:?}");
        assert_eq!(refused[0].origin, Some(span));
        // An expression that it has, in a form that it does not take: `meta` with a key that there is not.
        let mut chains = inet.chains.iter().flat_map(|chain| &chain.rules);
        let step = Step::AddRule {
            chain: "turn".into(),
            before: None,
            body: chains
                .find_map(|rule| with_unknown_meta(&rule.body))
                .expect("a rule asks for the protocol"),
            origin: Some(span),
        };
        let refused = refusals(kernel.check("flbc", &[Change { family, step }]));
        let unsupported = Reason::Unsupported("`meta`".to_owned());
        assert_eq!(refused[0].reason, unsupported, "{refused:?}");
        // Another generation.
        let step = Step::DeleteTable;
        let changes = [Change { family, step }];
        let stale = kernel.commit("flbc", &changes, observed.generation - 1);
        assert_eq!(stale, Err(KernelError::Changed));
        assert_eq!(listing(), before, "nothing was done");
    });
}

/// A rule that loads `meta l4proto`, with a key that no kernel has instead.
fn with_unknown_meta(rule: &RuleBody) -> Option<RuleBody> {
    let mut body = rule.clone();
    // `NFTA_META_KEY`, of eight bytes with its header: `NFT_META_L4PROTO`.
    let mut attribute = 8_u16.to_ne_bytes().to_vec();
    attribute.extend(2_u16.to_ne_bytes());
    attribute.extend(16_u32.to_be_bytes());
    let at = body.expressions.windows(8).position(|w| w == attribute)?;
    body.expressions[at + 7] = 250;
    body.protocols.is_none().then_some(body)
}

#[test]
fn a_loop_of_chains_is_found_without_committing() {
    inside(|| {
        let (_, span) = everything::source();
        let mut kernel = Linux::open().expect("a socket");
        let mut ruleset = inet_only(span);
        let (observed, _) = loaded(&mut kernel, &ruleset);
        let inet = ruleset.inet.as_mut().expect("inet");
        let any = inet.sets.iter_mut().find(|s| &*s.name == "svc4_any");
        let element = &mut any.expect("svc4_any").elements[0];
        assert!(matches!(element.key, Key::Vip(..)));
        element.data = Some(Data::Goto("dispatch".into()));
        let desired = desired(ruleset.clone(), &[].into()).expect("no interface is named");
        let changes = diff(&observed, desired.clone(), &id());
        assert!(!changes.is_empty());
        let before = listing();
        let checked = kernel.check("flbc", &changes);
        assert!(checked.is_err(), "{checked:?}");
        let committed = kernel.commit("flbc", &changes, observed.generation);
        assert!(committed.is_err(), "{committed:?}");
        assert_eq!(listing(), before, "nothing was done");
    });
}

#[test]
fn a_check_changes_nothing() {
    inside(|| {
        let (mut kernel, desired) = everything::wanted();
        let changes = diff(&Observed::default(), desired.clone(), &id());
        let before = kernel.generation().expect("a generation");
        kernel
            .check("flbc", &changes)
            .expect("the kernel would take it");
        assert_eq!(kernel.generation(), Ok(before));
        assert_eq!(listing(), "");
    });
}

#[test]
fn chains_of_others_are_listed() {
    inside(|| {
        let mut kernel = Linux::open().expect("a socket");
        let foreign = "table ip filter {
                chain passing { type filter hook forward priority 7; policy drop;
                }
                chain plain {
                }
            }
            table netdev other {
                chain early { type filter hook ingress device \"lo\" priority -500;
                }
            }
            table arp other {
                chain out { type filter hook output priority 0;
                }
            }
            table inet flbc {
                chain own { type filter hook input priority 0;
                }
            }\n";
        run("nft", &["-f", "-"], foreign);
        let mut found = kernel.base_chains("flbc").expect("others' chains");
        found.sort_by(|a, b| a.family.cmp(b.family));
        let told: Vec<_> = found
            .iter()
            .map(|c| (c.family, &*c.chain, &*c.kind, c.hook, c.priority, c.accepts))
            .collect();
        let expected = [
            ("arp", "out", "filter", "output", 0, true),
            ("ip", "passing", "filter", "forward", 7, false),
            ("netdev", "early", "filter", "ingress", -500, true),
        ];
        assert_eq!(told, expected);
        assert_eq!(found[2].devices, ["lo"]);
    });
}

#[test]
fn without_privilege_that_is_said() {
    unprivileged(|| {
        let (_, span) = everything::source();
        let mut kernel = Linux::open().expect("a socket");
        let desired = desired(inet_only(span), &[].into()).expect("no interface is named");
        let changes = diff(&Observed::default(), desired.clone(), &id());
        assert_eq!(
            kernel.check("flbc", &changes),
            Err(KernelError::NoPrivilege)
        );
        assert_eq!(
            kernel.commit("flbc", &changes, 1),
            Err(KernelError::NoPrivilege)
        );
        assert_eq!(kernel.observe("flbc"), Err(KernelError::NoPrivilege));
        assert!(kernel.interfaces().expect("anybody may").contains_key("lo"));
    });
}
