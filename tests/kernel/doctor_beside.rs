//! `flbc doctor` and `flbc explain --live` about what stands beside the file: what was set, other tables, rules of other
//! programs, interfaces on interfaces.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::doctor::{Balancer, Said};
use crate::lab::SILENCE;
use crate::lab::client::{self, Protocol};
use crate::lab::topology::Layout;
use crate::operator::at;

const NAT: &str = "service www {
    vip 192.0.2.10, 2001:db8::10 tcp, udp 80
    mode nat
    server a 10.20.0.11
    server b 10.20.0.12
    server a6 2001:db8:1::11
}
";

const DR: &str = "service www {
    vip 192.0.2.10 udp 80
    mode dr on eth0 via eth1
    scheduler hash by source-port
    server a 10.20.0.11
}
";

/// A balancer that has its VIPs, and nothing wrong.
fn balancer(layout: Layout, file: &'static str) -> Balancer {
    let balancer = Balancer::without_vips(layout, file);
    balancer.shell(
        "ip address add 192.0.2.10/32 dev lo
         ip address add 2001:db8::10/128 dev lo",
    );
    balancer.assert_well();
    balancer
}

impl Said {
    /// The code of each finding, and whether it is to be mended.
    fn all(&self) -> Vec<(&str, bool)> {
        let of = |one: &'_ Value| one["mend"] == true;
        let findings = self.findings.iter();
        findings
            .map(|one| (one["code"].as_str().unwrap(), of(one)))
            .collect()
    }

    fn sentences(&self) -> String {
        let all = self.findings.iter();
        let all: Vec<&str> = all.map(|one| one["sentence"].as_str().unwrap()).collect();
        all.join("\n")
    }
}

#[test]
fn what_was_set_holds_for_the_doctor_and_for_a_live_explanation() {
    let balancer = balancer(Layout::Nat, NAT);
    let host = &balancer.host;
    let file = host.write("lb.flb", NAT);
    host.apply(NAT);
    let question = ["--from", "198.51.100.1:1024", "--to", "192.0.2.10:80"];
    let explained = |more: &[&str]| {
        let arguments = [&["explain"], more, &question[..], &[&*file]].concat();
        host.flbc(&arguments, "").out
    };
    assert!(!explained(&["--live"]).contains("set "));
    let set = host.flbc(&["set", "www", "a", "down"], "");
    assert_eq!(set.code, Some(0), "{}", set.err);
    let live = explained(&["--live"]);
    let expected = "\nset       a: weight 1 down, beside the file, which says weight 1\n";
    assert!(live.contains(expected), "{live}");
    assert!(live.contains("2 of 2: b 10.20.0.12"), "{live}");
    // Without the kernel it is about the file.
    assert!(explained(&[]).contains("1 of 2: a 10.20.0.11"));
    let json: Value = serde_json::from_str(&explained(&["--live", "--format", "json"])).unwrap();
    assert_eq!(json["set"][0]["server"], "a");
    assert_eq!(json["set"][0]["now"]["state"], "down");
    assert_eq!(json["set"][0]["file"]["state"], "up");
    // Nobody asks for a server that was taken out, and nobody is told to put it back.
    balancer.shell("ip route add unreachable 10.20.0.11/32");
    let said = balancer.doctor();
    assert_eq!((said.code, said.all()), (0, vec![]));
    let changed = host.write("changed.flb", &NAT.replace("80\n", "81\n"));
    let ran = host.flbc(&["doctor", &changed], "");
    let keeps = format!("    run  flbc apply --keep {changed}\n");
    assert!(ran.out.contains(&keeps), "{}", ran.out);
    let set = host.flbc(&["set", "www", "a", "up"], "");
    assert_eq!(set.code, Some(0), "{}", set.err);
    let said = balancer.doctor();
    assert_eq!(said.to_mend(), BTreeSet::from(["no-route-to-server"]));
}

