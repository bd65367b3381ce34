//! `flbc run`: what others change is put right, and all other commands work beside it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::apply_host::{Host, Ran};

/// What happens in a moment is waited for so long.
const PATIENCE: Duration = Duration::from_secs(20);

const FILE: &str = "
service www { vip 192.0.2.10 tcp 80; server web1 10.20.0.11:8080; server web2 10.20.0.12:8080 }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0; server a 10.20.0.21; server b 10.20.0.22 }
";

const OTHER: &str = "service www { vip 192.0.2.10 tcp 80; server web9 10.20.0.19:8080; server web2 10.20.0.12:8080 }";

/// A host with a daemon, which is killed at the end.
pub(crate) struct Run {
    pub(crate) host: Host,
    child: Child,
}

impl Run {
    /// Starts one with this file, and waits until it keeps it in force.
    pub(crate) fn new(host: Host, options: &[&str], file: &str) -> Self {
        host.write("lb.flb", file);
        let run = Self::again(host, options);
        run.wait_for("it begins", || run.kinds().contains(&"started".to_owned()));
        run
    }

    fn again(host: Host, options: &[&str]) -> Self {
        let child = begun(&host, options);
        Self { host, child }
    }

    /// Kills it, if it lives.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts another one in its place.
    pub(crate) fn start(&mut self) {
        self.child = begun(&self.host, &[]);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.host.folder().join("log")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn flbc(&self, words: &str) -> Ran {
        let words: Vec<&str> = words.split(' ').collect();
        self.host.flbc(&words, "")
    }

    pub(crate) fn nft(&self, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        let ran = self.host.namespace.command("nft", &words, "");
        assert!(ran.success, "{words:?}: {}", ran.stderr);
    }

    fn events(&self) -> Vec<Value> {
        let ran = self.flbc("events --format json");
        let lines = ran.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn kinds(&self) -> Vec<String> {
        let events = self.events();
        let kinds = events
            .iter()
            .map(|event| event["code"].as_str().unwrap().to_owned());
        kinds.collect()
    }

    /// How often this happened.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.kinds().iter().filter(|one| *one == kind).count()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: waited in vain\n{}",
                self.flbc("events").out
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until so many repairs were made, and says what was said of the last.
    #[track_caller]
    fn repaired(&self, many: usize) -> Value {
        self.wait_for("it is put right", || self.count("repaired") >= many);
        let events = self.events();
        let mut repairs = events
            .into_iter()
            .filter(|event| event["code"] == "repaired");
        repairs.next_back().unwrap()
    }

    #[track_caller]
    pub(crate) fn all_is_well(&self) {
        let ran = self.flbc("status");
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{}", ran.out);
    }

    pub(crate) fn socket(&self) -> PathBuf {
        let folder = fs::read_dir(self.host.folder().join("flbc")).unwrap();
        let mut paths = folder.map(|entry| entry.unwrap().path());
        paths
            .find(|path| path.extension().is_some_and(|end| end == "sock"))
            .unwrap()
    }

    /// Ends it as an operator does; says what its log says.
    fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.log()
    }
}

/// A daemon that writes its log to a file.
fn begun(host: &Host, options: &[&str]) -> Child {
    let script = "exec \"$0\" run \"$@\" /run/lb.flb 2>>/run/log";
    let words = ["sh", "-ec", script, env!("CARGO_BIN_EXE_flbc")];
    host.start_command(&[&words[..], options].concat())
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_others_change_is_put_right_and_told_with_who_it_was() {
    let run = Run::new(Host::alone(), &[], FILE);
    run.all_is_well();
    let whole = run.host.unnumbered();
    let deeds: [(&[&str], &str); 8] = [
        (&["flush ruleset"], "its tables are gone"),
        (&["delete table inet flbc"], "somebody"),
        (&["delete table netdev flbc"], "somebody"),
        (&["add table inet flbc { flags dormant; }"], "dormant"),
        (&["add rule inet flbc translate drop"], "translate"),
        (&["flush chain inet flbc translate"], "translate"),
        (&["add chain inet flbc mine"], "mine"),
        (&["flush map inet flbc svc4"], "192.0.2.10"),
    ];
    for (at, (deed, told)) in deeds.into_iter().enumerate() {
        // Whoever fights is let win: here it is another one each time.
        if at > 0 && at % 3 == 0 {
            assert_eq!(run.flbc("reload").code, Some(0));
        }
        for words in deed {
            run.nft(words);
        }
        let event = run.repaired(at + 1);
        assert_eq!(run.host.unnumbered(), whole, "after {deed:?}");
        let text = event["text"].as_str().unwrap();
        assert!(
            text.contains(told) || told == "somebody",
            "{deed:?}: {text}"
        );
        assert_eq!(event["processes"][0]["name"], "nft", "{event}");
        assert!(
            event["processes"][0]["pid"].as_u64().unwrap() > 1,
            "{event}"
        );
        run.all_is_well();
    }
    // What others do elsewhere is nobody's business.
    run.nft("add table inet other { chain c { counter; }; }");
    sleep(Duration::from_millis(300));
    assert_eq!(run.count("repaired"), deeds.len());
    let log = run.stop();
    assert!(
        log.contains("repaired: put right, after `nft` (process "),
        "{log}"
    );
    assert!(
        log.trim_end().ends_with("stopped: what is in force stays"),
        "{log}"
    );
}

#[test]
fn a_table_that_another_program_took_over_is_taken_back() {
    let run = Run::new(Host::alone(), &[], FILE);
    let whole = run.host.unnumbered();
    let strange = "delete table inet flbc
        table inet flbc { chain c { type filter hook input priority 0; drop; }; set s { type mark; }; }";
    let ran = run.host.namespace.command("nft", &["-f", "-"], strange);
    assert!(ran.success, "{}", ran.stderr);
    run.repaired(1);
    assert_eq!(run.host.unnumbered(), whole);
    run.all_is_well();
}

#[test]
fn whoever_takes_it_away_again_and_again_is_let_have_it_for_a_while() {
    let run = Run::new(Host::alone(), &[], FILE);
    for many in 1..=3 {
        run.nft("flush ruleset");
        run.repaired(many);
    }
    run.nft("flush ruleset");
    run.wait_for("it says so", || run.count("repair-held") == 1);
    sleep(Duration::from_millis(500));
    assert_eq!(run.host.namespace.nft_list(&["tables"]), "");
    let status = run.flbc("status");
    assert_eq!(status.code, Some(1), "{}", status.out);
    // The operator says when it is over.
    assert_eq!(run.flbc("reload").code, Some(0));
    run.all_is_well();
    run.nft("flush ruleset");
    run.repaired(4);
}

#[test]
fn interfaces_are_followed() {
    let run = Run::new(Host::alone(), &[], FILE);
    let whole = run.host.unnumbered();
    let namespace = &run.host.namespace;
    let has_dns = || run.flbc("status").out.contains("service dns");
    namespace.ip("link del eth0");
    run.wait_for("it is left out", || !has_dns());
    assert_eq!(run.flbc("status").code, Some(1));
    namespace.ip("link add eth0 type veth peer name eth1");
    run.wait_for("it comes in", || run.flbc("status").code == Some(0));
    assert_eq!(run.host.unnumbered(), whole);
    // Gone and back between two looks: another interface of the same name.
    namespace.ip("link del eth0
        link add eth0 type veth peer name eth1");
    run.wait_for("it is bound again", || {
        let listed = run.host.list();
        listed.contains("hook ingress device \"eth0\"") && run.flbc("status").code == Some(0)
    });
    namespace.ip("link set eth0 name other0");
    run.wait_for("it follows the name", || !has_dns());
    namespace.ip("link set other0 name eth0");
    run.wait_for("it comes back", || run.flbc("status").code == Some(0));
    assert_eq!(run.host.unnumbered(), whole);
}

#[test]
fn a_daemon_whose_interfaces_are_all_missing_waits_for_them() {
    let host = Host::alone();
    host.namespace.ip("link del eth0");
    host.write(
        "lb.flb",
        "service dns { vip 192.0.2.53 udp 53; mode dr on eth0; server a 10.20.0.21 }",
    );
    let run = Run::again(host, &[]);
    run.wait_for("it says so", || run.count("follow-failed") == 1);
    let status = run.flbc("status");
    assert_eq!(status.code, Some(1), "{}", status.out);
    assert!(
        status.out.contains("interfaces that are not there: `eth0`"),
        "{}",
        status.out
    );
    run.host
        .namespace
        .ip("link add eth0 type veth peer name eth1");
    run.wait_for("it comes in", || run.flbc("status").code == Some(0));
    assert!(run.flbc("status").out.contains("service dns"));
}

#[test]
fn other_commands_work_beside_it() {
    let run = Run::new(Host::alone(), &[], FILE);
    let first = run.host.unnumbered();
    // What another run applies is what is kept, until the next reload.
    let ran = run.host.flbc(&["apply", "-"], OTHER);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let second = run.host.unnumbered();
    assert_ne!(first, second);
    run.wait_for("it is told", || run.count("applied") == 1);
    run.nft("flush ruleset");
    run.repaired(1);
    assert_eq!(run.host.unnumbered(), second);
    let status = run.flbc("status");
    assert!(
        status
            .out
            .contains("running: - (by `flbc apply -`), configured: /run/lb.flb"),
        "{}",
        status.out
    );
    let event = run
        .events()
        .into_iter()
        .find(|event| event["code"] == "applied")
        .unwrap();
    assert!(
        event["text"].as_str().unwrap().contains("`flbc apply -`"),
        "{event}"
    );
    let ran = run.flbc("reload");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("+ service dns"), "{}", ran.out);
    assert_eq!(run.host.unnumbered(), first);
    // What is set outlives others.
    let ran = run.flbc("set www web1 drain");
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert_eq!(
        ran.out.lines().next(),
        Some("~ www: web1 up -> drain (set)")
    );
    let drained = run.host.unnumbered();
    run.nft("flush ruleset");
    run.repaired(2);
    assert_eq!(run.host.unnumbered(), drained);
    let ran = run.flbc("set www web1 sideways");
    assert_eq!(ran.code, Some(2));
    let ran = run.flbc("set www nobody drain");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("nobody"), "{}", ran.err);
    // Unloaded, nothing is kept.
    assert_eq!(run.flbc("unload").code, Some(0));
    run.wait_for("it is told", || run.count("unloaded") == 1);
    sleep(Duration::from_millis(300));
    assert_eq!(run.host.namespace.nft_list(&["tables"]), "");
    assert_eq!(run.flbc("reload").code, Some(0));
    assert_eq!(run.host.unnumbered(), first);
}

#[test]
fn a_trial_is_left_alone_but_for_what_is_set() {
    let run = Run::new(Host::alone(), &[], FILE);
    let first = run.host.unnumbered();
    run.host.write("other.flb", OTHER);
    let ran = run.flbc("try --timeout 6s /run/other.flb");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    run.wait_for("it is told", || run.count("trial-began") == 1);
    let tried = run.host.unnumbered();
    let ran = run.flbc("reload");
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    let ran = run.flbc("set www web2 drain");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_ne!(run.host.unnumbered(), tried);
    run.wait_for("it went back", || run.count("trial-ended") == 1);
    run.wait_for("what was set lasts", || {
        run.flbc("status")
            .out
            .lines()
            .any(|line| line.contains("web2") && line.contains("drain"))
    });
    assert!(run.flbc("set www web2 up").code == Some(0));
    run.wait_for("it is as before", || run.host.unnumbered() == first);
    // What is confirmed is what is kept.
    let ran = run.flbc("try --timeout 60s /run/other.flb");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(run.flbc("confirm").code, Some(0));
    run.wait_for("it is told", || run.count("applied") == 1);
    run.nft("flush ruleset");
    run.repaired(1);
    assert_eq!(run.host.unnumbered(), tried);
}

#[test]
fn a_file_with_a_fault_changes_nothing_and_the_fault_is_told() {
    let run = Run::new(Host::alone(), &[], FILE);
    let first = run.host.unnumbered();
    for (file, told) in [
        ("service www {", "error[unclosed-block]"),
        ("", "yields no service"),
        ("service www { vip 192.0.2.10 tcp 80 }", "error[no-server]"),
    ] {
        run.host.write("lb.flb", file);
        let ran = run.flbc("reload");
        assert_eq!(ran.code, Some(2), "{file}: {}", ran.err);
        assert!(ran.err.contains(told), "{file}: {}", ran.err);
        run.nft("flush ruleset");
        run.repaired(run.count("reload-failed"));
        assert_eq!(run.host.unnumbered(), first);
    }
    fs::remove_file(run.host.folder().join("lb.flb")).unwrap();
    let ran = run.flbc("reload");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    run.host.write("lb.flb", FILE);
    let ran = run.flbc("reload");
    assert_eq!(
        (ran.code, &*ran.out),
        (Some(0), "no difference\n"),
        "{}",
        ran.err
    );
    // The signal does the same.
    run.host.write("lb.flb", OTHER);
    run.signal(Signal::HUP);
    run.wait_for("it is read", || run.flbc("status").out.contains("web9"));
}

#[test]
fn files_are_followed() {
    let host = Host::alone();
    fs::create_dir(host.folder().join("d")).unwrap();
    let run = Run::new(host, &["--follow"], &format!("include \"d/*.flb\"\n{FILE}"));
    let has = |name: &str| run.flbc("status").out.contains(name);
    run.host.write(
        "d/a.flb",
        "service more { vip 192.0.2.11 tcp 80; server web1 10.20.0.11 }",
    );
    run.wait_for("a new file is read", || has("service more"));
    run.host
        .write("d/a.flb", "service more { vip 192.0.2.11 tcp");
    run.wait_for("a fault is told", || run.count("reload-failed") == 1);
    assert!(has("service more"));
    run.host.write(
        "d/a.flb",
        "service else { vip 192.0.2.11 tcp 80; server web1 10.20.0.11 }",
    );
    run.wait_for("it is read again", || has("service else"));
    fs::remove_file(run.host.folder().join("d/a.flb")).unwrap();
    run.wait_for("it is gone", || !has("service else"));
    // Written anew with the same words: nothing to say.
    let before = run.host.generation();
    run.host
        .write("lb.flb", &format!("include \"d/*.flb\"\n{FILE}"));
    sleep(Duration::from_secs(3));
    assert_eq!(run.host.generation(), before);
}

#[test]
fn whoever_is_killed_goes_on_where_it_was() {
    let mut run = Run::new(Host::alone(), &[], FILE);
    assert_eq!(run.flbc("set www web1 drain").code, Some(0));
    let (state, generation) = (run.host.unnumbered(), run.host.generation());
    for _ in 0..5 {
        run.kill();
        assert_eq!(
            (run.host.unnumbered(), run.host.generation()),
            (state.clone(), generation)
        );
        // Commands go on without it.
        assert_eq!(run.flbc("events").code, Some(2));
        assert_eq!(run.flbc("status").code, Some(0));
        run.start();
        run.wait_for("it begins", || run.count("started") == 1);
        assert_eq!(
            (run.host.unnumbered(), run.host.generation()),
            (state.clone(), generation)
        );
    }
    // Killed while somebody flushes: the next one brings it back, with what was set.
    run.kill();
    run.nft("flush ruleset");
    run.start();
    run.wait_for("it is back", || run.host.unnumbered() == state);
}

/// Whoever is killed goes on where it was, and whoever is stopped begins with its file.
#[test]
fn what_was_applied_beside_it_outlives_a_kill_and_no_stop() {
    let mut run = Run::new(Host::alone(), &[], FILE);
    let first = run.host.unnumbered();
    assert_eq!(run.host.flbc(&["apply", "-"], OTHER).code, Some(0));
    run.wait_for("it is told", || run.count("applied") == 1);
    let second = run.host.unnumbered();
    let again = |run: &mut Run| {
        run.kill();
        run.start();
        run.wait_for("it begins", || run.count("started") == 1);
    };
    again(&mut run);
    assert_eq!(run.host.unnumbered(), second);
    assert!(run.flbc("status").out.contains("configured: /run/lb.flb"));
    run.nft("flush ruleset");
    run.repaired(1);
    assert_eq!(run.host.unnumbered(), second);
    // Flushed while nobody was there.
    run.kill();
    run.nft("flush ruleset");
    run.start();
    run.wait_for("it is back", || run.host.unnumbered() == second);
    // The file has a fault by then: what is in force stays, and it is told.
    run.host.write("lb.flb", "service {");
    again(&mut run);
    assert_eq!(run.host.unnumbered(), second);
    let status = run.flbc("status");
    assert!(
        status.out.contains("/run/lb.flb has faults"),
        "{}",
        status.out
    );
    // The file is another one by then: somebody wants it.
    run.host.write("lb.flb", &FILE.replace("web1", "web7"));
    again(&mut run);
    assert!(run.flbc("status").out.contains("web7"));
    run.host.write("lb.flb", FILE);
    assert_eq!(run.flbc("reload").code, Some(0));
    assert_eq!(run.flbc("unload").code, Some(0));
    run.wait_for("it is told", || run.count("unloaded") == 1);
    again(&mut run);
    assert_eq!(run.host.namespace.nft_list(&["tables"]), "");
    // Stopped, and begun by somebody who wants it.
    run.signal(Signal::TERM);
    run.child.wait().unwrap();
    run.start();
    run.wait_for("it begins with its file", || run.host.unnumbered() == first);
}

#[test]
fn a_second_daemon_does_not_begin() {
    let run = Run::new(Host::alone(), &[], FILE);
    let ran = run.flbc("run /run/lb.flb");
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    assert!(ran.err.contains("flbc reload"), "{}", ran.err);
    // One of other tables does.
    run.host.write(
        "more.flb",
        "service more { vip 192.0.2.99 tcp 80; server web1 10.20.0.11 }",
    );
    let mut other = run.host.start(&["run", "--table", "more", "/run/more.flb"]);
    run.wait_for("it begins", || {
        run.flbc("status --table more").code == Some(0)
    });
    let _ = other.kill();
    let _ = other.wait();
}

#[test]
fn a_file_that_cannot_be_run_is_told_and_ends_it() {
    let host = Host::alone();
    for (file, told) in [
        ("service www {", "error[unclosed-block]"),
        ("", "yields no service"),
    ] {
        host.write("lb.flb", file);
        let ran = host.flbc(&["run", "/run/lb.flb"], "");
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains(told), "{}", ran.err);
    }
    let ran = host.flbc(&["reload"], "");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("flbc run"), "{}", ran.err);
}

