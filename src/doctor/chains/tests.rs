//! What is told of chains of others.

use std::sync::Arc;

use super::*;
use crate::diagnostic::Diagnostics;
use crate::doctor::machine::tests::host;
use crate::foreign::{Ask, ForeignRule, Subject, Then};
use crate::kernel::host::{Host, Nft, Settings};
use crate::lower::layout::Layout;
use crate::model::Family;
use crate::source::Sources;
use crate::syntax::Input;

const NAT: &str = "service www { vip 192.0.2.10 tcp 80; mode nat; server a 10.0.0.1 }";
const DR: &str = "service www { vip 192.0.2.10 tcp 80; mode dr on eth0; server a 10.0.0.1 }";

fn chain(kind: &str, family: &'static str, hook: &'static str, priority: i32) -> ForeignChain {
    let devices = match hook {
        "ingress" | "egress" => vec!["eth0".to_owned()],
        _ => Vec::new(),
    };
    ForeignChain::bare(BaseChain {
        family,
        table: "other".to_owned(),
        chain: "theirs".to_owned(),
        kind: kind.to_owned(),
        hook,
        priority,
        accepts: true,
        devices,
    })
}

/// Without a way by which packets come.
fn found(file: &str, foreign: ForeignChain) -> Vec<Finding> {
    let mut host = host(Settings::default(), Nft::Unknown);
    host.ways.clear();
    found_on(file, &host, foreign)
}

fn found_on(file: &str, host: &Host, foreign: ForeignChain) -> Vec<Finding> {
    let mut sink = Diagnostics::new();
    let input = Input::Stdin(file.as_bytes().to_vec());
    let model = crate::read(input, &mut Sources::new(), &mut sink).expect("no faults");
    let mut findings = Vec::new();
    let facts = Facts {
        host,
        unresolved: None,
        foreign: None,
        layout: Layout::default(),
    };
    examine(&model, &facts, &[foreign], &mut findings);
    findings
}

fn with(asks: &[Ask], deed: Option<Deed>, foreign: &ForeignChain) -> ForeignChain {
    let rule = ForeignRule {
        asks: asks.to_vec(),
        then: Some(Then::Accept).filter(|_| deed.is_none()),
        deeds: deed.into_iter().collect(),
    };
    let mut rules = (*foreign.rules).clone();
    rules.entry("theirs".to_owned()).or_default().push(rule);
    ForeignChain {
        chain: foreign.chain.clone(),
        rules: Arc::new(rules),
    }
}

/// A rule that does so, of all that comes or of what is not understood.
fn doing(deed: Deed, foreign: &ForeignChain) -> ForeignChain {
    with(&[Ask::UNKNOWN], Some(deed), foreign)
}

fn doing_to_all(deed: Deed, foreign: &ForeignChain) -> ForeignChain {
    with(&[], Some(deed), foreign)
}

fn translated() -> Ask {
    Ask {
        subject: Subject::Translated,
        ranges: vec![(1, 1)],
        other: false,
    }
}

fn address(subject: Subject, address: u128) -> Ask {
    Ask {
        subject,
        ranges: vec![(address, address)],
        other: false,
    }
}

const TO: Subject = Subject::To(Family::V4);
const VIP: u128 = 0xc000_020a;
const SERVER: u128 = 0x0a00_0001;

