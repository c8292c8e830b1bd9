// SPDX-License-Identifier: GPL-2.0-only
//! Which processes have VMs, whatever they are.

use std::fs;
use std::path::Path;

/// The PIDs of the processes that hold a VM of KVM's open, in ascending order: a process that has a
/// file descriptor from `KVM_CREATE_VM`, be it the VMM or somebody who was given it. Having
/// opened `/dev/kvm` makes no VM yet. `proc_root` is `/proc`, except in tests.
///
/// Without privileges, those of other users are not seen.
pub fn holders(proc_root: &Path) -> Vec<i32> {
    let mut pids: Vec<i32> = numbers(proc_root)
        .filter(|pid| holds_vm(&proc_root.join(pid.to_string()).join("fd")))
        .collect();
    pids.sort_unstable();
    pids
}

fn holds_vm(fds: &Path) -> bool {
    fs::read_dir(fds).is_ok_and(|fds| {
        fds.flatten().any(|fd| {
            fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:kvm-vm")
        })
    })
}

/// The entries of a directory that are numbers: PIDs, or TIDs. None if it is not there.
pub fn numbers(dir: &Path) -> impl Iterator<Item = i32> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_test_tree::Tree;

    #[test]
    fn who_has_a_vm() {
        let tree = Tree::new()
            .link("77/fd/0", "/dev/null")
            .link("77/fd/11", "anon_inode:kvm-vm")
            .link("77/fd/12", "anon_inode:kvm-vcpu:0")
            .link("5/fd/3", "anon_inode:kvm-vm")
            // Asked KVM for something, and has no VM.
            .link("78/fd/3", "/dev/kvm")
            // Its VM has been closed, and a vCPU has not.
            .link("79/fd/3", "anon_inode:kvm-vcpu:0")
            .put("80/cmdline", "")
            .put("uptime", "1 1")
            .link("self/fd/3", "anon_inode:kvm-vm");
        assert_eq!(holders(tree.path()), [5, 77]);
        assert!(holders(&tree.path().join("nowhere")).is_empty());
    }
}
