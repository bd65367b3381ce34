//! What a run has yet to do outside of the tables, so that the next one does it where this one is killed.

use std::fs;
use std::io::{self, Read as _, Write};

use serde::{Deserialize, Serialize};

use super::{FORM, Notes};
use crate::kernel::files::{boot_id, open_note};

/// What is yet to be done.
#[derive(Serialize, Deserialize)]
struct Owed<'a> {
    form: u32,
    boot: &'a str,
    what: &'a [u8],
}

impl Notes {
    /// What a run had yet to do outside of the tables when it was killed.
    pub fn unfinished(&self, table: &str) -> Option<Vec<u8>> {
        self.check().ok()?;
        let path = self.file(table, "unfinished").ok()?;
        let mut file = open_note(&path).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let stored: Owed<'_> = postcard::from_bytes(&bytes).ok()?;
        // Connections do not outlive their machine.
        let is_now = self.is_of_this_boot(stored.boot).ok()?;
        (stored.form == FORM && is_now).then(|| stored.what.to_vec())
    }

    /// Remembers what is yet to be done outside of the tables, until [`Self::finish`].
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn begin(&self, table: &str, what: &[u8]) -> io::Result<()> {
        self.prepare()?;
        let boot = boot_id()?;
        let owed = Owed {
            form: FORM,
            boot: &boot,
            what,
        };
        let mut file = self.temporary(table)?;
        file.write_all(&postcard::to_stdvec(&owed).map_err(io::Error::other)?)?;
        file.persist(self.file(table, "unfinished")?)?;
        Ok(())
    }

    /// All of it is done.
    pub fn finish(&self, table: &str) {
        if let Ok(path) = self.file(table, "unfinished") {
            let _ = fs::remove_file(path);
        }
    }
}
