// SPDX-License-Identifier: GPL-2.0-only
//! What is set for a VM, written into the configuration's main file.
//!
//! As a whole or not at all: the new text is checked together with all other files, and
//! then takes the place of the old one in one step.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::config::Config;
use super::edit::{Edit, edited};
use super::effective::Target;
use super::finding::{Diagnostics, Lines};
use super::load::Sources;
use super::read::{self, Unread};

/// Of a file that is new.
const MODE: u32 = 0o644;

#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file as it is, or as it would be, is wrong, or may not be believed.
    #[error("{0}")]
    Wrong(#[from] Diagnostics),
    #[error("{0}: cannot be written: {1}")]
    Io(PathBuf, io::Error),
    #[error("{0}: somebody else has just changed it; it was left alone")]
    Changed(PathBuf),
}

/// Writes the edits for one VM into the main file of `sources`, which is made if there
/// is none.
///
/// # Errors
/// The file is as it was then.
pub fn save(sources: &Sources, target: Target<'_>, edits: &[Edit]) -> Result<(), SaveError> {
    let path = &sources.file;
    let old = text(sources)?;
    let before = old.as_deref().unwrap_or_default();
    let new = edited(before, target, edits).map_err(|e| {
        let at = e.span().unwrap_or_default().start;
        let position = Lines::new(before).position(at);
        Diagnostics(vec![read::finding(
            path,
            Some(position),
            e.message().into(),
        )])
    })?;
    if new == before {
        return Ok(());
    }
    if let Some(directory) = path.parent().filter(|d| old.is_none() && d.exists()) {
        read::believe(directory, sources.caller).map_err(|finding| Diagnostics(vec![finding]))?;
    }
    Config::load_as_if(sources, &new)?;
    // In the place of what a link points to.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    replace(&real, &new, || Ok(text(sources)? == old))
}

/// None: there is no such file.
fn text(sources: &Sources) -> Result<Option<String>, Diagnostics> {
    match read::text(&sources.file, sources.caller) {
        Ok(text) => Ok(Some(text)),
        Err(Unread::Missing) => Ok(None),
        Err(Unread::Bad(finding)) => Err(Diagnostics(vec![finding])),
    }
}

fn replace(
    path: &Path,
    text: &str,
    is_as_before: impl FnOnce() -> Result<bool, Diagnostics>,
) -> Result<(), SaveError> {
    let failed = |e: io::Error| SaveError::Io(path.into(), e);
    let directory = path.parent().unwrap_or(Path::new("/"));
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    let mut file = tempfile::Builder::new()
        .prefix(".vmland-")
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let mode = match fs::metadata(path) {
        Ok(old) => {
            fchown(file.as_file(), Some(old.uid()), Some(old.gid())).map_err(failed)?;
            old.mode() & 0o7777
        }
        Err(_) => MODE,
    };
    let permissions = Permissions::from_mode(mode);
    file.as_file()
        .set_permissions(permissions)
        .map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    if !is_as_before()? {
        return Err(SaveError::Changed(path.into()));
    }
    file.persist(path).map_err(|e| failed(e.error))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)
}
