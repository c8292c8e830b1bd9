// SPDX-License-Identifier: GPL-2.0-only
//! For tests: a directory that plays `/` or `/proc`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Files and links below a directory of their own, which is removed when this is dropped.
/// Parents are made as needed; what was there before is replaced.
pub struct Tree(TempDir);

impl Default for Tree {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Tree {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn put(self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.place(path), content).unwrap();
        self
    }

    pub fn link(self, path: impl AsRef<Path>, target: &str) -> Self {
        let path = self.place(path);
        let _ = fs::remove_file(&path);
        symlink(target, path).unwrap();
        self
    }

    /// A file, or a directory with all that is in it.
    pub fn remove(self, path: impl AsRef<Path>) -> Self {
        let path = self.path().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        self
    }

    fn place(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}
