//! Where a packet goes that comes in from outside: the kernel is asked as it would ask itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use crate::emit::netlink::attribute::Writer;

use super::KernelError;

/// `RTM_GETROUTE`
const GET_ROUTE: u16 = 26;
/// A flag: a request.
const REQUEST: u16 = 1;
/// A message type: the answer to a request, with an error number.
const ERROR: u16 = 2;

/// The length of `nlmsghdr`.
const HEADER: usize = 16;
/// The length of `rtmsg`.
const ROUTE: usize = 12;
/// In `rtmsg`: the type of the route.
const TYPE: usize = 7;

/// Attributes of a route.
const DESTINATION: u16 = 1;
const SOURCE: u16 = 2;
const INPUT: u16 = 3;

/// Types of routes.
const UNICAST: u8 = 1;

/// Where there is no router, a packet from a root name server (root-servers.org).
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4));
const ANYBODY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30));

/// Asks one question after the other.
pub(super) struct Arrivals {
    socket: Socket,
}

fn failed(error: &io::Error) -> KernelError {
    KernelError::Failed {
        doing: "look at the routes",
        errno: Errno::from_io_error(error).unwrap_or(Errno::IO),
    }
}

impl Arrivals {
    pub(super) fn new() -> Result<Self, KernelError> {
        let socket = Socket::new(NETLINK_ROUTE).map_err(|error| failed(&error))?;
        Ok(Self { socket })
    }

    /// Whether a packet to `to` that comes in by this interface would be sent on, as by `ip route get TO from FROM iif
    /// INTERFACE`. What the machine takes itself and what it drops is not. The packet is the router's own, so that no
    /// filter of reverse paths drops it.
    pub(super) fn is_sent_on(
        &self,
        to: IpAddr,
        router: Option<IpAddr>,
        interface: u32,
    ) -> Result<bool, KernelError> {
        let of_family = router.filter(|router| router.is_ipv4() == to.is_ipv4());
        let from = of_family.unwrap_or(if to.is_ipv4() { ANYBODY } else { ANYBODY_V6 });
        let answered = self.ask(&question(to, from, interface));
        let answer = answered.map_err(|error| failed(&error))?;
        // A route that refuses, and none at all, is told as an error.
        let refused = answer.get(4..6) == Some(&ERROR.to_ne_bytes()[..]);
        Ok(!refused && answer.get(HEADER + TYPE) == Some(&UNICAST))
    }

    fn ask(&self, question: &[u8]) -> io::Result<Vec<u8>> {
        self.socket.send(question, 0)?;
        // The kernel answers while it is asked.
        let (answer, _) = self.socket.recv_from_full()?;
        Ok(answer)
    }
}

fn question(to: IpAddr, from: IpAddr, interface: u32) -> Vec<u8> {
    const INET: u8 = 2;
    const INET6: u8 = 10;
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (family, bits) = match to {
        IpAddr::V4(_) => (INET, 32),
        IpAddr::V6(_) => (INET6, 128),
    };
    let mut route = [0; ROUTE];
    let [first, to_bits, from_bits, ..] = &mut route;
    (*first, *to_bits, *from_bits) = (family, bits, bits);
    let mut rest = Writer::default();
    rest.raw(&route);
    rest.bytes(DESTINATION, &octets(to));
    rest.bytes(SOURCE, &octets(from));
    rest.bytes(INPUT, &interface.to_ne_bytes());
    let rest = rest.into_bytes();
    let length = u32::try_from(HEADER + rest.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(GET_ROUTE.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    // The sequence number and the sender's, which nobody looks at.
    message.extend([0; 8]);
    message.extend(rest);
    message
}
