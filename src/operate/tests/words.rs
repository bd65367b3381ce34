//! The words and exits that scripts and operators know.

use std::io;

use rustix::io::Errno;

use super::*;
use crate::apply::Totals;
use crate::kernel::KernelError;
use crate::notes::lock::Holder;
use crate::notes::trial::Open;
use crate::notes::trial::Outcome;
use crate::operate::refused::few;

#[test]
fn an_apply_is_told_in_one_line_of_figures() {
    let mut applied = Applied {
        totals: Totals {
            added: 1,
            removed: 2,
            structure: 3,
        },
        ..Applied::default()
    };
    let start =
        "0 added, 0 changed, 0 removed; in the kernel 1 elements added, 2 removed, 3 other changes";
    assert_eq!(applied.text(false), format!("{start}\n"));
    assert_eq!(applied.text(true), format!("{start} (not applied)\n"));
    (
        applied.forgotten,
        applied.marked,
        applied.older,
        applied.clients,
    ) = (1, 1, 1, 1);
    let one = ", 1 connection forgotten, 1 connection numbered anew, 1 flow forgotten that is older than its service, 1 remembered client forgotten";
    assert_eq!(applied.text(false), format!("{start}{one}\n"));
    (
        applied.forgotten,
        applied.marked,
        applied.older,
        applied.clients,
    ) = (2, 3, 4, 5);
    let many = ", 2 connections forgotten, 3 connections numbered anew, 4 flows forgotten that are older than their service, 5 remembered clients forgotten";
    assert_eq!(applied.text(false), format!("{start}{many}\n"));
}

#[test]
fn warnings_come_in_one_order() {
    let mut host = Host::new();
    let text = "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }";
    host.apply(text);
    host.connect(Protocol::Tcp, "192.0.2.10:80", "a of www");
    host.by_hand(|has| has.inet.as_mut().unwrap().dormant = true);
    host.kernel.untracked = Some(Errno::NOMEM);
    let applied = host
        .try_apply(&text.replace("10.20.0.11", "10.20.0.11 down"))
        .unwrap();
    let warnings = applied.warnings();
    let starts = [
        "flows that began before their service",
        "connections to servers",
        "changed by somebody else: dormant table in inet",
    ];
    for (warning, start) in warnings.iter().zip(starts) {
        assert!(warning.starts_with(start), "{warnings:?}");
    }
    assert_eq!(warnings.len(), starts.len());
}

#[test]
fn every_refusal_has_its_exit() {
    let failed = |error| Refused::Failed(Failure::Kernel(error));
    for (refused, exit) in [
        (Refused::Faulty, 2),
        (
            Refused::Busy {
                waited: seconds(60),
                holder: None,
            },
            5,
        ),
        (
            Refused::OnTrial {
                table: "flbc".to_owned(),
                open: Open {
                    remaining: Some(seconds(1)),
                    watched: true,
                },
            },
            5,
        ),
        (
            Refused::TrialUnknown {
                error: io::Error::other("no"),
            },
            5,
        ),
        (
            Refused::NoWayBack {
                table: "flbc".to_owned(),
                error: io::Error::other("no"),
            },
            5,
        ),
        (Refused::NoTrial { last: None }, 2),
        (
            Refused::Trial {
                doing: "cannot",
                error: io::Error::other("no"),
            },
            2,
        ),
        (Refused::Failed(Failure::Crowded), 3),
        (Refused::Failed(Failure::Numbers), 2),
        (Refused::Failed(Failure::Interfaces(Vec::new())), 3),
        (Refused::Failed(Failure::Claimed(Vec::new())), 3),
        (failed(KernelError::NoPrivilege), 4),
        (failed(KernelError::Changed), 3),
        (failed(KernelError::OutOfMemory), 3),
        (failed(KernelError::NotTogether(Errno::LOOP)), 3),
    ] {
        assert_eq!(refused.exit() as u8, exit, "{refused}");
    }
}

#[test]
fn a_refusal_by_the_kernel_says_that_it_has_what_it_had() {
    for (error, sentence) in [
        (
            KernelError::Changed,
            "another program changed the kernel's rules meanwhile; the kernel has what it had",
        ),
        (
            KernelError::OutOfMemory,
            "the kernel has no memory left for the changes; the kernel has what it had",
        ),
        (
            KernelError::NoPrivilege,
            "this needs root, or the capability CAP_NET_ADMIN",
        ),
    ] {
        assert_eq!(told(&error.into()), [sentence]);
    }
}

#[test]
fn a_run_that_waited_in_vain_says_how_long() {
    let busy = |holder| Refused::Busy {
        waited: seconds(60),
        holder,
    };
    assert_eq!(
        told(&busy(None)),
        ["another flbc has been changing these tables for 1m; wait for it or end it"]
    );
    let holder = Holder {
        pid: 4711,
        command: "flbc apply \u{1b}[2Jlb.flb".to_owned(),
        held: Duration::from_millis(3_725_900),
    };
    assert_eq!(
        told(&busy(Some(holder))),
        [
            "another flbc has been changing these tables for 1h2m5s: process 4711, `flbc apply \\u{1b}[2Jlb.flb`; wait for it or end it (`kill 4711`)"
        ]
    );
}

#[test]
fn commands_that_are_told_name_the_table_where_it_must_be_said() {
    let on_trial = |table: &str| {
        let refused = Refused::OnTrial {
            table: table.to_owned(),
            open: Open {
                remaining: Some(Duration::from_millis(59_001)),
                watched: true,
            },
        };
        refused.to_string()
    };
    assert_eq!(
        on_trial("flbc"),
        "a trial is open for another 1m: `flbc confirm` keeps what it tries, `flbc try --back` goes back at once; then try again"
    );
    assert_eq!(
        on_trial("two"),
        "a trial is open for another 1m: `flbc confirm --table two` keeps what it tries, `flbc try --back --table two` goes back at once; then try again"
    );
}

#[test]
fn how_the_last_trial_ended_is_told_where_somebody_waited_for_it() {
    for (outcome, words) in [
        (
            Outcome::WentBack,
            "no trial is open: the last one went back to what was before, 2m ago",
        ),
        (
            Outcome::Confirmed,
            "no trial is open: the last one was confirmed, 2m ago",
        ),
        (Outcome::Void, "no trial is open"),
    ] {
        let refused = Refused::NoTrial {
            last: Some((outcome, seconds(120))),
        };
        assert_eq!(refused.to_string(), words);
    }
}

#[test]
fn of_many_names_a_few_are_told() {
    let names: Vec<String> = (0..11).map(|n| format!("s{n}")).collect();
    assert_eq!(few(&names[..3]), "s0, s1, s2");
    assert_eq!(few(&names[..8]), "s0, s1, s2, s3, s4, s5, s6, s7");
    assert_eq!(few(&names), "s0, s1, s2, s3, s4, s5, s6, s7 and 3 more");
    assert_eq!(few::<&str>(&[]), "");
}
