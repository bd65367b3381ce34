//! The kernel's arithmetic done again in Rust: every hashed flow is predicted, and every prediction is
//! asked of the kernel.

use std::fmt::Write as _;
use std::net::SocketAddr;

use flbc::check::check;
use flbc::diagnostic::Diagnostics;
use flbc::explain::{Explanation, Question};
use flbc::model;
use flbc::schedule::schedule;
use flbc::source::Sources;
use flbc::syntax::{Input, parse_program};

use serde_json::Value;

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::{Connection, Protocol, ask_all};
use crate::lab::topology::{Layout, Topology};
use crate::operator::{asked, at, flbc, load, sampled};

const SERVERS: &str = "
    server a 10.20.0.11 weight 3
    server b 10.20.0.12
    server c 10.20.0.13 weight 2
    server six-a 2001:db8:1::11 weight 3
    server six-b 2001:db8:1::12
    server six-c 2001:db8:1::13 weight 2
";

/// The names of the servers that these clients must get.
fn predicted(file: &str, to: SocketAddr, flows: &[SocketAddr]) -> Vec<String> {
    let mut sources = Sources::new();
    let mut sink = Diagnostics::new();
    let input = Input::Stdin(file.into());
    let tree = parse_program(input, &mut sources, &mut sink).unwrap();
    let model = check(&tree, &sources, &mut sink);
    let plan = schedule(&model, &mut sink);
    assert_eq!(sink.errors(), 0);
    flows
        .iter()
        .map(|from| {
            let question = Question {
                from: *from,
                to,
                protocol: model::Protocol::Tcp,
            };
            let server = Explanation::of(&model, &plan, question).server().unwrap();
            server.name.trim_start_matches("six-").to_owned()
        })
        .collect()
}

/// What the program itself says of one flow.
fn explained(file: &str, from: SocketAddr, to: &str) -> serde_json::Value {
    let from = from.to_string();
    let arguments = [
        "explain", "--format", "json", "--from", &from, "--to", to, "-",
    ];
    let said = flbc(&arguments, file);
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    serde_json::from_slice(&said.stdout).unwrap()
}

fn every_flow_goes_where_it_was_predicted_to(layout: Layout, mode: &str) {
    let topology = Topology::new(layout, 3);
    let _serving = topology.serve(&[80]);
    for scheduler in [
        "hash by source",
        "hash by source-port",
        "maglev by source table 251",
        "maglev",
    ] {
        let file = format!(
            "service www {{\nvip 192.0.2.10, 2001:db8::10 tcp, udp 80\n{mode}\nscheduler {scheduler}\n{SERVERS}}}"
        );
        load(&topology.balancer, &file);
        for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
            let flows = topology.sources(at(to), sampled(200, 5_000));
            let expected = predicted(&file, at(to), &flows);
            for (from, expected) in flows.iter().zip(&expected).take(3) {
                let name = &explained(&file, *from, to)["server"]["name"];
                let name = name.as_str().unwrap().trim_start_matches("six-");
                assert_eq!(name, expected, "{from} to {to}");
            }
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let answers = ask_all(&topology.client, protocol, &flows, at(to));
                let wrong: Vec<_> = flows
                    .iter()
                    .zip(expected.iter().zip(&answers))
                    .filter(|(_, (e, a))| e != a)
                    .collect();
                assert!(
                    wrong.is_empty(),
                    "{scheduler}, {protocol:?} {to}: {} of {}: {wrong:?}",
                    wrong.len(),
                    flows.len()
                );
            }
        }
    }
}

#[test]
fn nat_hashes_as_predicted() {
    every_flow_goes_where_it_was_predicted_to(Layout::Nat, "mode nat");
}

#[test]
fn direct_return_hashes_as_predicted() {
    every_flow_goes_where_it_was_predicted_to(Layout::DrTwoInterfaces, "mode dr on eth0 via eth1");
}

#[test]
fn a_live_explanation_tells_of_the_connection_that_exists() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    let file = "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11; server b 10.20.0.12; server c 10.20.0.13 }";
    load(&topology.balancer, file);
    let from = topology.source(at("192.0.2.10:80"));
    let explain = || {
        let client = from.to_string();
        let arguments = [
            "explain",
            "--live",
            "--from",
            &client,
            "--to",
            "192.0.2.10:80",
            "-",
        ];
        let said = topology.balancer.run(|| flbc(&arguments, file));
        assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    assert!(explain().contains("\nnow       no such connection exists\n"));
    let answer = asked(&topology.client, Protocol::Tcp, Some(from), "192.0.2.10:80");
    let said = explain();
    let now = format!("\nnow       {} 10.20.0.1", answer.server);
    assert!(
        said.contains(&now) && said.contains("this connection exists"),
        "{said}"
    );
}

