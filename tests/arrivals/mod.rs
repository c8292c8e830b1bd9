// SPDX-License-Identifier: GPL-2.0-only
//! vCPUs as the policy's benchmark and its test of allocations have them.

use scx_vmland::policy::Arrival;

pub const SLICE_NS: u64 = 10_000_000;

/// One that has used up its slice.
pub fn arrival(pid: i32, vruntime: u64) -> Arrival {
    Arrival {
        pid,
        weight: 100,
        slice_ns: SLICE_NS,
        vruntime,
        vtime: vruntime,
        generation: 0,
    }
}
