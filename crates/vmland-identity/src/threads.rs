// SPDX-License-Identifier: GPL-2.0-only
//! The threads of a VMM. Those that are no vCPU help the VM along: the main loop, iothreads,
//! migration, and since Linux 6.4 vhost's workers too.

use std::path::Path;

use serde::Serialize;

use super::holders::numbers;
use super::printable;
use super::process::comm;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Thread {
    pub tid: i32,
    /// As the thread calls itself, such as `IO iothread0` or `vhost-4711`, made safe to print;
    /// empty if it has just ended.
    pub name: String,
}

/// All threads of process `pid`, by TID; none if it is gone. `proc_root` is `/proc`, except in
/// tests.
pub fn threads(proc_root: &Path, pid: i32) -> Vec<Thread> {
    let dir = proc_root.join(pid.to_string()).join("task");
    let mut threads: Vec<Thread> = numbers(&dir)
        .map(|tid| Thread {
            tid,
            name: printable::name(&comm(&dir.join(tid.to_string()))),
        })
        .collect();
    threads.sort_unstable_by_key(|thread| thread.tid);
    threads
}

impl Thread {
    /// Whether it is called as a VMM calls its vCPUs. QEMU does so with `debug-threads=on`
    /// only; the kernel knows better, see `vmland vms`.
    pub fn is_vcpu_by_name(&self) -> bool {
        let name = self.name.as_str();
        let qemu = name.starts_with("CPU ") && name.ends_with("/KVM");
        let others = ["fc_vcpu", "vcpu", "crosvm_vcpu"];
        qemu || others.iter().any(|start| name.starts_with(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_test_tree::Tree;

    fn named(tid: i32, name: &str) -> Thread {
        Thread {
            tid,
            name: name.into(),
        }
    }

    #[test]
    fn threads_of_a_process() {
        let tree = Tree::new()
            .put("9/task/9/comm", "qemu-system-x86\n")
            .put("9/task/14/comm", "vhost-9\n")
            .put("9/task/12/comm", "CPU 0/KVM\n")
            .put("9/task/11/comm", b"IO \x1b[2J\xff\n")
            .put("9/task/13/stat", "")
            .put("9/task/x/comm", "no thread\n");
        let found = [
            named(9, "qemu-system-x86"),
            named(11, "IO \u{fffd}[2J\u{fffd}"),
            named(12, "CPU 0/KVM"),
            named(13, ""),
            named(14, "vhost-9"),
        ];
        assert_eq!(threads(tree.path(), 9), found);
        assert_eq!(threads(tree.path(), 10), []);
    }

    #[test]
    fn vcpus_by_name() {
        for name in ["CPU 0/KVM", "fc_vcpu 3", "vcpu12", "crosvm_vcpu0"] {
            assert!(named(1, name).is_vcpu_by_name(), "{name}");
        }
        for name in [
            "qemu-system-x86",
            "CPU throttle",
            "IO iothread1",
            "vhost-9",
            "",
        ] {
            assert!(!named(1, name).is_vcpu_by_name(), "{name}");
        }
    }
}
