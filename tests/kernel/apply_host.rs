//! A machine of the laboratory as its operator sees it: `flbc` with a `/run` of its own, and what nft lists.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use tempfile::TempDir;

use crate::lab::namespace::Namespace;
use crate::namespace::{objects, sorted};

/// A network namespace and the folder that `flbc` sees as `/run` there.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) namespace: Namespace,
    run: Arc<TempDir>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The files in which it is remembered what an apply left.
pub(crate) fn states(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let paths = files.map(|file| file.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|what| what == "state"))
        .collect()
}

impl Host {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        Self {
            namespace: namespace.clone(),
            run: Arc::new(tempfile::tempdir().expect("a folder")),
        }
    }

    /// Another namespace that shares this one's `/run`, as `ip netns exec` leaves it.
    pub(crate) fn beside(&self, namespace: &Namespace) -> Self {
        Self {
            namespace: namespace.clone(),
            run: self.run.clone(),
        }
    }

    /// A namespace with the interfaces `eth0` and `eth1`, and nobody to talk to.
    pub(crate) fn alone() -> Self {
        let namespace = Namespace::new("alone");
        namespace.ip("link add eth0 type veth peer name eth1
            link set eth0 up
            link set eth1 up");
        Self::new(&namespace)
    }

    /// Writes a file that both see: the test, and `flbc` as `/run/NAME`.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.run.path().join(name), text).expect("a file");
        format!("/run/{name}")
    }

    /// The folder that `flbc` sees as `/run`.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.run.path()
    }

    /// Whether something is remembered for the next apply.
    pub(crate) fn remembers(&self) -> bool {
        !states(&self.run.path().join("flbc")).is_empty()
    }

    /// Leaves what a run leaves that is killed right after its transaction.
    pub(crate) fn kill_after_transaction(&self) {
        for state in states(&self.run.path().join("flbc")) {
            std::fs::rename(&state, state.with_extension("state.aside")).expect("renames");
        }
    }

    /// Forgets what is remembered between applies.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.run.path().join("flbc")).expect("it was there");
    }

    /// Starts `flbc` with a `/run` of its own; killing the child kills it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.start_under(&[], arguments)
    }

    fn start_under(&self, wrapper: &[&str], arguments: &[&str]) -> Child {
        self.start_command(&[wrapper, &[env!("CARGO_BIN_EXE_flbc")], arguments].concat())
    }

    /// Runs any command to its end, with the same `/run`.
    pub(crate) fn command(&self, words: &[&str]) -> Ran {
        finish(self.start_command(words), "")
    }

    pub(crate) fn start_command(&self, words: &[&str]) -> Child {
        self.namespace.run(|| {
            Command::new("unshare")
                .args(["--mount", "sh", "-ec"])
                .arg("mount --bind \"$0\" /run; exec \"$@\"")
                .arg(self.run.path())
                .args(words)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("unshare (util-linux) is installed")
        })
    }

    /// Runs `flbc` to its end.
    pub(crate) fn flbc(&self, arguments: &[&str], stdin: &str) -> Ran {
        finish(self.start(arguments), stdin)
    }

    /// Runs `flbc` to its end without the right to administer the network.
    pub(crate) fn powerless(&self, arguments: &[&str], stdin: &str) -> Ran {
        let wrapper = ["setpriv", "--bounding-set=-net_admin"];
        finish(self.start_under(&wrapper, arguments), stdin)
    }

    /// Runs `flbc` to its end as a service that may do little: with these capabilities alone, none to be gained, and a
    /// file system that cannot be written to but for `/run`.
    pub(crate) fn confined(&self, capabilities: &str, arguments: &[&str]) -> Ran {
        let bounds = format!("--bounding-set=-all,{capabilities}");
        let inherited = format!("--inh-caps=-all,{capabilities}");
        let wrapper = [
            "sh",
            "-ec",
            "mount -o remount,bind,ro /; exec \"$@\"",
            "sh",
            "setpriv",
            "--no-new-privs",
            &bounds,
            &inherited,
        ];
        finish(self.start_under(&wrapper, arguments), "")
    }

    /// Applies a file, which must succeed without a warning; returns what it says.
    #[track_caller]
    pub(crate) fn apply(&self, file: &str) -> String {
        let ran = self.flbc(&["apply", "-"], file);
        assert!(
            ran.code == Some(0) && ran.err.is_empty(),
            "{:?}: {}\nsaid about:\n{file:.2000}",
            ran.code,
            ran.err
        );
        ran.out
    }

    /// The number of the kernel's last transaction.
    pub(crate) fn generation(&self) -> u32 {
        self.namespace.run(|| {
            use flbc::kernel::{Kernel, Linux};
            let mut kernel = Linux::open().expect("a socket");
            kernel.generation().expect("a generation")
        })
    }

    /// All that nft lists, as a set of objects, without counts and without the comments of flbc's tables.
    pub(crate) fn state(&self) -> BTreeSet<String> {
        objects(&sorted(&without_counts(&self.list())))
    }

    /// The same with each server's number replaced by its name and each slot by its server.
    pub(crate) fn unnumbered(&self) -> BTreeSet<String> {
        unnumbered(&self.list())
    }

    /// The number of the server of this name in nat.
    pub(crate) fn number_of(&self, server: &str) -> String {
        let listed = self.namespace.nft_list(&["set", "inet", "flbc", "server"]);
        let (before, _) = listed
            .split_once(&format!(", {server} of "))
            .unwrap_or_else(|| panic!("no {server} in {listed}"));
        let (_, number) = before.rsplit_once("0x").expect("a number");
        let digits = number.split(' ').next().expect("a number");
        format!("0x{digits}")
    }

    /// All that nft lists.
    pub(crate) fn list(&self) -> String {
        self.namespace.nft_list(&["ruleset"])
    }

    /// What nft lists of a chain, with handles.
    pub(crate) fn handles(&self, chain: &str) -> String {
        let arguments = ["-a", "list", "chain", "inet", "flbc", chain];
        let finished = self.namespace.command("nft", &arguments, "");
        assert!(finished.success, "{chain}: {}", finished.stderr);
        finished.stdout
    }
}

