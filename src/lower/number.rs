//! Numbers for slots and servers: what a mark says.
//!
//! A mark is a slot first, then a server. The two ranges never meet, so that a missing slot can never be
//! taken for a server. Servers of services whose clients are remembered have ranges of their own, see
//! [`super::region`].
//!
//! How far apart servers' numbers are is for the [`Layout`] to say.
//!
//! A server's number follows from who it is, see [`super::lot`], so that it is the same on every balancer with the same
//! file. A slot lives inside one packet: where a block's slots lie is free, and they stay where they are.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::model::{
    Family, HashKey, HookedIn, Mode, Ports, RealServer, Scheduler, Service, SourceNat, Vip,
};
use crate::schedule::{Block, Plan};

use super::layout::Layout;
use super::lot::{self, LotIdentity};
use super::region::{Extent, Region};
use super::slots::place_slots;
pub use super::slots::{Places, SLOTS};

/// The numbers that servers may have.
pub const SERVERS: RangeInclusive<u32> = 0x4000_0000..=0x7fff_ffff;

/// How many numbers there are for servers.
const ROOM: u32 = *SERVERS.end() - *SERVERS.start() + 1;

/// The packet mark of what direct return has refused.
pub(super) const fn refused(layout: Layout) -> u32 {
    layout.spread(u32::MAX)
}

/// The numbers of every block of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbering {
    /// The bits of marks that the numbers are in.
    pub layout: Layout,
    /// The numbers of each block, in the order of the plan.
    pub blocks: Vec<BlockNumbers>,
}

/// The numbers of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockNumbers {
    /// The number of each server, in the block's order.
    pub servers: Vec<u32>,
    /// The number of the first slot; the others follow. Unused in a block without slots.
    pub first_slot: u32,
    /// Where the servers' numbers are from, if the service remembers its clients.
    pub region: Option<Region>,
}

/// Numbers for an empty kernel, in tables of this name.
///
/// Reports [`Code::TooMany`] at the first service whose numbers do not fit.
pub fn fresh(plan: &Plan<'_>, table: &str, layout: Layout, sink: &mut Diagnostics) -> Numbering {
    assign(plan, (table, layout), &Places::default(), sink)
}

/// Numbers for a kernel that has slots already: a block that keeps its number of slots keeps its place, and new ones
/// get the lowest places that nothing in the kernel has. Servers' numbers do not depend on that.
///
/// Reports [`Code::TooMany`] at the first service whose numbers do not fit.
pub fn assign(
    plan: &Plan<'_>,
    (table, layout): (&str, Layout),
    places: &Places,
    sink: &mut Diagnostics,
) -> Numbering {
    let slots = place_slots(plan, places);
    let anchors = anchors(plan);
    let table = LotIdentity::in_table(table);
    let regions = draw_regions(plan, &anchors, (table, layout));
    let servers = draw_servers(plan, &anchors, &regions, (table, layout));
    let mut too_many = false;
    let mut blocks = Vec::with_capacity(plan.blocks.len());
    for (((block, servers), first_slot), region) in
        plan.blocks.iter().zip(servers).zip(slots).zip(regions)
    {
        let numbers = servers.into_iter().collect::<Option<Vec<u32>>>();
        if (numbers.is_none() || first_slot.is_none()) && !too_many {
            too_many = true;
            sink.report(exhausted(block, layout));
        }
        blocks.push(BlockNumbers {
            servers: numbers.unwrap_or_default(),
            first_slot: first_slot.unwrap_or(u32::MAX),
            region,
        });
    }
    Numbering { layout, blocks }
}