#[test]
fn another_program_takes_its_place_and_nothing_changes() {
    let run = Run::new(Host::alone(), &[], FILE);
    let (state, generation) = (run.host.unnumbered(), run.host.generation());
    run.signal(Signal::USR2);
    run.wait_for("it begins anew", || run.kinds() == ["started"]);
    assert_eq!(
        (run.host.unnumbered(), run.host.generation()),
        (state.clone(), generation)
    );
    run.nft("flush ruleset");
    run.repaired(1);
    assert_eq!(run.host.unnumbered(), state);
}

#[test]
fn clients_that_misbehave_keep_nobody_waiting() {
    let run = Run::new(Host::alone(), &[], FILE);
    let connect = || UnixStream::connect(run.socket()).unwrap();
    let answer = |mut stream: UnixStream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    };
    // Says nothing; says half; says too much; says nonsense; goes at once; never reads; wants what there is not.
    let mut silent: Vec<UnixStream> = (0..100).map(|_| connect()).collect();
    let mut half = connect();
    half.write_all(b"{\"ask\":").unwrap();
    let mut long = connect();
    let _ = long.write_all(&vec![b'x'; 1 << 20]);
    for nonsense in [
        "\n",
        "{}\n",
        "null\n",
        "{\"ask\":\"sing\"}\n",
        "\u{0}\u{1}\n",
        "{\"ask\":\"set\",\"service\":\"www\"}\n",
    ] {
        let mut stream = connect();
        stream.write_all(nonsense.as_bytes()).unwrap();
        let text = answer(stream);
        assert!(text.contains("\"is\":\"refused\""), "{nonsense:?}: {text}");
    }
    let mut deep = connect();
    let nested = "[".repeat(10_000);
    deep.write_all(format!("{nested}\n").as_bytes()).unwrap();
    assert!(answer(deep).contains("refused"));
    drop(connect());
    let mut deaf: Vec<UnixStream> = (0..10).map(|_| connect()).collect();
    for stream in &mut deaf {
        stream
            .write_all(b"{\"ask\":\"events\",\"follow\":true}\n")
            .unwrap();
    }
    // Meanwhile all goes on.
    let begun = Instant::now();
    for what in ["drain", "up"].repeat(20) {
        assert_eq!(run.flbc(&format!("set www web1 {what}")).code, Some(0));
    }
    run.nft("flush ruleset");
    run.repaired(1);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    silent.clear();
    drop((half, long, deaf));
    run.all_is_well();
}
