//! VIPs that are only routed to the balancer, and bridges on it: what `flbc doctor` finds there, and mends.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::apply_host::Host;
use crate::doctor::Balancer;
use crate::lab::client::{self, Protocol};
use crate::lab::namespace::Namespace;
use crate::lab::packet::Wire;
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Topology};
use crate::lab::{PATIENCE, SILENCE};
use crate::operator::{asked, at};

const NAT: &str = "service www {
    vip 192.0.2.10, 2001:db8::10 tcp, udp 80
    mode nat
    server a 10.20.0.11
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

/// No service has this port.
const NOBODY: [&str; 2] = ["192.0.2.10:9", "[2001:db8::10]:9"];

/// How many packets go to the balancer of one datagram and one SYN to a VIP that no service takes.
fn packets(topology: &Topology, to: SocketAddr) -> [usize; 2] {
    let wire = Wire::tap(&topology.router, "transit");
    topology.client.run(|| {
        let any: SocketAddr = if to.is_ipv4() {
            at("0.0.0.0:0")
        } else {
            at("[::]:0")
        };
        let socket = UdpSocket::bind(any).unwrap();
        socket.send_to(b"x", to).unwrap();
        // The kernel sends another SYN after a second.
        let _ = TcpStream::connect_timeout(&to, Duration::from_millis(500));
    });
    let frames = wire.taken();
    [17, 6].map(|protocol| {
        let to_balancer = frames.iter().filter(|frame| {
            frame.outgoing && frame.protocol == protocol && frame.destination == to
        });
        to_balancer.count()
    })
}

#[test]
fn what_no_service_takes_circles_until_the_commands_that_are_told_are_run() {
    for (layout, file) in [(Layout::Nat, NAT), (Layout::DrTwoInterfaces, DR)] {
        let balancer = Balancer::without_vips(layout, file);
        let topology = &balancer.topology;
        topology.balancer.forward();
        let _serving = topology.serve(&[80]);
        for to in NOBODY.map(at) {
            let circling = packets(topology, to);
            assert!(
                circling.iter().all(|count| *count > 20),
                "{to}: {circling:?}"
            );
        }
        let said = balancer.doctor();
        assert_eq!(said.to_mend(), BTreeSet::from(["vip-circles"]));
        let expected = [
            "ip rule add pref 100 not iif lo lookup 4243",
            "ip route replace blackhole 192.0.2.10/32 table 4243",
            "ip -6 rule add pref 100 not iif lo lookup 4243",
            "ip -6 route replace blackhole 2001:db8::10/128 table 4243",
        ];
        assert_eq!(said.remedies(), expected);
        for command in said.remedies() {
            balancer.shell(command);
        }
        balancer.assert_well();
        for to in NOBODY.map(at) {
            assert_eq!(packets(topology, to), [1, 1], "{layout:?} {to}");
        }
        for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                assert_eq!(
                    asked(&topology.client, protocol, None, to).server,
                    "a",
                    "{layout:?}"
                );
                if layout == Layout::Nat {
                    // The balancer's own connections do not see that table.
                    let own = asked(&topology.balancer, protocol, None, to);
                    assert_eq!(own.server, "a", "{to}");
                }
            }
        }
        // Another VIP needs its route, and no other rule.
        let more = file.replace("vip 192.0.2.10,", "vip 192.0.2.10, 192.0.2.53,");
        let said = balancer.doctor_of(&more, &[]);
        let expected = ["ip route replace blackhole 192.0.2.53/32 table 4243"];
        assert_eq!(said.remedies(), expected);
        balancer.shell(expected[0]);
        assert_eq!(balancer.doctor_of(&more, &[]).to_mend(), BTreeSet::new());
    }
}

