//! Applying: what changes, what does not, and what is told of it.

use super::*;
use crate::kernel::KernelError;
use crate::model::MacAddress;

/// Two services in nat and one in direct return, of all kinds of slots.
const MIXED: &str = "
pool shared { server x1 10.20.0.21; server x2 10.20.0.22 weight 2; server x6 2001:db8:1::21 }
service www { vip 192.0.2.10 tcp 80, 443; vip 2001:db8::10 tcp 80; pool shared }
service alt { vip 192.0.2.11 tcp, udp 1000-2000; pool shared; scheduler random; mode nat masquerade }
service own { vip 192.0.2.12 udp any; server a 10.20.0.31:81; server b 10.20.0.32 weight 3; scheduler hash; mode nat snat 10.1.1.1 }
service one { vip 192.0.2.13 udp 5; server only 10.20.0.41; on-empty drop }
service none { vip 192.0.2.14 udp 5; server only 10.20.0.41 down }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; scheduler maglev table 13; server 10.20.0.11; server 10.20.0.12 drain; server 10.20.0.13 }
";

const DR: &str = "service www { vip 192.0.2.10 tcp 80; mode dr on eth0 via eth1; server a 10.20.0.11; server b 10.20.0.12 }";

fn three(weight: u16) -> String {
    format!(
        "service www {{ vip 192.0.2.10 tcp, udp 80; server a 10.20.0.11 weight {weight}; server b 10.20.0.12; server c 10.20.0.13 }}
        service other {{ vip 192.0.2.53 tcp, udp 80; server b 10.20.0.12; server c 10.20.0.13 }}"
    )
}

#[test]
fn what_is_applied_is_told_and_a_second_time_nothing_is_sent() {
    let mut host = Host::new();
    let text = host.apply(&three(2)).text(false);
    assert!(
        text.starts_with(
            "+ service www\n+ service other\n2 added, 0 changed, 0 removed; in the kernel "
        ),
        "{text}"
    );
    assert_eq!(host.stand("www"), ["a up 2/4", "b up 1/4", "c up 1/4"]);
    let (before, asked) = (host.has(), host.kernel.asked);
    assert!(host.apply(&three(2)).is_nothing());
    assert!(host.remembers());
    // Nor when nothing is remembered and the kernel has to be read.
    host.forget();
    assert!(host.apply(&three(2)).is_nothing());
    assert_eq!((host.has(), host.kernel.asked), (before, asked));
    assert_eq!(host.kernel.committed, 1);
}

#[test]
fn nobody_but_those_that_changed_are_touched() {
    let mut host = Host::new();
    host.apply(&three(1));
    let numbers = host.servers();
    let handles = |host: &Host, chain: &str| {
        let inet = host.has().inet.unwrap();
        let chain = inet
            .chains
            .into_iter()
            .find(|one| *one.name == *chain)
            .unwrap();
        chain
            .rules
            .iter()
            .map(|rule| rule.handle)
            .collect::<Vec<_>>()
    };
    let (own, others) = (handles(&host, "svc_www_v4"), handles(&host, "svc_other_v4"));
    let text = host.apply(&three(5)).text(false);
    assert!(
        text.starts_with("~ www: a weight 1 -> 5\n0 added, 1 changed, 0 removed; "),
        "{text}"
    );
    assert_eq!(host.servers(), numbers);
    assert_eq!(handles(&host, "svc_other_v4"), others, "its turn goes on");
    assert_ne!(handles(&host, "svc_www_v4"), own);
    assert_eq!(host.stand("www"), ["a up 5/7", "b up 1/7", "c up 1/7"]);
}

#[test]
fn apply_leaves_what_compile_and_nft_leave() {
    for text in [MIXED, &three(3), DR] {
        let (mut applied, mut loaded) = (Host::new(), Host::new());
        applied.apply(text);
        loaded.load(text);
        same(&applied.has(), &loaded.has());
        // And whoever loaded it, nothing is left to do.
        assert!(loaded.dry(text).is_nothing());
        assert!(loaded.apply(text).is_nothing());
        assert_eq!(loaded.kernel.committed, 1);
        assert!(loaded.remembers());
    }
}

