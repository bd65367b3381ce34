//! Known from a note, read beside it, or read without it: the same is told, each thing once, and in the order of the file
//! where that is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::diff::ObservedChain;
use crate::model::Member;
use crate::status::{Figures, Server, Service};

impl Host {
    /// With this model, and the interfaces that it names.
    fn of(model: &Model) -> Self {
        let mut host = Self::new();
        let mut names = BTreeSet::new();
        for service in &model.services {
            let Some(direct) = service.mode.direct() else {
                continue;
            };
            names.extend(direct.on.iter().cloned());
            let servers = model.real_servers(service);
            names.extend(servers.filter_map(|server| direct.interface_to(server).cloned()));
        }
        host.tables.kernel.interfaces = names.into_iter().zip(2..).collect();
        let mut sink = Diagnostics::new();
        let job = Job::new(
            &mut host.tables,
            model.clone(),
            Earlier::Dropped,
            None,
            &mut sink,
        );
        job.unwrap().commit(&mut host.tables, &mut sink).unwrap();
        assert_eq!(sink.errors(), 0, "{:?}", sink.sorted());
        host.count_everything();
        host
    }

    /// Each element that counts has counted something that no other has.
    fn count_everything(&mut self) {
        let mut counted = 0;
        let observed = &mut self.tables.kernel.observed;
        let tables = [&mut observed.inet, &mut observed.netdev];
        for table in tables.into_iter().flatten() {
            for set in table.sets.iter_mut().filter(|set| set.shape.counts()) {
                let mut next = || {
                    counted += 1;
                    counter(counted, counted * 100)
                };
                set.counters = set.elements.iter().map(|_| next()).collect();
            }
        }
        let inet = self.tables.kernel.observed.inet.as_ref();
        let servers = inet.and_then(|table| table.set("server"));
        for server in servers.map_or_else(Vec::new, |set| set.elements.clone()) {
            counted += 2;
            self.pass(server.key, [counter(counted, 60), counter(counted + 1, 70)]);
        }
    }

    /// Another program commits something of its own.
    fn disturb(&mut self) {
        self.tables.kernel.observed.generation += 1;
    }
}

/// How often the kernel's tables were read for it, and what was told.
fn read(host: &mut Host) -> Status {
    let status = host.status();
    each_once(&status);
    status
}

/// No face says of anything twice how it is.
#[track_caller]
fn each_once(status: &Status) {
    let text = prometheus(status);
    let mut series = BTreeSet::new();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    for sample in samples {
        let (name, value) = sample.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{sample}");
        assert!(series.insert(name), "twice: {name}\n{text}");
    }
    let object: Value = serde_json::from_str(&json(status)).unwrap();
    let mut known = BTreeSet::new();
    for service in object["services"].as_array().unwrap() {
        let name = service["name"].as_str().unwrap();
        assert!(known.insert((name, "service", "")), "twice: {name}");
        for server in service["servers"].as_array().unwrap() {
            let [server, endpoint] = ["name", "endpoint"].map(|key| server[key].as_str().unwrap());
            assert!(
                known.insert((name, server, endpoint)),
                "twice: {server} of {name}\n{object}"
            );
        }
        for vip in service["vips"].as_array().unwrap() {
            let vip = vip["vip"].as_str().unwrap();
            assert!(known.insert((name, "vip", vip)), "twice: {vip} of {name}");
        }
    }
}

/// Services, VIPs and servers are those of the file, in its order.
#[track_caller]
fn in_order(status: &Status, model: &Model) {
    let told = |service: &Service| {
        let vips: Vec<String> = service.vips.iter().map(|vip| vip.words.clone()).collect();
        let servers: Vec<String> = service
            .servers
            .iter()
            .map(|server| server.name.clone())
            .collect();
        (service.name.clone(), vips, servers)
    };
    let said = |service: &crate::model::Service| {
        let families: Vec<_> = service.families().collect();
        let servers = model.real_servers(service);
        let servers =
            servers.filter(|one| families.contains(&crate::model::Family::of(one.address)));
        (
            service.name.to_string(),
            service.vips.iter().map(ToString::to_string).collect(),
            servers.map(|server| server.name.to_string()).collect(),
        )
    };
    let told: Vec<_> = status.services.iter().map(told).collect();
    let said: Vec<(String, Vec<String>, Vec<String>)> = model.services.iter().map(said).collect();
    assert_eq!(told, said);
}

/// What each server that takes clients has, and each VIP: who reads without a note knows as much of them.
fn of_those_that_serve(status: &Status) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let figures = |figures: &Figures| format!("{figures:?}");
    for service in &status.services {
        for vip in &service.vips {
            all.insert(
                format!("{} {}", service.name, vip.words),
                figures(&vip.figures),
            );
        }
        let serving = service.servers.iter().filter(|server| server.share > 0.0);
        for Server {
            name,
            share,
            figures,
            ..
        } in serving
        {
            let who = format!("{} {name}", service.name);
            all.insert(who, format!("{share} {figures:?}"));
        }
    }
    all
}

