//! Flows that connection tracking knew before their service came.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::apply_host::Host;
use crate::lab::client::{self, Connection, Datagrams, Protocol};
use crate::lab::namespace::Namespace;
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology, hold};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::{at, load, sampled, who};

const TARGETS: [&str; 2] = ["192.0.2.10:80", "[2001:db8::10]:80"];

/// What makes the kernel follow flows: a firewall, or one that translates too, after which it has chosen for each flow
/// that it needs no translation.
const FOLLOWING: [&str; 2] = [
    "table inet firewall { chain input { type filter hook input priority 0; ct state established accept; }; }",
    "table inet firewall { chain pre { type nat hook prerouting priority dstnat; }; chain post { type nat hook postrouting priority srcnat; oifname none masquerade; }; }",
];

fn service(ports: &str) -> String {
    format!(
        "service www {{
            vip 192.0.2.10, 2001:db8::10 {ports}
            server a 10.20.0.11:80; server b 10.20.0.12:80
            server a6 2001:db8:1::11:80; server b6 2001:db8:1::12:80
        }}"
    )
    .replace("2001:db8:1::11:80", "[2001:db8:1::11]:80")
    .replace("2001:db8:1::12:80", "[2001:db8:1::12]:80")
}

/// A balancer that follows flows, and servers. Packets for a VIP, before it has a service, vanish in the servers' network
/// or, where the balancer holds it, meet no socket.
fn stage(following: &str, held: bool) -> (Topology, Vec<RealServer>, Host) {
    let topology = Topology::new(Layout::Nat, 2);
    let serving = topology.serve(&[80]);
    topology.balancer.nft(following);
    for to in TARGETS {
        let vip = at(to).ip().to_string();
        if held {
            hold(&topology.balancer, &vip);
        } else {
            nowhere(&topology.balancer, &vip);
        }
    }
    let host = Host::new(&topology.balancer);
    (topology, serving, host)
}

/// Sends packets for this address to a machine that is not there.
fn nowhere(balancer: &Namespace, vip: &str) {
    balancer.ip(&format!(
        "route replace {vip} dev eth1
        neighbour replace {vip} lladdr 02:00:00:00:00:99 dev eth1 nud permanent"
    ));
}

/// What connection tracking follows with this port.
fn followed(balancer: &Namespace, port: u16) -> Vec<String> {
    let mut all = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let listed = balancer.command("conntrack", &["-L", "-f", family], "");
        all.extend(listed.stdout.lines().map(str::to_owned));
    }
    all.retain(|line| line.contains(&format!("port={port} ")));
    all
}

/// How many new connections the VIPs have counted.
fn counted(host: &Host) -> u64 {
    let listed = host.namespace.nft_list(&["table", "inet", "flbc"]);
    let (_, maps) = listed.split_once("map svc4").expect("a service");
    let (maps, _) = maps.split_once("chain ").expect("chains come after maps");
    let of_vips = maps.split("map ").filter(|map| !map.starts_with("slot"));
    let counters = of_vips.flat_map(|map| map.split("counter packets ").skip(1));
    let numbers = counters.filter(|rest| rest.contains("goto svc_"));
    numbers
        .map(|rest| rest.split(' ').next().expect("a number"))
        .map(|number| number.parse::<u64>().expect("a number"))
        .sum()
}

#[test]
fn a_udp_flow_older_than_its_service_is_balanced() {
    for following in FOLLOWING {
        for held in [false, true] {
            for ports in ["udp 80", "udp 70-90", "udp any"] {
                let (topology, _serving, host) = stage(following, held);
                let mut flows = Vec::new();
                for to in TARGETS {
                    let from = topology.source(at(to));
                    let flow =
                        Datagrams::open(&topology.client, Some(from), at(to), PATIENCE).unwrap();
                    for _ in 0..3 {
                        let _ = flow.tell();
                    }
                    flows.push((flow, from));
                }
                thread::sleep(Duration::from_millis(100));
                let what = format!("{following} {held} {ports}");
                for (_, from) in &flows {
                    let seen = followed(&topology.balancer, from.port());
                    // Where it is refused at once nothing is there to forget but in a firewall's eyes.
                    assert!(held || !seen.is_empty(), "{what}: {from} is followed");
                }
                let said = host.apply(&service(ports));
                assert!(held || said.contains("2 flows forgotten"), "{said}");
                for (flow, from) in &flows {
                    // A refusal from before may wait in the socket.
                    let answer = flow.ask().or_else(|_| flow.ask());
                    let answer = answer.unwrap_or_else(|error| panic!("{what} {from}: {error}"));
                    assert_eq!(answer.client, *from, "{what}");
                    let seen = followed(&topology.balancer, from.port());
                    assert_eq!(seen.len(), 1, "{what}: {seen:?}");
                }
                assert_eq!(counted(&host), 2, "{what}");
            }
        }
    }
}

