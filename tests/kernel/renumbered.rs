//! Servers get other numbers, and lose nothing: when version 0.1 had numbered them, and when a newcomer draws the number
//! of another.
//!
//! `upgrade/` has what version 0.1 left after `flbc apply` of the `.flb` beside it (and, in nat, `flbc set masked b
//! drain`): `nft list ruleset`, and the note of its file in `/run/flbc`, without what binds it to a boot and a namespace.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use flbc::kernel::{Balanced, Kernel, Linux};
use flbc::view::{KnownServer, numbers};
use serde_json::Value;

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::{self, Connection, Datagrams, Protocol};
use crate::lab::topology::{Layout, Topology};
use crate::operator::at;

pub(crate) const NAT: [&str; 2] = [
    include_str!("upgrade/nat.flb"),
    include_str!("upgrade/nat.nft"),
];
pub(crate) const DR: [&str; 2] = [
    include_str!("upgrade/dr.flb"),
    include_str!("upgrade/dr.nft"),
];
const NOTE: &[u8] = include_bytes!("upgrade/nat.note");

/// Every server that the kernel knows.
pub(crate) fn servers(host: &Host) -> Vec<KnownServer> {
    host.namespace.run(|| {
        let mut kernel = Linux::open().unwrap();
        numbers(&kernel.observe("flbc").unwrap()).servers
    })
}

pub(crate) fn connections(host: &Host) -> Vec<flbc::kernel::Connection> {
    let all = Balanced {
        mark: None,
        vip: None,
    };
    host.namespace
        .run(|| Linux::open().unwrap().connections(&all).unwrap())
}

/// Whether the mark of every connection names the server that answers it, of the service of its VIP; and how many there are.
#[track_caller]
pub(crate) fn marks_name_servers(
    host: &Host,
    service: impl Fn(&flbc::kernel::Connection) -> String,
) -> usize {
    let servers = servers(host);
    let connections = connections(host);
    for one in &connections {
        let named: Vec<_> = servers.iter().filter(|s| s.number == one.mark).collect();
        let [named] = *named else {
            panic!("{one:?} has the mark of nobody or of several: {named:?}");
        };
        assert_eq!(named.address, Some(one.server), "{one:?} {named:?}");
        let group = named.identity.split_once(" of ").unwrap().1;
        assert_eq!(group, service(one), "{one:?} {named:?}");
    }
    connections.len()
}

pub(crate) fn service_of_nat(one: &flbc::kernel::Connection) -> String {
    let first = one.vip == at("192.0.2.10:80").ip() || one.vip == at("[2001:db8::10]:80").ip();
    match (first, one.vip_port) {
        (true, Some(80)) => "plain",
        (true, Some(81)) => "masked",
        (false, Some(80)) => "kept",
        (false, Some(81)) => "pool shared",
        _ => panic!("{one:?}"),
    }
    .to_owned()
}

