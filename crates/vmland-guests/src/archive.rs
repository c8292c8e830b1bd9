// SPDX-License-Identifier: GPL-2.0-only
//! Archives that a guest's kernel unpacks at its boot: cpio, in the format newc.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use cpio::NewcBuilder;

/// As in `st_mode`: a regular file that everybody may execute.
const FILE: u32 = 0o100_755;
const DIRECTORY: u32 = 0o040_755;

/// The kernel sees an archive behind another only at a multiple of this many bytes.
const ALIGNMENT: usize = 4;

/// `load.c`, a static program.
const LOAD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/load"));

/// The user space of a guest: the load is its init, and there is nothing else.
pub fn userspace() -> Vec<u8> {
    let init = BTreeMap::from([("/init".into(), LOAD)]);
    pack(&init).expect("writing to memory does not fail")
}

/// Files by their absolute path, with the directories that lead to them: the kernel makes
/// none that an archive does not have. The length is a multiple of [`ALIGNMENT`], so that
/// another archive may follow.
///
/// # Errors
///
/// If a file is too long for the format (4 GiB).
pub fn pack<C: AsRef<[u8]>>(files: &BTreeMap<PathBuf, C>) -> io::Result<Vec<u8>> {
    let directories: BTreeSet<&Path> = { files.keys() }
        .flat_map(|file| file.ancestors().skip(1))
        .filter(|dir| dir.parent().is_some())
        .collect();
    let entry = |path: &Path, mode| {
        let name = path.to_string_lossy();
        NewcBuilder::new(name.trim_start_matches('/')).mode(mode)
    };
    // In order, so that each directory comes before what is in it.
    let directories =
        { directories.iter() }.map(|dir| (entry(dir, DIRECTORY), Cursor::new(&[][..])));
    let files =
        { files.iter() }.map(|(path, content)| (entry(path, FILE), Cursor::new(content.as_ref())));
    let mut archive = cpio::write_cpio(directories.chain(files), Vec::new())?;
    archive.resize(archive.len().next_multiple_of(ALIGNMENT), 0);
    Ok(archive)
}
