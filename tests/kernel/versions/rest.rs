//! Whoever loaded what `flbc compile` made, and whoever saved and restored it: `flbc apply` has nothing to do.

use std::net::SocketAddr;
use std::path::Path;

use crate::apply_host::Host;
use crate::golden::{Case, examples, goldens};
use crate::lab::client::{Protocol, ask_all};
use crate::lab::topology::{Layout, Topology};
use crate::operator::at;

use super::{Form, both};

fn cases() -> Vec<Case> {
    let mut cases = goldens();
    cases.extend(examples());
    cases
}

/// `flbc apply` finds nothing, says so, and commits nothing; all others are told apart by `what`.
fn assert_at_rest(host: &Host, file: &Path, what: &str, faults: &mut Vec<String>) {
    let file = file.to_str().unwrap();
    let before = host.generation();
    for arguments in [&["apply", "--dry-run", file][..], &["apply", file]] {
        let ran = host.flbc(arguments, "");
        if (ran.code, &*ran.out) != (Some(0), "no difference\n") {
            faults.push(format!("{file}, {what}, {arguments:?}: {ran:?}"));
            return;
        }
    }
    assert_eq!(host.generation(), before, "{file}, {what}: a transaction");
}

fn assert_none(faults: &[String], of: usize) {
    let count = faults.len();
    let first: Vec<_> = faults.iter().take(10).map(String::as_str).collect();
    assert!(faults.is_empty(), "{count} of {of}:\n{}", first.join("\n"));
}

#[test]
#[ignore = "needs two versions of nft: `make test-nft`"]
fn whoever_loaded_it_nothing_is_left_to_do() {
    let (mut faults, mut tried) = (Vec::new(), 0);
    for case in cases() {
        let forms = [
            (Form::Text, Some(&case.text)),
            (Form::Json, case.json.as_ref()),
        ];
        for (form, rules) in forms {
            let Some(rules) = rules else {
                continue;
            };
            for nft in both() {
                let host = Host::new(&case.machine());
                nft.load(&host.namespace, form, rules);
                let what = format!("{form:?} loaded by {}", nft.version);
                assert_at_rest(&host, &case.file, &what, &mut faults);
                tried += 1;
            }
        }
    }
    assert_none(&faults, tried);
}

#[test]
#[ignore = "needs two versions of nft: `make test-nft`"]
fn whoever_saved_and_restored_it_nothing_is_left_to_do() {
    let (mut faults, mut tried) = (Vec::new(), 0);
    let [this, other] = both();
    for case in cases() {
        let file = case.file.to_str().unwrap();
        // The older one cannot read all that the newer one writes: `priority dstnat` in `output`.
        for (saves, restores) in [(&this, &this), (&this, &other), (&other, &other)] {
            // What an nft loaded, that one can list; what flbc sent, each.
            for loads in [None, Some(saves)] {
                let host = Host::new(&case.machine());
                let by = match loads {
                    None => {
                        let ran = host.flbc(&["apply", file], "");
                        assert_eq!(ran.code, Some(0), "{file}: {ran:?}");
                        "flbc apply"
                    }
                    Some(nft) => {
                        nft.load(&host.namespace, Form::Text, &case.text);
                        &nft.version
                    }
                };
                let saved = saves.list(&host.namespace);
                restores.restore(&host.namespace, &saved);
                let what = format!(
                    "loaded by {by}, saved by {}, restored by {}",
                    saves.version, restores.version
                );
                assert_at_rest(&host, &case.file, &what, &mut faults);
                tried += 1;
            }
        }
    }
    assert_none(&faults, tried);
}

/// What rules put into maps is saved and restored like all else.
#[test]
#[ignore = "needs two versions of nft: `make test-nft`"]
fn clients_find_their_server_after_the_rules_were_saved_and_restored() {
    const FILE: &str = "
service www {
    vip 192.0.2.10, 2001:db8::10 tcp 80
    mode MODE
    scheduler random
    persist 1h
    server a 10.20.0.11; server b 10.20.0.12; server c 10.20.0.13
    server six-a 2001:db8:1::11; server six-b 2001:db8:1::12; server six-c 2001:db8:1::13
}
";
    let [this, other] = both();
    for (layout, mode) in [(Layout::Nat, "nat"), (Layout::DrOneInterface, "dr on eth0")] {
        for (saves, restores) in [(&this, &this), (&this, &other), (&other, &other)] {
            let topology = Topology::new(layout, 3);
            let _serving = topology.serve(&[80]);
            let host = Host::new(&topology.balancer);
            let file = host.write("lb.flb", &FILE.replace("MODE", mode));
            let ran = host.flbc(&["apply", &file], "");
            assert_eq!(ran.code, Some(0), "{ran:?}");
            let vips = ["192.0.2.10:80", "[2001:db8::10]:80"].map(at);
            let clients = vips.map(|to| topology.sources(to, 12));
            let ask = |port: u16| {
                let mut answers = Vec::new();
                for (to, clients) in vips.into_iter().zip(&clients) {
                    let from = clients.iter().map(|from| SocketAddr::new(from.ip(), port));
                    let from: Vec<_> = from.collect();
                    answers.extend(ask_all(&topology.client, Protocol::Tcp, &from, to));
                }
                answers
            };
            let before = ask(5000);
            let saved = saves.list(&host.namespace);
            restores.restore(&host.namespace, &saved);
            let what = format!(
                "{mode}, saved by {}, restored by {}",
                saves.version, restores.version
            );
            assert_eq!(ask(6000), before, "{what}");
            let mut faults = Vec::new();
            assert_at_rest(&host, Path::new(&file), &what, &mut faults);
            assert_none(&faults, 1);
        }
    }
}
