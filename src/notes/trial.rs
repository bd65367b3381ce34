//! A trial: a configuration that stays only if it is confirmed in time.
//!
//! What was before lies in a file, and a process of its own session, the watcher, waits for the deadline. It holds a
//! lock on that file, so that everybody sees whether it still lives. Time is counted from boot, the time in suspend
//! too: who sleeps does not confirm.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{chdir, setsid};
use serde::{Deserialize, Serialize};

use crate::diff::Observed;

use super::Notes;
use super::wishes::Wishes;
use crate::kernel::files::{boot_id, checksum, lifetime, open_note};

/// What the watcher says when it watches.
const READY: &str = "ready";

/// Trials of the tables of one name, in this network namespace.
#[derive(Debug, Clone)]
pub struct Trials {
    cache: Notes,
    table: String,
    head: PathBuf,
    before: PathBuf,
    meanwhile: PathBuf,
    last: PathBuf,
    boot: String,
}

/// A trial that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// How long until it goes back; `None`: the file that says so is damaged.
    pub remaining: Option<Duration>,
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
    /// What no other network namespace of this boot has: one that got the number of one that is gone must not go back to
    /// what that one had.
    namespace: u32,
    /// Whether somebody watches, or was killed: before that nothing is tried.
    watched: bool,
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
    pub fn new(cache: &Notes, table: &str) -> io::Result<Self> {
        let path = |what| cache.file(table, what);
        Ok(Self {
            cache: cache.clone(),
            table: table.to_owned(),
            head: path("trial")?,
            before: path("before")?,
            meanwhile: path("meanwhile")?,
            last: path("tried")?,
            boot: boot_id()?,
        })
    }

    /// The trial that is open `now`, if one is; times are those since boot, see [`Kernel::now`](super::Kernel::now).
    ///
    /// # Errors
    ///
    /// Whether one is cannot be told: the folder or the file of the trial is closed to this process, or others may write
    /// to it.
    pub fn open(&self, now: Duration) -> io::Result<Option<Open>> {
        match fs::symlink_metadata(&self.head) {
            Ok(_) => {}
            Err(error) if is_nowhere(&error) => return Ok(None),
            Err(error) => return Err(of(&self.head, &error)),
        }
        self.cache.check()?;
        let bytes = match read(&self.head) {
            Ok(bytes) => bytes,
            // It was ended just now.
            Err(error) if is_nowhere(&error) => return Ok(None),
            Err(error) => return Err(of(&self.head, &error)),
        };
        let head: Option<Head> = whole(&bytes).and_then(|bytes| postcard::from_bytes(bytes).ok());
        if let Some(head) = &head
            && (!self.cache.is_of_this_boot(&head.boot)? || head.namespace != lifetime()?)
        {
            return Ok(None);
        }
        let watched = self.is_watched();
        // Whoever began was killed before the watcher was there, and had changed nothing, or is just about to start it.
        if head.as_ref().is_some_and(|head| !head.watched && !watched) {
            return Ok(None);
        }
        let remaining = head.map(|head| head.deadline.saturating_sub(nanoseconds(now)));
        Ok(Some(Open {
            remaining: remaining.map(Duration::from_nanos),
            watched,
        }))
    }

    fn is_watched(&self) -> bool {
        open_note(&self.before)
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// Prepares a trial: keeps what was before, where a watcher finds it. It is open once somebody watches.
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn begin(&self, before: &Before, deadline: Duration) -> io::Result<()> {
        self.cache.prepare()?;
        let bytes = postcard::to_stdvec(before).map_err(io::Error::other)?;
        let _ = fs::remove_file(&self.meanwhile);
        self.replace(&self.before, &bytes)?;
        self.write(deadline, false)
    }

    /// Puts off when it goes back. From now on it is open, also where its watcher is killed.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn extend(&self, deadline: Duration) -> io::Result<()> {
        self.write(deadline, true)
    }

    fn write(&self, deadline: Duration, watched: bool) -> io::Result<()> {
        let head = Head {
            boot: self.boot.clone(),
            namespace: lifetime()?,
            watched,
            deadline: nanoseconds(deadline),
        };
        let bytes = postcard::to_stdvec(&head).map_err(io::Error::other)?;
        self.replace(&self.head, &bytes)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.cache.temporary(&self.table)?;
        file.write_all(&checksum(bytes).to_le_bytes())?;
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
        let mut file = open_note(&self.before).map_err(|error| of(&self.before, &error))?;
        self.read_before(&mut file)
    }

    fn read_before(&self, file: &mut File) -> io::Result<Before> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let before = whole(&bytes).and_then(|bytes| postcard::from_bytes(bytes).ok());
        before.ok_or_else(|| of(&self.before, &"it is damaged"))
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
        Ok((self.read_before(&mut file)?, file))
    }

    /// What was set while the trial that is open was: it lasts, whatever becomes of the trial.
    pub fn meanwhile(&self) -> Wishes {
        let read = self.cache.check().and_then(|()| read(&self.meanwhile));
        let wishes = read
            .ok()
            .and_then(|bytes| postcard::from_bytes(whole(&bytes)?).ok());
        wishes.unwrap_or_default()
    }

    /// Remembers it.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn set_meanwhile(&self, wishes: &Wishes) -> io::Result<()> {
        self.cache.check()?;
        let bytes = postcard::to_stdvec(wishes).map_err(io::Error::other)?;
        self.replace(&self.meanwhile, &bytes)
    }

    /// Ends the trial that is open. Its watcher knows by the note of how it ended that no stranger removed its files.
    ///
    /// # Errors
    ///
    /// Its file cannot be removed, or the note cannot be written: it stays open.
    pub fn end(&self, outcome: Outcome, now: Duration) -> io::Result<()> {
        match fs::remove_file(&self.head) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // This frees the room that the note takes, where the disk is full.
        let _ = fs::remove_file(&self.before);
        let _ = fs::remove_file(&self.meanwhile);
        let last = Last {
            boot: self.boot.clone(),
            at: nanoseconds(now),
            outcome,
        };
        let bytes = postcard::to_stdvec(&last).map_err(io::Error::other)?;
        self.replace(&self.last, &bytes)
    }

    /// How the last trial ended, and how long ago.
    pub fn last(&self, now: Duration) -> Option<(Outcome, Duration)> {
        self.cache.check().ok()?;
        let bytes = read(&self.last).ok()?;
        let last: Last = postcard::from_bytes(whole(&bytes)?).ok()?;
        let ago = Duration::from_nanos(nanoseconds(now).saturating_sub(last.at));
        let is_now = self.cache.is_of_this_boot(&last.boot).ok()?;
        is_now.then_some((last.outcome, ago))
    }
}

/// The bytes behind their checksum, if they are what was written.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (sum, bytes) = bytes.split_at_checked(8)?;
    (sum == checksum(bytes).to_le_bytes()).then_some(bytes)
}

/// Whether there is no such file, and can be none.
fn is_nowhere(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// What is wrong with a file, with its name.
fn of(path: &Path, why: &dyn fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
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
