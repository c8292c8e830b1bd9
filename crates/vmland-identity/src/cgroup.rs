// SPDX-License-Identifier: GPL-2.0-only
//! The cgroups of a process: which of them counts, and where in its path a whole VM begins.
//!
//! Threads of a VM may be in cgroups of their own below the VM's (libvirt's `emulator` and
//! `vcpu0`), so a VM's cgroup is mostly the beginning of a process's.

use super::of_vm::OfVm;
use super::vmm::Vmm;
use super::{firecracker, kubernetes, libvirt, proxmox};

/// The lines of `/proc/PID/cgroup`: controllers (none for cgroup v2) and path.
pub struct Cgroups(Vec<(String, String)>);

/// Whether the last component of a path is the cgroup of a VM, by the path above it.
type Layout = fn(component: &str, above: &str) -> Option<OfVm>;

impl Cgroups {
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?.to_owned();
            let path = fields.next()?.trim_end_matches(" (deleted)");
            Some((controllers, path.to_owned()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// The path that counts: the unified one, else the cpu controller's. A hierarchy that has
    /// all in its root parts nothing, and counts if there is no other.
    fn path(&self) -> Option<&str> {
        let of = |wanted: fn(&str) -> bool| {
            let mut lines = self.0.iter();
            lines
                .find(|(controllers, _)| wanted(controllers))
                .map(|(_, path)| path.as_str())
        };
        let unified = of(str::is_empty);
        let cpu = of(|list| list.split(',').any(|name| name == "cpu"));
        let parted = |path: &&str| *path != "/";
        unified
            .filter(parted)
            .or(cpu.filter(parted))
            .or(unified)
            .or(cpu)
    }

    /// The VM's cgroup, or if it has none of its own the process's.
    pub fn of_vm(&self, vmm: Vmm) -> Option<&str> {
        let path = self.path()?;
        Some(find(path, vmm).map_or(path, |(path, _)| path))
    }

    /// The VM's name as any of the hierarchies tells it.
    pub fn name_of_vm(&self, vmm: Vmm) -> Option<String> {
        let mut paths = self.0.iter().map(|(_, path)| path);
        paths.find_map(|path| find(path, vmm)?.1.name)
    }

    pub fn in_kubernetes(&self) -> bool {
        self.0.iter().any(|(_, path)| kubernetes::is_within(path))
    }
}

/// The cgroup of a VM in a path, the outermost if they are nested.
fn find(path: &str, vmm: Vmm) -> Option<(&str, OfVm)> {
    let layouts: &[Layout] = match vmm {
        Vmm::Firecracker => &[kubernetes::pod, libvirt::vm, proxmox::vm, firecracker::vm],
        _ => &[kubernetes::pod, libvirt::vm, proxmox::vm],
    };
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.chain([path.len()]).find_map(|end| {
        let (above, component) = path[..end].rsplit_once('/')?;
        let of_vm = layouts.iter().find_map(|layout| layout(component, above))?;
        Some((&path[..end], of_vm))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_vm(text: &str) -> Option<String> {
        let cgroups = Cgroups::parse(text);
        cgroups.of_vm(Vmm::Qemu).map(str::to_owned)
    }

    #[test]
    fn the_one_that_counts() {
        for (text, path) in [
            ("3:memory:/m\n2:cpu,cpuacct:/c\n0::/\n", Some("/c")),
            ("2:cpu,cpuacct:/c\n0::/u\n", Some("/u")),
            ("2:cpuset:/s\n1:cpuacct:/a\n0::/\n", Some("/")),
            ("2:cpu:/\n", Some("/")),
            ("2:cpuset:/s\n", None),
            ("0::/gone (deleted)\n", Some("/gone")),
            ("0::/a:b\n", Some("/a:b")),
            ("", None),
            ("garbage\n0:\n", None),
        ] {
            assert_eq!(of_vm(text).as_deref(), path, "{text:?}");
        }
    }

    #[test]
    fn the_outermost_vm_of_a_path() {
        for (path, vm) in [
            (
                "/machine.slice/machine-qemu\\x2d1\\x2da.scope/libvirt/vcpu0",
                "/machine.slice/machine-qemu\\x2d1\\x2da.scope",
            ),
            (
                "/a/qemu.slice/7.scope/x/qemu.slice/8.scope",
                "/a/qemu.slice/7.scope",
            ),
            ("/kubepods/podx/qemu-1-a.libvirt-qemu", "/kubepods/podx"),
            ("/firecracker/x/y", "/firecracker/x/y"),
            ("//a//", "//a//"),
        ] {
            assert_eq!(of_vm(&format!("0::{path}\n")).as_deref(), Some(vm));
        }
    }
}
