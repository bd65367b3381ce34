//! An engine that is kept: changes of some servers, in the real kernel.

use flbc::apply::Tables;
use flbc::diagnostic::Diagnostics;
use flbc::engine::Engine;
use flbc::kernel::Linux;
use flbc::model::{LayerChanges, Place, ServerKey, Verdict};
use flbc::notes::Notes;
use flbc::operate::engine::{Changed, change};

use crate::apply_host::Host;
use crate::lab::PATIENCE;
use crate::lab::client::{self, Connection, Protocol};
use crate::lab::topology::{Layout, Topology};
use crate::operator::at;

const FILE: &str = "
pool web { server a 10.20.0.11; server b 10.20.0.12; server c 10.20.0.13 }
service www { vip 192.0.2.10 tcp, udp 80; pool web }
service api { vip 192.0.2.11 tcp 80; pool web }
service own { vip 192.0.2.53 tcp, udp 80; persist 5m; server a 10.20.0.11; server b 10.20.0.12 }
service far { vip 192.0.2.54 tcp 80; scheduler hash; server x 10.20.0.11 weight 3; server y 10.20.0.12 weight 5; server z 10.20.0.13 }
";

/// Changes verdicts by an engine that begins with what the last run left, and goes on with what each change leaves.
fn change_by_engine(host: &Host, all: &[&[(&str, Option<Verdict>)]]) -> Vec<Changed> {
    host.namespace.run(|| {
        let notes = Notes::new(host.folder().join("flbc"));
        let mut tables = Tables::new(Linux::open().unwrap(), notes, "flbc");
        let mut engine = Engine::of(&mut tables).unwrap().expect("nobody came");
        let key = |server: &str| {
            let (place, server) = server.rsplit_once(' ').unwrap();
            let place = match place.strip_prefix("pool ") {
                Some(pool) => Place::Pool(pool.into()),
                None => Place::Service(place.into()),
            };
            ServerKey {
                place,
                server: server.into(),
            }
        };
        let changes = all.iter().map(|verdicts| LayerChanges {
            health: verdicts
                .iter()
                .map(|(server, verdict)| (key(server), *verdict))
                .collect(),
            ..LayerChanges::default()
        });
        let mut sink = Diagnostics::new();
        changes
            .map(|changes| change(&mut tables, &mut engine, changes, &mut sink).unwrap())
            .collect()
    })
}

fn servers(topology: &Topology, to: &str) -> Vec<String> {
    let sources = topology.sources(at(to), 9);
    let mut all = client::ask_all(&topology.client, Protocol::Tcp, &sources, at(to));
    all.sort_unstable();
    all.dedup();
    all
}

const DEAD: Option<Verdict> = Some(Verdict::Dead);

