// SPDX-License-Identifier: GPL-2.0-only
//! A cgroup of a guest's own, so that guests can have weights under any scheduler.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

/// Names of our cgroups begin so, below the root of the hierarchy.
const PREFIX: &str = "vmland-bench-";

/// It goes when it is dropped, if nobody is in it any more.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// One with this `cpu.weight` for the guest `name`, below `root`, where cgroup v2 is.
    pub fn new(root: &Path, name: &str, weight: u32) -> io::Result<Self> {
        fs::write(root.join("cgroup.subtree_control"), "+cpu")?;
        let this = Self(root.join(format!("{PREFIX}{}-{name}", process::id())));
        fs::create_dir(&this.0)?;
        fs::write(this.0.join("cpu.weight"), weight.to_string())?;
        Ok(this)
    }

    /// Takes in a process, all its threads.
    pub fn take(&self, pid: u32) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
    }

    /// CPU time of all that was in it.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(self.0.join("cpu.stat"))?;
        let usage = |line: &str| line.strip_prefix("usage_usec ")?.parse().ok();
        let usage = stat.lines().find_map(usage);
        usage
            .map(Duration::from_micros)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Removes those that were left behind by processes that were killed. Those in which
/// somebody is stay.
pub fn remove_left_behind(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes())
        {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_writes_and_reads() {
        let root = tempfile::tempdir().unwrap();
        let read = |file: PathBuf| fs::read_to_string(file).unwrap();
        let cgroup = Cgroup::new(root.path(), "web", 200).unwrap();
        assert_eq!(read(root.path().join("cgroup.subtree_control")), "+cpu");
        assert_eq!(read(cgroup.0.join("cpu.weight")), "200");
        cgroup.take(7).unwrap();
        assert_eq!(read(cgroup.0.join("cgroup.procs")), "7");

        assert!(cgroup.cpu_time().is_err());
        fs::write(cgroup.0.join("cpu.stat"), "nr_periods 0\nusage_usec 1500\n").unwrap();
        assert_eq!(cgroup.cpu_time().unwrap(), Duration::from_micros(1_500));
    }

    #[test]
    fn what_is_left_behind_goes() {
        let root = tempfile::tempdir().unwrap();
        let dir = |name: &str| root.path().join(name);
        for name in ["vmland-bench-1-a", "vmland-bench-2-b/busy", "other"] {
            fs::create_dir_all(dir(name)).unwrap();
        }
        remove_left_behind(root.path());
        assert!(!dir("vmland-bench-1-a").exists());
        assert!(dir("vmland-bench-2-b").exists() && dir("other").exists());
    }
}
