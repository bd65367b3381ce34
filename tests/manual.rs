//! What the manual, the README and the examples say is so.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flbc::diagnostic::{Code, Severity};
use flbc::syntax::{Home, Keyword, OptionWord, SCHEDULER_ALIASES};

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A section of flb.5, from its heading to the next.
fn section<'p>(page: &'p str, name: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("\n.Sh {name}\n")).unwrap();
    rest.split("\n.Sh ").next().unwrap()
}

/// Runs flbc; standard output, and the whole of what went wrong.
fn flbc(arguments: &[&str], stdin: &str) -> Result<String, String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_flbc"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    if output.status.success() && stderr.is_empty() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(format!("{}\n{stderr}", output.status))
    }
}

/// It compiles without a fault, not even a warning, and is in its canonical form.
#[track_caller]
fn assert_right(what: &str, text: &str) {
    if let Err(fault) = flbc(&["compile", "-"], text) {
        panic!("{what} does not compile: {fault}\n{text}");
    }
    let canonical = flbc(&["fmt", "-"], text).unwrap();
    assert_eq!(text, canonical, "{what} is not in canonical form");
}

#[test]
fn flb_5_explains_every_code_in_order() {
    let page = read("man/flb.5");
    let faults = section(&page, "FAULTS");
    let explained: Vec<&str> = faults
        .lines()
        .filter_map(|line| line.strip_prefix(".It Cm "))
        .collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(explained, codes);
    // Each in a sentence or more.
    for item in faults.split(".It Cm ").skip(1) {
        let (name, text) = item.split_once('\n').unwrap();
        let text = text.split("\n.El").next().unwrap();
        assert!(
            text.trim().len() > 20 && text.trim_end().ends_with('.'),
            "{name}: {text}"
        );
    }
    // Warnings stand apart.
    let (errors, warnings) = faults.split_once(".Ss Warnings").unwrap();
    for code in Code::ALL {
        let part = match code.severity() {
            Severity::Error => errors,
            Severity::Warning => warnings,
        };
        assert!(part.contains(&format!(".It Cm {code}\n")), "{code}");
    }
}

#[test]
fn flb_5_names_no_code_that_does_not_exist() {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    let page = read("man/flb.5");
    let named = page.lines().filter_map(|line| {
        let line = line.strip_prefix(".Cm ")?;
        line.split(' ').next()
    });
    let mut seen = 0;
    for name in named {
        seen += 1;
        assert!(codes.contains(name), "{name}");
    }
    assert!(seen > 0);
}

#[test]
fn every_example_of_flb_5_compiles() {
    let page = read("man/flb.5");
    let examples: Vec<&str> = section(&page, "EXAMPLES")
        .split(".Bd -literal -offset indent\n")
        .skip(1)
        .map(|rest| rest.split(".Ed").next().unwrap())
        .collect();
    assert!(examples.len() >= 5, "only {} found", examples.len());
    for (at, example) in examples.iter().enumerate() {
        assert_right(&format!("example {} of flb.5", at + 1), example);
    }
    let first = page.split(".Bd -literal -offset indent\n").nth(1).unwrap();
    assert_right(
        "the first file of flb.5",
        first.split(".Ed").next().unwrap(),
    );
}

/// The table of words, the manual and the fuzzer's dictionary know the same language.
#[test]
fn flb_5_has_the_code_of_every_event() {
    let page = fs::read_to_string("man/flb.5").expect("readable");
    let (_, section) = page.split_once(".Ss Codes of events").expect("a section");
    let (section, _) = section.split_once(".El").expect("a list");
    for kind in flbc::control::Kind::ALL {
        let words = section.lines().filter_map(|line| line.strip_prefix(".It "));
        let has = words
            .flat_map(|line| line.split([' ', ',']))
            .any(|word| word == kind.code());
        assert!(has, "flb.5 says nothing of `{}`", kind.code());
    }
}

#[test]
fn flb_5_and_the_dictionary_have_every_word() {
    let page = read("man/flb.5");
    let dictionary = read("fuzz/flb.dict");
    let items = |word: &str| {
        let item = format!(".It Ic {word}");
        let mut lines = page.lines();
        lines.any(|line| {
            line.strip_prefix(&item)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    };
    let statements = Keyword::ALL.iter().map(|keyword| keyword.text());
    let options = OptionWord::ALL.iter().map(|option| option.text());
    for word in statements.chain(options) {
        assert!(items(word), "flb.5 has no item for `{word}`");
        let quoted = format!("\"{word}");
        assert!(
            dictionary.lines().any(|line| line.starts_with(&quoted)),
            "fuzz/flb.dict has no `{word}`"
        );
    }
    for (alias, ..) in SCHEDULER_ALIASES {
        assert!(
            page.contains(&format!(".Ic {alias} ")),
            "flb.5 does not name `{alias}`"
        );
    }
}

/// What flb.5 says that `defaults` can hold is what it can hold.
#[test]
fn flb_5_lists_what_defaults_can_hold() {
    let page = read("man/flb.5");
    let (_, list) = page.split_once("\nIt can hold\n").unwrap();
    let list = list.split("\n.Pp").next().unwrap();
    let listed: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix(".Ic ")?.split(' ').next())
        .collect();
    let all = Home::Defaults.statements().map(Keyword::text);
    assert_eq!(listed, all.collect());
}

/// What the language can say, the changelog has told.
#[test]
fn the_changelog_has_every_word() {
    let changelog = read("CHANGELOG.md");
    let statements = Keyword::ALL.iter().map(|keyword| keyword.text());
    let options = OptionWord::ALL.iter().map(|option| option.text());
    for word in statements.chain(options) {
        let told = ["`", " "]
            .iter()
            .any(|end| changelog.contains(&format!("`{word}{end}")));
        assert!(told, "CHANGELOG.md has no `{word}`");
    }
}

/// The blocks of a page that begin with this line.
fn blocks<'p>(page: &'p str, fence: &str) -> Vec<&'p str> {
    let start = format!("\n{fence}\n");
    page.split(&start)
        .skip(1)
        .map(|rest| {
            let end = rest.find("\n```").unwrap();
            &rest[..=end]
        })
        .collect()
}

