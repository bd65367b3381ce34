//! Writing results so that nothing is lost: a file is replaced as a whole or stays as it was.

use super::Exit;
use super::report::Report;
use crate::diagnostic::escape_lines;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Gid, Uid};

/// Whether the program was started without a standard output.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Says whether there is a standard output: Rust puts `/dev/null` in its place where there is none.
pub(super) fn begin(closed: bool) {
    CLOSED.store(closed, Ordering::Relaxed);
}

/// Whether something can be written to standard output.
pub(super) fn if_open() -> io::Result<()> {
    if CLOSED.load(Ordering::Relaxed) {
        return Err(rustix::io::Errno::BADF.into());
    }
    Ok(())
}

/// Standard output.
struct Stdout(io::StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if_open()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes what `write` writes to standard output. A reader that went away wanted no more: that is no error.
pub(super) fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, Stdout(io::stdout().lock()));
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes to standard output, and says when nobody reads it any more.
pub(super) fn watched(bytes: &[u8]) -> io::Result<()> {
    let mut out = Stdout(io::stdout().lock());
    out.write_all(bytes).and_then(|()| out.flush())
}

/// Puts what `write` writes in place of a file's contents.
///
/// A regular file is replaced by renaming a complete, synced one over it, with its owner and permissions; a
/// full disk leaves the old one. What is not a regular file (`/dev/stdout`, a pipe) is written to.
pub(super) fn to_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let known = match fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if known.as_ref().is_some_and(|file| !file.is_file()) {
        let mut out = BufWriter::new(File::options().write(true).open(path)?);
        return write(&mut out).and_then(|()| out.flush());
    }
    // A link stays a link: what it points to is replaced.
    let target = match &known {
        Some(_) => fs::canonicalize(path)?,
        None => end_of_links(path),
    };
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".flbc-");
    if known.is_none() {
        // As any program would make it; tempfile's own default is 0600.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut new = builder.tempfile_in(directory)?;
    let mut out = BufWriter::with_capacity(1 << 16, new.as_file_mut());
    write(&mut out).and_then(|()| out.flush())?;
    drop(out);
    if let Some(known) = known {
        let (owner, group) = (Uid::from_raw(known.uid()), Gid::from_raw(known.gid()));
        // Without the privilege to give files away it becomes the writer's own, as with any editor.
        let _ = rustix::fs::fchown(new.as_file(), Some(owner), Some(group));
        new.as_file().set_permissions(known.permissions())?;
    }
    new.as_file().sync_all()?;
    new.persist(&target).map_err(|error| error.error)?;
    Ok(())
}

/// Where a link leads that leads to nothing yet: that file is made, and the link stays.
fn end_of_links(path: &Path) -> PathBuf {
    let mut end = path.to_path_buf();
    while let Ok(next) = fs::read_link(&end) {
        // Links in a circle never get here: looking for their end fails.
        end = end.parent().unwrap_or(Path::new("")).join(next);
    }
    end
}

/// Writes bytes that are there already.
pub(super) fn bytes(bytes: &[u8]) -> impl FnOnce(&mut dyn Write) -> io::Result<()> {
    move |out| out.write_all(bytes)
}

/// Writes a text to standard output, for people; the run ends so, or worse. What names of the kernel's make of a terminal is
/// written out.
pub(super) fn say(text: &str, exit: Exit) -> Exit {
    let written = to_stdout(bytes(escape_lines(text).as_bytes()));
    exit.max(Report::written(written, "standard output"))
}
