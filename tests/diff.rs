//! `flbc diff`: what differs between two files, in their own words.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests are tests too"
)]

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use proptest::prelude::*;

const OLD: &str = "
pool web { server web1 10.20.0.11:8080 weight 3; server web2 10.20.0.12:8080 }
service www { vip 192.0.2.10 tcp 80, 443; pool web }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0; scheduler maglev table 13; server d1 10.20.0.21; server d2 10.20.0.22; server d3 10.20.0.23 }
service old { vip 192.0.2.99 tcp 1; server o1 10.20.0.91 }
";

/// Exit status, standard output and standard error.
fn diff(old: &str, new: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("old.flb", old), ("new.flb", new)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_flbc"))
        .args(["diff", "old.flb", "new.flb"])
        .current_dir(folder.path())
        .output()
        .expect("flbc runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[track_caller]
fn differs(from: &str, to: &str, lines: &str) {
    let new = OLD.replacen(from, to, 1);
    assert_ne!(new, OLD, "{from} is not there");
    let (code, out, err) = diff(OLD, &new);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), lines, ""));
}

#[test]
fn the_same_meaning_is_no_difference() {
    let rewritten = "# The same.\n
service old { server o1 10.20.0.91\n vip 192.0.2.99 tcp 1 }
define first = 10.20.0.21
service dns { vip 192.0.2.53 udp 53; mode dr on eth0; scheduler mh by source-port table 13
    server d1 $first weight 1; server d2 10.20.0.22; server d3 10.20.0.23 }
service www { pool web; vip 192.0.2.10 tcp 443; vip 192.0.2.10 tcp 80; scheduler wrr }
pool web { server web1 10.20.0.11:8080 weight 3; server web2 10.20.0.12:8080 }
";
    assert_eq!(
        diff(OLD, rewritten),
        (Some(0), String::new(), String::new())
    );
    assert_eq!(diff(OLD, OLD), (Some(0), String::new(), String::new()));
}

#[test]
fn services_come_and_go() {
    differs(
        "service old {",
        "service new {",
        "- service old\n+ service new\n1 added, 0 changed, 1 removed\n",
    );
}

#[test]
fn servers_are_told_by_name_with_what_changed() {
    differs(
        "web1 10.20.0.11:8080 weight 3",
        "web1 10.20.0.11:8080 weight 5",
        "~ pool web: web1 weight 3 -> 5\n0 added, 1 changed, 0 removed\n",
    );
    differs(
        "d2 10.20.0.22",
        "d2 10.20.0.22 drain",
        "~ dns: d2 up -> drain\n\
         ~ dns: moves 30.8 % of the clients of IPv4 (the least possible: 30.8 %)\n\
         0 added, 1 changed, 0 removed\n",
    );
    differs(
        "o1 10.20.0.91",
        "o1 10.20.0.92; server o2 10.20.0.93:81 weight 2 backup",
        "~ old: o1 10.20.0.91 -> 10.20.0.92\n~ old: + server o2 10.20.0.93:81 backup weight 2\n0 added, 1 changed, 0 removed\n",
    );
    differs(
        "; server d2 10.20.0.22",
        "",
        "~ dns: - server d2\n\
         ~ dns: moves 30.8 % of the clients of IPv4 (the least possible: 30.8 %)\n\
         0 added, 1 changed, 0 removed\n",
    );
}

#[test]
fn settings_and_vips_are_told() {
    differs(
        "80, 443",
        "80, 8443",
        "~ www: - vip 192.0.2.10 tcp 443\n~ www: + vip 192.0.2.10 tcp 8443\n0 added, 1 changed, 0 removed\n",
    );
    differs(
        "pool web }",
        "pool web; mode nat masquerade; scheduler random }",
        "~ www: mode nat -> nat masquerade\n~ www: scheduler round-robin -> random\n0 added, 1 changed, 0 removed\n",
    );
    differs(
        "server d1 10.20.0.21; server d2 10.20.0.22;",
        "server d2 10.20.0.22; server d1 10.20.0.21;",
        "~ dns: order of servers\n0 added, 1 changed, 0 removed\n",
    );
}

#[test]
fn a_fault_in_either_file_is_told_and_nothing_else() {
    for (old, new, place) in [
        ("service x {", OLD, "old.flb:1:"),
        (OLD, "service x {", "new.flb:1:"),
    ] {
        let (code, out, err) = diff(old, new);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(place), "{err}");
    }
}

