// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel was built with, as its BTF tells: names of functions and members that are
//! there only if what they belong to is.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::{Answer, ok, worse};
use crate::core_sched::{WARNING, can_deadlock, smt_active};
use crate::preflight::{BTF, kernel};

/// Members of `struct sched_ext_ops`, and what a kernel without them cannot tell a scheduler.
const OF_CGROUPS: [(&str, &str); 3] = [
    (
        "cgroup_set_weight",
        "cpu.weight (CONFIG_EXT_GROUP_SCHED=y, which needs CONFIG_CGROUP_SCHED)",
    ),
    ("cgroup_set_bandwidth", "cpu.max (Linux 6.17)"),
    ("cgroup_set_idle", "cpu.idle (Linux 6.19)"),
];

/// Has BTF a string for each of these names? None if it cannot be read. Strings end with a zero
/// byte (Documentation/bpf/btf.rst), and no name is a part of another's bytes with zeros around.
fn has<const N: usize>(root: &Path, names: [&str; N]) -> Option<[bool; N]> {
    let btf = fs::read(root.join(BTF)).ok()?;
    let wanted: HashSet<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let strings = btf.split(|&byte| byte == 0);
    let found: HashSet<&[u8]> = strings.filter(|string| wanted.contains(string)).collect();
    Some(names.map(|name| found.contains(name.as_bytes())))
}

pub fn cgroups(root: &Path) -> Answer {
    if !root.join("sys/fs/cgroup/cgroup.controllers").exists() {
        return worse(
            "/sys/fs/cgroup is not cgroup v2, whose weights and quotas hold for VMs. Mount it: boot with systemd.unified_cgroup_hierarchy=1.",
        );
    }
    let there = has(root, OF_CGROUPS.map(|(member, _)| member))?;
    let of_missing = OF_CGROUPS.iter().zip(there).filter(|(_, there)| !there);
    let missing: Vec<_> = of_missing.map(|((_, what), _)| *what).collect();
    if missing.is_empty() {
        return ok("cpu.weight, cpu.max and cpu.idle hold.");
    }
    worse(format!(
        "This kernel tells no scheduler of {}. Boot one that does, or set weight and cap of VMs in /etc/scx_vmland/config.toml.",
        missing.join(", ")
    ))
}

/// None where SMT siblings are not kept apart.
pub fn core_scheduling(root: &Path) -> Answer {
    let [has_it, fixed] = has(root, ["scx_prio_less", "lock_drop_seq"])?;
    let host = kernel(root).ok()?;
    if !has_it || !smt_active(root) {
        return None;
    }
    if can_deadlock(host.version, fixed) {
        return worse(format!("Core scheduling: {WARNING}."));
    }
    ok("Cores are shared by weight among tasks with cookies.")
}
