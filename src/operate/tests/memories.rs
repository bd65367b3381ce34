//! What rules remember of clients goes with their servers.

use rustix::io::Errno;

use super::*;

const CHAIN: &str = "svc_www_v4";

fn www(options: &str, servers: &str) -> String {
    format!("service www {{ vip 192.0.2.10 tcp, udp 80; {options} scheduler random; {servers} }}")
}

const BOTH: &str = "server a 10.20.0.11; server b 10.20.0.12";

/// A machine that remembers two clients of `a` and one of `b`.
fn remembering(mode: &str) -> Host {
    let mut host = Host::new();
    host.apply(&www(&format!("{mode} persist 10m;"), BOTH));
    for (server, left) in [
        ("a of www", 600_000),
        ("b of www", 500_000),
        ("a of www", 400_000),
    ] {
        host.remember(CHAIN, server, left);
    }
    host
}

const MODES: [&str; 2] = ["", "mode dr on eth0;"];

#[test]
fn clients_of_a_server_that_is_down_or_gone_are_forgotten_and_of_a_drained_one_kept() {
    for mode in MODES {
        for (servers, forgotten) in [
            ("server a 10.20.0.11 drain; server b 10.20.0.12", 0),
            ("server a 10.20.0.11 weight 3; server b 10.20.0.12", 0),
            ("server a 10.20.0.11 down; server b 10.20.0.12", 2),
            ("server b 10.20.0.12", 2),
            ("server a 10.20.0.11", 1),
        ] {
            for forget in [false, true] {
                let mut host = remembering(mode);
                if forget {
                    host.forget();
                }
                let text = www(&format!("{mode} persist 10m;"), servers);
                let applied = host.apply(&text);
                assert_eq!(applied.clients, forgotten, "{mode} {servers}");
                assert_eq!(host.remembered().len(), 3 - forgotten, "{mode} {servers}");
                // What was forgotten is a transaction too, and no one else's.
                let asked = host.kernel.asked;
                assert!(host.apply(&text).is_nothing());
                assert_eq!(host.kernel.asked, asked);
            }
        }
    }
}

#[test]
fn clients_stay_through_every_change_that_keeps_their_server() {
    let many = services(60);
    for mode in MODES {
        let mut host = remembering(mode);
        let base = www(&format!("{mode} persist 10m;"), BOTH);
        let before = host.remembered();
        for edit in [
            base.replace("server b", "server d 10.20.0.14; server b"),
            base.replace("10.20.0.12", "10.20.0.12 weight 3"),
            base.replace("10.20.0.12", "10.20.0.12 drain"),
            format!("{many}{base}"),
            base.replace("udp 80;", "udp 80, 81, 1000-2000;"),
            base.replace("scheduler random", "scheduler hash by source"),
            base.replace("persist 10m", "on-empty drop; persist 10m"),
            format!("# moved\n\n\n{base}"),
            base.clone(),
        ] {
            let applied = host
                .try_apply(&edit)
                .unwrap_or_else(|refused| panic!("{refused}: {edit}"));
            assert_eq!((applied.clients, applied.forgotten), (0, 0), "{edit}");
            assert_eq!(host.remembered(), before, "{edit}");
        }
    }
}

#[test]
fn clients_go_with_a_server_that_gets_another_number() {
    for mode in MODES {
        for forget in [false, true] {
            let mut host = remembering(mode);
            let text = www(&format!("{mode} persist 10m;"), BOTH);
            let (before, number) = (host.remembered(), host.number_of("a of www"));
            if forget {
                host.forget();
            }
            let applied = host.shift(&text, 8);
            assert_eq!((applied.clients, applied.forgotten), (0, 0));
            assert_ne!(host.number_of("a of www"), number);
            let mut now = host.remembered();
            now.sort_by_key(|(_, left)| std::cmp::Reverse(*left));
            assert_eq!(now, before, "and for as long as they had left");
        }
    }
}

#[test]
fn a_service_that_ends_to_remember_forgets_its_clients() {
    let mut host = remembering("");
    let other = "service other { vip 192.0.2.11 tcp 80; persist 10m; server o 10.20.0.19 }";
    let both = |options| format!("{}\n{other}", www(options, BOTH));
    host.apply(&both("persist 10m;"));
    host.remember("svc_other_v4", "o of other", 1000);
    let applied = host.apply(&both(""));
    assert_eq!(applied.forgotten, 0);
    assert_eq!(host.remembered(), [("o of other".to_owned(), 1000)]);
}

#[test]
fn what_times_out_meanwhile_stops_no_apply() {
    let mut host = remembering("");
    host.kernel.recollections[0].entries[0].left = 1;
    let text = www("persist 10m;", BOTH);
    // The kernel refuses to delete what has timed out since it was read. What is about to is left to itself then.
    host.kernel.refuse = Some((host.kernel.asked, Errno::NOENT));
    let old = host.number_of("a of www");
    let applied = host.shift(&text, 8);
    assert_eq!(applied.clients, 0);
    let mut now = host.remembered();
    now.sort_by_key(|(_, left)| *left);
    assert_eq!(now[0], (format!("{old:x}"), 1));
    assert_eq!(now[1], ("a of www".to_owned(), 400_000));
    assert_eq!(now[2], ("b of www".to_owned(), 500_000));
    assert!(host.apply(&text).is_nothing());
}

