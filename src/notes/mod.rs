//! What the last apply left in the kernel, remembered in a file, so that the next need not read it.
//!
//! It counts only if nothing says otherwise: the same boot, the same network namespace, the same tables by the text that
//! they are known by, and nobody's transaction since. What is wrong with the file or its folder only ever means that the
//! kernel is read.

mod amendment;
mod kept;
pub(crate) mod legacy;
pub mod lock;
mod owed;
pub mod trial;
pub mod wishes;

use std::fs::{self, DirBuilder};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use serde::{Deserialize, Serialize};

use crate::kernel::files::{boot_id, checksum, lifetime, network_namespace, open_note, secure};
use crate::kernel::{Kernel, KernelError};

pub use amendment::{Edition, Noted};

/// The form of the file. Changes with every change of what is in it: a test of `apply::remembered` says when.
pub(crate) const FORM: u32 = 13;

/// The largest note that is read, in bytes; that of 100,000 services with 10 servers each is a fifth of it.
const LARGEST: u64 = 512 << 20;

/// Where states are remembered.
#[derive(Debug, Clone)]
pub struct Notes {
    directory: PathBuf,
}

/// How names of files of a table in this network namespace begin.
fn stem(table: &str) -> io::Result<String> {
    let (_, namespace) = network_namespace()?;
    Ok(format!("{table}.{namespace}"))
}

/// How they begin while they are not whole yet.
pub(crate) fn temporary_stem(table: &str) -> io::Result<String> {
    Ok(format!(".{}.new.", stem(table)?))
}

/// What a state is bound to. Every version writes these, and these first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Binding {
    form: u32,
    version: String,
    boot: String,
    namespace: (u64, u64),
    table: String,
    generation: u32,
    identities: [Option<String>; 2],
}

/// A file: what it is bound to first, so that one which is out of date is not read further.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    binding: Binding,
    note: &'a [u8],
}

/// What follows it since form 11.
#[derive(Serialize, Deserialize)]
struct Trailer {
    /// See [`lifetime`].
    lifetime: u32,
    /// When it was written: seconds since 1970, by the machine's clock.
    at: u64,
}

/// A file that was read: what it was bound to, what that would be now, and what it holds.
struct Read {
    then: Binding,
    now: Binding,
    note: Noted,
    trailer: Option<Trailer>,
}

/// What the last apply left, whatever became of its tables since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// What the caller wanted to know again.
    pub note: Noted,
    /// When it was: seconds since 1970, by the machine's clock.
    pub at: u64,
    /// Whether its tables are there.
    pub tables: LastTables,
    /// Whether a run was killed since, around its transaction: it is not known which tables there are.
    pub killed: bool,
}

/// Whether tables are those that they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastTables {
    /// At least one of them is, and none is another.
    Same,
    /// They are gone, or others are in their place.
    Others,
}

/// What another version of flbc left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The form of what it left.
    pub form: u32,
    /// What it wanted to know again, in its own words.
    pub note: Vec<u8>,
    /// The random texts of the tables, `inet` first.
    pub identities: [Option<String>; 2],
}

/// What the last apply left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What the caller wanted to know again.
    pub note: Noted,
    /// The kernel's generation now.
    pub generation: u32,
    /// Whether nobody has committed anything since: then the kernel has the same now.
    pub current: bool,
}

