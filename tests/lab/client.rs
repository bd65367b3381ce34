//! Clients: they connect from an address of their choice and learn which real server answered.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::namespace::Namespace;
use super::{Answer, PATIENCE, SILENCE, sctp};

/// An open TCP connection or SCTP association, and who answered on it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The first answer.
    pub(crate) answer: Answer,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects, and hears who answers.
    pub(crate) fn open(
        namespace: &Namespace,
        from: Option<SocketAddr>,
        to: SocketAddr,
        patience: Duration,
    ) -> io::Result<Self> {
        namespace.run(|| Self::open_here(None, from, to, patience))
    }

    /// The same by SCTP, in a kernel that has its sockets.
    pub(crate) fn associate(
        namespace: &Namespace,
        from: SocketAddr,
        to: SocketAddr,
        patience: Duration,
    ) -> io::Result<Self> {
        namespace.run(|| Self::open_here(Some(sctp::PROTOCOL), Some(from), to, patience))
    }

    fn open_here(
        protocol: Option<socket2::Protocol>,
        from: Option<SocketAddr>,
        to: SocketAddr,
        patience: Duration,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, protocol)?;
        if let Some(from) = from {
            socket.set_reuse_address(true)?;
            socket.bind(&from.into())?;
        }
        socket.connect_timeout(&to.into(), patience)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        let mut stream = BufReader::new(TcpStream::from(socket));
        let answer = read_answer(&mut stream)?;
        Ok(Self { answer, stream })
    }

    /// Waits that long for answers from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(patience))
    }

    /// Asks again on the same connection.
    pub(crate) fn again(&mut self) -> io::Result<Answer> {
        self.stream.get_mut().write_all(b"again\n")?;
        read_answer(&mut self.stream)
    }

    /// Has the server send that many bytes, and counts them.
    pub(crate) fn bulk(&mut self, bytes: usize) -> io::Result<usize> {
        self.stream
            .get_mut()
            .write_all(format!("bulk {bytes}\n").as_bytes())?;
        let mut received = vec![0; bytes];
        self.stream.read_exact(&mut received)?;
        Ok(received.len())
    }
}

fn read_answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Answer::parse(&line).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("not an answer: {line:?}"),
        )
    })
}

/// After how long a datagram without an answer is sent again, as by clients of UDP everywhere.
const RESEND: Duration = Duration::from_secs(1);

/// How many datagrams a whole run may lose. A busy machine does lose one now and then; a fault of the rules loses more.
const MAY_BE_LOST: u32 = 5;

static LOST: AtomicU32 = AtomicU32::new(0);

/// A UDP socket connected to a VIP, so that errors of ICMP reach it.
#[derive(Debug)]
pub(crate) struct Datagrams {
    socket: UdpSocket,
    patience: Duration,
}

impl Datagrams {
    /// Opens the socket; nothing is sent yet.
    pub(crate) fn open(
        namespace: &Namespace,
        from: Option<SocketAddr>,
        to: SocketAddr,
        patience: Duration,
    ) -> io::Result<Self> {
        namespace.run(|| Self::open_here(from, to, patience))
    }

    fn open_here(from: Option<SocketAddr>, to: SocketAddr, patience: Duration) -> io::Result<Self> {
        let socket = UdpSocket::bind(from.unwrap_or_else(|| any_port(to)))?;
        socket.connect(to)?;
        Ok(Self { socket, patience })
    }

    /// Waits that long for answers from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sends a datagram, and waits for nothing.
    pub(crate) fn tell(&self) -> io::Result<()> {
        self.socket.send(b"who is there?").map(drop)
    }

    /// Sends a datagram, and hears who answers. While there is patience it is sent again each second, but only a few
    /// times in a whole run.
    pub(crate) fn ask(&self) -> io::Result<Answer> {
        self.ask_with(b"who is there?")
    }

    /// The same with a question of any length.
    pub(crate) fn ask_with(&self, question: &[u8]) -> io::Result<Answer> {
        let mut more = self.patience.as_secs().saturating_sub(1);
        self.socket
            .set_read_timeout(Some(self.patience.min(RESEND)))?;
        let mut lost = false;
        loop {
            self.socket.send(question)?;
            match self.hear() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if more == 0 || LOST.fetch_add(1, Ordering::Relaxed) >= MAY_BE_LOST {
                        return Err(error);
                    }
                    more -= 1;
                    lost = true;
                }
                heard => {
                    if lost {
                        eprintln!("a datagram to {:?} was lost", self.socket.peer_addr());
                        // The first answer may only have been late: it must not be the next question's.
                        self.socket.set_read_timeout(Some(SILENCE))?;
                        while self.hear().is_ok() {}
                    }
                    return heard;
                }
            }
        }
    }

    fn hear(&self) -> io::Result<Answer> {
        let mut datagram = [0; 2048];
        let length = self.socket.recv(&mut datagram)?;
        let line = String::from_utf8_lossy(datagram.get(..length).unwrap_or_default()).into_owned();
        Answer::parse(&line).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("not an answer: {line:?}"),
            )
        })
    }
}

/// How many addresses the client has in each family.
const CLIENTS: u32 = 1 << 17;

/// How to reach a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// One flow from its beginning: who answers?
pub(crate) fn ask(
    namespace: &Namespace,
    protocol: Protocol,
    from: Option<SocketAddr>,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<Answer> {
    namespace.run(|| ask_here(protocol, from, to, patience))
}

fn ask_here(
    protocol: Protocol,
    from: Option<SocketAddr>,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<Answer> {
    match protocol {
        Protocol::Tcp => {
            Connection::open_here(None, from, to, patience).map(|connection| connection.answer)
        }
        Protocol::Udp => Datagrams::open_here(from, to, patience)?.ask(),
        Protocol::Sctp => sctp::ask(from, to, patience),
    }
}

/// The servers that answered, in order, to flows from these addresses. Every flow must be answered.
pub(crate) fn ask_all(
    namespace: &Namespace,
    protocol: Protocol,
    from: &[SocketAddr],
    to: SocketAddr,
) -> Vec<String> {
    namespace.run(|| {
        from.iter()
            .map(|from| match ask_here(protocol, Some(*from), to, PATIENCE) {
                Ok(answer) => answer.server,
                Err(error) => panic!("{protocol:?} from {from} to {to}: {error}"),
            })
            .collect()
    })
}

/// How often each server stands in a list of answers.
pub(crate) fn tally(answers: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.as_str()).or_insert(0) += 1;
    }
    counts
}

/// A client's address and port for each number, of the family of `to`. Different numbers give different
/// ones, for the hundreds of thousands that a test may want.
pub(crate) fn source(to: SocketAddr, number: u32) -> SocketAddr {
    let place = number % CLIENTS;
    let address: IpAddr = if to.is_ipv4() {
        Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + place).into()
    } else {
        let network = Ipv6Addr::new(0x2001, 0xdb8, 0xc1, 0, 0, 0, 0, 0);
        Ipv6Addr::from_bits(network.to_bits() + u128::from(place)).into()
    };
    // Odd steps through the ports, below the range that the kernel gives out itself.
    let port = 2000 + (u64::from(number) * 4099 + u64::from(number / CLIENTS)) % 30_000;
    SocketAddr::new(address, u16::try_from(port).expect("below 32,000"))
}

fn any_port(to: SocketAddr) -> SocketAddr {
    if to.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    }
}
