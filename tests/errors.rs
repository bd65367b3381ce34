//! Every fault, from source text to what the operator reads.
//!
//! `tests/errors/cases/CODE.flb` (or `CODE--WHAT.flb`, or a folder of that name with a `main.flb`) is a file
//! with that fault, and the `.txt` of the same name what flbc says about it, all of it. `FLBC_BLESS=1` writes
//! the `.txt` files anew.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use flbc::check::{advise, check, require_source_macs};
use flbc::diagnostic::render::{Options, human, json};
use flbc::diagnostic::{Code, Diagnostics};
use flbc::source::{MAX_FILE_BYTES, Sources};
use flbc::syntax::{Input, parse_program};

const CASES: &str = "tests/errors/cases";

/// Codes without a case here, and why.
const ELSEWHERE: &[(Code, &str)] = &[
    (Code::FileTooLarge, "a_file_that_is_too_large, below"),
    (
        Code::WorldWritable,
        "a_file_that_everybody_may_write, below",
    ),
    (Code::RoundedWeights, "the tests of the schedule"),
    (Code::FormatCannotSay, "the command line's tests of output"),
    (Code::NoSuchInterface, "the kernel suite's tests of apply"),
    (Code::LeftOut, "the kernel suite's tests of apply"),
    (
        Code::VipOfAnotherTable,
        "the kernel suite's tests of two tables",
    ),
    (Code::KernelRefused, "the kernel suite's tests of apply"),
    (Code::StrangeTable, "the kernel suite's tests of apply"),
    (Code::TooMany, "the tests of the schedule"),
];

fn faults(input: Input) -> (Diagnostics, Sources) {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    if let Some(tree) = parse_program(input, &mut sources, &mut sink) {
        let model = check(&tree, &sources, &mut sink);
        require_source_macs(&model, &mut sink);
        advise(&model, &mut sink);
    }
    (sink, sources)
}

fn rendered(sink: &Diagnostics, sources: &Sources) -> String {
    let mut text = String::new();
    human(sink, sources, Options::PLAIN, &mut text).expect("a String takes everything");
    text
}

/// The cases: where each starts, what is expected, and the code that it is for.
fn cases() -> Vec<(PathBuf, PathBuf, String)> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(CASES).expect("the folder of cases") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let code = stem.split("--").next().unwrap().to_owned();
        let expected = Path::new(CASES).join(format!("{stem}.txt"));
        if path.is_dir() {
            cases.push((path.join("main.flb"), expected, code));
        } else if path.extension().is_some_and(|extension| extension == "flb") {
            cases.push((path, expected, code));
        } else {
            let has_source =
                path.with_extension("flb").exists() || path.with_extension("").is_dir();
            assert!(has_source, "{} has no source", path.display());
        }
    }
    cases.sort();
    cases
}

#[test]
fn every_case_says_what_it_said() {
    let bless = std::env::var_os("FLBC_BLESS").is_some();
    let mut changed = Vec::new();
    for (source, expected, code) in cases() {
        let (sink, sources) = faults(Input::Path(source.clone()));
        assert!(
            code == "fine" || sink.sorted().iter().any(|fault| fault.code.name() == code),
            "{} does not show {code}:\n{}",
            source.display(),
            rendered(&sink, &sources)
        );
        let text = rendered(&sink, &sources);
        if bless {
            fs::write(&expected, text).expect("a writable folder");
        } else if fs::read_to_string(&expected).unwrap_or_default() != text {
            changed.push(format!("{}:\n{text}", source.display()));
        }
    }
    assert!(
        changed.is_empty(),
        "FLBC_BLESS=1 accepts these changes:\n{}",
        changed.join("\n")
    );
}

#[test]
fn every_code_has_a_case() {
    let mut seen: BTreeSet<_> = cases().into_iter().map(|(_, _, code)| code).collect();
    seen.remove("fine");
    for (code, _) in ELSEWHERE {
        assert!(!seen.contains(code.name()), "{code} has a case");
        seen.insert(code.name().to_owned());
    }
    let all: BTreeSet<_> = Code::ALL
        .iter()
        .map(|code| code.name().to_owned())
        .collect();
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
    let unknown: Vec<_> = seen.difference(&all).collect();
    assert!(unknown.is_empty(), "no code for {unknown:?}");
}

#[test]
fn a_file_that_is_too_large() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.as_file()
        .set_len(MAX_FILE_BYTES + 1)
        .expect("a sparse file");
    let (sink, sources) = faults(Input::Path(file.path().into()));
    let codes: Vec<_> = sink.sorted().iter().map(|fault| fault.code).collect();
    assert_eq!(codes, [Code::FileTooLarge]);
    assert!(rendered(&sink, &sources).ends_with("1 error\n"));
}

#[test]
fn a_file_that_everybody_may_write() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let main = folder.path().join("main.flb");
    let included = folder.path().join("more.flb");
    fs::write(&main, "include \"more.flb\"\n").unwrap();
    fs::write(&included, "# nothing\n").unwrap();
    fs::set_permissions(&included, fs::Permissions::from_mode(0o666)).unwrap();
    let (sink, _) = faults(Input::Path(main));
    let codes: Vec<_> = sink.sorted().iter().map(|fault| fault.code).collect();
    assert_eq!(codes, [Code::WorldWritable]);
}

fn text(source: &str) -> String {
    let (sink, sources) = faults(Input::Stdin(source.into()));
    rendered(&sink, &sources)
}

