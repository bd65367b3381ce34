//! `flbc try`: what is tried stays only if it is confirmed, whatever happens to the terminal, to flbc and to the network.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::{self, Protocol};
use crate::lab::topology::{Layout, Topology};
use crate::operator::{at, compile, sampled, who};
use crate::random::Dice;

const WWW: &str = "192.0.2.10:80";

/// So long a test waits for what comes by itself.
const LONG: Duration = Duration::from_secs(30);

fn served_by(server: &str, number: u8) -> String {
    format!("service www {{ vip 192.0.2.10 tcp, udp 80; server {server} 10.20.0.{number} }}\n")
}

const SECOND: &str = "
pool shared { server x1 10.20.0.21; server x2 10.20.0.22 weight 2 }
service www { vip 192.0.2.10 tcp, udp 80; server b 10.20.0.12 }
service alt { vip 192.0.2.11 tcp, udp 1000-2000; pool shared; scheduler random; mode nat masquerade }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0; scheduler maglev table 13; server 10.20.0.11; server 10.20.0.12 drain }
";

/// Waits until it is so.
#[track_caller]
fn becomes(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < LONG, "never: {what}");
        sleep(Duration::from_millis(50));
    }
    start.elapsed()
}

/// The watchers of a host.
fn watchers(host: &Host) -> Vec<u32> {
    let namespace =
        |path: PathBuf| fs::metadata(path).map(|m| std::os::unix::fs::MetadataExt::ino(&m));
    let here = namespace(host.namespace.path().into()).unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains("watch-trial")
                && namespace(format!("/proc/{pid}/ns/net").into()).is_ok_and(|ns| ns == here)
        })
        .collect()
}

fn kill(signal: &str, target: &str) {
    let done = Command::new("kill").args([signal, "--", target]).status();
    assert!(done.unwrap().success(), "kill {signal} {target}");
}

#[test]
fn what_is_not_confirmed_goes_back_with_its_connections() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let first = served_by("a", 11);
    host.apply(&first);
    let before = host.state();
    let ran = host.flbc(&["try", "--timeout", "4s", "-"], SECOND);
    let ended = Instant::now();
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{}", ran.out);
    assert!(ran.out.contains("~ www: - server a\n"), "{}", ran.out);
    assert!(
        ran.out.ends_with("on trial for 4s: `flbc confirm` keeps it, `flbc try --back` goes back at once; without either flbc goes back by itself\n"),
        "{}",
        ran.out
    );
    assert_eq!(who(&topology.client, Protocol::Tcp, WWW), "b");
    let from = Some(topology.source(at(WWW)));
    let flow = || client::ask(&topology.client, Protocol::Udp, from, at(WWW), PATIENCE).unwrap();
    assert_eq!(flow().server, "b");
    let status = host.flbc(&["status"], "").out;
    assert!(status.starts_with("on trial: goes back in "), "{status}");
    becomes("back", || host.state() == before);
    let waited = ended.elapsed();
    assert!(waited > Duration::from_secs(3), "{waited:?}");
    becomes("the watcher's end", || watchers(&host).is_empty());
    assert_eq!(who(&topology.client, Protocol::Tcp, WWW), "a");
    // The flow to a server that is no longer there is forgotten.
    assert_eq!(flow().server, "a");
    assert!(host.remembers());
    assert_eq!(host.apply(&first), "no difference\n");
    let late = host.flbc(&["confirm"], "");
    assert_eq!(late.code, Some(2));
    assert!(
        late.err
            .starts_with("error: no trial is open: the last one went back to what was before, "),
        "{}",
        late.err
    );
}