/// All that is told of a file, however it is found out.
#[track_caller]
fn tell(model: &Model) {
    let mut host = Host::of(model);
    let known = read(&mut host);
    in_order(&known, model);
    assert_eq!(known.warnings, [""; 0]);
    // Another program committed something of its own: everything is read, and the same is told.
    host.disturb();
    let beside = read(&mut host);
    assert_eq!(json(&beside), json(&known));
    // It changed something here.
    let observed = &mut host.tables.kernel.observed;
    let tables = [&mut observed.inet, &mut observed.netdev];
    let table = tables.into_iter().flatten().next().unwrap();
    table.chains.push(ObservedChain {
        name: "stray".into(),
        hook: None,
        rules: Vec::new(),
    });
    host.disturb();
    let drifted = read(&mut host);
    assert_eq!(drifted.warnings.len(), 1, "{:?}", drifted.warnings);
    in_order(&drifted, model);
    assert_eq!(of_those_that_serve(&drifted), of_those_that_serve(&known));
    // Nothing is remembered.
    fs::remove_dir_all(host.tables.notes()).unwrap();
    let alone = read(&mut host);
    assert_eq!(of_those_that_serve(&alone), of_those_that_serve(&known));
    assert!(
        alone
            .services
            .is_sorted_by_key(|service| service.name.clone())
    );
    for service in &alone.services {
        let mut vips: Vec<_> = model
            .services
            .iter()
            .find(|one| *one.name == *service.name)
            .unwrap()
            .vips
            .clone();
        vips.sort_by_key(|vip| (vip.address, vip.protocol, vip.ports));
        let vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
        let told: Vec<&String> = service.vips.iter().map(|vip| &vip.words).collect();
        assert_eq!(told, vips.iter().collect::<Vec<_>>());
    }
}

fn files(folder: &str) -> Vec<Model> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|end| end == "flb"));
    files
        .map(|path| {
            let mut sink = Diagnostics::new();
            let model = crate::read(Input::Path(path), &mut Sources::new(), &mut sink);
            model.unwrap_or_else(|| panic!("{:?}", sink.sorted()))
        })
        .collect()
}

#[test]
fn each_thing_in_the_examples_is_told_once_however_it_is_found_out() {
    let mut told = 0;
    for folder in ["examples", "tests/golden"] {
        for mut model in files(folder) {
            let mac = "02:00:00:00:00:99".parse().unwrap();
            model.fill_source_macs(|_| Some(mac));
            tell(&model);
            told += 1;
        }
    }
    assert!(told > 15, "{told}");
}

#[test]
fn a_pool_that_is_used_in_two_ways_has_the_right_figures_in_each() {
    let text = "pool p { server a 10.20.0.11; server b 10.20.0.12 drain }
        service turns { vip 192.0.2.10 tcp 80; pool p }
        service hashed { vip 192.0.2.11 tcp 80; scheduler hash; pool p }";
    let mut host = Host::of(&model(text));
    let of = |status: &Status, service: &str| -> Vec<u64> {
        let service = status
            .services
            .iter()
            .find(|one| one.name == service)
            .unwrap();
        assert_eq!(service.servers.len(), 2);
        service
            .servers
            .iter()
            .map(|server| server.figures.to.unwrap().packets)
            .collect()
    };
    let known = read(&mut host);
    let (turns, hashed) = (of(&known, "turns"), of(&known, "hashed"));
    let all: BTreeSet<u64> = turns.iter().chain(&hashed).copied().collect();
    assert_eq!(all.len(), 4, "each way has its own: {turns:?} {hashed:?}");
    fs::remove_dir_all(host.tables.notes()).unwrap();
    let alone = read(&mut host);
    assert_eq!(
        [of(&alone, "turns")[0], of(&alone, "hashed")[0]],
        [turns[0], hashed[0]]
    );
    // Nobody draws the one that is drained: whose its numbers are is not known, and both are told.
    let both = turns[1] + hashed[1];
    assert_eq!([of(&alone, "turns")[1], of(&alone, "hashed")[1]], [both; 2]);
}

#[test]
fn what_nobody_touched_is_known_without_rules_and_slots() {
    let mut host = Host::of(&model(WWW));
    let table = host.table(TableFamily::Inet);
    // If they were read, this would show; the kernel is at the generation of the note.
    table.chains.clear();
    table.sets.retain(|set| *set.name != *"slot");
    assert_eq!(host.status().services[0].servers.len(), 3);
    host.disturb();
    assert!(!host.status().warnings.is_empty());
}

