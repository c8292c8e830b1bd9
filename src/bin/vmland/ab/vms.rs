// SPDX-License-Identifier: GPL-2.0-only
//! Which VMs are on this host, whatever scheduler is in force.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use scx_vmland::vm_name;

/// A process that has a VM: its pid, by the VM's name.
pub type Vms = BTreeMap<String, i32>;

/// Every process with an open file of KVM's for a VM. Two of one name are told apart by their pids.
pub fn find() -> Vms {
    let mut vms = Vms::new();
    for process in procfs::process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
    {
        if !has_vm(process.pid) {
            continue;
        }
        let identity = vm_name::identify(Path::new("/proc"), process.pid.unsigned_abs());
        let name = if vms.contains_key(&identity.name) {
            format!("{} ({})", identity.name, process.pid)
        } else {
            identity.name
        };
        vms.insert(name, process.pid);
    }
    vms
}

fn has_vm(pid: i32) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|files| {
        files.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:kvm-vm")
        })
    })
}

/// The threads of a process.
pub fn threads(pid: i32) -> Vec<i32> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Is a thread a vCPU by its name? QEMU's, Firecracker's and cloud-hypervisor's
/// are told; only for where the kernel cannot be asked.
pub fn is_vcpu_by_name(pid: i32, tid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    let name = name.trim();
    (name.starts_with("CPU ") && name.ends_with("/KVM"))
        || name.starts_with("fc_vcpu")
        || name.starts_with("vcpu")
}
