//! Whatever the bytes: no panic, exit status 2, nothing on standard output, and an end in good time.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, Instant};

use super::{Run, flbc_fed, flbc_in, folder};

/// How much of a large input: all that the issue names in `FLBC_SOAK`, a small part of it otherwise.
fn large() -> usize {
    if std::env::var_os("FLBC_SOAK").is_some() {
        100 << 20
    } else {
        512 << 10
    }
}

/// What no machine is slow enough to need for it, in a debug build beside other tests.
const PATIENCE: Duration = Duration::from_secs(300);

/// Feeds every command that reads a file with these bytes.
#[track_caller]
fn refused(what: &str, bytes: &[u8], words: &str) {
    for arguments in [&["check", "-"][..], &["compile", "-"], &["fmt", "-"]] {
        let begin = Instant::now();
        let run = flbc_fed(arguments, bytes);
        assert_ended_well(what, &run);
        assert!(run.stderr.contains(words), "{what}: {:.2000}", run.stderr);
        assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", begin.elapsed());
    }
}

#[track_caller]
fn assert_ended_well(what: &str, run: &Run) {
    assert_eq!(run.status, 2, "{what}: {:.2000}", run.stderr);
    assert_eq!(run.stdout, "", "{what}");
    assert!(
        !run.stderr.contains("panicked"),
        "{what}: {:.2000}",
        run.stderr
    );
    assert!(
        run.stderr.len() < 8 << 20,
        "{what}: {} bytes of messages",
        run.stderr.len()
    );
    let is_obeyed = |c: char| c.is_control() && c != '\n';
    assert!(
        !run.stderr.contains(is_obeyed),
        "{what}: {:.2000}",
        run.stderr
    );
}

/// Bytes that look like chance and are always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

#[test]
fn binary_files() {
    refused(
        "this program",
        &fs::read(env!("CARGO_BIN_EXE_flbc")).unwrap(),
        "not-utf8",
    );
    refused("noise", &noise(1 << 16), "not-utf8");
    refused("zeros", &[0; 4096], "bad-character");
    refused("half a character", b"service www {\n  \xe2\x82", "not-utf8");
    refused("UTF-16", b"\xff\xfes\0e\0r\0v\0i\0c\0e\0", "not-utf8");
    refused("NUL in a name", b"service w\0w {\n}\n", "bad-character");
    refused(
        "every ASCII byte",
        &(0..128).collect::<Vec<u8>>(),
        "bad-character",
    );
}

#[test]
fn a_large_file_of_binary_noise() {
    refused("large noise", &noise(large()), "not-utf8");
}

#[test]
fn a_large_file_of_one_line() {
    let word = vec![b'x'; large()];
    refused("one word", &word, "unknown-statement");
    // What is wrong with it is said in a few words all the same.
    for arguments in [&["check", "-"][..], &["check", "--format", "json", "-"]] {
        let run = flbc_fed(arguments, &word);
        assert!(run.stderr.len() + run.stdout.len() < 4096, "{arguments:?}");
    }
}

#[test]
fn a_large_file_of_zeros() {
    refused("zeros", &vec![0; large()], "bad-character");
}

#[test]
fn a_large_file_of_faults() {
    let line = b"servce www { vip }\n";
    let text = line.repeat(large() / line.len());
    refused("faults", &text, "unknown-statement");
}

#[test]
fn a_large_file_of_printable_noise() {
    let text: Vec<u8> = noise(large())
        .into_iter()
        .map(|byte| if byte < 6 { b'\n' } else { b' ' + byte % 95 })
        .collect();
    refused("printable noise", &text, "unknown-statement");
}

#[test]
fn a_list_without_end() {
    let list = "192.0.2.1, ".repeat(large() / 11);
    refused("list", format!("define a = {list}").as_bytes(), "error");
}

#[test]
fn braces_without_end() {
    refused("open", "{".repeat(20_000).as_bytes(), "error");
    refused("open lines", "{\n".repeat(20_000).as_bytes(), "error");
    refused(
        "blocks",
        "service a {\n".repeat(20_000).as_bytes(),
        "unclosed-block",
    );
    refused("closed", "}".repeat(20_000).as_bytes(), "stray-brace");
    refused("quotes", "\"".repeat(20_000).as_bytes(), "error");
}