/// Servers of a service that remembers its clients have numbers of another kind: what rules remember of flows is carried
/// over, there and back.
#[test]
fn what_was_set_comes_back_where_flows_are_numbered_anew() {
    let dr = "mode dr on eth0 via eth1; track 5m";
    for (layout, mode, tried) in [
        (Layout::Nat, "mode nat; persist 5m", "mode nat"),
        (Layout::DrTwoInterfaces, dr, &format!("{dr}; persist 5m")),
        (Layout::DrTwoInterfaces, &format!("{dr}; persist 5m"), dr),
    ] {
        let topology = Topology::new(layout, 3);
        let _serving = topology.serve(&[80]);
        let host = Host::new(&topology.balancer);
        let file = |mode: &str| {
            format!(
                "service www {{ vip 192.0.2.10 tcp 80; {mode}; server a 10.20.0.11; server b 10.20.0.12; server c 10.20.0.13 }}\n"
            )
        };
        host.apply(&file(mode));
        assert_eq!(host.flbc(&["set", "www", "c", "drain"], "").code, Some(0));
        for _ in 0..4 {
            who(&topology.client, Protocol::Tcp, WWW);
        }
        let before = host.state();
        let ran = host.flbc(&["try", "--timeout", "1h", "-"], &file(tried));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let back = host.flbc(&["try", "--back"], "");
        assert_eq!(back.code, Some(0), "{back:?}");
        assert_eq!(host.state(), before, "{mode}");
        let kept = host.flbc(&["apply", "--keep", "-"], &file(mode));
        assert_eq!(kept.out, "no difference\n", "{mode}: {kept:?}");
    }
}

#[test]
fn what_is_confirmed_stays() {
    let host = Host::alone();
    host.apply(&served_by("a", 11));
    let ran = host.flbc(&["try", "--timeout", "2s", "-"], SECOND);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let tried = host.state();
    let ran = host.flbc(&["confirm"], "");
    assert_eq!((ran.code, &*ran.out), (Some(0), "confirmed: this stays\n"));
    becomes("the watcher's end", || watchers(&host).is_empty());
    sleep(Duration::from_millis(2_500));
    assert_eq!(host.state(), tried);
    assert_eq!(host.apply(SECOND), "no difference\n");
    let again = host.flbc(&["confirm"], "");
    assert_eq!(again.code, Some(2));
    assert!(again.err.contains("no trial is open"), "{}", again.err);
}

#[test]
fn back_into_an_empty_kernel_and_back_at_once() {
    let host = Host::alone();
    assert_eq!(
        host.flbc(&["try", "--timeout", "1s", "-"], SECOND).code,
        Some(0)
    );
    assert!(host.list().contains("table inet flbc"));
    becomes("empty", || host.list().is_empty());
    becomes("the watcher's end", || watchers(&host).is_empty());
    assert!(!host.remembers());
    assert_eq!(
        host.flbc(&["try", "--timeout", "1h", "-"], SECOND).code,
        Some(0)
    );
    let back = host.flbc(&["try", "--back"], "");
    assert_eq!(back.code, Some(0), "{back:?}");
    assert!(
        back.out.ends_with("went back to what was before\n"),
        "{}",
        back.out
    );
    assert_eq!(host.list(), "");
    becomes("the watcher's end", || watchers(&host).is_empty());
}

#[test]
fn a_file_that_cuts_the_operator_off_is_gone_again() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let first = served_by("a", 11);
    host.apply(&first);
    let operator = || {
        client::ask(
            &topology.client,
            Protocol::Tcp,
            None,
            at(WWW),
            Duration::from_millis(500),
        )
    };
    operator().unwrap();
    let cut = "service all { vip 192.0.2.10 tcp any; server nobody 10.20.0.99; on-empty drop }";
    assert_eq!(
        host.flbc(&["try", "--timeout", "2s", "-"], cut).code,
        Some(0)
    );
    operator().unwrap_err();
    becomes("reachable again", || operator().is_ok());
}