#[test]
fn of_what_nft_loaded_it_is_told_what_changes() {
    let mut host = Host::new();
    host.load(&three(3));
    let text = host.apply(&three(4)).text(false);
    assert!(text.starts_with("~ www: a weight 3 -> 4\n"), "{text}");
    host.load(&three(4).replace("10.20.0.13", "10.20.0.23"));
    let text = host.apply(&three(4)).text(false);
    assert!(
        text.contains("~ www: c 10.20.0.23 -> 10.20.0.13\n"),
        "what was loaded is not what was remembered: {text}"
    );
    assert!(host.apply(&three(4)).is_nothing());
}

#[test]
fn servers_that_take_nobody_are_there_all_the_same() {
    let mut host = Host::new();
    host.apply(
        "service none { vip 192.0.2.14, 2001:db8::14 udp 5
            server gone 10.20.0.41 down; server last 10.20.0.42 drain; server six 2001:db8:1::1 }",
    );
    assert_eq!(
        host.stand("none"),
        ["gone down 0/0", "last drain 0/0", "six up 1/1"]
    );
}

#[test]
fn direct_return_is_at_rest_and_has_both_tables() {
    let mut host = Host::new();
    host.apply(DR);
    assert!(host.has().netdev.is_some());
    assert_eq!(host.stand("www"), ["a up 256/512", "b up 256/512"]);
    assert!(host.apply(DR).is_nothing());
    // From one mode to the other and back.
    let before = host.has();
    host.apply(&DR.replace("mode dr on eth0 via eth1", "mode nat"));
    assert!(host.has().netdev.is_none());
    host.apply(DR);
    same(&host.has(), &before);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let mut host = Host::new();
    let applied = host.dry(&three(1));
    assert!(applied.text(true).ends_with(" (not applied)\n"));
    assert!(!host.has_tables() && !host.remembers());
    host.apply(&three(1));
    assert!(host.dry(&three(1)).is_nothing());
    let before = host.has();
    for _ in 0..2 {
        let applied = host.dry(&three(3).replace("server c 10.20.0.13 }\n", "}\n"));
        let text = applied.text(true);
        assert!(
            text.contains("~ www: a weight 1 -> 3\n") && text.contains("~ www: - server c\n"),
            "{text}"
        );
        assert!(!applied.is_nothing());
        assert_eq!(host.has(), before);
    }
}

#[test]
fn unload_removes_both_tables_and_what_is_remembered() {
    let mut host = Host::new();
    assert!(host.unload().is_none(), "there is nothing to unload");
    host.apply(MIXED);
    let text = host.unload().unwrap().text(false);
    assert!(
        text.contains("- service www\n") && text.contains("- pool shared\n"),
        "{text}"
    );
    assert!(!host.has_tables() && !host.remembers());
    assert!(host.unload().is_none());
    // And on again; then away with what nobody remembers.
    host.apply(MIXED);
    host.forget();
    let text = host.unload().unwrap().text(false);
    assert!(text.contains("- service www\n"), "{text}");
    assert!(!host.has_tables());
}

#[test]
fn an_own_mac_address_is_looked_up_and_its_change_followed() {
    let text = "service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth1; scheduler hash
        server a 10.20.0.11 mac 02:00:00:00:00:11; server b 10.20.0.12 mac 02:00:00:00:00:12 }";
    let mut host = Host::new();
    let (outcome, sink) = host.run(text, (true, false, None));
    assert!(matches!(outcome, Err(Refused::Faulty)), "{outcome:?}");
    let faults = sink.sorted();
    assert!(
        faults[0]
            .message
            .starts_with("The MAC address of `eth1` itself is not given"),
        "{faults:?}"
    );
    let mac = |last: u8| MacAddress([2, 0, 0, 0, 1, last]);
    host.kernel.macs.insert("eth1".to_owned(), mac(1));
    host.apply(text);
    assert!(host.apply(text).is_nothing());
    host.kernel.macs.insert("eth1".to_owned(), mac(0x77));
    let said = host.apply(text).text(false);
    assert!(said.contains("from 02:00:00:00:01:77"), "{said}");
}

