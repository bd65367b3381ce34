//! `flbc set`: one server changed in the kernel, and what becomes of it at the next apply.

use crate::apply_host::{Host, Ran};
use crate::lab::PATIENCE;
use crate::lab::client::{self, Connection, Protocol};
use crate::lab::topology::{Layout, Topology};
use crate::operator::at;

const WWW: &str = "192.0.2.10:80";

const FILE: &str = "
pool web { server a 10.20.0.11; server b 10.20.0.12 }
service www { vip 192.0.2.10 tcp, udp 80; pool web }
service own { vip 192.0.2.53 tcp, udp 80; server a 10.20.0.11 weight 3; server b 10.20.0.12; server c 10.20.0.13 weight 0; server d 10.20.0.14 backup }
service api { vip 192.0.2.11 tcp 80; pool web }
";

fn set(host: &Host, words: &str) -> Ran {
    let words: Vec<&str> = words.split(' ').collect();
    host.flbc(&[&["set"], &words[..]].concat(), "")
}

#[track_caller]
fn done(host: &Host, words: &str) -> String {
    let ran = set(host, words);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{words}: {}", ran.out);
    ran.out
}

fn servers(topology: &Topology, to: &str, flows: u32) -> Vec<String> {
    let sources = topology.sources(at(to), flows);
    let mut all = client::ask_all(&topology.client, Protocol::Tcp, &sources, at(to));
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn what_is_set_holds_for_packets_until_it_is_ended() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(FILE);
    let before = host.unnumbered();
    let mut open: Vec<Connection> = (0..4)
        .map(|_| {
            let from = Some(topology.source(at(WWW)));
            Connection::open(&topology.client, from, at(WWW), PATIENCE).unwrap()
        })
        .collect();
    let said = done(&host, "www a drain");
    assert!(
        said.starts_with("~ pool web: a up -> drain (set)\n"),
        "{said}"
    );
    assert!(
        said.ends_with("pool web is one for 2 services: www, api\n"),
        "{said}"
    );
    assert_eq!(servers(&topology, WWW, 6), ["b"]);
    assert_eq!(servers(&topology, "192.0.2.11:80", 6), ["b"]);
    assert_eq!(servers(&topology, "192.0.2.53:80", 8), ["a", "b"]);
    for connection in &mut open {
        assert_eq!(
            connection.again().unwrap(),
            connection.answer,
            "drain keeps"
        );
    }
    let from = Some(topology.source(at("192.0.2.53:80")));
    let flow = |to: &str| client::ask(&topology.client, Protocol::Udp, from, at(to), PATIENCE);
    let first = flow("192.0.2.53:80").unwrap().server;
    let said = done(&host, &format!("own {first} down"));
    assert!(said.contains(" forgotten\n"), "{said}");
    assert_ne!(flow("192.0.2.53:80").unwrap().server, first);
    assert!(done(&host, &format!("own {first} up")).contains("down (set) -> up\n"));
    done(&host, "www a up");
    assert_eq!(
        host.unnumbered(),
        before,
        "what the file says is no override"
    );
    assert_eq!(host.apply(FILE), "no difference\n");
}

#[test]
fn apply_says_what_it_ends_and_keeps_what_it_is_told_to_keep() {
    let host = Host::alone();
    host.apply(FILE);
    let before = host.unnumbered();
    assert!(done(&host, "own a weight 7").starts_with("~ own: a weight 3 -> 7 (set)\n"));
    assert!(done(&host, "own a drain").starts_with("~ own: a up -> drain (set)\n"));
    assert!(done(&host, "own c weight 2").contains("~ own: c drain -> up (set)\n"));
    assert!(done(&host, "own d up").starts_with("~ own: d backup -> up (set)\n"));
    assert_eq!(done(&host, "own d up"), "no difference\n");
    let set_all = host.unnumbered();
    let dry = host.flbc(&["apply", "--dry-run", "-"], FILE);
    assert_eq!(dry.code, Some(1), "{dry:?}");
    for line in [
        "~ own: a drain (set) -> up\n",
        "~ own: a weight 7 (set) -> 3\n",
        "~ own: c up (set) -> drain\n",
        "~ own: c weight 2 (set) -> 0\n",
        "~ own: d up (set) -> backup\n",
    ] {
        assert!(dry.out.contains(line), "{line} in {}", dry.out);
    }
    assert_eq!(host.unnumbered(), set_all);
    let kept = host.flbc(&["apply", "--keep", "-"], FILE);
    assert_eq!((kept.code, &*kept.out), (Some(0), "no difference\n"));
    // What else the file changes is applied beside it, and what is no longer there cannot be kept.
    let edited = FILE
        .replace("server d 10.20.0.14 backup", "server e 10.20.0.15")
        .replace("weight 3", "weight 4");
    let kept = host.flbc(&["apply", "--keep", "-"], &edited);
    assert_eq!(kept.code, Some(0), "{kept:?}");
    assert!(
        kept.out.contains("~ own: + server e 10.20.0.15\n"),
        "{}",
        kept.out
    );
    let ended = host.apply(&edited);
    assert!(ended.contains("~ own: a drain (set) -> up\n"), "{ended}");
    assert!(ended.contains("~ own: a weight 7 (set) -> 4\n"), "{ended}");
    assert!(!ended.contains(" d "), "{ended}");
    // A file that says what was set ends it as well, and says so.
    host.apply(FILE);
    assert_eq!(host.unnumbered(), before);
    done(&host, "own b drain");
    let said = host.apply(&FILE.replace(
        "server b 10.20.0.12; server c",
        "server b 10.20.0.12 drain; server c",
    ));
    assert!(
        said.starts_with("~ own: b drain (set) -> drain\n"),
        "{said}"
    );
}