#[test]
fn a_blackhole_that_the_balancer_itself_falls_into_is_told() {
    let balancer = Balancer::without_vips(Layout::Nat, NAT);
    let topology = &balancer.topology;
    let _serving = topology.serve(&[80]);
    balancer
        .shell("ip route add blackhole 192.0.2.0/24; ip -6 route add blackhole 2001:db8::10/128");
    for to in NOBODY.map(at) {
        assert_eq!(packets(topology, to), [1, 1], "{to}");
    }
    let said = balancer.doctor();
    let codes: Vec<&str> = said
        .findings
        .iter()
        .map(|one| one["code"].as_str().unwrap())
        .collect();
    assert_eq!((said.code, codes), (0, vec!["vip-refused"; 2]));
    for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
        assert_eq!(asked(&topology.client, Protocol::Tcp, None, to).server, "a");
        let own = client::ask(&topology.balancer, Protocol::Tcp, None, at(to), SILENCE);
        assert!(own.is_err(), "{to}: {own:?}");
    }
    // In direct return the balancer's own connections are not balanced.
    let direct = Balancer::without_vips(Layout::DrTwoInterfaces, DR);
    direct.shell("ip route add blackhole 192.0.2.0/24; ip -6 route add blackhole 2001:db8::10/128");
    direct.assert_well();
}

#[test]
fn a_vip_that_only_a_router_can_send_here_is_told() {
    let balancer = Balancer::without_vips(Layout::DrTwoInterfaces, DR);
    // What is not sent on does not circle.
    let said = balancer.doctor();
    let codes: Vec<&str> = said
        .findings
        .iter()
        .map(|one| one["code"].as_str().unwrap())
        .collect();
    assert_eq!((said.code, codes), (0, vec!["vip-nowhere"; 2]));
    for to in NOBODY.map(at) {
        assert_eq!(packets(&balancer.topology, to), [1, 1], "{to}");
    }
    // In the network of an interface somebody has to answer for it.
    let near = DR
        .replace("192.0.2.10", "203.0.113.77")
        .replace("2001:db8::10", "2001:db8:f::77");
    let said = balancer.doctor_of(&near, &[]);
    assert_eq!(said.to_mend(), BTreeSet::from(["vip-nowhere"]));
    let expected = [
        "ip address add 203.0.113.77/32 dev eth0",
        "ip address add 2001:db8:f::77/128 dev eth0",
    ];
    assert_eq!(said.remedies(), expected);
    for command in said.remedies() {
        balancer.shell(command);
    }
    assert_eq!(balancer.doctor_of(&near, &[]).to_mend(), BTreeSet::new());
}

#[test]
fn an_interface_that_is_a_port_of_a_bridge_is_told_with_the_bridge_to_write() {
    let balancer = Balancer::without_vips(
        Layout::DrOneInterface,
        "service www {
    vip 192.0.2.10 udp 80
    mode dr on eth0
    server a 10.20.0.11
    server b 10.20.0.12
}
",
    );
    balancer.shell(
        "ip link add br0 type bridge
         ip link set br0 address 02:00:00:00:01:00 up
         ip address flush dev eth0
         ip link set eth0 master br0
         ip address add 10.20.0.1/24 dev br0
         ip address add 192.0.2.10/32 dev lo
         ip route add default via 10.20.0.254",
    );
    let said = balancer.doctor();
    assert_eq!(said.to_mend(), BTreeSet::from(["port-of-another"]));
    let sentence = said.findings[0]["sentence"].as_str().unwrap();
    assert_eq!(
        sentence,
        "eth0 is a port of br0, which has the neighbours: write br0 in its place, or give the servers by `mac`"
    );
    assert_eq!(said.findings.len(), 1, "{:#?}", said.findings);
    let _serving = balancer.topology.serve(&[80]);
    for file in [
        "service www { vip 192.0.2.10 udp 80; mode dr on br0; server a 10.20.0.11 }",
        "service www { vip 192.0.2.10 udp 80; mode dr on eth0; server a 10.20.0.11 mac 02:00:00:00:00:11 }",
    ] {
        let start = Instant::now();
        while !balancer.doctor_of(file, &[]).to_mend().is_empty() && start.elapsed() < PATIENCE {}
        assert_eq!(
            balancer.doctor_of(file, &[]).to_mend(),
            BTreeSet::new(),
            "{file}"
        );
        balancer.host.flbc(&["apply", "-"], file);
        let answer = asked(
            &balancer.topology.client,
            Protocol::Udp,
            None,
            "192.0.2.10:80",
        );
        assert_eq!(answer.server, "a", "{file}");
    }
}

