//! The events of this machine's kernel.

use std::collections::BTreeMap;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname,
    recvfrom, send, socket_with, sockopt,
};
use socket2::{SockFilter, SockRef};

use crate::kernel::KernelError;
use crate::kernel::message::{DONE, ERROR, INTERRUPTED, Message, NLMSGHDR};

use super::reader::{IFINFOMSG, NEW_GENERATION, NEW_LINK, link};
use super::{Event, Link, Reader, Source, Watch};

/// No message of the kernel is longer.
const RECEIVE: usize = 64 << 10;

/// So many bytes the kernel keeps for each source until they are read; it makes twice as much of it, and counts what it
/// needs itself.
const KEPT: usize = 4 << 20;

/// So many datagrams of a source one call reads at most.
const AT_ONCE: usize = 4_096;

/// So often the interfaces are listed anew if they change meanwhile.
const ATTEMPTS: usize = 20;

/// The protocol of interfaces, addresses and neighbours, which is the first.
const ROUTE: Option<Protocol> = None;

/// Multicast groups, from `linux/netfilter/nfnetlink.h` and `linux/rtnetlink.h`.
const NFTABLES: u32 = 7;
const LINK: u32 = 1;
const NEIGHBOUR: u32 = 3;
const IPV4_ADDRESS: u32 = 5;
const IPV6_ADDRESS: u32 = 9;

/// The events of the kernel of one network namespace. It can be waited for with others: it is readable as long as
/// [`Watch::events`] has something to tell.
#[derive(Debug)]
pub struct Feed {
    subscriptions: Vec<Subscription>,
    /// All their sockets as one.
    together: OwnedFd,
    /// Where the interfaces are asked for.
    asking: OwnedFd,
    /// How often they were.
    asked: u32,
    reader: Reader,
    buffer: Vec<u8>,
    /// What was read and not yet told.
    pending: Vec<Event>,
}

#[derive(Debug)]
struct Subscription {
    source: Source,
    socket: OwnedFd,
    /// Something was lost, and what is left of it was not all read.
    overrun: bool,
}

fn failed(errno: Errno) -> KernelError {
    match errno {
        Errno::PERM | Errno::ACCESS => KernelError::NoPrivilege,
        errno => KernelError::Failed {
            doing: "follow what happens in the kernel",
            errno,
        },
    }
}

impl Feed {
    /// The events from now on, in the network namespace of the calling thread. The interfaces that are there come first.
    ///
    /// # Errors
    ///
    /// [`KernelError::NoPrivilege`] without `CAP_NET_ADMIN`, which is not asked for afterwards.
    pub fn open() -> Result<Self, KernelError> {
        let subscriptions = Source::ALL.map(Subscription::new);
        let subscriptions: Vec<_> = subscriptions.into_iter().collect::<Result<_, _>>()?;
        let together = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        for subscription in &subscriptions {
            let data = epoll::EventData::new_u64(0);
            epoll::add(&together, &subscription.socket, data, epoll::EventFlags::IN)
                .map_err(failed)?;
        }
        let mut feed = Self {
            subscriptions,
            together,
            asking: netlink_socket(ROUTE)?,
            asked: 0,
            reader: Reader::default(),
            buffer: vec![0; RECEIVE],
            pending: Vec::new(),
        };
        feed.look_at_links()?;
        Ok(feed)
    }

    /// Whether transactions are told of. For each rule and element of a transaction the kernel makes a notice of some 4 KB if anybody
    /// at all listens in this network namespace, whatever a filter lets through, and keeps all of them until its end: 63,000
    /// elements take it several times as long, and 250 MB. So nobody listens while something large is made; what others
    /// do meanwhile shows in the generation alone.
    ///
    /// # Errors
    ///
    /// [`KernelError::Failed`]: it is as it was.
    pub fn listen_to_rules(&mut self, listen: bool) -> Result<(), KernelError> {
        let rules = self.subscriptions.iter();
        for subscription in rules.filter(|one| one.source == Source::Rules) {
            let groups = if listen { 1 << (NFTABLES - 1) } else { 0 };
            let own = port_of(&subscription.socket)?;
            bind(&subscription.socket, &SocketAddrNetlink::new(own, groups)).map_err(failed)?;
        }
        Ok(())
    }

    /// Tells what about the interfaces is other than it was told.
    fn look_at_links(&mut self) -> Result<(), KernelError> {
        for _ in 0..ATTEMPTS {
            self.asked = self.asked.wrapping_add(1);
            if let Some(links) = list_links(&self.asking, self.asked, &mut self.buffer)? {
                self.pending.extend(self.reader.replace(links));
                return Ok(());
            }
        }
        Err(KernelError::Changed)
    }
}

impl AsFd for Feed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.together.as_fd()
    }
}

impl Watch for Feed {
    fn events(&mut self) -> Result<Vec<Event>, KernelError> {
        for at in 0..self.subscriptions.len() {
            let Some(subscription) = self.subscriptions.get_mut(at) else {
                break;
            };
            let caught_up =
                subscription.read(&mut self.buffer, &mut self.reader, &mut self.pending)?;
            // While the kernel's room is full it says so once, and then drops what happens without a word until all that it
            // has kept is read. So nobody looks before that.
            let source = subscription.source;
            if caught_up && subscription.overrun {
                if source == Source::Interfaces {
                    self.look_at_links()?;
                }
                self.pending.push(Event::Missed(source));
                if let Some(subscription) = self.subscriptions.get_mut(at) {
                    subscription.overrun = false;
                }
            }
        }
        Ok(mem::take(&mut self.pending))
    }
}

