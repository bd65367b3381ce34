//! Frames as they are on the wire: taken and sent by a packet socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{self, AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType};

use super::namespace::Namespace;

/// A packet socket on one interface.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: OwnedFd,
    mac: String,
}

/// What a frame that carries IP says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) source_mac: String,
    pub(crate) destination_mac: String,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// The number of the transport protocol.
    pub(crate) protocol: u8,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// Sent by the interface that the socket is on, not received.
    pub(crate) outgoing: bool,
    /// The whole frame.
    pub(crate) bytes: Vec<u8>,
}

/// A frame of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    /// Sent by the interface that the socket is on, not received.
    pub(crate) outgoing: bool,
    /// The whole frame.
    pub(crate) bytes: Vec<u8>,
}

impl Wire {
    /// Starts to take frames on an interface.
    pub(crate) fn tap(namespace: &Namespace, interface: &str) -> Self {
        namespace.run(|| {
            let address = getifaddrs()
                .expect("interfaces can be listed")
                .filter(|found| found.interface_name == interface)
                .find_map(|found| {
                    found
                        .address
                        .and_then(|address| address.as_link_addr().copied())
                })
                .unwrap_or_else(|| panic!("{}: no interface {interface}", namespace.name));
            let socket = socket::socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
                SockProtocol::EthAll,
            )
            .expect("packet sockets need root");
            socket::bind(socket.as_raw_fd(), &address)
                .unwrap_or_else(|error| panic!("packet socket on {interface}: {error}"));
            let mac = address.addr().map(|mac| mac_text(&mac)).unwrap_or_default();
            let wire = Self { socket, mac };
            wire.taken(); // what other interfaces received before the bind
            wire
        })
    }

    /// The interface's own MAC address.
    pub(crate) fn mac(&self) -> &str {
        &self.mac
    }

    /// The IP frames since the last call.
    pub(crate) fn taken(&self) -> Vec<Frame> {
        let raw = self.taken_raw().into_iter();
        raw.filter_map(|raw| Frame::parse(&raw.bytes, raw.outgoing))
            .collect()
    }

    /// All frames since the last call.
    pub(crate) fn taken_raw(&self) -> Vec<Raw> {
        let mut frames = Vec::new();
        let mut bytes = vec![0; 65_536];
        loop {
            match socket::recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut bytes) {
                Ok((length, from)) => {
                    let outgoing =
                        from.is_some_and(|from| from.pkttype() == nix::libc::PACKET_OUTGOING);
                    frames.extend(bytes.get(..length).map(|bytes| Raw {
                        outgoing,
                        bytes: bytes.to_vec(),
                    }));
                }
                Err(Errno::EAGAIN) => return frames,
                Err(error) => panic!("packet socket: {error}"),
            }
        }
    }

    /// Waits for a frame of this kind; `None` when it does not come in time.
    pub(crate) fn wait_for(
        &self,
        patience: Duration,
        wanted: impl Fn(&Frame) -> bool,
    ) -> Option<Frame> {
        let end = Instant::now() + patience;
        loop {
            if let Some(frame) = self.taken().into_iter().find(|frame| wanted(frame)) {
                return Some(frame);
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Puts a frame on the wire as it is.
    pub(crate) fn send(&self, frame: &[u8]) {
        let sent = socket::send(self.socket.as_raw_fd(), frame, MsgFlags::empty())
            .expect("the interface is up");
        assert_eq!(sent, frame.len(), "a frame is sent whole");
    }
}

impl Frame {
    fn parse(bytes: &[u8], outgoing: bool) -> Option<Self> {
        let packet = bytes.get(14..)?;
        let (ttl, protocol, source, destination, header): (_, _, IpAddr, IpAddr, _) =
            match bytes.get(12..14)? {
                [0x08, 0x00] => (
                    *packet.get(8)?,
                    *packet.get(9)?,
                    Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?).into(),
                    Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?).into(),
                    usize::from(packet.first()? & 15) * 4,
                ),
                [0x86, 0xdd] => (
                    *packet.get(7)?,
                    *packet.get(6)?,
                    Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(8..24)?).ok()?).into(),
                    Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?).into(),
                    40,
                ),
                _ => return None,
            };
        let port = |at: usize| match packet.get(header + at..header + at + 2) {
            Some(&[high, low]) if matches!(protocol, 6 | 17 | 132) => {
                u16::from_be_bytes([high, low])
            }
            _ => 0,
        };
        Some(Self {
            source_mac: mac_text(bytes.get(6..12)?),
            destination_mac: mac_text(bytes.get(..6)?),
            ttl,
            protocol,
            source: SocketAddr::new(source, port(0)),
            destination: SocketAddr::new(destination, port(2)),
            outgoing,
            bytes: bytes.to_vec(),
        })
    }
}

