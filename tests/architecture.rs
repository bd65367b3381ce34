//! Data flows one way: a room imports from itself and from rooms before it. Read off the `use` lines.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src`, in the order in which data passes them.
const ROOMS: [&str; 17] = [
    "source",
    "diagnostic",
    "syntax",
    "model",
    "check",
    "schedule",
    "outline",
    "real_server",
    "explain",
    "ruleset",
    "lower",
    "emit",
    "diff",
    "kernel",
    "doctor",
    "apply",
    "cli",
];

/// Rooms that must not know each other though the order would allow it.
const STRANGERS: [(&str, &str); 4] = [
    ("model", "syntax"),
    ("emit", "syntax"),
    ("emit", "check"),
    ("emit", "lower"),
];

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("src is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

fn room_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix("src").ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

/// The rooms that a file names as `crate::ROOM`.
fn imports(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default()
        })
        .filter(|name| ROOMS.contains(name))
        .collect()
}

#[test]
fn every_room_is_known() {
    for file in rust_files(Path::new("src")) {
        let room = room_of(&file).expect("inside src");
        let entrance = room == "lib" || room == "main";
        assert!(
            entrance || ROOMS.contains(&room.as_str()),
            "{} stands in a room that this test does not know",
            file.display()
        );
    }
}

#[test]
fn imports_point_one_way() {
    let mut seen = 0;
    for file in rust_files(Path::new("src")) {
        let room = room_of(&file).expect("inside src");
        let Some(place) = ROOMS.iter().position(|r| *r == room) else {
            continue;
        };
        let text = fs::read_to_string(&file).expect("readable");
        for import in imports(&text) {
            seen += 1;
            let target = ROOMS.iter().position(|r| *r == import).expect("a room");
            assert!(
                target <= place,
                "{} ({room}) imports {import}, which comes later",
                file.display()
            );
            assert!(
                !STRANGERS.contains(&(room.as_str(), import)),
                "{} ({room}) imports {import}",
                file.display()
            );
        }
    }
    assert!(seen > 50, "only {seen} imports found: is this test blind?");
}

#[test]
fn pest_lives_in_syntax_and_miette_in_diagnostic_and_cli() {
    for (krate, rooms) in [
        ("pest", &["syntax"][..]),
        ("miette", &["diagnostic", "cli"]),
        ("nftables", &["emit"]),
    ] {
        for file in rust_files(Path::new("src")) {
            let room = room_of(&file).expect("inside src");
            let text = fs::read_to_string(&file).expect("readable");
            let used = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| line.contains(&format!("{krate}::")));
            assert!(
                !used || rooms.contains(&room.as_str()),
                "{} uses {krate}",
                file.display()
            );
        }
    }
}
