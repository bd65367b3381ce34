//! Whoever asks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::{Answer, Request};

/// The longest answer, in bytes.
const LONGEST_ANSWER: u64 = 64 << 20;

/// A daemon that was asked.
#[derive(Debug)]
pub struct Asked {
    answers: BufReader<io::Take<UnixStream>>,
}

/// Asks the daemon behind this socket; `None`: none is there. `patience` is how long one answer is waited for; `None`: for
/// ever.
///
/// # Errors
///
/// It is there, and not this user's to ask, or it does not listen.
pub fn ask(
    socket: &Path,
    request: &Request,
    patience: Option<Duration>,
) -> io::Result<Option<Asked>> {
    // A daemon that is stopped has a queue of connections that fills up, and must not keep anybody waiting.
    let end = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    match connect(&end, &SocketAddrUnix::new(socket)?) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
        Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
        Err(errno) => return Err(errno.into()),
    }
    let mut stream = UnixStream::from(end);
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    match stream.write_all(&line) {
        // It may have said why it takes no request.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        outcome => outcome?,
    }
    Ok(Some(Asked {
        answers: BufReader::new(stream.take(LONGEST_ANSWER)),
    }))
}

impl Asked {
    /// The next answer; `None`: that was all.
    ///
    /// # Errors
    ///
    /// It does not come in time ([`io::ErrorKind::WouldBlock`]), or is none.
    pub fn answer(&mut self) -> io::Result<Option<Answer>> {
        let mut line = Vec::new();
        self.answers.get_mut().set_limit(LONGEST_ANSWER);
        match self.answers.read_until(b'\n', &mut line) {
            // It ended, or another program takes its place, before it answered.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            outcome => outcome?,
        };
        if line.is_empty() {
            return Ok(None);
        }
        let answer = serde_json::from_slice(&line).map_err(io::Error::other)?;
        Ok(Some(answer))
    }
}