/// A frame with an IPv4 UDP datagram.
pub(crate) fn udp4_frame(
    destination_mac: &str,
    source_mac: &str,
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    payload: &[u8],
) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).expect("a short frame").to_be_bytes();
    let mut header = vec![0x45, 0];
    header.extend(length(28 + payload.len()));
    header.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    header.extend(from.0.octets());
    header.extend(to.0.octets());
    let sum = checksum(&header);
    header.splice(10..12, sum.to_be_bytes());

    let mut frame = mac_bytes(destination_mac);
    frame.extend(mac_bytes(source_mac));
    frame.extend([0x08, 0x00]);
    frame.extend(header);
    frame.extend(from.1.to_be_bytes());
    frame.extend(to.1.to_be_bytes());
    frame.extend(length(8 + payload.len()));
    frame.extend([0, 0]); // no UDP checksum
    frame.extend(payload);
    frame
}

/// What the header of a TCP segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) flags: u8,
}

impl Segment {
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;

    /// The segment in a frame, if it has one.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let header = match frame.bytes.get(12..14)? {
            [0x08, 0x00] => 14 + usize::from(frame.bytes.get(14)? & 15) * 4,
            _ => 54,
        };
        let word = |at: usize| {
            let bytes = frame.bytes.get(header + at..header + at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        (frame.protocol == 6).then_some(Self {
            from: frame.source,
            to: frame.destination,
            sequence: word(4)?,
            acknowledged: word(8)?,
            flags: *frame.bytes.get(header + 13)?,
        })
    }

    /// A frame that carries it, and four bytes of data.
    pub(crate) fn frame(&self, destination_mac: &str, source_mac: &str) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.from.port().to_be_bytes());
        tcp.extend(self.to.port().to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledged.to_be_bytes());
        tcp.extend([0x50, self.flags, 0x20, 0, 0, 0, 0, 0]);
        tcp.extend(*b"late");
        let length = u16::try_from(tcp.len()).expect("a short segment");
        let mut frame = mac_bytes(destination_mac);
        frame.extend(mac_bytes(source_mac));
        let mut pseudo = Vec::new();
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = vec![0x45, 0];
                header.extend((20 + length).to_be_bytes());
                header.extend([0, 1, 0, 0, 64, 6, 0, 0]);
                header.extend([from.octets(), to.octets()].concat());
                let sum = checksum(&header);
                header.splice(10..12, sum.to_be_bytes());
                pseudo.extend([from.octets(), to.octets()].concat());
                frame.extend([0x08, 0x00]);
                frame.extend(header);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                pseudo.extend([from.octets(), to.octets()].concat());
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([6, 64]);
                frame.extend(&pseudo);
            }
            mixed => panic!("two families: {mixed:?}"),
        }
        pseudo.extend([0, 6]);
        pseudo.extend(length.to_be_bytes());
        pseudo.extend(&tcp);
        let sum = checksum(&pseudo);
        tcp.splice(16..18, sum.to_be_bytes());
        frame.extend(tcp);
        frame
    }
}

/// The checksum of the Internet over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let pairs = bytes.chunks(2);
    let mut sum: u32 = pairs
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

fn mac_text(mac: &[u8]) -> String {
    mac.iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}

fn mac_bytes(mac: &str) -> Vec<u8> {
    mac.split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("a MAC address is hexadecimal"))
        .collect()
}
