// SPDX-License-Identifier: GPL-2.0-only
//! What a scheduler that is killed leaves behind, and who removes it.
//!
//! | what | who removes it |
//! | --- | --- |
//! | the attached scheduler | the kernel, when the process ends |
//! | the control socket | the next start, which holds the lock on its directory |
//! | the statistics' socket | the next start |
//! | `vm.compact_unevictable_allowed` | the next start, by this file |
//!
//! The framework sets that sysctl to 0, since a page that is compacted faults when it is used
//! next, and sets it back when it detaches. It keeps the value of before in memory. Here the
//! value is also kept in a file, as long as the scheduler runs.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const SYSCTL: &str = "proc/sys/vm/compact_unevictable_allowed";
const RECORD: &str = "run/scx_vmland/compact_unevictable_allowed";

/// The host's value is kept as long as this.
pub struct Kept(PathBuf);

impl Drop for Kept {
    /// The framework has set the value back itself, or never changed it: only the file goes.
    fn drop(&mut self) {
        let _ = clean(&self.0);
    }
}

/// Keeps the host's value; `root` is `/`, except in tests. To be called before the framework
/// changes it, by the only scheduler.
pub fn keep(root: &Path) -> io::Result<Kept> {
    fs::write(root.join(RECORD), fs::read(root.join(SYSCTL))?)?;
    Ok(Kept(root.into()))
}

/// Sets the value of before, unless that has been done. Returns whether it had to be set.
pub fn clean(root: &Path) -> io::Result<bool> {
    let before = match fs::read_to_string(root.join(RECORD)) {
        Ok(value) => value,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let is_left = fs::read_to_string(root.join(SYSCTL))?.trim() == "0" && before.trim() != "0";
    if is_left {
        fs::write(root.join(SYSCTL), before.trim())?;
    }
    fs::remove_file(root.join(RECORD))?;
    Ok(is_left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_test_tree::Tree;

    fn host(value: &str) -> Tree {
        Tree::new().put(SYSCTL, value).put("run/scx_vmland/x", "")
    }

    fn value(tree: &Tree) -> String {
        fs::read_to_string(tree.path().join(SYSCTL)).expect("it is there")
    }

    #[test]
    fn what_a_killed_scheduler_left_is_set_back_once() {
        let tree = host("1\n");
        // A process that is killed drops nothing.
        std::mem::forget(keep(tree.path()).unwrap());
        let tree = tree.put(SYSCTL, "0\n");
        assert!(clean(tree.path()).unwrap());
        assert_eq!(value(&tree), "1");
        // By now it is the administrator's word.
        let tree = tree.put(SYSCTL, "0\n");
        assert!(!clean(tree.path()).unwrap());
        assert_eq!(value(&tree), "0\n");
    }

    #[test]
    fn what_was_set_back_or_changed_meanwhile_stays() {
        for (before, now) in [("1\n", "1\n"), ("0\n", "0\n"), ("0\n", "1\n")] {
            let tree = host(before);
            let kept = keep(tree.path()).unwrap();
            let tree = tree.put(SYSCTL, now);
            drop(kept);
            assert_eq!(value(&tree), now);
            assert!(!tree.path().join(RECORD).exists());
        }
    }

    #[test]
    fn a_host_without_the_file_keeps_nothing() {
        let tree = Tree::new().put("run/scx_vmland/x", "");
        assert!(keep(tree.path()).is_err());
        assert!(!clean(tree.path()).unwrap());
    }
}
