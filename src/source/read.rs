//! Reading a file that somebody else wrote, and that may be anything but a file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::MAX_FILE_BYTES;

/// What tells one file from another, whatever path led to it: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

/// What tells a file or a folder from what it was before: another file, or other contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePrint {
    identity: FileIdentity,
    size: u64,
    /// When its contents were changed, and when anything about it was: seconds and nanoseconds.
    changed: [(i64, i64); 2],
}

impl FilePrint {
    /// That of what a path leads to; `None`: nothing is there, or it cannot be seen.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            identity: FileIdentity {
                device: metadata.dev(),
                inode: metadata.ino(),
            },
            size: metadata.size(),
            changed: [
                (metadata.mtime(), metadata.mtime_nsec()),
                (metadata.ctime(), metadata.ctime_nsec()),
            ],
        })
    }
}

/// A regular file that is open and not yet read.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    metadata: Metadata,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub enum ReadFault {
    /// The system says no.
    Refused(io::Error),
    /// The path leads to something else than a regular file: a folder, a FIFO.
    NotRegular(&'static str),
    /// The file is larger than [`MAX_FILE_BYTES`].
    TooLarge,
    /// The file is not UTF-8 text.
    NotUtf8(NotUtf8),
}

/// The start of a file that is not UTF-8 text.
#[derive(Debug, PartialEq, Eq)]
pub struct NotUtf8 {
    /// What is text, and the line of the first byte that is not, as far as it can be shown.
    pub shown: String,
    /// The place of the first byte that is not UTF-8 in that text, from 0.
    pub at: usize,
    /// The byte.
    pub byte: u8,
}

impl OpenFile {
    /// Opens a regular file; never waits for a FIFO or a device.
    pub fn open(path: &Path) -> Result<Self, ReadFault> {
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(|error| {
                // A socket is not opened as a file is, and the system's words for that say nothing.
                let is_socket = fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
                if is_socket {
                    ReadFault::NotRegular("a socket")
                } else {
                    ReadFault::Refused(error)
                }
            })?;
        let metadata = file.metadata().map_err(ReadFault::Refused)?;
        let kind = metadata.file_type();
        if kind.is_file() {
            return Ok(Self { file, metadata });
        }
        Err(ReadFault::NotRegular(match kind {
            kind if kind.is_dir() => "a folder",
            kind if kind.is_fifo() => "a pipe",
            _ => "a device",
        }))
    }

    /// What tells the file from others.
    pub fn identity(&self) -> FileIdentity {
        FileIdentity {
            device: self.metadata.dev(),
            inode: self.metadata.ino(),
        }
    }

    /// Whether everybody may write it.
    pub fn is_world_writable(&self) -> bool {
        self.metadata.mode() & 0o002 != 0
    }

    /// Reads the whole file as text.
    pub fn read(self) -> Result<String, ReadFault> {
        if self.metadata.len() > MAX_FILE_BYTES {
            return Err(ReadFault::TooLarge);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.metadata.len()).unwrap_or(0));
        // The file may grow meanwhile, and those of /proc do not know their length.
        self.file
            .take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(ReadFault::Refused)?;
        text(bytes)
    }
}

/// The text that these bytes are.
pub fn text(bytes: Vec<u8>) -> Result<String, ReadFault> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ReadFault::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let rest = bytes.get(at..).unwrap_or_default();
        let line_end = rest.iter().position(|byte| *byte == b'\n');
        let shown = line_end.unwrap_or(rest.len()).min(LONGEST_REST);
        let shown = bytes.get(..at + shown).unwrap_or_default();
        ReadFault::NotUtf8(NotUtf8 {
            shown: String::from_utf8_lossy(shown).into_owned(),
            at,
            byte: rest.first().copied().unwrap_or_default(),
        })
    })
}

/// How many bytes of a line are shown behind one that is not UTF-8.
const LONGEST_REST: usize = 200;

impl std::fmt::Display for ReadFault {
    /// What comes after the name of the file: `FILE` ...
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "cannot be read: {}", reason(error)),
            Self::NotRegular(kind) => write!(f, "is {kind}, not a regular file"),
            Self::TooLarge => write!(f, "is larger than {} MiB", MAX_FILE_BYTES >> 20),
            Self::NotUtf8(fault) => {
                write!(
                    f,
                    "is not UTF-8 text: the byte 0x{:02X} is part of no character",
                    fault.byte
                )
            }
        }
    }
}

/// What the system says, without the number of the error.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            "its symbolic links lead in a circle".into()
        }
        _ => {
            let text = error.to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            text.get(..end).unwrap_or_default().to_lowercase()
        }
    }
}
