//! The machine's interfaces, tables and tools.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Facts, Finding, FindingCode, nat, paths};
use crate::diagnostic::{quote, word};
use crate::kernel::host::{Host, LinkState, Nft};
use crate::lower::layout::Layout;
use crate::model::{Family, Model, Protocol, Service};

/// The oldest `nft` that lists the rules: Debian 12's, the oldest that they were listed with.
const OLDEST_NFT: [u32; 3] = [1, 0, 6];

pub(super) fn examine(model: &Model, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let host = facts.host;
    interfaces(model, host, findings);
    neighbour_tables(model, host, findings);
    connections(model, host, findings);
    invalid(model, host, findings);
    marks(model, facts, findings);
    nft(host, findings);
}

/// Interfaces that direct return names.
fn interfaces(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let mut named: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in &model.services {
        let Some(mode) = service.mode.direct() else {
            continue;
        };
        let out = model.real_servers(service);
        let out = out.filter_map(|server| mode.interface_to(server));
        for interface in mode.on.iter().chain(out) {
            named.entry(interface).or_insert(service);
        }
    }
    for (name, service) in named {
        let finding = match host.link(name) {
            None => Finding::new(
                FindingCode::NoSuchInterface,
                format!(
                    "there is no interface {}, which {} names",
                    quote(name),
                    quote(&service.name)
                ),
                "ip -brief link show",
            ),
            Some(link) if link.state == LinkState::Down => Finding::new(
                FindingCode::InterfaceDown,
                format!(
                    "the interface {name} is down, which {} needs",
                    quote(&service.name)
                ),
                format!("ip link set dev {} up", word(name)),
            ),
            Some(link) if link.state == LinkState::Unconnected => Finding::new(
                FindingCode::InterfaceDown,
                format!(
                    "nothing is connected to the interface {name}, which {} needs",
                    quote(&service.name)
                ),
                format!("ip -statistics link show dev {}", word(name)),
            ),
            Some(_) => continue,
        };
        findings.push(finding.at(service.span));
    }
}

/// Room for the MAC addresses of all neighbours that packets go to.
fn neighbour_tables(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let contacts = paths::contacts(model, host);
    for family in Family::BOTH {
        let (room, name) = match family {
            Family::V4 => (host.settings.ipv4_neighbours_at_most, "ipv4"),
            Family::V6 => (host.settings.ipv6_neighbours_at_most, "ipv6"),
        };
        let of_family = |contact: &&(u32, IpAddr)| Family::of(contact.1) == family;
        let needed = contacts.iter().filter(of_family).count() as u64;
        if let Some(room) = room
            && needed > room
        {
            let wanted = needed.saturating_mul(2).next_power_of_two();
            findings.push(Finding::new(
                FindingCode::NeighbourTableSmall,
                format!(
                    "the file has {needed} {family} neighbours, and the kernel keeps the MAC addresses of {room} at most"
                ),
                format!("sysctl -w net.{name}.neigh.default.gc_thresh3={wanted}"),
            ));
        }
    }
}

/// Room for connections.
fn connections(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let settings = &host.settings;
    let (Some(now), Some(most)) = (settings.connections, settings.connections_at_most) else {
        return;
    };
    if nat(model).next().is_none() || most == 0 {
        return;
    }
    let more = format!(
        "sysctl -w net.netfilter.nf_conntrack_max={}",
        most.saturating_mul(2)
    );
    if now.saturating_mul(4) >= most.saturating_mul(3) {
        findings.push(Finding::new(
            FindingCode::ConnectionsNearlyFull,
            format!(
                "the kernel follows {now} connections of {most} at most; when there is no room, new ones are dropped"
            ),
            more,
        ));
    } else if settings.connections_dropped > 0 {
        findings.push(Finding::new(
            FindingCode::ConnectionsWereDropped,
            format!(
                "since this machine started, {} connections were dropped because the kernel follows {most} at most",
                settings.connections_dropped
            ),
            more,
        ));
    }
}

/// So many packets that fit no connection are nothing to speak of: networks lose and delay some, and strangers send
/// others.
const INVALID: u64 = 1000;

/// Packets that are dropped where they could be let through.
fn invalid(model: &Model, host: &Host, findings: &mut Vec<Finding>) {
    let settings = &host.settings;
    let mut vips = nat(model).flat_map(|service| &service.vips);
    if settings.invalid < INVALID
        || settings.tcp_be_liberal != Some(0)
        || !vips.any(|vip| vip.protocol == Protocol::Tcp)
    {
        return;
    }
    findings.push(Finding::new(
        FindingCode::InvalidPackets,
        format!(
            "since this machine started, {} packets fitted no connection; those of balanced TCP connections are dropped, and where connections stall it is better to let packets outside of their window through",
            settings.invalid
        ),
        "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1",
    ));
}

/// A rule that looks at more bits than so many meets one of flbc's marks by a rare accident only.
const BITS: u32 = 16;

