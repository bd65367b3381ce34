//! Connections and interfaces, by nlink.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use nlink::blocking;
use nlink::netlink::netfilter::{
    ConntrackBuilder, ConntrackEntry, ConntrackFilter, ConntrackStatus, ConntrackTuple, IpProtocol,
};
use nlink::{Route, netlink::Netfilter};
use rustc_hash::FxHashMap;
use rustix::io::Errno;
use rustix::thread::{MembarrierCommand, membarrier};

use crate::emit::netlink::Interfaces;
use crate::emit::netlink::attribute::{Attribute, Attributes};
use crate::emit::netlink::constant::conntrack;
use crate::model::MacAddress;

use super::socket::Socket;
use super::{Balanced, Connection, Counted, Flow, Judged, KernelError, Verdict};

pub(super) fn failed(doing: &'static str) -> impl Fn(nlink::Error) -> KernelError {
    move |error| {
        let number = error.errno().map_or(0, i32::abs);
        let errno = match number {
            1..4096 => Errno::from_raw_os_error(number),
            _ => Errno::IO,
        };
        match errno {
            Errno::PERM | Errno::ACCESS => KernelError::NoPrivilege,
            errno => KernelError::Failed { doing, errno },
        }
    }
}

/// The interfaces of this namespace.
pub(super) fn interfaces() -> Result<Interfaces, KernelError> {
    let doing = "list the network interfaces";
    let connection = blocking::Connection::<Route>::new().map_err(failed(doing))?;
    let links = connection.get_links().map_err(failed(doing))?;
    Ok(links
        .iter()
        .filter_map(|link| Some((link.name()?.into(), link.ifindex())))
        .collect())
}

/// The own MAC address of an interface.
pub(super) fn mac_of(interface: &str) -> Result<Option<MacAddress>, KernelError> {
    let doing = "look at a network interface";
    let connection = blocking::Connection::<Route>::new().map_err(failed(doing))?;
    let links = connection.get_links().map_err(failed(doing))?;
    let link = links.iter().find(|link| link.name() == Some(interface));
    Ok(link.and_then(|link| link.mac_address()?.parse().ok()))
}

/// The filter for connections that were translated, and match.
fn filter(wanted: Balanced) -> ConntrackFilter {
    let translated = ConntrackStatus::DST_NAT;
    let mut filter = ConntrackFilter::new().status(translated, translated);
    if let Some(mark) = wanted.mark {
        filter = filter.mark(mark, u32::MAX);
    }
    if let Some(vip) = wanted.vip {
        filter = filter.orig_dst(vip);
    }
    filter
}

pub(super) fn list(wanted: Balanced) -> Result<Vec<Connection>, KernelError> {
    let connection = open()?;
    let entries = matching(&connection, filter(wanted))?;
    Ok(entries.iter().filter_map(read).collect())
}

fn open() -> Result<blocking::Connection<Netfilter>, KernelError> {
    blocking::Connection::new().map_err(failed("talk to connection tracking"))
}

fn matching(
    connection: &blocking::Connection<Netfilter>,
    filter: ConntrackFilter,
) -> Result<Vec<ConntrackEntry>, KernelError> {
    connection
        .run(move |c| Box::pin(async move { c.get_conntrack_matching(&filter).await }))
        .map_err(failed("list connections"))
}

fn read(entry: &ConntrackEntry) -> Option<Connection> {
    Some(Connection {
        protocol: entry.proto.number(),
        client: entry.orig.src_ip?,
        client_port: entry.orig.src_port,
        vip: entry.orig.dst_ip?,
        vip_port: entry.orig.dst_port,
        server: entry.reply.src_ip?,
        server_port: entry.reply.src_port,
        mark: entry.mark.unwrap_or_default(),
    })
}

