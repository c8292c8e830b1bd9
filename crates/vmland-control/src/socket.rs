// SPDX-License-Identifier: GPL-2.0-only
//! Where the control socket is, and who may connect.
//!
//! The directory is locked for as long as the scheduler runs, which nothing outlives, a
//! crash included: who holds the lock may take away a socket that somebody has left.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

use super::client::NAME;

/// The listening socket. It goes with this.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    _lock: Flock<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another scx_vmland runs, or is about to: {0} is locked")]
    Locked(PathBuf),
    #[error("{0} has to belong to root, and nobody else may write it; remove it, or chmod it")]
    Distrusted(PathBuf),
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

impl Socket {
    /// Makes the socket in `directory`, which is made too if there is none.
    pub fn bind(directory: &Path) -> Result<(Self, UnixListener), BindError> {
        let failed = |e: io::Error| BindError::Io(directory.into(), e);
        match DirBuilder::new().mode(0o755).create(directory) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
            _ => {}
        }
        let opened = File::open(directory).map_err(failed)?;
        let metadata = opened.metadata().map_err(failed)?;
        // A link, too, would lead to where somebody else may.
        let named = fs::symlink_metadata(directory).map_err(failed)?;
        let is_it = named.is_dir() && named.ino() == metadata.ino();
        if !is_it || metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            return Err(BindError::Distrusted(directory.into()));
        }
        let lock = Flock::lock(opened, FlockArg::LockExclusiveNonblock)
            .map_err(|_| BindError::Locked(directory.into()))?;

        let path = directory.join(NAME);
        let failed = |e: io::Error| BindError::Io(path.clone(), e);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        // Nobody but root gets far enough to see it with another mode for a moment:
        // connecting takes permission to write, which no usual umask leaves to others,
        // and every client's credentials are looked at.
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok((Self { path, _lock: lock }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").mode() & 0o7777
    }

    #[test]
    fn one_at_a_time_and_what_a_crash_leaves_is_taken_away() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("run");
        let (first, listener) = Socket::bind(&directory).expect("free");
        let path = directory.join(NAME);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&directory) & 0o022, 0);
        UnixStream::connect(&path).expect("it listens");
        let second = Socket::bind(&directory).expect_err("locked");
        assert!(matches!(second, BindError::Locked(_)), "{second}");
        UnixStream::connect(&path).expect("it still does");
        drop(first);
        assert!(!path.exists());

        // As a process leaves it that was killed.
        drop(listener);
        drop(UnixListener::bind(&path).expect("free"));
        assert!(path.exists());
        let (_socket, _listener) = Socket::bind(&directory).expect("free again");
        UnixStream::connect(&path).expect("it listens");
    }

    #[test]
    fn directories_of_others_are_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let refuses = |directory: &Path| {
            let refused = Socket::bind(directory).expect_err("refused");
            assert!(matches!(refused, BindError::Distrusted(_)), "{refused}");
        };
        let open = place.path().join("open");
        fs::create_dir(&open).expect("made");
        fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("chmod");
        refuses(&open);
        fs::set_permissions(&open, Permissions::from_mode(0o755)).expect("chmod");
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&open, &link).expect("a link");
        refuses(&link);
        assert!(Socket::bind(&open).is_ok());

        let file = place.path().join("file");
        fs::write(&file, "").expect("written");
        refuses(&file);
        let missing = Socket::bind(&place.path().join("a/b")).expect_err("no parent");
        assert!(matches!(missing, BindError::Io(..)), "{missing}");
    }
}
