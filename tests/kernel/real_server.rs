//! `flbc real-server`: a machine that was set up by its output alone takes part, and nobody learns that it has the VIP.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::apply_host::{Host, Ran};
use crate::lab::client::Protocol;
use crate::lab::namespace::Namespace;
use crate::lab::real_server::RealServer;
use crate::lab::topology::{Layout, Machine, Topology};
use crate::lab::{SILENCE, packet};
use crate::operator::{asked, at, flbc, load};

const DNS: &str = "
service dns {
    vip 192.0.2.53 tcp, udp 53
    vip 2001:db8::53 tcp, udp 53
    mode dr on eth0
    server a 10.20.0.11
    server a6 2001:db8:1::11
}
";

const WWW: &str = "
service www {
    vip 192.0.2.10 tcp, udp 80
    vip 2001:db8::10 tcp, udp 80
    server a 10.20.0.11
    server a6 2001:db8:1::11
}
";

/// What flbc writes for the machine `a`.
fn output(format: &str, gateways: &[&str], file: &str) -> String {
    let mut arguments = vec![
        "real-server",
        "--server",
        "a",
        "--server",
        "a6",
        "--format",
        format,
    ];
    for gateway in gateways {
        arguments.extend(["--gateway", gateway]);
    }
    arguments.push("-");
    let ran = flbc(&arguments, file);
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success() && said.is_empty(), "{said}");
    String::from_utf8(ran.stdout).unwrap()
}

/// A script on a machine that has a `/run` of its own.
fn run(host: &Host, script: &str, arguments: &[&str]) -> Ran {
    host.write("setup", script);
    let all = [&["sh", "/run/setup"], arguments].concat();
    host.command(&all)
}

#[track_caller]
fn run_well(host: &Host, script: &str, arguments: &[&str]) {
    let ran = run(host, script, arguments);
    assert!(
        ran.code == Some(0) && ran.err.is_empty() && ran.out.is_empty(),
        "{ran:?}\n{script}"
    );
}

/// The machine as it was before anybody made a real server of it.
fn bare(server: &Machine) {
    server.namespace.sysctl("net/ipv4/conf/all/arp_ignore", "0");
    server
        .namespace
        .sysctl("net/ipv4/conf/all/arp_announce", "0");
    for vip in [
        "192.0.2.10/32",
        "192.0.2.53/32",
        "2001:db8::10/128",
        "2001:db8::53/128",
    ] {
        server.namespace.ip(&format!("addr delete {vip} dev lo"));
    }
}

/// All that the scripts could have changed.
fn state(namespace: &Namespace) -> String {
    let mut all = String::new();
    for what in [
        "-o -4 address show",
        "-o -6 address show",
        "-4 rule",
        "-6 rule",
        "-4 route show table all",
        "-6 route show table all",
    ] {
        let words: Vec<&str> = what.split(' ').collect();
        let listed = namespace.command("ip", &words, "").stdout;
        all.push_str(&without_times(&listed));
    }
    all.push_str(&namespace.nft_list(&["ruleset"]));
    all
}

/// Lifetimes that run down say nothing, nor does what the kernel is about to do by itself: to make an interface's own address
/// of IPv6, and to look for another machine with an address.
fn without_times(listed: &str) -> String {
    let words = listed.lines().filter(|line| {
        !["multicast", "cache", "fe80:"]
            .iter()
            .any(|word| line.contains(word))
    });
    words
        .collect::<Vec<_>>()
        .join("\n")
        .replace(" tentative", "")
}

/// Whether somebody on the LAN, asking for the VIP, is told a MAC address by the machine.
fn is_told(topology: &Topology, server: &Machine, vip: &str) -> bool {
    let router = &topology.router;
    let wire = packet::Wire::tap(&server.namespace, "eth0");
    let family = if vip.contains(':') { "-6" } else { "-4" };
    router.command("ip", &[family, "neigh", "flush", "dev", "lan"], "");
    router.command(
        "ip",
        &["neigh", "replace", vip, "dev", "lan", "nud", "none"],
        "",
    );
    router.ip(&format!("route replace {vip} dev lan"));
    // Anything that is to be sent there asks.
    let probe = router.run(|| {
        let any = if vip.contains(':') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let socket = std::net::UdpSocket::bind(any).unwrap();
        socket.send_to(b"?", (vip, 9)).is_ok()
    });
    assert!(probe, "the question could not be sent");
    let end = Instant::now() + SILENCE;
    let mut asked = false;
    while Instant::now() < end {
        for frame in wire.taken_raw() {
            asked |= !frame.outgoing && is_question(&frame.bytes);
            if frame.outgoing && is_answer(&frame.bytes, vip) {
                return true;
            }
        }
        sleep(Duration::from_millis(5));
    }
    assert!(asked, "no question came to the machine");
    false
}