#[test]
fn a_server_on_a_bridge_that_is_its_own_client_waits_until_its_port_sends_back() {
    let balancer = Namespace::new("balancer");
    if !Path::new("/proc/sys/net/bridge").exists() {
        // Elsewhere it comes when somebody asks for it.
        let loaded = balancer.command("modprobe", &["br_netfilter"], "");
        assert!(loaded.success, "br_netfilter is needed: {}", loaded.stderr);
    }
    balancer.forward();
    balancer.ip("link add br0 type bridge
        link set br0 up
        addr add 10.20.0.1/24 dev br0
        addr add 2001:db8:1::1/64 dev br0 nodad
        addr add 192.0.2.10/32 dev lo
        addr add 2001:db8::10/128 dev lo
        route add default via 10.20.0.99
        route add default via 2001:db8:1::99");
    let servers = ["a", "b"].map(Namespace::new);
    let mut serving = Vec::new();
    for (number, server) in (11..).zip(&servers) {
        let name = &server.name;
        balancer.ip(&format!(
            "link add to-{name} type veth peer name eth0 netns {}
            link set to-{name} master br0 up",
            server.path()
        ));
        server.ip(&format!(
            "addr add 10.20.0.{number}/24 dev eth0
            addr add 2001:db8:1::{number}/64 dev eth0 nodad
            link set eth0 up
            route add default via 10.20.0.1
            route add default via 2001:db8:1::1"
        ));
        let own = [
            format!("10.20.0.{number}:80"),
            format!("[2001:db8:1::{number}]:80"),
        ];
        serving.push(RealServer::start(server, name, &own.map(|own| at(&own))));
    }
    let file = "service www {
        vip 192.0.2.10, 2001:db8::10 tcp 80
        server a 10.20.0.11
        server b 10.20.0.12
        server a6 2001:db8:1::11
        server b6 2001:db8:1::12
    }";
    let host = Host::new(&balancer);
    host.apply(file);
    let slow = |to: &str| {
        let asked = || {
            let start = Instant::now();
            client::ask(&servers[0], Protocol::Tcp, None, at(to), PATIENCE).unwrap();
            start.elapsed() > Duration::from_millis(900)
        };
        (0..4).filter(|_| asked()).count()
    };
    let note = || {
        let ran = host.flbc(&["doctor", "-", "--except", "neighbour-unresolved"], file);
        assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
        ran.out
    };
    for (to, setting) in [
        ("192.0.2.10:80", "bridge-nf-call-iptables"),
        ("[2001:db8::10]:80", "bridge-nf-call-ip6tables"),
    ] {
        let setting = format!("net/bridge/{setting}");
        balancer.sysctl(&setting, "0");
        assert_eq!(slow(to), 0, "{to}");
        balancer.sysctl(&setting, "1");
        assert!(slow(to) > 1, "{to}");
        let said = note();
        assert!(
            said.contains("note[bridge-without-hairpin]") && said.contains("br0"),
            "{said}"
        );
        let commands: Vec<&str> = said
            .lines()
            .filter_map(|line| line.strip_prefix("    run  "))
            .collect();
        let expected = ["a", "b"].map(|name| format!("bridge link set dev to-{name} hairpin on"));
        assert_eq!(commands, expected);
        for command in commands {
            let done = balancer.command("sh", &["-ec", command], "");
            assert!(done.success, "{command}: {}", done.stderr);
        }
        assert_eq!(slow(to), 0, "{to}: with hairpin");
        assert!(note().starts_with("all well\n"));
        balancer.ip("link set to-a type bridge_slave hairpin off
            link set to-b type bridge_slave hairpin off");
        balancer.sysctl(&setting, "0");
    }
}
