//! `--table`

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{GOOD, flbc_fed};

/// Loads rules in a network namespace of their own; the tables that are there then.
#[track_caller]
pub(super) fn load(rules: &str) -> String {
    let mut child = super::unshare("--net")
        .args([
            "sh",
            "-c",
            "nft -f - && nft list ruleset >/dev/null && nft list tables",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(rules.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn good_names_load() {
    let long = "t".repeat(64);
    for name in [
        "flbc",
        "lb",
        "lb-2",
        "LB_2",
        "a",
        "ips",
        "tables",
        "flbc-drop",
        "x1",
        &long,
    ] {
        let run = flbc_fed(&["compile", "--table", name, "-"], GOOD.as_bytes());
        assert_eq!(run.status, 0, "{name}: {}", run.stderr);
        assert_eq!(load(&run.stdout), format!("table inet {name}\n"));
        let json = flbc_fed(
            &["compile", "--table", name, "--format", "json", "-"],
            GOOD.as_bytes(),
        );
        assert!(json.stdout.contains(&format!("\"{name}\"")));
        assert!(name == "flbc" || !json.stdout.contains("\"flbc\""));
    }
}

#[test]
fn names_that_nft_cannot_read_are_refused() {
    let long = "t".repeat(65);
    for name in [
        "", "1a", "a b", "-a", "_a", "a.b", "a/b", "a;b", "a}", "a\"b", "a'b", "a#b", "a\nb", "é",
        "$a", "@a", "*", &long,
    ] {
        let argument = format!("--table={name}");
        let run = flbc_fed(&["compile", &argument, "-"], GOOD.as_bytes());
        run.assert_bad("--table");
    }
    for name in [
        "ip", "ip6", "inet", "netdev", "table", "chain", "drop", "accept", "counter", "dnat",
        "mark", "tcp",
    ] {
        let run = flbc_fed(&["compile", "--table", name, "-"], GOOD.as_bytes());
        run.assert_bad(&format!("write `flbc-{name}`"));
    }
    for command in [
        &["apply", "--table", "ip", "-"][..],
        &["status", "--table", "ip"],
        &["unload", "--table", "ip"],
    ] {
        flbc_fed(command, b"").assert_bad("--table");
    }
}

/// Every word that this nft's own scanner has, tried: what flbc lets through, nft reads.
#[test]
fn no_word_of_nft_gets_through_that_it_cannot_read() {
    let nft = Command::new("sh")
        .args([
            "-c",
            "ldd \"$(command -v nft)\" | sed -n 's/.*libnftables[^ ]* => \\([^ ]*\\).*/\\1/p'",
        ])
        .output()
        .unwrap();
    let library = String::from_utf8(nft.stdout).unwrap();
    let bytes = std::fs::read(library.trim()).unwrap();
    let words: std::collections::BTreeSet<&str> = bytes
        .split(|byte| *byte == 0)
        .filter_map(|word| std::str::from_utf8(word).ok())
        .filter(|word| flbc::ruleset::name::check_table(word).is_ok() && word.len() <= 24)
        .filter(|word| {
            word.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        })
        .collect();
    assert!(words.len() > 300, "only {} words in {library}", words.len());
    // Each alone says which it is; all in one file are quicker, and one is enough to fail.
    let rules: Vec<String> = words
        .iter()
        .map(|word| format!("add table inet {word}\n"))
        .collect();
    let listed = load(&rules.concat());
    assert_eq!(listed.lines().count(), words.len());
}