/// An ARP request or a neighbour solicitation.
fn is_question(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x06]) => frame.get(20..22) == Some(&[0, 1]),
        Some([0x86, 0xdd]) => frame.get(20) == Some(&58) && frame.get(54) == Some(&135),
        _ => false,
    }
}

/// An ARP packet or a neighbour message of the machine that gives the VIP as its own.
fn is_answer(frame: &[u8], vip: &str) -> bool {
    match (frame.get(12..14), vip.parse().unwrap()) {
        (Some([0x08, 0x06]), std::net::IpAddr::V4(vip)) => frame.get(28..32) == Some(&vip.octets()),
        (Some([0x86, 0xdd]), std::net::IpAddr::V6(vip)) => {
            let neighbour = frame.get(20) == Some(&58) && matches!(frame.get(54), Some(135 | 136));
            let source = frame.get(22..38) == Some(&vip.octets());
            let target = frame.get(54) == Some(&136) && frame.get(62..78) == Some(&vip.octets());
            neighbour && (source || target)
        }
        _ => false,
    }
}

#[track_caller]
fn answers(topology: &Topology, to: &str) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let client = topology.source(at(to));
        let answer = asked(&topology.client, protocol, Some(client), to);
        assert_eq!(
            (&*answer.server, answer.client),
            ("a", client),
            "{to} {protocol:?}"
        );
    }
}

fn serve(server: &Machine, addresses: &[&str]) -> RealServer {
    let listens: Vec<_> = addresses.iter().map(|address| at(address)).collect();
    RealServer::start(&server.namespace, "a", &listens)
}

/// The LAN of direct return with one machine that nobody has prepared.
fn unprepared() -> Topology {
    let topology = Topology::new(Layout::DrOneInterface, 1);
    bare(&topology.servers[0]);
    topology
}

#[test]
fn a_machine_set_up_by_the_script_takes_direct_return_and_nobody_learns_of_the_vip() {
    let topology = unprepared();
    let server = &topology.servers[0];
    let host = Host::new(&server.namespace);
    load(&topology.balancer, DNS);
    let script = output("sh", &[], DNS);
    // What the script has to prevent, for IPv4: an address on lo is told to whoever asks.
    server.namespace.ip("addr add 192.0.2.53/32 dev lo");
    assert!(is_told(&topology, server, "192.0.2.53"));
    server.namespace.ip("addr delete 192.0.2.53/32 dev lo");
    topology.router.ip("route delete 192.0.2.53");
    let before = state(&server.namespace);

    run_well(&host, &script, &[]);
    let after = state(&server.namespace);
    assert_ne!(before, after);
    {
        let _serving = serve(server, &["192.0.2.53:53", "[2001:db8::53]:53"]);
        // Answers begin with the question for the router's MAC address, which must not give the VIP away.
        let wire = packet::Wire::tap(&server.namespace, "eth0");
        server
            .namespace
            .command("ip", &["neigh", "flush", "all"], "");
        for to in ["192.0.2.53:53", "[2001:db8::53]:53"] {
            answers(&topology, to);
        }
        let told = wire.taken_raw().into_iter().any(|frame| {
            frame.outgoing
                && (is_answer(&frame.bytes, "192.0.2.53")
                    || is_answer(&frame.bytes, "2001:db8::53"))
        });
        assert!(!told, "a question of the machine names the VIP");
    }
    for vip in ["192.0.2.53", "2001:db8::53"] {
        assert!(!is_told(&topology, server, vip), "{vip}");
    }

    run_well(&host, &script, &[]);
    assert_eq!(state(&server.namespace), after, "the second run");
    run_well(&host, &script, &["undo"]);
    assert_eq!(state(&server.namespace), before, "undone");
    run_well(&host, &script, &["undo"]);
    assert_eq!(state(&server.namespace), before, "undone again");
}

#[test]
fn undo_leaves_an_address_that_was_there_before() {
    let topology = unprepared();
    let server = &topology.servers[0];
    let host = Host::new(&server.namespace);
    server.namespace.ip("addr add 192.0.2.53/32 dev lo");
    let before = state(&server.namespace);
    let script = output("sh", &[], DNS);
    run_well(&host, &script, &[]);
    run_well(&host, &script, &["undo"]);
    assert_eq!(state(&server.namespace), before);
}