/// How a pool's servers stand, how each service uses pools, and in which order all of it is written.
fn file() -> impl Strategy<Value = String> {
    let standing = prop_oneof![
        Just(""),
        Just("drain"),
        Just("down"),
        Just("backup"),
        Just("weight 3")
    ];
    let standings = prop::collection::vec(standing, 6);
    let how = prop_oneof![
        Just(""),
        Just("scheduler hash"),
        Just("scheduler random"),
        Just("scheduler maglev table 13"),
        Just("mode nat masquerade"),
        Just("persist 5m"),
        Just("deny from 198.51.100.0/24"),
        Just("mode dr on eth0"),
        Just("mode dr on eth0, eth1; track 1m"),
    ];
    let members = prop_oneof![
        Just("pool p"),
        Just("pool q"),
        Just("pool p; pool q"),
        Just("pool p; server own 10.20.0.99")
    ];
    let service = (how, members, any::<bool>(), 0..100_u32);
    (standings, prop::collection::vec(service, 1..6)).prop_map(|(standings, services)| {
        let mut text = String::new();
        for (pool, from) in [("p", 0), ("q", 3)] {
            let _ = write!(text, "pool {pool} {{");
            for (at, standing) in standings.iter().enumerate().skip(from).take(3) {
                let address = if at % 3 == 2 { format!("2001:db8::{at}") } else { format!("10.20.0.{at}") };
                let _ = write!(text, " server s{at} {address} {standing};");
            }
            let _ = writeln!(text, " }}");
        }
        for (at, (how, members, six, number)) in services.into_iter().enumerate() {
            let six = if six { ", 2001:db8:1::9" } else { "" };
            // Names and addresses are in no order.
            let _ = writeln!(
                text,
                "service z{number}x{at} {{ vip 192.0.2.{}, 192.0.2.9{six} tcp {}, {}; {how}; {members} }}",
                200 - number,
                9000 + at,
                80 + at
            );
        }
        text.replace("; ;", ";")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_thing_in_any_file_is_told_once_however_it_is_found_out(text in file()) {
        let model = model(&text);
        prop_assert!(model.services.iter().all(|one| one.members.iter().any(|m| matches!(m, Member::Pool(_)))));
        tell(&model);
    }
}

/// Another program can write anything into these tables.
#[test]
fn nothing_that_another_program_wrote_drives_a_terminal_or_breaks_a_format() {
    let nasty = "x\u{1b}[2J\u{9b}31m\"} 1\n\r\\\u{202e}\u{7f}";
    for remembered in [true, false] {
        let mut host = Host::of(&model(WWW));
        host.disturb();
        let comment = format!("weight 3, {nasty} of www");
        let server = &mut host.set(TableFamily::Inet, "server").elements[0];
        server.comment = Some(comment.into());
        let mut stray = server.clone();
        stray.key = Bytes::new(&7_u32.to_ne_bytes()).unwrap();
        stray.comment = Some(format!("weight 1, other{nasty} of www").into());
        host.set(TableFamily::Inet, "server").elements.push(stray);
        let table = host.table(TableFamily::Inet);
        let mut set = table.sets[0].clone();
        set.name = format!("set{nasty}").into();
        table.sets.push(set);
        let chain = format!("svc_{nasty}_v4");
        table.chains.push(ObservedChain {
            name: chain.as_str().into(),
            hook: None,
            rules: Vec::new(),
        });
        for element in &mut host.set(TableFamily::Inet, "svc4").elements {
            element.data = Data::Verdict(-4, Some(chain.as_str().into()));
        }
        host.tables.kernel.base_chains.push(BaseChain {
            family: "ip",
            table: nasty.to_owned(),
            chain: nasty.to_owned(),
            kind: "filter".to_owned(),
            hook: "forward",
            priority: 0,
            accepts: false,
            devices: Vec::new(),
        });
        if !remembered {
            fs::remove_dir_all(host.tables.notes()).unwrap();
        }
        let status = read(&mut host);
        assert!(status.services.iter().any(|service| service.name == nasty));
        for face in [human, json, prometheus] {
            let text = face(&status);
            assert!(text.contains('x'), "{text}");
            let obeyed = |c: char| c != '\n' && crate::diagnostic::is_treacherous(c);
            assert!(!text.contains(obeyed), "{text:?}");
        }
        let object: Value = serde_json::from_str(&json(&status)).unwrap();
        let services = object["services"].as_array().unwrap();
        assert!(services.iter().any(|service| service["name"] == nasty));
        // Of names with ends of lines in them no line begins anew.
        let is_sample = |line: &str| line.starts_with("flbc_") || line.starts_with('#');
        assert!(prometheus(&status).lines().all(is_sample));
    }
}