#[test]
fn while_a_trial_is_open_nothing_else_changes_the_tables() {
    let host = Host::alone();
    let first = served_by("a", 11);
    host.apply(&first);
    let before = host.state();
    assert_eq!(
        host.flbc(&["try", "--timeout", "1h", "-"], SECOND).code,
        Some(0)
    );
    let tried = host.state();
    for (arguments, file) in [
        (&["apply", "-"][..], &*first),
        (&["try", "-"], &first),
        (&["unload"], ""),
    ] {
        let ran = host.flbc(arguments, file);
        assert_eq!(ran.code, Some(5), "{arguments:?}");
        assert!(
            ran.err.contains("`flbc confirm`") && ran.err.contains("`flbc try --back`"),
            "{arguments:?}: {}",
            ran.err
        );
        assert_eq!(host.state(), tried, "{arguments:?}");
    }
    // What changes nothing is free, and so are the tables of another name.
    assert_eq!(
        host.flbc(&["apply", "--dry-run", "-"], &first).code,
        Some(1)
    );
    let elsewhere = served_by("a", 11).replace("192.0.2.10", "192.0.2.77");
    let ran = host.flbc(&["apply", "--table", "other", "-"], &elsewhere);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(host.flbc(&["unload", "--table", "other"], "").code, Some(0));
    // Another tool takes it all away: what was before comes back all the same.
    host.namespace.nft("flush ruleset\n");
    assert_eq!(host.flbc(&["try", "--back"], "").code, Some(0));
    assert_eq!(host.state(), before);
    becomes("the watcher's end", || watchers(&host).is_empty());
}

#[test]
fn what_changes_nothing_is_no_trial_and_what_is_refused_neither() {
    let host = Host::alone();
    host.apply(SECOND);
    let ran = host.flbc(&["try", "-"], SECOND);
    assert_eq!(
        (ran.code, &*ran.out),
        (Some(0), "no difference: there is nothing to try\n")
    );
    let before = host.state();
    let refused = host.flbc(&["try", "-"], &SECOND.replace("eth0", "eth7"));
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let faulty = host.flbc(&["try", "-"], "service {");
    assert_eq!(faulty.code, Some(2), "{faulty:?}");
    for (wrong, why) in [
        ("0s", "no time at all"),
        ("60", "no unit"),
        ("2d", "more than 1d"),
    ] {
        let ran = host.flbc(&["try", "--timeout", wrong, "-"], SECOND);
        assert!(ran.code == Some(2) && ran.err.contains(why), "{ran:?}");
    }
    assert!(watchers(&host).is_empty());
    assert_eq!(host.flbc(&["confirm"], "").code, Some(2));
    assert_eq!(host.state(), before);
}

#[test]
fn others_changes_meanwhile_stay_others() {
    let host = Host::alone();
    let first = served_by("a", 11);
    // Loaded by nft: flbc knows nothing of it but what it reads.
    host.namespace.nft(&compile(&first));
    let before = host.state();
    assert_eq!(
        host.flbc(&["try", "--timeout", "2s", "-"], SECOND).code,
        Some(0)
    );
    host.namespace
        .nft("add table inet foreign\nadd rule inet flbc input drop\n");
    becomes("back", || {
        let mut now = host.state();
        now.retain(|object| !object.contains("foreign"));
        now == before
    });
    assert!(host.list().contains("table inet foreign"));
    becomes("the watcher's end", || watchers(&host).is_empty());
    assert_eq!(host.flbc(&["apply", "-"], &first).out, "no difference\n");
}

