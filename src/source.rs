//! Files and places in them.
//!
//! Every later stage speaks of source text by [`Span`] alone; only this room knows paths and lines.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod read;

pub use read::{FileIdentity, FilePrint, NotUtf8, OpenFile, ReadFault, text};

/// One file of a file set, by its place in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

impl FileId {
    /// The place of the file among [`Sources::files`], from 0.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A half-open range of bytes in one file.
///
/// Ordered by file (in the order in which files were read), then by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file that the bytes are in.
    pub file: FileId,
    /// The first byte, counted from 0.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The place of what no file of this run says: it was remembered.
    pub const NOWHERE: Self = Self {
        file: FileId(u32::MAX),
        start: 0,
        end: 0,
    };

    /// Whether a file says it.
    #[must_use]
    pub fn is_somewhere(self) -> bool {
        self != Self::NOWHERE
    }

    /// The span from the start of `self` to the end of `last`, both in one file.
    #[must_use]
    pub fn to(self, last: Self) -> Self {
        Self {
            end: last.end.max(self.end),
            ..self
        }
    }

    /// How many bytes it covers.
    #[must_use]
    pub fn length(self) -> usize {
        (self.end - self.start) as usize
    }

    /// The empty span at the start of `self`.
    #[must_use]
    pub fn at_start(self) -> Self {
        Self {
            end: self.start,
            ..self
        }
    }
}

/// Nothing: a place in a file means nothing to a later run, and what is the same but for its place is the same bytes.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self::NOWHERE)
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Located<T> {
    /// What was written, read.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

/// A place as people write it; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    /// The line, from 1.
    pub line: u32,
    /// The column, in characters, from 1.
    pub column: u32,
}

/// The text of one file.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as the operator would write it, `<stdin>` for standard input.
    pub name: Arc<str>,
    /// The folder that relative includes start from.
    pub directory: PathBuf,
    /// The whole text.
    pub text: String,
    /// The byte at which each line starts.
    line_starts: Vec<u32>,
}

impl SourceFile {
    fn new(name: &str, directory: PathBuf, text: String) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(
                // Files are at most MAX_FILE_BYTES long.
                |(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX),
            ))
            .collect();
        Self {
            name: name.into(),
            directory,
            text,
            line_starts,
        }
    }

    /// The number, from 0, of the line that holds byte `at`.
    pub fn line_index(&self, at: u32) -> usize {
        self.line_starts.partition_point(|start| *start <= at) - 1
    }

    /// The bytes of line number `index`, counted from 0, without its line end.
    pub fn line_range(&self, index: usize) -> Range<usize> {
        let length = self.text.len();
        let start = self.line_starts.get(index).map_or(length, |s| *s as usize);
        let next = self
            .line_starts
            .get(index + 1)
            .map_or(length, |s| *s as usize);
        let line = self.text.get(start..next).unwrap_or_default();
        start..start + line.trim_end_matches(['\n', '\r']).len()
    }
}

/// The files of one run, in the order in which they were read.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
    looked_at: Vec<(PathBuf, Option<FilePrint>)>,
}

/// The longest file that is read: 256 MiB, room for a million services.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

impl Sources {
    /// The files, in the order in which they were read.
    pub fn ids(&self) -> impl Iterator<Item = FileId> {
        (0..u32::try_from(self.files.len()).unwrap_or(u32::MAX)).map(FileId)
    }

    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file that was read from somewhere and gives it its number.
    ///
    /// `name` is what messages show, `directory` is where its relative includes start.
    /// The text is at most [`MAX_FILE_BYTES`] long.
    pub fn add(&mut self, name: &str, directory: PathBuf, text: String) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(SourceFile::new(name, directory, text));
        id
    }

    /// Remembers what lies at a path before it is read: if it is the same another time, so is what is read.
    pub fn look_at(&mut self, path: &Path) {
        self.looked_at.push((path.to_owned(), FilePrint::of(path)));
    }

    /// All that was looked at: files, folders that a pattern was looked for in, and what was not there.
    pub fn looked_at(&self) -> impl Iterator<Item = &(PathBuf, Option<FilePrint>)> {
        self.looked_at.iter()
    }

    /// The file with this number.
    #[expect(clippy::indexing_slicing, reason = "a FileId comes from `add` alone")]
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// All files, in the order in which they were read.
    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter()
    }

    /// The text that a span covers.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file)
            .text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// Line and column of the first byte of a span.
    pub fn place(&self, span: Span) -> LineColumn {
        self.place_of(span.file, span.start)
    }

    /// Line and column of the byte after a span.
    pub fn end_place(&self, span: Span) -> LineColumn {
        self.place_of(span.file, span.end)
    }

    fn place_of(&self, file: FileId, at: u32) -> LineColumn {
        let file = self.file(file);
        let line = file.line_index(at);
        let start = file.line_range(line).start;
        let before = file.text.get(start..at as usize).unwrap_or_default();
        LineColumn {
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
        }
    }
}