/// What is told of whom a change moves, on both outputs.
fn told(old: &str, new: &str) -> String {
    let (_, out, err) = diff(old, new);
    let lines = out.lines().chain(err.lines());
    let mut told = String::new();
    for line in lines.filter(|line| line.contains(" move") || line.contains("Maglev")) {
        told.push_str(line);
        told.push('\n');
    }
    told
}

/// A service with servers 10.20.0.1 and so on.
fn service(statements: &str, servers: u8) -> String {
    let servers: Vec<String> = (1..=servers)
        .map(|host| format!("server s{host} 10.20.0.{host}"))
        .collect();
    format!(
        "service www {{ vip 192.0.2.10 tcp 80; {statements}; {} }}\n",
        servers.join("; ")
    )
}

#[test]
fn a_server_more_moves_its_share_and_little_else() {
    let (old, new) = (
        service("scheduler maglev", 3),
        service("scheduler maglev", 4),
    );
    assert_eq!(
        told(&old, &new),
        "~ www: moves 25.6 % of the clients of IPv4 (the least possible: 25.0 %)\n"
    );
    // The table grows, and moves no more.
    let (old, new) = (
        service("scheduler maglev", 5),
        service("scheduler maglev", 6),
    );
    assert_eq!(
        told(&old, &new),
        "~ www: Maglev table 512 -> 1024 slots\n\
         ~ www: moves 18.4 % of the clients of IPv4 (the least possible: 16.8 %)\n"
    );
    let (old, new) = (service("scheduler hash", 5), service("scheduler hash", 6));
    assert_eq!(
        told(&old, &new),
        "~ www: moves 50.0 % of the clients of IPv4 (the least possible: 16.7 %)\n"
    );
}

#[test]
fn a_server_that_is_down_moves_its_own_clients_alone() {
    let old = service("scheduler maglev by source", 5);
    let new = old.replace("10.20.0.3;", "10.20.0.3 down;");
    assert_ne!(old, new);
    assert_eq!(
        told(&old, &new),
        "~ www: moves 20.1 % of the clients of IPv4 (the least possible: 20.1 %)\n"
    );
    // Nobody is left to move to, and nobody had a server before.
    let none = old
        .replace(';', " down;")
        .replace("80 down;", "80;")
        .replace("source down;", "source;");
    let none = none.replace("10.20.0.5 }", "10.20.0.5 down }");
    assert_eq!(
        told(&old, &none),
        "~ www: Maglev table of 512 slots goes: no server takes clients\n"
    );
    assert_eq!(
        told(&none, &old),
        "~ www: Maglev table of 512 slots comes\n"
    );
}

#[test]
fn from_one_server_to_two_half_of_the_clients_move() {
    let of = |count| service("scheduler maglev", count);
    assert_eq!(
        told(&of(1), &of(2)),
        "~ www: Maglev table of 512 slots comes\n\
         ~ www: moves 50.0 % of the clients of IPv4 (the least possible: 50.0 %)\n"
    );
    assert_eq!(
        told(&of(2), &of(1)),
        "~ www: Maglev table of 512 slots goes: one server needs none\n\
         ~ www: moves 50.0 % of the clients of IPv4 (the least possible: 50.0 %)\n"
    );
}

#[test]
fn turns_and_chance_have_nobody_to_move() {
    for scheduler in ["round-robin", "random"] {
        let statement = format!("scheduler {scheduler}");
        assert_eq!(told(&service(&statement, 3), &service(&statement, 4)), "");
        let hashed = service("scheduler maglev", 3);
        assert_eq!(told(&service(&statement, 3), &hashed), "");
        assert_eq!(told(&hashed, &service(&statement, 3)), "");
    }
}