/// Feeds a child and waits for its end.
pub(crate) fn finish(mut child: Child, stdin: &str) -> Ran {
    let mut pipe = child.stdin.take().expect("stdin is piped");
    let output = thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(stdin.as_bytes()));
        child.wait_with_output().expect("a child can be waited for")
    });
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A listing in which nothing has been counted yet.
pub(crate) fn without_counts(listing: &str) -> String {
    let mut text = String::new();
    let mut words = listing.split_inclusive([' ', '\n']);
    while let Some(word) = words.next() {
        text.push_str(word);
        if matches!(word, "packets " | "bytes ") {
            words.next();
            text.push_str("0 ");
        }
    }
    text
}

/// A listing's objects with numbers replaced by what they stand for, so that two that differ in numbers alone are equal.
pub(crate) fn unnumbered(listing: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut tables: Vec<String> = Vec::new();
    for line in quoted_whole(&without_counts(listing)).lines() {
        if line.starts_with("table ") {
            tables.push(String::new());
        }
        if let Some(table) = tables.last_mut() {
            table.push_str(line);
            table.push('\n');
        }
    }
    for table in tables {
        all.extend(unnumbered_table(&table));
    }
    all
}

/// A listing in which no comma in a comment is taken for one between elements.
fn quoted_whole(listing: &str) -> String {
    let pieces = listing.split('"').enumerate().map(|(place, piece)| {
        if place % 2 == 1 {
            piece.replace(", ", "; ")
        } else {
            piece.to_owned()
        }
    });
    pieces.collect::<Vec<_>>().join("\"")
}

fn unnumbered_table(table: &str) -> BTreeSet<String> {
    let table = sorted(table);
    let is_slot =
        |line: &str| ("0x00100000".."0x40000000").contains(&line) && line.contains(" : 0x");
    let slots: BTreeMap<u32, &str> = table
        .lines()
        .filter(|line| is_slot(line))
        .filter_map(|line| line.split_once(" : "))
        .map(|(slot, server)| (number(slot), server))
        .collect();
    let mut drawn = BTreeSet::new();
    let mut lines = Vec::new();
    for line in table.lines().filter(|line| !is_slot(line)) {
        let words: Vec<&str> = line.split(' ').collect();
        let after = |word: &str| {
            let place = words.iter().position(|w| *w == word)?;
            words.get(place + 1)?.parse::<u32>().ok()
        };
        let mut line = line.to_owned();
        if let (Some(count), Some(offset)) = (after("mod"), after("offset")) {
            let block = offset..offset + count;
            let owners: Vec<&str> = block
                .clone()
                .map(|slot| slots.get(&slot).map_or("nobody", |owner| *owner))
                .collect();
            drawn.extend(block);
            line = line.replace(&format!("offset {offset}"), &format!("over {owners:?}"));
        }
        lines.push(line);
    }
    let stray: Vec<&u32> = slots.keys().filter(|slot| !drawn.contains(slot)).collect();
    assert!(stray.is_empty(), "slots that nobody draws: {stray:?}");
    let mut all = BTreeSet::new();
    for object in objects(&lines.join("\n")) {
        // The elements stand in the order of their numbers.
        let mut lines: Vec<&str> = object.lines().collect();
        if let Some(place) = lines.iter().position(|line| *line == "elements:") {
            let end = lines.len() - 1;
            lines[place + 1..end].sort_unstable();
        }
        all.insert(lines.join("\n"));
    }
    all
}

fn number(hexadecimal: &str) -> u32 {
    let digits = hexadecimal.strip_prefix("0x").expect("a mark");
    u32::from_str_radix(digits, 16).expect("a mark")
}
