//! Whoever is asked: any number of clients, none of which can keep another one waiting.
//!
//! Nothing here waits. A client has a few seconds to say what it wants and to take what it is told, and so much memory and no
//! more; where there are too many, those that say nothing go first, and root's go last.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;

use super::{Answer, LONGEST_REQUEST, Request};

/// So many clients at once.
pub const MOST_CLIENTS: usize = 64;

/// How long a client may take to say what it wants, and to take what it is told.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// So many bytes may wait for a client, beside one answer however long: whoever follows events and does not read them is cut
/// off.
pub const MOST_WAITING: usize = 1 << 20;

/// A client, by a number that no other one gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

/// The socket and those who came.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    clients: BTreeMap<ClientId, Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    /// The user that it runs as, and its process.
    user: u32,
    process: Option<i32>,
    /// What it said so far.
    said: Vec<u8>,
    /// What it has not yet taken.
    waiting: Vec<u8>,
    stage: Stage,
    /// Since when it is expected to do something.
    since: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It says what it wants.
    Asking,
    /// It waits for what comes of it.
    Waiting,
    /// It is told what happens.
    Following,
    /// It has been told all.
    Leaving,
}

impl Server {
    /// Listens at `path`. Whatever lies there is removed: whoever calls this knows that nobody listens there any more.
    ///
    /// Root may ask anything; others what changes nothing, if `group` is theirs.
    ///
    /// # Errors
    ///
    /// The folder cannot be written to, or the path is too long for a socket (107 bytes).
    pub fn listen(path: &Path, group: Option<u32>) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let mut mode = 0o600;
        if group.is_some() {
            mode = 0o660;
            std::os::unix::fs::chown(path, None, group)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            clients: BTreeMap::new(),
            next: 0,
        })
    }

    /// What is waited for, and what for.
    pub fn waits_for(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let listener = (self.listener.as_fd(), PollFlags::IN);
        let clients = self.clients.values().map(|client| {
            let mut events = PollFlags::empty();
            if client.stage == Stage::Asking {
                events |= PollFlags::IN;
            }
            if !client.waiting.is_empty() {
                events |= PollFlags::OUT;
            }
            // With nothing asked for, it is told that the other end is gone.
            (client.stream.as_fd(), events)
        });
        std::iter::once(listener).chain(clients)
    }

    /// When somebody's patience ends, if anybody is expected to do something.
    pub fn deadline(&self) -> Option<Duration> {
        let expected = self.clients.values().filter(|client| client.is_expected());
        expected.map(|client| client.since + PATIENCE).min()
    }

    /// Goes on with all of them; says what they ask, and the number of the process that does.
    pub fn go_on(&mut self, now: Duration) -> Vec<(ClientId, Option<i32>, Request)> {
        self.welcome(now);
        let mut asked = Vec::new();
        self.clients.retain(|id, client| {
            if client.stage == Stage::Asking {
                match client.hear() {
                    Heard::Nothing => {}
                    Heard::Gone => return false,
                    Heard::Line(line) => {
                        client.stage = Stage::Waiting;
                        client.since = now;
                        match understood(&line, client.user) {
                            Ok(request) => asked.push((*id, client.process, request)),
                            Err(why) => {
                                client.tell(&Answer::Refused { why }, now);
                                client.stage = Stage::Leaving;
                            }
                        }
                    }
                }
            }
            client.write(now) && !client.is_late(now)
        });
        asked
    }

    /// Takes in those who came.
    fn welcome(&mut self, now: Duration) {
        // Not for ever, however many come.
        for _ in 0..MOST_CLIENTS {
            let Ok((stream, _)) = self.listener.accept() else {
                return;
            };
            let Ok(credentials) = socket_peercred(&stream) else {
                continue;
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let user = credentials.uid.as_raw();
            if self.clients.len() >= MOST_CLIENTS && !self.make_room(user) {
                continue;
            }
            let id = ClientId(self.next);
            self.next += 1;
            let client = Client {
                stream,
                user,
                process: Some(credentials.pid.as_raw_nonzero().get()),
                said: Vec::new(),
                waiting: Vec::new(),
                stage: Stage::Asking,
                since: now,
            };
            self.clients.insert(id, client);
        }
    }

    /// Sends one away, so that another one of this user can come: first those who say nothing, then those who follow; nobody of
    /// root's for another user.
    fn make_room(&mut self, user: u32) -> bool {
        let may_go = |client: &Client| client.user != 0 || user == 0;
        let rank = |client: &Client| match client.stage {
            Stage::Asking => Some(0),
            Stage::Leaving => Some(1),
            Stage::Following => Some(2),
            Stage::Waiting => None,
        };
        let candidates = self.clients.iter().filter(|(_, client)| may_go(client));
        let ranked = candidates.filter_map(|(id, client)| {
            let rank = rank(client)?;
            Some((rank, client.user == 0, *id))
        });
        let Some((_, _, id)) = ranked.min() else {
            return false;
        };
        self.clients.remove(&id);
        true
    }

    /// Answers a client, and ends the conversation.
    pub fn answer(&mut self, id: ClientId, answer: &Answer, now: Duration) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.tell(answer, now);
            client.stage = Stage::Leaving;
            if !client.write(now) {
                self.clients.remove(&id);
            }
        }
    }

    /// Tells a client these, and then what happens if it is to follow.
    pub fn tell<'e>(
        &mut self,
        id: ClientId,
        answers: impl Iterator<Item = &'e Answer>,
        follow: bool,
        now: Duration,
    ) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        for answer in answers {
            client.tell(answer, now);
        }
        client.stage = if follow {
            Stage::Following
        } else {
            Stage::Leaving
        };
        if !client.write(now) {
            self.clients.remove(&id);
        }
    }

    /// Tells all who follow.
    pub fn broadcast(&mut self, answer: &Answer, now: Duration) {
        self.clients.retain(|_, client| {
            if client.stage != Stage::Following {
                return true;
            }
            if client.waiting.len() > MOST_WAITING {
                return false;
            }
            client.tell(answer, now);
            client.write(now)
        });
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }
}