#[test]
fn status_shows_what_was_set() {
    let host = Host::alone();
    host.apply(FILE);
    done(&host, "own a drain");
    done(&host, "www b weight 5");
    let human = host.flbc(&["status"], "").out;
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = human.lines().map(words).collect();
    let own = lines
        .iter()
        .position(|l| l.starts_with("service own "))
        .unwrap();
    assert!(
        lines[own..]
            .iter()
            .any(|l| l.starts_with("a 10.20.0.11 3 drain ")
                && l.ends_with(" ago; the file says weight 3 0 connections left")),
        "{human}"
    );
    for service in ["service www ", "service api "] {
        let at = lines.iter().position(|l| l.starts_with(service)).unwrap();
        assert!(
            lines[at..at + 5]
                .iter()
                .any(|l| l.starts_with("b 10.20.0.12 5 up ")
                    && l.ends_with(" ago; the file says weight 1")),
            "{human}"
        );
    }
    let json = host.flbc(&["status", "--json"], "").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let a = &json["services"][1]["servers"][0];
    assert_eq!(
        (a["name"].as_str(), a["file"].as_str()),
        (Some("a"), Some("weight 3"))
    );
    assert!(json["services"][1]["servers"][1]["file"].is_null());
}

#[test]
fn what_cannot_be_set_is_told() {
    let host = Host::alone();
    let nothing = set(&host, "www a drain");
    assert_eq!(nothing.code, Some(2));
    assert!(
        nothing.err.contains("`flbc set --file FILE "),
        "{}",
        nothing.err
    );
    host.apply(FILE);
    let before = host.unnumbered();
    for (words, why) in [
        ("wwv a drain", "`www`"),
        ("nobody a drain", "www, own, api"),
        ("own aa drain", "`a`"),
        ("www c drain", "`c`"),
        ("own c up", "`c`"),
        ("own a drain 3", "`weight`"),
        ("own a weight 65536", "65536"),
        ("own a weight", "<N>"),
        ("own a sideways", "sideways"),
    ] {
        let ran = set(&host, words);
        assert_eq!(ran.code, Some(2), "{words}");
        assert!(ran.err.contains(why), "{words}: {}", ran.err);
    }
    assert_eq!(host.unnumbered(), before);
    // As after a reboot.
    host.forget();
    assert_eq!(set(&host, "own a drain").code, Some(2));
    let file = host.write("lb.flb", FILE);
    let said = done(&host, &format!("--file {file} own a drain"));
    assert!(said.contains("~ own: a up -> drain"), "{said}");
    assert!(done(&host, "own b weight 9").contains("b weight 1 -> 9 (set)"));
    let ended = host.apply(FILE);
    assert!(ended.contains("~ own: a drain (set) -> up\n"), "{ended}");
    // While a trial is open it is not the time.
    let edited = FILE.replace("weight 3", "weight 4");
    assert_eq!(
        host.flbc(&["try", "--timeout", "1h", "-"], &edited).code,
        Some(0)
    );
    assert!(set(&host, "own a drain").err.contains("a trial is open"));
    assert_eq!(host.flbc(&["confirm"], "").code, Some(0));
    // And going back brings back what was set.
    done(&host, "own a drain");
    assert_eq!(
        host.flbc(&["try", "--timeout", "1h", "-"], FILE).code,
        Some(0)
    );
    assert_eq!(host.flbc(&["try", "--back"], "").code, Some(0));
    let ended = host.apply(&edited);
    assert!(ended.contains("~ own: a drain (set) -> up\n"), "{ended}");
}

#[test]
fn what_is_set_outlives_a_run_that_is_killed() {
    let host = Host::alone();
    let file = host.write("lb.flb", FILE);
    host.apply(FILE);
    done(&host, "own b drain");
    host.kill_after_transaction();
    // Without the file it is not known what a killed run may have been about to apply.
    assert_eq!(set(&host, "own a drain").code, Some(2));
    let said = done(&host, &format!("--file {file} own a drain"));
    assert!(said.contains("~ own: a up -> drain"), "{said}");
    assert!(!said.contains("b drain"), "{said}");
    host.kill_after_transaction();
    let kept = host.flbc(&["apply", "--keep", &file], "");
    assert_eq!(kept.code, Some(0), "{}", kept.err);
    assert!(!kept.out.contains('~'), "{}", kept.out);
    let ended = host.apply(FILE);
    assert!(ended.contains("~ own: a drain (set) -> up\n"), "{ended}");
    assert!(ended.contains("~ own: b drain (set) -> up\n"), "{ended}");
}

#[test]
fn namespaces_that_share_run_do_not_know_of_each_other() {
    let one = Host::alone();
    let other = one.beside(&Host::alone().namespace);
    one.apply(FILE);
    other.apply(FILE);
    done(&one, "own a drain");
    other.apply(&FILE.replace("weight 3", "weight 7"));
    done(&other, "own b drain");
    let file = one.write("lb.flb", FILE);
    let kept = one.flbc(&["apply", "--keep", &file], "");
    assert_eq!(kept.code, Some(0), "{}", kept.err);
    assert!(!kept.out.contains('~'), "{}", kept.out);
    let ended = one.apply(FILE);
    assert!(ended.contains("~ own: a drain (set) -> up\n"), "{ended}");
}
