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
    let mut header = vec![0x45, 0];
    header.extend(length(28 + payload.len()));
    header.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    header.extend(from.0.octets());
    header.extend(to.0.octets());
    let checksum = internet_checksum(&header);
    header.splice(10..12, checksum);

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

/// A frame with a UDP datagram of either family, which has so many hops left.
pub(crate) fn udp_frame(
    destination_mac: &str,
    source_mac: &str,
    (from, to): (SocketAddr, SocketAddr),
    hops: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut datagram = [from.port(), to.port()].map(u16::to_be_bytes).concat();
    datagram.extend(length(8 + payload.len()));
    datagram.extend([0, 0]);
    datagram.extend(payload);
    frame(
        destination_mac,
        source_mac,
        (from.ip(), to.ip()),
        hops,
        (17, 6),
        datagram,
    )
}

/// A frame with a TCP segment that begins a connection.
pub(crate) fn syn_frame(
    destination_mac: &str,
    source_mac: &str,
    (from, to): (SocketAddr, SocketAddr),
    hops: u8,
) -> Vec<u8> {
    let mut segment = [from.port(), to.port()].map(u16::to_be_bytes).concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0x20, 0, 0, 0, 0, 0]);
    let ends = (from.ip(), to.ip());
    frame(destination_mac, source_mac, ends, hops, (6, 16), segment)
}

/// A frame with a packet of this protocol, whose checksum is at this offset.
fn frame(
    destination_mac: &str,
    source_mac: &str,
    (from, to): (IpAddr, IpAddr),
    hops: u8,
    (protocol, checksum_at): (u8, usize),
    mut data: Vec<u8>,
) -> Vec<u8> {
    let mut frame = [mac_bytes(destination_mac), mac_bytes(source_mac)].concat();
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => panic!("one family"),
    };
    let size = length(data.len());
    let pseudo = [&addresses, &[0, protocol][..], &size, &data].concat();
    data.splice(checksum_at..checksum_at + 2, internet_checksum(&pseudo));
    if from.is_ipv4() {
        let mut header = [&[0x45, 0][..], &length(20 + data.len()), &[0, 1, 0, 0]].concat();
        header.extend([hops, protocol, 0, 0]);
        header.extend(addresses);
        let checksum = internet_checksum(&header);
        header.splice(10..12, checksum);
        frame.extend([0x08, 0x00]);
        frame.extend(header);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(size);
        frame.extend([protocol, hops]);
        frame.extend(addresses);
    }
    frame.extend(data);
    frame
}

/// Of words of two bytes, the last of which may be half.
pub(crate) fn internet_checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded).expect("folded to 16 bits")).to_be_bytes()
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("a short frame").to_be_bytes()
}

/// The frame with a VLAN's tag, or two: the types and numbers, the outer one first.
pub(crate) fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let mut all = addresses.to_vec();
    for (kind, number) in tags {
        all.extend(kind.to_be_bytes());
        all.extend(number.to_be_bytes());
    }
    all.extend(rest);
    all
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
        let ends = (self.from.ip(), self.to.ip());
        frame(destination_mac, source_mac, ends, 64, (6, 16), tcp)
    }
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
