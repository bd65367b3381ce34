//! `flbc try`: what is tried stays only if it is confirmed in time.

use std::cell::Cell;
use std::io;

use rustix::io::Errno;

use super::*;
use crate::model::State;
use crate::notes::trial::{Outcome, Trials};
use crate::operate::trial::{Begun, Next, Watcher, back, begin, confirm, notice};

const SECOND: &str = "
pool shared { server x1 10.20.0.21; server x2 10.20.0.22 weight 2 }
service www { vip 192.0.2.10 tcp, udp 80; server b 10.20.0.12 }
service alt { vip 192.0.2.11 tcp, udp 1000-2000; pool shared; scheduler random; mode nat masquerade }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0; scheduler maglev table 13; server 10.20.0.11; server 10.20.0.12 drain }
";

fn first() -> String {
    "service www { vip 192.0.2.10 tcp, udp 80; server a 10.20.0.11 }".to_owned()
}

/// The watcher, as the process that `flbc try` starts has it.
struct Watching(Option<Watcher>);

impl Host {
    fn trials(&mut self) -> Trials {
        self.tables().trials().unwrap()
    }

    /// `flbc try --timeout 60s`
    fn attempt(&mut self, text: &str) -> Result<Option<(Begun, Watching)>, Refused> {
        let watcher = Cell::new(None);
        let now = self.kernel.now;
        let trials = self.trials();
        let begun = self.in_turn(true, |tables| {
            let mut sink = Diagnostics::new();
            let job = Job::new(tables, model(text), Earlier::Dropped, None, &mut sink)?.whole();
            let watch = || {
                watcher.set(Some(Watcher::new(trials.clone(), now)?));
                Ok(())
            };
            begin(tables, &job, seconds(60), watch, &mut sink)
        })?;
        Ok(begun.map(|begun| (begun, Watching(watcher.take()))))
    }

    #[track_caller]
    fn begin(&mut self, text: &str) -> Watching {
        let (begun, watching) = self.attempt(text).unwrap().unwrap();
        assert!(begun.early.is_none());
        assert!(begun.applied.warnings().is_empty(), "{:?}", begun.applied);
        watching
    }

    /// The watcher looks, after so many seconds.
    fn look(&mut self, watching: &mut Watching, after: u64) -> Next {
        self.kernel.now += seconds(after);
        let now = self.kernel.now;
        let cache = self.cache();
        let lock = || cache.lock("flbc");
        let Some(watcher) = &mut watching.0 else {
            panic!("it was killed")
        };
        let next = watcher.look(now, lock, || Ok(self.tables()));
        if next == Next::Over {
            watching.0 = None;
        }
        next
    }

    fn back(&mut self) -> Result<Applied, Refused> {
        back(&mut self.tables()).map(|(applied, open)| {
            assert!(open.is_none());
            applied
        })
    }
}

const EACH: Next = Next::Look(Duration::from_millis(100));

#[test]
fn what_is_not_confirmed_goes_back_with_its_connections() {
    let mut host = Host::new();
    host.apply(&first());
    let before = host.has();
    let mut watching = host.begin(SECOND);
    host.connect(Protocol::Udp, "192.0.2.10:80", "b of www");
    assert_eq!(host.look(&mut watching, 59), EACH);
    assert_eq!(
        notice(&mut host.tables()).unwrap(),
        "on trial: goes back in 1s unless `flbc confirm` comes"
    );
    assert_eq!(host.look(&mut watching, 1), Next::Over);
    same(&host.has(), &before);
    assert!(
        host.kernel.connections.is_empty(),
        "its server is no longer there"
    );
    assert!(host.remembers());
    assert!(host.apply(&first()).is_nothing());
    assert!(notice(&mut host.tables()).is_none());
    host.kernel.now += seconds(4);
    let late = confirm(&mut host.tables()).unwrap_err();
    assert_eq!(
        late.to_string(),
        "no trial is open: the last one went back to what was before, 4s ago"
    );
    assert_eq!(late.exit() as u8, 2);
}

#[test]
fn what_is_confirmed_stays() {
    let mut host = Host::new();
    host.apply(&first());
    let mut watching = host.begin(SECOND);
    let tried = host.has();
    // Just before the deadline.
    host.kernel.now += Duration::from_millis(59_999);
    confirm(&mut host.tables()).unwrap();
    assert_eq!(host.look(&mut watching, 1000), Next::Over);
    same(&host.has(), &tried);
    assert!(host.apply(SECOND).is_nothing());
    let again = confirm(&mut host.tables()).unwrap_err();
    assert_eq!(
        again.to_string(),
        "no trial is open: the last one was confirmed, 16m40s ago"
    );
    assert!(matches!(host.back(), Err(Refused::NoTrial { .. })));
}