/// Reads all connections once, whatever is looked for: the kernel walks the whole table each time it is asked.
pub(super) fn judge(judge: &dyn Fn(&Connection) -> Verdict) -> Result<Judged, KernelError> {
    let all = Balanced {
        mark: None,
        vip: None,
    };
    let connection = open()?;
    let (mut doomed, mut marked) = (Vec::new(), Vec::new());
    for entry in matching(&connection, filter(all))? {
        match read(&entry).map_or(Verdict::Keep, |connection| judge(&connection)) {
            Verdict::Keep => {}
            Verdict::Mark(mark) => marked.push(ConntrackBuilder::from_entry(&entry).mark(mark)),
            Verdict::Forget => doomed.push(ConntrackBuilder::from_entry(&entry)),
        }
    }
    Ok(Judged {
        marked: mark(&connection, marked)?,
        forgotten: delete(&connection, doomed)?,
    })
}

/// Gives these the marks that they say; says how many were still there.
fn mark(
    connection: &blocking::Connection<Netfilter>,
    entries: Vec<ConntrackBuilder>,
) -> Result<usize, KernelError> {
    connection
        .run(move |c| {
            Box::pin(async move {
                let mut marked = 0;
                for entry in entries {
                    match c.update_conntrack(entry).await {
                        Ok(()) => marked += 1,
                        Err(error) if is_gone(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(marked)
            })
        })
        .map_err(failed("mark connections"))
}

pub(super) fn untranslated(
    socket: &mut Socket,
    of: Option<IpAddr>,
) -> Result<Vec<Flow>, KernelError> {
    let mut flows = Vec::new();
    each_plain(socket, |flow, _| {
        if of.is_none_or(|of| [flow.source, flow.destination].contains(&of)) {
            flows.push(flow);
        }
    })?;
    Ok(flows)
}

/// One reading finds them all, as it comes after the last packet that did not see the rules whole.
pub(super) fn forget_untranslated(
    socket: &mut Socket,
    doomed: &dyn Fn(&Flow) -> bool,
) -> Result<usize, KernelError> {
    let_packets_pass();
    let mut entries = Vec::new();
    each_plain(socket, |flow, attributes| {
        if doomed(&flow) {
            entries.push(entry(&flow, attributes));
        }
    })?;
    if entries.is_empty() {
        return Ok(0);
    }
    delete(&open()?, entries)
}

const FAMILIES: [u8; 2] = [2, 10];

/// Counts connections; the kernel leaves out the others itself.
pub(super) fn by_mark(
    socket: &mut Socket,
    which: Counted,
) -> Result<FxHashMap<u32, usize>, KernelError> {
    const TCP: u8 = 6;
    const SCTP: u8 = 132;
    let mask = match which {
        Counted::All | Counted::Of(_) => conntrack::TRANSLATED,
        Counted::Unanswered => conntrack::TRANSLATED | conntrack::ANSWERED,
    };
    let mut by_mark: FxHashMap<u32, usize> = FxHashMap::default();
    for family in FAMILIES {
        socket.dump_connections(
            family,
            |w| {
                w.u32(conntrack::STATUS, conntrack::TRANSLATED);
                w.u32(conntrack::STATUS_MASK, mask);
                if let Counted::Of(mark) = which {
                    w.u32(conntrack::MARK, mark);
                    w.u32(conntrack::MARK_MASK, u32::MAX);
                }
            },
            |attributes| {
                let number = attributes.find(conntrack::MARK).and_then(Attribute::u32);
                let waits = which != Counted::Unanswered
                    || matches!(protocol(attributes), Some(TCP | SCTP));
                if let Some(number) = number.filter(|_| waits) {
                    *by_mark.entry(number).or_default() += 1;
                }
            },
        )?;
    }
    Ok(by_mark)
}

fn protocol(attributes: Attributes<'_>) -> Option<u8> {
    let original = attributes.find(conntrack::ORIGINAL)?.inside();
    let protocol = original.find(conntrack::PROTOCOL)?.inside();
    protocol.find(conntrack::NUMBER)?.value.first().copied()
}

/// Shows every flow whose destination is not translated, one by one: there may be millions, of which a few matter. The
/// kernel leaves out the others itself.
fn each_plain(
    socket: &mut Socket,
    mut each: impl FnMut(Flow, Attributes<'_>),
) -> Result<(), KernelError> {
    for family in FAMILIES {
        socket.dump_connections(
            family,
            |w| {
                w.u32(conntrack::STATUS, 0);
                w.u32(conntrack::STATUS_MASK, conntrack::TRANSLATED);
            },
            |attributes| {
                if let Some(flow) = flow(attributes) {
                    each(flow, attributes);
                }
            },
        )?;
    }
    Ok(())
}

/// What the kernel tells of a connection; `None` where it has no ports, or is translated after all.
fn flow(attributes: Attributes<'_>) -> Option<Flow> {
    let original = attributes.find(conntrack::ORIGINAL)?.inside();
    let addresses = original.find(conntrack::ADDRESSES)?.inside();
    let protocol = original.find(conntrack::PROTOCOL)?.inside();
    let address = |[four, six]: [u16; 2]| -> Option<IpAddr> {
        if let Some(found) = addresses.find(four) {
            return Some(<[u8; 4]>::try_from(found.value).ok()?.into());
        }
        Some(
            <[u8; 16]>::try_from(addresses.find(six)?.value)
                .ok()?
                .into(),
        )
    };
    let port = |kind| {
        Some(u16::from_be_bytes(
            protocol.find(kind)?.value.try_into().ok()?,
        ))
    };
    let status = attributes.find(conntrack::STATUS).and_then(Attribute::u32);
    let status = status.unwrap_or_default();
    let flow = Flow {
        protocol: *protocol.find(conntrack::NUMBER)?.value.first()?,
        source: address(conntrack::SOURCES)?,
        source_port: port(conntrack::SOURCE_PORT)?,
        destination: address(conntrack::DESTINATIONS)?,
        destination_port: port(conntrack::DESTINATION_PORT)?,
        answered: status & conntrack::ANSWERED != 0,
    };
    (status & conntrack::TRANSLATED == 0).then_some(flow)
}

/// The same, as what is to be deleted.
fn entry(flow: &Flow, attributes: Attributes<'_>) -> ConntrackBuilder {
    let protocol = IpProtocol::Other(flow.protocol);
    let builder = if flow.source.is_ipv4() {
        ConntrackBuilder::new_v4(protocol)
    } else {
        ConntrackBuilder::new_v6(protocol)
    };
    let original = ConntrackTuple {
        src_ip: Some(flow.source),
        dst_ip: Some(flow.destination),
        ..ConntrackTuple::default()
    };
    let mut builder = builder.orig(original.ports(flow.source_port, flow.destination_port));
    if let Some(id) = attributes.find(conntrack::ID).and_then(Attribute::u32) {
        builder = builder.id(id);
    }
    let zone = attributes
        .find(conntrack::ZONE)
        .map(|zone| zone.value.try_into());
    if let Some(Ok(zone)) = zone {
        builder = builder.zone(u16::from_be_bytes(zone));
    }
    builder
}

/// Waits until every packet that the kernel is at work on has come through. What such a packet makes the kernel follow is
/// not in the table before.
fn let_packets_pass() {
    /// Where the kernel cannot be waited for.
    const LONG_ENOUGH: Duration = Duration::from_millis(50);
    // It waits for all processors to leave what they do under RCU, as the way of a packet through the hooks is.
    if membarrier(MembarrierCommand::Global).is_err() {
        sleep(LONG_ENOUGH);
    }
}

/// Deletes these; says how many were still there.
fn delete(
    connection: &blocking::Connection<Netfilter>,
    entries: Vec<ConntrackBuilder>,
) -> Result<usize, KernelError> {
    connection
        .run(move |c| {
            Box::pin(async move {
                let mut forgotten = 0;
                for entry in entries {
                    // By its number too: a new connection from the same port is another one.
                    match c.del_conntrack(entry).await {
                        Ok(()) => forgotten += 1,
                        Err(error) if error.is_not_found() => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(forgotten)
            })
        })
        .map_err(failed("forget connections"))
}

/// Whether a connection that was to be marked is there no more. The kernel would make it anew, and is not told enough
/// for that.
fn is_gone(error: &nlink::Error) -> bool {
    error.is_not_found() || error.errno().map(i32::abs) == Some(Errno::INVAL.raw_os_error())
}
