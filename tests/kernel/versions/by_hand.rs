//! A chain that was listed and loaded again by hand, with either nft: `flbc apply` finds it right as it was, and wrong
//! and puts it right after the smallest change of its meaning.

use crate::apply_host::{Host, Ran};
use crate::lab::namespace::Namespace;

use super::{Form, Nft, both};

const FILE: &str = "
service www {
    vip 192.0.2.10, 2001:db8::10 tcp 80
    deny from 10.9.0.0/16
    persist 30m by source/24/64
    server a 10.20.0.11; server b 10.20.0.12; server six 2001:db8:1::11
}
service api { vip 192.0.2.11 tcp 80, 5000-5999; scheduler maglev table 13; server 10.20.0.11; server 10.20.0.12 }
service dns {
    vip 192.0.2.53, 2001:db8::53 udp 53
    mode dr on eth0 via eth1
    scheduler maglev table 13
    server 10.20.0.11; server 10.20.0.12; server 2001:db8:1::11; server 2001:db8:1::12
}
service flows {
    vip 192.0.2.54 udp 53
    mode dr on eth0 via eth1
    scheduler maglev table 13
    track 5m
    server 10.20.0.11; server 10.20.0.12
}
";

/// A chain, some text in it, and what somebody writes there instead.
const EDITS: [(&str, &str, &str, &str); 28] = [
    // Where a value comes from, and the order in which values make a key.
    ("inet", "svc_api_v4", "ip saddr . th", "ip daddr . th"),
    ("inet", "svc_api_v4", "saddr . th sport", "saddr . th dport"),
    (
        "inet",
        "svc_api_v4",
        "jhash ip saddr . th sport",
        "jhash th sport . ip saddr",
    ),
    (
        "netdev",
        "track4_300",
        "jhash ip saddr . th sport . meta l4proto",
        "jhash th sport . ip saddr . meta l4proto",
    ),
    (
        "netdev",
        "known4",
        "ip saddr . th dport",
        "ip saddr . th sport",
    ),
    ("netdev", "err_flows_v4", "@th,224,16", "@th,240,16"),
    ("netdev", "err_dns_v6", "@th,256,128", "@th,128,128"),
    (
        "inet",
        "translate",
        "ct mark map @addr4",
        "meta mark map @addr4",
    ),
    (
        "inet",
        "guard",
        "dport vmap @local4\n",
        "sport vmap @local4\n",
    ),
    (
        "inet",
        "keep6_64_1800",
        "0x666c6231 . jhash ip6 saddr & ffff:ffff:ffff:ffff:: mod 4294967295 seed 0x666c6232",
        "0x666c6232 . jhash ip6 saddr & ffff:ffff:ffff:ffff:: mod 4294967295 seed 0x666c6231",
    ),
    // Constants.
    ("inet", "svc_api_v4", "seed 0x666c6263", "seed 0x666c6264"),
    ("inet", "svc_www_v4", "numgen inc", "numgen random"),
    ("inet", "keep4_24_1800", "255.255.255.0", "255.255.254.0"),
    ("inet", "keep4_24_1800", "timeout 30m", "timeout 31m"),
    ("inet", "unbalanced", "ct state new", "ct state established"),
    ("inet", "balanced", "direction original", "direction reply"),
    ("inet", "balanced", "mark >= 0x8", "mark > 0x8"),
    (
        "netdev",
        "on_eth0",
        "host icmp type time-exceeded",
        "broadcast icmp type time-exceeded",
    ),
    // Which set, and what is done with it.
    ("inet", "dispatch", "@svc4_range", "@local4_range"),
    ("inet", "keep4_24_1800", "update @", "add @"),
    ("inet", "returned4_24", "delete @", "update @"),
    // Where it goes on.
    ("inet", "svc_api_v4", "goto slotted", "jump slotted"),
    (
        "inet",
        "input",
        "ct status dnat accept",
        "ct status dnat return",
    ),
    (
        "inet",
        "source",
        "@real4 masquerade",
        "@real4 masquerade random",
    ),
    (
        "inet",
        "balanced_in",
        "ct state invalid,new",
        "ct state invalid,new counter",
    ),
    // Rules one more, one less, and in another order.
    ("netdev", "send", "drop\n", "drop\n\t\tdrop\n"),
    ("netdev", "svc_flows_v4", "jump known4\n", ""),
    (
        "netdev",
        "follow",
        "meta mark vmap @tracker\n\t\tgoto send",
        "goto send\n\t\tmeta mark vmap @tracker",
    ),
];

fn list(nft: &Nft, machine: &Namespace, family: &str, chain: &str) -> String {
    let arguments = ["list", "chain", family, "flbc", chain];
    nft.run(machine, &arguments, "").stdout
}

/// Loads a chain in place of what it was.
fn rewrite(nft: &Nft, machine: &Namespace, (family, chain): (&str, &str), listed: &str) {
    let rules = format!("flush chain {family} flbc {chain}\n{listed}");
    nft.load(machine, Form::Text, &rules);
}

/// Whether `flbc apply` would change something.
fn finds_a_difference(host: &Host) -> bool {
    let ran = host.flbc(&["apply", "--dry-run", "-"], FILE);
    match (ran.code, &*ran.out) {
        (Some(0), "no difference\n") => false,
        (Some(1), out) if out.ends_with("(not applied)\n") => true,
        _ => panic!("{ran:?}"),
    }
}

#[test]
#[ignore = "needs two versions of nft: `make test-nft`"]
fn a_chain_that_was_loaded_as_it_was_listed_is_right() {
    for nft in both() {
        let host = Host::alone();
        host.apply(FILE);
        let mut wrong = Vec::new();
        let listing = nft.list(&host.namespace);
        for block in listing.split("table ").skip(1) {
            let (family, rest) = block.split_once(' ').unwrap();
            let chains = rest
                .lines()
                .filter_map(|line| line.strip_prefix("\tchain "));
            for chain in chains.map(|chain| chain.trim_end_matches(" {")) {
                let listed = list(&nft, &host.namespace, family, chain);
                rewrite(&nft, &host.namespace, (family, chain), &listed);
                if finds_a_difference(&host) {
                    wrong.push(format!("{family} {chain}"));
                    let ran = host.flbc(&["apply", "-"], FILE);
                    assert_eq!(ran.code, Some(0), "{family} {chain}: {ran:?}");
                }
            }
        }
        assert_eq!(wrong, [""; 0], "{}", nft.version);
    }
}

#[test]
#[ignore = "needs two versions of nft: `make test-nft`"]
fn what_somebody_changed_is_found_and_put_right() {
    for nft in both() {
        let host = Host::alone();
        host.apply(FILE);
        let whole = nft.state(&host.namespace);
        for (family, chain, from, to) in EDITS {
            let what = format!("{}: {family} {chain}, {to:?}", nft.version);
            let listed = list(&nft, &host.namespace, family, chain);
            assert!(listed.contains(from), "{what}: not in\n{listed}");
            let edited = listed.replace(from, to);
            rewrite(&nft, &host.namespace, (family, chain), &edited);
            assert!(finds_a_difference(&host), "{what}: not seen");
            host.forget();
            assert!(finds_a_difference(&host), "{what}: not seen, all forgotten");
            let Ran { code, out, .. } = host.flbc(&["apply", "-"], FILE);
            assert_eq!(code, Some(0), "{what}: {out}");
            assert_eq!(nft.state(&host.namespace), whole, "{what}");
            assert!(!finds_a_difference(&host), "{what}: still there");
        }
    }
}