#[test]
fn a_vip_of_another_table_is_one_finding_among_others() {
    let balancer = balancer(Layout::Nat, NAT);
    balancer.shell("ip address add 192.0.2.53/32 dev lo");
    let other = ["apply", "--table", "other", "-"];
    let file = "service dns { vip 192.0.2.53 udp 53; server a 10.20.0.11 }";
    let ran = balancer.host.flbc(&other, file);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    balancer.assert_well();
    let changed = balancer
        .host
        .write("dns.flb", &file.replace("11 }", "12 }"));
    let ran = balancer
        .host
        .flbc(&["doctor", "--table", "other", &changed], "");
    let names = format!("    run  flbc apply --table other {changed}\n");
    assert!(ran.out.contains(&names), "{}", ran.out);
    balancer.shell("sysctl -w net.ipv4.ip_forward=0");
    let both = NAT
        .replace("vip 192.0.2.10,", "vip 192.0.2.10, 192.0.2.53,")
        .replace("tcp, udp 80", "tcp, udp 53, 80");
    let said = balancer.doctor_of(&both, &[]);
    let expected = BTreeSet::from(["forwarding-off", "vip-of-another-table"]);
    assert_eq!(
        (said.to_mend(), said.code),
        (expected, 1),
        "{:#?}",
        said.findings
    );
    assert!(
        said.remedies().contains(&"flbc status --table other"),
        "{:?}",
        said.remedies()
    );
    balancer.shell("sysctl -w net.ipv4.ip_forward=1");
    let known = balancer.doctor_of(&both, &["--except", "vip-of-another-table"]);
    assert_eq!(known.code, 0, "{:#?}", known.findings);
}

