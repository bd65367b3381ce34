//! One flbc at a time changes the tables of one name: the lock, who has it, and what goes with a namespace that is gone.
//!
//! The file of the lock says who took it last, and in which network namespace: a new namespace often gets the number of one
//! that is gone, and must not find that one's notes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Notes, temporary_stem};
use crate::kernel::files::{
    boot_id, flag_bits, lifetime, lifetime_in, network_namespace, open_note,
};
use crate::kernel::linux::since_boot;

/// Nobody else changes the tables while this is there.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open")] File);

/// Who has the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process, as itself sees the number: in a container it is the container's.
    pub pid: u32,
    /// Its command line, without the folder of the program; nothing is escaped.
    pub command: String,
    /// For how long.
    pub held: Duration,
}

/// What the file of the lock says.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    boot: String,
    /// What no other namespace of this boot has.
    lifetime: Option<u32>,
    pid: u32,
    /// Nanoseconds since boot.
    since: u64,
    command: String,
}

/// The end of the name of the file.
const LOCK: &str = "lock";

/// That of the file that says which daemon keeps the tables.
const DAEMON: &str = "run";

impl Notes {
    /// Sees to it that no other flbc changes tables of this name; `None`: another one does so now.
    ///
    /// The lock is free again when what this returns is dropped, and when this process dies.
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn lock(&self, table: &str) -> io::Result<Option<Lock>> {
        self.prepare()?;
        let path = self.file(table, LOCK)?;
        let Some(mut file) = taken(&path)? else {
            return Ok(None);
        };
        self.clean(table);
        self.bury(&path, &mut file);
        // For information, and for the namespace after this one: a failed write does no harm.
        let _ = write(&mut file);
        Ok(Some(Lock(file)))
    }

    /// Who has the lock of tables of this name, or had it last.
    pub fn holder(&self, table: &str) -> Option<Holder> {
        self.check().ok()?;
        holder(&self.file(table, LOCK).ok()?)
    }

    /// Sees to it that no other daemon keeps tables of this name; `None`: one does so already. It is free again as
    /// [`Self::lock`] is.
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn lock_of_daemon(&self, table: &str) -> io::Result<Option<Lock>> {
        self.prepare()?;
        let Some(mut file) = taken(&self.file(table, DAEMON)?)? else {
            return Ok(None);
        };
        let _ = write(&mut file);
        Ok(Some(Lock(file)))
    }

    /// The daemon that keeps tables of this name, or kept them last.
    pub fn daemon(&self, table: &str) -> Option<Holder> {
        self.check().ok()?;
        holder(&self.file(table, DAEMON).ok()?)
    }

    /// Removes what runs that were killed left half written: whoever writes files of this table holds its lock.
    fn clean(&self, table: &str) {
        if let Ok(stem) = temporary_stem(table) {
            self.remove(&stem, None);
        }
    }

    /// Removes the files whose names begin so, but one.
    fn remove(&self, start: &str, but: Option<&str>) {
        let entries = fs::read_dir(self.directory()).into_iter().flatten();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_it = name.as_encoded_bytes().starts_with(start.as_bytes());
            if is_it && but.is_none_or(|but| name != but) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes what is noted of network namespaces that are gone for sure: of another boot, or of one whose number another
    /// namespace has now. One that nobody is in may still live, by a mount or a descriptor; its notes stay. `held` is the
    /// lock that this process has.
    fn bury(&self, held: &Path, lock: &mut File) {
        let entries = fs::read_dir(self.directory()).into_iter().flatten();
        let mut locks = BTreeMap::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let parts: Vec<&str> = name.to_str().unwrap_or_default().split('.').collect();
            let [table, namespace, LOCK] = *parts else {
                continue;
            };
            let Ok(namespace) = namespace.parse::<u64>() else {
                continue;
            };
            let written = open_note(&entry.path()).ok();
            if let Some(written) = written.and_then(|mut file| read(&mut file)) {
                locks.insert((namespace, table.to_owned()), written);
            }
        }
        let namespaces: BTreeSet<u64> = locks.keys().map(|(number, _)| *number).collect();
        let living = living(namespaces);
        for ((namespace, table), written) in locks {
            let is_gone = |written: &Written| {
                let another = living.get(&namespace);
                let is_another =
                    another.is_some_and(|now| written.lifetime.is_some_and(|then| then != *now));
                is_another || self.is_of_this_boot(&written.boot).is_ok_and(|is| !is)
            };
            if !is_gone(&written) {
                continue;
            }
            let stem = format!("{table}.{namespace}.");
            let name = format!("{stem}{LOCK}");
            // The lock's own file stays: somebody may have opened it to wait for it. It is emptied first, so that what is
            // noted from now on is not taken for the old.
            let empty = |file: &mut File| {
                let is_still = read(file).is_some_and(|written| is_gone(&written));
                is_still && file.set_len(0).is_ok()
            };
            let path = self.directory().join(&name);
            // Another's lock is this process's as long as its files are removed.
            let mut other = None;
            if path != held {
                other = taken(&path).ok().flatten();
            }
            let emptied = match &mut other {
                Some(file) => empty(file),
                None => path == held && empty(lock),
            };
            if emptied {
                self.remove(&stem, Some(&name));
            }
        }
    }
}

/// The file of a lock, made where there is none, that is this process's as long as it is open.
fn taken(path: &Path) -> io::Result<Option<File>> {
    let mut options = File::options();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.read(true).write(true).create(true).mode(0o600);
    let file = options.custom_flags(flag_bits(flags)).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Who has a lock, or had it last.
fn holder(path: &Path) -> Option<Holder> {
    let mut file = open_note(path).ok()?;
    let Written {
        boot: _,
        lifetime: _,
        pid,
        since,
        command,
    } = read(&mut file)?;
    Some(Holder {
        pid,
        command,
        held: since_boot().saturating_sub(Duration::from_nanos(since)),
    })
}

fn read(file: &mut File) -> Option<Written> {
    let mut bytes = Vec::new();
    file.rewind().ok()?;
    file.read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write(file: &mut File) -> io::Result<()> {
    let mut words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // Where the program lies does not matter.
    if let Some(program) = words.first_mut()
        && let Some((_, name)) = program.rsplit_once('/')
    {
        *program = name.to_owned();
    }
    let written = Written {
        boot: boot_id()?,
        lifetime: lifetime().ok(),
        pid: std::process::id(),
        since: nanoseconds_since_boot(),
        command: words.join(" "),
    };
    let bytes = serde_json::to_vec(&written)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&bytes)
}

/// What those of these namespaces that a process is in have, and no other of this boot.
fn living(mut namespaces: BTreeSet<u64>) -> BTreeMap<u64, u32> {
    let mut living = BTreeMap::new();
    if let (Ok((_, here)), Ok(lifetime)) = (network_namespace(), lifetime())
        && namespaces.remove(&here)
    {
        living.insert(here, lifetime);
    }
    if namespaces.is_empty() {
        return living;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let path = process.path();
        let is_in = || fs::metadata(path.join("ns/net")).ok().map(|net| net.ino());
        if let Some(namespace) = is_in().filter(|is| namespaces.contains(is))
            && let Ok(lifetime) = lifetime_in(&path)
            && is_in() == Some(namespace)
        {
            namespaces.remove(&namespace);
            living.insert(namespace, lifetime);
        }
    }
    living
}

/// Nanoseconds.
fn nanoseconds_since_boot() -> u64 {
    u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX)
}
