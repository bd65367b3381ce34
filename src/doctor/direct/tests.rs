//! Interfaces on interfaces, as no one machine has them all.

use super::*;
use crate::diagnostic::Diagnostics;
use crate::doctor::machine::tests::{host, link};
use crate::doctor::paths;
use crate::kernel::host::{Address, Nft, Settings};
use crate::lower::layout::Layout;
use crate::source::Sources;
use crate::syntax::Input;

fn model(file: &str) -> Model {
    let mut sink = Diagnostics::new();
    let input = Input::Stdin(file.as_bytes().to_vec());
    crate::read(input, &mut Sources::new(), &mut sink).expect("no faults")
}

/// What is found where nobody answers for a MAC address that is asked for.
fn found(file: &str, host: &Host) -> Vec<Finding> {
    let model = model(file);
    let unresolved = paths::contacts(&model, host);
    let facts = Facts {
        host,
        unresolved: Some(&unresolved),
        foreign: None,
        layout: Layout::default(),
    };
    let mut findings = Vec::new();
    paths::examine(&model, &facts, &mut findings);
    examine(&model, host, &mut findings);
    findings.retain(|one| one.code != FindingCode::NeighbourUnresolved);
    findings
}

fn codes(findings: &[Finding]) -> Vec<FindingCode> {
    findings.iter().map(|one| one.code).collect()
}

/// `eth0` and `eth1` in `bond0`, that in `br0`, and `br0.7` on it; `mac0` and `eth2.5` on `eth2`; servers on what is given.
fn stacked(servers_on: u32) -> Host {
    let mut host = host(Settings::default(), Nft::Unknown);
    host.links.clear();
    let all = [
        ("eth0", 2, "", None, Some(4)),
        ("eth1", 3, "", None, Some(4)),
        ("bond0", 4, "bond", None, Some(5)),
        ("br0", 5, "bridge", None, None),
        ("br0.7", 6, "vlan", Some(5), None),
        ("eth2", 7, "", None, None),
        ("mac0", 8, "macvlan", Some(7), None),
        ("eth2.5", 9, "vlan", Some(7), None),
        ("odd 'name", 10, "", None, None),
    ];
    for (name, index, kind, stands_on, port_of) in all {
        let mut link = link(name, index);
        (link.kind, link.stands_on, link.port_of) = (kind.to_owned(), stands_on, port_of);
        host.links.push(link);
    }
    for way in host.ways.values_mut() {
        *way = Way::Out {
            interface: servers_on,
            gateway: None,
        };
    }
    host
}

fn service(mode: &str) -> String {
    format!("service www {{ vip 192.0.2.10 udp 80; mode dr {mode}; server web1 10.0.0.1 }}")
}

#[test]
fn the_interface_to_write_is_the_one_that_has_the_neighbours() {
    use FindingCode::{NotOnLink, PortOfAnother};
    let cases = [
        ("on eth0", 5, PortOfAnother, "write br0 in its place"),
        ("on bond0", 5, PortOfAnother, "write br0 in its place"),
        ("on eth1", 6, PortOfAnother, "write br0.7 in its place"),
        (
            "on br0",
            6,
            NotOnLink,
            "br0.7, a vlan of br0: write br0.7 in place of br0",
        ),
        (
            "on eth2",
            9,
            NotOnLink,
            "eth2.5, a vlan of eth2: write eth2.5 in place of eth2",
        ),
        (
            "on mac0",
            7,
            NotOnLink,
            "eth2, of which mac0 is a macvlan: write `via eth2`",
        ),
        (
            "on eth2 via mac0",
            7,
            NotOnLink,
            "write eth2 in place of mac0",
        ),
        (
            "on eth2",
            5,
            NotOnLink,
            "the routes put it on br0: write `via br0`",
        ),
        (
            "on eth2 via br0",
            7,
            NotOnLink,
            "write eth2 in place of br0",
        ),
    ];
    for (mode, servers_on, code, words) in cases {
        let findings = found(&service(mode), &stacked(servers_on));
        let is_it = |one: &&Finding| one.code == code && one.sentence.contains(words);
        assert!(
            findings.iter().any(|one| is_it(&one)),
            "{mode}: {findings:#?}"
        );
        let harm = |one: &Finding| one.remedy.iter().any(|line| line.contains("replace"));
        assert!(!findings.iter().any(harm), "{mode}: {findings:#?}");
    }
    for (mode, servers_on) in [("on br0", 5), ("on br0.7", 6), ("on mac0 via eth2", 7)] {
        let findings = found(&service(mode), &stacked(servers_on));
        assert_eq!(findings, [], "{mode}");
    }
}

#[test]
fn frames_come_by_the_interface_that_the_vip_is_on() {
    let address = |interface, address: [u8; 4], prefix| Address {
        address: address.into(),
        prefix,
        interface,
        duplicate: false,
    };
    let cases = [
        ("on eth2", 9, Some("write eth2.5 in place of eth2")),
        ("on eth2", 8, Some("write `on mac0 via eth2`")),
        ("on eth2", 7, None),
        ("on mac0 via eth2", 8, None),
        ("on eth2, mac0 via eth2", 8, None),
        ("on br0", 9, None),
    ];
    for (mode, vip_on, words) in cases {
        for prefix in [32, 24] {
            let mut host = stacked(7);
            let own = if prefix == 32 {
                [192, 0, 2, 10]
            } else {
                [192, 0, 2, 1]
            };
            host.addresses.push(address(vip_on, own, prefix));
            let findings = found(&service(mode), &host);
            let mut by = findings.iter();
            let by = by.find(|one| one.code == FindingCode::ComesByAnother);
            let said = by.map(|one| &*one.sentence);
            assert_eq!(said.is_some(), words.is_some(), "{mode} {said:?}");
            assert!(
                said.is_none_or(|said| said.ends_with(words.unwrap_or_default())),
                "{said:?}"
            );
        }
    }
}

