// SPDX-License-Identifier: GPL-2.0-only
//! The VMs in KVM's debugfs, which only root may read.
//!
//! There is a directory `PID-FD` for each VM, and `vcpuN/pid` in it has the thread of each vCPU
//! (Linux 5.19 and newer). Files with statistics are sums over the VM's vCPUs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::str::FromStr;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvmVm {
    pub pid: i32,
    /// Threads, by KVM's vCPU id. A vCPU that has never run has none.
    pub vcpus: BTreeMap<i32, i32>,
    pub exits: Option<u64>,
    /// Time that vCPUs polled for a wake-up, and went to sleep after all, in ns.
    pub poll_wasted_ns: Option<u64>,
}

/// `sys` is `/sys`, except in tests. None if debugfs cannot be read, or KVM is not there.
pub fn vms(sys: &Path) -> Option<Vec<KvmVm>> {
    let entries = fs::read_dir(sys.join("kernel/debug/kvm")).ok()?;
    let vm = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let pid = name.to_str()?.split_once('-')?.0.parse().ok()?;
        Some(read(&entry.path(), pid))
    };
    Some(entries.flatten().filter_map(vm).collect())
}

fn read(dir: &Path, pid: i32) -> KvmVm {
    let vcpu = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let id = name.to_str()?.strip_prefix("vcpu")?.parse().ok()?;
        let tid = number(&entry.path().join("pid"))?;
        (tid > 0).then_some((id, tid))
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    KvmVm {
        pid,
        vcpus: entries.filter_map(vcpu).collect(),
        exits: number(&dir.join("exits")),
        poll_wasted_ns: number(&dir.join("halt_poll_fail_ns")),
    }
}

fn number<T: FromStr>(file: &Path) -> Option<T> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_test_tree::Tree;

    #[test]
    fn threads_and_statistics_of_vms() {
        let sys = Tree::new()
            .put("kernel/debug/kvm/exits", "7\n")
            .put("kernel/debug/kvm/4711-11/vcpu0/pid", "4720\n")
            .put("kernel/debug/kvm/4711-11/vcpu1/pid", "0\n")
            .put("kernel/debug/kvm/4711-11/vcpu2/guest_mode", "0\n")
            .put("kernel/debug/kvm/4711-11/exits", "1234\n")
            .put("kernel/debug/kvm/4711-11/halt_poll_fail_ns", "5000\n");
        let vm = KvmVm {
            pid: 4711,
            vcpus: [(0, 4720)].into(),
            exits: Some(1234),
            poll_wasted_ns: Some(5000),
        };
        assert_eq!(vms(sys.path()), Some(vec![vm]));
        assert_eq!(vms(&sys.path().join("nowhere")), None);
    }
}