#[test]
fn rules_of_others_that_refuse_are_told_until_they_let_balanced_connections_pass() {
    let balancer = balancer(Layout::Nat, NAT);
    let loaded = |rules: &str| {
        balancer.topology.balancer.nft(rules);
        let said = balancer.doctor();
        let all: Vec<(String, bool)> = said
            .all()
            .iter()
            .map(|(code, mend)| ((*code).to_owned(), *mend))
            .collect();
        (all, said)
    };
    let found = |mend| vec![("foreign-drop".to_owned(), mend)];
    let hook = "type filter hook forward priority";
    let cases = [
        (format!("table inet fw {{ chain f {{ {hook} 0; ct state established accept; reject with icmpx admin-prohibited; }}; }}"), Some(true)),
        (format!("table ip fw {{ chain f {{ {hook} 10; ip daddr 10.20.0.0/16 drop; }}; }}"), Some(true)),
        (format!("table ip fw {{ set s {{ type ipv4_addr; flags interval; elements = {{ 10.20.0.10-10.20.0.12, 10.99.0.0/16 }}; }}; chain f {{ {hook} 10; ip daddr @s drop; }}; }}"), Some(true)),
        (format!("table ip fw {{ chain f {{ {hook} 10; ip daddr 10.20.0.0/16 tcp dport 22 drop; }}; }}"), Some(false)),
        (format!("table inet fw {{ chain f {{ {hook} 0; meta l4proto {{ icmp, esp }} drop; ip daddr 10.20.1.0/24 ip saddr 10.20.0.0/24 drop; }}; }}"), Some(false)),
        (format!("table inet fw {{ quota q {{ over 1 bytes; }}; chain f {{ {hook} 0; quota name q drop; }}; }}"), Some(false)),
        (format!("table inet fw {{ chain f {{ {hook} 0; ct state new tcp dport 80 reject; }}; }}"), Some(true)),
        (format!("table inet fw {{ chain f {{ {hook} 0; ct state established drop; }}; }}"), Some(true)),
        (format!("table inet fw {{ chain f {{ {hook} 0; ct state vmap {{ established : accept, related : accept, new : drop }}; }}; }}"), Some(true)),
        (format!("table inet fw {{ chain f {{ {hook} 0; tcp dport {{ 22, 80 }} drop; }}; }}"), Some(true)),
        // What is for others alone.
        (format!("table inet fw {{ chain f {{ {hook} 0; ct state invalid drop; ct state established,related accept; tcp dport {{ 22, 8080 }} ct state new drop; }}; }}"), None),
        (format!("table inet fw {{ chain f {{ {hook} 0; meta l4proto {{ icmp, esp }} drop; ip saddr 10.99.0.0/24 ip daddr 10.98.0.0/16 drop; }}; }}"), None),
        (format!("table ip fw {{ chain f {{ {hook} 0; ip protocol icmp drop; }}; }}"), None),
        (format!("table inet fw {{ chain f {{ {hook} 0; policy drop; ct status dnat accept; tcp dport 22 accept; }}; }}"), None),
        (format!("table ip6 fw {{ chain rest {{ counter drop; }}; chain f {{ {hook} -300; goto rest; }}; }}"), Some(true)),
        (format!("table inet fw {{ chain f {{ {hook} 0; tcp dport vmap {{ 22 : accept, 80 : drop }}; }}; }}"), Some(true)),
        (format!("table inet fw {{ chain f {{ {hook} 0; ct status dnat accept; drop; }}; }}"), None),
        (format!("table inet fw {{ chain f {{ {hook} 0; ct state established accept; counter; }}; }}"), None),
        (format!("table inet fw {{ flags dormant; chain f {{ {hook} 0; drop; }}; }}"), None),
        ("table ip fw { chain f { type filter hook input priority 0; tcp dport 22 accept; drop; }; }".to_owned(), None),
        // What nobody comes to.
        (format!("table inet fw {{ chain idle {{ drop; }}; chain f {{ {hook} 0; }}; }}"), None),
    ];
    for (rules, mend) in cases {
        let (all, said) = loaded(&rules);
        assert_eq!(
            all,
            mend.map_or_else(Vec::new, found),
            "{rules}: {:#?}",
            said.findings
        );
        for remedy in said.remedies() {
            balancer.shell(remedy);
        }
        if mend == Some(true) {
            balancer.assert_well();
        }
        let family = rules.split(' ').nth(1).unwrap();
        balancer.shell(&format!("nft delete table {family} fw"));
    }
}

#[test]
fn rules_of_others_that_take_packets_first_are_told() {
    let balancer = balancer(Layout::Nat, NAT);
    let cases = [
        (
            "ip",
            "chain c { type nat hook prerouting priority -160; tcp dport 80 dnat to 10.20.0.99; }",
            "foreign-first",
        ),
        (
            "inet",
            "chain c { type nat hook output priority -195; tcp dport 80 redirect to :81; }",
            "foreign-first",
        ),
        (
            "ip",
            "chain c { type filter hook prerouting priority raw; udp dport 80 notrack; }",
            "foreign-notrack",
        ),
        (
            "inet",
            "chain n { notrack; }; chain c { type filter hook prerouting priority -301; udp dport 80 jump n; }",
            "foreign-notrack",
        ),
    ];
    for (family, chains, code) in cases {
        balancer
            .topology
            .balancer
            .nft(&format!("table {family} other {{ {chains}; }}"));
        let said = balancer.doctor();
        assert_eq!(said.all(), [(code, true)], "{chains}: {:#?}", said.findings);
        for remedy in said.remedies() {
            balancer.shell(remedy);
        }
        if code == "foreign-notrack" {
            balancer.assert_well();
        }
        balancer.shell(&format!("nft delete table {family} other"));
    }
    for chains in [
        "chain c { type nat hook prerouting priority dstnat; tcp dport 80 dnat to 10.20.0.99; }",
        "chain c { type nat hook postrouting priority srcnat; masquerade; }",
        "chain c { type filter hook prerouting priority mangle; meta mark set 1; }",
    ] {
        balancer
            .topology
            .balancer
            .nft(&format!("table ip other {{ {chains}; }}"));
        balancer.assert_well();
        balancer.shell("nft delete table ip other");
    }
}