#[test]
fn every_flb_block_of_the_readme_compiles() {
    let readme = read("README.md");
    let blocks = blocks(&readme, "```flb");
    assert!(blocks.len() >= 2, "only {} found", blocks.len());
    for block in blocks {
        assert_right("a block of README.md", block);
    }
}

/// The rules that a page shows of a file stand in what that file compiles to, in their order.
#[test]
fn the_rules_that_the_readme_shows_are_those_that_come_out() {
    let readme = read("README.md");
    let section = readme.split_once("## What comes out").unwrap().1;
    let source = blocks(section, "```flb")[0];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lb.flb"), source).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_flbc"))
        .args(["compile", "lb.flb"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let rules = String::from_utf8(output.stdout).unwrap();
    let shown = section.split("\n```\ntable inet flbc {\n").nth(1).unwrap();
    let shown = shown.split("\n```").next().unwrap();
    let mut rest = rules.lines();
    for line in shown.lines().filter(|line| !line.is_empty()) {
        assert!(
            rest.any(|rule| rule == line),
            "not in the rules, or not there: {line}\n{rules}"
        );
    }
}

/// The first words of code in the rows of tables, and in running text, that name maps and chains.
#[test]
fn docs_ruleset_names_maps_and_chains_that_exist() {
    let page = read("docs/ruleset.md");
    let mut all = String::new();
    for file in fs::read_dir("tests/golden").unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "nft") {
            all += &read(path);
        }
    }
    let declared: BTreeSet<&str> = all
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next()?, "map" | "set" | "chain").then(|| words.next())?
        })
        .collect();
    // What a page shows in full is what comes out somewhere.
    for block in page.split("\n```\n").skip(1).step_by(2) {
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            let rule = line.trim().split(" # ").next().unwrap();
            assert!(
                all.contains(rule),
                "docs/ruleset.md shows `{rule}`, which no golden has"
            );
        }
    }
    // And every set, map and chain of the goldens is explained, whatever family or interface it is of.
    let mut missing = Vec::new();
    for name in declared {
        let stem = name.split("_eth").next().unwrap();
        let stem = if stem.starts_with("svc_") {
            "svc_NAME_v4"
        } else {
            stem
        };
        let stem = if stem.starts_with("err_") {
            "err_NAME_v4"
        } else if stem.starts_with("errors") && stem.contains('_') {
            // One for each protocol and number of leading bits.
            "errors4_tcp_16"
        } else {
            stem
        };
        // One for each prefix, and for each duration.
        let kept = |kind: &str| stem.starts_with(kind) && stem.contains('_');
        let stem = if kept("keep4") || kept("keep6") {
            "keep4_24_1800"
        } else if kept("return4") || kept("return6") {
            "return4_24"
        } else if kept("returned4") || kept("returned6") {
            "returned4_24"
        } else if kept("track4") || kept("track6") {
            "track4_300_ip_via"
        } else {
            stem
        };
        // One for each protocol.
        let of_protocol = stem.replace("_range_udp", "_range_tcp");
        let of_protocol = of_protocol.replace("_range_sctp", "_range_tcp");
        let stem = if name.starts_with("on_") {
            "on_IFACE"
        } else {
            &of_protocol
        };
        let is_there = |name: &str| {
            ["`", "@"]
                .iter()
                .any(|sign| page.contains(&format!("{sign}{name}")))
        };
        let twin = stem.replace('6', "4");
        if !is_there(stem) && !is_there(&twin) {
            missing.push(name);
        }
    }
    assert_eq!(missing, [""; 0], "docs/ruleset.md does not explain these");
}

fn examples() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["examples", "examples/site", "examples/site/conf.d"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "flb"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_example_says_what_it_is_for_and_compiles() {
    let mut compiled = 0;
    for file in examples() {
        let name = file.to_str().unwrap();
        assert!(
            read(&file).starts_with("# "),
            "{name}: the first line says what it is for"
        );
        flbc(&["fmt", "--check", name], "").unwrap();
        let is_part = name.starts_with("examples/site/") && !name.ends_with("/main.flb");
        if !is_part {
            for format in ["nft", "json"] {
                flbc(&["compile", "--format", format, name], "").unwrap();
            }
            compiled += 1;
        }
    }
    assert!(compiled >= 7, "only {compiled}");
}

/// Runs systemd-analyze on the unit as it would be installed, with the program where the unit expects it.
fn analyze(arguments: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("flbc.service");
    let flbc = format!("{} ", env!("CARGO_BIN_EXE_flbc"));
    let text = read("systemd/flbc.service").replace("/usr/local/bin/flbc ", &flbc);
    fs::write(&unit, text).unwrap();
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(&unit)
        .output()
        .unwrap_or_else(|error| panic!("systemd-analyze (package systemd): {error}"));
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn systemd_has_nothing_to_complain_of_in_the_unit() {
    let (fine, said) = analyze(&["verify", "--man=no"]);
    assert!(fine && said.is_empty(), "{said}");
}

#[test]
fn the_unit_leaves_the_program_next_to_nothing() {
    // In tenths: systemd calls what is up to 1.9 "OK", its best word but "PERFECT".
    let (fine, said) = analyze(&["security", "--offline=true", "--threshold=19"]);
    assert!(fine, "{said}");
}
