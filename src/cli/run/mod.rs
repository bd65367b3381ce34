//! `flbc run`: waits, and hands on what it hears.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sd_notify::NotifyState;

use super::report::Report;
use super::{Exit, tables};
use crate::apply::Tables;
use crate::control::server::{ClientId, Server};
use crate::control::{About, Answer, Kind, Level, Record, Request, SOCKET};
use crate::daemon::Ring;
use crate::daemon::core::{self, Core};
use crate::daemon::hands::{Caller, Files as _, Hands, Wants};
use crate::daemon::held;
use crate::daemon::order::{Done, Heard};
use crate::kernel::events::{Feed, Watch as _};
use crate::kernel::{Kernel as _, KernelError, Linux};
use crate::notes::lock::Lock;
use crate::operate::Refused;

mod files;
mod following;
mod journal;
mod signals;

use files::FileSet;
use journal::Journal;
use signals::{Signals, came};

/// The group whose members may ask what happens.
const GROUP: &str = "flbc";

/// How `flbc run` goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Whether changes of the files are followed.
    pub(super) follow: bool,
}

/// `flbc run`
pub(super) fn run(how: How, table: &str, file: &Path) -> Exit {
    let mut daemon = match Daemon::new(how, table, file) {
        Ok(daemon) => daemon,
        Err(Unable::Kernel(error)) => return Report::kernel(&error),
        Err(Unable::Running(holder)) => {
            Report::failure(&format!(
                "another `flbc run` keeps these tables already{holder}; `flbc reload` has it read its file again"
            ));
            return Exit::Busy;
        }
        Err(Unable::Io(doing, error)) => {
            return Report::failure(&format!("cannot {doing}: {error}"));
        }
    };
    daemon.serve()
}

/// Why it does not begin.
enum Unable {
    Kernel(KernelError),
    /// Another one runs: who it is, in words that follow.
    Running(String),
    Io(&'static str, io::Error),
}

impl From<KernelError> for Unable {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

/// All that runs.
struct Daemon {
    hands: Hands<Linux, FileSet>,
    core: Core<Caller<ClientId>>,
    feed: Feed,
    server: Option<Server>,
    signals: Signals,
    ring: Ring,
    journal: Journal,
    followed: Option<following::Followed>,
    /// The program, as it was when this began: another one may lie there later.
    program: PathBuf,
    since: u64,
    /// How often a life sign is wanted, and when the last one was given.
    watchdog: Option<(Duration, Duration)>,
    /// Whether it was said that the start is over.
    ready: bool,
    /// Until when repairs were said to be held off.
    held: bool,
    _only_one: Lock,
}

/// What became of looking for something to do.
enum Worked {
    Done,
    Nothing,
    Ends(Exit),
}

/// What becomes of a turn of the loop.
enum Turn {
    Goes,
    Ends(Exit),
    /// Another program is to take its place.
    Renews,
}

impl Daemon {
    fn new(how: How, table: &str, file: &Path) -> Result<Self, Unable> {
        let tables = tables::open(table)?;
        let feed = Feed::open()?;
        let notes = tables::notes();
        let only_one = notes
            .lock_of_daemon(table)
            .map_err(|error| Unable::Io("use the folder of notes", error))?;
        let Some(only_one) = only_one else {
            let holder = notes.daemon(table);
            let words = holder.map(|holder| format!(": process {}", holder.pid));
            return Err(Unable::Running(words.unwrap_or_default()));
        };
        let signals = Signals::new().map_err(|error| Unable::Io("listen to signals", error))?;
        let mut hands = Hands::new(tables, FileSet::new(file));
        let kernel = &mut hands.tables.kernel;
        let (now, since) = (kernel.now(), kernel.clock());
        let watchdog = sd_notify::watchdog_enabled().map(|each| (each / 3, Duration::ZERO));
        Ok(Self {
            server: listen(&hands.tables),
            hands,
            core: Core::new(now),
            feed,
            signals,
            ring: Ring::default(),
            journal: Journal::new(),
            followed: how.follow.then(following::Followed::default),
            program: std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()),
            since,
            watchdog,
            ready: false,
            held: false,
            _only_one: only_one,
        })
    }

    fn now(&mut self) -> Duration {
        self.hands.tables.kernel.now()
    }

    fn serve(&mut self) -> Exit {
        // What is there at the beginning is no news.
        let _ = self.feed.events();
        loop {
            // Who did something is told before what it did is found.
            let heard = self.listen();
            match heard {
                Turn::Goes => {}
                Turn::Ends(exit) => {
                    let _ = sd_notify::notify(&[NotifyState::Stopping]);
                    self.hands.end();
                    let text = "what is in force stays".to_owned();
                    self.happened(Level::Info, Kind::Stopped, text);
                    return exit;
                }
                Turn::Renews => self.renew(),
            }
            match self.work() {
                Worked::Done => {}
                Worked::Nothing => self.wait(),
                Worked::Ends(exit) => return exit,
            }
        }
    }