#[test]
fn an_interface_that_was_made_anew_is_looked_at_again() {
    let mut host = Host::new();
    host.apply(DR);
    let whole = host.has();
    // Its chain went with it.
    host.by_hand(|has| {
        let netdev = has.netdev.as_mut().unwrap();
        netdev.chains.retain(|chain| chain.hook.is_none());
    });
    host.kernel.interfaces.insert("eth0".into(), 9);
    let applied = host.try_apply(DR).unwrap();
    assert_eq!(
        applied.warnings(),
        ["`eth0` is another interface than at the last apply: it was made anew"]
    );
    assert_eq!(
        host.has().netdev.unwrap().chains.len(),
        whole.netdev.unwrap().chains.len()
    );
    assert!(host.apply(DR).is_nothing());
    // What it sends packets out by is a number too, which another interface has now.
    host.kernel.interfaces.insert("eth1".into(), 10);
    let committed = host.kernel.committed;
    let applied = host.try_apply(DR).unwrap();
    assert_eq!(applied.warnings().len(), 1);
    assert!(applied.totals.structure + host.kernel.committed > committed);
    assert!(host.apply(DR).is_nothing());
}

#[test]
fn whoever_commits_all_the_time_does_not_stop_apply() {
    let mut host = Host::new();
    host.apply(&three(1));
    for turn in 2..4 {
        host.kernel.before = vec![|_| {}; 19];
        let applied = host.apply(&three(turn));
        assert_eq!(
            applied.difference.lines,
            [format!("~ www: a weight {} -> {turn}", turn - 1)]
        );
        assert!(host.kernel.before.is_empty());
        assert!(host.apply(&three(turn)).is_nothing());
    }
}

#[test]
fn whoever_never_pauses_is_given_up_on() {
    let mut host = Host::new();
    host.apply(&three(1));
    let before = host.has().inet;
    host.kernel.before = vec![|_| {}; 20];
    let refused = host.try_apply(&three(2)).unwrap_err();
    assert!(matches!(refused, Refused::Failed(Failure::Crowded)));
    assert_eq!(
        told(&refused),
        [
            "other programs change the kernel's rules all the time: no moment was left for these; the kernel has what it had"
        ]
    );
    assert_eq!(host.has().inet, before);
    assert_eq!(
        host.apply(&three(2)).difference.lines,
        ["~ www: a weight 1 -> 2"]
    );
    host.kernel.before = vec![|_| {}; 20];
    assert!(matches!(host.tables().unload(), Err(Failure::Crowded)));
    assert!(host.has_tables());
}

#[test]
fn what_somebody_does_between_looking_and_committing_is_put_right_too() {
    let mut host = Host::new();
    host.apply(&three(1));
    host.kernel.before = vec![|has| {
        let inet = has.inet.as_mut().unwrap();
        inet.chains
            .iter_mut()
            .find(|chain| &*chain.name == "input")
            .unwrap()
            .rules
            .clear();
    }];
    let applied = host.try_apply(&three(2)).unwrap();
    assert_eq!(
        applied.warnings()[0],
        "changed by somebody else: missing rule 1 of chain `input` in inet"
    );
    let mut fresh = Host::new();
    fresh.apply(&three(2));
    assert_eq!(host.stands(), fresh.stands());
    assert!(host.apply(&three(2)).is_nothing());
}

#[test]
fn without_privilege_nothing_happens_and_the_reason_is_said() {
    let mut host = Host::new();
    host.apply(&three(1));
    let before = host.has();
    host.kernel.powerless = true;
    let applied = host.try_apply(&three(2));
    let dry = host.run(&three(2), (false, false, None)).0;
    let unloaded = host.tables().unload();
    for failure in [failure(applied), failure(dry), unloaded.unwrap_err()] {
        assert!(matches!(failure, Failure::Kernel(KernelError::NoPrivilege)));
        assert_eq!(failure.exit() as u8, 4);
        assert_eq!(
            told(&failure.into()),
            ["this needs root, or the capability CAP_NET_ADMIN"]
        );
    }
    host.kernel.powerless = false;
    assert_eq!(host.has(), before);
    assert!(host.apply(&three(1)).is_nothing());
}
