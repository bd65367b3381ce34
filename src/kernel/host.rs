//! What of this machine decides, besides rules, whether packets arrive: links, addresses, routes, neighbours, settings.
//!
//! Read for `flbc doctor`. Nothing is changed, but that the kernel may be told to ask for a neighbour's MAC address.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::process::Command;

use nlink::blocking::Connection;
use nlink::netlink::InterfaceRef;
use nlink::netlink::MessageBuilder;
use nlink::netlink::devconf::Ipv4Devconf;
use nlink::netlink::messages::{LinkMessage, RouteMessage};
use nlink::netlink::types::neigh::{NdMsg, NdaAttr, NeighborState, ntf};
use nlink::netlink::types::route::RouteType;
use nlink::{NeighborConfig, Route};
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use super::KernelError;
use super::arrival::Arrivals;
use super::conntrack::failed;
use crate::emit::netlink::attribute::Attributes;
use crate::model::Family;

/// The routing table of the loop guard: blackholes for VIPs, for packets from outside alone (`not iif lo`).
pub const LOOP_GUARD: u32 = 4243;

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
        Some(Link {
            name: link.name()?.to_owned(),
            index: link.ifindex(),
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
    Ok(Host {
        links: links.collect(),
        addresses: addresses.collect(),
        circling: circling(&ways, vips)?,
        guarded: guarded(&connection).map_err(failed(doing))?,
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

/// Whether there is the rule `not iif lo lookup LOOP_GUARD`.
fn guarded(connection: &Connection<Route>) -> nlink::Result<BTreeSet<Family>> {
    let rules = connection.run(|c| Box::pin(async move { c.get_rules().await }))?;
    let guards = rules.iter().filter(|rule| {
        rule.is_invert() && rule.iifname() == Some("lo") && rule.table() == LOOP_GUARD
    });
    let family = |v6| if v6 { Family::V6 } else { Family::V4 };
    Ok(guards.map(|rule| family(rule.is_ipv6())).collect())
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

/// Those of the neighbours (an interface by its number, and an address) that do not answer for their MAC address, or
/// cannot be asked for it. All are asked anew: one that is known may be gone.
///
/// One that is there answers in milliseconds; the kernel asks three times, once a second. `wait` waits before each look at
/// what came, and says whether to look.
///
/// # Errors
///
/// Those of netlink; [`KernelError::NoPrivilege`] without `CAP_NET_ADMIN`.
pub fn unresolved(
    neighbours: &BTreeSet<(u32, IpAddr)>,
    mut wait: impl FnMut() -> bool,
) -> Result<BTreeSet<(u32, IpAddr)>, KernelError> {
    let doing = "look at the neighbours";
    let connection = Connection::<Route>::new().map_err(failed(doing))?;
    let states = || -> Result<FxHashMap<(u32, IpAddr), NeighborState>, KernelError> {
        let known = connection
            .run(|c| Box::pin(async move { c.get_neighbors().await }))
            .map_err(failed(doing))?;
        let named = known.iter().filter_map(|neighbour| {
            let address = *neighbour.destination()?;
            Some(((neighbour.ifindex(), address), neighbour.state()))
        });
        Ok(named.collect())
    };
    let fixed =
        |state: &NeighborState| matches!(state, NeighborState::Noarp | NeighborState::Permanent);
    let before = states()?;
    let mut left: BTreeSet<(u32, IpAddr)> = neighbours
        .iter()
        .copied()
        .filter(|neighbour| !before.get(neighbour).is_some_and(fixed))
        .collect();
    for neighbour in &left {
        let question = Ask {
            interface: InterfaceRef::Index(neighbour.0),
            address: neighbour.1,
            has_mac: before.get(neighbour).is_some_and(|state| has_mac(*state)),
        };
        let asked = connection
            .run(move |c| Box::pin(async move { c.replace_neighbor(question).await }))
            .map_err(failed("ask for a neighbour"));
        // One that cannot be asked (no IPv6 on the interface, no room in the table) is one that does not answer.
        if let Err(KernelError::NoPrivilege) = asked {
            return Err(KernelError::NoPrivilege);
        }
    }
    while !left.is_empty() && wait() {
        let now = states()?;
        left.retain(|neighbour| now.get(neighbour) != Some(&NeighborState::Reachable));
    }
    Ok(left)
}

fn has_mac(state: NeighborState) -> bool {
    use NeighborState::{Delay, Probe, Reachable, Stale};
    matches!(state, Reachable | Stale | Delay | Probe)
}

/// Makes the kernel ask for a neighbour's MAC address: nothing but the question (ARP, NDP) is sent. One that is known is
/// verified, as by `ip neighbour change ... nud probe`, and packets go on meanwhile; else as by `ip neighbour replace ...
/// use`.
struct Ask {
    interface: InterfaceRef,
    address: IpAddr,
    has_mac: bool,
}

impl NeighborConfig for Ask {
    fn interface_ref(&self) -> &InterfaceRef {
        &self.interface
    }

    fn family(&self) -> u8 {
        const INET: u8 = 2;
        const INET6: u8 = 10;
        if self.address.is_ipv4() { INET } else { INET6 }
    }

    fn write_add(&self, builder: &mut MessageBuilder, ifindex: u32) -> nlink::Result<()> {
        let index = i32::try_from(ifindex).unwrap_or(0);
        let mut header = NdMsg::new().with_family(self.family()).with_ifindex(index);
        if self.has_mac {
            header.ndm_state = NeighborState::Probe as u16;
        } else {
            header.ndm_flags = ntf::USE;
        }
        builder.append(&header);
        match self.address {
            IpAddr::V4(address) => builder.append_attr(NdaAttr::Dst as u16, &address.octets()),
            IpAddr::V6(address) => builder.append_attr(NdaAttr::Dst as u16, &address.octets()),
        }
        Ok(())
    }

    fn write_delete(&self, builder: &mut MessageBuilder, ifindex: u32) -> nlink::Result<()> {
        self.write_add(builder, ifindex)
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
