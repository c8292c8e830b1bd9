// SPDX-License-Identifier: GPL-2.0-only
//! Cgroups, as systemd, libvirt and others make them.

use std::fs;

use super::read;

const ROOT: &str = "/sys/fs/cgroup";

/// A cgroup with the cpu and the cpuset controller; dropped, it is removed and its tasks move to
/// the root.
pub struct Cgroup(String);

impl Cgroup {
    /// Below `parent`, which is "" or "/path".
    pub fn new(parent: &str, name: &str) -> Self {
        let this = Self(format!("{parent}/{name}"));
        write(&format!("{parent}/cgroup.subtree_control"), "+cpu +cpuset");
        fs::create_dir(format!("{ROOT}{}", this.0)).expect("a new cgroup");
        this
    }

    /// For threads of processes that are in `parent`.
    pub fn threaded(parent: &Self, name: &str) -> Self {
        let this = Self::new(parent.path(), name);
        this.set("cgroup.type", "threaded");
        this
    }

    pub fn path(&self) -> &str {
        &self.0
    }

    pub fn set(&self, file: &str, value: impl ToString) {
        write(&format!("{}/{file}", self.0), &value.to_string());
    }

    /// Whether it gets only CPU time that no other cgroup uses. Where the kernel does not pass
    /// cpu.idle on to a scheduler, this sets the smallest weight.
    pub fn set_idle(&self, on: bool) {
        if kernel() >= (6, 19) {
            self.set("cpu.idle", u8::from(on));
        } else {
            self.set("cpu.weight", if on { 1 } else { 100 });
        }
    }

    pub fn take(&self, pid: i32) {
        self.set("cgroup.procs", pid);
    }

    pub fn take_thread(&self, tid: i32) {
        self.set("cgroup.threads", tid);
    }

    /// Its processes, and those of the threaded cgroups below it, move to the root.
    pub fn empty(&self) {
        for pid in read(&format!("{ROOT}{}/cgroup.procs", self.0)).lines() {
            let _ = fs::write(format!("{ROOT}/cgroup.procs"), pid);
        }
    }

    /// CPU time of its tasks, those of QEMU included.
    pub fn cpu_ns(&self) -> u64 {
        let stat = read(&format!("{ROOT}{}/cpu.stat", self.0));
        let usage = |line: &str| line.strip_prefix("usage_usec ")?.parse::<u64>().ok();
        stat.lines().find_map(usage).expect("its CPU time") * 1000
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.empty();
        let _ = fs::remove_dir(format!("{ROOT}{}", self.0));
    }
}

/// Major and minor version of the kernel.
fn kernel() -> (u32, u32) {
    let release = read("/proc/sys/kernel/osrelease");
    let mut numbers = release.split('.').map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn write(path: &str, value: &str) {
    let path = format!("{ROOT}{path}");
    fs::write(&path, value).unwrap_or_else(|e| panic!("{value} to {path}: {e}"));
}