#[test]
fn rules_alone_take_direct_return_without_holding_the_vip() {
    let topology = unprepared();
    let server = &topology.servers[0];
    load(&topology.balancer, DNS);
    let rules = output("nft", &[], DNS);
    for _ in 0..2 {
        server.namespace.nft(&rules);
    }
    let _serving = serve(server, &["10.20.0.11:53", "[2001:db8:1::11]:53"]);
    for to in ["192.0.2.53:53", "[2001:db8::53]:53"] {
        answers(&topology, to);
    }
    for vip in ["192.0.2.53", "2001:db8::53"] {
        assert!(!is_told(&topology, server, vip), "{vip}");
    }
    let undo = rules
        .lines()
        .find_map(|line| line.strip_prefix("# Take it back with: nft "));
    let words: Vec<&str> = undo.expect("it tells how").split(' ').collect();
    assert!(server.namespace.command("nft", &words, "").success);
    assert_eq!(server.namespace.nft_list(&["ruleset"]), "");
}

#[test]
fn a_machine_without_a_gateway_of_its_own_answers_nat_through_the_balancer() {
    let topology = Topology::new(Layout::Nat, 1);
    let server = &topology.servers[0];
    let host = Host::new(&server.namespace);
    load(&topology.balancer, WWW);
    // Its own gateway leads nowhere.
    server.namespace.ip("route replace default via 10.20.0.200
        route replace default via 2001:db8:1::200");
    let _serving = serve(server, &["10.20.0.11:80", "[2001:db8:1::11]:80"]);
    let before = state(&server.namespace);
    let script = output("sh", &["10.20.0.1", "2001:db8:1::1"], WWW);
    run_well(&host, &script, &[]);
    let after = state(&server.namespace);
    for to in ["192.0.2.10:80", "[2001:db8::10]:80"] {
        answers(&topology, to);
    }
    run_well(&host, &script, &[]);
    assert_eq!(state(&server.namespace), after, "the second run");
    run_well(&host, &script, &["undo"]);
    assert_eq!(state(&server.namespace), before, "undone");
}

#[test]
fn a_machine_in_nat_and_direct_return_answers_each_by_its_own_way() {
    // The balancer holds the VIPs, and so believes no packet that comes from one: what is direct must not pass it.
    let topology = unprepared();
    let server = &topology.servers[0];
    let host = Host::new(&server.namespace);
    topology.balancer.forward();
    topology.balancer.ip("addr add 192.0.2.53/32 dev eth0
        addr add 2001:db8::53/128 dev eth0 nodad");
    let both = [WWW, DNS].concat();
    load(&topology.balancer, &both);
    let before = state(&server.namespace);
    let script = output("sh", &["10.20.0.1", "2001:db8:1::1"], &both);
    run_well(&host, &script, &[]);
    let after = state(&server.namespace);
    let _serving = serve(
        server,
        &[
            "192.0.2.53:53",
            "[2001:db8::53]:53",
            "10.20.0.11:80",
            "[2001:db8:1::11]:80",
        ],
    );
    for to in [
        "192.0.2.53:53",
        "[2001:db8::53]:53",
        "192.0.2.10:80",
        "[2001:db8::10]:80",
    ] {
        answers(&topology, to);
    }
    run_well(&host, &script, &[]);
    assert_eq!(state(&server.namespace), after, "the second run");
    run_well(&host, &script, &["undo"]);
    assert_eq!(state(&server.namespace), before, "undone");
}

#[test]
fn a_script_does_nothing_on_a_machine_that_is_not_the_server() {
    let host = Host::alone();
    let before = state(&host.namespace);
    for format in ["sh", "networkd"] {
        let ran = run(&host, &output(format, &[], DNS), &[]);
        assert_eq!(
            (ran.code, &*ran.err),
            (
                Some(1),
                "this machine does not have the address 10.20.0.11: it is not a, a6\n"
            )
        );
        assert_eq!(state(&host.namespace), before);
    }
}

#[test]
fn a_strict_reverse_path_filter_is_told() {
    let topology = unprepared();
    let server = &topology.servers[0];
    let host = Host::new(&server.namespace);
    server.namespace.sysctl("net/ipv4/conf/eth0/rp_filter", "1");
    let ran = run(&host, &output("sh", &[], DNS), &[]);
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.err
            .ends_with("sysctl -w net.ipv4.conf.eth0.rp_filter=2\n"),
        "{}",
        ran.err
    );
}
