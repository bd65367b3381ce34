//! A network namespace that vanishes with the process, and commands and code that run in it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::{Command, Stdio, id};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// Seconds after which a command in a namespace is killed.
const COMMAND_LIMIT: &str = "60";

/// A network namespace, held by an open file descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    /// What the tests call it.
    pub(crate) name: String,
    file: Arc<File>,
}

/// What a command left behind.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// Whether it ended with 0.
    pub(crate) success: bool,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Namespace {
    /// A new namespace, loopback up, without duplicate address detection, reverse path filter or limits on
    /// ICMP errors.
    pub(crate) fn new(name: &str) -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .map(|()| File::open("/proc/thread-self/ns/net").expect("/proc is mounted"))
        });
        let file = match made.join().expect("the thread only opens a file") {
            Ok(file) => file,
            Err(error) => panic!(
                "cannot make a network namespace: {error}.\n\
                 The kernel tests and the demo send real packets through nftables and need root (sudo make test). They never pass by being skipped."
            ),
        };
        let namespace = Self {
            name: name.to_owned(),
            file: Arc::new(file),
        };
        for place in ["all", "default"] {
            namespace.sysctl(&format!("net/ipv4/conf/{place}/rp_filter"), "0");
            namespace.sysctl(&format!("net/ipv6/conf/{place}/accept_dad"), "0");
            namespace.sysctl(&format!("net/ipv6/conf/{place}/accept_ra"), "0");
            namespace.sysctl(&format!("net/ipv6/conf/{place}/disable_ipv6"), "0");
        }
        namespace.sysctl("net/ipv4/icmp_ratelimit", "0");
        namespace.sysctl("net/ipv6/icmp/ratelimit", "0");
        namespace.ip("link set lo up");
        namespace
    }

    /// A path by which other commands of this process's user find the namespace.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", id(), self.file.as_raw_fd())
    }

    /// Runs code in the namespace: sockets that it opens, and commands that it starts, stay there.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&*self.file, CloneFlags::CLONE_NEWNET)
                    .expect("a namespace can be entered by who made it");
                work()
            });
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Runs a command in the namespace, to its end.
    pub(crate) fn command(&self, program: &str, arguments: &[&str], stdin: &str) -> Finished {
        self.run(|| {
            let mut child = Command::new("timeout")
                .args(["--kill-after=1", COMMAND_LIMIT, program])
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
            let mut pipe = child.stdin.take().expect("standard input is piped");
            let output = thread::scope(|scope| {
                // A command may end without having read its input; what it says then is the better message.
                scope.spawn(move || pipe.write_all(stdin.as_bytes()));
                child.wait_with_output().expect("a child can be waited for")
            });
            Finished {
                success: output.status.success(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            }
        })
    }

    /// Runs `ip` commands, one a line, without the word `ip`.
    pub(crate) fn ip(&self, lines: &str) {
        let finished = self.command("ip", &["-batch", "-"], lines);
        assert!(
            finished.success && finished.stderr.is_empty(),
            "{}: {}\nin:\n{lines}",
            self.name,
            finished.stderr
        );
    }

    /// Loads a ruleset from text; nft must take it in silence.
    pub(crate) fn nft(&self, ruleset: &str) {
        self.load(&["-f", "-"], ruleset);
    }

    /// Loads a ruleset from JSON; nft must take it in silence.
    pub(crate) fn nft_json(&self, ruleset: &str) {
        self.load(&["-j", "-f", "-"], ruleset);
    }

    fn load(&self, arguments: &[&str], ruleset: &str) {
        let finished = self.command("nft", arguments, ruleset);
        assert!(
            finished.success && finished.stderr.is_empty() && finished.stdout.is_empty(),
            "{}: nft {arguments:?} said:\n{}{}\nabout:\n{ruleset}",
            self.name,
            finished.stdout,
            finished.stderr
        );
    }

    /// What `nft` lists: `ruleset`, or one table or counter.
    pub(crate) fn nft_list(&self, what: &[&str]) -> String {
        let finished = self.command("nft", &[&["list"], what].concat(), "");
        assert!(
            finished.success,
            "{}: nft list {what:?} failed: {}",
            self.name, finished.stderr
        );
        finished.stdout
    }

    /// Sets a kernel parameter, `net/ipv4/ip_forward`. `/proc/sys/net` shows each thread its own
    /// namespace's.
    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{key}");
        self.run(|| std::fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{}: {path}: {error}", self.name));
    }

    /// Lets packets pass from one interface to another.
    pub(crate) fn forward(&self) {
        self.sysctl("net/ipv4/conf/all/forwarding", "1");
        self.sysctl("net/ipv6/conf/all/forwarding", "1");
    }
}