#[test]
fn a_udp_flow_that_a_socket_of_the_balancer_answered_is_balanced() {
    let (topology, _serving, host) = stage(FOLLOWING[0], true);
    let own = TARGETS.map(at);
    let _own = RealServer::start(&topology.balancer, "balancer", &own);
    let flows = own.map(|to| {
        let from = Some(topology.source(to));
        let flow = Datagrams::open(&topology.client, from, to, PATIENCE).unwrap();
        assert_eq!(flow.ask().unwrap().server, "balancer");
        flow
    });
    host.apply(&service("udp 80"));
    for flow in &flows {
        assert_eq!(flow.ask().unwrap().server, "a");
    }
}

/// Servers of direct return may answer through the balancer, which sees the answers and no question.
#[test]
fn a_flow_of_which_only_the_answers_were_seen_is_balanced() {
    let (topology, _serving, host) = stage(FOLLOWING[0], false);
    let server = &topology.servers[0].namespace;
    for to in TARGETS {
        let to = at(to);
        hold(server, &to.ip().to_string());
        let from = topology.source(to);
        let answers = Datagrams::open(server, Some(to), from, SILENCE).unwrap();
        answers.tell().unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(followed(&topology.balancer, from.port()).len(), 1, "{to}");
        host.apply(&service("tcp, udp 80"));
        let flow = Datagrams::open(&topology.client, Some(from), to, PATIENCE).unwrap();
        assert_eq!(flow.ask().unwrap().server, "a", "{to}");
        host.flbc(&["unload"], "");
    }
}

/// The rules alone, as `nft -f` loads them: what passes by is not counted and draws nothing.
#[test]
fn what_the_kernel_follows_untranslated_is_never_counted_and_draws_nothing() {
    let (topology, _serving, host) = stage(FOLLOWING[0], false);
    let file = host.write("lb.flb", &service("udp 80"));
    for to in TARGETS {
        let from = topology.source(at(to));
        let flow = Datagrams::open(&topology.client, Some(from), at(to), PATIENCE).unwrap();
        let tell = || {
            for _ in 0..5 {
                let _ = flow.tell();
                thread::sleep(Duration::from_millis(10));
            }
        };
        tell();
        load(&topology.balancer, &service("udp 80"));
        tell();
        assert_eq!(counted(&host), 0, "{to}");
        let marked = followed(&topology.balancer, from.port());
        assert!(
            marked.len() == 1 && marked[0].contains("mark=0 "),
            "{marked:?}"
        );
        // The first turn is still the first.
        assert_eq!(who(&topology.client, Protocol::Udp, to), "a", "{to}");
        assert_eq!(counted(&host), 1, "{to}");
        explained(&host, &file, from, at(to));
        assert!(flow.ask().is_ok(), "{to}: it is balanced, once forgotten");
        topology.balancer.nft("delete table inet flbc\n");
    }
}

/// `explain --live` and `doctor` tell of such a flow, and what makes it balanced, which is then done.
fn explained(host: &Host, file: &str, from: SocketAddr, to: SocketAddr) {
    let (client, vip) = (from.to_string(), to.to_string());
    let question = ["--protocol", "udp", "--from", &client, "--to", &vip, file];
    let live = |format: &str| {
        let arguments = [&["explain", "--live", "--format", format], &question[..]].concat();
        host.flbc(&arguments, "")
    };
    let human = live("human");
    assert_eq!(human.code, Some(1), "{human:?}");
    assert!(human.out.contains("older than its service"), "{human:?}");
    let command = human.out.lines().find_map(|line| line.split_once("run "));
    let (_, command) = command.expect("a command");
    let json = live("json");
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["now"]["untranslated"], true, "{json}");
    assert!(json["now"]["connection"].is_null(), "{json}");
    let doctor = host.flbc(&["doctor", file], "").out;
    assert!(
        doctor.contains("error[older-flow]: 1 ") && doctor.contains("`www`"),
        "{doctor}"
    );
    assert!(doctor.contains(&format!("run  {command}\n")), "{doctor}");
    let words: Vec<&str> = command.split(' ').collect();
    let ran = host.command(&words);
    assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
    let doctor = host.flbc(&["doctor", file], "").out;
    assert!(!doctor.contains("older-flow"), "{doctor}");
    let json: serde_json::Value = serde_json::from_str(&live("json").out).expect("JSON");
    assert_eq!(json["now"]["untranslated"], false, "{json}");
}

/// `nft -f` lets nothing be forgotten; the first apply after it does, though the rules stay as they are.
#[test]
fn the_first_apply_after_nft_loaded_the_rules_lets_flows_be_forgotten() {
    let (topology, _serving, host) = stage(FOLLOWING[0], false);
    let to = at(TARGETS[0]);
    let from = Some(topology.source(to));
    let flow = Datagrams::open(&topology.client, from, to, PATIENCE).unwrap();
    flow.tell().unwrap();
    load(&topology.balancer, &service("udp 80"));
    let said = host.apply(&service("udp 80"));
    assert_eq!(
        said,
        "no difference, 1 flow forgotten that is older than its service\n"
    );
    assert_eq!(flow.ask().unwrap().server, "a");
}

