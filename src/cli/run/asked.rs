//! Those who ask: their requests, and the socket that they find.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::Daemon;
use crate::apply::Tables;
use crate::cli::notes::notes;
use crate::cli::report::Report;
use crate::control::server::{ClientId, Server};
use crate::control::{About, Answer, Kind, Level, Request, SOCKET, Said};
use crate::daemon::hands::{Caller, Files as _, Wants};
use crate::daemon::order::Heard;
use crate::kernel::Linux;
use crate::kernel::events::Process;

/// The group whose members may ask what happens.
const GROUP: &str = "flbc";

/// How often it is looked whether commands can find the daemon.
pub(super) const FOUND: Duration = Duration::from_secs(5);

impl Daemon {
    pub(super) fn answer(
        &mut self,
        client: ClientId,
        process: Option<i32>,
        request: Request,
        now: Duration,
    ) {
        let by: Vec<Process> = process.and_then(named).into_iter().collect();
        match request {
            Request::About => {
                let about = Answer::About(self.about(now));
                if let Some(server) = &mut self.server {
                    server.answer(client, &about, now);
                }
            }
            Request::Events { follow } => {
                let answers: Vec<Answer> =
                    self.ring.events().cloned().map(Answer::Record).collect();
                if let Some(server) = &mut self.server {
                    server.tell(client, answers.iter(), follow, now);
                }
            }
            Request::Quiet => {
                self.listen_to_rules(false);
                self.quiet = true;
                self.core.hear(Heard::Turn, now);
                if let Some(server) = &mut self.server {
                    server.answer(client, &Answer::Done(Said::default()), now);
                }
            }
            Request::Reload { looks } => {
                let wants = Wants::Reload(looks);
                self.core
                    .hear(Heard::Reload(Caller { client, by, wants }), now);
            }
            Request::Set {
                service,
                server,
                demand,
            } => {
                let wants = Wants::Set {
                    server: (service, server),
                    demand,
                };
                self.core
                    .hear(Heard::Set(Caller { client, by, wants }), now);
            }
        }
    }

    /// Sees to it that others find this: somebody may have removed the folder.
    pub(super) fn be_found(&mut self, now: Duration) {
        if now < self.found {
            return;
        }
        self.found = now + FOUND;
        let tables = &self.hands.tables;
        let is_there = tables.file(SOCKET).is_ok_and(|path| path.exists());
        if is_there {
            return;
        }
        let (notes, name) = (notes(), tables.name());
        match notes.lock_of_daemon(name) {
            Ok(Some(lock)) => self.only_one = lock,
            // The lock is still there, and only the socket is gone.
            Ok(None)
                if notes
                    .daemon(name)
                    .is_some_and(|one| one.pid == std::process::id()) => {}
            // Another one has begun by now, or nothing can be written there: to be looked at again.
            _ => return,
        }
        // The old one takes its file away when it goes.
        drop(self.server.take());
        self.server = listen(&self.hands.tables);
        let text = "somebody removed what commands find this by: it is there again";
        self.happened(Level::Warning, Kind::Trouble, text.to_owned());
    }

    fn about(&self, now: Duration) -> About {
        let doing = if self.core.is_starting() {
            Some("waits for another flbc, or for the end of a trial, to begin".to_owned())
        } else if self.core.is_on_trial() {
            Some("waits for the end of a trial".to_owned())
        } else {
            None
        };
        let held = self.core.held(now).map(|pause| {
            format!(
                "it was taken away again and again, and is brought back in {} s; `flbc reload` does so at once",
                pause.as_secs().max(1)
            )
        });
        About {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since,
            configured: self.hands.files.name().to_owned(),
            running: self.hands.running(),
            doing,
            failing: held.or_else(|| self.hands.complaint().map(str::to_owned)),
            repairs: self.hands.repairs,
            faulty_since: self.hands.faulty_since,
            read_at: self.hands.read_at,
        }
    }
}

/// The socket. Without it nothing is lost but that nobody can ask.
pub(super) fn listen(tables: &Tables<Linux>) -> Option<Server> {
    let group = group();
    if group.is_some() {
        // To get to the socket they pass through the folder, and need not see what is in it.
        let _ = std::fs::set_permissions(tables.notes(), Permissions::from_mode(0o711));
    }
    let server = tables
        .file(SOCKET)
        .and_then(|path| Server::listen(&path, group));
    match server {
        Ok(server) => Some(server),
        Err(error) => {
            Report::warning(&format!(
                "nobody can ask this daemon anything, as it has no socket: {error}"
            ));
            None
        }
    }
}

/// A process by its number, while it lives.
fn named(process: i32) -> Option<Process> {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(Process {
        id: process.try_into().ok()?,
        name: name.trim_end().to_owned(),
    })
}

/// The number of the group of those who may ask.
fn group() -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let mut lines = text.lines().map(|line| line.split(':'));
    let mut line = lines.find(|line| line.clone().next() == Some(GROUP))?;
    line.nth(2)?.parse().ok()
}
