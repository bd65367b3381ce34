//! What apply refuses, how it says so, and that the kernel then has what it had.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flbc::kernel::Reason;

use crate::apply_host::Host;
use crate::lab::PATIENCE;

const RUNNING: &str = "service www { vip 192.0.2.10 tcp 80; server 10.20.0.11 }";

/// A machine that balances, and what its kernel has.
fn running() -> (Host, String, u32) {
    let host = Host::alone();
    host.apply(RUNNING);
    let listed = host.list();
    let generation = host.generation();
    (host, listed, generation)
}

#[test]
fn an_interface_that_is_not_there_is_named_with_its_place() {
    let (host, listed, generation) = running();
    let file = host.write(
        "lb.flb",
        "service dns {
    vip 192.0.2.53 udp 53
    mode dr on eth7 via eth1
    server 10.20.0.21
}\n",
    );
    for arguments in [&["apply", &file][..], &["apply", "--dry-run", &file]] {
        let ran = host.flbc(arguments, "");
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{ran:?}");
        assert!(ran.err.starts_with("error[no-such-interface]"), "{ran:?}");
        assert!(ran.err.contains("no interface `eth7`"), "{ran:?}");
        assert!(ran.err.contains("[/run/lb.flb:"), "{ran:?}");
        assert!(ran.err.contains("mode dr on eth7 via eth1"), "{ran:?}");
        // The interface itself, not the mode or the VIP that needs it.
        assert!(ran.err.contains("[/run/lb.flb:3:16]"), "{ran:?}");
    }
    // The one that packets leave by is looked up too.
    let leaving =
        "service dns { vip 192.0.2.53 udp 53; mode dr on eth0 via eth8; server 10.20.0.21 }";
    let ran = host.flbc(&["apply", "-"], leaving);
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.contains("no interface `eth8`"), "{ran:?}");
    assert!(ran.err.contains("<stdin>:1:58"), "{ran:?}");
    let constant = format!("define out = eth8\n{}", leaving.replace("eth8", "$out"));
    let ran = host.flbc(&["apply", "-"], &constant);
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.contains("<stdin>:1:14"), "{ran:?}");
    assert_eq!((host.list(), host.generation()), (listed, generation));
    assert_eq!(host.apply(RUNNING), "no difference\n");
}

/// An interface that was not there.
const MADE: &str = "link add late type veth peer name late-peer
    link set late up";

#[test]
fn an_interface_that_is_gone_keeps_no_other_service_out() {
    let host = Host::alone();
    let file = host.write(
        "lb.flb",
        "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.12; server b 10.20.0.13 }
service dns {
    vip 192.0.2.53 udp 53
    mode dr on eth0 via late
    server 10.20.0.21
}\n",
    );
    // As at boot, and then in each command again.
    for (arguments, out) in [
        (&["apply", &file][..], "+ service www\n"),
        (&["apply", &file], "no difference\n"),
        (&["apply", "--dry-run", &file], "no difference\n"),
        (
            &["set", "www", "a", "drain"],
            "~ www: a up -> drain (set)\n",
        ),
    ] {
        let ran = host.flbc(arguments, "");
        assert_eq!(ran.code, Some(6), "{ran:?}");
        assert!(ran.out.starts_with(out), "{ran:?}");
        assert!(ran.err.contains("warning[left-out]"), "{ran:?}");
        assert!(ran.err.contains("`dns` is left out"), "{ran:?}");
        assert!(ran.err.contains("no interface `late`"), "{ran:?}");
    }
    host.namespace.ip(MADE);
    let ran = host.flbc(&["apply", "--keep", &file], "");
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{ran:?}");
    assert!(ran.out.starts_with("+ service dns\n"), "{ran:?}");
    // It goes while the balancer works, and another comes in its place.
    host.namespace.ip("link del late");
    let ran = host.flbc(&["set", "www", "a", "up"], "");
    assert_eq!(ran.code, Some(6), "{ran:?}");
    host.namespace.ip(MADE);
    let ran = host.flbc(&["apply", &file], "");
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{ran:?}");
    host.namespace.ip("link del late
        link add other type veth peer name other-peer");
    host.namespace.ip(MADE);
    let ran = host.flbc(&["apply", &file], "");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        ran.err,
        "warning: `late` is another interface than at the last apply: it was made anew\n"
    );
    assert_eq!(host.flbc(&["apply", &file], "").out, "no difference\n");
}

#[test]
fn without_privilege_nothing_happens_and_the_reason_is_said() {
    let (host, listed, generation) = running();
    let other = RUNNING.replace("10.20.0.11", "10.20.0.12");
    for arguments in [
        &["apply", "-"][..],
        &["apply", "--dry-run", "-"],
        &["unload"],
        &["status"],
    ] {
        let ran = host.powerless(arguments, &other);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(4), ""),
            "{arguments:?} {ran:?}"
        );
        assert!(ran.err.contains("CAP_NET_ADMIN"), "{arguments:?} {ran:?}");
    }
    assert_eq!((host.list(), host.generation()), (listed, generation));
}