/// Signs that start something and never end it.
#[test]
fn signs_without_end() {
    for sign in [
        "$",
        "\\",
        "\"",
        "'",
        "${",
        "{1",
        "(",
        "vip ",
        "server ",
        "vip 1,\n",
        "service a { ",
        "x { ",
        "; x\n",
        "// x\n",
        "define a = $a, $a\n",
    ] {
        let run = flbc_fed(
            &["check", "-"],
            sign.repeat((1 << 16) / sign.len()).as_bytes(),
        );
        assert_ended_well(sign, &run);
    }
}

/// Constants of constants grow fast: what they hold together has a limit.
#[test]
fn constants_that_double() {
    use std::fmt::Write as _;
    let mut text = "define d0 = 10.0.0.0/8, 10.1.0.0/16\n".to_owned();
    for at in 1..40 {
        let before = at - 1;
        let _ = writeln!(text, "define d{at} = $d{before}, $d{before}");
    }
    let run = flbc_fed(&["check", "-"], text.as_bytes());
    run.assert_bad("All constants together hold more than 1000000 values");
}

#[test]
fn one_byte_more_than_flbc_reads() {
    if std::env::var_os("FLBC_SOAK").is_none() {
        // A file that large costs nothing when it is sparse, and is refused by its length.
        let folder = folder(&[("big.flb", "")]);
        let file = fs::File::options()
            .write(true)
            .open(folder.path().join("big.flb"))
            .unwrap();
        file.set_len(flbc::source::MAX_FILE_BYTES + 1).unwrap();
        let run = flbc_in(folder.path(), ["compile", "big.flb"]);
        assert_ended_well("large file", &run);
        run.assert_bad("file-too-large");
        return;
    }
    let length = usize::try_from(flbc::source::MAX_FILE_BYTES).unwrap() + 1;
    refused("too large", &vec![b'#'; length], "file-too-large");
}

#[test]
fn includes_that_lead_in_a_circle() {
    let folder = folder(&[
        ("main.flb", "include \"a.flb\"\n"),
        ("self.flb", "include \"self.flb\"\n"),
        ("one.flb", "include \"two.flb\"\n"),
        ("two.flb", "include \"one.flb\"\n"),
        ("glob.flb", "include \"*/glob.flb\"\n"),
    ]);
    symlink("b.flb", folder.path().join("a.flb")).unwrap();
    symlink("a.flb", folder.path().join("b.flb")).unwrap();
    // A folder that contains itself.
    symlink(".", folder.path().join("here")).unwrap();
    for (file, words) in [
        ("main.flb", "its symbolic links lead in a circle"),
        ("a.flb", "its symbolic links lead in a circle"),
        ("self.flb", "include-cycle"),
        ("one.flb", "include-cycle"),
        ("here/here/here/one.flb", "include-cycle"),
    ] {
        let run = flbc_in(folder.path(), ["compile", file]);
        assert_ended_well(file, &run);
        run.assert_bad(words);
    }
    // The glob matches the file itself by another path, and skips it.
    assert_eq!(flbc_in(folder.path(), ["compile", "glob.flb"]).status, 0);
}

#[test]
fn what_is_no_regular_file_is_not_read() {
    let folder = folder(&[("sub/x", ""), ("public.flb", "# all may write\n")]);
    let run = std::process::Command::new("mkfifo")
        .arg(folder.path().join("pipe"))
        .status();
    assert!(run.unwrap().success());
    let public = folder.path().join("public.flb");
    fs::set_permissions(&public, fs::Permissions::from_mode(0o666)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    for (path, words) in [
        ("pipe", "is a pipe, not a regular file"),
        ("socket", "is a socket, not a regular file"),
        ("/dev/zero", "is a device, not a regular file"),
        ("/dev/null", "is a device, not a regular file"),
        ("sub", "is a folder, not a regular file"),
        ("public.flb", "world-writable"),
        ("missing.flb", "there is no such file"),
        ("public.flb/x", "cannot be read"),
        ("", "The path of an include is empty"),
    ] {
        fs::write(
            folder.path().join("main.flb"),
            format!("include \"{path}\"\n"),
        )
        .unwrap();
        let begin = Instant::now();
        let run = flbc_in(folder.path(), ["compile", "main.flb"]);
        assert_ended_well(path, &run);
        run.assert_bad(words);
        run.assert_bad("main.flb:1:");
        // Nobody writes to the pipe: opening it must not wait.
        assert!(begin.elapsed() < Duration::from_secs(60), "{path}");
        if !path.is_empty() && path != "public.flb" {
            let run = flbc_in(folder.path(), ["compile", path]);
            assert_ended_well(path, &run);
        }
    }
}
