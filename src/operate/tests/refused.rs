//! What is refused, how that is said, and that the kernel then has what it had.

use rustix::io::Errno;

use super::*;
use crate::diagnostic::Code;

const RUNNING: &str = "service www { vip 192.0.2.10 tcp 80; server 10.20.0.11 }";

fn running() -> (Host, Observed) {
    let mut host = Host::new();
    host.apply(RUNNING);
    let has = host.has();
    (host, has)
}

#[test]
fn an_interface_that_is_not_there_is_named_with_its_place() {
    let (mut host, before) = running();
    for (mode, named) in [
        ("mode dr on eth7 via eth1", &["eth7"][..]),
        ("mode dr on eth0 via eth8", &["eth8"]),
        ("mode dr on eth0, eth7 via eth8", &["eth7", "eth8"]),
    ] {
        let text = format!("service dns {{ vip 192.0.2.53 udp 53; {mode}; server 10.20.0.21 }}");
        for commit in [true, false] {
            // Where nothing would be left nothing is left out.
            let failure = failure(host.run(&text, (commit, false, None)).0);
            assert_eq!(failure.exit() as u8, 3);
            let mut sink = Diagnostics::new();
            assert_eq!(failure.report(&mut sink), None);
            let faults = sink.sorted();
            let wanted: Vec<_> = named
                .iter()
                .map(|one| format!("There is no interface `{one}` on this host"))
                .collect();
            let mut messages: Vec<_> = faults.iter().map(|one| one.message.clone()).collect();
            messages.sort();
            assert_eq!(messages, wanted);
            for fault in faults {
                assert_eq!(fault.code, Code::NoSuchInterface);
                let span = fault.span.unwrap();
                let place = &text[span.start as usize..span.end as usize];
                assert!(
                    text.ends_with(&format!("{place} }}")) || place.starts_with("vip 192.0.2.53"),
                    "{place}"
                );
            }
        }
    }
    assert_eq!(host.has(), before);
    assert!(host.apply(RUNNING).is_nothing());
}

#[test]
fn a_vip_protocol_and_port_belong_to_one_table() {
    // Whoever loaded the first.
    for loaded in [false, true] {
        let mut first = Host::new();
        if loaded {
            first.load(RUNNING);
        } else {
            first.apply(RUNNING);
        }
        let sets = first.has().inet.unwrap().sets;
        for (vip, meets) in [
            ("192.0.2.10 tcp 80", true),
            ("192.0.2.10 tcp 70-90", true),
            ("192.0.2.10 tcp any", true),
            ("192.0.2.10 tcp 81-90", false),
            ("192.0.2.10 udp any", false),
            ("192.0.2.11 tcp 80", false),
        ] {
            for mode in ["nat", "dr on eth0"] {
                let mut second = Host::new();
                second.kernel.siblings = vec![("first".to_owned(), sets.clone())];
                let text =
                    format!("service second {{ vip {vip}; mode {mode}; server b 10.20.0.12 }}");
                if !meets {
                    second.apply(&text);
                    continue;
                }
                for commit in [true, false] {
                    let failure = failure(second.run(&text, (commit, false, None)).0);
                    assert_eq!(failure.exit() as u8, 3);
                    let mut sink = Diagnostics::new();
                    assert_eq!(failure.report(&mut sink), None);
                    let fault = sink.sorted()[0].clone();
                    assert_eq!(fault.code, Code::VipOfAnotherTable);
                    assert_eq!(
                        fault.message,
                        "flbc's table `first` has `192.0.2.10 tcp 80`, which meets this"
                    );
                    assert!(fault.span.is_some());
                    assert!(
                        fault
                            .help
                            .unwrap()
                            .ends_with("remove the other with `flbc unload --table first`")
                    );
                    assert!(!second.has_tables());
                }
            }
        }
    }
}

#[test]
fn the_same_of_direct_return_is_met_by_nat() {
    let mut first = Host::new();
    first.apply(&RUNNING.replace("tcp 80;", "tcp 80; mode dr on eth0;"));
    let inet = first.has().inet.unwrap();
    let mut second = Host::new();
    second.kernel.siblings = vec![("first".to_owned(), inet.sets)];
    assert!(matches!(
        failure(second.try_apply(RUNNING)),
        Failure::Claimed(_)
    ));
    // A table that has no VIPs is in nobody's way.
    second.kernel.siblings[0].1.clear();
    second.apply(RUNNING);
}

#[test]
fn what_the_kernel_refuses_is_told_with_its_place_and_its_reason() {
    let (mut host, before) = running();
    let more = format!(
        "{RUNNING}\nservice dns {{ vip 192.0.2.53 udp 53; mode dr on eth0; server 10.20.0.21 }}"
    );
    for (errno, reason) in [
        (Errno::NOMEM, "the kernel has no memory left for it"),
        (Errno::PERM, "another program holds this table for itself"),
        (Errno::BUSY, "something still uses it"),
        (Errno::EXIST, "it is there already"),
    ] {
        for commit in [true, false] {
            host.kernel.refuse = Some((host.kernel.asked, errno));
            let refused = host.run(&more, (commit, false, None)).0.unwrap_err();
            assert_eq!(refused.exit() as u8, 3);
            let [told] = &told(&refused)[..] else {
                panic!("once")
            };
            assert!(told.starts_with("The kernel refuses to "), "{told}");
            assert!(told.contains(reason), "{told}");
            assert_eq!(host.has(), before);
        }
    }
    host.kernel.refuse = None;
    assert!(host.apply(RUNNING).is_nothing());
}

#[test]
fn a_table_that_another_program_holds_is_left_to_it() {
    let (mut host, before) = running();
    host.kernel.refuse = Some((host.kernel.asked, Errno::PERM));
    let refused = host.tables().unload().unwrap_err();
    let [told] = &told(&refused.into())[..] else {
        panic!("once")
    };
    assert!(
        told.contains("another program holds this table for itself"),
        "{told}"
    );
    assert_eq!(host.has(), before);
    assert!(host.remembers());
    host.kernel.refuse = None;
    assert!(host.unload().is_some());
}

#[test]
fn a_file_with_a_fault_has_no_model() {
    let mut sink = Diagnostics::new();
    for text in [
        "service {",
        "service www { vip 192.0.2.10 tcp 80; server 10.20.0.300 }",
    ] {
        let input = Input::Stdin(text.as_bytes().to_vec());
        assert!(crate::read(input, &mut Sources::new(), &mut sink).is_none());
    }
    assert!(sink.errors() >= 2);
    assert_eq!(Refused::Faulty.exit() as u8, 2);
    assert!(
        told(&Refused::Faulty).is_empty(),
        "the faults themselves are told"
    );
}

#[test]
fn what_would_be_refused_after_an_interface_is_gone_is_refused_before() {
    let text = "service dns { vip 192.0.2.53 udp 53; mode dr on eth0; server 10.20.0.21 }";
    let mut host = Host::new();
    host.apply(text);
    let before = host.has();
    host.kernel.interfaces.remove("eth0");
    let committed = host.kernel.committed;
    assert!(matches!(
        failure(host.try_apply(text)),
        Failure::Interfaces(_)
    ));
    assert!(matches!(
        failure(host.try_apply(&text.replace("21", "22"))),
        Failure::Interfaces(_)
    ));
    assert_eq!((host.has(), host.kernel.committed), (before, committed));
    assert!(host.unload().is_some(), "it can be removed all the same");
}
