//! Every golden file and every example loads into the kernel, and text and JSON load to the same state.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::namespace::Namespace;
use crate::operator::flbc;

/// The `.flb` files in a directory of this package.
fn files_in(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries =
        fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "flb"))
        .collect();
    files.sort();
    assert!(
        !files.is_empty(),
        "{} holds no .flb file",
        directory.display()
    );
    files
}

/// The interfaces that a ruleset names: what it quotes, but for comments.
pub(crate) fn interfaces(text: &str) -> BTreeSet<&str> {
    let rules = text
        .lines()
        .map(|line| line.split_once(" # ").map_or(line, |(rule, _)| rule))
        .filter(|line| !line.trim_start().starts_with('#'));
    rules
        .flat_map(|rule| {
            let pieces: Vec<&str> = rule.split('"').collect();
            let quoted = (1..pieces.len())
                .step_by(2)
                .filter(|at| !pieces[at - 1].trim_end().ends_with("comment"));
            quoted.map(|at| pieces[at]).collect::<Vec<_>>()
        })
        .collect()
}

/// A namespace that has these interfaces.
pub(crate) fn machine_with(interfaces: &BTreeSet<&str>) -> Namespace {
    let namespace = Namespace::new("golden");
    let lines = (0..).zip(interfaces).map(|(number, interface): (u32, _)| {
        format!("link add {interface} type veth peer name peer{number}")
    });
    namespace.ip(&lines.collect::<Vec<_>>().join("\n"));
    namespace
}

/// Loads both forms, twice each, and compares what the kernel then has.
fn assert_same_state(case: &Case) {
    let (what, text) = (&case.file, &case.text);
    let by_text = case.machine();
    by_text.nft(text);
    let listed = by_text.nft_list(&["ruleset"]);
    assert!(!listed.is_empty(), "{}: nothing was loaded", what.display());
    by_text.nft(text);
    assert_eq!(
        by_text.nft_list(&["ruleset"]),
        listed,
        "{}: loaded twice",
        what.display()
    );
    let Some(json) = &case.json else {
        return;
    };
    let by_json = case.machine();
    by_json.nft_json(json);
    assert_eq!(
        by_json.nft_list(&["ruleset"]),
        listed,
        "{}: text and JSON differ",
        what.display()
    );
    // And one replaces the other.
    by_json.nft(text);
    assert_eq!(
        by_json.nft_list(&["ruleset"]),
        listed,
        "{}: text over JSON",
        what.display()
    );
}

/// A file and what `flbc compile` makes of it.
pub(crate) struct Case {
    /// The `.flb` file.
    pub(crate) file: PathBuf,
    /// Its rules as text.
    pub(crate) text: String,
    /// Its rules as JSON, where that has words for them.
    pub(crate) json: Option<String>,
}

impl Case {
    /// A namespace that has the interfaces that the rules name.
    pub(crate) fn machine(&self) -> Namespace {
        machine_with(&interfaces(&self.text))
    }
}

/// Every golden file.
pub(crate) fn goldens() -> Vec<Case> {
    let case = |file: PathBuf| {
        let form = |extension| {
            let path = file.with_extension(extension);
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let text = form("nft");
        // The tests of goldens see to it that none is missing but where JSON has no words.
        let json = (!text.contains("flags dynamic")).then(|| form("json"));
        Case { file, text, json }
    };
    files_in("tests/golden").into_iter().map(case).collect()
}

/// Every example.
pub(crate) fn examples() -> Vec<Case> {
    let mut files = files_in("examples");
    files.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/site/main.flb"));
    let case = |file: PathBuf| {
        let [text, json] = ["nft", "json"].map(|format| {
            let output = flbc(&["compile", "--format", format, file.to_str().unwrap()], "");
            assert!(
                output.status.success(),
                "{}: {}",
                file.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap()
        });
        let json = Some(json);
        Case { file, text, json }
    };
    files.into_iter().map(case).collect()
}

#[test]
fn every_golden_loads_the_same_by_text_and_json() {
    goldens().iter().for_each(assert_same_state);
}

#[test]
fn every_example_loads_the_same_by_text_and_json() {
    for case in examples() {
        let source = fs::read_to_string(&case.file).unwrap();
        assert!(
            source.starts_with("# "),
            "{}: the first line says what the example is for",
            case.file.display()
        );
        assert_same_state(&case);
    }
}
