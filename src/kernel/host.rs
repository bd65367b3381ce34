//! What of this machine decides, besides rules, whether packets arrive: links, addresses, routes, neighbours, settings.
//!
//! Read for `flbc doctor`. Nothing is changed, but that the kernel may be told to ask for a neighbour's MAC address.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::process::Command;

use nlink::Route;
use nlink::blocking::Connection;
use nlink::netlink::devconf::Ipv4Devconf;
use nlink::netlink::messages::{LinkMessage, RouteMessage, RuleMessage};
use nlink::netlink::types::route::RouteType;
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use super::KernelError;
use super::arrival::Arrivals;
use super::conntrack::failed;
use crate::emit::netlink::attribute::Attributes;
use crate::model::{Family, MacAddress};

/// The routing table of the loop guard: blackholes for VIPs, for packets from outside alone (`not iif lo`).
pub const LOOP_GUARD: u32 = 4243;

/// The kinds of interfaces that stand on another: what they send goes out by that one, and what it gets for them comes to
/// them.
const STACKED: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];

/// Whether an interface can send and receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Nobody set it up.
    Down,
    /// Nothing is at its other end.
    Unconnected,
    /// It can.
    Up,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Whether packets can pass.
    pub state: LinkState,
    /// Whether neighbours on it have MAC addresses.
    pub has_neighbours: bool,
    /// What it is: `vlan`, `bridge`, `bond`, `macvlan`, `ipip` and so on; empty for a card of the machine.
    pub kind: String,
    /// Its own MAC address.
    pub mac: Option<MacAddress>,
    /// The longest packet that it sends, in bytes.
    pub mtu: u32,
    /// The number of the interface that it stands on: of a VLAN, a macvlan or the like.
    pub stands_on: Option<u32>,
    /// The number of the bridge, bond or the like that takes what comes in by it, and has the neighbours in its place.
    pub port_of: Option<u32>,
    /// Of a port of a bridge, whether a frame may go back by it that came in by it.
    pub hairpin: Option<bool>,
    /// Whether IPv4 packets that come in by it are sent on.
    pub forwards_ipv4: bool,
    /// Its own `rp_filter`: 0 off, 1 strict, 2 loose. The greater of it and [`Settings::rp_filter`] counts.
    pub rp_filter: u32,
}

/// An address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
    /// The number of the interface that has it.
    pub interface: u32,
    /// Another machine answered for it (IPv6 duplicate address detection).
    pub duplicate: bool,
}

/// Where packets to an address go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nowhere: there is no route.
    Nowhere,
    /// Nowhere: a route says so (blackhole, unreachable, prohibit).
    Refused,
    /// The address is this machine's own.
    Local,
    /// Out by the interface of this number.
    Out {
        /// The interface's number.
        interface: u32,
        /// The router that takes them; `None` where the address itself is on the link.
        gateway: Option<IpAddr>,
    },
}

/// An `ip rule` that looks at the mark of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkRule {
    /// Whose packets it is for.
    pub family: Family,
    /// Its place among the rules: the lowest comes first.
    pub priority: u32,
    /// The mark that it wants, in the bits of the mask.
    pub mark: u32,
    /// The bits that it looks at.
    pub mask: u32,
}

/// Numbers from `/proc/sys/net`; `None` where the kernel has no such setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// `ipv4.ip_forward`
    pub ipv4_forward: Option<u64>,
    /// `ipv6.conf.all.forwarding`
    pub ipv6_forward: Option<u64>,
    /// `ipv4.conf.all.rp_filter`
    pub rp_filter: Option<u64>,
    /// `netfilter.nf_conntrack_max`: connections that are followed at most
    pub connections_at_most: Option<u64>,
    /// `netfilter.nf_conntrack_count`: connections that are followed now
    pub connections: Option<u64>,
    /// Connections that were not let in since boot because there was no room (`drop` and `early_drop`).
    pub connections_dropped: u64,
    /// Packets since boot that fitted no connection.
    pub invalid: u64,
    /// `netfilter.nf_conntrack_tcp_be_liberal`: whether packets outside of a connection's window are taken for its own
    pub tcp_be_liberal: Option<u64>,
    /// `bridge.bridge-nf-call-iptables`: whether rules of nat see what a bridge passes on
    pub bridges_call_ipv4: Option<u64>,
    /// `bridge.bridge-nf-call-ip6tables`
    pub bridges_call_ipv6: Option<u64>,
    /// `ipv4.neigh.default.gc_thresh3`: neighbours that are known at most
    pub ipv4_neighbours_at_most: Option<u64>,
    /// `ipv6.neigh.default.gc_thresh3`
    pub ipv6_neighbours_at_most: Option<u64>,
}