/// Rules that choose routes by some bits of a mark. They see connection marks, which flbc gives in nat, where other rules
/// copy those to packets, as with several uplinks.
fn marks(model: &Model, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    let left = (1 << facts.layout.shift()) - 1;
    for rule in &facts.host.mark_rules {
        let (mark, bits) = (rule.mark, rule.mask);
        let of_family = |service: &Service| service.families().any(|its| its == rule.family);
        // Without a bit that is set it is for packets without a mark. One among those that flbc leaves 0 is never flbc's.
        let may_match = mark != 0 && mark & left == 0 && bits.count_ones() <= BITS;
        if !may_match || !nat(model).any(of_family) || !told.insert((rule.priority, mark, bits)) {
            continue;
        }
        let ip = match rule.family {
            Family::V4 => "ip",
            Family::V6 => "ip -6",
        };
        let high = u32::BITS - bits.leading_zeros();
        let (how, remedy) = if high <= Layout::MOST.into() {
            (
                "the marks of flbc can leave these bits 0",
                format!("flbc apply --keep --mark-shift {high} FILE"),
            )
        } else {
            (
                "only the low 8 bits can be left to others",
                format!("{ip} rule show pref {}", rule.priority),
            )
        };
        findings.push(Finding::new(
            FindingCode::RuleMatchesMarks,
            format!(
                "`ip rule` {} chooses a route by the mark {mark:#x}/{bits:#x}, which connections may have that flbc balances: {how}",
                rule.priority
            ),
            remedy,
        ));
    }
}