    /// Does what is to be done first.
    fn work(&mut self) -> Worked {
        let now = self.now();
        if let Some((each, last)) = &mut self.watchdog
            && now >= *last + *each
        {
            *last = now;
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
        self.give_up(now);
        let Some(order) = self.core.next(now) else {
            return Worked::Nothing;
        };
        let kind = order.kind();
        let others = self.core.others().to_vec();
        let performed = self.hands.perform(order, &others);
        let after = self.now();
        Report::print(&performed.shown);
        for record in performed.events {
            self.tell(record);
        }
        if let Some(server) = &mut self.server {
            for (client, said) in performed.answers {
                server.answer(client, &Answer::Done(said), after);
            }
        }
        if let Some(said) = performed.fatal {
            Report::print(&said.err);
            return Worked::Ends(said.exit());
        }
        let took = after.saturating_sub(now);
        self.core.done(performed.outcome, kind, took, after);
        if matches!(kind, Done::Start | Done::Reload)
            && let Some(followed) = &mut self.followed
        {
            followed.look_at(self.hands.files.sources(), after);
        }
        self.tell_held(after);
        if !self.ready && !self.core.is_starting() {
            self.ready = true;
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        }
        Worked::Done
    }

    /// Whoever waits for another flbc that does not end is told so.
    fn give_up(&mut self, now: Duration) {
        let Some(since) = self.core.waiting() else {
            return;
        };
        if now < since + core::PATIENCE {
            return;
        }
        for caller in self.core.give_up() {
            let refused = Refused::Busy {
                waited: core::PATIENCE,
                holder: self.hands.tables.holder(),
            };
            let looks = match &caller.wants {
                Wants::Reload(looks) => *looks,
                Wants::Set { .. } => crate::control::Looks::default(),
            };
            let sink = crate::diagnostic::Diagnostics::new();
            let said = self.hands.files.refused(&refused, sink, looks);
            if let Some(server) = &mut self.server {
                server.answer(caller.client, &Answer::Done(said), now);
            }
        }
    }

    /// Says that repairs are held off, once each time.
    fn tell_held(&mut self, now: Duration) {
        let pause = self.core.held(now);
        if let Some(pause) = pause.filter(|_| !self.held) {
            let text = held(self.core.others(), pause);
            let mut record = self.record(Level::Error, Kind::RepairHeld, text);
            record.processes = self.core.others().to_vec();
            self.tell(record);
        }
        self.held = pause.is_some();
    }

    fn wait(&mut self) {
        let now = self.now();
        let mut until = self.core.timeout().map(|(at, _)| at);
        let mut sooner = |at: Option<Duration>| {
            until = match (until, at) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        };
        sooner(self.server.as_ref().and_then(Server::deadline));
        sooner(self.followed.as_ref().map(following::Followed::next));
        sooner(self.watchdog.map(|(each, last)| last + each));
        let pause = until.map(|until| until.saturating_sub(now));
        let mut ends = vec![
            PollFd::new(&self.feed, PollFlags::IN),
            PollFd::new(&self.signals.stop, PollFlags::IN),
            PollFd::new(&self.signals.reload, PollFlags::IN),
            PollFd::new(&self.signals.renew, PollFlags::IN),
        ];
        if let Some(server) = &self.server {
            let each = server.waits_for();
            ends.extend(each.map(|(end, events)| PollFd::from_borrowed_fd(end, events)));
        }
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        // Whatever ended it, all are asked.
        let _ = poll(&mut ends, pause.as_ref());
    }

    fn listen(&mut self) -> Turn {
        let now = self.now();
        if came(&mut self.signals.stop) {
            return Turn::Ends(Exit::Fine);
        }
        if came(&mut self.signals.renew) {
            return Turn::Renews;
        }
        if came(&mut self.signals.reload) {
            self.core.hear(Heard::Files, now);
        }
        match self.feed.events() {
            Ok(events) => {
                for event in events {
                    let (heard, records) = self.hands.hear(event);
                    for record in records {
                        self.tell(record);
                    }
                    if let Some(heard) = heard {
                        self.core.hear(heard, now);
                    }
                }
            }
            Err(error) => {
                self.core.hear(Heard::Missed, now);
                self.happened(Level::Error, Kind::Trouble, error.to_string());
            }
        }
        if self
            .followed
            .as_mut()
            .is_some_and(|followed| followed.changed(now))
        {
            self.core.hear(Heard::Files, now);
        }
        let asked = self.server.as_mut().map(|server| server.go_on(now));
        for (client, request) in asked.into_iter().flatten() {
            self.answer(client, request, now);
        }
        Turn::Goes
    }

    fn answer(&mut self, client: ClientId, request: Request, now: Duration) {
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
            Request::Reload { looks } => {
                let wants = Wants::Reload(looks);
                self.core.hear(Heard::Reload(Caller { client, wants }), now);
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
                self.core.hear(Heard::Set(Caller { client, wants }), now);
            }
        }
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

    fn record(&mut self, level: Level, kind: Kind, text: String) -> Record {
        let at = self.hands.tables.kernel.clock() * 1_000;
        Record::new(at, level, kind, text)
    }

    fn happened(&mut self, level: Level, kind: Kind, text: String) {
        let record = self.record(level, kind, text);
        self.tell(record);
    }

    fn tell(&mut self, mut record: Record) {
        record.at = milliseconds();
        let now = self.now();
        self.journal.say(&record, now);
        if let Some(server) = &mut self.server {
            server.broadcast(&Answer::Record(record.clone()), now);
        }
        self.ring.push(record);
    }

    /// Lets the program that lies now where this one lay take its place: the same process, and nothing changes in the kernel.
    fn renew(&mut self) {
        let text = format!("begins anew as {}", self.program.display());
        self.happened(Level::Info, Kind::Renewed, text);
        let arguments = std::env::args_os().skip(1);
        let error = Command::new(&self.program).args(arguments).exec();
        let text = format!(
            "goes on as it is: {} does not start: {error}",
            self.program.display()
        );
        self.happened(Level::Error, Kind::Trouble, text);
    }
}

/// The socket. Without it nothing is lost but that nobody can ask.
fn listen(tables: &Tables<Linux>) -> Option<Server> {
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

/// The number of the group of those who may ask.
fn group() -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let mut lines = text.lines().map(|line| line.split(':'));
    let mut line = lines.find(|line| line.clone().next() == Some(GROUP))?;
    line.nth(2)?.parse().ok()
}

fn milliseconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
