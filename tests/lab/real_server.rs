//! A real server: it tells every client its own name and the address that the client seems to have.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::namespace::Namespace;
use super::{Answer, sctp};

/// How often a waiting thread looks whether its server has been stopped.
const TURN: Duration = Duration::from_millis(100);

/// How long a connection may stay silent.
const IDLE: Duration = Duration::from_secs(60);

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct RealServer {
    stopped: Arc<AtomicBool>,
}

impl RealServer {
    /// Answers on these addresses, by TCP and UDP.
    pub(crate) fn start(namespace: &Namespace, name: &str, listens: &[SocketAddr]) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        namespace.run(|| {
            for address in listens {
                Self::converse_on(None, *address, name, &stopped);
                let socket = UdpSocket::bind(address)
                    .unwrap_or_else(|error| panic!("{name}: UDP {address}: {error}"));
                socket
                    .set_read_timeout(Some(TURN))
                    .expect("a timeout that is not 0");
                let (server, stop) = (name.to_owned(), stopped.clone());
                thread::spawn(move || echo(&socket, &server, &stop));
            }
        });
        Self { stopped }
    }

    /// Answers on these addresses by SCTP, in a kernel that has its sockets.
    pub(crate) fn start_associations(
        namespace: &Namespace,
        name: &str,
        listens: &[SocketAddr],
    ) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        namespace.run(|| {
            for address in listens {
                Self::converse_on(Some(sctp::PROTOCOL), *address, name, &stopped);
            }
        });
        Self { stopped }
    }

    fn converse_on(
        protocol: Option<Protocol>,
        address: SocketAddr,
        name: &str,
        stopped: &Arc<AtomicBool>,
    ) {
        let listener = listen(protocol, address);
        let (server, stop) = (name.to_owned(), stopped.clone());
        thread::spawn(move || accept(&listener, &server, &stop));
    }

    /// Answers the first packet of an SCTP association on these addresses.
    pub(crate) fn start_sctp(namespace: &Namespace, name: &str, listens: &[SocketAddr]) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        namespace.run(|| {
            for address in listens {
                let socket = sctp::Endpoint::bind(address.ip(), TURN);
                let (server, stop, port) = (name.to_owned(), stopped.clone(), address.port());
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        socket.answer_init(port, &server);
                    }
                });
            }
        });
        Self { stopped }
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn listen(protocol: Option<Protocol>, address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, protocol)
        .unwrap_or_else(|error| panic!("no sockets of {protocol:?}: {error}"));
    socket.set_reuse_address(true).expect("a plain option");
    socket
        .bind(&address.into())
        .unwrap_or_else(|error| panic!("{protocol:?} {address}: {error}"));
    socket.listen(4096).expect("a bound socket listens");
    // On Linux it bounds `accept` too.
    socket
        .set_read_timeout(Some(TURN))
        .expect("a timeout that is not 0");
    socket.into()
}

fn accept(listener: &TcpListener, name: &str, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, client)) => {
                let answer = Answer {
                    server: name.to_owned(),
                    client,
                };
                thread::spawn(move || converse(&stream, &answer));
            }
            // A client that has already gone is no reason to stop.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) => {}
            Err(error) => panic!("{name}: accept: {error}"),
        }
    }
}

/// Says who it is, then again for each line `again`, and sends N bytes for each line `bulk N`. A client
/// may go at any time.
fn converse(mut stream: &TcpStream, answer: &Answer) -> Option<()> {
    stream.set_read_timeout(Some(IDLE)).ok()?;
    stream.set_write_timeout(Some(IDLE)).ok()?;
    stream.write_all(answer.line().as_bytes()).ok()?;
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?;
        match line.strip_prefix("bulk ") {
            Some(bytes) => stream.write_all(&vec![b'.'; bytes.parse().ok()?]).ok()?,
            None => stream.write_all(answer.line().as_bytes()).ok()?,
        }
    }
    Some(())
}

fn echo(socket: &UdpSocket, name: &str, stopped: &AtomicBool) {
    let mut datagram = [0; 2048];
    while !stopped.load(Ordering::Relaxed) {
        if let Ok((_, client)) = socket.recv_from(&mut datagram) {
            let answer = Answer {
                server: name.to_owned(),
                client,
            };
            // A lost answer shows at the client.
            let _ = socket.send_to(answer.line().as_bytes(), client);
        }
    }
}
