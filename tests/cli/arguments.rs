//! Commands, options and exit status.

use super::{BAD, GOOD, flbc, flbc_fed, flbc_in, folder};

#[test]
fn help_and_version_are_no_errors() {
    let version = flbc(["--version"]);
    assert_eq!(version.status, 0);
    assert_eq!(
        version.stdout,
        concat!("flbc ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let help = flbc(["--help"]);
    assert_eq!((help.status, help.stderr.as_str()), (0, ""));
    for command in [
        "compile",
        "apply",
        "diff",
        "status",
        "unload",
        "check",
        "fmt",
        "completions",
        "man",
    ] {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{command}"
        );
        for flag in ["-h", "--help"] {
            let own = flbc([command, flag]);
            assert_eq!((own.status, own.stderr.as_str()), (0, ""), "{command}");
            assert!(own.stdout.contains(&format!("Usage: flbc {command}")));
        }
    }
    for status in [
        "0  all well",
        "1  there is a difference",
        "2  bad input",
        "3  the kernel",
        "4  the privilege",
    ] {
        assert!(help.stdout.contains(status), "{status}");
    }
}

#[test]
fn wrong_usage_is_2_with_nothing_on_standard_output() {
    for arguments in [
        &[][..],
        &["comple"],
        &["compile"],
        &["compile", "a.flb", "b.flb"],
        &["compile", "--format", "xml", "a.flb"],
        &["compile", "--format", "a.flb"],
        &["compile", "--tabel", "x", "a.flb"],
        &["check"],
        &["check", "--format", "xml", "a.flb"],
        &["fmt"],
        &["diff", "a.flb"],
        &["apply"],
        &["status", "--format", "xml"],
        &["status", "--json", "--format", "human"],
        &["completions"],
        &["completions", "tcsh"],
        &["man"],
        &["--color", "sometimes", "check", "a.flb"],
    ] {
        let run = flbc(arguments);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(
            run.stderr.contains("Usage:") || run.stderr.contains("error:"),
            "{arguments:?}"
        );
    }
}

/// Arguments that a terminal would obey come back as words.
#[test]
fn arguments_never_drive_the_terminal() {
    let nasty = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
    for arguments in [
        &["compile", "--table", nasty, "a.flb"][..],
        &["compile", "a.flb", nasty],
        &["compile", nasty],
        &["compile", "-o", nasty, nasty],
        &["check", "--format", "json", nasty],
        &["check", nasty],
        &["fmt", nasty],
        &["fmt", "--check", nasty],
        &["diff", nasty, nasty],
        &["apply", "--dry-run", nasty],
        &["completions", nasty],
        &[nasty],
        &["man", "/proc/\u{1b}[2J"],
    ] {
        let run = flbc(arguments);
        assert_eq!(run.status, 2, "{arguments:?}");
        for text in [&run.stdout, &run.stderr] {
            let is_obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.contains(is_obeyed), "{arguments:?}: {text:?}");
        }
    }
}

/// `-` reads standard input in every command that reads a file.
#[test]
fn a_dash_is_standard_input() {
    let folder = folder(&[("lb.flb", GOOD), ("empty.flb", "# nothing\n")]);
    let named = flbc_in(folder.path(), ["compile", "lb.flb"]);
    let piped = flbc_fed(&["compile", "-"], GOOD.as_bytes());
    assert_eq!(piped.status, 0);
    assert_eq!(
        piped.stdout,
        named.stdout.replace("# lb.flb:", "# <stdin>:")
    );
    let json = flbc_fed(&["compile", "--format", "json", "-"], GOOD.as_bytes());
    assert_eq!(json.status, 0);
    assert_eq!(
        json.stdout,
        flbc_in(folder.path(), ["compile", "--format", "json", "lb.flb"]).stdout
    );
    flbc_fed(&["check", "-"], GOOD.as_bytes()).assert_quiet();
    flbc_fed(&["check", "-"], BAD.as_bytes()).assert_bad("<stdin>:2:");
    flbc_fed(&["compile", "-"], BAD.as_bytes()).assert_bad("<stdin>:2:");
    let formatted = flbc_fed(&["fmt", "-"], b"service  www{}");
    assert_eq!(
        (formatted.status, formatted.stdout.as_str()),
        (0, "service www {\n}\n")
    );
    let differs = flbc_fed(&["fmt", "--check", "-"], b"service  www{}");
    assert_eq!((differs.status, differs.stdout.as_str()), (1, "<stdin>\n"));
    flbc_fed(&["fmt", "--check", "-"], GOOD.as_bytes()).assert_quiet();
    let empty = folder.path().join("empty.flb");
    let difference = flbc_fed(&["diff", empty.to_str().unwrap(), "-"], GOOD.as_bytes());
    assert_eq!(difference.status, 1);
    assert!(
        difference.stdout.contains("+ service www"),
        "{}",
        difference.stdout
    );
    let difference = flbc_fed(&["diff", "-", empty.to_str().unwrap()], GOOD.as_bytes());
    assert_eq!(difference.status, 1);
    flbc_fed(&["apply", "--dry-run", "-"], BAD.as_bytes()).assert_bad("<stdin>:2:");
}

#[test]
fn standard_input_includes_from_the_working_directory() {
    let folder = folder(&[
        ("conf.d/a.flb", GOOD),
        ("main.flb", "include \"conf.d/*.flb\"\n"),
    ]);
    let named = flbc_in(folder.path(), ["compile", "main.flb"]);
    assert!(
        named.stdout.contains("# conf.d/a.flb:2\n"),
        "{}",
        named.stdout
    );
    let outside = flbc_fed(
        &["compile", "-"],
        b"include \"conf.d/none-of-that-name.flb\"\n",
    );
    outside.assert_bad("unreadable-file");
}

