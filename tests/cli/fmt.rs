//! `flbc fmt`

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::{BAD, GOOD, flbc_in, folder};

const UNTIDY: &str = "service  www {  # front\nvip 192.0.2.10 tcp 80;server 10.20.0.11 }\n";
const TIDY: &str = "service www {   # front\n    vip 192.0.2.10 tcp 80\n    server 10.20.0.11\n}\n";

#[test]
fn check_lists_what_differs_and_changes_nothing() {
    let folder = folder(&[("a.flb", UNTIDY), ("b.flb", GOOD), ("c.flb", UNTIDY)]);
    let run = flbc_in(folder.path(), ["fmt", "--check", "a.flb", "b.flb", "c.flb"]);
    assert_eq!(
        (run.status, run.stdout.as_str(), run.stderr.as_str()),
        (1, "a.flb\nc.flb\n", "")
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("a.flb")).unwrap(),
        UNTIDY
    );
    flbc_in(folder.path(), ["fmt", "--check", "b.flb"]).assert_quiet();
}

#[test]
fn a_file_is_replaced_whole_with_its_mode_and_its_links() {
    let folder = folder(&[("a.flb", UNTIDY)]);
    let path = folder.path().join("a.flb");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("a.flb", folder.path().join("link.flb")).unwrap();
    let before = fs::metadata(&path).unwrap();
    flbc_in(folder.path(), ["fmt", "link.flb"]).assert_quiet();
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.contains("# front"), "{written}");
    assert_eq!(
        written.replace("   # front", " # front"),
        TIDY.replace("   # front", " # front")
    );
    let after = fs::metadata(&path).unwrap();
    assert_eq!(after.permissions().mode() & 0o7777, 0o640);
    // Another file by the same name: whoever reads meanwhile has the old one or the new one.
    assert_ne!(before.ino(), after.ino());
    assert!(
        fs::symlink_metadata(folder.path().join("link.flb"))
            .unwrap()
            .is_symlink()
    );
    flbc_in(folder.path(), ["fmt", "--check", "a.flb", "link.flb"]).assert_quiet();
    // What is right already is not touched.
    flbc_in(folder.path(), ["fmt", "a.flb"]).assert_quiet();
    assert_eq!(fs::metadata(&path).unwrap().ino(), after.ino());
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing is left over"
    );
}

#[test]
fn a_file_that_cannot_be_read_as_flb_stays_as_it_is() {
    let broken = "service www {\n  vip 192.0.2.10 tcp 80\n";
    let folder = folder(&[("broken.flb", broken), ("a.flb", UNTIDY)]);
    let run = flbc_in(folder.path(), ["fmt", "broken.flb", "a.flb"]);
    run.assert_bad("unclosed-block");
    assert_eq!(
        fs::read_to_string(folder.path().join("broken.flb")).unwrap(),
        broken
    );
    assert_ne!(
        fs::read_to_string(folder.path().join("a.flb")).unwrap(),
        UNTIDY,
        "the others are done"
    );
    let run = flbc_in(folder.path(), ["fmt", "--check", "broken.flb"]);
    run.assert_bad("unclosed-block");
}

/// What is wrong only in its meaning has a form all the same.
#[test]
fn meaning_does_not_matter() {
    let folder = folder(&[("bad.flb", BAD)]);
    flbc_in(folder.path(), ["fmt", "bad.flb"]).assert_quiet();
    assert_eq!(
        fs::read_to_string(folder.path().join("bad.flb")).unwrap(),
        BAD
    );
}
