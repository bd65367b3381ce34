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

/// Some text in a chain, and what somebody writes there instead.
const EDITS: [(&str, &str); 33] = [
    // Where a value comes from, and the order in which values make a key.
    (
        "ct mark set jhash ip saddr . th",
        "ct mark set jhash ip daddr . th",
    ),
    ("saddr . th sport mod 13", "saddr . th dport mod 13"),
    (
        "ct mark set jhash ip saddr . th sport",
        "ct mark set jhash th sport . ip saddr",
    ),
    (
        "update @track { jhash ip saddr . th sport . meta l4proto",
        "update @track { jhash th sport . ip saddr . meta l4proto",
    ),
    (
        "jhash ip saddr . th dport mod",
        "jhash ip saddr . th sport mod",
    ),
    ("@th,224,16", "@th,240,16"),
    ("@th,256,128", "@th,128,128"),
    ("dnat ip to ct mark map", "dnat ip to meta mark map"),
    ("th dport vmap @local4\n", "th sport vmap @local4\n"),
    (
        "0x666c6231 . jhash ip6 saddr & ffff:ffff:ffff:ffff:: mod 4294967295 seed 0x666c6232",
        "0x666c6232 . jhash ip6 saddr & ffff:ffff:ffff:ffff:: mod 4294967295 seed 0x666c6231",
    ),
    ("@nh,64,32 & 0xfe000000", "@nh,128,32 & 0xfe000000"),
    // Constants.
    ("seed 0x666c6263", "seed 0x666c6264"),
    ("numgen inc", "numgen random"),
    ("saddr & 255.255.255.0", "saddr & 255.255.254.0"),
    ("timeout 30m", "timeout 31m"),
    ("ct state invalid,new", "ct state new"),
    ("direction original", "direction reply"),
    ("ct mark >= 0x8", "ct mark > 0x8"),
    ("icmp type time-exceeded", "icmp type echo-request"),
    ("pkttype != host", "pkttype != broadcast"),
    ("iiftype ether", "iiftype loopback"),
    ("0x88000000", "0x89000000"),
    ("& 0xfe000000", "& 0xfc000000"),
    // Which set, and what is done with it.
    ("@svc4_range_tcp", "@local4_range_tcp"),
    ("update @persist4", "add @persist4"),
    ("delete @persist4", "update @persist4"),
    // Where it goes on.
    ("goto slotted\n", "jump slotted\n"),
    ("ct status dnat accept", "ct status dnat return"),
    ("@real4 masquerade", "@real4 masquerade random"),
    ("ct state invalid,new", "ct state invalid,new counter"),
    // Rules one more, one less, and in another order.
    ("drop\n", "drop\n\t\tdrop\n"),
    ("jump known4\n", ""),
    (
        "meta mark vmap @tracker\n\t\tmeta mark vmap @how",
        "meta mark vmap @how\n\t\tmeta mark vmap @tracker",
    ),
];

/// Every chain: the family of its table, its name, and how the nft lists it.
fn chains(nft: &Nft, machine: &Namespace) -> Vec<(String, String, String)> {
    let listing = nft.list(machine);
    let mut chains = Vec::new();
    for block in listing.split("table ").skip(1) {
        let (family, rest) = block.split_once(' ').unwrap();
        let named = rest
            .lines()
            .filter_map(|line| line.strip_prefix("\tchain "));
        for chain in named.map(|chain| chain.trim_end_matches(" {")) {
            let arguments = ["list", "chain", family, "flbc", chain];
            let listed = nft.run(machine, &arguments, "").stdout;
            chains.push((family.to_owned(), chain.to_owned(), listed));
        }
    }
    chains
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
        for (family, chain, listed) in chains(&nft, &host.namespace) {
            rewrite(&nft, &host.namespace, (&family, &chain), &listed);
            if finds_a_difference(&host) {
                wrong.push(format!("{family} {chain}"));
                let ran = host.flbc(&["apply", "-"], FILE);
                assert_eq!(ran.code, Some(0), "{family} {chain}: {ran:?}");
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
        let chains = chains(&nft, &host.namespace);
        for (from, to) in EDITS {
            let found = chains.iter().find(|(_, _, listed)| listed.contains(from));
            let (family, chain, listed) = found.unwrap_or_else(|| panic!("no chain has {from:?}"));
            let what = format!("{}: {family} {chain}, {to:?}", nft.version);
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