#[test]
fn who_confirms_at_the_deadline_before_the_watcher_looks_is_in_time() {
    let mut host = Host::new();
    host.apply(&first());
    let mut watching = host.begin(SECOND);
    host.kernel.now += seconds(61);
    let status = notice(&mut host.tables()).unwrap();
    assert_eq!(
        status,
        "on trial, and the time is over: the process that goes back is stopped, or waits for another run; `flbc confirm` keeps this, `flbc try --back` goes back"
    );
    confirm(&mut host.tables()).unwrap();
    assert_eq!(host.look(&mut watching, 0), Next::Over);
    assert!(host.apply(SECOND).is_nothing());
}

#[test]
fn back_into_an_empty_kernel_and_back_at_once() {
    let mut host = Host::new();
    let mut watching = host.begin(SECOND);
    assert!(host.has_tables());
    assert_eq!(host.look(&mut watching, 60), Next::Over);
    assert!(!host.has_tables() && !host.remembers());
    let mut watching = host.begin(SECOND);
    let text = host.back().unwrap().text(false);
    assert!(text.contains("- service www\n"), "{text}");
    assert!(!host.has_tables());
    assert_eq!(host.look(&mut watching, 0), Next::Over);
    assert_eq!(
        host.trials().last(seconds(1060)),
        Some((Outcome::WentBack, seconds(0)))
    );
}

#[test]
fn while_a_trial_is_open_nothing_else_changes_the_tables() {
    let mut host = Host::new();
    host.apply(&first());
    let before = host.has();
    let mut watching = host.begin(SECOND);
    let tried = host.has();
    let drain = Demand::State(State::Drain);
    for refused in [
        host.try_apply(&first()).map(drop),
        host.attempt(&first()).map(drop),
        host.try_set(None, "www b", drain).map(drop),
        host.in_turn(true, |tables| Ok(tables.unload()?)).map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(&refused, Refused::OnTrial { table, open } if table == "flbc" && open.remaining == Some(seconds(60)))
        );
    }
    assert_eq!(host.has(), tried);
    // What changes nothing is free.
    assert!(!host.dry(&first()).is_nothing());
    // Another tool takes it all away: what was before comes back all the same.
    host.by_hand(|has| (has.inet, has.netdev) = (None, None));
    host.back().unwrap();
    same(&host.has(), &before);
    assert_eq!(host.look(&mut watching, 0), Next::Over);
}

#[test]
fn what_changes_nothing_is_no_trial() {
    let mut host = Host::new();
    host.apply(SECOND);
    assert!(host.attempt(SECOND).unwrap().is_none());
    assert!(host.trials().open(seconds(1000)).unwrap().is_none());
    assert!(matches!(
        confirm(&mut host.tables()),
        Err(Refused::NoTrial { last: None })
    ));
}

#[test]
fn what_is_refused_is_no_trial() {
    let mut host = Host::new();
    host.apply(&first());
    let before = host.has();
    let refused = host
        .attempt(&SECOND.replace("eth0", "eth7"))
        .map(drop)
        .unwrap_err();
    assert_eq!(refused.exit() as u8, 3);
    // What the kernel takes when it is asked, and refuses when it is told.
    for place in [0, 7] {
        let mut tries = host.kernel.clone();
        tries.asked = 0;
        let mut count = Host {
            kernel: tries,
            folder: tempfile::tempdir().unwrap(),
        };
        count.dry(SECOND);
        let checked = count.kernel.asked;
        host.kernel.refuse = Some((host.kernel.asked + checked + place, Errno::NOMEM));
        let refused = host.attempt(SECOND).map(drop).unwrap_err();
        assert_eq!(refused.exit() as u8, 3);
        host.kernel.refuse = None;
        assert_eq!(
            host.trials().last(seconds(1000)),
            Some((Outcome::Void, seconds(0)))
        );
    }
    assert!(host.trials().open(seconds(1000)).unwrap().is_none());
    same(&host.has(), &before);
    assert!(host.apply(&first()).is_nothing());
    // Of those nobody needs to know.
    let none = confirm(&mut host.tables()).unwrap_err();
    assert_eq!(none.to_string(), "no trial is open");
}

