//! What is remembered counts only where it is true, and is never needed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::model::State;
use crate::notes::FORM;

const FILE: &str =
    "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12 }";

/// A machine that remembers, with the note and what is in it.
fn remembering() -> (Host, PathBuf, Vec<u8>) {
    let mut host = Host::new();
    host.apply(FILE);
    let note = host.notes(".state").pop().unwrap();
    let bytes = fs::read(&note).unwrap();
    (host, note, bytes)
}

#[test]
fn a_note_that_is_damaged_anywhere_counts_for_nothing() {
    let (mut host, note, whole) = remembering();
    let left = |host: &mut Host| host.tables().recall();
    assert!(left(&mut host).is_some());
    for at in (0..whole.len()).step_by(23) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        fs::write(&note, damaged).unwrap();
        assert!(left(&mut host).is_none(), "byte {at}");
        fs::write(&note, &whole[..at]).unwrap();
        assert!(left(&mut host).is_none(), "cut at {at}");
    }
    // It is read from the kernel instead, and remembered anew.
    assert!(host.apply(FILE).is_nothing());
    assert!(left(&mut host).is_some());
    assert_eq!(host.kernel.committed, 1);
}

#[test]
fn a_note_that_others_may_write_to_counts_for_nothing() {
    let (mut host, note, _) = remembering();
    let folder = note.parent().unwrap().to_owned();
    assert_eq!(
        fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for path in [&folder, &note] {
        let before = fs::metadata(path).unwrap().permissions();
        for bit in [0o020, 0o002] {
            let mut open = before.clone();
            open.set_mode(before.mode() | bit);
            fs::set_permissions(path, open).unwrap();
            assert!(host.tables().recall().is_none(), "{path:?}");
        }
        fs::set_permissions(path, before).unwrap();
        assert!(host.tables().recall().is_some());
    }
}

#[test]
fn a_note_counts_for_the_very_tables_that_it_is_of() {
    let (mut host, _, _) = remembering();
    // The same from another hand: other tables.
    host.load(FILE);
    assert!(host.tables().recall().is_none());
    assert!(host.apply(FILE).is_nothing());
    assert!(host.tables().recall().is_some());
    host.by_hand(|has| has.inet = None);
    assert!(host.tables().recall().is_none());
    let applied = host.apply(FILE);
    assert!(
        applied.drift.is_empty(),
        "nothing is known of what was there"
    );
    assert_eq!(applied.difference.lines, ["+ service www"]);
}

#[test]
fn a_note_of_another_table_is_not_taken_for_ones_own() {
    let (mut host, _, _) = remembering();
    let cache = host.cache();
    let mut other = Tables::new(&mut host.kernel, cache, "other");
    assert!(other.recall().is_none());
    assert!(other.layers().unwrap().0.is_empty());
}

#[test]
fn a_note_stays_true_beside_what_others_do_to_their_own() {
    let (mut host, _, _) = remembering();
    let (_, current) = host.tables().recall_and_compare().unwrap();
    assert!(current);
    host.by_hand(|_| {});
    let (_, current) = host.tables().recall_and_compare().unwrap();
    assert!(!current, "somebody has committed something");
    assert!(host.apply(FILE).is_nothing());
    let (_, current) = host.tables().recall_and_compare().unwrap();
    assert!(current, "it is looked at once");
}

#[test]
fn whoever_looks_compares_once_and_takes_no_change_for_none() {
    let (mut host, _, _) = remembering();
    let at = host.tables().last().unwrap().at;
    host.kernel.now += Duration::from_secs(100);
    host.by_hand(|_| {});
    assert_eq!(host.tables().look().unwrap().in_force(), Some(true));
    let (_, current) = host.tables().recall_and_compare().unwrap();
    assert!(current, "it was compared");
    assert_eq!(
        host.tables().last().unwrap().at,
        at,
        "it was not applied again"
    );
    // While another flbc is at work nothing is written.
    host.by_hand(|_| {});
    let lock = host.tables().lock().unwrap();
    assert!(lock.is_some());
    assert_eq!(host.tables().look().unwrap().in_force(), Some(true));
    assert!(!host.tables().recall_and_compare().unwrap().1);
    drop(lock);
    // What differs goes on to differ.
    host.by_hand(|has| has.inet.as_mut().unwrap().dormant = true);
    for _ in 0..2 {
        assert_eq!(host.tables().look().unwrap().in_force(), Some(false));
        assert!(!host.tables().recall_and_compare().unwrap().1);
    }
}

#[test]
fn a_note_that_is_out_of_place_is_no_reason_to_stop() {
    let (mut host, note, _) = remembering();
    fs::remove_file(&note).unwrap();
    fs::create_dir(&note).unwrap();
    for last in [13, 14, 15] {
        let other = FILE.replace("10.20.0.12", &format!("10.20.0.{last}"));
        assert_eq!(host.apply(&other).difference.lines.len(), 1);
        assert!(host.apply(&other).is_nothing());
    }
    assert!(host.tables().recall().is_some());
}

#[test]
fn what_was_set_is_known_of_what_another_version_left() {
    let mut host = Host::new();
    host.apply(FILE);
    host.set("www a", Demand::State(State::Drain));
    // Every version begins with these: here the form of the file, in the first byte behind the checksum, is another.
    let note = host.notes(".state").pop().unwrap();
    let mut bytes = fs::read(&note).unwrap();
    assert_eq!(u32::from(bytes[8]), FORM);
    bytes[8] -= 1;
    let sum = sum_of(&bytes[8..]).to_le_bytes();
    bytes[..8].copy_from_slice(&sum);
    fs::write(&note, bytes).unwrap();
    assert!(host.tables().recall().is_none());
    assert_eq!(host.wishes().len(), 1);
    assert!(host.keep(FILE).is_nothing());
    assert!(host.tables().recall().is_some());
}

/// The checksum of a note: FNV-1a over words of 8 bytes, mixed.
pub(super) fn sum_of(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    bytes.chunks(8).fold(start, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
        mixed ^ (mixed >> 32)
    })
}