#[test]
fn a_faulty_file_changes_nothing() {
    let (host, listed, generation) = running();
    let ran = host.flbc(
        &["apply", "-"],
        "service www { vip 192.0.2.10 tcp 80; server 10.20.0.300 }",
    );
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
    assert!(ran.err.contains("<stdin>:1:"), "{ran:?}");
    assert_eq!((host.list(), host.generation()), (listed, generation));
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let (host, listed, generation) = running();
    let same = host.flbc(&["apply", "--dry-run", "-"], RUNNING);
    assert_eq!((same.code, same.out.as_str()), (Some(0), "no difference\n"));
    let other = RUNNING.replace("10.20.0.11", "10.20.0.11 weight 3; server 10.20.0.12");
    for _ in 0..2 {
        let ran = host.flbc(&["apply", "--dry-run", "-"], &other);
        assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.out.contains("~ www: + server 10.20.0.12\n"), "{ran:?}");
        assert!(
            ran.out.contains("~ www: 10.20.0.11 weight 1 -> 3\n"),
            "{ran:?}"
        );
        assert!(ran.out.ends_with("(not applied)\n"), "{ran:?}");
        assert_eq!(host.list(), listed);
        assert_eq!(host.generation(), generation);
    }
    let empty = Host::alone();
    let ran = empty.flbc(&["apply", "--dry-run", "-"], RUNNING);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(empty.list(), "");
    assert!(!empty.remembers());
}

#[test]
fn a_table_that_another_program_holds_is_left_to_it_and_told_once() {
    let host = Host::alone();
    let mut owner = host.namespace.run(|| {
        Command::new("nft")
            .arg("-i")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    });
    let mut words = owner.stdin.take().unwrap();
    words
        .write_all(b"table inet flbc { flags owner; }\n")
        .unwrap();
    let patience = Instant::now();
    while host.list().is_empty() {
        assert!(patience.elapsed() < PATIENCE, "nft -i did not make it");
        thread::sleep(Duration::from_millis(10));
    }
    let listed = host.list();
    for arguments in [
        &["apply", "-"][..],
        &["apply", "--dry-run", "-"],
        &["unload"],
    ] {
        let ran = host.flbc(arguments, RUNNING);
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{ran:?}");
        let told = ran.err.matches("another program holds this table").count();
        assert_eq!(told, 1, "{ran:?}");
    }
    let ran = host.flbc(&["doctor", "-"], RUNNING);
    let refused = "error[kernel-refuses]: ";
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.out.matches(refused).count(), 1, "{ran:?}");
    let held = Reason::Owned.to_string();
    assert!(ran.out.contains(&held), "{ran:?}");
    assert_eq!(host.list(), listed);
    drop(words);
    owner.wait().unwrap();
    // The kernel takes the table away with its owner.
    host.apply(RUNNING);
}

#[test]
fn a_table_that_another_program_made_is_left_to_it() {
    let host = Host::alone();
    for table in [
        "set blocked { type ipv4_addr; elements = { 203.0.113.7 }; }
            chain input { type filter hook input priority 0; ip saddr @blocked drop; };",
        "chain input { type filter hook input priority 0; tcp dport 22 accept; };",
    ] {
        host.namespace
            .nft(&format!("table inet flbc {{ {table} }}"));
        let (listed, generation) = (host.list(), host.generation());
        for arguments in [
            &["apply", "-"][..],
            &["apply", "--dry-run", "-"],
            &["unload"],
        ] {
            let ran = host.flbc(arguments, RUNNING);
            assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{ran:?}");
            assert!(ran.err.contains("error[strange-table]"), "{ran:?}");
        }
        assert_eq!((host.list(), host.generation()), (listed, generation));
        assert_eq!(host.flbc(&["apply", "--force", "-"], RUNNING).code, Some(0));
        assert_eq!(host.apply(RUNNING), "no difference\n");
        assert_eq!(host.flbc(&["unload"], "").code, Some(0));
    }
}

#[test]
fn what_the_kernel_has_nothing_of_is_not_explained_as_if_it_had() {
    let host = Host::alone();
    let file = host.write("lb.flb", RUNNING);
    let explain = || {
        let flow = ["--from", "198.51.100.7:4000", "--to", "192.0.2.10:80"];
        let ran = host.flbc(&[&["explain", "--live"][..], &flow, &[&*file]].concat(), "");
        (
            ran.code,
            ran.out.contains("the kernel may do something else"),
        )
    };
    assert_eq!(explain(), (Some(1), true), "nothing is applied");
    host.flbc(&["apply", &file], "");
    for deed in [
        "delete element inet flbc svc4 { 192.0.2.10 . tcp . 80 }",
        "add table inet flbc { flags dormant; }",
        "flush ruleset",
    ] {
        assert_eq!(explain(), (Some(0), false), "{deed}");
        host.namespace.nft(deed);
        assert_eq!(explain(), (Some(1), true), "{deed}");
        assert_eq!(host.flbc(&["apply", "--keep", &file], "").code, Some(0));
    }
}
