//! Connections and interfaces, by nlink.

use nlink::blocking;
use nlink::netlink::netfilter::{ConntrackEntry, ConntrackFilter, ConntrackStatus};
use nlink::{Route, netlink::Netfilter};
use rustix::io::Errno;

use crate::emit::netlink::Interfaces;
use crate::model::MacAddress;

use super::{Balanced, Connection, KernelError};

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
    let doing = "list connections";
    let connection = blocking::Connection::<Netfilter>::new().map_err(failed(doing))?;
    let filter = filter(wanted);
    let entries = connection
        .run(move |c| Box::pin(async move { c.get_conntrack_matching(&filter).await }))
        .map_err(failed(doing))?;
    Ok(entries.iter().filter_map(read).collect())
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

pub(super) fn forget(wanted: Balanced) -> Result<usize, KernelError> {
    let doing = "delete connections";
    let connection = blocking::Connection::<Netfilter>::new().map_err(failed(doing))?;
    let filter = filter(wanted);
    connection
        .run(move |c| Box::pin(async move { c.del_conntrack_matching(&filter).await }))
        .map_err(failed(doing))
}