#[test]
fn of_servers_at_one_address_the_live_explanation_names_the_right_one() {
    let topology = Topology::new(Layout::Nat, 1);
    let _serving = topology.serve(&[80, 81]);
    let file = "service www { vip 192.0.2.10 tcp 80; server p 10.20.0.11:80 down; server q 10.20.0.11:81 }";
    load(&topology.balancer, file);
    let from = topology.source(at("192.0.2.10:80"));
    asked(&topology.client, Protocol::Tcp, Some(from), "192.0.2.10:80");
    let client = from.to_string();
    let arguments = [
        "explain",
        "--live",
        "--from",
        &client,
        "--to",
        "192.0.2.10:80",
        "-",
    ];
    let said = topology.balancer.run(|| flbc(&arguments, file));
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("\nnow       q 10.20.0.11:81: "), "{said}");
}

#[test]
fn the_live_explanation_tells_whom_persist_and_track_remember() {
    let services = [
        (
            Layout::Nat,
            "mode nat\npersist 5m by source/24/64",
            "persist",
        ),
        (
            Layout::DrTwoInterfaces,
            "mode dr on eth0 via eth1\nscheduler maglev\npersist 5m by source/24/64",
            "persist",
        ),
        (
            Layout::DrTwoInterfaces,
            "mode dr on eth0 via eth1\nscheduler random\ntrack 1m",
            "track",
        ),
    ];
    for (layout, statements, by) in services {
        let topology = Topology::new(layout, 3);
        let _serving = topology.serve(&[80]);
        let mut file =
            format!("service www {{\nvip 192.0.2.10, 2001:db8::10 tcp 80\n{statements}\n");
        for server in &topology.servers {
            let (name, v4, v6) = (&server.name, server.v4, server.v6);
            let _ = writeln!(file, "server {name} {v4}\nserver {name}6 {v6}");
        }
        file += "}";
        load(&topology.balancer, &file);
        for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
            for from in topology.sources(at(to), sampled(4, 100)) {
                let client = from.to_string();
                let live = |format: &str| {
                    let arguments = [
                        "explain", "--live", "--format", format, "--from", &client, "--to", to, "-",
                    ];
                    let said = topology.balancer.run(|| flbc(&arguments, &file));
                    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
                    String::from_utf8(said.stdout).unwrap()
                };
                let json = || serde_json::from_str::<serde_json::Value>(&live("json")).unwrap();
                if by == "track" {
                    assert_eq!(json()["now"][by], serde_json::Value::Null);
                    assert!(
                        live("human").contains("\nnow       track does not remember the flow\n")
                    );
                }
                let answer = asked(&topology.client, Protocol::Tcp, Some(from), to);
                let known = &json()["now"][by];
                let six = if from.is_ipv6() { "6" } else { "" };
                assert_eq!(
                    known["server"],
                    format!("{}{six}", answer.server),
                    "{by} {from}"
                );
                let seconds = known["seconds"].as_u64().unwrap();
                let most = if by == "track" { 60 } else { 300 };
                assert!((most - 20..=most).contains(&seconds), "{known}");
                let expected = format!("\nnow       {}{six}: {by} remembers the ", answer.server);
                assert!(live("human").contains(&expected), "{}", live("human"));
            }
        }
    }
}

#[test]
fn a_backup_that_stood_in_is_remembered_and_not_gone_back_to() {
    for (layout, mode) in [
        (Layout::Nat, ""),
        (Layout::DrOneInterface, "mode dr on eth0; track 5m;"),
    ] {
        let topology = Topology::new(layout, 2);
        let _serving = topology.serve(&[80]);
        let host = Host::new(&topology.balancer);
        let file = host.write(
            "lb.flb",
            &format!(
                "service www {{ vip 192.0.2.10 tcp 80; {mode} persist 5m
                    server a 10.20.0.11; server b 10.20.0.12 backup }}"
            ),
        );
        host.flbc(&["apply", &file], "");
        assert_eq!(host.flbc(&["set", "www", "a", "down"], "").code, Some(0));
        let to = at("192.0.2.10:80");
        let client = topology.source(to);
        let from = |port| std::net::SocketAddr::new(client.ip(), port);
        let first = Connection::open(&topology.client, Some(from(30_001)), to, PATIENCE).unwrap();
        assert_eq!(first.answer.server, "b");
        let explain = || {
            let from = from(30_002).to_string();
            let arguments = [
                "explain",
                "--live",
                "--from",
                &from,
                "--to",
                "192.0.2.10:80",
                "--format",
            ];
            let [json, human] = ["json", "human"].map(|format| {
                let ran = host.flbc(&[&arguments[..], &[format, &file]].concat(), "");
                assert_eq!(ran.code, Some(0), "{ran:?}");
                ran.out
            });
            let json: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["now"]["persist"]["server"], "b");
            (json["now"]["persist"]["returns"].clone(), human)
        };
        let (returns, human) = explain();
        assert_eq!(returns, true, "{human}");
        assert_eq!(host.flbc(&["set", "www", "a", "up"], "").code, Some(0));
        let (returns, human) = explain();
        assert_eq!(returns, false, "{human}");
        assert!(human.contains("another is drawn"), "{human}");
        let second = Connection::open(&topology.client, Some(from(30_002)), to, PATIENCE).unwrap();
        assert_eq!(second.answer.server, "a", "{mode}");
    }
}