/// The terminal dies, and every process of its session with it.
#[test]
fn the_death_of_the_session_does_not_keep_what_was_tried() {
    let host = Host::alone();
    let first = served_by("a", 11);
    host.apply(&first);
    let before = host.state();
    // In an emulated guest it takes a second to look, and what was tried must not be gone by then.
    let emulated = std::env::var_os("FLBC_GUEST").is_some();
    let timeout = if emulated { "15s" } else { "2s" };
    for signal in ["", "-HUP", "-KILL", "-TERM", "-INT"] {
        let file = host.write("second.flb", SECOND);
        // A terminal, as sshd makes one: `script` holds its other side.
        let command = format!(
            "echo $$ >/run/session; {} try --timeout {timeout} {file}; sleep 60",
            env!("CARGO_BIN_EXE_flbc")
        );
        let mut terminal = host.namespace.run(|| {
            Command::new("unshare")
                .args([
                    "--mount",
                    "sh",
                    "-ec",
                    "mount --bind \"$0\" /run; exec \"$@\"",
                ])
                .arg(host.folder())
                .args(["script", "-qec", &command, "/dev/null"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        });
        becomes("tried", || host.list().contains("table netdev flbc"));
        if !signal.is_empty() {
            let session = fs::read_to_string(host.folder().join("session")).unwrap();
            kill(signal, &format!("-{}", session.trim()));
        }
        // Without its other side the terminal hangs up.
        terminal.kill().unwrap();
        terminal.wait().unwrap();
        assert_eq!(watchers(&host).len(), 1, "{signal}");
        becomes("back", || host.state() == before);
        becomes("the watcher's end", || watchers(&host).is_empty());
    }
}

/// Killed at any moment, flbc leaves the way back behind, or has done nothing yet.
#[test]
fn a_kill_at_any_moment_of_a_try_leaves_the_way_back() {
    let host = Host::alone();
    let first = served_by("a", 11);
    host.apply(&first);
    let before = host.state();
    let file = host.write("second.flb", SECOND);
    let start = Instant::now();
    assert_eq!(
        host.flbc(&["try", "--timeout", "1s", &file], "").code,
        Some(0)
    );
    let whole = start.elapsed();
    becomes("back", || {
        host.state() == before && watchers(&host).is_empty()
    });
    let mut dice = Dice::new(11);
    let mut caught = 0;
    for turn in 0..sampled(12, 200) {
        let mut child = host.start(&["try", "--timeout", "1s", &file]);
        sleep(whole * u32::try_from(dice.below(110)).unwrap() / 100);
        child.kill().unwrap();
        child.wait().unwrap();
        caught += u32::from(host.state() != before);
        becomes("back", || {
            watchers(&host).is_empty() && host.state() == before
        });
        let ran = host.flbc(&["apply", "-"], &first);
        assert_eq!(
            (ran.code, &*ran.out),
            (Some(0), "no difference\n"),
            "turn {turn}: {}",
            ran.err
        );
    }
    assert!(caught > 0, "no kill was late enough");
}

/// Kills the watcher of the trial that is open.
#[track_caller]
fn kill_watcher(host: &Host) {
    let [watcher] = watchers(host)[..] else {
        panic!("one watcher")
    };
    kill("-KILL", &watcher.to_string());
    // One that dies has no command line any more, and for a moment its lock.
    becomes("its end", || {
        let state = fs::read_to_string(format!("/proc/{watcher}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
}

const TAKEN: &str = "warning: the process that was to go back from a trial had been killed: another one takes its place\n";

#[test]
fn another_watcher_takes_the_place_of_one_that_was_killed() {
    let host = Host::alone();
    let first = served_by("a", 11);
    host.apply(&first);
    let before = host.state();
    assert_eq!(
        host.flbc(&["try", "--timeout", "1h", "-"], SECOND).code,
        Some(0)
    );
    let tried = host.state();
    for (arguments, file, code) in [
        (&["status"][..], "", 0),
        (&["apply", "--dry-run", "-"], &*first, 1),
        (&["apply", "-"], &first, 5),
        (&["set", "www", "b", "drain"], "", 5),
        (&["unload"], "", 5),
        (&["try", "-"], &first, 5),
    ] {
        kill_watcher(&host);
        let ran = host.flbc(arguments, file);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        assert!(ran.err.starts_with(TAKEN), "{arguments:?}: {ran:?}");
        assert_eq!(watchers(&host).len(), 1, "{arguments:?}");
        assert_eq!(host.state(), tried, "{arguments:?}");
    }
    let status = host.flbc(&["status"], "");
    assert!(status.err.is_empty() && status.out.starts_with("on trial: goes back in "));
    // Whoever decides needs none.
    kill_watcher(&host);
    let back = host.flbc(&["try", "--back"], "");
    assert_eq!((back.code, &*back.err), (Some(0), ""), "{back:?}");
    assert_eq!(host.state(), before);
    assert!(watchers(&host).is_empty());
}

/// The trial cut the operator off, and its watcher was killed: whatever command comes next goes back.
#[test]
fn a_trial_that_nobody_watched_goes_back_once_its_time_is_over() {
    let host = Host::alone();
    let first = served_by("a", 11);
    host.apply(&first);
    let before = host.state();
    let emulated = std::env::var_os("FLBC_GUEST").is_some();
    let (timeout, time) = if emulated { ("15s", 16) } else { ("2s", 3) };
    for by in ["apply", "status"] {
        assert_eq!(
            host.flbc(&["try", "--timeout", timeout, "-"], SECOND).code,
            Some(0)
        );
        kill_watcher(&host);
        let tried = host.state();
        sleep(Duration::from_secs(time));
        assert_eq!(host.state(), tried);
        if by == "apply" {
            let ran = host.flbc(&["apply", "-"], &first);
            assert_eq!(
                (ran.code, &*ran.out, &*ran.err),
                (
                    Some(0),
                    "no difference\n",
                    "warning: the time of a trial was over, and the process that was to go back had been killed: went back first to what was before\n"
                )
            );
        } else {
            let ran = host.flbc(&["status"], "");
            assert!(ran.code == Some(0) && ran.err == TAKEN, "{ran:?}");
            becomes("back", || host.state() == before);
            becomes("the watcher's end", || watchers(&host).is_empty());
        }
        assert_eq!(host.state(), before);
    }
}

/// It may administer the network and cannot look into the folder of the notes: that is not to say that there is no trial.
#[test]
fn who_cannot_see_whether_a_trial_is_open_changes_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::alone();
    let first = served_by("a", 11);
    let file = host.write("first.flb", &first);
    for path in [host.folder(), &host.folder().join("first.flb")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = host.folder().join("flbc.program");
    fs::copy(env!("CARGO_BIN_EXE_flbc"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let other = |capabilities: &str, arguments: &[&str]| {
        let inherited = format!("--inh-caps={capabilities}");
        let ambient = format!("--ambient-caps={capabilities}");
        let wrapper = [
            "setpriv",
            "--reuid=1000",
            "--regid=1000",
            "--clear-groups",
            &inherited,
            &ambient,
            "/run/flbc.program",
        ];
        host.command(&[&wrapper, arguments].concat())
    };
    // Where there is no folder there is no trial, whoever asks.
    let alone = other("+net_admin", &["apply", &file]);
    assert_eq!(alone.code, Some(0), "{alone:?}");
    assert_eq!(
        host.flbc(&["try", "--timeout", "1h", "-"], SECOND).code,
        Some(0)
    );
    let tried = host.state();
    for arguments in [
        &["apply", &file][..],
        &["unload"],
        &["confirm"],
        &["try", "--back"],
        &["try", &file],
    ] {
        let ran = other("+net_admin", arguments);
        assert_eq!(ran.code, Some(5), "{arguments:?}: {ran:?}");
        assert!(
            ran.err
                .starts_with("error: whether a trial is open cannot be told: "),
            "{ran:?}"
        );
        let ran = other("-all", arguments);
        assert_eq!(ran.code, Some(4), "{arguments:?}: {ran:?}");
        assert_eq!(host.state(), tried);
    }
    assert_eq!(watchers(&host).len(), 1);
    assert_eq!(host.flbc(&["try", "--back"], "").code, Some(0));
    becomes("the watcher's end", || watchers(&host).is_empty());
}

#[test]
fn a_trial_outlives_the_folder_of_its_notes() {
    let host = Host::alone();
    host.apply(&served_by("a", 11));
    let before = host.state();
    let ran = host.flbc(&["try", "--timeout", "3s", "-"], &served_by("b", 12));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    host.forget();
    becomes("told of again", || {
        let status = host.flbc(&["status"], "").out;
        status.starts_with("on trial: goes back in ")
    });
    assert_eq!(host.flbc(&["apply", "-"], SECOND).code, Some(5));
    becomes("back", || host.state() == before);
    becomes("the watcher's end", || watchers(&host).is_empty());
}
