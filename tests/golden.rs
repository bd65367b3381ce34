//! Small files and all that flbc makes of them, to the byte.
//!
//! `tests/golden/NAME.flb` compiles to `NAME.nft` and `NAME.json`. `FLBC_BLESS=1` writes both anew; read the difference
//! before you commit it. The kernel tests load the same files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flbc::diagnostic::Diagnostics;
use flbc::model::{Family, Member, Model, Ports};
use flbc::source::{Sources, Span};
use flbc::syntax::{Input, Keyword, OptionWord};

const FOLDER: &str = "tests/golden";

/// The form that `--format` asks for and the ending of its files.
const FORMS: [&str; 2] = ["nft", "json"];

/// The forms that a golden has: nft 1.0.6's JSON cannot say what remembers clients or flows.
fn forms(file: &Path) -> impl Iterator<Item = &'static str> {
    let source = fs::read_to_string(file).unwrap();
    let remembers = source.lines().any(|line| {
        ["persist ", "track "]
            .iter()
            .any(|word| line.trim().starts_with(word))
    });
    let forms = FORMS.into_iter();
    forms.filter(move |form| !(remembers && *form == "json"))
}

fn goldens() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in &files {
        let is_known = file
            .extension()
            .is_some_and(|e| e == "flb" || FORMS.iter().any(|form| e == *form));
        assert!(is_known, "{} is no golden", file.display());
        assert!(
            file.with_extension("flb").exists(),
            "{} has no source",
            file.display()
        );
    }
    files.retain(|file| file.extension().is_some_and(|e| e == "flb"));
    assert!(files.len() > 5, "only {} goldens", files.len());
    files
}

fn compile(form: &str, directory: &Path, file: &Path) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_flbc"))
        .args(["compile", "--format", form])
        .arg(file)
        .current_dir(directory)
        .output()
        .unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{}: {stderr}", file.display());
    assert_eq!(stderr, "", "{}", file.display());
    String::from_utf8(stdout).unwrap()
}

#[test]
fn every_golden_compiles_to_these_bytes() {
    let bless = std::env::var_os("FLBC_BLESS").is_some();
    let mut changed = Vec::new();
    for file in goldens() {
        for form in forms(&file) {
            let made = compile(form, Path::new("."), &file);
            let kept = file.with_extension(form);
            if bless {
                fs::write(&kept, &made).unwrap();
            } else if fs::read_to_string(&kept).unwrap_or_default() != made {
                changed.push(kept);
            }
        }
    }
    assert!(
        changed.is_empty(),
        "these differ from what flbc makes now: {changed:?}; `FLBC_BLESS=1 cargo test --test golden` accepts it"
    );
}

/// The same again, by the same name in another folder, and by another name: a name stands in comments only.
#[test]
fn bytes_depend_on_the_file_and_its_name_alone() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(elsewhere.path().join(FOLDER)).unwrap();
    for file in goldens() {
        fs::copy(&file, elsewhere.path().join(&file)).unwrap();
        let absolute = elsewhere.path().join(&file);
        for form in forms(&file) {
            let here = compile(form, Path::new("."), &file);
            assert_eq!(compile(form, Path::new("."), &file), here);
            assert_eq!(compile(form, elsewhere.path(), &file), here);
            let by_other_name = compile(form, Path::new("/"), &absolute);
            let renamed = by_other_name.replace(absolute.to_str().unwrap(), file.to_str().unwrap());
            assert_eq!(renamed, here);
        }
    }
}

fn model_of(file: &Path) -> (Model, Sources) {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let model = flbc::read(Input::Path(file.into()), &mut sources, &mut sink);
    (model.unwrap(), sources)
}

