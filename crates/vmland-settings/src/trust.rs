// SPDX-License-Identifier: GPL-2.0-only
//! Whether a file may be believed: nobody else may have written it.
//!
//! As sudo does for sudoers. A file, or the directory that it is in, has to
//! belong to root or to the user that runs us, and nobody else may write it. A
//! directory in which everybody may only change what is his own (mode 1777, as
//! `/tmp`) will do.

/// Who runs us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective user and group.
    pub uid: u32,
    pub gid: u32,
}

impl Caller {
    pub const ROOT: Caller = Caller { uid: 0, gid: 0 };
}

/// What matters of a file or directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned {
    pub uid: u32,
    pub gid: u32,
    /// As in `st_mode`.
    pub mode: u32,
}

const STICKY: u32 = 0o1000;
const GROUP_MAY_WRITE: u32 = 0o020;
const OTHERS_MAY_WRITE: u32 = 0o002;

/// Why it may not be believed, and what helps. None: it may.
pub(super) fn distrust(owned: &Owned, is_directory: bool, caller: Caller) -> Option<String> {
    let Owned { uid, gid, mode } = *owned;
    let shown = mode & 0o7777;
    if uid != 0 && uid != caller.uid {
        let whose = if caller.uid == 0 {
            "root"
        } else {
            "root or the caller"
        };
        Some(format!(
            "belongs to user {uid}; it has to belong to {whose}"
        ))
    } else if is_directory && mode & STICKY != 0 {
        None
    } else if mode & OTHERS_MAY_WRITE != 0 {
        Some(format!(
            "may be written by anybody (mode {shown:04o}); chmod o-w helps"
        ))
    } else if mode & GROUP_MAY_WRITE != 0 && gid != 0 && gid != caller.gid {
        Some(format!(
            "may be written by group {gid} (mode {shown:04o}); chmod g-w helps"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Caller = Caller {
        uid: 1000,
        gid: 1000,
    };

    #[test]
    fn files() {
        for (uid, gid, mode, caller, why) in [
            (0, 0, 0o100_644, Caller::ROOT, None),
            (0, 0, 0o100_664, Caller::ROOT, None),
            (0, 0, 0o100_600, USER, None),
            (1000, 1000, 0o100_644, USER, None),
            (1000, 1000, 0o100_664, USER, None),
            (1000, 100, 0o100_644, USER, None),
            (1000, 100, 0o100_664, USER, Some("group 100 (mode 0664)")),
            (0, 100, 0o100_664, Caller::ROOT, Some("group 100")),
            (0, 0, 0o100_646, Caller::ROOT, Some("anybody (mode 0646)")),
            (0, 0, 0o101_666, Caller::ROOT, Some("anybody (mode 1666)")),
            (1000, 1000, 0o100_666, USER, Some("anybody")),
            (1000, 1000, 0o100_600, Caller::ROOT, Some("belong to root")),
            (1001, 1000, 0o100_600, USER, Some("root or the caller")),
        ] {
            let owned = Owned { uid, gid, mode };
            let found = distrust(&owned, false, caller);
            assert_eq!(found.is_some(), why.is_some(), "{owned:?} {found:?}");
            let found = found.unwrap_or_default();
            assert!(found.contains(why.unwrap_or_default()), "{found}");
        }
    }

    #[test]
    fn directories() {
        let trusted = |uid, mode| {
            let owned = Owned { uid, gid: 0, mode };
            distrust(&owned, true, USER).is_none()
        };
        assert!(trusted(0, 0o040_755));
        assert!(trusted(0, 0o041_777));
        assert!(!trusted(0, 0o040_777));
        assert!(!trusted(1001, 0o041_777));
    }
}
