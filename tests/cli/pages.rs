//! Manual pages and completions.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{flbc, flbc_in, folder};

fn names(directory: &Path) -> BTreeSet<OsString> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

/// `flbc man man` after every change of a command.
#[test]
fn the_pages_in_man_are_those_that_flbc_writes() {
    let folder = folder(&[]);
    flbc_in(folder.path(), ["man", "new/man1"]).assert_quiet();
    let written = folder.path().join("new/man1");
    let mut kept = names(Path::new("man"));
    assert!(kept.remove(&OsString::from("flb.5")));
    assert_eq!(names(&written), kept);
    for name in kept {
        let (new, old) = [&written, Path::new("man")]
            .map(|place| fs::read_to_string(place.join(&name)).unwrap())
            .into();
        assert!(
            new == old,
            "man/{} is stale: run `flbc man man`",
            name.display()
        );
    }
}

/// All pages, those of section 1 and flb.5.
fn pages() -> Vec<PathBuf> {
    let pages = names(Path::new("man"));
    pages
        .into_iter()
        .map(|name| Path::new("man").join(name))
        .collect()
}

#[test]
fn mandoc_finds_nothing_to_complain_of() {
    let output = Command::new("mandoc")
        .arg("-Tlint")
        .args(pages())
        .output()
        .unwrap();
    let text =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    // Which other pages are installed is no matter of these.
    let complaints: Vec<&str> = text
        .lines()
        .filter(|line| {
            !line.contains("referenced manual not found") && !line.contains("outdated mandoc.db")
        })
        .collect();
    assert_eq!(complaints, [""; 0]);
}

#[test]
fn man_shows_every_page_without_a_warning() {
    for page in pages() {
        let output = Command::new("man")
            .args(["--warnings", "--encoding=UTF-8", "--local-file"])
            .arg(&page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80")
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "",
            "{}",
            page.display()
        );
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("NAME\n") && text.contains("SEE ALSO\n"),
            "{}",
            page.display()
        );
        assert!(!text.contains("\\f") && !text.contains(".SH"), "{text}");
    }
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = flbc(["completions", shell]);
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{shell}");
        for word in ["compile", "check", "fmt", "apply", "table", "format"] {
            assert!(run.stdout.contains(word), "{shell}: {word}");
        }
    }
    let folder = folder(&[("flbc.bash", &flbc(["completions", "bash"]).stdout)]);
    let script = ". ./flbc.bash; COMP_WORDS=(flbc compile --format ''); COMP_CWORD=3
        _flbc flbc '' --format; echo \"${COMPREPLY[*]}\"";
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "nft json\n");
}