/// A reader of the rules finds the line of each service, VIP and server, and the kernel keeps their names.
#[test]
fn everything_leads_back_to_its_line() {
    for file in goldens() {
        let (model, sources) = model_of(&file);
        let text = fs::read_to_string(file.with_extension("nft")).unwrap();
        let json = forms(&file)
            .find(|form| *form == "json")
            .map(|form| fs::read_to_string(file.with_extension(form)).unwrap());
        let in_json = |text: &str| json.as_ref().is_none_or(|json| json.contains(text));
        let origin = |span: Span| format!("# {}:{}", file.display(), sources.place(span).line);
        let assert_line = |parts: &[&str], span: Span| {
            let origin = origin(span);
            let is_there = text.lines().any(|line| {
                line.ends_with(&origin) && parts.iter().all(|part| line.contains(part))
            });
            assert!(
                is_there,
                "no line of {} has {parts:?} and {origin}",
                file.display()
            );
        };
        for service in &model.services {
            for vip in &service.vips {
                let digit = if Family::of(vip.address) == Family::V4 {
                    4
                } else {
                    6
                };
                let chain = format!("svc_{}_v{digit}", service.name);
                let address = match vip.ports {
                    // The map holds the ranges of one protocol.
                    Ports::Range(first, last) => format!(" {} . {first}-{last}", vip.address),
                    Ports::One(_) | Ports::Any => {
                        format!(" {} . {}", vip.address, vip.protocol.name())
                    }
                };
                assert_line(&[&address], vip.span);
                assert_line(&[&format!("goto {chain},")], vip.span);
                let rule = text
                    .split_once(&format!("chain {chain} {{\n"))
                    .and_then(|(_, rules)| rules.lines().next())
                    .unwrap();
                assert!(rule.ends_with(&origin(service.span)), "{rule}");
                assert!(in_json(&format!("\"{chain}\"")));
            }
            for member in &service.members {
                let (servers, of) = match member {
                    Member::Pool(id) => {
                        let pool = model.pool(*id);
                        (pool.real_servers.as_slice(), format!("pool {}", pool.name))
                    }
                    Member::Server(server) => {
                        (std::slice::from_ref(server), service.name.to_string())
                    }
                };
                for server in servers {
                    // A pool in a service that has more is part of that service.
                    let names = [of.as_str(), &service.name];
                    let comment = names
                        .map(|of| format!(", {} of {of}\"", server.name))
                        .into_iter()
                        .find(|comment| text.contains(comment.as_str()))
                        .unwrap_or_else(|| {
                            panic!("{}: no {} of {of}", file.display(), server.name)
                        });
                    assert_line(&["comment \"weight ", &comment], server.span);
                    assert!(in_json(&comment), "{comment}");
                }
            }
        }
    }
}

/// What the goldens must use between them. A word that no golden has is a word that no kernel test loads.
#[test]
fn goldens_use_the_whole_language() {
    let mut all = String::new();
    for file in goldens() {
        all += &fs::read_to_string(file).unwrap();
    }
    let words: BTreeSet<&str> = all
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'))
        .collect();
    let statements = Keyword::ALL.iter().map(|keyword| keyword.text());
    let options = OptionWord::ALL.iter().map(|option| option.text());
    let inner = [
        "nat",
        "masquerade",
        "snat",
        "dr",
        "on",
        "from",
        "tcp",
        "udp",
        "sctp",
        "any",
        "round-robin",
        "random",
        "hash",
        "maglev",
        "by",
        "source",
        "table",
        "reject",
        "drop",
    ];
    for word in statements.chain(options).chain(inner) {
        // Its files are read before anything is compiled: tests/includes.rs.
        if word == Keyword::Include.text() {
            continue;
        }
        assert!(words.contains(word), "no golden has `{word}`");
    }
}

/// nft 1.1 lists bits of a packet under a mask with gaps as other bits: what it saved it could not restore, or it would
/// mean another thing. `make test-nft` shows it; this tells it before.
#[test]
fn bits_of_a_packet_are_one_run() {
    let mut masks = 0;
    for file in goldens() {
        let rules = fs::read_to_string(file.with_extension("nft")).unwrap();
        for line in rules.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            for at in words.windows(3) {
                let [field, "&", mask] = at else { continue };
                let (true, Some(mask)) = (field.starts_with('@'), mask.strip_prefix("0x")) else {
                    continue;
                };
                let mask = u32::from_str_radix(mask, 16).unwrap();
                let run = mask >> mask.trailing_zeros();
                assert!((run & (run + 1)) == 0, "{}: {line}", file.display());
                masks += 1;
            }
        }
    }
    assert!(masks > 50, "only {masks} masks");
}
