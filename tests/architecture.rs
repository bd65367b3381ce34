//! Data flows one way: a room imports from itself and from rooms before it. Read off the `use` lines.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src`, in the order in which data passes them.
const ROOMS: [&str; 25] = [
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
    "foreign",
    "kernel",
    "notes",
    "doctor",
    "view",
    "apply",
    "engine",
    "operate",
    "control",
    "status",
    "daemon",
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

/// What a mode does is asked of it, so that another mode is answered for in model/mode.rs and not by whoever took it for the
/// one or the other. Only what reads the statement and what makes its rules know each by name.
#[test]
fn modes_are_known_by_name_where_they_are_read_and_lowered() {
    let known = [
        "src/model/mode.rs",
        // It fills in what a mode has left out.
        "src/model/own_macs.rs",
        "src/model/words.rs",
        "src/lower/nat.rs",
        "src/lower/dr.rs",
    ];
    for file in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&file).expect("readable");
        let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        let names = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .any(|line| line.contains("Mode::Nat") || line.contains("Mode::Dr"));
        let may =
            file.starts_with("src/check") || known.iter().any(|known| file == Path::new(known));
        assert!(
            !names || may,
            "{} asks for a mode by name: ask it a question of model/mode.rs",
            file.display()
        );
    }
}

/// Below the commands nobody waits or asks a clock: the time is the kernel's, which one in memory has too. One wait is left,
/// where Linux itself cannot be waited for.
#[test]
fn only_commands_wait_and_ask_a_clock() {
    let mut seen = 0;
    for file in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&file).expect("readable");
        let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        let waits = ["Instant::now", "SystemTime", "sleep(", "clock_gettime("]
            .iter()
            .any(|word| text.contains(word));
        let may = file.starts_with("src/cli")
            || [
                Path::new("src/kernel/linux.rs"),
                Path::new("src/kernel/conntrack.rs"),
            ]
            .contains(&file.as_path());
        seen += usize::from(waits);
        assert!(!waits || may, "{} waits, or asks a clock", file.display());
        let names = text
            .lines()
            .any(|line| !line.trim_start().starts_with("//") && line.contains("\"/run/"));
        assert!(
            !names || file.starts_with("src/cli"),
            "{} names a folder of this machine",
            file.display()
        );
    }
    assert!(seen > 2, "only {seen} files wait: is this test blind?");
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

/// The files that a file imports from, as paths below `src` without `.rs`, read off its `use` declarations and the paths in
/// its code that start with `crate`, `super` or `self`.
fn imported_files(file: &str, text: &str, files: &BTreeMap<String, String>) -> BTreeSet<String> {
    // What tests in the file import says nothing about the program.
    let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut found = BTreeSet::new();
    for root in ["crate", "super", "self"] {
        for (at, _) in code.match_indices(&format!("{root}::")) {
            let starts_word =
                !code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':'));
            if starts_word {
                expand(&code[at..], &mut Vec::new(), &mut |path| {
                    found.extend(file_of(file, path, files));
                });
            }
        }
    }
    found.remove(file);
    found
}

/// Every path that an import names: `a::{b, c::D}` is `a::b` and `a::c::D`. Returns what follows it.
fn expand<'t>(
    text: &'t str,
    before: &mut Vec<&'t str>,
    found: &mut impl FnMut(&[&str]),
) -> &'t str {
    let depth = before.len();
    let mut rest = text;
    loop {
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        before.push(&rest[..end]);
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(inner) if inner.starts_with('{') => {
                rest = &inner[1..];
                loop {
                    rest = rest.trim_start_matches([' ', '\n', ',']);
                    if let Some(after) = rest.strip_prefix('}') {
                        before.truncate(depth);
                        return after;
                    }
                    if !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                        before.truncate(depth);
                        return rest;
                    }
                    rest = expand(rest, before, found);
                    // A name of its own: `as _`.
                    if let Some(renamed) = rest.strip_prefix(" as ") {
                        let end = renamed.find([',', '}']).unwrap_or(renamed.len());
                        rest = &renamed[end..];
                    }
                }
            }
            Some(inner) => rest = inner,
            None => {
                found(before);
                before.truncate(depth);
                return rest;
            }
        }
    }
}

/// The file in which what a path names stands: the longest part of it that is a file.
fn file_of(from: &str, path: &[&str], files: &BTreeMap<String, String>) -> Option<String> {
    // `a/mod` is the module `a`, and what it imports starts there.
    let mut place: Vec<&str> = from.split('/').collect();
    if place.last() == Some(&"mod") {
        place.pop();
    }
    for &part in path {
        match part {
            "crate" => place.clear(),
            "self" => {}
            "super" => {
                place.pop();
            }
            name => place.push(name),
        }
    }
    while !place.is_empty() {
        let path = place.join("/");
        for file in [format!("{path}/mod"), path] {
            if files.contains_key(&file) {
                return Some(file);
            }
        }
        place.pop();
    }
    None
}