/// The fault where no number is left for a block.
fn exhausted(block: &Block<'_>, layout: Layout) -> Diagnostic {
    let name = &block.service.name;
    let shift = layout.shift();
    let (what, help) = if shift == 0 {
        let what = "more slots, or services that remember their clients, than marks can number";
        (what.to_owned(), String::new())
    } else {
        let what = format!(
            "more servers, slots, or services that remember their clients, than marks can number whose {shift} low bits are 0"
        );
        let help = format!(
            "leave fewer bits to others: `--mark-shift {shift}` has numbers for {} servers, and for {} services that remember their clients, {} of them with more than 4095 servers, each once for IPv4 and once for IPv6; or ",
            layout.count(ROOM),
            Extent::Usual.count(layout) + Extent::Large.count(layout),
            Extent::Large.count(layout),
        );
        (what, help)
    };
    let message = format!("no number is left for service `{name}`: the file needs {what}");
    Diagnostic::new(Code::TooMany, block.service.span, message).help(format!(
        "{help}share servers through pools with the same scheduler and mode, or use smaller Maglev tables"
    ))
}

/// What a VIP is compared by.
type Anchor = (IpAddr, crate::model::Protocol, Ports);

/// For each block the lowest VIP of the services that use it: no two services have the same VIP.
fn anchors(plan: &Plan<'_>) -> Vec<Option<Anchor>> {
    let mut anchors: Vec<Option<Anchor>> = vec![None; plan.blocks.len()];
    for service in &plan.services {
        for (family, place) in &service.families {
            let Some(anchor) = place.and_then(|place| anchors.get_mut(place)) else {
                continue;
            };
            let lowest = lowest_vip(service.service, *family);
            if anchor.is_none() || lowest.is_some() && lowest < *anchor {
                *anchor = lowest;
            }
        }
    }
    anchors
}

fn lowest_vip(service: &Service, family: Family) -> Option<Anchor> {
    let vips = service.vips.iter().filter(|vip| vip.family() == family);
    vips.map(|vip: &Vip| (vip.address, vip.protocol, vip.ports))
        .min()
}

/// A service is known by its lowest VIP, so that a name may change and other VIPs may come and go.
fn of_vip(identity: LotIdentity, (address, protocol, ports): Anchor) -> LotIdentity {
    let [[a, b], [c, d]] = match ports {
        Ports::One(port) => [port, port],
        Ports::Range(first, last) => [first, last],
        Ports::Any => [0, 0],
    }
    .map(u16::to_be_bytes);
    of_address(identity, address).with(&[protocol.number(), a, b, c, d])
}

fn of_address(identity: LotIdentity, address: IpAddr) -> LotIdentity {
    match address {
        IpAddr::V4(address) => identity.with(&[4]).with(&address.octets()),
        IpAddr::V6(address) => identity.with(&[6]).with(&address.octets()),
    }
}

fn of_server(identity: LotIdentity, server: &RealServer) -> LotIdentity {
    // No server has port 0.
    let port = server.port.unwrap_or_default();
    of_address(identity, server.address).with(&port.to_be_bytes())
}

const fn of_mode(mode: &Mode) -> u8 {
    match mode.hooked_in() {
        HookedIn::Inet => b'n',
        HookedIn::Netdev => b'd',
    }
}

/// What the servers of a block have in common, where the service does not remember its clients.
///
/// Servers of the service itself are known by its lowest VIP. Those of pools belong to no VIP: services that share them
/// come and go. There it counts in which way they are used, since a pool used in two ways has each server twice.
fn of_block(identity: LotIdentity, block: &Block<'_>, anchor: Option<Anchor>) -> LotIdentity {
    let identity = identity.with(&[of_mode(block.mode)]);
    if block.pools.is_empty() {
        let identity = identity.with(b"s");
        return anchor.map_or(identity, |anchor| of_vip(identity, anchor));
    }
    let source = match block.mode.source_nat() {
        None | Some(SourceNat::Keep) => 0,
        Some(SourceNat::Masquerade) => 1,
        Some(SourceNat::Fixed { .. }) => 2,
    };
    let by = |key: HashKey| match key {
        HashKey::Source => 0,
        HashKey::SourcePort => 1,
    };
    let scheduler = match block.service.scheduler {
        Scheduler::RoundRobin => 0,
        Scheduler::Random => 1,
        Scheduler::Hash(key) => 2 + by(key),
        Scheduler::Maglev { key, .. } => 4 + by(key),
    };
    let track = u8::from(block.service.track.is_some());
    identity.with(b"p").with(&[source, scheduler, track])
}

