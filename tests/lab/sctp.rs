//! Just enough of SCTP (RFC 9260) to see who answers an INIT, over raw sockets: a kernel need not have
//! SCTP sockets to balance SCTP.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::Answer;

/// SCTP, protocol number 132.
pub(crate) const PROTOCOL: Protocol = Protocol::SCTP;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const STATE_COOKIE: u16 = 7;

/// What an INIT and its INIT ACK have of interest here.
#[derive(Debug)]
struct Packet {
    source: u16,
    destination: u16,
    verification_tag: u32,
    chunk: u8,
    initiate_tag: u32,
    /// The state cookie of an INIT ACK, where the answer travels.
    cookie: Vec<u8>,
}

/// A raw socket for SCTP on one address.
#[derive(Debug)]
pub(crate) struct Endpoint {
    socket: Socket,
    v4: bool,
}

impl Endpoint {
    /// Opens the socket in the namespace of this thread.
    pub(crate) fn bind(address: IpAddr, patience: Duration) -> Self {
        let local = SocketAddr::new(address, 0);
        let socket = Socket::new(Domain::for_address(local), Type::RAW, Some(PROTOCOL))
            .expect("raw sockets need root");
        socket
            .bind(&local.into())
            .unwrap_or_else(|error| panic!("SCTP {address}: {error}"));
        socket
            .set_read_timeout(Some(patience))
            .expect("a timeout that is not 0");
        Self {
            socket,
            v4: address.is_ipv4(),
        }
    }

    /// Waits a moment for an INIT to this port, and answers it.
    pub(crate) fn answer_init(&self, port: u16, name: &str) {
        let Ok((packet, peer)) = self.receive() else {
            return;
        };
        if packet.destination != port || packet.chunk != INIT {
            return;
        }
        let answer = Answer {
            server: name.to_owned(),
            client: SocketAddr::new(peer, packet.source),
        };
        let reply = Packet {
            source: port,
            destination: packet.source,
            verification_tag: packet.initiate_tag,
            chunk: INIT_ACK,
            initiate_tag: 0x5e57_0001,
            cookie: answer.line().into_bytes(),
        };
        // A lost answer shows at the client.
        let _ = self.send(&reply, peer);
    }

    fn send(&self, packet: &Packet, to: IpAddr) -> io::Result<usize> {
        self.socket
            .send_to(&packet.to_bytes(), &SocketAddr::new(to, 0).into())
    }

    fn receive(&self) -> io::Result<(Packet, IpAddr)> {
        let mut bytes = [0; 2048];
        let (length, peer) = recvfrom::<SockaddrStorage>(self.socket.as_raw_fd(), &mut bytes)?;
        let datagram = bytes.get(..length).unwrap_or_default();
        // IPv4 raw sockets show the IP header, IPv6 ones do not.
        let header = if self.v4 {
            usize::from(datagram.first().copied().unwrap_or_default() & 15) * 4
        } else {
            0
        };
        let packet = datagram.get(header..).and_then(Packet::parse);
        let peer = peer.and_then(|peer| {
            let v4 = peer.as_sockaddr_in().map(|peer| IpAddr::from(peer.ip()));
            v4.or_else(|| peer.as_sockaddr_in6().map(|peer| IpAddr::from(peer.ip())))
        });
        packet.zip(peer).ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidData, "not the SCTP that was looked for")
        })
    }
}

/// Sends an INIT and hears who answers.
pub(crate) fn ask(
    from: Option<SocketAddr>,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<Answer> {
    let from =
        from.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "SCTP wants a source"))?;
    let endpoint = Endpoint::bind(from.ip(), patience);
    let init = Packet {
        source: from.port(),
        destination: to.port(),
        verification_tag: 0,
        chunk: INIT,
        initiate_tag: 0x1111_0000 | u32::from(from.port()),
        cookie: Vec::new(),
    };
    endpoint.send(&init, to.ip())?;
    let end = Instant::now() + patience;
    while Instant::now() < end {
        match endpoint.receive() {
            Ok((packet, peer)) if peer == to.ip() && is_answer(&init, &packet) => {
                let line = String::from_utf8_lossy(&packet.cookie).into_owned();
                return Answer::parse(&line)
                    .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, line));
            }
            // Others' packets come to a raw socket too.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::TimedOut.into())
}

fn is_answer(init: &Packet, packet: &Packet) -> bool {
    packet.chunk == INIT_ACK
        && packet.source == init.destination
        && packet.destination == init.source
        && packet.verification_tag == init.initiate_tag
}

impl Packet {
    fn to_bytes(&self) -> Vec<u8> {
        let mut chunk = Vec::new();
        chunk.extend(self.initiate_tag.to_be_bytes());
        chunk.extend(65_535_u32.to_be_bytes()); // receiver window
        chunk.extend([0, 1, 0, 1]); // one stream each way
        chunk.extend(1_u32.to_be_bytes()); // first transmission sequence number
        if !self.cookie.is_empty() {
            chunk.extend(STATE_COOKIE.to_be_bytes());
            chunk.extend(length_of(self.cookie.len() + 4));
            chunk.extend(&self.cookie);
        }
        let mut bytes = Vec::new();
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(self.verification_tag.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend([self.chunk, 0]);
        bytes.extend(length_of(chunk.len() + 4));
        bytes.extend(chunk);
        while !bytes.len().is_multiple_of(4) {
            bytes.push(0);
        }
        let checksum = crc32c(&bytes);
        bytes.splice(8..12, checksum.to_le_bytes());
        bytes
    }

    /// The packet, if its checksum is right and its first chunk is an INIT or an INIT ACK.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut blank = bytes.to_vec();
        blank.get_mut(8..12)?.fill(0);
        if crc32c(&blank).to_le_bytes() != *bytes.get(8..12)? {
            return None;
        }
        let chunk = *bytes.get(12)?;
        let cookie = match chunk {
            INIT => Vec::new(),
            INIT_ACK => {
                let length = usize::from(u16_at(bytes, 34)?);
                bytes.get(36..32 + length)?.to_vec()
            }
            _ => return None,
        };
        Some(Self {
            source: u16_at(bytes, 0)?,
            destination: u16_at(bytes, 2)?,
            verification_tag: u32_at(bytes, 4)?,
            chunk,
            initiate_tag: u32_at(bytes, 16)?,
            cookie,
        })
    }
}

fn length_of(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("a short packet").to_be_bytes()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// CRC-32C (Castagnoli), as RFC 9260 wants it.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}
