// SPDX-License-Identifier: GPL-2.0-only
//! Files of a configuration, read with care.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Lines, Place, Position, Source};
use super::trust::{Caller, Owned, distrust};

/// Largest file that is read, in bytes. 10 000 rules take about one MiB.
pub const FILE_MAX: u64 = 4 << 20;

/// Why there is no text.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is no such file.
    Missing,
    Bad(Finding),
}

/// The text of a file that may be believed.
pub(super) fn text(path: &Path, caller: Caller) -> Result<String, Unread> {
    let bad = |text: String| Unread::Bad(finding(path, None, text));
    let unreadable = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => Unread::Missing,
        _ => bad(format!("cannot be read: {e}")),
    };
    // Before it is opened: opening a pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(bad("is a directory; a file is expected".into()));
    }
    if !metadata.is_file() {
        return Err(bad("is no regular file".into()));
    }
    for directory in directories_of(path) {
        believe(&directory, caller).map_err(Unread::Bad)?;
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if let Some(why) = distrust(&owned(&metadata), false, caller) {
        return Err(bad(why));
    }

    let mut bytes = vec![];
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        return Err(bad(format!(
            "is {} MiB long; at most {} MiB are read",
            mib(metadata.len().max(FILE_MAX + 1)),
            mib(FILE_MAX)
        )));
    }
    String::from_utf8(bytes).map_err(|e| {
        let (valid, byte) = e.as_bytes().split_at(e.utf8_error().valid_up_to());
        let valid = String::from_utf8_lossy(valid);
        let position = Lines::new(&valid).position(valid.len());
        let text = format!("is not UTF-8: byte {:#04x}", byte[0]);
        Unread::Bad(finding(path, Some(position), text))
    })
}

/// The files `*.toml` of a directory, in the order of their names. None: there is
/// no such directory.
pub(super) fn files_of(directory: &Path, caller: Caller) -> Result<Option<Vec<PathBuf>>, Finding> {
    let unreadable = |e: std::io::Error| finding(directory, None, format!("cannot be read: {e}"));
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    };
    believe(directory, caller)?;
    let mut files = vec![];
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.ends_with(b".toml") && !bytes.starts_with(b".") {
            files.push(directory.join(&name));
        }
    }
    files.sort_unstable();
    Ok(Some(files))
}

/// Where the file is entered, and where it really is if that is a link.
fn directories_of(path: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    };
    let real = fs::canonicalize(path).ok();
    let mut directories = vec![];
    directories.extend(parent(path));
    directories.extend(real.as_deref().and_then(parent));
    directories
}

pub(super) fn believe(directory: &Path, caller: Caller) -> Result<(), Finding> {
    let metadata = fs::metadata(directory)
        .map_err(|e| finding(directory, None, format!("cannot be read: {e}")))?;
    match distrust(&owned(&metadata), true, caller) {
        Some(why) => Err(finding(directory, None, why)),
        None => Ok(()),
    }
}

fn owned(metadata: &Metadata) -> Owned {
    Owned {
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: metadata.mode(),
    }
}

pub(super) fn finding(path: &Path, position: Option<Position>, text: String) -> Finding {
    Finding {
        place: Place {
            source: Source::File(path.into()),
            position,
        },
        text,
    }
}