#[test]
fn rules_for_marks_that_flbc_sets_too_are_told() {
    let balancer = balancer(Layout::Nat, NAT);
    balancer.shell("ip rule add pref 90 fwmark 0x1/0xff lookup 100");
    let said = balancer.doctor();
    assert_eq!(said.all(), [("rule-matches-marks", true)]);
    let remedy = "flbc apply --keep --mark-shift 8 FILE";
    assert_eq!(said.remedies(), [remedy]);
    let shifted = ["apply", "--keep", "--mark-shift", "8", "-"];
    let ran = balancer.host.flbc(&shifted, NAT);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    balancer.assert_well();
    balancer.shell("ip rule del pref 90; ip rule add pref 91 not fwmark 0xca6c lookup 100; ip rule add pref 92 fwmark 0xca6c lookup 100");
    balancer.assert_well();
}

#[test]
fn what_stands_on_another_interface_is_told_with_the_one_to_write() {
    let balancer = balancer(Layout::DrTwoInterfaces, DR);
    // keepalived's use_vmac: the VIP on a macvlan of the interface that is named.
    balancer.shell(
        "ip address del 192.0.2.10/32 dev lo
         ip link add vrrp.51 link eth0 type macvlan mode private
         ip link set vrrp.51 up
         ip address add 192.0.2.10/32 dev vrrp.51",
    );
    let said = balancer.doctor();
    assert_eq!(
        said.all(),
        [("comes-by-another", true)],
        "{:#?}",
        said.findings
    );
    let words = "vrrp.51, a macvlan of eth0, and eth0 does not see them as its own: write `on vrrp.51` in place of `on eth0`";
    assert!(said.sentences().contains(words), "{}", said.sentences());
    let better = DR.replace("on eth0", "on vrrp.51");
    assert_eq!(balancer.doctor_of(&better, &[]).to_mend(), BTreeSet::new());
    let worse = DR.replace("on eth0 via eth1", "on vrrp.51 via vrrp.51");
    let said = balancer.doctor_of(&worse, &[]);
    assert!(
        said.sentences()
            .contains("the routes put it on eth1: write `via eth1`"),
        "{}",
        said.sentences()
    );
    for remedy in said.remedies() {
        balancer.shell(remedy);
    }
    // No route was turned to where the server is not.
    assert_eq!(balancer.doctor_of(&better, &[]).to_mend(), BTreeSet::new());
}

#[test]
fn a_server_of_direct_return_is_another_machine_that_has_room_for_the_packets() {
    let balancer = balancer(Layout::DrTwoInterfaces, DR);
    let cases = [
        (
            DR.replace("10.20.0.11", "10.20.0.1"),
            "server-is-this-machine",
        ),
        (
            DR.replace("10.20.0.11", "10.20.0.99 mac 02:00:00:00:01:01"),
            "server-is-this-machine",
        ),
        (DR.replace("via eth1", "via lo"), "loopback-interface"),
        (DR.replace("on eth0", "on lo"), "loopback-interface"),
    ];
    for (file, code) in &cases {
        let said = balancer.doctor_of(file, &[]);
        assert_eq!(
            said.to_mend(),
            BTreeSet::from([*code]),
            "{:#?}",
            said.findings
        );
        for remedy in said.remedies() {
            balancer.shell(remedy);
        }
    }
    balancer.shell("ip link set dev eth1 mtu 1400");
    let said = balancer.doctor();
    assert_eq!(said.all(), [("smaller-mtu", true)]);
    assert!(
        said.sentences()
            .contains("an MSS of 1360 at most (IPv6: 1340)"),
        "{}",
        said.sentences()
    );
    balancer.shell("ip link set dev eth1 mtu 1500; ip route add 192.0.2.77/32 via 10.20.0.11");
    balancer.assert_well();
    let said = balancer.doctor_of(
        &DR.replace("192.0.2.10", "192.0.2.77"),
        &["--except", "vip-circles"],
    );
    assert_eq!(
        said.to_mend(),
        BTreeSet::from(["server-routes-back"]),
        "{:#?}",
        said.findings
    );
}