#[test]
fn a_client_that_the_kernel_has_twice_goes_with_its_server_once() {
    for mode in MODES {
        let text = www(&format!("{mode} persist 10m;"), BOTH);
        // Packets that came while a transaction was refused have made another entry under the same key, for the same server
        // or another.
        for server in ["a of www", "b of www"] {
            let mut host = remembering(mode);
            let twin = host.number_of(server);
            let entries = &mut host.kernel.recollections[0].entries;
            let number = entries[0].server;
            entries[0].server = twin;
            entries.push(Entry {
                server: number,
                ..entries[0]
            });
            host.shift(&text, 8);
            let mut now = host.remembered();
            now.sort_by_key(|(_, left)| std::cmp::Reverse(*left));
            assert_eq!(now.len(), 3, "{mode} {now:?}");
            assert_eq!(now[0], (server.to_owned(), 600_000), "whom packets find");
        }
    }
}

#[test]
fn who_comes_while_the_numbers_change_is_remembered_under_the_new_one() {
    for mode in MODES {
        let mut host = remembering(mode);
        let text = www(&format!("{mode} persist 10m;"), BOTH);
        let entries = &host.kernel.recollections[0].entries;
        let known = entries[0];
        let newcomer = [9; 4].into_iter().chain(known.key.as_slice()[4..].to_vec());
        let newcomer = Entry {
            key: Bytes::new(&newcomer.collect::<Vec<u8>>()).unwrap(),
            ..entries[1]
        };
        host.kernel.meanwhile = vec![known, newcomer];
        let applied = host.shift(&text, 8);
        assert_eq!((applied.clients, applied.forgotten), (0, 0));
        let mut now = host.remembered();
        now.sort();
        let expected = [
            ("a of www", 400_000),
            ("a of www", 600_000),
            ("b of www", 500_000),
            ("b of www", 500_000),
        ];
        assert_eq!(now, expected.map(|(name, left)| (name.to_owned(), left)));
        // The transactions that it took are this run's own.
        let asked = host.kernel.asked;
        assert!(host.shift(&text, 8).is_nothing());
        assert_eq!(host.kernel.asked, asked);
    }
}

#[test]
fn unload_forgets_all_clients_with_the_tables() {
    let mut host = remembering("");
    host.unload().unwrap();
    assert!(host.kernel.recollections.is_empty());
    host.apply(&www("persist 10m;", BOTH));
    assert!(host.remembered().is_empty());
}

#[test]
fn what_was_set_is_known_after_going_back_with_clients_that_have_other_numbers() {
    let mut host = remembering("");
    let text = www("persist 10m;", BOTH);
    host.set("www b", Demand::State(crate::model::State::Drain));
    let before = host.tables().before().unwrap();
    host.shift(&text, 8);
    let applied = host.tables().restore(&before).unwrap();
    assert!(applied.warnings().is_empty(), "{:?}", applied.warnings());
    assert_eq!(host.remembered().len(), 3);
    assert!(host.remembers());
    assert_eq!(host.wishes().len(), 1);
    assert!(host.keep(&text).is_nothing());
}

#[test]
fn what_comes_right_behind_while_clients_are_forgotten_is_found_by_the_next_run() {
    let mut host = remembering("");
    let text = www("persist 10m;", "server b 10.20.0.12");
    host.kernel.behind = vec![|has| {
        let chains = &mut has.inet.as_mut().unwrap().chains;
        chains
            .iter_mut()
            .find(|one| &*one.name == "output")
            .unwrap()
            .rules
            .clear();
    }];
    assert_eq!(host.apply(&text).clients, 2);
    let applied = host.try_apply(&text).unwrap();
    assert!(
        !applied.drift.is_empty(),
        "what was sent is not what is there"
    );
    let mut fresh = Host::new();
    fresh.apply(&text);
    same(&host.has(), &fresh.has());
}

/// The port of a server 10.20.0.12 that draws the number of server `a`, and has it, in any service that persists.
const PERSIST_PORT: u16 = 1346;

#[test]
fn clients_stay_with_a_server_whose_number_a_newcomer_draws() {
    let mut host = Host::new();
    let a = "server a 10.20.0.11:7443";
    host.apply(&www("persist 10m;", a));
    let drawn = host.number_of("a of www");
    for left in [3000, 4000] {
        host.remember(CHAIN, "a of www", left);
    }
    let before = host.remembered();
    let both = format!("{a}; server b 10.20.0.12:{PERSIST_PORT}");
    assert_eq!(host.apply(&www("persist 10m;", &both)).clients, 0);
    assert_eq!(host.number_of("b of www"), drawn);
    assert_ne!(host.number_of("a of www"), drawn);
    let mut now = host.remembered();
    now.sort();
    assert_eq!(now, before);
}
