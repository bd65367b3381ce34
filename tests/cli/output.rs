//! Where rules are written to, and what happens when they cannot be.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{BAD, GOOD, flbc_in, folder, program};

fn compile_to(folder: &Path, to: &str) -> super::Run {
    flbc_in(folder, ["compile", "-o", to, "lb.flb"])
}

fn rules(folder: &Path) -> String {
    flbc_in(folder, ["compile", "lb.flb"]).stdout
}

#[test]
fn what_json_cannot_say_is_told_with_its_place_and_nothing_is_written() {
    let persisting = GOOD.replacen("server", "persist 5m\nserver", 1);
    let folder = folder(&[("lb.flb", &persisting)]);
    let ran = flbc_in(
        folder.path(),
        ["compile", "--format", "json", "-o", "out.json", "lb.flb"],
    );
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("error[format-cannot-say]"), "{ran:?}");
    let line = persisting.lines().position(|line| line.contains("persist"));
    let place = format!("lb.flb:{}:", line.unwrap() + 1);
    assert!(ran.stderr.contains(&place), "{place} {ran:?}");
    assert!(!folder.path().join("out.json").exists());
    compile_to(folder.path(), "out.nft").assert_quiet();
}

#[test]
fn output_is_replaced_whole_with_its_mode() {
    let folder = folder(&[("lb.flb", GOOD), ("out.nft", "old\n")]);
    let out = folder.path().join("out.nft");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o600)).unwrap();
    for to in ["out.nft", "new.nft"] {
        compile_to(folder.path(), to).assert_quiet();
        let written = fs::read_to_string(folder.path().join(to)).unwrap();
        assert_eq!(written, rules(folder.path()));
    }
    assert_eq!(
        fs::metadata(&out).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        3,
        "nothing is left over"
    );
    // A new file is made as any program would.
    let masked = Command::new("sh")
        .args([
            "-c",
            "umask 027; exec \"$0\" compile --output masked.nft lb.flb",
            env!("CARGO_BIN_EXE_flbc"),
        ])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(masked.success());
    let mode = fs::metadata(folder.path().join("masked.nft"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn links_are_followed() {
    let folder = folder(&[("lb.flb", GOOD), ("deep/out.nft", "old\n")]);
    symlink("deep/out.nft", folder.path().join("link.nft")).unwrap();
    symlink("deep/none-yet.nft", folder.path().join("dangling.nft")).unwrap();
    symlink("dangling.nft", folder.path().join("second.nft")).unwrap();
    for (to, file) in [
        ("link.nft", "deep/out.nft"),
        ("second.nft", "deep/none-yet.nft"),
        ("dangling.nft", "deep/none-yet.nft"),
    ] {
        compile_to(folder.path(), to).assert_quiet();
        assert!(
            fs::symlink_metadata(folder.path().join(to))
                .unwrap()
                .is_symlink(),
            "{to}"
        );
        assert_eq!(
            fs::read_to_string(folder.path().join(file)).unwrap(),
            rules(folder.path())
        );
    }
    symlink("a.nft", folder.path().join("b.nft")).unwrap();
    symlink("b.nft", folder.path().join("a.nft")).unwrap();
    compile_to(folder.path(), "a.nft").assert_bad("cannot write a.nft");
}

#[test]
fn an_error_leaves_the_old_output() {
    let folder = folder(&[("lb.flb", BAD), ("out.nft", "old\n")]);
    compile_to(folder.path(), "out.nft").assert_bad("bad-port");
    compile_to(folder.path(), "new.nft").assert_bad("bad-port");
    assert_eq!(
        fs::read_to_string(folder.path().join("out.nft")).unwrap(),
        "old\n"
    );
    assert!(!folder.path().join("new.nft").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = folder(&[("lb.flb", GOOD)]);
    let run = compile_to(folder.path(), "none/out.nft");
    run.assert_bad("cannot write none/out.nft: No such file or directory\n");
    compile_to(folder.path(), ".").assert_bad("cannot write .: ");
    compile_to(folder.path(), "/dev/full")
        .assert_bad("cannot write /dev/full: No space left on device\n");
    flbc_in(folder.path(), ["man", "lb.flb"]).assert_bad("cannot write lb.flb: ");
}

/// Every command that writes to standard output says when that is full.
#[test]
fn full_standard_output_is_an_error() {
    let folder = folder(&[
        ("lb.flb", GOOD),
        ("untidy.flb", "service  a{}"),
        ("none.flb", "# none\n"),
    ]);
    for arguments in [
        &["compile", "lb.flb"][..],
        &["compile", "--format", "json", "lb.flb"],
        &["compile", "-o", "/dev/stdout", "lb.flb"],
        &["check", "--format", "json", "lb.flb"],
        &["fmt", "--check", "untidy.flb"],
        &["fmt", "-"],
        &["diff", "none.flb", "lb.flb"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
    ] {
        let stdin = fs::File::open(folder.path().join("lb.flb")).unwrap();
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = program();
        command
            .args(arguments)
            .current_dir(folder.path())
            .stdin(stdin);
        let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let run = super::Run::from(child.wait_with_output().unwrap());
        run.assert_bad("cannot write");
        run.assert_bad("No space left on device");
    }
}

/// Rust puts `/dev/null` in the place of what is closed. Whoever gives it that means it.
#[test]
fn a_closed_standard_output_is_told() {
    let folder = folder(&[("lb.flb", GOOD)]);
    for arguments in [&["compile", "lb.flb"][..], &["--help"], &["--version"]] {
        for (to, status) in [
            (">&-", 2),
            (">/dev/null", 0),
            ("1<>/dev/null", 0),
            (">&- <&-", 2),
        ] {
            let script = format!("exec \"$0\" \"$@\" {to}");
            let output = Command::new("sh")
                .args(["-c", &script, env!("CARGO_BIN_EXE_flbc")])
                .args(arguments)
                .current_dir(folder.path())
                .output()
                .unwrap();
            let run = super::Run::from(output);
            let said = "error: cannot write standard output: Bad file descriptor\n";
            assert_eq!(
                (run.status, run.stderr.contains(said)),
                (status, status == 2),
                "{arguments:?} {to}: {run:?}"
            );
        }
    }
    // Who has nothing to say misses nothing.
    let output = Command::new("sh")
        .args([
            "-c",
            "exec \"$0\" fmt --check lb.flb >&-",
            env!("CARGO_BIN_EXE_flbc"),
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_ne!(super::Run::from(output).status, 2);
}

/// There is nobody to tell it to, but the exit status tells.
#[test]
fn standard_error_that_is_full_or_closed_changes_no_exit_status() {
    let folder = folder(&[("lb.flb", GOOD), ("bad.flb", BAD), ("none.flb", "# none\n")]);
    for (arguments, status) in [
        (&["compile", "bad.flb"][..], 2),
        (&["check", "bad.flb"], 2),
        (&["compile", "missing.flb"], 2),
        (&["diff", "none.flb", "lb.flb"], 1),
        (&["compile", "--no-such-option"], 2),
        (&["compile", "--\u{1b}[2J"], 2),
        (&["status", "--format", "prometheus", "--watch"], 2),
        (
            &[
                "explain",
                "--from",
                "192.0.2.1:1",
                "--to",
                "[2001:db8::1]:1",
                "lb.flb",
            ],
            2,
        ),
    ] {
        for to in ["2>/dev/full", "2>&-", "2>&- >&-", "2>&- >&- <&-"] {
            let script = format!("exec \"$0\" \"$@\" {to}");
            let output = Command::new("sh")
                .args(["-c", &script, env!("CARGO_BIN_EXE_flbc")])
                .args(arguments)
                .current_dir(folder.path())
                .output()
                .unwrap();
            let run = super::Run::from(output);
            // What cannot be written is told by the exit status.
            let status = if to.contains(" >&-") { 2 } else { status };
            assert_eq!(run.status, status, "{arguments:?} {to}: {run:?}");
        }
    }
}

/// `flbc compile lb.flb | head -1`
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let servers: Vec<String> = (0..200)
        .map(|i| format!("service s{i} {{\n    vip 192.0.2.{i} tcp 80\n    server 10.20.0.[1-40] weight 100\n}}\n"))
        .collect();
    let folder = folder(&[("lb.flb", &servers.concat())]);
    for format in ["nft", "json"] {
        let mut command = program();
        command
            .args(["compile", "--format", format, "lb.flb"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
        let seen = reader.fill_buf().unwrap().len();
        assert!(seen > 0);
        drop(reader);
        super::Run::from(child.wait_with_output().unwrap()).assert_quiet();
    }
}

/// On a disk of its own, 64 KiB large, in a mount namespace of its own.
#[test]
fn a_full_disk_keeps_the_old_output() {
    let servers: Vec<String> = (0..200)
        .map(|i| {
            format!("service s{i} {{\n    vip 192.0.2.{i} tcp 80\n    server 10.20.0.[1-20]\n}}\n")
        })
        .collect();
    let folder = folder(&[
        ("lb.flb", &servers.concat()),
        ("small.flb", GOOD),
        ("disk/empty", ""),
    ]);
    let script = "set -e
        mount -t tmpfs -o size=64k none disk
        echo old >disk/out.nft
        cp small.flb disk/in.flb
        status=0
        \"$0\" compile -o disk/out.nft lb.flb || status=$?
        cat disk/out.nft
        ls -A disk
        exit $status";
    let output = super::unshare("--mount")
        .args(["sh", "-c", script, env!("CARGO_BIN_EXE_flbc")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let run = super::Run::from(output);
    assert_eq!(run.status, 2, "{run:?}");
    assert_eq!(
        run.stderr,
        "error: cannot write disk/out.nft: No space left on device\n"
    );
    assert_eq!(
        run.stdout, "old\nin.flb\nout.nft\n",
        "the old file, and nothing left over"
    );
}
