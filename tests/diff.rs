//! `flbc diff`: what differs between two files, in their own words.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests are tests too"
)]

use std::fs;
use std::process::Command;

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
service dns { vip 192.0.2.53 udp 53; mode dr on eth0; scheduler mh table 13
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
        "+ service new\n- service old\n1 added, 0 changed, 1 removed\n",
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
        "~ dns: d2 up -> drain\n0 added, 1 changed, 0 removed\n",
    );
    differs(
        "o1 10.20.0.91",
        "o1 10.20.0.92; server o2 10.20.0.93:81 weight 2 backup",
        "~ old: o1 10.20.0.91 -> 10.20.0.92\n~ old: + server o2 10.20.0.93:81 backup weight 2\n0 added, 1 changed, 0 removed\n",
    );
    differs(
        "; server d2 10.20.0.22",
        "",
        "~ dns: - server d2\n0 added, 1 changed, 0 removed\n",
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
fn a_maglev_table_of_another_size_is_warned_of() {
    let (code, out, err) = diff(OLD, &OLD.replace("table 13", "table 31"));
    assert_eq!(code, Some(1));
    assert!(out.starts_with("~ dns: scheduler "), "{out}");
    assert!(err.contains("moves most of its clients"), "{err}");
    assert!(err.contains("from 13 to 31"), "{err}");
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
