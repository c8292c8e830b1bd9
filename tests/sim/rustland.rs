// SPDX-License-Identifier: GPL-2.0-only
//! scx_rustland, a published scheduler without an `ops.yield`: the framework's own
//! BPF part, and a model of its user space, which sees every runnable task.
//!
//! A task is charged by weight and is served by the vruntime that it will have come to when
//! it has run once more for as long as it did since it last slept, so that those that
//! sleep often come first. One task is dispatched in a round.

use std::collections::BTreeMap;

use crate::bpf_intf::{dispatched_task_ctx, queued_task_ctx};
use crate::source;
use vmland_sim::ext::{Ext, UserSpace};
use vmland_sim::kernel::Kernel;
use vmland_sim::native::Native;

const SLICE_NS: u64 = 20_000_000;
const SLICE_MIN_NS: u64 = 1_000_000;
const ROUND_NS: u64 = 5_000;
const EVENT_NS: u64 = 500;
/// "Any CPU" (the framework's intf.h).
const RL_CPU_ANY: i32 = 1 << 20;

#[derive(Default)]
pub struct Rustland {
    queue: BTreeMap<(u64, u64), queued_task_ctx>,
    arrivals: u64,
    vruntime: u64,
    decided: bool,
}

pub fn rustland(nr_cpus: usize) -> Ext<Rustland> {
    Ext::new(&source("rustland.c"), nr_cpus, Rustland::default())
}

impl UserSpace for Rustland {
    type Event = queued_task_ctx;
    type Decision = dispatched_task_ctx;

    fn load(&mut self, native: &Native, pid: i32) {
        native.set("usersched_pid", pid);
        native.set("builtin_idle", true);
        native.set("slice_ns", SLICE_NS);
    }

    fn event(&mut self, _kernel: &Kernel, event: &queued_task_ctx) -> u64 {
        self.vruntime = self.vruntime.max(event.vtime);
        let least = self.vruntime.saturating_sub(SLICE_NS);
        let weight = event.weight.max(1);
        let ran = event.stop_ts.saturating_sub(event.start_ts);
        let vruntime = event.vtime.max(least) + ran * 100 / weight;
        let deadline = vruntime + event.exec_runtime.min(100 * SLICE_NS);
        let mut event = *event;
        event.vtime = vruntime;
        self.arrivals += 1;
        self.queue.insert((deadline, self.arrivals), event);
        EVENT_NS
    }

    fn decide(&mut self) -> Option<dispatched_task_ctx> {
        self.decided = !self.decided;
        if !self.decided {
            return None;
        }
        let Some(((deadline, _), task)) = self.queue.pop_first() else {
            self.decided = false;
            return None;
        };
        Some(dispatched_task_ctx {
            pid: task.pid,
            cpu: RL_CPU_ANY,
            flags: task.flags,
            slice_ns: (SLICE_NS / (self.queue.len() as u64 + 1)).max(SLICE_MIN_NS),
            vtime: deadline,
            enq_cnt: task.enq_cnt,
        })
    }

    fn waiting(&self) -> u64 {
        self.queue.len() as u64
    }

    fn round_ns(&self) -> u64 {
        ROUND_NS
    }
}
