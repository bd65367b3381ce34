//! Whose turn it is to change the tables.

use super::*;
use crate::kernel::trial::Outcome;
use crate::operate::trial;

const FILE: &str = "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11 }";

#[test]
fn two_runs_at_once_wait_for_each_other() {
    let mut host = Host::new();
    let first = take(&mut host.tables()).unwrap();
    let refused = host.try_apply(FILE).unwrap_err();
    assert!(
        matches!(refused, Refused::Busy { waited } if waited.is_zero()),
        "{refused:?}"
    );
    assert_eq!(refused.exit() as u8, 5);
    assert!(!host.has_tables());
    let cache = host.cache();
    let mut kernel = host.kernel.clone();
    // Tables of another name are nobody's business.
    take(&mut Tables::new(&mut kernel, cache, "other")).unwrap();
    // Looking takes no turn.
    assert!(!host.dry(FILE).is_nothing());
    drop(first);
    host.apply(FILE);
}

#[test]
fn where_notes_cannot_be_kept_there_is_no_lock_and_no_trial_but_an_apply() {
    let mut host = Host::new();
    std::fs::write(host.folder.path().join("run"), "no folder").unwrap();
    let turn = take(&mut host.tables()).unwrap();
    assert!(!turn.orphaned);
    let applied = host.try_apply(FILE).unwrap();
    let [warning] = &applied.warnings()[..] else {
        panic!("{:?}", applied.warnings())
    };
    assert!(
        warning.starts_with(
            "the rules are in place, but the next apply will read them from the kernel: "
        ),
        "{warning}"
    );
    assert!(host.try_apply(FILE).unwrap().totals.is_empty());
    assert!(matches!(
        trial::confirm(&mut host.tables()),
        Err(Refused::NoTrial { last: None })
    ));
}

#[test]
fn a_trial_that_nobody_watches_any_more_is_ended_and_told_of() {
    let mut host = Host::new();
    host.apply(FILE);
    let mut tables = host.tables();
    let before = tables.before().unwrap();
    let trials = tables.trials().unwrap();
    trials.begin(&before, seconds(2000)).unwrap();
    assert!(take(&mut tables).unwrap().orphaned);
    assert_eq!(
        trials.last(seconds(1000)),
        Some((Outcome::Void, seconds(0)))
    );
    assert!(!take(&mut tables).unwrap().orphaned);
    assert!(host.apply(FILE).is_nothing());
}

#[test]
fn a_trial_that_is_watched_keeps_others_away() {
    let mut host = Host::new();
    host.apply(FILE);
    let mut tables = host.tables();
    let before = tables.before().unwrap();
    let trials = tables.trials().unwrap();
    trials.begin(&before, seconds(1090)).unwrap();
    let watching = trials.watch().unwrap();
    assert!(trials.watch().is_err(), "one is enough");
    let refused = take(&mut tables).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a trial is open for another 1m30s: `flbc confirm` keeps what it tries, `flbc try --back` goes back at once; then try again"
    );
    assert_eq!(refused.exit() as u8, 5);
    // The lock is free again for whoever confirms.
    trial::confirm(&mut tables).unwrap();
    take(&mut tables).unwrap();
    drop(watching);
}