/// The region of each block whose service remembers its clients; `None` also where there are not enough.
fn draw_regions(
    plan: &Plan<'_>,
    anchors: &[Option<Anchor>],
    (table, layout): (LotIdentity, Layout),
) -> Vec<Option<Region>> {
    let mut regions = vec![None; plan.blocks.len()];
    for extent in [Extent::Usual, Extent::Large] {
        let blocks = plan.blocks.iter().zip(anchors).enumerate();
        let wanting = blocks.filter(|(_, (block, _))| {
            block.service.persistence.is_some() && Extent::of(block.servers.len()) == extent
        });
        let (places, identities): (Vec<usize>, Vec<LotIdentity>) = wanting
            .map(|(at, (block, anchor))| {
                let identity = table.with(&[b'r', of_mode(block.mode)]);
                (
                    at,
                    anchor.map_or(identity, |anchor| of_vip(identity, anchor)),
                )
            })
            .unzip();
        let drawn = lot::draw(identities, extent.count(layout));
        for (place, drawn) in places.into_iter().zip(drawn) {
            if let Some(region) = regions.get_mut(place) {
                *region = drawn.map(|drawn| Region::nth(extent, drawn, layout));
            }
        }
    }
    regions
}

/// The numbers of the servers of each block; `None` where none is left.
fn draw_servers(
    plan: &Plan<'_>,
    anchors: &[Option<Anchor>],
    regions: &[Option<Region>],
    (table, layout): (LotIdentity, Layout),
) -> Vec<Vec<Option<u32>>> {
    let mut numbers: Vec<Vec<Option<u32>>> = plan
        .blocks
        .iter()
        .map(|block| vec![None; block.servers.len()])
        .collect();
    // There are two of one identity where pools that are used in the same way have an address in common, and where a
    // service has a server twice. The order tells them apart, so it must not depend on names more than it must.
    let mut order: Vec<usize> = (0..plan.blocks.len()).collect();
    order.sort_by_key(|at| anchors.get(*at));
    let (mut places, mut identities) = (Vec::new(), Vec::new());
    for at in order {
        let (Some(block), Some(region)) = (plan.blocks.get(at), regions.get(at)) else {
            continue;
        };
        let mut servers: Vec<(usize, &RealServer)> =
            block.servers.iter().copied().enumerate().collect();
        servers.sort_by(|(_, a), (_, b)| {
            (a.address, a.port, &a.name).cmp(&(b.address, b.port, &b.name))
        });
        if let Some(region) = region {
            let identities: Vec<LotIdentity> = servers
                .iter()
                .map(|(_, server)| of_server(table.with(b"c"), server))
                .collect();
            let drawn = lot::draw(identities, region.extent().room());
            for ((place, _), drawn) in servers.into_iter().zip(drawn) {
                let number = drawn.map(|drawn| region.server(drawn, layout));
                set(&mut numbers, (at, place), number);
            }
        } else if block.service.persistence.is_none() {
            let identity = of_block(table, block, anchors.get(at).copied().flatten());
            for (place, server) in servers {
                places.push((at, place));
                identities.push(of_server(identity, server));
            }
        }
    }
    let drawn = lot::draw(identities, layout.count(ROOM));
    for (place, drawn) in places.into_iter().zip(drawn) {
        let number = drawn.map(|drawn| SERVERS.start() + layout.spread(drawn));
        set(&mut numbers, place, number);
    }
    numbers
}

fn set(numbers: &mut [Vec<Option<u32>>], (block, place): (usize, usize), number: Option<u32>) {
    let block = numbers.get_mut(block);
    if let Some(slot) = block.and_then(|block| block.get_mut(place)) {
        *slot = number;
    }
}