/// No circle of files in a room: each can be read after those that it imports from. That a folder's files use what its
/// `mod.rs` holds, and that uses them, is how a folder is made, and counts for none.
#[test]
fn files_of_a_room_run_in_no_circle() {
    let mut files = BTreeMap::new();
    for path in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&path).expect("readable");
        let name = path
            .strip_prefix("src")
            .expect("inside src")
            .with_extension("");
        files.insert(name.to_str().expect("plain names").to_owned(), text);
    }
    let mut arrows: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in &files {
        let inside = |door: &str| {
            door.strip_suffix("mod")
                .is_some_and(|folder| file.starts_with(folder))
        };
        let mut targets = imported_files(file, text, &files);
        targets.retain(|target| !inside(target) && target != "lib");
        arrows.insert(file, targets);
    }
    let known = |from: &str, to: &str| arrows.get(from).is_some_and(|all| all.contains(to));
    assert!(
        known("lower/service", "lower/block"),
        "is this test blind? {:?}",
        arrows.get("lower/service")
    );
    assert!(known("check/assembly", "check/statement/track") && known("cli/doctor", "apply/mod"));
    // Files that nothing imports which is left are taken away; what stays runs in circles.
    let mut left: BTreeSet<&str> = arrows.keys().copied().collect();
    loop {
        let needed: BTreeSet<&str> = left
            .iter()
            .filter_map(|file| arrows.get(file))
            .flatten()
            .map(String::as_str)
            .collect();
        let before = left.len();
        left.retain(|file| needed.contains(file));
        if left.len() == before {
            break;
        }
    }
    // And what is only imported by those, until each left one also imports one that is left.
    loop {
        let before = left.len();
        let stays: Vec<&str> = left
            .iter()
            .copied()
            .filter(|file| {
                arrows
                    .get(file)
                    .is_some_and(|all| all.iter().any(|to| left.contains(to.as_str())))
            })
            .collect();
        left = stays.into_iter().collect();
        if left.len() == before {
            break;
        }
    }
    assert!(
        left.is_empty(),
        "files in circles, or between two: {left:?}"
    );
}

/// How many lines a file may have, and a room without its tests; longer ones are argued for in docs/architecture.md, where
/// each stands with its name. A file that holds nothing but tests is a list, each read alone.
const LONGEST_FILE: usize = 500;
const LARGEST_ROOM: usize = 4_500;

/// What may be longer, and how long.
const LONGER_FILES: [(&str, usize); 1] = [("src/syntax/foreign.rs", 700)];
const LARGER_ROOMS: [(&str, usize); 5] = [
    ("lower", 5_500),
    ("emit", 5_000),
    ("kernel", 5_800),
    ("check", 5_000),
    ("syntax", 5_500),
];

#[test]
fn files_and_rooms_fit_in_a_head() {
    let argued = fs::read_to_string("docs/architecture.md").expect("readable");
    let (_, argued) = argued.split_once("\n## Sizes\n").expect("its section");
    let argued = argued.split("\n## ").next().unwrap_or_default();
    let mut rooms: BTreeMap<String, usize> = BTreeMap::new();
    for file in rust_files(Path::new("src")) {
        let name = file.to_str().expect("plain names");
        if name.ends_with("/tests.rs") || name.contains("/tests/") {
            continue;
        }
        let lines = fs::read_to_string(&file).expect("readable").lines().count();
        let room = room_of(&file).expect("inside src");
        *rooms.entry(room).or_default() += lines;
        fits(name, lines, LONGEST_FILE, &LONGER_FILES, argued);
    }
    for (room, lines) in &rooms {
        fits(room, *lines, LARGEST_ROOM, &LARGER_ROOMS, argued);
    }
    let there = |name: &str| rooms.contains_key(name) || Path::new(name).exists();
    assert!(
        LONGER_FILES
            .iter()
            .chain(&LARGER_ROOMS)
            .all(|(name, _)| there(name))
    );
}

#[track_caller]
fn fits(name: &str, lines: usize, limit: usize, exceptions: &[(&str, usize)], argued: &str) {
    let exception = exceptions.iter().find(|(known, _)| *known == name);
    let Some((_, most)) = exception else {
        assert!(lines <= limit, "{name} has {lines} lines: cut it, or argue");
        return;
    };
    assert!(
        lines <= *most,
        "{name} has {lines} lines: cut it, or argue anew"
    );
    assert!(lines > limit, "{name} needs no exception any more");
    assert!(
        argued.contains(&format!("| `{name}` |")),
        "docs/architecture.md does not say why {name} is longer"
    );
}