#[test]
fn a_tcp_client_that_knocks_while_its_service_comes_is_let_in() {
    let (topology, _serving, host) = stage(FOLLOWING[0], false);
    thread::scope(|scope| {
        let knocking = TARGETS.map(|to| {
            let (topology, to) = (&topology, at(to));
            let from = Some(topology.source(to));
            scope.spawn(move || client::ask(&topology.client, Protocol::Tcp, from, to, PATIENCE))
        });
        thread::sleep(Duration::from_millis(300));
        host.apply(&service("tcp 80"));
        for knocking in knocking {
            let answer = knocking.join().unwrap();
            assert!(answer.is_ok(), "its next SYN is a first one: {answer:?}");
        }
    });
}

/// In the middle of a connection no real server would know it. One to a socket of the balancer's own is reset by the guard.
#[test]
fn a_tcp_connection_through_the_balancer_goes_on_to_whom_it_began_with() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    topology.balancer.nft(FOLLOWING[0]);
    let former = &topology.servers[2];
    let host = Host::new(&topology.balancer);
    for (to, via) in TARGETS.into_iter().zip(["10.20.0.13", "2001:db8:1::13"]) {
        let vip = at(to).ip();
        hold(&former.namespace, &vip.to_string());
        topology.balancer.ip(&format!("route add {vip} via {via}"));
    }
    let _former = RealServer::start(&former.namespace, "former", &TARGETS.map(at));
    let mut open = TARGETS.map(|to| {
        let connection = Connection::open(&topology.client, None, at(to), PATIENCE).unwrap();
        assert_eq!(connection.answer.server, "former");
        connection
    });
    host.apply(&service("tcp, udp 80"));
    for (connection, to) in open.iter_mut().zip(TARGETS) {
        assert_eq!(connection.again().unwrap().server, "former", "{to}");
        assert_eq!(who(&topology.client, Protocol::Tcp, to), "a", "{to}");
    }
}

#[test]
fn flows_that_are_none_of_the_new_service_stay() {
    let (topology, _serving, host) = stage(FOLLOWING[1], false);
    // Another program's translation, for a VIP that gets a service.
    topology.balancer.nft(
        "table inet other { chain pre { type nat hook prerouting priority -101; ip daddr 192.0.2.10 udp dport 81 dnat ip to 10.20.0.12:80; }; }\n",
    );
    let targets = [
        "10.20.0.11:80",
        "192.0.2.10:79",
        "192.0.2.10:81",
        "192.0.2.53:80",
    ];
    nowhere(&topology.balancer, "192.0.2.53");
    let flows = targets.map(|to| {
        let from = topology.source(at(to));
        let flow = Datagrams::open(&topology.client, Some(from), at(to), PATIENCE).unwrap();
        flow.tell().unwrap();
        (flow, from)
    });
    let identities = || {
        let mut all = flows.iter().map(|(_, from)| {
            let arguments = [
                "-L",
                "-o",
                "id",
                "-p",
                "udp",
                "--sport",
                &from.port().to_string(),
            ];
            let listed = topology
                .balancer
                .command("conntrack", &arguments, "")
                .stdout;
            let (_, id) = listed.rsplit_once("id=").expect("it is followed");
            id.trim().to_owned()
        });
        let all: [String; 4] = std::array::from_fn(|_| all.next().expect("four"));
        all
    };
    thread::sleep(Duration::from_millis(100));
    let before = identities();
    let said = host.apply(&service("udp 80-81"));
    assert!(!said.contains("flow"), "{said}");
    let said = host.apply(&service("udp 80-81").replace("server a ", "server a2 "));
    assert!(!said.contains("older"), "{said}");
    assert_eq!(identities(), before);
    // The one that another program translates has DNAT, and its service did not take it over.
    assert_eq!(flows[2].0.ask().unwrap().server, "b");
}

/// A packet can be on its way while the rules come: what it makes the kernel follow appears only after them.
#[test]
fn no_flow_stays_behind_however_often_its_service_comes() {
    let (topology, _serving, host) = stage(FOLLOWING[0], false);
    let to = at(TARGETS[0]);
    let flows: Vec<Datagrams> = (0..20)
        .map(|_| {
            let from = Some(topology.source(to));
            Datagrams::open(&topology.client, from, to, PATIENCE).unwrap()
        })
        .collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    for turn in 0..sampled(5, 100) {
        done.store(false, std::sync::atomic::Ordering::Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for flow in &flows {
                        let _ = flow.tell();
                    }
                }
            });
            thread::sleep(Duration::from_millis(20));
            host.apply(&service("udp 80"));
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let listed = topology
            .balancer
            .command("conntrack", &["-L", "-p", "udp"], "")
            .stdout;
        let stray: Vec<&str> = listed
            .lines()
            .filter(|line| line.contains("src=192.0.2.10 "))
            .collect();
        assert!(stray.is_empty(), "{turn}: {stray:?}");
        host.flbc(&["unload"], "");
    }
}