#[test]
fn a_part_of_a_bond_or_bridge_sees_some_of_the_frames() {
    let told = |mode: &str, change: &dyn Fn(&mut Host)| {
        let mut host = stacked(7);
        change(&mut host);
        let findings = found(&service(mode), &host);
        let mut sentences = findings.into_iter().map(|one| one.sentence);
        sentences.find(|sentence| sentence.contains("is a port of br0"))
    };
    let same_mac = |host: &mut Host| host.links[3].mac = host.links[2].mac;
    // By eth1 come others, and those are not seen.
    assert!(told("on eth0 via eth2", &|_| {}).is_some());
    assert!(told("on eth0 via eth2", &|host| host.links[1].port_of = None).is_none());
    // What is for br0 is for a stranger on bond0, unless both have one MAC address.
    assert!(told("on bond0 via eth2", &|_| {}).is_some());
    assert!(told("on bond0 via eth2", &same_mac).is_none());
    assert!(told("on bond0, br0 via eth2", &|_| {}).is_none());
    // It is told once, and a MAC address of the server's would not help.
    let findings = found(&service("on eth0"), &stacked(5));
    assert_eq!(codes(&findings), [FindingCode::PortOfAnother]);
    assert!(findings[0].sentence.ends_with("write br0 in its place"));
    let mut host = stacked(5);
    host.links[1].port_of = None;
    let findings = found(&service("on eth0"), &host);
    assert!(
        findings[0]
            .sentence
            .ends_with("or give the servers by `mac`")
    );
}

#[test]
fn a_server_is_another_machine() {
    let mut host = stacked(7);
    assert_eq!(found(&service("on eth2"), &host), []);
    host.ways.insert([10, 0, 0, 1].into(), Way::Local);
    let findings = found(&service("on eth2"), &host);
    assert_eq!(codes(&findings), [FindingCode::ServerIsHere]);
    // In nat this machine can be a server.
    let nat = "service www { vip 192.0.2.10 udp 80; mode nat; server web1 10.0.0.1 }";
    let nat = codes(&found(nat, &host));
    assert!(!nat.contains(&FindingCode::ServerIsHere), "{nat:?}");
    let by_mac = service("on eth2").replace("10.0.0.1 ", "10.0.0.1 mac 02:00:00:00:00:05 ");
    let findings = found(&by_mac, &stacked(7));
    assert_eq!(codes(&findings), [FindingCode::ServerIsHere]);
    assert!(findings[0].sentence.contains("that of br0 here"));
    let another = by_mac.replace(":05", ":99");
    assert_eq!(found(&another, &stacked(7)), []);
}

#[test]
fn a_server_that_is_the_router_sends_packets_back() {
    let routed = |to: [u8; 4]| {
        let mut host = stacked(7);
        let way = Way::Out {
            interface: 7,
            gateway: Some([10, 0, 0, 1].into()),
        };
        host.ways.insert(to.into(), way);
        found(&service("on eth2"), &host)
    };
    let vip = routed([192, 0, 2, 10]);
    assert_eq!(codes(&vip), [FindingCode::ServerRoutesBack]);
    assert!(vip[0].mend);
    let clients = routed([198, 41, 0, 4]);
    assert_eq!(codes(&clients), [FindingCode::ServerRoutesBack]);
    assert!(!clients[0].mend);
    assert_eq!(routed([203, 0, 113, 9]), []);
}

#[test]
fn what_leads_to_this_machine_alone_is_told() {
    let mut host = stacked(7);
    let mut lo = link("lo", 1);
    (lo.has_neighbours, lo.mac, lo.mtu) = (false, None, 65_536);
    host.links.push(lo);
    for mode in ["on eth2 via lo", "on lo via eth2"] {
        let findings = found(&service(mode), &host);
        assert_eq!(codes(&findings), [FindingCode::LoopbackInterface], "{mode}");
    }
}

#[test]
fn packets_that_are_too_long_to_be_sent_on_are_told() {
    let file = service("on eth2 via br0");
    for (on, out, is_told) in [(1500, 1480, true), (1500, 1500, false), (1500, 9000, false)] {
        let mut host = stacked(5);
        host.links[5].mtu = on;
        host.links[3].mtu = out;
        let findings = found(&file, &host);
        let expected: &[FindingCode] = if is_told {
            &[FindingCode::SmallerMtu]
        } else {
            &[]
        };
        assert_eq!(codes(&findings), expected, "{on} {out}");
        if let [only] = &*findings {
            assert!(
                only.sentence
                    .contains("an MSS of 1440 at most (IPv6: 1420)")
            );
        }
    }
}

#[test]
fn packets_leave_by_the_interface_that_they_came_in_by_where_none_is_named() {
    let mut host = stacked(7);
    host.links[3].mtu = 9000;
    let findings = found(&service("on eth2, br0"), &host);
    assert!(
        !codes(&findings).contains(&FindingCode::SmallerMtu),
        "{findings:#?}"
    );
}

#[test]
fn what_a_port_is_called_is_one_word_of_the_shell() {
    let mut host = stacked(10);
    host.links[5].port_of = Some(10);
    host.links[8].kind = "bridge".to_owned();
    let findings = found(&service("on eth2"), &host);
    assert!(
        findings[0]
            .sentence
            .contains("write odd 'name in its place")
    );
    host.links[5].name = "eth 2;ls".to_owned();
    let (port, bridge) = (&host.links[5], &host.links[8]);
    let port = port_of_another(port, bridge, bridge, true);
    assert_eq!(port.remedy, ["ip -details link show dev 'eth 2;ls'"]);
}