impl Drop for Server {
    /// Nobody is to find a socket that nobody listens at.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What became of listening.
enum Heard {
    Nothing,
    Line(Vec<u8>),
    Gone,
}

impl Client {
    /// Whether it is to do something before it is sent away.
    fn is_expected(&self) -> bool {
        self.stage == Stage::Asking || !self.waiting.is_empty()
    }

    fn is_late(&self, now: Duration) -> bool {
        self.is_expected() && now >= self.since + PATIENCE
    }

    fn hear(&mut self) -> Heard {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Heard::Gone,
                Ok(many) => {
                    self.said.extend(bytes.iter().take(many));
                    if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                        self.said.truncate(end);
                        return Heard::Line(std::mem::take(&mut self.said));
                    }
                    // What is too long already is no request, whatever follows.
                    if self.said.len() > LONGEST_REQUEST {
                        return Heard::Line(std::mem::take(&mut self.said));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(_) => return Heard::Gone,
            }
        }
    }

    fn tell(&mut self, answer: &Answer, now: Duration) {
        if self.waiting.is_empty() {
            self.since = now;
        }
        // Plain data: serialization cannot fail.
        let _ = serde_json::to_writer(&mut self.waiting, answer);
        self.waiting.push(b'\n');
    }

    /// Writes what it takes; says whether it is to stay.
    fn write(&mut self, now: Duration) -> bool {
        let mut written = 0;
        let stays = loop {
            let rest = self.waiting.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break self.stage != Stage::Leaving;
            }
            match self.stream.write(rest) {
                Ok(0) => break false,
                Ok(many) => written += many,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(_) => break false,
            }
        };
        if written > 0 {
            self.waiting.drain(..written);
            self.since = now;
        }
        stays && !(self.stage != Stage::Asking && self.waiting.is_empty() && self.is_gone())
    }

    /// Whether nobody is at the other end any more. One that only has nothing more to say still listens.
    fn is_gone(&self) -> bool {
        let mut end = [PollFd::new(&self.stream, PollFlags::empty())];
        let now = Timespec::default();
        let looked = poll(&mut end, Some(&now));
        looked.is_ok_and(|ready| ready > 0)
    }
}

/// What a line asks, if this user may ask it.
fn understood(line: &[u8], user: u32) -> Result<Request, String> {
    if line.len() > LONGEST_REQUEST {
        return Err(format!("a request has at most {LONGEST_REQUEST} bytes"));
    }
    let request: Request =
        serde_json::from_slice(line).map_err(|error| format!("this is no request: {error}"))?;
    if user == 0 || user == rustix::process::geteuid().as_raw() || request.only_looks() {
        Ok(request)
    } else {
        Err("only root may change anything".to_owned())
    }
}

#[cfg(test)]
mod tests;
