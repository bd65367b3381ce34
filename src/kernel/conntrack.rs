//! Connections and interfaces, by nlink.

use nlink::blocking;
use nlink::netlink::netfilter::{
    ConntrackBuilder, ConntrackEntry, ConntrackFilter, ConntrackStatus,
};
use nlink::{Route, netlink::Netfilter};
use rustix::io::Errno;

use crate::emit::netlink::Interfaces;
use crate::model::MacAddress;

use super::{Balanced, Connection, Judged, KernelError, Verdict};

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
    let entries = matching(&connection, wanted)?;
    Ok(entries.iter().filter_map(read).collect())
}

fn open() -> Result<blocking::Connection<Netfilter>, KernelError> {
    blocking::Connection::new().map_err(failed("talk to connection tracking"))
}

fn matching(
    connection: &blocking::Connection<Netfilter>,
    wanted: Balanced,
) -> Result<Vec<ConntrackEntry>, KernelError> {
    let filter = filter(wanted);
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
    for entry in matching(&connection, all)? {
        match read(&entry).map_or(Verdict::Keep, |connection| judge(&connection)) {
            Verdict::Keep => {}
            Verdict::Mark(mark) => marked.push((entry, mark)),
            Verdict::Forget => doomed.push(entry),
        }
    }
    connection
        .run(move |c| {
            Box::pin(async move {
                let mut judged = Judged::default();
                for (entry, mark) in &marked {
                    let builder = ConntrackBuilder::from_entry(entry).mark(*mark);
                    match c.update_conntrack(builder).await {
                        Ok(()) => judged.marked += 1,
                        Err(error) if is_gone(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                for entry in &doomed {
                    // By its number too: a new connection from the same port is another one.
                    match c.del_conntrack_entry(entry).await {
                        Ok(()) => judged.forgotten += 1,
                        Err(error) if error.is_not_found() => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(judged)
            })
        })
        .map_err(failed("change connections"))
}

/// Whether a connection that was to be marked is there no more. The kernel would make it anew, and is not told enough
/// for that.
fn is_gone(error: &nlink::Error) -> bool {
    error.is_not_found() || error.errno().map(i32::abs) == Some(Errno::INVAL.raw_os_error())
}
