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

/// Finds what `path` names, starting from `directory`; an error is one sentence.
///
/// The glob crate matches names here and does not walk: its walk takes the starting folder for a
/// part of the pattern, and panics on a file name that is not UTF-8.
pub(super) fn find(directory: &Path, path: &str) -> Result<Named, String> {
    if path.is_empty() {
        return Err("The path of an include is empty".into());
    }
    if !path.contains(['*', '?', '[']) {
        return Ok(Named::File(directory.join(path)));
    }
    if path.contains("**") {
        return Err("`**` is no part of an include's path; a `*` stays within one folder".into());
    }
    let start = if path.starts_with('/') {
        PathBuf::from("/")
    } else {
        directory.to_path_buf()
    };
    let (mut found, mut refused) = (vec![start], Vec::new());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if part.contains(['*', '?', '[']) {
            let pattern = Pattern::new(part)
                .map_err(|error| format!("{} is no glob: {}", quote(part), error.msg))?;
            found = found
                .iter()
                .flat_map(|folder| matches(folder, &pattern, &mut refused))
                .collect();
        } else {
            for path in &mut found {
                path.push(part);
            }
        }
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(Named::Matches(found, refused))
}

/// The entries of a folder that a pattern matches; a hidden one only if the pattern says so.
fn matches(
    folder: &Path,
    pattern: &Pattern,
    refused: &mut Vec<(PathBuf, io::Error)>,
) -> Vec<PathBuf> {
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::default()
    };
    let shown = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
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