/// Adding a family once advised what does not parse, and warned of clients that did not move.
#[test]
fn a_family_more_moves_nobody() {
    let old = service("scheduler maglev", 2);
    let six = "vip 2001:db8::10 tcp 80; server 2001:db8:1::1; server 2001:db8:1::2 }";
    let new = old.replace('}', &format!("; {six}"));
    let (code, out, err) = diff(&old, &new);
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    assert!(!out.contains("moves"), "{out}");
    assert!(
        out.contains("~ www: Maglev table of 512 slots for IPv6 comes\n"),
        "{out}"
    );
    assert_eq!(
        told(&new, &old),
        "~ www: Maglev table of 512 slots for IPv6 goes\n"
    );
    // Each family for itself.
    let more = new.replace(
        "server 2001:db8:1::2 }",
        "server 2001:db8:1::2; server 2001:db8:1::3 }",
    );
    let said = told(&new, &more);
    assert!(
        said.starts_with("~ www: moves 3")
            && said.contains("of the clients of IPv6")
            && !said.contains("IPv4"),
        "{said}"
    );
}

#[test]
fn clients_that_are_remembered_stay() {
    for statements in [
        "scheduler maglev; persist 5m",
        "scheduler maglev; track 5m; mode dr on eth0",
    ] {
        let said = told(&service(statements, 3), &service(statements, 4));
        assert_eq!(
            said,
            "~ www: moves 25.6 % of the clients of IPv4 that are not remembered (the least possible: 25.0 %)\n",
            "{statements}"
        );
        let other = statements.replace("maglev", "hash");
        let said = told(&service(statements, 3), &service(&other, 3));
        assert!(
            said.contains("`scheduler maglev by source-port` in service `www` would move 0.0 % of the clients of IPv4 that are not remembered instead of "),
            "{said}"
        );
    }
}

/// Services that have a shared pool are told together where it is the same for each.
#[test]
fn a_pool_that_many_share_is_told_once() {
    let text = |servers: &str| {
        let mut text = format!("pool web {{ {servers} }}\n");
        for number in 1..=4 {
            let scheduler = if number == 4 { "hash" } else { "maglev" };
            let _ = writeln!(
                text,
                "service s{number} {{ vip 192.0.2.{number} tcp 80; scheduler {scheduler}; pool web }}"
            );
        }
        text
    };
    let five = "server a 10.20.0.1; server b 10.20.0.2; server c 10.20.0.3; server d 10.20.0.4; server e 10.20.0.5";
    let (code, out, err) = diff(&text(five), &text(&format!("{five}; server f 10.20.0.6")));
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (
            Some(1),
            "~ pool web: + server f 10.20.0.6\n\
             ~ s1 and 2 other services: Maglev table 512 -> 1024 slots\n\
             ~ s1 and 2 other services: moves 18.4 % of the clients of IPv4 (the least possible: 16.8 %)\n\
             ~ s4: moves 50.0 % of the clients of IPv4 (the least possible: 16.7 %)\n\
             0 added, 1 changed, 0 removed\n",
            ""
        )
    );
}

#[test]
fn another_scheduler_that_moves_many_is_warned_of() {
    let of = |scheduler: &str| service(&format!("scheduler {scheduler}"), 5);
    for (old, new, moved) in [
        ("maglev table 251", "maglev table 1021", "79.0 %"),
        ("maglev table 509", "maglev", "78.5 %"),
        ("maglev by source", "maglev table 1021", "about 80.0 %"),
        ("hash by source", "hash", "about 80.0 %"),
    ] {
        let (code, out, err) = diff(&of(old), &of(new));
        assert_eq!(code, Some(1));
        assert!(
            out.contains(&format!("~ www: moves {moved} of the clients of IPv4")),
            "{out}"
        );
        let old = if old.contains(" by ") {
            old.to_owned()
        } else {
            old.replace("maglev", "maglev by source-port")
        };
        let moved = moved.trim_start_matches("about ");
        assert_eq!(
            err,
            format!(
                "warning: `scheduler {old}` in service `www` would move 0.0 % of the clients of IPv4 instead of {moved}\n"
            )
        );
    }
    // The same that the change of servers alone would move is not worth a word.
    let (_, _, err) = diff(
        &of("maglev"),
        &of("maglev table 512").replace("512", "65537"),
    );
    assert!(
        err.contains("`scheduler maglev by source-port` in"),
        "{err}"
    );
    let (_, _, err) = diff(&of("hash"), &service("scheduler maglev", 1));
    assert_eq!(err, "");
}

