// SPDX-License-Identifier: GPL-2.0-only
//! Small text files that every Linux has below `/proc` and `/sys`, for questions that are answered
//! before a program does anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Such a file could not be read or understood.
#[derive(Debug, thiserror::Error)]
#[error("Cannot read {}: {source}. Check that /proc and /sys are mounted and readable.", path.display())]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What reading it gave; `InvalidData` if the content made no sense.
    pub source: io::Error,
}

impl Unreadable {
    /// The file at `path` is not what it should be: `what` says in which way.
    pub fn invalid(path: &Path, what: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, what),
        }
    }
}

/// The text of the file; what is not UTF-8 is replaced.
///
/// # Errors
///
/// It cannot be read.
pub fn read(path: &Path) -> Result<String, Unreadable> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(source) => Err(Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}