#[test]
fn a_vip_in_a_network_of_the_balancers_that_the_loop_guard_covers_is_taken_for_routed() {
    let balancer = balancer(Layout::Nat, NAT);
    balancer.shell(
        "ip address del 192.0.2.10/32 dev lo
         ip address add 192.0.2.1/24 dev eth0",
    );
    assert_eq!(balancer.doctor().to_mend(), BTreeSet::from(["vip-nowhere"]));
    balancer.shell(
        "ip rule add pref 100 not iif lo lookup 4300
         ip route add blackhole 192.0.2.10/32 table 4300",
    );
    balancer.assert_well();
}

#[test]
fn what_is_told_to_write_of_a_macvlan_carries_packets() {
    let file = "service www { vip 192.0.2.10 udp 80; mode dr on eth0; server a 10.20.0.11 }";
    let balancer = balancer(Layout::DrOneInterface, file);
    let topology = &balancer.topology;
    let _serving = topology.serve(&[80]);
    let answers = || {
        let to = at("192.0.2.10:80");
        let from = Some(topology.source(to));
        client::ask(&topology.client, Protocol::Udp, from, to, SILENCE).is_ok()
    };
    assert!(answers());
    balancer.shell(
        "ip address del 192.0.2.10/32 dev lo
         ip link add vrrp.51 link eth0 address 00:00:5e:00:01:33 type macvlan mode private
         ip link set vrrp.51 up
         ip address add 192.0.2.10/32 dev vrrp.51",
    );
    topology.router.ip(
        "neigh replace 10.20.0.51 lladdr 00:00:5e:00:01:33 nud permanent dev lan
        route replace 192.0.2.10/32 via 10.20.0.51",
    );
    assert!(!answers());
    let said = balancer.doctor();
    let words = "write `on vrrp.51 via eth0`";
    assert!(said.sentences().contains(words), "{}", said.sentences());
    let better = file.replace("on eth0", "on vrrp.51 via eth0");
    balancer.host.apply(&better);
    assert_eq!(balancer.doctor_of(&better, &[]).to_mend(), BTreeSet::new());
    assert!(answers());
}

#[test]
fn commands_are_right_whatever_interfaces_are_called() {
    let balancer = balancer(Layout::Nat, NAT);
    let name = r"'e;h$'\''x&='";
    balancer.shell(&format!(
        "ip link add {name} type veth peer name peer0
         ip link set {name} up
         ip link set peer0 up
         ip address add 198.18.0.1/24 dev {name}
         ip neighbour add 198.18.0.2 lladdr 02:00:00:00:00:77 nud permanent dev {name}"
    ));
    let file = NAT.replace("vip 192.0.2.10,", "vip 192.0.2.10, 198.18.0.10,");
    let file = file.replace("10.20.0.12", "198.18.0.2");
    let settings = format!("/proc/sys/net/ipv4/conf/{name}");
    let cases = [
        ("true".to_owned(), "vip-nowhere"),
        (format!("echo 0 > {settings}/forwarding"), "forwarding-off"),
        (
            format!("ip link set {name} up; echo 1 > {settings}/rp_filter"),
            "strict-rp-filter",
        ),
    ];
    for (fault, code) in cases {
        balancer.shell(&fault);
        let said = balancer.doctor_of(&file, &[]);
        assert_eq!(
            said.to_mend(),
            BTreeSet::from([code]),
            "{:#?}",
            said.findings
        );
        for remedy in said.remedies() {
            balancer.shell(remedy);
        }
        assert_eq!(
            balancer.doctor_of(&file, &[]).to_mend(),
            BTreeSet::new(),
            "{code}"
        );
    }
}

