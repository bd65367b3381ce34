//! What of this machine decides, besides rules, whether packets arrive: links, addresses, routes, neighbours, settings.
//!
//! Read for `flbc doctor`. Nothing is changed, but that the kernel may be told to ask for a neighbour's MAC address.

use std::collections::BTreeSet;
use std::net::IpAddr;

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
use crate::model::{Family, MacAddress, Prefix};

mod files;

use files::{is_installed, legacy_tables, nft, settings};

/// The routing table of the loop guard: blackholes for VIPs, for packets from outside alone (`not iif lo`).
pub const LOOP_GUARD: u32 = 4243;

/// The kinds of interfaces that stand on another: what they send goes out by that one, and what it gets for them comes to
/// them.
const STACKED: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];

/// A flag of an interface: `IFF_NOARP`.
const NO_ARP: u32 = 0x80;

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
    /// Whether it asks for MAC addresses, and tells its own.
    pub arp: bool,
    /// Its own `arp_ignore`: 0 answers for all addresses of this machine, 1 and 2 for its own, 8 for none. The greater of it and
    /// [`Settings::arp_ignore`] counts.
    pub arp_ignore: u32,
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

/// An `ip rule` that refuses packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusingRule {
    /// Whose packets it is for.
    pub family: Family,
    /// Its place among the rules: the lowest comes first.
    pub priority: u32,
    /// `prohibit`, `unreachable`, `blackhole`
    pub action: &'static str,
    /// Where packets come from that it is for.
    pub from: Option<Prefix>,
    /// Where they go to.
    pub to: Option<Prefix>,
    /// Whether it asks for more, or is turned round.
    pub asks_more: bool,
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
    /// `ipv4.conf.all.arp_ignore`
    pub arp_ignore: Option<u64>,
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
    /// The rules that refuse packets.
    pub refusing_rules: Vec<RefusingRule>,
    /// The tables of iptables that do not stand in nf_tables, where nobody sees their rules but `iptables-legacy`.
    pub legacy_tables: Vec<String>,
    /// The settings.
    pub settings: Settings,
    /// The `nft` of the shell.
    pub nft: Nft,
    /// Whether the shell finds `iptables`.
    pub iptables: bool,
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
            arp: link.flags() & NO_ARP == 0,
            arp_ignore: link.ipv4_devconf(Ipv4Devconf::ArpIgnore).unwrap_or(0),
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
        refusing_rules: rules.iter().filter_map(refusing_rule).collect(),
        legacy_tables: legacy_tables(),
        ways,
        settings: settings(),
        nft: nft(),
        iptables: is_installed("iptables"),
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

fn refusing_rule(rule: &RuleMessage) -> Option<RefusingRule> {
    let action = if rule.is_prohibit() {
        "prohibit"
    } else if rule.is_unreachable() {
        "unreachable"
    } else if rule.is_blackhole() {
        "blackhole"
    } else {
        return None;
    };
    let prefix = |address: Option<IpAddr>, length| Prefix::new(address?, length);
    Some(RefusingRule {
        family: family(rule),
        priority: rule.priority(),
        action,
        from: prefix(rule.source(), rule.src_len()),
        to: prefix(rule.destination(), rule.dst_len()),
        asks_more: rule.is_invert()
            || rule.iifname().is_some()
            || rule.oifname().is_some()
            || rule.fwmark().is_some()
            || rule.tun_id().is_some()
            || rule.uid_range().is_some()
            || rule.ip_proto().is_some()
            || rule.sport_range().is_some()
            || rule.dport_range().is_some()
            || rule.l3mdev().is_some_and(|l3mdev| l3mdev != 0),
    })
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
