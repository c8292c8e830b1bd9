// SPDX-License-Identifier: GPL-2.0-only
//! SMT, CPUs without a tick, memory nodes.

use std::path::Path;

use vmland_base::cpus;

use super::{Answer, number, ok, word, worse};
use crate::core_sched::smt_active;

pub fn smt(root: &Path) -> Answer {
    // Without this directory the kernel knows of no SMT.
    word(root, "sys/devices/system/cpu/smt/active")?;
    ok(if smt_active(root) { "On." } else { "Off." })
}

/// None without such CPUs.
pub fn nohz_full(root: &Path) -> Answer {
    let list = word(root, "sys/devices/system/cpu/nohz_full")?;
    let there = cpus::parse(&list).is_some_and(|cpus| !cpus.is_empty());
    there.then(|| {
        ok(format!(
            "CPUs {list}: no tick where a task has one for itself."
        ))
    })?
}

fn nodes(root: &Path) -> Option<usize> {
    cpus::parse(&word(root, "sys/devices/system/node/online")?).map(|nodes| nodes.len())
}

/// None without NUMA.
pub fn numa(root: &Path) -> Answer {
    match nodes(root)? {
        0 | 1 => ok("One node."),
        count => ok(format!(
            "{count} nodes: a VM is kept on the one that most of its memory is on. numatune of libvirt says where that is to be."
        )),
    }
}

/// None without NUMA, and in a kernel that cannot.
pub fn numa_balancing(root: &Path) -> Answer {
    if nodes(root)? < 2 {
        return None;
    }
    match number(root, "proc/sys/kernel/numa_balancing")? {
        0 => ok("Off."),
        _ => worse(
            "On: it costs page faults, and the kernel moves no task of a sched_ext scheduler to its memory. Set kernel.numa_balancing=0.",
        ),
    }
}