impl Subscription {
    fn new(source: Source) -> Result<Self, KernelError> {
        let (protocol, groups): (_, &[u32]) = match source {
            Source::Rules => (Some(netlink::NETFILTER), &[NFTABLES]),
            Source::Interfaces => (ROUTE, &[LINK, IPV4_ADDRESS, IPV6_ADDRESS]),
            Source::Neighbours => (ROUTE, &[NEIGHBOUR]),
        };
        let socket = netlink_socket(protocol)?;
        // In a user namespace the kernel gives no more than `net.core.rmem_max`: more is missed, and told so.
        let forced = sockopt::set_socket_recv_buffer_size_force(&socket, KEPT);
        let _ = forced.or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, KEPT));
        if source == Source::Rules {
            let filtered = SockRef::from(&socket).attach_filter(&only(NEW_GENERATION));
            filtered.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        }
        let groups = groups
            .iter()
            .fold(0, |mask, group| mask | 1 << (*group - 1));
        bind(&socket, &SocketAddrNetlink::new(0, groups)).map_err(failed)?;
        Ok(Self {
            source,
            socket,
            overrun: false,
        })
    }

    /// Reads what is there, but not without end. Says whether that was all.
    fn read(
        &mut self,
        buffer: &mut [u8],
        reader: &mut Reader,
        events: &mut Vec<Event>,
    ) -> Result<bool, KernelError> {
        for _ in 0..AT_ONCE {
            match receive(&self.socket, buffer) {
                Ok(datagram) => reader.read(datagram, events),
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::NOBUFS | Errno::MSGSIZE) => self.overrun = true,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.overrun = true;
                    return Err(failed(errno));
                }
            }
        }
        Ok(false)
    }
}

/// The number by which the kernel knows a socket of netlink, which stays the same.
fn port_of(socket: &OwnedFd) -> Result<u32, KernelError> {
    let address = getsockname(socket).map_err(failed)?;
    let address = SocketAddrNetlink::try_from(address).map_err(failed)?;
    Ok(address.pid())
}

/// A filter that lets through datagrams whose first message is of this type. Every other costs nobody anything: the kernel
/// asks the filter before it looks for room.
fn only(kind: u16) -> [SockFilter; 4] {
    /// Loads two bytes of the datagram.
    const LOAD: u16 = 0x28;
    const SKIP_UNLESS_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Where a message has its type.
    const TYPE: u32 = 4;
    // What is loaded is taken to be in network order.
    let kind = u16::from_be_bytes(kind.to_ne_bytes());
    [
        SockFilter::new(LOAD, 0, 0, TYPE),
        SockFilter::new(SKIP_UNLESS_EQUAL, 0, 1, u32::from(kind)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn netlink_socket(protocol: Option<Protocol>) -> Result<OwnedFd, KernelError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol).map_err(failed)
}

/// A datagram of the kernel's: an empty one if it is from somebody else.
fn receive<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let (_, length, from) = recvfrom(socket, &mut *buffer, RecvFlags::TRUNC)?;
    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
    if from.is_none_or(|from| from.pid() != 0) {
        return Ok(&[]);
    }
    buffer.get(..length).ok_or(Errno::MSGSIZE)
}

/// All interfaces; `None` if they changed meanwhile.
fn list_links(
    socket: &OwnedFd,
    sequence: u32,
    buffer: &mut [u8],
) -> Result<Option<BTreeMap<u32, Link>>, KernelError> {
    send(socket, &all_links(sequence), SendFlags::empty()).map_err(failed)?;
    let mut links = BTreeMap::new();
    let mut whole = true;
    loop {
        let mut rest = receive(socket, buffer).map_err(failed)?;
        while let Some((message, after)) = Message::read(rest) {
            rest = after;
            // What is left of an answer that could not be read.
            if message.sequence != sequence {
                continue;
            }
            whole &= message.flags & INTERRUPTED == 0;
            match message.kind {
                NEW_LINK => links.extend(link(message.payload).map(|link| (link.index, link))),
                DONE | ERROR => {
                    return match message.errno() {
                        None => Ok(whole.then_some(links)),
                        Some(errno) => Err(failed(errno)),
                    };
                }
                _ => {}
            }
        }
    }
}

/// The question for all interfaces: `nlmsghdr`, and an `ifinfomsg` that names none.
fn all_links(sequence: u32) -> Vec<u8> {
    /// `RTM_GETLINK`
    const GET_LINK: u16 = 18;
    const REQUEST: u16 = 0x1;
    const DUMP: u16 = 0x300;
    let length = u32::try_from(NLMSGHDR + IFINFOMSG).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(GET_LINK.to_ne_bytes());
    message.extend((REQUEST | DUMP).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.resize(NLMSGHDR + IFINFOMSG, 0);
    message
}