impl Notes {
    /// A cache in this folder, which is made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, table: &str) -> io::Result<PathBuf> {
        self.file(table, "state")
    }

    fn aside(&self, table: &str) -> io::Result<PathBuf> {
        self.file(table, "state.aside")
    }

    /// The file that holds this of a table of the network namespace that the calling thread is in. Namespaces often
    /// share `/run`.
    pub fn file(&self, table: &str, what: &str) -> io::Result<PathBuf> {
        let stem = stem(table)?;
        Ok(self.directory.join(format!("{stem}.{what}")))
    }

    /// A file that is to take the place of another, once it is whole.
    pub(crate) fn temporary(&self, table: &str) -> io::Result<tempfile::NamedTempFile> {
        tempfile::Builder::new()
            .prefix(&temporary_stem(table)?)
            .tempfile_in(&self.directory)
    }

    /// Whether nobody but root can have written here.
    pub(crate) fn check(&self) -> io::Result<()> {
        secure(
            &self.directory,
            &fs::symlink_metadata(&self.directory)?,
            true,
        )
    }

    /// Whether what lies in the folder, and says that it is of this boot, is. A folder in memory outlives none. There a
    /// container's own id of the boot does not count, which whoever is confined in the container does not see.
    pub(crate) fn is_of_this_boot(&self, then: &str) -> io::Result<bool> {
        const TMPFS: u32 = 0x0102_1994;
        const RAMFS: u32 = 0x8584_58f6;
        let kind = u32::try_from(statfs(&self.directory)?.f_type);
        let in_memory = kind.is_ok_and(|kind| [TMPFS, RAMFS].contains(&kind));
        Ok(in_memory || then == boot_id()?)
    }

    /// Whether there is a note on what was applied, whatever it says.
    pub fn is_noted(&self, table: &str) -> bool {
        self.path(table).is_ok_and(|path| path.exists())
    }

    /// What the last apply left in these very tables; `None`: nothing is known of them, the kernel must be read.
    pub fn recall(&self, kernel: &mut impl Kernel, table: &str) -> Option<Left> {
        self.read(kernel, table, &self.path(table).ok()?)
    }

    /// What the apply before had left in these tables, where a run was killed around its transaction: whether that was
    /// made is not known.
    pub fn recall_aside(&self, kernel: &mut impl Kernel, table: &str) -> Option<Left> {
        self.read(kernel, table, &self.aside(table).ok()?)
    }

    /// What another version of flbc had left in these tables, as it wrote it, and the random texts of the tables then.
    pub fn recall_foreign(&self, kernel: &mut impl Kernel, table: &str) -> Option<Foreign> {
        let read = |path: io::Result<PathBuf>| self.read_any(kernel, table, &path.ok()?);
        let (then, _, note) = [self.path(table), self.aside(table)]
            .into_iter()
            .find_map(read)?;
        Some(Foreign {
            form: then.form,
            note: note.whole,
            identities: then.identities,
        })
    }

    fn read(&self, kernel: &mut impl Kernel, table: &str, path: &Path) -> Option<Left> {
        let (then, now, note) = self.read_any(kernel, table, path)?;
        let same_flbc = (then.form, &then.version) == (now.form, &now.version);
        same_flbc.then(|| Left {
            note,
            generation: now.generation,
            // A transaction between then and now makes another generation; whether it touched these tables is for the
            // caller to find out.
            current: then == now,
        })
    }

    /// What the last apply left, whatever became of its tables since; `None`: there was none in this namespace, they were
    /// unloaded, or another version of flbc made it.
    pub fn last(&self, kernel: &mut impl Kernel, table: &str) -> Option<Last> {
        let last = self.look_for_last(kernel, table);
        // Where the kernel did not answer for once, that is not to be taken for a note that is gone.
        last.or_else(|| {
            let again = self.is_noted(table);
            again.then(|| self.look_for_last(kernel, table)).flatten()
        })
    }

    fn look_for_last(&self, kernel: &mut impl Kernel, table: &str) -> Option<Last> {
        let whole = self.path(table).ok()?;
        let found = self
            .read_file(kernel, table, &whole)
            .map(|read| (read, false));
        let aside = || {
            Some((
                self.read_file(kernel, table, &self.aside(table).ok()?)?,
                true,
            ))
        };
        let (read, killed) = found.or_else(aside)?;
        let Read {
            then,
            now,
            note,
            trailer,
        } = read;
        // An older note does not say when it was written.
        let trailer = trailer?;
        let same_flbc = (then.form, &then.version) == (now.form, &now.version);
        let same_namespace = lifetime().ok()? == trailer.lifetime;
        (same_flbc && same_namespace).then(|| Last {
            note,
            at: trailer.at,
            tables: if same_identities(&then.identities, &now.identities) {
                LastTables::Same
            } else {
                LastTables::Others
            },
            killed,
        })
    }

    /// A file of any version about the tables that there are: what it was bound to, what that would be now, and what it
    /// holds.
    fn read_any(
        &self,
        kernel: &mut impl Kernel,
        table: &str,
        path: &Path,
    ) -> Option<(Binding, Binding, Noted)> {
        let Read {
            then, now, note, ..
        } = self.read_file(kernel, table, path)?;
        same_identities(&then.identities, &now.identities).then_some((then, now, note))
    }

    /// A file of any version, of this boot and namespace.
    fn read_file(&self, kernel: &mut impl Kernel, table: &str, path: &Path) -> Option<Read> {
        self.check().ok()?;
        let mut file = open_note(path).ok()?;
        let metadata = file.metadata().ok()?;
        if metadata.len() > LARGEST {
            return None;
        }
        let mut now = binding(kernel, table).ok()?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
        file.read_to_end(&mut bytes).ok()?;
        let (sum, bytes) = bytes.split_at_checked(8)?;
        let (mut then, _) = postcard::take_from_bytes::<Binding>(bytes).ok()?;
        if self.is_of_this_boot(&then.boot).ok()? {
            now.boot.clone_from(&then.boot);
        }
        let same_tables = Binding {
            form: then.form,
            version: then.version.clone(),
            generation: then.generation,
            identities: then.identities.clone(),
            ..now.clone()
        } == then;
        if !same_tables || sum != checksum(bytes).to_le_bytes() {
            return None;
        }
        let (stored, rest) = postcard::take_from_bytes::<Stored<'_>>(bytes).ok()?;
        let mut trailer: Option<Trailer> = postcard::from_bytes(rest).ok();
        let mut note = Noted::from(stored.note.to_vec());
        let amended = self.amendment(table, Edition::of(sum)?);
        if let Some(amendment) = amended.as_deref().and_then(amendment::read) {
            then.generation = amendment.generation;
            trailer = trailer.map(|trailer| Trailer {
                at: amendment.at,
                ..trailer
            });
            note.amended = Some(amendment.what.to_vec());
        }
        Some(Read {
            then,
            now,
            note,
            trailer,
        })
    }

    /// Remembers `note` of what the kernel had at this generation, in tables that are known by these texts. Whether
    /// somebody has committed something since is for [`Self::recall`] to tell. Tables that are others by now are none of
    /// what was remembered.
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn remember(
        &self,
        kernel: &mut impl Kernel,
        table: &str,
        (generation, ids): (u32, [Option<&str>; 2]),
        note: &[u8],
    ) -> io::Result<()> {
        self.prepare()?;
        let now = binding(kernel, table).map_err(io::Error::other)?;
        let ids = ids.map(|id| id.map(str::to_owned));
        if !same_identities(&ids, &now.identities) {
            return self.forget(table);
        }
        let binding = Binding {
            generation,
            identities: ids,
            ..now
        };
        let trailer = Trailer {
            lifetime: lifetime()?,
            at: kernel.clock(),
        };
        let written = self.write(table, &Stored { binding, note }, &trailer);
        if written.is_err() {
            // What was set aside before the transaction is what was: nobody was killed, and nobody else changed it.
            let _ = fs::remove_file(self.aside(table)?);
        }
        written
    }

    /// Remembers that the kernel had the same at this generation, so that the next who looks need not compare. Nothing is
    /// lost where that cannot be written, or where another flbc is at work on these tables.
    pub fn renew(&self, kernel: &mut impl Kernel, table: &str, generation: u32) {
        let Ok(Some(_lock)) = self.lock(table) else {
            return;
        };
        let path = self.path(table).ok();
        let read = path.and_then(|path| self.read_file(kernel, table, &path));
        if let Some(Read {
            then,
            now,
            note,
            trailer: Some(trailer),
        }) = read
            && same_identities(&then.identities, &now.identities)
            && (then.form, &then.version) == (now.form, &now.version)
            && now.generation == generation
        {
            if let (Some(what), Some(edition)) = (&note.amended, self.edition(table)) {
                let _ = self.amend(table, (edition, generation), trailer.at, what);
                return;
            }
            let binding = Binding { generation, ..then };
            let stored = Stored {
                binding,
                note: &note.whole,
            };
            let _ = self.write(table, &stored, &trailer);
        }
    }

    fn write(&self, table: &str, stored: &Stored<'_>, trailer: &Trailer) -> io::Result<()> {
        let mut bytes = postcard::to_stdvec(stored).map_err(io::Error::other)?;
        bytes.extend(postcard::to_stdvec(trailer).map_err(io::Error::other)?);
        let mut file = self.temporary(table)?;
        file.write_all(&checksum(&bytes).to_le_bytes())?;
        file.write_all(&bytes)?;
        file.persist(self.path(table)?)?;
        let _ = fs::remove_file(self.aside(table)?);
        self.end_amendment(table);
        self.end_unloaded(table);
        Ok(())
    }

    /// Puts what is remembered out of sight while a transaction is made: whoever looks in between, and the next run if
    /// this one is killed, must not take the change for somebody else's.
    pub fn set_aside(&self, table: &str) {
        // If it cannot be moved it is out of date later, which costs words and nothing more.
        if let (Ok(path), Ok(aside)) = (self.path(table), self.aside(table)) {
            let _ = fs::rename(path, aside);
        }
    }

    /// Undoes [`Self::set_aside`] after a transaction that was not made, or whose changes amend the note, unless another run
    /// remembered something since.
    pub fn put_back(&self, table: &str) {
        if let (Ok(path), Ok(aside)) = (self.path(table), self.aside(table)) {
            let _ = fs::hard_link(&aside, path);
            let _ = fs::remove_file(aside);
        }
    }

    /// Remembers nothing.
    ///
    /// # Errors
    ///
    /// The file cannot be removed.
    pub fn forget(&self, table: &str) -> io::Result<()> {
        let _ = fs::remove_file(self.aside(table)?);
        self.end_amendment(table);
        match fs::remove_file(self.path(table)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes the folder, root's own, or makes sure that it is.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        let made = DirBuilder::new().mode(0o700).create(&self.directory);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.check()
    }
}

/// Whether the tables are those that they were: one is, and none is another. That one is gone or new is somebody's
/// change to them.
fn same_identities(then: &[Option<String>; 2], now: &[Option<String>; 2]) -> bool {
    let mut same = false;
    for pair in then.iter().zip(now) {
        if let (Some(then), Some(now)) = pair {
            if then != now {
                return false;
            }
            same = true;
        }
    }
    same
}

fn binding(kernel: &mut impl Kernel, table: &str) -> Result<Binding, KernelError> {
    let failed = |doing| {
        move |error: io::Error| KernelError::Failed {
            doing,
            errno: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
        }
    };
    Ok(Binding {
        form: FORM,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: boot_id().map_err(failed("read the boot id"))?,
        namespace: network_namespace().map_err(failed("look at the network namespace"))?,
        table: table.to_owned(),
        generation: kernel.generation()?,
        identities: kernel.identities(table)?,
    })
}