#[test]
fn a_change_by_an_engine_moves_clients_and_leaves_what_a_fresh_load_does() {
    let topology = Topology::new(Layout::Nat, 3);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    host.apply(FILE);
    let before = host.unnumbered();
    let mut open: Vec<Connection> = (0..6)
        .map(|_| {
            let to = at("192.0.2.10:80");
            let from = Some(topology.source(to));
            Connection::open(&topology.client, from, to, PATIENCE).unwrap()
        })
        .collect();
    let changed = change_by_engine(
        &host,
        &[
            &[("pool web a", DEAD)],
            &[("own b", DEAD), ("far y", DEAD)],
            &[("pool web b", DEAD)],
        ],
    );
    assert!(changed.iter().all(|one| one.whole.is_none()), "{changed:?}");
    assert_eq!(
        changed[0].applied.difference.lines,
        ["~ pool web: a up -> down (health)"]
    );
    let forgotten: usize = changed.iter().map(|one| one.applied.forgotten).sum();
    assert_eq!(forgotten, 4);
    for to in ["192.0.2.10:80", "192.0.2.11:80"] {
        assert_eq!(servers(&topology, to), ["c"]);
    }
    assert_eq!(servers(&topology, "192.0.2.53:80"), ["a"]);
    assert_eq!(servers(&topology, "192.0.2.54:80"), ["a", "c"]);
    let (kept, lost): (Vec<_>, Vec<_>) = open
        .iter_mut()
        .partition(|connection| connection.answer.server == "c");
    assert_eq!((kept.len(), lost.len()), (2, 4));
    for connection in kept {
        assert_eq!(connection.again().unwrap(), connection.answer);
    }
    // Another who loads a file that says the same has the same, but for where slots lie.
    let down = FILE
        .replace(
            "server a 10.20.0.11; server b 10.20.0.12; server c",
            "server a 10.20.0.11 down; server b 10.20.0.12 down; server c",
        )
        .replace("server b 10.20.0.12 }", "server b 10.20.0.12 down }")
        .replace("weight 5", "weight 5 down");
    let other = Host::alone();
    other.apply(&down);
    assert_eq!(host.unnumbered(), other.unnumbered());
    // And whoever looks finds nothing wrong.
    let status = host.flbc(&["status"], "");
    assert_eq!((status.code, &*status.err), (Some(0), ""), "{}", status.out);
    let back = ["pool web a", "pool web b", "own b", "far y"].map(|server| (server, None));
    let changed = change_by_engine(&host, &[&back]);
    assert!(changed.iter().all(|one| one.whole.is_none()), "{changed:?}");
    assert_eq!(host.unnumbered(), before);
    assert_eq!(servers(&topology, "192.0.2.10:80"), ["a", "b", "c"]);
    let status = host.flbc(&["status"], "");
    assert_eq!((status.code, &*status.err), (Some(0), ""), "{}", status.out);
}

/// In direct return the errors of ICMP and the flows that are remembered follow a service's slots too; and so do later fragments
/// where one server is left.
#[test]
fn a_change_by_an_engine_moves_clients_of_direct_return() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 3);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let file = "
service www { vip 192.0.2.10 tcp, udp 80; mode dr on eth0 via eth1; server a 10.20.0.11; server b 10.20.0.12; server c 10.20.0.13 }
service one { vip 192.0.2.11 tcp 80; mode dr on eth0 via eth1; server c 10.20.0.13 }
service own { vip 192.0.2.53 tcp, udp 80; mode dr on eth0 via eth1; scheduler hash; track 5m; server a 10.20.0.11; server b 10.20.0.12 weight 2 }
";
    host.apply(file);
    let before = host.unnumbered();
    let many = |to: &str| {
        let sources = topology.sources(at(to), 40);
        let mut all = client::ask_all(&topology.client, Protocol::Tcp, &sources, at(to));
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(many("192.0.2.10:80"), ["a", "b", "c"]);
    let changed = change_by_engine(
        &host,
        &[&[("www b", DEAD)], &[("own b", DEAD)], &[("www a", DEAD)]],
    );
    assert!(changed.iter().all(|one| one.whole.is_none()), "{changed:?}");
    assert_eq!(many("192.0.2.10:80"), ["c"]);
    assert_eq!(many("192.0.2.53:80"), ["a"]);
    let down = file
        .replace(
            "server a 10.20.0.11; server b 10.20.0.12; server c",
            "server a 10.20.0.11 down; server b 10.20.0.12 down; server c",
        )
        .replace("weight 2", "weight 2 down");
    let other = Host::alone();
    other.apply(&down);
    assert_eq!(host.unnumbered(), other.unnumbered());
    let back = ["www a", "www b", "own b"].map(|server| (server, None));
    let changed = change_by_engine(&host, &[&back]);
    assert!(changed.iter().all(|one| one.whole.is_none()), "{changed:?}");
    assert_eq!(host.unnumbered(), before);
    assert_eq!(many("192.0.2.10:80"), ["a", "b", "c"]);
    let status = host.flbc(&["status"], "");
    assert_eq!((status.code, &*status.err), (Some(0), ""), "{}", status.out);
}
