//! What the last apply left in the kernel, remembered in a file, so that the next need not read it.
//!
//! It counts only if nothing says otherwise: the same boot, the same network namespace, the same tables by the random
//! text in them, and nobody's transaction since. What is wrong with the file or its folder only ever means that the
//! kernel is read.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Kernel, KernelError};

/// The folder unless another is chosen.
pub const DIRECTORY: &str = "/run/flbc";

/// The form of the file. Changes with every change of what is in it.
const FORM: u32 = 4;

/// Where states are remembered.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

/// What a state is bound to.
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

/// What the last apply left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What the caller wanted to know again.
    pub note: Vec<u8>,
    /// The kernel's generation now.
    pub generation: u32,
    /// Whether nobody has committed anything since: then the kernel has the same now.
    pub current: bool,
}

impl Cache {
    /// A cache in this folder, which is made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    fn path(&self, table: &str) -> PathBuf {
        self.directory.join(format!("{table}.state"))
    }

    /// What the last apply left in these very tables; `None`: nothing is known of them, the kernel must be read.
    pub fn recall(&self, kernel: &mut impl Kernel, table: &str) -> Option<Left> {
        secure(&fs::symlink_metadata(&self.directory).ok()?, true).ok()?;
        let mut file = File::open(self.path(table)).ok()?;
        let metadata = file.metadata().ok()?;
        secure(&metadata, false).ok()?;
        let now = binding(kernel, table).ok()?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
        file.read_to_end(&mut bytes).ok()?;
        let (sum, bytes) = bytes.split_at_checked(8)?;
        let (then, _) = postcard::take_from_bytes::<Binding>(bytes).ok()?;
        let same_tables = Binding {
            generation: now.generation,
            identities: now.identities.clone(),
            ..then.clone()
        } == now
            && same_identities(&then.identities, &now.identities);
        if !same_tables || sum != checksum(bytes).to_le_bytes() {
            return None;
        }
        let stored: Stored<'_> = postcard::from_bytes(bytes).ok()?;
        Some(Left {
            note: stored.note.to_vec(),
            generation: now.generation,
            // A transaction between then and now makes another generation; whether it touched these tables is for the
            // caller to find out.
            current: stored.binding == now,
        })
    }

    /// Remembers `note` of what the kernel has at this generation, in tables with these random texts.
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
        let binding = binding(kernel, table).map_err(io::Error::other)?;
        let ids = ids.map(|id| id.map(str::to_owned));
        if binding.generation != generation || binding.identities != ids {
            return self.forget(table);
        }
        let stored = Stored { binding, note };
        let bytes = postcard::to_stdvec(&stored).map_err(io::Error::other)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&checksum(&bytes).to_le_bytes())?;
        file.write_all(&bytes)?;
        file.persist(self.path(table))?;
        let _ = fs::remove_file(self.aside(table));
        Ok(())
    }

    /// Puts what is remembered out of sight while a transaction is made: whoever looks in between, and the next run if
    /// this one is killed, must not take the change for somebody else's.
    pub fn set_aside(&self, table: &str) {
        // If it cannot be moved it is out of date later, which costs words and nothing more.
        let _ = fs::rename(self.path(table), self.aside(table));
    }

    /// Undoes [`Self::set_aside`] after a transaction that was not made, unless another run remembered something since.
    pub fn put_back(&self, table: &str) {
        let _ = fs::hard_link(self.aside(table), self.path(table));
        let _ = fs::remove_file(self.aside(table));
    }

    fn aside(&self, table: &str) -> PathBuf {
        self.directory.join(format!("{table}.state.aside"))
    }

    /// Remembers nothing.
    ///
    /// # Errors
    ///
    /// The file cannot be removed.
    pub fn forget(&self, table: &str) -> io::Result<()> {
        let _ = fs::remove_file(self.aside(table));
        match fs::remove_file(self.path(table)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes the folder, root's own, or makes sure that it is.
    fn prepare(&self) -> io::Result<()> {
        let made = DirBuilder::new().mode(0o700).create(&self.directory);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        secure(&fs::symlink_metadata(&self.directory)?, true)
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

/// Whether nobody but root can have written here.
fn secure(metadata: &Metadata, directory: bool) -> io::Result<()> {
    const OTHERS_MAY_WRITE: u32 = 0o022;
    let right_kind = if directory {
        metadata.is_dir()
    } else {
        metadata.is_file()
    };
    if right_kind && metadata.uid() == 0 && metadata.mode() & OTHERS_MAY_WRITE == 0 {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is not root's own, or others may write to it",
        ))
    }
}

fn binding(kernel: &mut impl Kernel, table: &str) -> Result<Binding, KernelError> {
    let failed = |doing| {
        move |error: io::Error| KernelError::Failed {
            doing,
            errno: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
        }
    };
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = fs::metadata(Path::new("/proc/thread-self/ns/net"));
    let namespace = namespace.map_err(failed("look at the network namespace"))?;
    Ok(Binding {
        form: FORM,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: boot.map_err(failed("read the boot id"))?.trim().to_owned(),
        namespace: (namespace.dev(), namespace.ino()),
        table: table.to_owned(),
        generation: kernel.generation()?,
        identities: kernel.identities(table)?,
    })
}

/// FNV-1a over words of 8 bytes: finds damage, not malice; the folder is root's own.
fn checksum(bytes: &[u8]) -> u64 {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes
        .chunks(8)
        .fold(START ^ bytes.len() as u64, |sum, chunk| {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            let mixed = (sum ^ u64::from_le_bytes(word)).wrapping_mul(PRIME);
            // Without this the high bits of a word would never reach the low ones of the sum.
            mixed ^ (mixed >> 32)
        })
}
