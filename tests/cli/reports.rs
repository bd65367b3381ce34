//! `flbc check`, and how faults look.

use super::{BAD, GOOD, flbc_in, folder, program};

#[test]
fn check_reports_every_file() {
    let folder = folder(&[
        ("good.flb", GOOD),
        ("bad.flb", BAD),
        ("worse.flb", "servce x {\n}\n"),
    ]);
    flbc_in(folder.path(), ["check", "good.flb", "good.flb"]).assert_quiet();
    let run = flbc_in(folder.path(), ["check", "bad.flb", "good.flb", "worse.flb"]);
    run.assert_bad("bad.flb:2:");
    run.assert_bad("worse.flb:1:");
    run.assert_bad("`service`");
}

#[test]
fn json_is_one_array_for_all_files() {
    let folder = folder(&[
        ("good.flb", GOOD),
        ("bad.flb", BAD),
        ("warn.flb", "define x = 10.0.0.1\n"),
    ]);
    let run = flbc_in(
        folder.path(),
        [
            "check",
            "--format",
            "json",
            "good.flb",
            "bad.flb",
            "warn.flb",
            "missing.flb",
        ],
    );
    assert_eq!((run.status, run.stderr.as_str()), (2, ""));
    let faults: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let faults = faults.as_array().unwrap();
    let codes: Vec<&str> = faults
        .iter()
        .map(|fault| fault["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        [
            "bad-port",
            "no-service",
            "unused-constant",
            "unreadable-file"
        ]
    );
    assert_eq!(faults[0]["severity"], "error");
    assert_eq!(faults[0]["file"], "bad.flb");
    assert_eq!(faults[0]["line"], 2);
    assert_eq!(faults[0]["column"], 24);
    assert_eq!(faults[0]["end_line"], 2);
    assert_eq!(faults[0]["end_column"], 29);
    assert!(faults[0]["message"].as_str().unwrap().contains("80000"));
    assert_eq!(faults[1]["severity"], "warning");
    for fault in faults {
        for key in ["severity", "code", "message", "label", "help", "related"] {
            assert!(fault.get(key).is_some(), "no {key} in {fault}");
        }
    }
    let run = flbc_in(folder.path(), ["check", "--format", "json", "good.flb"]);
    assert_eq!(
        (run.status, run.stdout.as_str(), run.stderr.as_str()),
        (0, "[]\n", "")
    );
}

#[test]
fn colours_are_for_terminals_and_those_who_ask() {
    let folder = folder(&[("bad.flb", BAD)]);
    let has_colour = |arguments: &[&str], no_color: Option<&str>| {
        let mut command = program();
        command
            .args(arguments)
            .arg("bad.flb")
            .current_dir(folder.path());
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        let stderr = command.output().unwrap().stderr;
        stderr.contains(&0x1b)
    };
    assert!(!has_colour(&["check"], None), "no terminal");
    assert!(!has_colour(&["check", "--color", "auto"], None));
    assert!(!has_colour(&["check", "--color", "never"], None));
    assert!(has_colour(&["check", "--color", "always"], None));
    assert!(
        has_colour(&["check", "--color", "always"], Some("1")),
        "asked for by name"
    );
    assert!(has_colour(&["--color", "always", "compile"], None));
}

/// On a terminal, which `script` makes.
#[test]
fn a_terminal_gets_colours_unless_the_environment_says_no() {
    let folder = folder(&[("bad.flb", BAD)]);
    let seen = |no_color: &str| {
        let line = format!("{} check bad.flb", env!("CARGO_BIN_EXE_flbc"));
        let output = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .current_dir(folder.path())
            .env("NO_COLOR", no_color)
            .env("TERM", "xterm")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("bad-port"), "{text}");
        text.contains('\u{1b}')
    };
    assert!(seen(""));
    assert!(!seen("1"));
}