#[test]
fn nothing_is_compiled_from_a_file_with_an_error() {
    let folder = folder(&[("bad.flb", BAD)]);
    for format in ["nft", "json"] {
        let run = flbc_in(folder.path(), ["compile", "--format", format, "bad.flb"]);
        run.assert_bad("error[bad-port]");
        assert!(run.stderr.contains("bad.flb:2:24"), "{}", run.stderr);
    }
    flbc_in(folder.path(), ["compile", "missing.flb"]).assert_bad("there is no such file");
}

/// An empty file is no wish, and has rules all the same: they take away what an earlier file made.
#[test]
fn a_file_without_services_removes_the_tables() {
    let run = flbc_fed(&["compile", "-"], b"# nothing yet\n");
    assert_eq!(run.status, 0);
    assert!(run.stderr.starts_with("warning[no-service]"), "{run:?}");
    let commands: Vec<&str> = run
        .stdout
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(
        commands,
        [
            "add table inet flbc",
            "delete table inet flbc",
            "add table netdev flbc",
            "delete table netdev flbc"
        ]
    );
}

#[test]
fn warnings_do_not_keep_a_file_from_compiling() {
    let file = format!("define unused = 10.0.0.1\n{GOOD}");
    for command in ["compile", "check"] {
        let run = flbc_fed(&[command, "-"], file.as_bytes());
        assert_eq!(run.status, 0);
        assert!(
            run.stderr.contains("warning[unused-constant]"),
            "{}",
            run.stderr
        );
    }
}

/// A table that comes or goes because of how many servers there are is told as what it is.
#[test]
fn a_difference_tells_what_becomes_of_a_maglev_table() {
    let service = |servers: &str, scheduler: &str| {
        format!("service www {{ vip 192.0.2.10 tcp 80; scheduler {scheduler}; {servers} }}\n")
    };
    let two = "server a 10.0.0.1; server b 10.0.0.2";
    let folder = folder(&[
        ("two.flb", &service(two, "maglev")),
        ("one.flb", &service("server a 10.0.0.1", "maglev")),
        ("other.flb", &service(two, "random")),
    ]);
    let lines = |old, new| flbc_in(folder.path(), ["diff", old, new]).stdout;
    let goes = lines("two.flb", "one.flb");
    assert!(
        goes.contains("~ www: Maglev table of 512 slots goes: one server needs none\n"),
        "{goes}"
    );
    let comes = lines("one.flb", "two.flb");
    assert!(
        comes.contains("~ www: Maglev table of 512 slots comes\n"),
        "{comes}"
    );
    let another = lines("two.flb", "other.flb");
    assert!(!another.contains("table"), "{another}");
}

/// It removes all, and is not what somebody wants who writes something else.
#[test]
fn what_removes_rules_is_suggested_for_a_slip_alone() {
    for (written, tip) in [
        ("unlod", Some("unload")),
        ("unlaod", Some("unload")),
        ("unloadd", Some("unload")),
        ("restart", None),
        ("reloda", Some("reload")),
        ("upload", None),
        ("load", None),
        ("onload", None),
        ("aply", Some("apply")),
        ("chekc", Some("check")),
    ] {
        let run = flbc([written]);
        assert_eq!(run.status, 2);
        assert!(run.stderr.contains("unrecognized subcommand"), "{run:?}");
        match tip {
            Some(tip) => assert!(run.stderr.contains(&format!("'{tip}'")), "{run:?}"),
            None => assert!(!run.stderr.contains("unload"), "{run:?}"),
        }
    }
}

/// Applying what has no service removes all that is there: that is asked for by its name.
#[test]
fn an_empty_file_is_not_applied() {
    let folder = folder(&[("lb.flb", "include \"conf.d/*.flb\"\n"), ("good.flb", GOOD)]);
    let rules = flbc_in(folder.path(), ["compile", "good.flb", "-o", "rules.nft"]);
    rules.assert_quiet();
    for arguments in [
        &["apply", "lb.flb"][..],
        &["apply", "--dry-run", "lb.flb"],
        &["apply", "--dry-run", "--against", "rules.nft", "lb.flb"],
        &["try", "lb.flb"],
    ] {
        let run = flbc_in(folder.path(), arguments);
        run.assert_bad("yields no service");
        for words in [
            "no-service",
            "empty-pattern",
            "flbc unload",
            "--allow-empty",
        ] {
            assert!(run.stderr.contains(words), "{arguments:?}: {run:?}");
        }
    }
    let against = [
        "apply",
        "--dry-run",
        "--allow-empty",
        "--against",
        "rules.nft",
        "lb.flb",
    ];
    let run = flbc_in(folder.path(), against);
    assert_eq!(run.status, 1, "{run:?}");
    for command in ["check", "compile"] {
        let run = flbc_in(folder.path(), [command, "lb.flb"]);
        assert_eq!(run.status, 0);
        assert!(run.stderr.contains("2 warnings"), "{run:?}");
    }
}

#[test]
fn the_time_of_a_trial_has_limits_that_are_told() {
    for time in ["0s", "0", "0h", "2d", "25h", "off", "soon", "5 m", "90"] {
        let run = flbc(["try", "--timeout", time, "lb.flb"]);
        run.assert_bad("a trial lasts from 1s to 1d: write 60s, 5m, 1h");
        assert!(!run.stderr.contains("`off`") || time == "off", "{run:?}");
    }
    flbc(["try"]).assert_bad("<FILE>");
    flbc(["try", "--timeout", "5m"]).assert_bad("<FILE>");
    flbc(["try", "--back", "lb.flb"]).assert_bad("cannot be used with");
}