/// Which `nft` the shell finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nft {
    /// None.
    Missing,
    /// One that does not say a version.
    Unknown,
    /// This version.
    Version([u32; 3]),
}

/// All of that, as it was when it was read.
#[derive(Debug, Clone)]
pub struct Host {
    /// The interfaces.
    pub links: Vec<Link>,
    /// The addresses.
    pub addresses: Vec<Address>,
    /// Where packets go, for every address that was asked about.
    pub ways: FxHashMap<IpAddr, Way>,
    /// Of the VIPs that were asked about, those that are sent on again if the machine that packets to them are sent to
    /// sends them here.
    pub circling: BTreeSet<IpAddr>,
    /// The families whose packets from outside are looked up in the table [`LOOP_GUARD`] first.
    pub guarded: BTreeSet<Family>,
    /// The families whose packets from outside are looked up in any table of their own.
    pub apart: BTreeSet<Family>,
    /// The rules that choose routes by a mark.
    pub mark_rules: Vec<MarkRule>,
    /// The tables of iptables that do not stand in nf_tables, where nobody sees their rules but `iptables-legacy`.
    pub legacy_tables: Vec<String>,
    /// The settings.
    pub settings: Settings,
    /// The `nft` of the shell.
    pub nft: Nft,
}

impl Host {
    /// The interface of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The interface of this number.
    pub fn link_at(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Where packets to an address go that was asked about.
    pub fn way_to(&self, address: IpAddr) -> Way {
        self.ways.get(&address).copied().unwrap_or(Way::Nowhere)
    }
}

/// Reads what there is, and asks the kernel where packets to these addresses go, and whether those to the VIPs would be
/// sent on. Needs no privilege.
///
/// # Errors
///
/// Those of netlink. A setting that cannot be read is one that is not there.
pub fn look(destinations: &BTreeSet<IpAddr>, vips: &BTreeSet<IpAddr>) -> Result<Host, KernelError> {
    let doing = "look at the interfaces and routes";
    let connection = Connection::<Route>::new().map_err(failed(doing))?;
    let links = connection.get_links().map_err(failed(doing))?;
    let addresses = connection.get_addresses().map_err(failed(doing))?;
    let wanted: Vec<IpAddr> = destinations.iter().copied().collect();
    let ways = connection
        .run(move |c| {
            Box::pin(async move {
                let mut ways = FxHashMap::default();
                for address in wanted {
                    let way = match c.lookup_route(address).await {
                        Ok(route) => way(&route, address),
                        // What refuses, and where there is nothing, is told as an error.
                        Err(error) => refusal(&error).ok_or(error)?,
                    };
                    ways.insert(address, way);
                }
                Ok(ways)
            })
        })
        .map_err(failed(doing))?;
    let routing: BTreeSet<u32> = links
        .iter()
        .filter(|link| link.kind() == Some("vrf"))
        .map(LinkMessage::ifindex)
        .collect();
    let links = links.iter().filter_map(|link| {
        let kind = link.kind().unwrap_or_default();
        Some(Link {
            name: link.name()?.to_owned(),
            index: link.ifindex(),
            mac: link.address().and_then(|octets| {
                let octets: [u8; 6] = octets.try_into().ok()?;
                Some(MacAddress(octets)).filter(|_| octets != [0; 6])
            }),
            mtu: link.mtu().unwrap_or(0),
            stands_on: link.link().filter(|_| STACKED.contains(&kind)),
            kind: kind.to_owned(),
            state: if !link.is_up() {
                LinkState::Down
            } else if link.has_carrier() {
                LinkState::Up
            } else {
                LinkState::Unconnected
            },
            has_neighbours: link.mac_address().is_some() && !link.is_loopback(),
            // A port of a VRF keeps its neighbours.
            port_of: link.master().filter(|master| !routing.contains(master)),
            hairpin: hairpin(link),
            forwards_ipv4: link.ipv4_devconf(Ipv4Devconf::Forwarding) != Some(0),
            rp_filter: link.ipv4_devconf(Ipv4Devconf::RpFilter).unwrap_or(0),
        })
    });
    let addresses = addresses.iter().filter_map(|address| {
        Some(Address {
            address: *address.local().or(address.address())?,
            prefix: address.prefix_len(),
            interface: address.ifindex(),
            duplicate: address.is_dad_failed(),
        })
    });
    let rules = connection
        .run(|c| Box::pin(async move { c.get_rules().await }))
        .map_err(failed(doing))?;
    Ok(Host {
        links: links.collect(),
        addresses: addresses.collect(),
        circling: circling(&ways, vips)?,
        guarded: guarded(&rules, |rule| rule.table() == LOOP_GUARD),
        apart: guarded(&rules, RuleMessage::is_lookup),
        mark_rules: rules.iter().filter_map(mark_rule).collect(),
        legacy_tables: legacy_tables(),
        ways,
        settings: settings(),
        nft: nft(),
    })
}

/// Whether a port of a bridge sends back what came in by it.
fn hairpin(link: &LinkMessage) -> Option<bool> {
    /// `IFLA_BRPORT_MODE`
    const MODE: u16 = 4;
    let about = link.link_info()?;
    let port = about
        .slave_data()
        .filter(|_| about.slave_kind() == Some("bridge"))?;
    let mode = Attributes::new(port).find(MODE)?;
    Some(mode.value.first() != Some(&0))
}

fn refusal(error: &nlink::Error) -> Option<Way> {
    let number = error.errno()?.abs();
    match Errno::from_raw_os_error(number) {
        Errno::NETUNREACH | Errno::NOENT => Some(Way::Nowhere),
        Errno::HOSTUNREACH | Errno::ACCESS | Errno::INVAL => Some(Way::Refused),
        _ => None,
    }
}

/// The VIPs that are sent on to where they would come from.
fn circling(
    ways: &FxHashMap<IpAddr, Way>,
    vips: &BTreeSet<IpAddr>,
) -> Result<BTreeSet<IpAddr>, KernelError> {
    let arrivals = Arrivals::new()?;
    let mut circling = BTreeSet::new();
    for vip in vips {
        if let Some(Way::Out { interface, gateway }) = ways.get(vip)
            && arrivals.is_sent_on(*vip, *gateway, *interface)?
        {
            circling.insert(*vip);
        }
    }
    Ok(circling)
}

/// The families that have a rule `not iif lo` of this kind.
fn guarded(rules: &[RuleMessage], is_it: impl Fn(&RuleMessage) -> bool) -> BTreeSet<Family> {
    let from_outside = |rule: &&RuleMessage| rule.is_invert() && rule.iifname() == Some("lo");
    let guards = rules.iter().filter(from_outside);
    guards.filter(|rule| is_it(rule)).map(family).collect()
}

fn family(rule: &RuleMessage) -> Family {
    if rule.is_ipv6() {
        Family::V6
    } else {
        Family::V4
    }
}

fn mark_rule(rule: &RuleMessage) -> Option<MarkRule> {
    let mask = rule.fwmask().unwrap_or(u32::MAX);
    // One that is turned round is for what has another mark, as all have that have none.
    (!rule.is_invert()).then_some(())?;
    Some(MarkRule {
        family: family(rule),
        priority: rule.priority(),
        mark: rule.fwmark()? & mask,
        mask,
    })
}

/// The tables of `iptables-legacy` and `ip6tables-legacy`.
fn legacy_tables() -> Vec<String> {
    let files = [
        ("iptables", "ip_tables_names"),
        ("ip6tables", "ip6_tables_names"),
    ];
    let named = files.map(|(program, file)| {
        let names = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        let names: Vec<String> = names
            .lines()
            .map(|name| format!("{program} {name}"))
            .collect();
        names
    });
    named.concat()
}

fn way(route: &RouteMessage, to: IpAddr) -> Way {
    match route.route_type() {
        RouteType::Local => Way::Local,
        RouteType::Unicast => match route.oif() {
            Some(interface) => Way::Out {
                interface,
                // Whoever is its own router is on the link.
                gateway: route
                    .gateway()
                    .or(route.via())
                    .copied()
                    .filter(|gateway| *gateway != to),
            },
            None => Way::Nowhere,
        },
        _ => Way::Refused,
    }
}

fn settings() -> Settings {
    let statistics = fs::read_to_string("/proc/net/stat/nf_conntrack").unwrap_or_default();
    Settings {
        ipv4_forward: setting("ipv4/ip_forward"),
        ipv6_forward: setting("ipv6/conf/all/forwarding"),
        rp_filter: setting("ipv4/conf/all/rp_filter"),
        connections_at_most: setting("netfilter/nf_conntrack_max"),
        connections: setting("netfilter/nf_conntrack_count"),
        connections_dropped: summed(&statistics, &["drop", "early_drop"]),
        invalid: summed(&statistics, &["invalid"]),
        tcp_be_liberal: setting("netfilter/nf_conntrack_tcp_be_liberal"),
        bridges_call_ipv4: setting("bridge/bridge-nf-call-iptables"),
        bridges_call_ipv6: setting("bridge/bridge-nf-call-ip6tables"),
        ipv4_neighbours_at_most: setting("ipv4/neigh/default/gc_thresh3"),
        ipv6_neighbours_at_most: setting("ipv6/neigh/default/gc_thresh3"),
    }
}

fn setting(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?;
    text.trim().parse().ok()
}

/// The sum of these columns, which are hexadecimal, over all processors.
fn summed(table: &str, columns: &[&str]) -> u64 {
    let mut lines = table.lines();
    let names: Vec<&str> = lines
        .next()
        .map_or_else(Vec::new, |line| line.split_whitespace().collect());
    let mut sum: u64 = 0;
    for line in lines {
        for (name, number) in names.iter().zip(line.split_whitespace()) {
            if columns.contains(name) {
                sum = sum.saturating_add(u64::from_str_radix(number, 16).unwrap_or(0));
            }
        }
    }
    sum
}

/// Asks `nft` for its version.
fn nft() -> Nft {
    let Ok(output) = Command::new("nft").arg("--version").output() else {
        return Nft::Missing;
    };
    version(&String::from_utf8_lossy(&output.stdout)).map_or(Nft::Unknown, Nft::Version)
}

/// The version in `nftables v1.0.6 (Lester Gooch #5)`.
fn version(said: &str) -> Option<[u32; 3]> {
    let word = said
        .split_whitespace()
        .find_map(|word| word.strip_prefix('v'))?;
    let mut numbers = word.split('.').map(str::parse);
    let mut next = || numbers.next().unwrap_or(Ok(0)).ok();
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let cases = [
            ("nftables v1.0.6 (Lester Gooch #5)\n", Some([1, 0, 6])),
            ("nftables v1.1 (Name)\n", Some([1, 1, 0])),
            ("nftables v0.9.8 (E.D.S.)", Some([0, 9, 8])),
            ("nft: bad", None),
            ("", None),
        ];
        for (said, numbers) in cases {
            assert_eq!(version(said), numbers, "{said}");
        }
    }

    #[test]
    fn columns_are_summed_over_processors() {
        let table = "entries  found drop early_drop icmp_error\n\
                     00000000  00000001 0000000a 00000002 00000009\n\
                     00000000  00000001 00000010 00000000 00000009\n";
        assert_eq!(summed(table, &["drop", "early_drop"]), 0x1c);
        assert_eq!(summed(table, &["icmp_error"]), 0x12);
        assert_eq!(summed(table, &["invalid"]), 0);
        assert_eq!(summed("", &["drop"]), 0);
    }
}
