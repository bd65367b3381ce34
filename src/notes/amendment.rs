//! What changed since a note was written, in a small file beside it: a note is as large as what it tells of, and one server
//! that goes down is no reason to write it anew.
//!
//! It is bound to the very file that it amends, by its checksum. What is damaged, or amends another file, counts for nothing:
//! the note then is out of date, and the kernel is read.

use std::fs;
use std::io::{self, Read as _, Write};

use serde::{Deserialize, Serialize};

use super::Notes;
use crate::kernel::files::{checksum, open_note};

/// The file that holds it.
const AMENDMENT: &str = "state.amended";

/// A note, and what amends it. Each is for whoever wrote it to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noted {
    /// The note as it was written.
    pub whole: Vec<u8>,
    /// What changed since.
    pub amended: Option<Vec<u8>>,
}

impl From<Vec<u8>> for Noted {
    fn from(whole: Vec<u8>) -> Self {
        Self {
            whole,
            amended: None,
        }
    }
}

/// Which file a note is in: its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition(u64);

/// The file: what it amends, and what is true since.
#[derive(Serialize, Deserialize)]
pub(super) struct Amendment<'a> {
    edition: Edition,
    /// The generation that the tables were at then.
    pub(super) generation: u32,
    /// When it was written: seconds since 1970, by the machine's clock.
    pub(super) at: u64,
    pub(super) what: &'a [u8],
}

impl Edition {
    /// That of a file that begins so.
    pub(super) fn of(sum: &[u8]) -> Option<Self> {
        Some(Self(u64::from_le_bytes(sum.try_into().ok()?)))
    }
}

impl Notes {
    /// Which note there is of tables of this name; `None`: none.
    pub fn edition(&self, table: &str) -> Option<Edition> {
        [self.path(table), self.aside(table)]
            .into_iter()
            .find_map(|path| {
                let mut sum = [0; 8];
                open_note(&path.ok()?).ok()?.read_exact(&mut sum).ok()?;
                Edition::of(&sum)
            })
    }

    /// Remembers what changed since this edition of the note was written, all of it, as of this generation and time. The
    /// tables are those that the note is about.
    ///
    /// # Errors
    ///
    /// The note is another by now; or the folder is somebody else's, or cannot be written to.
    pub fn amend(
        &self,
        table: &str,
        (edition, generation): (Edition, u32),
        at: u64,
        what: &[u8],
    ) -> io::Result<()> {
        self.prepare()?;
        if self.edition(table) != Some(edition) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let amendment = Amendment {
            edition,
            generation,
            at,
            what,
        };
        let bytes = postcard::to_stdvec(&amendment).map_err(io::Error::other)?;
        let mut file = self.temporary(table)?;
        file.write_all(&checksum(&bytes).to_le_bytes())?;
        file.write_all(&bytes)?;
        file.persist(self.file(table, AMENDMENT)?)?;
        Ok(())
    }

    /// The bytes of what amends this edition; `None`: nothing does.
    pub(super) fn amendment(&self, table: &str, edition: Edition) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let path = self.file(table, AMENDMENT).ok()?;
        open_note(&path).ok()?.read_to_end(&mut bytes).ok()?;
        let (sum, amendment) = bytes.split_at_checked(8)?;
        let whole = sum == checksum(amendment).to_le_bytes();
        let read = read(amendment).filter(|read| whole && read.edition == edition);
        read.is_some().then(|| amendment.to_vec())
    }

    /// Nothing amends the note any more: it is another, or gone.
    pub(super) fn end_amendment(&self, table: &str) {
        if let Ok(path) = self.file(table, AMENDMENT) {
            let _ = fs::remove_file(path);
        }
    }
}

/// What such bytes say.
pub(super) fn read(bytes: &[u8]) -> Option<Amendment<'_>> {
    postcard::from_bytes(bytes).ok()
}
