//! `flbc doctor`: every fault that it names is made, found, and mended by the command that it gives.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::apply_host::Host;
use crate::lab::client::{self, Protocol};
use crate::lab::topology::{Layout, Topology};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::at;

const VIP: &str = "192.0.2.10:80";
const VIP6: &str = "[2001:db8::10]:80";

const NAT: &str = "service www {
    vip 192.0.2.10, 2001:db8::10 tcp, udp 80
    mode nat
    server a 10.20.0.11
    server b 10.20.0.12
    server a6 2001:db8:1::11
}
";

const DR: &str = "service www {
    vip 192.0.2.10, 2001:db8::10 tcp, udp 80
    mode dr on eth0 via eth1
    scheduler hash by source-port
    server a 10.20.0.11
    server a6 2001:db8:1::11
}
";

/// What follows what is found: what was not looked at, and what servers need.
fn after(file: &str) -> String {
    let servers = [
        ("a", "10.20.0.1"),
        ("b", "10.20.0.1"),
        ("a6", "2001:db8:1::1"),
    ];
    let commands = servers.map(|(name, gateway)| {
        format!("    flbc real-server --server {name} --gateway {gateway} {file}\n")
    });
    format!(
        "not looked at: programs of tc and XDP, switches, and the servers themselves\nwhat to run on each server as root is written by:\n{}",
        commands.concat()
    )
}

/// A balancer that has its VIPs, and nothing wrong.
pub(crate) struct Balancer {
    pub(crate) topology: Topology,
    pub(crate) host: Host,
    file: &'static str,
}

/// What the doctor said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) findings: Vec<Value>,
}

impl Said {
    /// The codes of what is to be mended.
    pub(crate) fn to_mend(&self) -> BTreeSet<&str> {
        let found = self.findings.iter().filter(|one| one["mend"] == true);
        found.map(|one| one["code"].as_str().unwrap()).collect()
    }

    pub(crate) fn remedies(&self) -> Vec<&str> {
        let all = self.findings.iter().filter(|one| one["mend"] == true);
        all.flat_map(|one| one["remedy"].as_array().unwrap())
            .map(|command| command.as_str().unwrap())
            .collect()
    }
}