#[test]
fn what_nobody_would_take_back_is_not_tried() {
    let mut host = Host::new();
    host.apply(&first());
    let before = host.has();
    let refused = host.in_turn(true, |tables| {
        let mut sink = Diagnostics::new();
        let job = Job::new(tables, model(SECOND), Earlier::Dropped, None, &mut sink)?.whole();
        let watch = || Err(io::Error::other("no process left"));
        begin(tables, &job, seconds(60), watch, &mut sink)
    });
    let refused = refused.map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "nothing was applied: the process that would go back cannot be started: no process left"
    );
    assert_eq!(refused.exit() as u8, 2);
    assert_eq!(host.has(), before);
    assert!(host.trials().open(seconds(1000)).unwrap().is_none());
    host.apply(SECOND);
}

#[test]
fn the_time_to_confirm_counts_from_the_commit_on() {
    let mut host = Host::new();
    host.apply(&first());
    let kernel = Cell::new(None);
    let trials = host.trials();
    host.in_turn(true, |tables| {
        let mut sink = Diagnostics::new();
        let job = Job::new(tables, model(SECOND), Earlier::Dropped, None, &mut sink)?.whole();
        let watch = || {
            let _watching = trials.watch()?;
            kernel.set(trials.open(seconds(1000)).unwrap());
            Ok(())
        };
        let begun = begin(tables, &job, seconds(60), watch, &mut sink)?;
        assert!(begun.is_some());
        Ok(())
    })
    .unwrap();
    // It was open before anything was changed, so that whoever is killed leaves the way back.
    assert_eq!(kernel.take().unwrap().remaining, Some(seconds(60)));
    assert_eq!(
        trials.open(seconds(1000)).unwrap().unwrap().remaining,
        Some(seconds(60))
    );
}

#[test]
fn others_changes_meanwhile_stay_others_and_those_to_the_tables_go() {
    let mut host = Host::new();
    // Loaded by nft: flbc knows nothing of it but what it reads.
    host.load(&first());
    let before = host.has();
    let mut watching = host.begin(SECOND);
    host.by_hand(|has| {
        let chains = &mut has.inet.as_mut().unwrap().chains;
        chains
            .iter_mut()
            .find(|one| &*one.name == "input")
            .unwrap()
            .rules
            .clear();
    });
    host.kernel.before = vec![|_| {}; 3];
    assert_eq!(host.look(&mut watching, 60), Next::Over);
    same(&host.has(), &before);
    assert!(host.apply(&first()).is_nothing());
}