/// The note of version 0.1, as if it had been written here.
fn leave_note(host: &Host) {
    let text = |text: &str| postcard::to_stdvec(text).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let namespace = host.namespace.run(|| {
        let namespace = std::fs::metadata("/proc/thread-self/ns/net").unwrap();
        (namespace.dev(), namespace.ino())
    });
    let id = NAT[1].split('"').nth(1).unwrap();
    assert!(id.starts_with("flbc "), "{id}");
    let identities = [Some(id.to_owned()), None::<String>];
    let mut stored = postcard::to_stdvec(&8_u32).unwrap();
    stored.extend(text("0.1.0"));
    stored.extend(text(boot.trim()));
    stored.extend(postcard::to_stdvec(&namespace).unwrap());
    stored.extend(text("flbc"));
    stored.extend(postcard::to_stdvec(&(host.generation(), identities)).unwrap());
    stored.extend(postcard::to_stdvec(NOTE).unwrap());
    let start = 0xcbf2_9ce4_8422_2325_u64 ^ stored.len() as u64;
    let sum = stored.chunks(8).fold(start, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
        mixed ^ (mixed >> 32)
    });
    let folder = host.folder().join("flbc");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut file = sum.to_le_bytes().to_vec();
    file.extend(stored);
    let path = folder.join(format!("flbc.{}.state", namespace.1));
    std::fs::write(&path, file).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn status(host: &Host) -> Value {
    let ran = host.flbc(&["status", "--json"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    serde_json::from_str(&ran.out).unwrap()
}

/// What each server of each service counted, and how it stands; of the pool that is used in two ways, all together.
pub(crate) fn counted(host: &Host) -> BTreeMap<String, Vec<String>> {
    let status = status(host);
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in status["services"].as_array().unwrap() {
        for server in service["servers"].as_array().unwrap() {
            let name = format!("{} {}", service["name"], server["name"]);
            let counted = format!(
                "{} {} {} {}",
                server["counter"], server["to"], server["from"], server["state"]
            );
            all.entry(name).or_default().push(counted);
        }
    }
    for each in all.values_mut() {
        each.sort_unstable();
    }
    all
}

/// Asks from a number of addresses; the server of each.
pub(crate) fn clients(topology: &Topology, to: SocketAddr, port: u16, count: u32) -> Vec<String> {
    let ask = |number| {
        let from = SocketAddr::new(client::source(to, number).ip(), port);
        let answer = client::ask(&topology.client, Protocol::Udp, Some(from), to, PATIENCE);
        answer.unwrap().server
    };
    (0..count).map(ask).collect()
}

pub(crate) const KEPT: [&str; 2] = ["192.0.2.53:80", "[2001:db8::53]:80"];

#[test]
fn over_nat_tables_of_version_0_1_nothing_is_lost() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80, 81]);
    let host = Host::new(&topology.balancer);
    let [file, tables] = NAT;
    host.namespace.nft(tables);
    let mut open: Vec<Connection> = Vec::new();
    let mut flows: Vec<(Datagrams, String)> = Vec::new();
    for to in [
        "192.0.2.10:80",
        "[2001:db8::10]:80",
        "192.0.2.10:81",
        KEPT[0],
        KEPT[1],
        "192.0.2.53:81",
    ] {
        for _ in 0..3 {
            open.push(Connection::open(&topology.client, None, at(to), PATIENCE).unwrap());
            let flow = Datagrams::open(&topology.client, None, at(to), PATIENCE).unwrap();
            let server = flow.ask().unwrap().server;
            flows.push((flow, server));
        }
    }
    let before = KEPT.map(|to| clients(&topology, at(to), 2000, 12));
    leave_note(&host);
    let counts = counted(&host);

    host.write("lb.flb", file);
    let ran = host.flbc(&["apply", "--keep", "/run/lb.flb"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
    assert!(
        ran.out.contains(" connections numbered anew"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("forgotten"), "{}", ran.out);

    assert_eq!(marks_name_servers(&host, service_of_nat), 36 + 24);
    assert_eq!(counted(&host), counts, "counted, and drained by `flbc set`");
    assert_eq!(counts["\"masked\" \"b\""].len(), 1);
    assert!(
        counts["\"masked\" \"b\""][0].contains("drain"),
        "{counts:?}"
    );
    let memories = host.flbc(&["status", "--json"], "").out;
    assert!(memories.contains("kept"), "{memories}");
    for connection in &mut open {
        assert_eq!(connection.again().unwrap(), connection.answer);
    }
    for (flow, server) in &flows {
        assert_eq!(&flow.ask().unwrap().server, server);
    }
    let after = KEPT.map(|to| clients(&topology, at(to), 3000, 12));
    assert_eq!(after, before, "clients come back");
    let again = host.flbc(&["apply", "--keep", "/run/lb.flb"], "");
    assert_eq!(again.out, "no difference\n");
    let priorities = |text: &str| {
        text.matches("type nat hook prerouting priority dstnat;")
            .count()
    };
    assert_eq!((priorities(tables), priorities(&host.list())), (1, 0));
    marks_name_servers(&host, service_of_nat);
}

#[test]
fn over_dr_tables_of_version_0_1_flows_and_clients_stay() {
    let topology = Topology::new(Layout::DrOneInterface, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let [file, tables] = DR;
    host.namespace.nft(tables);
    let mut open: Vec<Connection> = Vec::new();
    for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
        for _ in 0..12 {
            open.push(Connection::open(&topology.client, None, at(to), PATIENCE).unwrap());
        }
    }
    let used: std::collections::BTreeSet<_> =
        open.iter().map(|c| c.answer.server.clone()).collect();
    assert!(used.len() > 1, "{used:?}");
    let before = KEPT.map(|to| clients(&topology, at(to), 2000, 12));
    let remembered = |host: &Host| host.list().matches(" expires ").count();
    // The flows of clients who are remembered are remembered too, as they are drawn.
    assert_eq!(remembered(&host), 24 + 24 + 24);
    let counts = counted(&host);
    host.apply(file);
    assert_eq!(remembered(&host), 24 + 24 + 24);
    assert_eq!(counted(&host), counts);
    for connection in &mut open {
        assert_eq!(connection.again().unwrap(), connection.answer);
    }
    let after = KEPT.map(|to| clients(&topology, at(to), 3000, 12));
    assert_eq!(after, before, "clients come back");
    let anew = remembered(&host) - (24 + 24 + 24);
    assert_eq!(anew, 24, "new flows, and no client");
}

#[test]
fn a_run_that_is_killed_over_the_connections_is_completed_by_the_next() {
    let [file, tables] = NAT;
    let mut unfinished = 0;
    for delay in (0..200).step_by(10) {
        let host = Host::alone();
        host.namespace.ip(
            "address add 10.20.0.1/24 dev eth0\naddress add 192.0.2.10/32 dev lo\nlink set lo up",
        );
        host.namespace.nft(tables);
        host.namespace.run(|| {
            let mut sockets = Vec::new();
            for _ in 0..3000 {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                let _ = socket.send_to(b"x", "192.0.2.10:80");
                sockets.push(socket);
            }
        });
        host.write("lb.flb", file);
        let mut child = host.start(&["apply", "/run/lb.flb"]);
        // The journal is there from right before the transaction to when the last connection has its new number.
        let is_unfinished = || {
            let left = host.folder().join("flbc").read_dir().into_iter().flatten();
            let mut names = left.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.any(|name| name.ends_with(".unfinished"))
        };
        for _ in 0..10_000 {
            if is_unfinished() || child.try_wait().unwrap().is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        let was_unfinished = is_unfinished();
        // Some have the new number and some the old one.
        let marks: std::collections::BTreeSet<u32> =
            connections(&host).iter().map(|c| c.mark).collect();
        let ran = host.flbc(&["apply", "/run/lb.flb"], "");
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", ran.out);
        assert!(marks_name_servers(&host, |_| "plain".to_owned()) > 2900);
        let again = host.flbc(&["apply", "/run/lb.flb"], "");
        assert_eq!(again.out, "no difference\n");
        if was_unfinished && marks.iter().any(|mark| *mark < 0x0010_0000) {
            unfinished += 1;
        }
        if unfinished > 2 {
            return;
        }
    }
    panic!("no run was killed at the right moment");
}

/// In tables called `flbc`, of a service whose lowest VIP is 192.0.2.10 tcp 80, both servers draw this number first, and
/// the newcomer has it. They were found by trying all ports.
const COLLIDING: [&str; 2] = ["server a 10.20.0.11:7443", "server b 10.20.0.12:9580"];
/// The port of a server 10.20.0.12 that draws the number of server `a`, and has it, in any service that remembers its clients.
const PERSIST_PORT: u16 = 1346;
const DRAWN_BY_BOTH: &str = "0x443f23ee";

fn www(persist: &str, servers: &[&str]) -> String {
    format!(
        "service www {{ vip 192.0.2.10 tcp, udp 80; scheduler random; {persist}\n{} }}",
        servers.join("\n")
    )
}

#[test]
fn a_newcomer_that_draws_the_number_of_another_takes_nothing_else() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[7443, 9580]);
    let host = Host::new(&topology.balancer);
    let [a, b] = COLLIDING;
    host.apply(&www("", &[a]));
    assert_eq!(host.number_of("a"), DRAWN_BY_BOTH);
    let mut open: Vec<Connection> = (0..4)
        .map(|_| Connection::open(&topology.client, None, at("192.0.2.10:80"), PATIENCE).unwrap())
        .collect();
    let counts = counted(&host);
    let said = host.apply(&www("", &[a, b]));
    assert!(said.contains(", 4 connections numbered anew"), "{said}");
    assert!(!said.contains("forgotten"), "{said}");
    assert_eq!(host.number_of("b"), DRAWN_BY_BOTH);
    assert_eq!(marks_name_servers(&host, |_| "www".to_owned()), 4);
    let now = counted(&host);
    let [name_of_a, name_of_b] = ["\"www\" \"a\"", "\"www\" \"b\""];
    assert_eq!(now[name_of_a], counts[name_of_a]);
    assert!(
        now[name_of_b][0].starts_with("null {\"bytes\":0,\"packets\":0}"),
        "{now:?}"
    );
    for connection in &mut open {
        assert_eq!(connection.again().unwrap(), connection.answer);
    }
    // What is shown does not depend on the way there.
    let fresh = Host::alone();
    fresh.apply(&www("", &[b, a]));
    assert_eq!(
        ["a", "b"].map(|name| host.number_of(name)),
        ["a", "b"].map(|name| fresh.number_of(name))
    );
    // The newcomer goes again, with its connections and no others.
    while open
        .iter()
        .all(|connection| connection.answer.server == "a")
    {
        open.push(Connection::open(&topology.client, None, at("192.0.2.10:80"), PATIENCE).unwrap());
    }
    let said = host.apply(&www("", &[a]));
    assert!(said.contains(", 1 connection forgotten, "), "{said}");
    assert_eq!(host.number_of("a"), DRAWN_BY_BOTH);
    let left = marks_name_servers(&host, |_| "www".to_owned());
    assert_eq!(left, open.len() - 1);
    let of_a = open
        .iter_mut()
        .filter(|connection| connection.answer.server == "a");
    for connection in of_a {
        assert_eq!(connection.again().unwrap(), connection.answer);
    }
}

#[test]
fn clients_stay_with_a_server_whose_number_a_newcomer_draws() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[7443, PERSIST_PORT]);
    let host = Host::new(&topology.balancer);
    let a = COLLIDING[0];
    let b = format!("server b 10.20.0.12:{PERSIST_PORT}");
    host.apply(&www("persist 10m", &[a]));
    let drawn = host.number_of("a");
    let to = at("192.0.2.10:80");
    assert_eq!(clients(&topology, to, 2000, 10), vec!["a"; 10]);
    host.apply(&www("persist 10m", &[a, &b]));
    assert_eq!(host.number_of("b"), drawn);
    assert_ne!(host.number_of("a"), drawn);
    assert_eq!(clients(&topology, to, 3000, 10), vec!["a"; 10]);
    marks_name_servers(&host, |_| "www".to_owned());
    // Ten clients, no more: nobody was remembered anew.
    assert_eq!(host.list().matches(" expires ").count(), 10);
}

#[test]
fn a_rename_changes_no_number_and_no_connection() {
    let topology = Topology::new(Layout::Nat, 2);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    for persist in ["", "persist 1m;"] {
        let with = |service: &str, pool: &str, server: &str| {
            format!(
                "pool {pool} {{ server {server} 10.20.0.11; server b 10.20.0.12 }}
                service {service} {{ vip 192.0.2.10 tcp 80; {persist} pool {pool} }}"
            )
        };
        host.apply(&with("www", "web", "a"));
        let number = host.number_of("a");
        let mut open: Vec<Connection> = (0..4)
            .map(|_| {
                Connection::open(&topology.client, None, at("192.0.2.10:80"), PATIENCE).unwrap()
            })
            .collect();
        let said = host.apply(&with("shop", "others", "first"));
        assert!(!said.contains("connection"), "{said}");
        assert_eq!(host.number_of("first"), number);
        for connection in &mut open {
            assert_eq!(connection.again().unwrap(), connection.answer);
        }
        drop(open);
        host.flbc(&["unload"], "");
    }
}
