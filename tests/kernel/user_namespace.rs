//! A container's root: every capability, but in a user namespace alone. It may change the rules of its own network; the
//! kernel's buffers are not its own to enlarge.

use std::fmt::Write as _;
use std::fs;

use crate::apply_host::{Host, Ran};

const FILE: &str = "service www { vip 192.0.2.10 tcp, udp 80; persist 1h; server a 10.20.0.11; server b 10.20.0.12:8080 }
service dns { vip 192.0.2.53 udp 53; mode dr on eth0; track 5m; server 10.20.0.11; server 10.20.0.12 }\n";

/// A machine with `lb.flb` and `other.flb` in `/run`.
fn machine(file: &str, other: &str) -> Host {
    let host = Host::alone();
    host.write("lb.flb", file);
    host.write("other.flb", other);
    host
}

/// Runs a script as root of a container, after `before` as root of the host. `$0` is flbc.
fn contained(host: &Host, before: &str, script: &str) -> Ran {
    let before =
        format!("{before} exec unshare --user --map-root-user --net sh -euc \"$1\" \"$0\"");
    let inside = format!("ip link add eth0 type veth peer name eth1; {script}");
    let flbc = env!("CARGO_BIN_EXE_flbc");
    host.command(&["sh", "-euc", &before, flbc, &inside])
}

#[test]
fn a_container_that_may_change_its_rules_can_use_every_command() {
    let host = machine(FILE, &FILE.replace("10.20.0.12:8080", "10.20.0.13"));
    let ran = contained(
        &host,
        "",
        "$0 apply /run/lb.flb; $0 apply /run/lb.flb; $0 apply --dry-run /run/lb.flb
         $0 try /run/other.flb; $0 confirm; $0 apply /run/lb.flb; $0 set www a down; $0 set www a up
         $0 status; $0 explain --live --from 198.51.100.1:1024 --to 192.0.2.10:80 /run/lb.flb
         nft list table inet flbc; $0 unload; nft list ruleset",
    );
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{}", ran.out);
    assert_eq!(ran.out.matches("no difference").count(), 2, "{}", ran.out);
    for said in [
        "2 added, 0 changed, 0 removed",
        "~ www: b 10.20.0.12:8080 -> 10.20.0.13",
        "confirmed: this stays",
        "~ www: a up -> down (set)",
        "chain svc_www_v4",
        "0 added, 0 changed, 2 removed",
    ] {
        assert!(ran.out.contains(said), "{said:?} in\n{}", ran.out);
    }
}

#[test]
fn a_container_that_cannot_write_to_run_reads_the_kernel_each_time() {
    let host = machine(FILE, FILE);
    let read_only = "mount -o remount,bind,ro /run;";
    let script = "$0 apply /run/lb.flb; $0 apply /run/lb.flb; $0 apply --dry-run /run/lb.flb";
    let ran = contained(&host, read_only, script);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.out.matches("no difference").count(), 2, "{ran:?}");
    let warned = "warning: the rules are in place, but the next apply will read them";
    assert!(
        ran.err.lines().all(|line| line.starts_with(warned)),
        "{ran:?}"
    );
    assert!(!host.remembers());
}

/// More than twice `net.core.wmem_max` has no room. Nobody but the host's root can change that.
#[test]
fn a_transaction_for_which_a_container_has_no_room_leaves_all_as_it_was() {
    let most: usize = fs::read_to_string("/proc/sys/net/core/wmem_max")
        .expect("a setting")
        .trim()
        .parse()
        .expect("a number");
    // A slot takes 28 bytes.
    let mut large = FILE.to_owned();
    for at in 0..=2 * most / 28 / 65_521 {
        let _ = writeln!(
            large,
            "service large{at} {{ vip 192.0.2.{} tcp 80; scheduler maglev table 65521; server 10.20.0.11; server 10.20.0.12 }}",
            at + 100
        );
    }
    let host = machine(FILE, &large);
    let ran = contained(
        &host,
        "",
        "$0 apply /run/lb.flb; nft list ruleset > /run/before
         for how in apply 'apply --dry-run' doctor; do
             set +e; $0 $how /run/other.flb; echo \"$how ends with $?\"; set -e
         done
         nft list ruleset | cmp - /run/before; $0 apply /run/lb.flb",
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for said in [
        "apply ends with 3\n",
        "apply --dry-run ends with 3\n",
        "doctor ends with 1\n",
        "run  sysctl -w net.core.wmem_max=",
    ] {
        assert!(ran.out.contains(said), "{said:?} in {ran:?}");
    }
    assert!(ran.out.ends_with("no difference\n"), "{ran:?}");
    let errors: Vec<&str> = ran.err.lines().collect();
    assert_eq!(errors.len(), 2, "{ran:?}");
    for error in errors {
        let setting = error
            .split_once("`sysctl -w net.core.wmem_max=")
            .and_then(|(_, rest)| rest.split_once('`')?.0.parse::<usize>().ok());
        assert!(setting.is_some_and(|setting| setting > most), "{error}");
        assert!(error.ends_with("the kernel has what it had"), "{error}");
    }
}