#[test]
fn a_watcher_that_was_killed_is_told_of() {
    for by_hand in [true, false] {
        let mut host = Host::new();
        host.apply(&first());
        let before = host.has();
        drop(host.begin(SECOND));
        assert_eq!(
            notice(&mut host.tables()).unwrap(),
            "on trial, but the process that was to go back was killed, with 1m left; `flbc confirm` keeps this, `flbc try --back` goes back"
        );
        if by_hand {
            host.back().unwrap();
        } else {
            host.kernel.now += seconds(60);
            assert_eq!(
                notice(&mut host.tables()).unwrap(),
                "on trial, but the process that was to go back was killed, and the time is over: the next command that changes the tables goes back first; `flbc confirm` keeps this, `flbc try --back` goes back"
            );
            let turn = take(&mut host.tables()).unwrap();
            assert!(turn.went_back.is_some());
            drop(turn);
            same(&host.has(), &before);
            host.apply(&first());
        }
        same(&host.has(), &before);
        assert!(host.apply(&first()).is_nothing());
        assert!(notice(&mut host.tables()).is_none());
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_of_a_try_leaves_the_way_back() {
    for committed in [false, true] {
        let mut host = Host::new();
        host.apply(&first());
        let before = host.has();
        // What a run does up to where it is killed: the trial is open, the watcher watches.
        let mut tables = host.tables();
        let (was, trials) = (tables.before().unwrap(), tables.trials().unwrap());
        trials.begin(&was, seconds(1060)).unwrap();
        let mut watching = Watching(Some(Watcher::new(trials, host.kernel.now).unwrap()));
        if committed {
            let mut sink = Diagnostics::new();
            let mut tables = host.tables();
            let job = Job::new(
                &mut tables,
                model(SECOND),
                Earlier::Dropped,
                None,
                &mut sink,
            )
            .unwrap();
            job.commit(&mut tables, &mut sink).unwrap();
            host.kill_after_transaction();
        }
        assert_eq!(host.look(&mut watching, 30), EACH);
        assert_eq!(host.look(&mut watching, 30), Next::Over);
        same(&host.has(), &before);
        assert!(host.apply(&first()).is_nothing());
    }
}

#[test]
fn a_watcher_waits_for_a_run_that_is_at_work_but_not_for_ever() {
    let mut host = Host::new();
    host.apply(&first());
    let before = host.has();
    let mut watching = host.begin(SECOND);
    let tried = host.has();
    let busy = host.cache().lock("flbc").unwrap().unwrap();
    let soon = Next::Look(Duration::from_millis(20));
    assert_eq!(host.look(&mut watching, 60), soon);
    assert_eq!(host.look(&mut watching, 9), soon);
    same(&host.has(), &tried);
    // One that hangs must not keep what was tried in place, but it may still commit: the trial is not over.
    assert_eq!(host.look(&mut watching, 1), Next::Look(seconds(1)));
    same(&host.has(), &before);
    assert!(host.trials().open(host.kernel.now).unwrap().is_some());
    // It commits indeed, and ends.
    host.by_hand(|has| *has = tried.clone());
    drop(busy);
    assert_eq!(host.look(&mut watching, 1), Next::Over);
    same(&host.has(), &before);
}

#[test]
fn who_confirms_while_the_watcher_waits_for_its_turn_is_in_time() {
    let mut host = Host::new();
    host.apply(&first());
    let mut watching = host.begin(SECOND);
    let busy = host.cache().lock("flbc").unwrap().unwrap();
    assert_eq!(
        host.look(&mut watching, 60),
        Next::Look(Duration::from_millis(20))
    );
    drop(busy);
    let cache = host.cache();
    let trials = host.trials();
    let now = host.kernel.now;
    let Some(watcher) = &mut watching.0 else {
        panic!()
    };
    // It is confirmed between the watcher's look at the clock and its turn.
    let lock = || {
        trials.end(Outcome::Confirmed, now).unwrap();
        cache.lock("flbc")
    };
    let next = watcher.look(now, lock, || -> Result<Tables<&mut Fake>, _> {
        panic!("it must not go back")
    });
    assert_eq!(next, Next::Over);
    assert!(host.apply(SECOND).is_nothing());
}

/// It keeps what it was told: the note is for others.
#[test]
fn a_watcher_goes_back_though_notes_are_damaged() {
    for which in [".trial", ".before"] {
        let mut host = Host::new();
        host.apply(&first());
        let before = host.has();
        let mut watching = host.begin(SECOND);
        // It looks once, after the commit.
        assert_eq!(host.look(&mut watching, 1), EACH);
        let [note] = &host.notes(which)[..] else {
            panic!("{which}")
        };
        std::fs::write(note, b"x").unwrap();
        let said = notice(&mut host.tables()).unwrap();
        assert!(said.starts_with("on trial: goes back "), "{said}");
        assert!(take(&mut host.tables()).is_err());
        assert_eq!(host.look(&mut watching, 58), EACH);
        assert_eq!(host.look(&mut watching, 1), Next::Over);
        same(&host.has(), &before);
        assert!(host.apply(&first()).is_nothing());
    }
}

#[test]
fn a_kernel_that_refuses_the_way_back_is_asked_again() {
    let mut host = Host::new();
    host.apply(&first());
    let before = host.has();
    let mut watching = host.begin(SECOND);
    for _ in 0..3 {
        host.kernel.refuse = Some((host.kernel.asked, Errno::NOMEM));
        assert_eq!(host.look(&mut watching, 60), Next::Look(seconds(1)));
    }
    host.kernel.refuse = Some((host.kernel.asked, Errno::NOMEM));
    let refused = host.back().unwrap_err();
    assert_eq!(refused.exit() as u8, 3);
    host.kernel.refuse = None;
    assert!(host.trials().open(host.kernel.now).unwrap().is_some());
    assert_eq!(host.look(&mut watching, 1), Next::Over);
    same(&host.has(), &before);
}

#[test]
fn going_back_brings_back_what_was_set() {
    let mut host = Host::new();
    let text = "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }";
    host.apply(text);
    host.set("www a", Demand::State(State::Drain));
    let before = host.has();
    host.begin(&text.replace("80;", "81;"));
    assert!(host.wishes().is_empty());
    host.back().unwrap();
    same(&host.has(), &before);
    assert!(host.keep(text).is_nothing());
    assert_eq!(
        host.apply(text).difference.lines,
        ["~ www: a drain (set) -> up"]
    );
}

#[test]
fn a_trial_whose_notes_a_stranger_removed_goes_on() {
    for gone in [&[".trial"][..], &[".before"], &[".trial", ".before"], &[]] {
        let mut host = Host::new();
        host.apply(&first());
        let before = host.has();
        let remove = |host: &mut Host| {
            for end in gone {
                let [note] = &host.notes(end)[..] else {
                    panic!()
                };
                std::fs::remove_file(note).unwrap();
            }
            if gone.is_empty() {
                std::fs::remove_dir_all(host.cache().directory()).unwrap();
            }
        };
        let mut watching = host.begin(SECOND);
        remove(&mut host);
        assert_eq!(host.look(&mut watching, 1), EACH, "{gone:?}");
        // Other runs know of it again.
        assert_eq!(
            notice(&mut host.tables()).unwrap(),
            "on trial: goes back in 59s unless `flbc confirm` comes"
        );
        let refused = host.in_turn(true, |_| Ok(())).unwrap_err();
        assert!(matches!(refused, Refused::OnTrial { .. }), "{refused:?}");
        assert_eq!(host.look(&mut watching, 90), Next::Over);
        same(&host.has(), &before);
        assert!(notice(&mut host.tables()).is_none());

        // One that is confirmed then stays.
        host.kernel.now += seconds(1);
        let mut watching = host.begin(SECOND);
        let tried = host.has();
        remove(&mut host);
        assert_eq!(host.look(&mut watching, 1), EACH);
        confirm(&mut host.tables()).unwrap();
        assert_eq!(host.look(&mut watching, 90), Next::Over);
        same(&host.has(), &tried);

        // Also where the time is over before the watcher looks again.
        host.kernel.now += seconds(1);
        host.apply(&first());
        let mut watching = host.begin(SECOND);
        remove(&mut host);
        assert_eq!(host.look(&mut watching, 90), Next::Over);
        same(&host.has(), &before);
    }
}

#[test]
fn a_trial_of_another_boot_is_none() {
    // Nothing that was tried is there any more.
    let mut host = Host::new();
    host.apply(&first());
    let watching = host.begin(SECOND);
    let [head] = &host.notes(".trial")[..] else {
        panic!()
    };
    let bytes = std::fs::read(head).unwrap();
    // Behind the checksum: the length of the id, and the id.
    let mut other = bytes.clone();
    other[9] ^= 1;
    let sum = super::notes::sum_of(&other[8..]).to_le_bytes();
    other[..8].copy_from_slice(&sum);
    std::fs::write(head, other).unwrap();
    let in_memory = rustix::fs::statfs(head).unwrap().f_type == 0x0102_1994;
    assert!(in_memory || host.trials().open(host.kernel.now).unwrap().is_none());
    std::fs::write(head, bytes).unwrap();
    assert!(
        host.trials()
            .open(host.kernel.now)
            .unwrap()
            .unwrap()
            .watched
    );
    drop(watching);
}

#[test]
fn what_was_before_must_be_readable_to_go_back() {
    let mut host = Host::new();
    host.apply(&first());
    drop(host.begin(SECOND));
    let tried = host.has();
    let [before] = &host.notes(".before")[..] else {
        panic!()
    };
    std::fs::write(before, b"").unwrap();
    let refused = host.back().unwrap_err();
    let told = refused.to_string();
    assert!(
        told.starts_with("a trial is open, and what was before it is not known: ")
            && told.ends_with(
                ".before: it is damaged; nothing was changed: `flbc confirm` keeps what it tries"
            ),
        "{told}"
    );
    assert_eq!(refused.exit() as u8, 5);
    same(&host.has(), &tried);
    confirm(&mut host.tables()).unwrap();
}

#[test]
fn without_the_privilege_that_is_said_and_not_that_no_trial_is_open() {
    let mut host = Host::new();
    host.kernel.powerless = true;
    let refused = [
        confirm(&mut host.tables()).unwrap_err(),
        back(&mut host.tables()).unwrap_err(),
        crate::operate::set::set(
            &mut host.tables(),
            None,
            ("www", "a"),
            Demand::State(State::Drain),
            &mut Diagnostics::new(),
        )
        .unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(
            refused.exit(),
            crate::diagnostic::Exit::Unprivileged,
            "{refused}"
        );
    }
}