#[test]
fn rules_that_refuse_are_told_where_balanced_packets_pass() {
    for family in ["ip", "inet", "ip6"] {
        for mend in [false, true] {
            let of = |hook| {
                let empty = chain("filter", family, hook, 10);
                let asks: &[Ask] = if mend { &[] } else { &[Ask::UNKNOWN] };
                found(NAT, with(asks, Some(Deed::Refuse), &empty))
            };
            let told: Vec<bool> = of("forward").iter().map(|one| one.mend).collect();
            let expected: &[bool] = if family == "ip6" { &[] } else { &[mend] };
            assert_eq!(told, expected, "{family}");
            assert_eq!(of("input"), [], "{family}");
            assert_eq!(of("output"), [], "{family}");
        }
    }
    let empty = || chain("filter", "inet", "forward", 0);
    let rest = doing_to_all(Deed::Refuse, &empty());
    let remedy = ["nft insert rule inet other theirs ct status dnat accept"];
    assert_eq!(found(NAT, rest)[0].remedy, remedy);
    let passing = |empty: &ForeignChain| {
        let passing = with(&[translated()], None, empty);
        doing_to_all(Deed::Refuse, &passing)
    };
    assert_eq!(found(NAT, passing(&empty())), []);
    // Before the translation that rule lets nothing pass.
    let early = passing(&chain("filter", "inet", "prerouting", -150));
    assert_eq!(found(NAT, early).len(), 1);
    let wire = doing_to_all(Deed::Refuse, &chain("filter", "netdev", "ingress", 5));
    assert_eq!(found(DR, wire.clone()).len(), 1);
    assert_eq!(found(NAT, wire.clone()), []);
    // Where packets of nat come in by that interface it is theirs too.
    let here = host(Settings::default(), Nft::Unknown);
    let remedy = [
        "nft insert rule netdev other theirs ip daddr '{' 192.0.2.10 '}' accept",
        "nft insert rule netdev other theirs ip saddr '{' 10.0.0.1 '}' accept",
    ];
    assert_eq!(found_on(NAT, &here, wire)[0].remedy, remedy);
}

#[test]
fn rules_for_balanced_packets_are_told_as_such_and_those_for_others_not() {
    let forward = || chain("filter", "ip", "forward", 0);
    let early = || chain("filter", "ip", "prerouting", -300);
    let refuse = |subject, of, empty: &ForeignChain| {
        with(&[address(subject, of)], Some(Deed::Refuse), empty)
    };
    let cases = [
        (
            refuse(TO, SERVER, &forward()),
            Some("refuses in forward what goes to 10.0.0.1"),
        ),
        // An answer may go to any client.
        (refuse(TO, VIP, &forward()), Some("which was not looked at")),
        (
            refuse(TO, VIP, &early()),
            Some("refuses in prerouting what goes to 192.0.2.10"),
        ),
        (
            refuse(TO, SERVER, &early()),
            Some("which was not looked at"),
        ),
        (
            refuse(Subject::ToPort, 80, &early()),
            Some("refuses in prerouting what goes to 192.0.2.10"),
        ),
        (
            refuse(Subject::ToPort, 81, &early()),
            Some("which was not looked at"),
        ),
        (refuse(Subject::Protocol, 17, &early()), None),
        (
            refuse(Subject::From(Family::V4), SERVER, &early()),
            Some("what comes from 10.0.0.1"),
        ),
    ];
    for (foreign, words) in cases {
        let told = found(NAT, foreign.clone());
        let said: Vec<&str> = told.iter().map(|one| &*one.sentence).collect();
        match words {
            Some(words) => assert!(said.len() == 1 && said[0].contains(words), "{said:?}"),
            None => assert_eq!(said, [""; 0], "{foreign:?}"),
        }
    }
    // What lets pass all that is concerned ends it, also a policy.
    let mut strict = chain("filter", "ip", "prerouting", -300);
    strict.chain.accepts = false;
    let half = with(&[address(TO, VIP)], None, &strict);
    assert_eq!(found(NAT, half.clone()).len(), 1);
    let whole = with(&[address(Subject::From(Family::V4), SERVER)], None, &half);
    assert_eq!(found(NAT, whole), []);
}

#[test]
fn what_is_written_into_packets_or_marks_is_told() {
    let cases = [
        ("prerouting", TO, VIP, Deed::Rewrite, Some(true)),
        ("prerouting", TO, SERVER, Deed::Rewrite, Some(false)),
        ("forward", TO, SERVER, Deed::Rewrite, Some(true)),
        ("prerouting", Subject::Else, 0, Deed::Rewrite, Some(false)),
        ("prerouting", TO, VIP, Deed::Mark(1), Some(true)),
        ("postrouting", Subject::Else, 0, Deed::Mark(1), Some(false)),
        ("forward", TO, SERVER, Deed::CopyMark, Some(false)),
        ("input", TO, VIP, Deed::Mark(1), None),
    ];
    for (hook, subject, of, deed, mend) in cases {
        let empty = chain("filter", "ip", hook, -300);
        let foreign = with(&[address(subject, of)], Some(deed), &empty);
        let told: Vec<bool> = found(NAT, foreign).iter().map(|one| one.mend).collect();
        assert_eq!(told, Vec::from_iter(mend), "{hook} {deed:?}");
    }
}

