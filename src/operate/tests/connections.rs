//! What becomes of the connections that servers have.

use rustix::io::Errno;

use super::*;

const WWW: &str = "192.0.2.10:80";

fn service(a: &str) -> String {
    format!(
        "service www {{ vip 192.0.2.10, 2001:db8::10 tcp, udp 80
            {a}
            server b 10.20.0.12
            server b6 2001:db8:1::12
        }}"
    )
}

/// A machine on which both servers have connections, of TCP and UDP.
fn connected(text: &str) -> Host {
    let mut host = Host::new();
    host.apply(text);
    for server in ["a of www", "b of www"] {
        host.connect(Protocol::Tcp, WWW, server);
        host.connect(Protocol::Udp, WWW, server);
    }
    host
}

#[test]
fn a_server_that_is_gone_or_down_loses_its_connections_and_a_drained_one_keeps_them() {
    for (after, forgotten) in [
        ("server a 10.20.0.11 drain", 0),
        ("server a 10.20.0.11 weight 9", 0),
        ("server a 10.20.0.11 backup", 0),
        ("server a 10.20.0.11 down", 2),
        ("", 2),
        // Another machine under the same name.
        ("server a 10.20.0.19", 2),
    ] {
        let mut host = connected(&service("server a 10.20.0.11"));
        let applied = host.apply(&service(after));
        assert_eq!(
            (applied.forgotten, applied.marked),
            (forgotten, 0),
            "{after}"
        );
        let left = host.connected();
        assert_eq!(left.len(), 4 - forgotten, "{after}");
        let words = ", 2 connections forgotten\n";
        assert_eq!(
            applied.text(false).ends_with(words),
            forgotten == 2,
            "{after}"
        );
        // The same of what nobody remembers.
        let mut host = connected(&service("server a 10.20.0.11"));
        host.forget();
        assert_eq!(host.apply(&service(after)).forgotten, forgotten, "{after}");
    }
}

#[test]
fn connections_of_one_family_do_not_die_with_those_of_another() {
    let mut host = Host::new();
    host.apply(&service("server a 10.20.0.11; server a6 2001:db8:1::11"));
    host.connect(Protocol::Tcp, "[2001:db8::10]:80", "a6 of www");
    host.connect(Protocol::Tcp, WWW, "a of www");
    assert_eq!(
        host.apply(&service("server a6 2001:db8:1::11")).forgotten,
        1
    );
    assert_eq!(host.connected(), ["a6 of www"]);
}

#[test]
fn connections_of_others_with_the_same_mark_stay() {
    let mut host = connected(&service("server a 10.20.0.11"));
    host.kernel.connections.clear();
    let a = host.number_of("a of www");
    // Others use the number of a server: with another server of their own, or by an address that is no VIP.
    for (vip, server) in [
        (WWW, "10.20.0.99"),
        ("192.0.2.53:80", "10.20.0.11"),
        ("192.0.2.10:81", "10.20.0.11"),
    ] {
        host.kernel.connections.push(Connection {
            protocol: Protocol::Tcp.number(),
            client: client(1),
            client_port: Some(1234),
            vip: at(vip).ip(),
            vip_port: Some(at(vip).port()),
            server: server.parse().unwrap(),
            server_port: Some(80),
            mark: a,
        });
    }
    assert_eq!(host.apply(&service("")).forgotten, 0);
    assert_eq!(host.unload().unwrap().forgotten, 0);
    assert_eq!(host.kernel.connections.len(), 3);
}

#[test]
fn unload_forgets_the_connections_of_every_server() {
    let mut host = connected(&service("server a 10.20.0.11"));
    host.connect(Protocol::Tcp, "[2001:db8::10]:80", "b6 of www");
    let unloaded = host.unload().unwrap();
    assert_eq!(unloaded.forgotten, 5);
    assert!(
        unloaded
            .text(false)
            .ends_with(", 5 connections forgotten\n")
    );
    assert!(host.kernel.connections.is_empty());
}

#[test]
fn a_rename_changes_no_number_and_no_connection() {
    for persist in ["", "persist 1m;"] {
        let with = |service: &str, pool: &str, server: &str| {
            format!(
                "pool {pool} {{ server {server} 10.20.0.11; server b 10.20.0.12 }}
                service {service} {{ vip 192.0.2.10 tcp 80; {persist} pool {pool} }}"
            )
        };
        let mut host = Host::new();
        host.apply(&with("www", "web", "a"));
        let number = host.number_of("a of pool web");
        host.connect(Protocol::Tcp, WWW, "a of pool web");
        let applied = host.apply(&with("shop", "others", "first"));
        assert_eq!((applied.forgotten, applied.marked), (0, 0));
        assert_eq!(host.number_of("first of pool others"), number);
        assert_eq!(host.connected(), ["first of pool others"]);
    }
}

#[test]
fn to_begin_and_to_end_persistence_cuts_no_connection() {
    for (before, after) in [("", "persist 1m;"), ("persist 1m;", "")] {
        for forget in [false, true] {
            let text = |persist| {
                service("server a 10.20.0.11").replace("80\n", &format!("80; {persist}\n"))
            };
            let mut host = connected(&text(before));
            if forget {
                host.forget();
            }
            let applied = host.apply(&text(after));
            assert_eq!(
                (applied.forgotten, applied.marked),
                (0, 4),
                "{before} {after}"
            );
            assert!(
                applied
                    .text(false)
                    .ends_with(", 4 connections numbered anew\n")
            );
            assert_eq!(
                host.connected(),
                ["a of www", "a of www", "b of www", "b of www"]
            );
        }
    }
}

