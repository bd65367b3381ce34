//! A trial: a configuration that stays only if it is confirmed in time.
//!
//! What was before lies in a file, and a process of its own session, the watcher, waits for the deadline. It holds a
//! lock on that file, so that everybody sees whether it still lives. Time is counted from boot, the time in suspend
//! too: who sleeps does not confirm.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{chdir, setsid};
use serde::{Deserialize, Serialize};

use crate::diff::Observed;

use super::cache::Cache;
use super::files::{boot_id, open_note};
use super::wishes::Wishes;

/// What the watcher says when it watches.
const READY: &str = "ready";

/// Trials of the tables of one name, in this network namespace.
#[derive(Debug, Clone)]
pub struct Trials {
    cache: Cache,
    table: String,
    head: PathBuf,
    before: PathBuf,
    last: PathBuf,
    boot: String,
}

/// A trial that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// How long until it goes back.
    pub remaining: Duration,
    /// Whether the process that will go back is there.
    pub watched: bool,
}

/// How the last trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was confirmed.
    Confirmed,
    /// What was before is there again.
    WentBack,
    /// There was nothing to try.
    Void,
}

/// What was before a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The tables.
    pub observed: Observed,
    /// What the last apply had left in the cache beside them.
    pub note: Vec<u8>,
    /// What an operator wanted.
    pub wishes: Wishes,
}

#[derive(Serialize, Deserialize)]
struct Head {
    boot: String,
    /// Nanoseconds since boot.
    deadline: u64,
}

#[derive(Serialize, Deserialize)]
struct Last {
    boot: String,
    at: u64,
    outcome: Outcome,
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_note(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Trials {
    /// Those of the tables of this name, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn new(cache: &Cache, table: &str) -> io::Result<Self> {
        let path = |what| cache.file(table, what);
        Ok(Self {
            cache: cache.clone(),
            table: table.to_owned(),
            head: path("trial")?,
            before: path("before")?,
            last: path("tried")?,
            boot: boot_id()?,
        })
    }

    /// The trial that is open `now`, if one is; times are those since boot, see [`Kernel::now`](super::Kernel::now).
    pub fn open(&self, now: Duration) -> Option<Open> {
        self.cache.check().ok()?;
        let head: Head = postcard::from_bytes(&read(&self.head).ok()?).ok()?;
        if head.boot != self.boot {
            return None;
        }
        Some(Open {
            remaining: Duration::from_nanos(head.deadline.saturating_sub(nanoseconds(now))),
            watched: self.is_watched(),
        })
    }

    fn is_watched(&self) -> bool {
        open_note(&self.before)
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// Opens a trial: keeps what was before, where a watcher finds it.
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn begin(&self, before: &Before, deadline: Duration) -> io::Result<()> {
        self.cache.prepare()?;
        let bytes = postcard::to_stdvec(before).map_err(io::Error::other)?;
        self.replace(&self.before, &bytes)?;
        self.extend(deadline)
    }

    /// Puts off when it goes back.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn extend(&self, deadline: Duration) -> io::Result<()> {
        let head = Head {
            boot: self.boot.clone(),
            deadline: nanoseconds(deadline),
        };
        let bytes = postcard::to_stdvec(&head).map_err(io::Error::other)?;
        self.replace(&self.head, &bytes)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.cache.temporary(&self.table)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    }

    /// What was before the trial that is open.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn before(&self) -> io::Result<Before> {
        self.cache.check()?;
        read_before(&mut open_note(&self.before)?)
    }

    /// What was before, held as long as the file that comes with it is open: this process is the watcher.
    ///
    /// # Errors
    ///
    /// It cannot be read, or somebody watches already.
    pub fn watch(&self) -> io::Result<(Before, File)> {
        self.cache.check()?;
        let mut file = open_note(&self.before)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok((read_before(&mut file)?, file))
    }

    /// Ends the trial that is open.
    ///
    /// # Errors
    ///
    /// Its file cannot be removed: it stays open.
    pub fn end(&self, outcome: Outcome, now: Duration) -> io::Result<()> {
        match fs::remove_file(&self.head) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let _ = fs::remove_file(&self.before);
        let last = Last {
            boot: self.boot.clone(),
            at: nanoseconds(now),
            outcome,
        };
        // For information only: a failed write does no harm.
        if let Ok(bytes) = postcard::to_stdvec(&last) {
            let _ = self.replace(&self.last, &bytes);
        }
        Ok(())
    }

    /// How the last trial ended, and how long ago.
    pub fn last(&self, now: Duration) -> Option<(Outcome, Duration)> {
        self.cache.check().ok()?;
        let last: Last = postcard::from_bytes(&read(&self.last).ok()?).ok()?;
        let ago = Duration::from_nanos(nanoseconds(now).saturating_sub(last.at));
        (last.boot == self.boot).then_some((last.outcome, ago))
    }
}

fn read_before(file: &mut File) -> io::Result<Before> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}

/// Starts this very program again with these arguments, as a watcher, and waits until it says that it watches.
///
/// # Errors
///
/// It does not start, or ends without a word.
pub fn start_watcher(arguments: &[&str]) -> io::Result<()> {
    // Also where the program's file was replaced meanwhile.
    let mut watcher = Command::new("/proc/self/exe")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = String::new();
    if let Some(pipe) = watcher.stdout.take() {
        BufReader::new(pipe).read_line(&mut said)?;
    }
    if said.trim_end() == READY {
        return Ok(());
    }
    let _ = watcher.wait();
    Err(io::Error::other(said.trim_end().to_owned()))
}

/// Leaves the terminal and its session, so that neither their end nor a signal to the process group reaches this
/// process.
///
/// # Errors
///
/// It leads a process group already.
pub fn detach() -> io::Result<()> {
    setsid()?;
    // No file system stays busy because of it.
    chdir("/")?;
    // It is small, and the one process that must not be chosen when memory runs out.
    let _ = fs::write("/proc/self/oom_score_adj", "-900");
    Ok(())
}

/// Tells who started this watcher that it watches.
///
/// # Errors
///
/// Nobody listens.
pub fn tell_ready() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{READY}")?;
    out.flush()
}
