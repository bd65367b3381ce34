//! Which files the path of an `include` names.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use crate::diagnostic::quote;

/// What a path names.
#[derive(Debug)]
pub(super) enum Named {
    /// One file, which must exist.
    File(PathBuf),
    /// What a glob matches, in byte order, the folders that could not be looked into aside.
    Matches(Vec<PathBuf>, Vec<(PathBuf, io::Error)>),
}

/// Why a path names nothing.
#[derive(Debug)]
pub(super) struct Wrong {
    /// One sentence.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: String,
}

const EXAMPLE: &str = "write `include \"conf.d/*.flb\"`";

/// How many entries of folders one pattern looks at: enough for a file for each of very many services, and few enough not to walk
/// a disk.
const MOST_ENTRIES: usize = 100_000;

/// Finds what `path` names, starting from `directory`.
///
/// The glob crate matches names here and does not walk: its walk takes the starting folder for a
/// part of the pattern, and panics on a file name that is not UTF-8.
///
/// `look` is told what may make it find something else another time: folders that a pattern was looked for in, and files that
/// are not there.
pub(super) fn find(
    directory: &Path,
    path: &str,
    look: &mut dyn FnMut(&Path),
) -> Result<Named, Wrong> {
    if path.is_empty() {
        return Err(Wrong {
            message: "The path of an include is empty".into(),
            help: EXAMPLE.into(),
        });
    }
    if !path.contains(['*', '?', '[']) {
        return Ok(Named::File(directory.join(path)));
    }
    if path.contains("**") {
        return Err(Wrong {
            message: "`**` is no part of an include's path; a `*` stays within one folder".into(),
            help: EXAMPLE.into(),
        });
    }
    let start = if path.starts_with('/') {
        PathBuf::from("/")
    } else {
        directory.to_path_buf()
    };
    let (mut found, mut refused, mut looked_at) = (vec![start], Vec::new(), 0);
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if part.contains(['*', '?', '[']) {
            let pattern = Pattern::new(part).map_err(|error| Wrong {
                message: format!("{} is no glob: {}", quote(part), error.msg),
                help: EXAMPLE.into(),
            })?;
            let mut next = Vec::new();
            for folder in &found {
                look(shown(folder));
                next.extend(matches(folder, &pattern, &mut looked_at, &mut refused));
                if looked_at > MOST_ENTRIES {
                    return Err(Wrong {
                        message: format!(
                            "{} would look at more than {MOST_ENTRIES} files and folders",
                            quote(path)
                        ),
                        help: format!("{EXAMPLE}, with the name of the folder that has the files"),
                    });
                }
            }
            found = next;
        } else {
            for path in &mut found {
                path.push(part);
            }
        }
    }
    found.retain(|path| {
        let is_there = path.symlink_metadata().is_ok();
        if !is_there {
            look(path);
        }
        is_there
    });
    found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(Named::Matches(found, refused))
}

/// The entries of a folder that a pattern matches; a hidden one only if the pattern says so.
fn matches(
    folder: &Path,
    pattern: &Pattern,
    looked_at: &mut usize,
    refused: &mut Vec<(PathBuf, io::Error)>,
) -> Vec<PathBuf> {
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::default()
    };
    let shown = shown(folder);
    let entries = match shown.read_dir() {
        Ok(entries) => entries,
        // A glob may match nothing.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Vec::new();
        }
        Err(error) => {
            refused.push((shown.to_path_buf(), error));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        *looked_at += 1;
        if *looked_at > MOST_ENTRIES {
            break;
        }
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                if pattern.matches_with(&name.to_string_lossy(), options) {
                    found.push(folder.join(name));
                }
            }
            Err(error) => refused.push((shown.to_path_buf(), error)),
        }
    }
    found
}

/// A folder as it is opened.
fn shown(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}
