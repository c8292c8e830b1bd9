// SPDX-License-Identifier: GPL-2.0-only
//! Who the VMs are.
//!
//! The scheduler knows a VM by the PID of its VMM. Operators know it by the name that they gave
//! it, which some file below `/proc/PID` tells for every common VMM: no configuration, and no
//! question to a daemon that may be the one that is stuck.
//!
//! | VMM | the user's own name | what the cgroup says | what tells it apart otherwise | UUID |
//! | --- | --- | --- | --- | --- |
//! | QEMU | `-name [guest=]NAME` | libvirt's machine, Proxmox' ID | Proxmox' `-id` | `-uuid`, `-smbios type=1,uuid=` |
//! | QEMU of KubeVirt | `-name guest=NAMESPACE_NAME` | | | the same |
//! | Firecracker | `--id` | the jailer's `/firecracker/ID` | | `--id`, if it is one |
//! | Cloud Hypervisor | | libvirt's machine | stem of `--api-socket` | `--platform uuid=` |
//! | crosvm | `--name` | | stem of `--socket` | `--smbios uuid=` |
//! | any other | | libvirt's machine | | |
//!
//! The first of these from the left is the VM's name; of a VM of KubeVirt's it is
//! `NAMESPACE/NAME`, as kubectl writes it. If there is none, it is the process's own name and
//! PID: `myvmm[1234]`.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `process` | what `/proc/PID` says of a process, whatever that is |
//! | `cgroup` | which cgroup counts, and which part of its path is a whole VM's |
//! | `vmm` | which program it is |
//! | `qemu`, `firecracker`, `cloud_hypervisor`, `crosvm` | their command lines |
//! | `libvirt`, `proxmox`, `kubernetes` | how those lay out their cgroups, and call their VMs |
//! | `told`, `of_vm` | what a command line and a cgroup tell of a VM |
//! | `holders` | which processes have VMs at all |
//! | `threads` | the threads of a process, and which look like vCPUs |
//! | `printable` | names made safe to show |
//!
//! Names are labels, not identities: the user who starts a VMM chooses its command line, and two VMs
//! may have the same name. What the kernel vouches for is the user and the process's cgroup. They are safe to print, see [`VmIdentity::name`]. Nothing here fails
//! or panics, whatever a process says about itself; one that has vanished is `[1234]`.

mod arguments;
mod cgroup;
mod cloud_hypervisor;
mod crosvm;
mod firecracker;
mod holders;
mod kubernetes;
mod libvirt;
mod of_vm;
mod printable;
mod process;
mod proxmox;
mod qemu;
mod threads;
mod told;
mod uuid;
mod vmm;

use std::path::Path;

use serde::Serialize;

pub use holders::holders;
use process::Process;
pub use threads::{Thread, threads};
use told::Told;
pub use vmm::Vmm;

/// What is known about the VM that a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmIdentity {
    /// The VM's name. Never empty, at most 256 characters. Characters that could control a
    /// terminal or reorder text, and bytes that are not UTF-8, have become U+FFFD.
    pub name: String,
    /// The program that runs it.
    pub vmm: Vmm,
    /// In lower case, with hyphens.
    pub uuid: Option<String>,
    /// The cgroup of the whole VM where libvirt, Proxmox, Kubernetes (the pod's) or the jailer
    /// made one, else the process's: of cgroup v2, or of v1's `cpu` if v2 does not part the
    /// host's processes. As in `/proc/PID/cgroup`, that is with systemd's `\xNN` escapes, and
    /// made safe to print like the name.
    pub cgroup: Option<String>,
    /// The user of its process: the real uid, which only the kernel's rules change.
    pub uid: Option<u32>,
}

/// Finds out who the VM of process `pid` (its thread group's ID) is. `proc_root` is `/proc`,
/// except in tests.
///
/// Reads `exe`, `cmdline`, `cgroup`, `status` and `comm` of the process, each once. What is missing or
/// unreadable is skipped; without privileges that is `exe` of other users' processes.
pub fn identify(proc_root: &Path, pid: i32) -> VmIdentity {
    identity(&Process::read(&proc_root.join(pid.to_string())), pid)
}

fn identity(process: &Process, pid: i32) -> VmIdentity {
    let vmm = process.vmm();
    let args = &process.args[..];
    let told = match vmm {
        Vmm::Qemu => qemu::told(args),
        Vmm::Firecracker => firecracker::told(args),
        Vmm::CloudHypervisor => cloud_hypervisor::told(args),
        Vmm::Crosvm => crosvm::told(args),
        Vmm::Other => Told::default(),
    };
    let by_user = told.name.map(|name| {
        if process.cgroups.in_kubernetes() {
            kubernetes::namespaced(name)
        } else {
            name
        }
    });
    let by_cgroup = || process.cgroups.name_of_vm(vmm);

    // None if nobody could see it.
    let shown = |name: String| {
        let name = printable::name(&name);
        (!name.trim().is_empty()).then_some(name)
    };
    let name = by_user
        .and_then(shown)
        .or_else(|| by_cgroup().and_then(shown))
        .or_else(|| told.otherwise.and_then(shown))
        .unwrap_or_else(|| printable::name(&format!("{}[{pid}]", process.comm)));

    VmIdentity {
        name,
        vmm,
        uuid: told.uuid.as_deref().and_then(uuid::uuid),
        cgroup: process.cgroups.of_vm(vmm).map(printable::path),
        uid: process.uid,
    }
}

#[cfg(test)]
mod tests;