impl Balancer {
    fn new(layout: Layout, file: &'static str) -> Self {
        let balancer = Self::without_vips(layout, file);
        balancer.topology.balancer.ip("addr add 192.0.2.10/32 dev lo
            addr add 2001:db8::10/128 dev lo");
        balancer
    }

    /// The same, but that its VIPs are routed here and nothing else.
    pub(crate) fn without_vips(layout: Layout, file: &'static str) -> Self {
        let topology = Topology::new(layout, 2);
        let host = Host::new(&topology.balancer);
        host.apply(file);
        Self {
            topology,
            host,
            file,
        }
    }

    pub(crate) fn doctor_of(&self, file: &str, more: &[&str]) -> Said {
        let arguments = [&["doctor", "--format", "json"], more, &["-"]].concat();
        let ran = self.host.flbc(&arguments, file);
        assert_eq!(ran.err, "");
        let said: Value = serde_json::from_str(&ran.out).unwrap();
        let code = ran.code.unwrap();
        assert_eq!(said["well"], code == 0, "{said}");
        assert_eq!(said["complete"], true);
        Said {
            code,
            findings: said["findings"].as_array().unwrap().clone(),
        }
    }

    pub(crate) fn doctor(&self) -> Said {
        self.doctor_of(self.file, &[])
    }

    /// Runs a line as root's shell on the balancer would.
    #[track_caller]
    pub(crate) fn shell(&self, line: &str) {
        let done = self.topology.balancer.command("sh", &["-ec", line], "");
        assert!(done.success, "{line}: {}", done.stderr);
    }

    #[track_caller]
    pub(crate) fn assert_well(&self) {
        let said = self.doctor();
        assert_eq!((said.code, &*said.findings), (0, &[][..]));
    }

    /// Makes a fault, which must be found as this and nothing else, and mended by what the doctor says to run.
    #[track_caller]
    fn mended(&self, fault: &str, code: &str, gateway: &str) {
        self.assert_well();
        self.shell(fault);
        let said = self.doctor();
        assert_eq!(
            said.to_mend(),
            BTreeSet::from([code]),
            "{fault}: {:#?}",
            said.findings
        );
        assert_eq!(said.code, 1);
        for remedy in said.remedies() {
            self.shell(&remedy.replace("GATEWAY", gateway));
        }
        self.assert_well();
    }

    fn answers(&self, to: &str) -> bool {
        let to = at(to);
        let from = self.topology.source(to);
        client::ask(
            &self.topology.client,
            Protocol::Tcp,
            Some(from),
            to,
            SILENCE,
        )
        .is_ok()
    }
}

#[test]
fn what_stops_nat_is_found_and_mended_by_the_command_that_is_told() {
    let balancer = Balancer::new(Layout::Nat, NAT);
    let cases = [
        ("sysctl -w net.ipv4.ip_forward=0", "forwarding-off"),
        (
            "sysctl -w net.ipv4.conf.eth1.forwarding=0",
            "forwarding-off",
        ),
        ("sysctl -w net.ipv6.conf.all.forwarding=0", "forwarding-off"),
        ("ip route del default", "no-route-to-clients"),
        (
            "ip route add unreachable 10.20.0.11/32",
            "no-route-to-server",
        ),
    ];
    for (fault, code) in cases {
        let gateway = if code == "no-route-to-server" {
            // The server is on the link: it is its own router.
            "10.20.0.11 onlink dev eth1"
        } else {
            "203.0.113.1"
        };
        balancer.mended(fault, code, gateway);
        if code == "no-route-to-server" {
            balancer.shell("ip route del 10.20.0.11/32");
        }
    }
    balancer.shell("ip address del 192.0.2.10/32 dev lo");
    balancer.shell("ip address add 192.0.2.10/32 dev eth1");
    balancer.mended(
        "sysctl -w net.ipv4.conf.eth1.rp_filter=1",
        "strict-rp-filter",
        "",
    );
}

#[test]
fn of_a_server_behind_a_router_it_is_told_that_its_answers_have_to_come_back() {
    let balancer = Balancer::new(Layout::Nat, NAT);
    balancer.shell("ip route add 10.20.0.11/32 via 10.20.0.12");
    let said = balancer.doctor();
    assert_eq!((said.code, said.findings.len()), (0, 1));
    assert_eq!(said.findings[0]["code"], "behind-router");
    assert_eq!(said.findings[0]["declared"], "<stdin>:4");
    // With the balancer's own address for their source, the answers find it.
    let masquerade = NAT.replace("mode nat", "mode nat masquerade");
    let codes: Vec<Value> = balancer
        .doctor_of(&masquerade, &[])
        .findings
        .iter()
        .map(|finding| finding["code"].clone())
        .collect();
    assert_eq!(codes, ["not-applied"]);
}

#[test]
fn who_may_come_needs_a_way_back_and_nobody_else() {
    let balancer = Balancer::new(Layout::Nat, NAT);
    balancer.shell("ip route replace 198.51.100.0/24 via 203.0.113.1; ip route del default; ip -6 route del default");
    let both = balancer.doctor();
    assert_eq!(both.to_mend(), BTreeSet::from(["no-route-to-clients"]));
    assert_eq!(both.findings.len(), 2);
    let listed = |list: &str| NAT.replace("mode nat", &format!("mode nat\n    allow from {list}"));
    let known = balancer.doctor_of(&listed("198.51.100.0/24, 2001:db8:f::/64"), &[]);
    assert_eq!(known.to_mend(), BTreeSet::new());
    let unknown = balancer.doctor_of(&listed("198.51.100.0/24, 203.0.112.0/24"), &[]);
    assert_eq!(unknown.to_mend(), BTreeSet::from(["no-route-to-clients"]));
    let sentence = unknown.findings[0]["sentence"].as_str().unwrap();
    assert!(sentence.contains("203.0.112.0/24"), "{sentence}");
}

#[test]
fn a_server_that_is_off_is_found_though_its_mac_address_is_known() {
    for (layout, file) in [(Layout::Nat, NAT), (Layout::DrTwoInterfaces, DR)] {
        let balancer = Balancer::new(layout, file);
        balancer.assert_well();
        // Its MAC address is in the balancer's table now.
        let a = &balancer.topology.servers[0].namespace;
        a.ip("link set eth0 down");
        let said = balancer.doctor();
        assert_eq!(
            said.to_mend(),
            BTreeSet::from(["neighbour-unresolved"]),
            "{layout:?} {:#?}",
            said.findings
        );
        // In both families: a and a6 are one machine.
        assert_eq!(said.findings.len(), 2);
        assert_eq!(
            said.findings[0]["remedy"][0],
            "ping -c 3 -I eth1 10.20.0.11"
        );
        // Who is down in the file as well is not missed.
        let down = file
            .replace("10.20.0.11", "10.20.0.11 down")
            .replace("::11", "::11 down");
        let said = balancer.doctor_of(&down, &[]);
        assert_eq!(said.to_mend(), BTreeSet::new(), "{:#?}", said.findings);
        a.ip("link set eth0 up
            addr replace 2001:db8:1::11/64 dev eth0 nodad");
        // The switch notices a new carrier late.
        let start = Instant::now();
        while balancer.doctor().code != 0 && start.elapsed() < PATIENCE {}
        balancer.assert_well();
    }
}

#[test]
fn what_stops_direct_return_is_found() {
    let balancer = Balancer::new(Layout::DrTwoInterfaces, DR);
    // Direct return forwards nothing, and needs no way back.
    balancer.shell("sysctl -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
    balancer.assert_well();
    let cases = [
        (DR.replace("via eth1", "via eth7"), "no-such-interface"),
        (DR.replace(" via eth1", ""), "not-on-link"),
        (
            DR.replace("server a 10.20.0.11", "server a 10.99.0.11"),
            "not-on-link",
        ),
    ];
    for (file, code) in cases {
        let said = balancer.doctor_of(&file, &[]);
        assert_eq!(
            said.to_mend(),
            BTreeSet::from([code]),
            "{:#?}",
            said.findings
        );
    }
    // A MAC address that the file gives needs no neighbour.
    let given = DR.replace("10.20.0.11", "10.99.0.11 mac 02:00:00:00:00:11");
    assert_eq!(balancer.doctor_of(&given, &[]).to_mend(), BTreeSet::new());
    balancer.shell("sysctl -w net.ipv6.conf.eth0.keep_addr_on_down=1");
    balancer.mended("ip link set dev eth0 down", "interface-down", "");
}

#[test]
fn a_vip_that_another_machine_answers_for_is_found() {
    let balancer = Balancer::new(Layout::Nat, NAT);
    let a = &balancer.topology.servers[0].namespace;
    a.ip("addr add 2001:db8::10/128 dev eth0 nodad");
    balancer.shell(
        "ip address del 2001:db8::10/128 dev lo
         sysctl -w net.ipv6.conf.eth1.accept_dad=1
         ip address add 2001:db8::10/128 dev eth1",
    );
    let start = Instant::now();
    loop {
        let show = ["-6", "address", "show", "dev", "eth1", "dadfailed"];
        let shown = balancer.topology.balancer.command("ip", &show, "");
        if shown.stdout.contains("2001:db8::10") {
            break;
        }
        assert!(start.elapsed() < PATIENCE * 3, "the address is used by two");
        sleep(Duration::from_millis(50));
    }
    let said = balancer.doctor();
    assert_eq!(
        said.to_mend(),
        BTreeSet::from(["vip-duplicate"]),
        "{:#?}",
        said.findings
    );
    a.ip("addr del 2001:db8::10/128 dev eth0");
    for remedy in said.remedies() {
        balancer.shell(remedy);
    }
    balancer.assert_well();
}

#[test]
fn chains_of_others_that_drop_are_found_and_let_balanced_packets_pass_by_the_command() {
    let cases = [
        (
            Layout::Nat,
            NAT,
            "inet",
            "forward",
            "type filter hook forward priority filter",
        ),
        (
            Layout::Nat,
            NAT,
            "inet",
            "early",
            "type filter hook prerouting priority raw",
        ),
        (
            Layout::Nat,
            NAT,
            "inet",
            "late",
            "type filter hook prerouting priority mangle + 100",
        ),
        (
            Layout::DrTwoInterfaces,
            DR,
            "netdev",
            "wire",
            "type filter hook ingress device eth0 priority -10",
        ),
    ];
    for (layout, file, family, chain, hook) in cases {
        let balancer = Balancer::new(layout, file);
        let _serving = balancer.topology.serve(&[80]);
        assert!(balancer.answers(VIP) && balancer.answers(VIP6));
        // Neighbours have to find each other, and IPv6 does so by packets.
        balancer.shell(&format!(
            "nft 'table {family} firewall {{ chain {chain} {{ {hook}; policy drop; meta l4proto ipv6-icmp accept; ether type arp accept; }}; }}'"
        ));
        assert!(!balancer.answers(VIP) && !balancer.answers(VIP6), "{hook}");
        let said = balancer.doctor();
        assert!(
            said.to_mend().contains("foreign-drop"),
            "{hook}: {:#?}",
            said.findings
        );
        let drops = said
            .findings
            .iter()
            .find(|one| one["code"] == "foreign-drop");
        for remedy in drops.unwrap()["remedy"].as_array().unwrap() {
            balancer.shell(remedy.as_str().unwrap());
        }
        assert!(balancer.answers(VIP) && balancer.answers(VIP6), "{hook}");
        // A chain on the wire before flbc's own is told whatever its rules are.
        let known = balancer.doctor_of(file, &["--except", "foreign-first"]);
        assert_eq!((known.code, &*known.findings), (0, &[][..]));
    }
}

#[test]
fn chains_of_others_that_come_first_are_found() {
    let balancer = Balancer::new(Layout::Nat, NAT);
    balancer.shell("nft 'table ip other { chain grab { type nat hook prerouting priority -190; }; chain usual { type nat hook prerouting priority dstnat; }; }'");
    let said = balancer.doctor();
    assert_eq!(said.to_mend(), BTreeSet::from(["foreign-first"]));
    assert_eq!(
        said.findings.len(),
        1,
        "others' usual priority is after flbc's own"
    );
    assert_eq!(said.remedies(), ["nft list chain ip other grab"]);
    balancer.shell(said.remedies()[0]);
}

#[test]
fn an_interface_without_ipv6_is_no_reason_to_give_up() {
    let balancer = Balancer::new(Layout::DrTwoInterfaces, DR);
    balancer.shell("sysctl -w net.ipv6.conf.eth1.disable_ipv6=1");
    let said = balancer.doctor();
    assert_eq!(
        (said.code, said.to_mend()),
        (1, BTreeSet::from(["not-on-link"]))
    );
}

#[test]
fn before_apply_it_says_so_and_all_is_well() {
    let balancer = Balancer::new(Layout::Nat, NAT);
    let changed = NAT.replace("server b 10.20.0.12", "server b 10.20.0.12 weight 2");
    let file = balancer.host.write("my lb.flb", &changed);
    let before = balancer.host.state();
    let ran = balancer.host.flbc(&["doctor", &file], "");
    let expected = "note[not-applied]: the kernel has not what the file says; it would take it\n    run  flbc apply '/run/my lb.flb'\nnothing stops it from working once it is applied\n";
    let expected = expected.to_owned() + &after("'/run/my lb.flb'");
    assert_eq!((ran.code, ran.out, &*ran.err), (Some(0), expected, ""));
    assert_eq!(balancer.host.state(), before);
}

#[test]
fn people_read_what_where_and_what_to_run() {
    let balancer = Balancer::new(Layout::Nat, NAT);
    balancer.shell("sysctl -w net.ipv4.ip_forward=0");
    let file = balancer.host.write("lb.flb", NAT);
    let ran = balancer.host.flbc(&["doctor", &file], "");
    let expected = "error[forwarding-off]: IPv4 forwarding is off: nothing of `www` reaches a server\n    at   /run/lb.flb:1\n    run  sysctl -w net.ipv4.ip_forward=1\n1 thing to mend\n";
    let expected = expected.to_owned() + &after("/run/lb.flb");
    assert_eq!((ran.code, ran.out, &*ran.err), (Some(1), expected, ""));
}

#[test]
fn without_privilege_it_tells_what_it_can_see_and_what_it_lacks() {
    let balancer = Balancer::new(Layout::Nat, NAT);
    let ran = balancer.host.powerless(&["doctor", "-"], NAT);
    assert_eq!(ran.code, Some(4));
    let expected = "all well as far as could be seen\nnot looked at: whether servers and routers answer for their MAC addresses\nnot looked at: chains and rules of other programs\n";
    assert_eq!(ran.out, expected.to_owned() + &after("FILE"));
    assert!(ran.err.starts_with("error: this needs root"), "{}", ran.err);
    balancer.shell("sysctl -w net.ipv4.ip_forward=0");
    let ran = balancer.host.powerless(&["doctor", "-"], NAT);
    assert_eq!(ran.code, Some(4));
    assert!(ran.out.contains("forwarding-off"), "{}", ran.out);
}
