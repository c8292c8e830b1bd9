// SPDX-License-Identifier: GPL-2.0-only
//! Core scheduling: SMT siblings run tasks of one cookie at a time (prctl(PR_SCHED_CORE)).

use std::fs;
use std::path::Path;

/// The kernels in which core scheduling with a sched_ext scheduler can stop the machine, if they
/// do not have the later fixes: from the first to the last.
const CAN_DEADLOCK: [(u32, u32); 2] = [(6, 19), (7, 2)];

pub const WARNING: &str = "this kernel can dead-lock when a task has a core scheduling cookie \
    (cloud-hypervisor sets them, see its --cpus core_scheduling=): switch that or SMT off, or \
    use Linux 7.3";

/// Does the host of `/` run with SMT?
pub fn smt_active(root: &Path) -> bool {
    fs::read_to_string(root.join("sys/devices/system/cpu/smt/active"))
        .is_ok_and(|text| text.trim() == "1")
}

/// Can a kernel of this version, with core scheduling and SMT, dead-lock? `fixed`: its `struct
/// scx_rq` has `lock_drop_seq`, which came with the fixes.
pub fn can_deadlock(version: (u32, u32), fixed: bool) -> bool {
    let [first, last] = CAN_DEADLOCK;
    (first..=last).contains(&version) && !fixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_test_tree::Tree;

    #[test]
    fn smt() {
        let host = |text: &str| Tree::new().put("sys/devices/system/cpu/smt/active", text);
        assert!(smt_active(host("1\n").path()));
        assert!(!smt_active(host("0\n").path()));
        assert!(!smt_active(Tree::new().path()));
    }

    #[test]
    fn kernels() {
        let can = |version| can_deadlock(version, false);
        assert!(!can((6, 18)) && can((6, 19)) && can((7, 0)) && can((7, 2)) && !can((7, 3)));
        assert!(!can_deadlock((7, 1), true), "a later 7.1.y");
    }
}
