//! The program as an operator or a script meets it: arguments, streams, exit status, files.

#![allow(
    clippy::unwrap_used,
    clippy::format_collect,
    clippy::panic,
    reason = "helpers of tests are tests too"
)]

mod against;
mod arguments;
mod bad_input;
mod explain;
mod fmt;
mod injection;
mod mark_shift;
mod output;
mod pages;
mod real_server;
mod reports;
mod table;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

/// A file without a fault.
const GOOD: &str = "service www {
    vip 192.0.2.10 tcp 80
    server web1 10.20.0.11:8080 weight 3
    server web2 10.20.0.12
}
";

/// A file with an error in its second line.
const BAD: &str = "service www {
    vip 192.0.2.10 tcp 80000
    server web1 10.20.0.11
}
";

/// What a run of the program came to.
#[derive(Debug)]
struct Run {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    /// Expects an end without a word.
    #[track_caller]
    fn assert_quiet(&self) {
        assert_eq!(
            (self.status, self.stdout.as_str(), self.stderr.as_str()),
            (0, "", "")
        );
    }

    /// Expects bad input: exit status 2, a message with these words, and nothing on standard output.
    #[track_caller]
    fn assert_bad(&self, words: &str) {
        assert_eq!(self.status, 2, "{self:?}");
        assert_eq!(self.stdout, "");
        assert!(
            self.stderr.contains(words),
            "no {words:?} in {}",
            self.stderr
        );
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            // A signal is no way to end.
            status: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The program, with the surroundings that each test would otherwise depend on.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flbc"));
    command
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::null());
    command
}

/// `unshare`, to run something in a namespace of its own; without root in one of users too.
fn unshare(namespace: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.arg(namespace);
    command
}

fn flbc<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    program().args(arguments).output().unwrap().into()
}

fn flbc_in<A: AsRef<std::ffi::OsStr>>(
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Run {
    let mut command = program();
    command.args(arguments).current_dir(directory);
    command.output().unwrap().into()
}

fn flbc_fed(arguments: &[&str], stdin: &[u8]) -> Run {
    let mut child = program()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // The program may end before it has read everything.
        scope.spawn(move || {
            let _ = pipe.write_all(stdin);
        });
        child.wait_with_output().unwrap().into()
    })
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}
