//! What a daemon keeps in force, noted for the one that takes its place if it is killed.

use std::fs;
use std::io::{self, Read as _, Write as _};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Notes;
use crate::kernel::files::{boot_id, lifetime, open_note};

/// The end of the name of the file.
const KEPT: &str = "kept";

/// The end of the name of the file that is there from an unload to the next apply.
const UNLOADED: &str = "unloaded";

/// The longest that is read, in bytes.
const LONGEST: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Written<T> {
    boot: String,
    /// What no other namespace of this boot has.
    lifetime: u32,
    kept: T,
}

impl Notes {
    /// Notes what is kept.
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn keep<T: Serialize>(&self, table: &str, kept: &T) -> io::Result<()> {
        self.write_kept(table, KEPT, kept)
    }

    fn write_kept<T: Serialize>(&self, table: &str, what: &str, kept: &T) -> io::Result<()> {
        self.prepare()?;
        let written = Written {
            boot: boot_id()?,
            lifetime: lifetime()?,
            kept,
        };
        let mut file = self.temporary(table)?;
        serde_json::to_writer(&mut file, &written)?;
        file.flush()?;
        file.persist(self.file(table, what)?)?;
        Ok(())
    }

    /// What was kept, if whoever kept it did not end by itself; of this boot and this network namespace.
    pub fn kept<T: DeserializeOwned>(&self, table: &str) -> Option<T> {
        self.read_kept(table, KEPT)
    }

    fn read_kept<T: DeserializeOwned>(&self, table: &str, what: &str) -> Option<T> {
        self.check().ok()?;
        let file = open_note(&self.file(table, what).ok()?).ok()?;
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes).ok()?;
        let written: Written<T> = serde_json::from_slice(&bytes).ok()?;
        let is_now = self.is_of_this_boot(&written.boot).ok()?;
        (is_now && written.lifetime == lifetime().ok()?).then_some(written.kept)
    }

    /// Whether something is noted as kept.
    pub fn is_kept(&self, table: &str) -> bool {
        self.file(table, KEPT).is_ok_and(|path| path.exists())
    }

    /// Notes that the tables are gone because an operator wants none: whoever flushes them leaves no such word.
    ///
    /// # Errors
    ///
    /// The folder is somebody else's, or cannot be written to.
    pub fn note_unloaded(&self, table: &str) -> io::Result<()> {
        self.write_kept(table, UNLOADED, &())
    }

    /// Whether it was an operator who removed the tables, and nothing was applied since.
    pub fn were_unloaded(&self, table: &str) -> bool {
        self.read_kept::<()>(table, UNLOADED).is_some()
    }

    /// Something is applied.
    pub(super) fn end_unloaded(&self, table: &str) {
        if let Ok(path) = self.file(table, UNLOADED) {
            let _ = fs::remove_file(path);
        }
    }

    /// Whoever kept it ends by itself.
    pub fn let_go(&self, table: &str) {
        if let Ok(path) = self.file(table, KEPT) {
            let _ = fs::remove_file(path);
        }
    }
}