/// In tables called `flbc`, of a service whose lowest VIP is 192.0.2.10 tcp 80, both servers draw the same number first,
/// and the newcomer has it.
const COLLIDING: [&str; 2] = ["server a 10.20.0.11:7443", "server b 10.20.0.12:9580"];

#[test]
fn a_newcomer_that_draws_the_number_of_another_takes_nothing_else() {
    let www = |servers: &str| {
        format!("service www {{ vip 192.0.2.10 tcp, udp 80; scheduler random; {servers} }}")
    };
    let [a, b] = COLLIDING;
    let mut host = Host::new();
    host.apply(&www(a));
    let drawn = host.number_of("a of www");
    for _ in 0..4 {
        host.connect(Protocol::Tcp, WWW, "a of www");
    }
    let both = www(&format!("{a}; {b}"));
    let applied = host.apply(&both);
    assert_eq!((applied.forgotten, applied.marked), (0, 4));
    assert_eq!(host.number_of("b of www"), drawn);
    assert_eq!(host.connected(), ["a of www"; 4]);
    // What numbers there are does not depend on the way there.
    let mut fresh = Host::new();
    fresh.apply(&both);
    assert_eq!(host.servers(), fresh.servers());
    // The newcomer goes again, with its connections and no others.
    host.connect(Protocol::Tcp, WWW, "b of www");
    let applied = host.apply(&www(a));
    assert_eq!((applied.forgotten, applied.marked), (1, 4));
    assert_eq!(host.number_of("a of www"), drawn);
    assert_eq!(host.connected(), ["a of www"; 4]);
}

#[test]
fn what_could_not_be_done_to_connections_is_told_and_done_by_the_next_run() {
    for same_file in [true, false] {
        let mut host = connected(&service("server a 10.20.0.11"));
        host.kernel.untracked = Some(Errno::NOMEM);
        let down = service("server a 10.20.0.11 down");
        let applied = host.try_apply(&down).unwrap();
        let warnings = applied.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("connections to servers that are gone may live on, and others have the numbers that their servers had; the next apply sees to them: cannot talk to connection tracking: "),
            "{warnings:?}"
        );
        assert_eq!(host.kernel.connections.len(), 4);
        host.kernel.untracked = None;
        // As of a run that was killed over them.
        let next = if same_file { down } else { service("") };
        assert_eq!(host.apply(&next).forgotten, 2);
        assert_eq!(host.connected(), ["b of www", "b of www"]);
        assert!(host.notes(".unfinished").is_empty());
        let again = host.apply(&next);
        assert!(again.is_nothing() && again.forgotten == 0);
    }
}

#[test]
fn a_run_that_was_killed_over_numbers_is_completed_by_the_next() {
    let text =
        |persist| service("server a 10.20.0.11").replace("80\n", &format!("80; {persist}\n"));
    let mut host = connected(&text(""));
    host.kernel.untracked = Some(Errno::NOMEM);
    host.try_apply(&text("persist 1m;")).unwrap();
    host.kernel.untracked = None;
    // Some have the new number already, and a new one has come.
    let first = host.number_of("a of www");
    host.kernel.connections[0].mark = first;
    host.connect(Protocol::Tcp, WWW, "b of www");
    let applied = host.apply(&text("persist 1m;"));
    assert_eq!((applied.forgotten, applied.marked), (0, 3));
    let servers = ["a of www", "a of www", "b of www", "b of www", "b of www"];
    assert_eq!(host.connected(), servers);
    // Unload completes it too.
    host.kernel.untracked = Some(Errno::NOMEM);
    host.try_apply(&text("")).unwrap();
    host.kernel.untracked = None;
    assert_eq!(host.unload().unwrap().forgotten, 5);
}

#[test]
fn what_a_killed_run_left_of_a_server_that_goes_is_forgotten_with_it() {
    let text = |persist: &str, a: &str| service(a).replace("80\n", &format!("80; {persist}\n"));
    for gone in ["", "server a 10.20.0.11 down"] {
        let mut host = connected(&text("", "server a 10.20.0.11"));
        host.kernel.untracked = Some(Errno::NOMEM);
        host.try_apply(&text("persist 1m;", "server a 10.20.0.11"))
            .unwrap();
        host.kernel.untracked = None;
        let applied = host.apply(&text("persist 1m;", gone));
        assert_eq!((applied.forgotten, applied.marked), (2, 2), "{gone}");
        assert_eq!(host.connected(), ["b of www", "b of www"], "{gone}");
    }
}

#[test]
fn a_service_that_goes_takes_its_connections_with_it_though_its_server_has_others() {
    let www = "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11 }";
    let both = format!("{www}\nservice other {{ vip 192.0.2.53 tcp 80; server a 10.20.0.11 }}");
    // As it is remembered, and as it is read.
    for forget in [false, true] {
        let mut host = Host::new();
        host.apply(&both);
        host.connect(Protocol::Tcp, WWW, "a of www");
        host.connect(Protocol::Tcp, "192.0.2.53:80", "a of other");
        if forget {
            host.forget();
        }
        let applied = host.apply(www);
        assert_eq!((applied.forgotten, applied.marked), (1, 0), "{forget}");
        assert_eq!(host.connected(), ["a of www"]);
    }
}

#[test]
fn connections_of_a_vip_that_goes_go_on_with_the_servers_of_its_service() {
    let with = |vips: &str| format!("service www {{ vip {vips} tcp 80; server a 10.20.0.11 }}");
    for forget in [false, true] {
        let mut host = Host::new();
        host.apply(&with("192.0.2.10, 192.0.2.53"));
        host.connect(Protocol::Tcp, "192.0.2.53:80", "a of www");
        if forget {
            host.forget();
        }
        assert_eq!(host.apply(&with("192.0.2.10")).forgotten, 0);
        assert_eq!(host.connected(), ["a of www"]);
    }
}