#[test]
fn rules_of_others_that_write_into_balanced_packets_are_told() {
    let balancer = balancer(Layout::Nat, NAT);
    let _serving = balancer.topology.serve(&[80]);
    let answers = || {
        let topology = &balancer.topology;
        let to = at("192.0.2.10:80");
        let from = Some(topology.source(to));
        client::ask(&topology.client, Protocol::Udp, from, to, SILENCE).is_ok()
    };
    let early = "type filter hook prerouting priority -300";
    let late = "type filter hook forward priority 0";
    let cases = [
        (
            early,
            "ip daddr 192.0.2.10 ip daddr set 10.20.0.99",
            "foreign-rewrite",
            true,
            false,
        ),
        (
            early,
            "udp dport 80 udp dport set 81",
            "foreign-rewrite",
            true,
            false,
        ),
        (
            late,
            "ip daddr 10.20.0.11 ip daddr set 10.20.0.99",
            "foreign-rewrite",
            true,
            false,
        ),
        (
            early,
            "iifname eth7 ip daddr set 10.20.0.99",
            "foreign-rewrite",
            false,
            true,
        ),
        (
            early,
            "ip daddr 192.0.2.10 drop",
            "foreign-drop",
            true,
            false,
        ),
        (early, "udp dport 80 drop", "foreign-drop", true, false),
        (late, "ct mark set 7", "foreign-mark", true, true),
        (
            late,
            "ip daddr 10.20.0.11 ct mark set ct mark or 0x1",
            "foreign-mark",
            true,
            true,
        ),
        (
            late,
            "meta mark 1 ct mark set meta mark",
            "foreign-mark",
            false,
            true,
        ),
    ];
    assert!(answers());
    for (hook, rule, code, mend, passes) in cases {
        let table = format!("table inet other {{ chain c {{ {hook}; {rule}; }}; }}");
        balancer.topology.balancer.nft(&table);
        // Half of the flows go to the other server.
        if !rule.contains("10.20.0.11") {
            assert_eq!(answers(), passes, "{rule}");
        }
        let said = balancer.doctor();
        assert_eq!(said.all(), [(code, mend)], "{rule}: {:#?}", said.findings);
        balancer.shell("nft delete table inet other");
    }
    for rule in [
        "ip ttl set 9",
        "ip dscp set 8",
        "ip daddr 203.0.113.1 ip saddr 203.0.113.2 udp dport set 81",
        "tcp dport 443 drop",
        "ct mark set ct mark",
    ] {
        let table =
            format!("table ip other {{ chain c {{ {early}; tcp dport 22 accept; {rule}; }}; }}");
        balancer.topology.balancer.nft(&table);
        let said = balancer.doctor();
        // Answers may go anywhere.
        assert_eq!(said.code, 0, "{rule}: {:#?}", said.findings);
        balancer.shell("nft delete table ip other");
    }
}

#[test]
fn rules_on_the_wire_concern_nat_as_well() {
    let balancer = balancer(Layout::Nat, NAT);
    for device in ["eth0", "eth1"] {
        balancer.shell(&format!(
            "nft 'table netdev fw {{ chain c {{ type filter hook ingress device {device} priority -10; policy drop; meta l4proto ipv6-icmp accept; ether type arp accept; }}; }}'"
        ));
        let said = balancer.doctor();
        assert_eq!(said.all(), [("foreign-drop", true)], "{:#?}", said.findings);
        for remedy in said.remedies() {
            balancer.shell(remedy);
        }
        balancer.assert_well();
        balancer.shell("nft delete table netdev fw");
    }
}