#[test]
fn faults_come_in_file_order() {
    let source = "service a {\n    pool nowhere\n    vip 10.0.0.1 tcp 0\n}\nservice b {\n    vip 10.0.0.2 tcp 80\n    server 10.0.0.9 weight 70000\n    mode dr on eth0/1\n}\ndefine unused = 1\nservice a {\n    vip 10.0.0.2 tcp 80\n    server 10.0.0.9\n}\n";
    let (sink, sources) = faults(Input::Stdin(source.into()));
    let found: Vec<_> = sink
        .sorted()
        .iter()
        .map(|fault| {
            let place = sources.place(fault.span.unwrap());
            format!("{}:{} {}", place.line, place.column, fault.code)
        })
        .collect();
    assert_eq!(
        found,
        [
            "2:10 undefined-pool",
            "3:22 bad-port",
            "7:28 bad-weight",
            "8:16 bad-interface",
            "10:8 unused-constant",
            "11:9 duplicate-service",
            "12:22 vip-claimed-twice",
        ]
    );
}

#[test]
fn every_fault_shows_place_and_code_in_ascii() {
    let text = text("service a {\n    vip 10.0.0.1 tcp 80\n    server 10.0.0.300\n}\n");
    assert!(text.contains("<stdin>:3:12"), "{text}");
    assert!(text.contains("error[bad-address]"), "{text}");
    assert!(text.ends_with("1 error in <stdin>\n"), "{text}");
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn nothing_from_a_file_drives_the_terminal() {
    let evil = "\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{200b}\u{2066}\u{e0041}\u{85}";
    for source in [
        format!(
            "service \"{evil}\" {{\n    vip \"{evil}\" \"{evil}\" \"{evil}\"\n    server \"{evil}\" weight \"{evil}\" # {evil}\n}}\n"
        ),
        format!("define \"{evil}\" = \"{evil}\"\ninclude \"{evil}\"\n{evil}\n"),
        format!(
            "service x {{\n    vip 10.0.0.1 tcp 80 # {evil}\n    pool \"{evil}\"\n    scheduler \"{evil}\"\n    persist \"{evil}\" by \"{evil}\"\n    mode dr on \"{evil}\"\n}}\n"
        ),
    ] {
        let (sink, sources) = faults(Input::Stdin(source.clone().into()));
        assert!(sink.errors() > 0);
        let mut all = Vec::new();
        json([(&sink, &sources)], &mut all).unwrap();
        let mut texts = vec![String::from_utf8(all).unwrap()];
        for unicode in [false, true] {
            let options = Options {
                unicode,
                width: Some(80),
                ..Options::PLAIN
            };
            let mut text = String::new();
            human(&sink, &sources, options, &mut text).unwrap();
            texts.push(text);
        }
        for text in texts {
            let bad = text
                .chars()
                .find(|c| *c != '\n' && flbc::diagnostic::is_treacherous(*c));
            assert_eq!(bad, None, "{text}");
        }
    }
}

#[test]
fn a_file_name_does_not_drive_the_terminal() {
    let mut sources = Sources::new();
    let file = sources.add(
        "a\u{1b}[2J\u{202e}b.flb",
        "".into(),
        "service a {}\n".into(),
    );
    let mut sink = Diagnostics::new();
    let tree = flbc::syntax::parse(file, &sources, &mut sink);
    check(&tree, &sources, &mut sink);
    let text = rendered(&sink, &sources);
    assert!(text.contains("a\\u{1b}[2J\\u{202e}b.flb:1:9"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn a_long_line_is_shown_in_part() {
    let long = "x".repeat(5_000_000);
    let source =
        format!("service a {{ vip 10.0.0.1 tcp 80; server {long}é {long}; server 10.0.0.1 }}\n");
    let text = text(&source);
    assert!(text.len() < 4_000, "{} bytes", text.len());
    assert!(text.contains("..."), "{text}");
}

#[test]
fn many_faults_on_one_long_line_take_no_time() {
    let faults = "server é; ".repeat(100_000);
    let source = format!("service a {{ vip 10.0.0.1 tcp 80; {faults} }}\n");
    let start = std::time::Instant::now();
    let text = text(&source);
    assert!(
        text.contains("... and 90000 more"),
        "{}",
        &text[text.len() - 200..]
    );
    assert!(text.contains("100000 errors in <stdin>"));
    // Counting from the start of the line for each fault took minutes.
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn faults_at_the_end_of_a_file_are_shown() {
    for source in [
        "service a {",
        "service a {\n",
        "define",
        "\"",
        "pool p {\n    server",
    ] {
        let text = text(source);
        assert!(text.contains("<stdin>:"), "{source}: {text}");
    }
}

#[test]
fn programs_read_places_and_words() {
    let source = "service é { vip 10.0.0.1 tcp 80; vip 10.0.0.1 tcp 80; server 10.0.0.2 }\n";
    let (sink, sources) = faults(Input::Stdin(source.into()));
    let mut all = Vec::new();
    json([(&sink, &sources)], &mut all).unwrap();
    let read: serde_json::Value = serde_json::from_slice(&all).unwrap();
    let fault = &read[1];
    assert_eq!(fault["severity"], "error");
    assert_eq!(fault["code"], "vip-claimed-twice");
    assert_eq!(fault["file"], "<stdin>");
    assert_eq!((&fault["line"], &fault["column"]), (&1.into(), &51.into()));
    assert_eq!(
        (&fault["end_line"], &fault["end_column"]),
        (&1.into(), &53.into())
    );
    assert_eq!(fault["related"][0]["column"], 30);
    assert!(
        fault["message"]
            .as_str()
            .unwrap()
            .contains("10.0.0.1 tcp 80")
    );
}
