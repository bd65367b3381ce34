//! Whose turn it is to change the tables.

use super::*;
use crate::notes::trial::Outcome;
use crate::operate::trial;

const FILE: &str = "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11 }";

/// A trial until then, whose watcher was killed.
fn open(tables: &mut Tables<&mut Fake>, until: u64) {
    let before = tables.before().unwrap();
    let trials = tables.trials().unwrap();
    trials.begin(&before, seconds(until)).unwrap();
    trials.extend(seconds(until)).unwrap();
}

#[test]
fn two_runs_at_once_wait_for_each_other() {
    let mut host = Host::new();
    let first = take(&mut host.tables()).unwrap();
    let refused = host.try_apply(FILE).unwrap_err();
    assert!(
        matches!(&refused, Refused::Busy { waited, .. } if waited.is_zero()),
        "{refused:?}"
    );
    // Who has it wrote down who that is.
    let told = refused.to_string();
    let own = std::process::id();
    let process = format!(": process {own}, `");
    assert!(
        told.starts_with("another flbc has been changing these tables for 0s: ")
            && told.contains(&process)
            && told.ends_with(&format!("; wait for it or end it (`kill {own}`)")),
        "{told}"
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
    assert!(turn.went_back.is_none());
    drop(turn);
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
fn a_trial_that_nobody_watches_any_more_keeps_others_away_until_its_time_is_over() {
    let mut host = Host::new();
    host.apply(FILE);
    let before = host.has();
    let mut tables = host.tables();
    let trials = tables.trials().unwrap();
    open(&mut tables, 1090);
    host.by_hand(|has| has.inet = None);
    let tried = host.has();
    let refused = take(&mut host.tables()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a trial is open for another 1m30s, but the process that was to go back was killed: `flbc confirm` keeps what it tries, `flbc try --back` goes back at once; then try again"
    );
    assert_eq!(refused.exit() as u8, 5);
    assert_eq!(host.has(), tried);
    assert!(trial::is_orphaned(&mut host.tables()));
    // Then whoever comes goes back first.
    host.kernel.now = seconds(1090);
    let turn = take(&mut host.tables()).unwrap();
    assert!(turn.went_back.is_some());
    drop(turn);
    same(&host.has(), &before);
    assert_eq!(
        trials.last(seconds(1090)),
        Some((Outcome::WentBack, seconds(0)))
    );
    assert!(take(&mut host.tables()).unwrap().went_back.is_none());
    assert!(host.apply(FILE).is_nothing());
}

/// Whoever began it was killed: nothing was tried.
#[test]
fn a_trial_that_nobody_ever_watched_is_none() {
    let mut host = Host::new();
    host.apply(FILE);
    let mut tables = host.tables();
    let before = tables.before().unwrap();
    let trials = tables.trials().unwrap();
    trials.begin(&before, seconds(2000)).unwrap();
    assert!(trials.open(seconds(1000)).unwrap().is_none());
    assert!(take(&mut tables).unwrap().went_back.is_none());
    assert!(!trial::is_orphaned(&mut tables));
    let watching = trials.watch().unwrap();
    assert!(trials.open(seconds(1000)).unwrap().unwrap().watched);
    take(&mut tables).unwrap_err();
    drop(watching);
    assert!(take(&mut tables).unwrap().went_back.is_none());
}

/// Nothing is changed by guesses, and all that can be done is said.
#[test]
fn a_trial_whose_notes_are_damaged_keeps_others_away() {
    for (which, cut) in [(".trial", 0), (".trial", 9), (".before", 0), (".before", 9)] {
        let mut host = Host::new();
        host.apply(FILE);
        let mut tables = host.tables();
        open(&mut tables, 1000);
        host.by_hand(|has| has.inet = None);
        let tried = host.has();
        let [note] = &host.notes(which)[..] else {
            panic!("{which}")
        };
        let whole = std::fs::read(note).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(note, bytes).unwrap();
            let refused = take(&mut host.tables()).unwrap_err();
            assert_eq!(refused.exit() as u8, 5, "{which} {at}: {refused}");
            let told = refused.to_string();
            assert!(
                told.contains("damaged") && told.contains("`flbc confirm`"),
                "{told}"
            );
        }
        std::fs::write(note, &whole[..cut]).unwrap();
        take(&mut host.tables()).unwrap_err();
        let said = trial::notice(&mut host.tables()).unwrap();
        assert!(said.starts_with("on trial, "), "{said}");
        same(&host.has(), &tried);
        // An operator decides.
        trial::confirm(&mut host.tables()).unwrap();
        assert!(take(&mut host.tables()).unwrap().went_back.is_none());
        same(&host.has(), &tried);
    }
}

#[test]
fn a_folder_that_is_closed_does_not_mean_that_no_trial_is_open() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let mut host = Host::new();
    host.apply(FILE);
    let mut tables = host.tables();
    open(&mut tables, 1000);
    let has = host.has();
    let folder = host.folder.path().join("run");
    let allow = |mode| {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Others may have written what lies there.
    allow(0o777);
    for refused in [
        take(&mut host.tables()).map(drop).unwrap_err(),
        trial::confirm(&mut host.tables()).unwrap_err(),
        trial::back(&mut host.tables()).map(drop).unwrap_err(),
    ] {
        assert_eq!(refused.exit() as u8, 5);
        let told = refused.to_string();
        assert!(
            told.starts_with("whether a trial is open cannot be told: ")
                && told.contains("others may write to "),
            "{told}"
        );
    }
    let said = trial::notice(&mut host.tables()).unwrap();
    assert!(said.starts_with("whether a trial is open"), "{said}");
    same(&host.has(), &has);
    allow(0o700);
    // Whoever has no right to the tables is told that, and nothing of a trial.
    chown(&folder, Some(1000), None).ok();
    host.kernel.powerless = true;
    let refused = take(&mut host.tables()).unwrap_err();
    if std::fs::metadata(&folder).is_ok_and(|now| std::os::unix::fs::MetadataExt::uid(&now) == 1000)
    {
        assert_eq!(refused.exit(), crate::diagnostic::Exit::Unprivileged);
    }
}

#[test]
fn what_is_noted_of_a_namespace_that_is_gone_goes_with_its_number() {
    use std::fs;
    let mut host = Host::new();
    host.apply(FILE);
    let mut tables = host.tables();
    let trials = tables.trials().unwrap();
    open(&mut tables, 2000);
    let [lock] = &host.notes(".lock")[..] else {
        panic!("one lock")
    };
    let lock = lock.clone();
    let own = fs::read_to_string(&lock).unwrap();
    let folder = lock.parent().unwrap().to_owned();
    let name = lock.file_name().unwrap().to_str().unwrap().to_owned();
    let namespace = name.split('.').nth(1).unwrap().to_owned();
    // Beside it: a table of a namespace that nobody is in, which may be held open somewhere; and one of another boot.
    let other = |table: &str, namespace: &str, lock: &str| {
        fs::write(folder.join(format!("{table}.{namespace}.lock")), lock).unwrap();
        fs::write(folder.join(format!("{table}.{namespace}.state")), "note").unwrap();
        folder.join(format!("{table}.{namespace}.state"))
    };
    let held = other("held", "1", &own);
    let booted = other("booted", "1", &own.replace("boot\":\"", "boot\":\"0"));
    let unknown = other("unknown", &namespace, "");
    take(&mut host.tables()).unwrap_err();
    assert!(held.exists() && unknown.exists());
    let on_disk = !booted.exists();
    let in_memory = rustix::fs::statfs(&folder).unwrap().f_type == 0x0102_1994;
    assert!(on_disk || in_memory, "the boot is another");
    // A namespace with the number of this one, before it.
    let earlier = |text: &str| text.replace("\"lifetime\":", "\"lifetime\":1");
    let before = other("before", &namespace, &earlier(&own));
    fs::write(&lock, earlier(&own)).unwrap();
    assert!(take(&mut host.tables()).unwrap().went_back.is_none());
    assert!(!before.exists() && held.exists() && unknown.exists());
    for what in [".trial", ".before"] {
        assert!(host.notes(what).is_empty(), "{what}");
    }
    assert!(trials.open(seconds(1000)).unwrap().is_none());
    // It is this one's by now.
    host.apply(FILE);
    assert!(host.remembers());
    take(&mut host.tables()).unwrap();
    assert!(host.remembers());
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