fn nft(host: &Host, findings: &mut Vec<Finding>) {
    let dotted = |version: [u32; 3]| version.map(|number| number.to_string()).join(".");
    match host.nft {
        Nft::Missing => findings.push(Finding::new(
            FindingCode::NftMissing,
            "there is no nft on this machine: flbc needs none to apply, but nobody can list the rules"
                .to_owned(),
            "apt-get install nftables",
        )),
        Nft::Version(version) if version < OLDEST_NFT => findings.push(Finding::new(
            FindingCode::NftOld,
            format!(
                "nft {} is older than {}, the oldest that lists flbc's rules",
                dotted(version),
                dotted(OLDEST_NFT)
            ),
            "apt-get install nftables",
        )),
        Nft::Unknown | Nft::Version(_) => {}
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::kernel::host::{Link, MarkRule, Settings, Way};
    use crate::model::MacAddress;
    use crate::source::Sources;
    use crate::syntax::Input;

    const NAT: &str =
        "service www { vip 192.0.2.10 tcp 80; mode nat; server web[1-3] 10.0.0.[1-3] }";
    const DR: &str =
        "service www { vip 192.0.2.10 tcp 80; mode dr on eth0; server web[1-3] 10.0.0.[1-3] }";

    /// An Ethernet card.
    pub(in crate::doctor) fn link(name: &str, index: u32) -> Link {
        let [.., last] = index.to_be_bytes();
        Link {
            name: name.to_owned(),
            index,
            state: LinkState::Up,
            has_neighbours: true,
            kind: String::new(),
            mac: Some(MacAddress([2, 0, 0, 0, 0, last])),
            mtu: 1500,
            stands_on: None,
            port_of: None,
            hairpin: None,
            forwards_ipv4: true,
            arp: true,
            arp_ignore: 0,
            rp_filter: 0,
        }
    }

    /// A machine with one interface and routes to the servers.
    pub(in crate::doctor) fn host(settings: Settings, nft: Nft) -> Host {
        let on_link = Way::Out {
            interface: 2,
            gateway: None,
        };
        let servers: [IpAddr; 3] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]].map(IpAddr::from);
        Host {
            links: vec![link("eth0", 2)],
            addresses: Vec::new(),
            ways: servers
                .into_iter()
                .map(|server| (server, on_link))
                .collect(),
            circling: BTreeSet::new(),
            guarded: BTreeSet::new(),
            apart: BTreeSet::new(),
            mark_rules: Vec::new(),
            refusing_rules: Vec::new(),
            legacy_tables: Vec::new(),
            settings,
            nft,
            iptables: true,
        }
    }

    fn found(file: &str, settings: Settings, nft: Nft) -> Vec<(FindingCode, String)> {
        found_on(file, &host(settings, nft), Layout::default())
    }

    fn found_on(file: &str, host: &Host, layout: Layout) -> Vec<(FindingCode, String)> {
        let mut sink = Diagnostics::new();
        let input = Input::Stdin(file.as_bytes().to_vec());
        let model = crate::read(input, &mut Sources::new(), &mut sink).unwrap_or_default();
        assert_eq!(model.services.len(), 1);
        let mut findings = Vec::new();
        let facts = Facts {
            host,
            unresolved: None,
            foreign: None,
            layout,
        };
        examine(&model, &facts, &mut findings);
        let told = findings.into_iter().map(|finding| {
            let remedy = finding.remedy.join("; ");
            (finding.code, remedy)
        });
        told.collect()
    }

    fn followed(connections: u64, at_most: u64, dropped: u64) -> Settings {
        Settings {
            connections: Some(connections),
            connections_at_most: Some(at_most),
            connections_dropped: dropped,
            ..Settings::default()
        }
    }

    #[test]
    fn connections_need_room_in_nat() {
        let good = Nft::Version(OLDEST_NFT);
        let more = "sysctl -w net.netfilter.nf_conntrack_max=2000".to_owned();
        assert_eq!(found(NAT, followed(749, 1000, 0), good), []);
        assert_eq!(
            found(NAT, followed(750, 1000, 9), good),
            [(FindingCode::ConnectionsNearlyFull, more.clone())]
        );
        assert_eq!(
            found(NAT, followed(10, 1000, 9), good),
            [(FindingCode::ConnectionsWereDropped, more)]
        );
        assert_eq!(found(NAT, Settings::default(), good), []);
        assert_eq!(found(DR, followed(1000, 1000, 9), good), []);
    }

    #[test]
    fn many_packets_that_fit_no_connection_are_told() {
        let settings = |invalid, liberal| Settings {
            invalid,
            tcp_be_liberal: liberal,
            ..Settings::default()
        };
        let liberal = "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1".to_owned();
        assert_eq!(
            found(NAT, settings(1000, Some(0)), Nft::Unknown),
            [(FindingCode::InvalidPackets, liberal)]
        );
        assert_eq!(found(NAT, settings(999, Some(0)), Nft::Unknown), []);
        assert_eq!(found(NAT, settings(1000, Some(1)), Nft::Unknown), []);
        assert_eq!(found(NAT, settings(1000, None), Nft::Unknown), []);
        assert_eq!(found(DR, settings(1000, Some(0)), Nft::Unknown), []);
        let udp = NAT.replace("tcp 80", "udp 80");
        assert_eq!(found(&udp, settings(1000, Some(0)), Nft::Unknown), []);
    }

    #[test]
    fn neighbours_need_room() {
        let room = |at_most| Settings {
            ipv4_neighbours_at_most: Some(at_most),
            ..Settings::default()
        };
        let wanted = "sysctl -w net.ipv4.neigh.default.gc_thresh3=8".to_owned();
        for file in [NAT, DR] {
            assert_eq!(found(file, room(3), Nft::Unknown), []);
            assert_eq!(
                found(file, room(2), Nft::Unknown),
                [(FindingCode::NeighbourTableSmall, wanted.clone())]
            );
        }
    }

    #[test]
    fn rules_that_look_at_some_bits_of_a_mark_may_meet_those_of_flbc() {
        let low = "flbc apply --keep --mark-shift 8 FILE";
        let cases = [
            (NAT, Family::V4, 0x1, 0xff, Some(low)),
            (
                NAT,
                Family::V4,
                0x1,
                0x7,
                Some("flbc apply --keep --mark-shift 3 FILE"),
            ),
            (
                NAT,
                Family::V4,
                0x8_0000,
                0xff_0000,
                Some("ip rule show pref 99"),
            ),
            (NAT, Family::V6, 0x1, 0xff, None),
            (NAT, Family::V4, 0xca6c, u32::MAX, None),
            (NAT, Family::V4, 0, 0xff, None),
            (DR, Family::V4, 0x1, 0xff, None),
        ];
        for (file, family, mark, bits, remedy) in cases {
            let mut host = host(Settings::default(), Nft::Unknown);
            host.mark_rules.push(MarkRule {
                family,
                priority: 99,
                mark,
                mask: bits,
            });
            let found = found_on(file, &host, Layout::default());
            // What the command does ends it.
            let low = Layout::new(8).filter(|_| bits <= 0xff);
            if let Some(layout) = low {
                assert_eq!(found_on(file, &host, layout), []);
            }
            let expected: Vec<_> = remedy
                .map(|remedy| (FindingCode::RuleMatchesMarks, remedy.to_owned()))
                .into_iter()
                .collect();
            assert_eq!(found, expected, "{file} {mark:#x}/{bits:#x}");
        }
    }

    #[test]
    fn nft_has_to_be_there_and_new_enough() {
        let install = "apt-get install nftables".to_owned();
        let cases = [
            (Nft::Version([1, 0, 6]), None),
            (Nft::Version([1, 1, 0]), None),
            (Nft::Version([2, 0, 0]), None),
            (Nft::Unknown, None),
            (Nft::Version([1, 0, 5]), Some(FindingCode::NftOld)),
            (Nft::Version([0, 9, 8]), Some(FindingCode::NftOld)),
            (Nft::Missing, Some(FindingCode::NftMissing)),
        ];
        for (nft, code) in cases {
            let expected: Vec<_> = code
                .map(|code| (code, install.clone()))
                .into_iter()
                .collect();
            assert_eq!(found(NAT, Settings::default(), nft), expected);
        }
    }
}
