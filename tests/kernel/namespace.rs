//! Tests in a network namespace of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Says that the process is in a namespace made for it.
const INSIDE: &str = "FLBC_TEST_NAMESPACE";

/// Runs `test` in a new network namespace: starts this test alone again, inside.
pub(crate) fn inside(test: impl FnOnce()) {
    again("unshare", &["--net"], test);
}

/// Runs `test` in a new network namespace without the right to administer it.
pub(crate) fn unprivileged(test: impl FnOnce()) {
    let powerless = ["--net", "setpriv", "--bounding-set=-net_admin"];
    again("unshare", &powerless, test);
}

/// Runs `test` as root of a container: in a new network namespace that belongs to a new user namespace.
pub(crate) fn contained(test: impl FnOnce()) {
    again("unshare", &["--user", "--map-root-user", "--net"], test);
}

fn again(wrapper: &str, arguments: &[&str], test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        test();
        return;
    }
    let current = thread::current();
    let name = current.name().expect("a test's thread has its name");
    let output = Command::new(wrapper)
        .args(arguments)
        .arg(env::current_exe().expect("a test knows its program"))
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare and setpriv (util-linux) are installed");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    print!("{out}");
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed"), "the test did not run: {out}");
}

/// Another network namespace, held by a process.
pub(crate) struct Elsewhere {
    holder: Child,
}

impl Elsewhere {
    pub(crate) fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux) is installed");
        let mut ready = [0; 6];
        let stdout = holder.stdout.as_mut().expect("stdout is piped");
        stdout.read_exact(&mut ready).expect("the process is ready");
        Self { holder }
    }

    /// The process that holds it.
    pub(crate) fn process(&self) -> u32 {
        self.holder.id()
    }

    /// Moves the calling thread there.
    pub(crate) fn enter(&self) {
        let path = format!("/proc/{}/ns/net", self.holder.id());
        let namespace = File::open(path).expect("the process lives");
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), kind).expect("setns");
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Runs a program and returns what it writes.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let text = input.to_owned();
    let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("the program ends");
    drop(writer.join());
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {err}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Makes an Ethernet interface; its other end is called after it.
pub(crate) fn interface(name: &str) {
    let peer = format!("{name}p");
    let pair = ["link", "add", name, "type", "veth", "peer", "name", &peer];
    run("ip", &pair, "");
    run("ip", &["link", "set", name, "up"], "");
}

/// Everything that nft lists, elements sorted, without the comment by which flbc knows its tables.
pub(crate) fn listing() -> String {
    sorted(&run("nft", &["list", "ruleset"], ""))
}

/// What nft lists after it loaded a file into a namespace that has nothing but the interfaces of the tests.
pub(crate) fn fresh_listing(file: &str) -> String {
    let script =
        "for name in $(seq 0 1); do ip link add eth$name type veth peer name eth${name}p; done
        nft -f - && nft list ruleset";
    sorted(&run("unshare", &["--net", "sh", "-ec", script], file))
}

pub(crate) fn sorted(text: &str) -> String {
    let mut lines = Vec::new();
    let mut elements: Option<String> = None;
    // What packets put there is no part of the rules.
    let mut filled_by_packets = false;
    for line in text.lines() {
        if line.trim_start().starts_with("comment \"flbc ") {
            continue;
        }
        match line.trim() {
            "flags dynamic" | "flags dynamic,timeout" => filled_by_packets = true,
            "}" => filled_by_packets = false,
            _ => {}
        }
        let open = match elements.take() {
            Some(open) => Some(format!("{open} {}", line.trim())),
            None if line.trim_start().starts_with("elements = {") => Some(line.to_owned()),
            None => None,
        };
        match open {
            Some(open) if open.ends_with('}') && filled_by_packets => {}
            Some(open) if open.ends_with('}') => {
                let inside = open.trim().trim_start_matches("elements = {");
                let inside = inside.trim_end_matches('}').trim();
                let mut all: Vec<&str> = inside.split(", ").collect();
                all.sort_unstable();
                lines.push(format!("elements:\n{}", all.join("\n")));
            }
            Some(open) => elements = Some(open),
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// The sets and chains of a listing, each with its table, whatever their order.
pub(crate) fn objects(listing: &str) -> BTreeSet<String> {
    let mut table = "";
    let mut objects = BTreeSet::new();
    for block in listing.split("\n\n") {
        let mut lines = Vec::new();
        for line in block.lines() {
            if line.starts_with("table ") {
                table = line;
            } else if line != "}" {
                lines.push(line);
            }
            // The last object of a table and the first of the next stand in one block.
            if line == "\t}" {
                objects.insert(format!("{table}\n{}", lines.join("\n")));
                lines.clear();
            }
        }
        // What is said of the table itself stands apart.
        if !lines.is_empty() {
            objects.insert(format!("{table}\n{}", lines.join("\n")));
        }
    }
    objects
}

/// The bytecode of all rules, without their numbers. A register is called after the expression of its rule that filled it:
/// which one it is, each version of nft decides in its own way.
pub(crate) fn bytecode() -> String {
    let text = run("nft", &["--debug=netlink", "list", "ruleset"], "");
    let mut lines = Vec::new();
    let mut filled = BTreeMap::new();
    for line in text.lines().take_while(|line| !line.starts_with("table ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with("  [ byteorder") && line.contains(", 2, 1)") {
            // nft 1.0 adds it to a field of one byte beside a range; it does nothing, and newer kernels refuse it.
        } else if line.starts_with("  [") {
            lines.push(traced(&words, &mut filled));
        } else if let [family, table, chain, ..] = words.as_slice()
            && !chain.starts_with('@')
            && !line.starts_with('\t')
        {
            lines.push(format!("{family} {table} {chain}"));
            filled.clear();
        }
    }
    lines.join("\n")
}

/// An expression, each register in it replaced by the number of the expression that filled it.
pub(crate) fn traced(words: &[&str], filled: &mut BTreeMap<u32, usize>) -> String {
    let this = filled.values().max().map_or(0, |last| last + 1);
    let mut writes = Vec::new();
    let mut line = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| words[at]);
        let digits = word.trim_end_matches([',', ')']);
        let is_register = matches!(before(1), "dreg" | "reg_key" | "sreg_data")
            || before(1) == "reg"
            || before(1).ends_with("(reg");
        let (true, Ok(register)) = (is_register, digits.parse()) else {
            line.push((*word).to_owned());
            continue;
        };
        // Four small registers are a large one.
        let register: u32 = match register {
            1..=4 => 4 + 4 * register,
            _ => register,
        };
        let is_written = before(1) == "dreg"
            || before(2) == "=>"
            || at == 3 && (words.get(4) == Some(&"=") || words[1] == "immediate");
        let value = if is_written {
            writes.push(register);
            "new".to_owned()
        } else {
            filled
                .get(&register)
                .map_or("none".to_owned(), usize::to_string)
        };
        line.push(word.replace(digits, &value));
    }
    filled.extend(writes.into_iter().map(|register| (register, this)));
    line.join(" ")
}