#[test]
fn who_comes_first_is_told() {
    use Deed::{Forward, Translate};
    let cases = [
        (
            NAT,
            doing(Translate, &chain("nat", "ip", "prerouting", -190)),
            true,
        ),
        (
            NAT,
            doing(Translate, &chain("nat", "inet", "prerouting", -150)),
            true,
        ),
        (
            NAT,
            doing(Translate, &chain("nat", "ip", "prerouting", -100)),
            false,
        ),
        (
            NAT,
            doing(Translate, &chain("nat", "ip6", "prerouting", -190)),
            false,
        ),
        (
            NAT,
            doing(Translate, &chain("filter", "ip", "prerouting", -150)),
            true,
        ),
        (
            NAT,
            doing(Translate, &chain("nat", "ip", "output", -160)),
            true,
        ),
        (NAT, chain("nat", "ip", "output", -160), false),
        (
            DR,
            doing(Translate, &chain("nat", "ip", "prerouting", -190)),
            false,
        ),
        (DR, chain("filter", "netdev", "ingress", -1), true),
        (DR, chain("filter", "netdev", "ingress", 0), false),
        (
            DR,
            doing(Forward, &chain("filter", "inet", "ingress", 0)),
            true,
        ),
        (
            DR,
            doing(Forward, &chain("filter", "inet", "ingress", 1)),
            false,
        ),
    ];
    for (file, foreign, is_told) in cases {
        let codes: Vec<FindingCode> = found(file, foreign.clone())
            .iter()
            .map(|one| one.code)
            .collect();
        let expected: &[FindingCode] = if is_told {
            &[FindingCode::ForeignFirst]
        } else {
            &[]
        };
        assert_eq!(codes, expected, "{foreign:?}");
    }
}

#[test]
fn what_is_not_tracked_is_not_balanced() {
    let raw = doing(Deed::Untrack, &chain("filter", "ip", "prerouting", -300));
    let told = found(NAT, raw.clone());
    assert_eq!(
        (told[0].code, told[0].mend),
        (FindingCode::ForeignNotrack, true)
    );
    let remedy = [
        "nft insert rule ip other theirs ip daddr '{' 192.0.2.10 '}' accept",
        "nft insert rule ip other theirs ip saddr '{' 10.0.0.1 '}' accept",
        "nft insert rule ip other theirs ct status dnat accept",
    ];
    assert_eq!(told[0].remedy, remedy);
    assert_eq!(found(DR, raw.clone()), []);
    // What the commands do ends it.
    let done = with(
        &[address(TO, VIP)],
        None,
        &chain("filter", "ip", "prerouting", -300),
    );
    let done = with(&[address(Subject::From(Family::V4), SERVER)], None, &done);
    assert_eq!(found(NAT, doing(Deed::Untrack, &done)), []);
    let mut late = raw.clone();
    late.chain.priority = -200;
    assert_eq!(found(NAT, late), []);
    let mut own = raw;
    own.chain.hook = "output";
    assert!(!found(NAT, own)[0].mend);
}

#[test]
fn a_command_is_right_whatever_tables_are_called() {
    let named = |family, table: &str, name: &str, hook| {
        let empty = chain("filter", family, hook, 0);
        let mut one = doing_to_all(Deed::Refuse, &empty);
        let rules = [(name.to_owned(), one.rules["theirs"].clone())];
        one.rules = Arc::new(rules.into());
        (one.chain.table, one.chain.chain) = (table.to_owned(), name.to_owned());
        found(NAT, one)[0].remedy.clone()
    };
    for (table, name) in [
        ("a;b", "c"),
        ("a", "x y"),
        ("a", "map"),
        ("$(reboot)", "f"),
        ("", "f"),
    ] {
        assert_eq!(named("inet", table, name, "forward"), ["nft list ruleset"]);
    }
    assert_eq!(
        named("ip", "filter", "FORWARD", "forward"),
        ["iptables -t filter -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"]
    );
    assert_eq!(
        named("inet", "filter", "FORWARD", "forward"),
        ["nft insert rule inet filter FORWARD ct status dnat accept"]
    );
}