/// What would move fewer is told as it could be written, for ten services.
#[test]
fn of_many_services_ten_are_warned_of() {
    let of = |scheduler: &str| {
        let mut text = String::new();
        for number in 0..13 {
            let _ = writeln!(
                text,
                "service s{number} {{ vip 192.0.2.{number} tcp 80; scheduler {scheduler}; server 10.20.0.{number}; server 10.20.1.1 }}"
            );
        }
        text
    };
    let (_, _, err) = diff(&of("maglev table 251"), &of("maglev"));
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 11, "{err}");
    assert_eq!(lines[10], "warning: and so in 3 more");
}

/// One line of the file is for both families: what the other one has no room for is not advised.
#[test]
fn what_fits_one_family_alone_is_not_advised() {
    let ipv4 = "vip 192.0.2.10 tcp 80; server 10.20.0.1; server 10.20.0.2";
    let ipv6 =
        "vip 2001:db8::10 tcp 80; server 2001:db8:1::1; server 2001:db8:1::2; server 2001:db8:1::3";
    let of = |rest: &str| format!("service www {{ {rest} }}\n");
    let old = of(&format!("scheduler maglev table 2; {ipv4}"));
    let warns = |new: String| diff(&old, &new).2.starts_with("warning: `scheduler maglev");
    assert!(warns(of(&format!("scheduler mh; {ipv4}"))));
    assert!(!warns(of(&format!("scheduler mh; {ipv4}; {ipv6}"))));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 40,
        ..ProptestConfig::default()
    })]

    /// Whatever stands between backticks is the service's name or can be written in it.
    #[test]
    fn what_is_advised_parses(
        schedulers in prop::array::uniform2(prop::sample::select(
            &[
                "maglev", "mh", "maglev by source", "maglev table 251", "maglev by source table 13", "hash", "sh",
                "hash by source", "random", "rr", "maglev table 2",
            ][..],
        )),
        counts in prop::array::uniform4(1_u8..8),
        families in prop::array::uniform2(any::<bool>()),
    ) {
        let text = |at: usize| {
            let scheduler = schedulers[at];
            let mut text = format!("service www {{ vip 192.0.2.10 tcp 80\nscheduler {scheduler}\n");
            let most = if scheduler.ends_with("table 2") { 2 } else { 8 };
            for host in 1..=counts[at].min(most) {
                let _ = writeln!(text, "server 10.20.0.{host}");
            }
            if families[at] {
                text += "vip 2001:db8::10 tcp 80\n";
                for host in 1..=counts[at + 2].min(most) {
                    let _ = writeln!(text, "server 2001:db8:1::{host}");
                }
            }
            text + "}\n"
        };
        let new = text(1);
        let (code, out, err) = diff(&text(0), &new);
        prop_assert!(matches!(code, Some(0 | 1)), "{err}");
        let told = out + &err;
        let quoted: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
        for advice in quoted.into_iter().filter(|advice| *advice != "www") {
            let old_line = format!("scheduler {}", schedulers[1]);
            let advised = new.replace(&old_line, advice);
            prop_assert_ne!(&advised, &new);
            let (code, _, err) = diff(&advised, &advised);
            prop_assert_eq!(code, Some(0), "{} does not do: {}", advice, err);
        }
    }
}

#[test]
fn services_are_told_in_the_order_of_the_file_and_vips_by_address() {
    let service = |name: &str, vips: &str| {
        format!("service {name} {{ vip {vips} tcp 80; server 10.20.0.11; }}\n").replace("; }", " }")
    };
    let none = "# none\n";
    let both = service("z", "192.0.2.10") + &service("a", "192.0.2.9");
    let (_, told, _) = diff(none, &both);
    assert_eq!(
        told,
        "+ service z\n+ service a\n2 added, 0 changed, 0 removed\n"
    );
    let (_, told, _) = diff(&both, none);
    assert_eq!(
        told,
        "- service z\n- service a\n0 added, 0 changed, 2 removed\n"
    );
    let more = service("z", "192.0.2.10, 192.0.2.9") + &service("a", "192.0.2.8");
    let (_, told, _) = diff(&service("z", "192.0.2.100, 192.0.2.20"), &more);
    assert_eq!(
        told,
        "~ z: - vip 192.0.2.20 tcp 80\n~ z: - vip 192.0.2.100 tcp 80\n~ z: + vip 192.0.2.9 tcp 80\n\
         ~ z: + vip 192.0.2.10 tcp 80\n+ service a\n1 added, 1 changed, 0 removed\n"
    );
}