#[test]
fn status_is_quiet_once_a_policy_lets_balanced_connections_pass() {
    let balancer = balancer(Layout::Nat, NAT);
    balancer.shell(
        "nft 'table inet fw { chain f { type filter hook forward priority 0; policy drop; }; }'",
    );
    let status = || balancer.host.flbc(&["status"], "");
    let told = status();
    assert!(
        told.out.contains("has policy drop in forward"),
        "{}",
        told.out
    );
    for remedy in balancer.doctor().remedies() {
        balancer.shell(remedy);
    }
    balancer.assert_well();
    let told = status();
    assert!(!told.out.contains("warning"), "{}", told.out);
    assert_eq!(told.code, Some(0));
}

#[test]
fn rules_that_choose_routes_may_refuse_packets() {
    let balancer = balancer(Layout::Nat, NAT);
    let cases = [
        ("ip rule add pref 90 to 10.20.0.0/24 prohibit", true),
        ("ip rule add pref 90 from 10.20.0.11 blackhole", true),
        ("ip rule add pref 90 iif eth0 unreachable", false),
        ("ip -6 rule add pref 90 to 2001:db8:1::/64 prohibit", true),
        ("ip rule add pref 90 from 198.51.100.9 prohibit", false),
    ];
    for (rule, mend) in cases {
        balancer.shell(rule);
        let said = balancer.doctor();
        assert_eq!(
            said.all(),
            [("rule-refuses", mend)],
            "{rule}: {:#?}",
            said.findings
        );
        for remedy in said.remedies() {
            balancer.shell(remedy);
        }
        let family = if rule.contains("-6") { "-6 " } else { "" };
        balancer.shell(&format!("ip {family}rule del pref 90"));
    }
    balancer.assert_well();
}

#[test]
fn an_interface_that_does_not_speak_of_mac_addresses_is_told() {
    let balancer = balancer(Layout::Nat, NAT);
    balancer.shell("ip link set dev eth1 arp off");
    // The second look finds what the first has asked the kernel for.
    for _ in 0..2 {
        let said = balancer.doctor();
        assert!(said.to_mend().contains("arp-off"), "{:#?}", said.findings);
    }
    balancer.shell("ip link set dev eth1 arp on");
    balancer.shell("ip address add 192.0.2.1/24 dev eth0");
    balancer.assert_well();
    for value in [1, 8] {
        balancer.shell(&format!("sysctl -w net.ipv4.conf.all.arp_ignore={value}"));
        let said = balancer.doctor();
        assert_eq!(said.to_mend(), BTreeSet::from(["vip-unanswered"]));
        for remedy in said.remedies() {
            balancer.shell(remedy);
        }
        balancer.assert_well();
    }
}

#[test]
fn a_trial_that_is_open_is_told() {
    let balancer = balancer(Layout::Nat, NAT);
    let tried = NAT.replace("10.20.0.12", "10.20.0.11 weight 2");
    let ran = balancer
        .host
        .flbc(&["try", "--timeout", "60s", "-"], &tried);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let said = balancer.doctor_of(&tried, &[]);
    assert_eq!(said.all(), [("on-trial", false)], "{:#?}", said.findings);
    let words = "`flbc confirm` or `flbc try --back` ends it";
    assert!(said.sentences().contains(words), "{}", said.sentences());
    let ran = balancer.host.flbc(&["try", "--back"], "");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    balancer.assert_well();
}

#[test]
fn servers_behind_an_interface_that_is_down_are_not_behind_a_router() {
    const FILE: &str = "service www { vip 192.0.2.10 tcp 80; server a 10.20.0.11 }";
    let balancer = balancer(Layout::Nat, FILE);
    balancer.shell("ip link set dev eth1 down");
    // A route for all leads elsewhere then.
    let said = balancer.doctor();
    assert_eq!(
        said.all(),
        [("interface-down", true)],
        "{:#?}",
        said.findings
    );
    for remedy in said.remedies() {
        balancer.shell(remedy);
    }
    balancer.assert_well();
}
