//! Whom an apply moves: what it tells, beside what clients see.

use crate::apply_host::{Host, Ran};
use crate::lab::client::{Protocol, ask_all};
use crate::lab::topology::{Layout, Topology};
use crate::operator::{at, load, sampled};

/// The figure of `moves 18.4 % of the clients of IPv4`.
fn told(said: &str, family: &str) -> f64 {
    let of = format!(" % of the clients of {family}");
    let (before, _) = said.split_once(&of).unwrap_or_else(|| panic!("{said}"));
    let (_, figure) = before.rsplit_once("moves ").unwrap();
    figure.parse().unwrap()
}

#[test]
fn as_many_clients_move_as_apply_tells() {
    let topology = Topology::new(Layout::DrTwoInterfaces, 6);
    let _serving = topology.serve(&[80]);
    let host = Host::new(&topology.balancer);
    let to = at("192.0.2.10:80");
    for scheduler in ["maglev", "maglev by source-port table 251", "hash"] {
        let file = |last: &str| {
            format!(
                "service www {{
                    vip 192.0.2.10 udp 80
                    mode dr on eth0 via eth1
                    scheduler {scheduler}
                    server 10.20.0.[11-15]
                    {last}
                }}"
            )
        };
        let flows = topology.sources(to, sampled(600, 10_000));
        let answers = || ask_all(&topology.client, Protocol::Udp, &flows, to);
        host.apply(&file(""));
        let mut before = answers();
        // One more, then that one down, then away, where nobody has anything to do with it.
        for last in ["server 10.20.0.16", "server 10.20.0.16 down"] {
            let dry = host.flbc(&["apply", "--dry-run", "-"], &file(last)).out;
            let said = host.apply(&file(last));
            let told = told(&said, "IPv4") / 100.0;
            assert!(dry.contains(said.lines().nth(1).unwrap()), "{dry}\n{said}");
            let after = answers();
            let moved = before.iter().zip(&after).filter(|(old, new)| old != new);
            let number = |count: usize| f64::from(u32::try_from(count).unwrap());
            let count = number(flows.len());
            let seen = number(moved.count()) / count;
            let deviation = (told * (1.0 - told) / count).sqrt();
            assert!(
                (seen - told).abs() < 5.0 * deviation,
                "{scheduler} {last}: {seen} moved, {told} told"
            );
            before = after;
        }
        host.flbc(&["unload"], "");
    }
}

/// Nothing is remembered of what another version applied: who moves is read off the kernel.
#[test]
fn the_first_apply_after_an_upgrade_tells_whom_it_moves() {
    let file = |scheduler: &str, last: &str| {
        format!(
            "service nat {{
                vip 192.0.2.10, 2001:db8::10 tcp 80
                scheduler {scheduler}
                server 10.20.0.[11-15]:8080
                server [2001:db8:1::11]:8080; server [2001:db8:1::12]:8080 {last}
            }}
            service dr {{
                vip 192.0.2.53 udp 53
                mode dr on eth0 via eth1
                scheduler {scheduler} by source
                server 10.20.0.[11-15]
            }}
            service one {{ vip 192.0.2.54 udp 53; scheduler {scheduler}; server 10.20.0.11 }}"
        )
        .replace("table 509 by source", "by source table 509")
    };
    let host = Host::alone();
    let old = file("maglev table 509", "");
    let new = file("maglev", "");
    load(&host.namespace, &old);
    let dry = host.flbc(&["apply", "--dry-run", "-"], &new);
    // The same as of the two files.
    host.write("old.flb", &old);
    host.write("new.flb", &new);
    let files = host.flbc(&["diff", "/run/old.flb", "/run/new.flb"], "");
    let moves = |ran: &Ran| -> Vec<String> {
        let lines = ran.out.lines().filter(|line| line.contains(" moves "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(moves(&dry), moves(&files), "{dry:?}");
    assert_eq!(moves(&dry).len(), 3, "{dry:?}");
    assert_eq!(dry.err, files.err);
    assert!(
        dry.err.contains(
            "`scheduler maglev by source table 509` in service `dr` would move 0.0 % of the clients of IPv4 instead of "
        ),
        "{}",
        dry.err
    );
    // What is advised is true.
    let kept = host.flbc(&["apply", "--dry-run", "-"], &old);
    assert_eq!((kept.code, kept.out.as_str()), (Some(0), "no difference\n"));
    let one_down = host.flbc(
        &["apply", "--dry-run", "-"],
        &file("maglev table 509", "down"),
    );
    assert!(told(&one_down.out, "IPv6") > 45.0, "{one_down:?}");
    assert!(!one_down.out.contains("IPv4"), "{one_down:?}");
    let applied = host.flbc(&["apply", "-"], &new);
    assert_eq!((applied.code, moves(&applied)), (Some(0), moves(&dry)));
    assert_eq!(host.apply(&new), "no difference\n");
}
