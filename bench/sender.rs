//! Sends frames as fast as one processor can: a packet socket, many frames in a call.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{self, AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType};

use crate::lab::packet::udp4_frame;

/// At most so many frames in a call.
const BATCH: usize = 64;

/// A packet socket that only sends.
pub(crate) struct Sender {
    socket: OwnedFd,
    headers: MultiHeaders<LinkAddr>,
}

impl Sender {
    /// On an interface of the namespace that the thread is in.
    pub(crate) fn open(interface: &str) -> Result<Self, String> {
        let said = |error: Errno| format!("packet socket: {error}");
        let address = getifaddrs()
            .map_err(said)?
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address.and_then(|a| a.as_link_addr().copied()))
            .ok_or_else(|| format!("no interface {interface}"))?;
        // Without a protocol it receives nothing.
        let socket = socket::socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(said)?;
        socket::bind(socket.as_raw_fd(), &address).map_err(said)?;
        let headers = MultiHeaders::preallocate(BATCH, None);
        Ok(Self { socket, headers })
    }

    /// Sends at most [`BATCH`] frames. One that the interface does not take is lost, and not counted by anybody.
    pub(crate) fn send_all(&mut self, frames: &[Vec<u8>]) -> Result<(), String> {
        let mut rest = frames;
        while !rest.is_empty() {
            let slices: Vec<[IoSlice<'_>; 1]> = rest.iter().map(|f| [IoSlice::new(f)]).collect();
            let nobody: Vec<Option<LinkAddr>> = vec![None; rest.len()];
            let sent = socket::sendmmsg(
                self.socket.as_raw_fd(),
                &mut self.headers,
                &slices,
                &nobody,
                [],
                MsgFlags::empty(),
            );
            let sent = match sent {
                Ok(sent) => sent.count(),
                Err(Errno::ENOBUFS | Errno::EAGAIN) => 1,
                Err(error) => return Err(format!("sendmmsg: {error}")),
            };
            rest = rest.get(sent.max(1)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The frame of one flow, of 64 bytes; each number is another client address and port.
pub(crate) fn flow(balancer: &str, number: u32, to: SocketAddr) -> Vec<u8> {
    let to = match to {
        SocketAddr::V4(to) => (*to.ip(), to.port()),
        SocketAddr::V6(_) => (Ipv4Addr::UNSPECIFIED, 0),
    };
    let from = Ipv4Addr::from_bits(0xc612_0000 + number % 0x1_ffff);
    let port = u16::try_from(1024 + number / 0x1_ffff * 7 + number % 50_000).unwrap_or(1024);
    udp4_frame(balancer, "02:00:00:00:00:01", (from, port), to, &[0; 18])
}
