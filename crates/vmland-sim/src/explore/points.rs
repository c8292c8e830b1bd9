// SPDX-License-Identifier: GPL-2.0-only
//! Points at which another CPU may go on, and the locks that are waited for there.

use std::ffi::c_void;

use super::world::{Blocked, World, world};
use crate::abi;
use crate::scheduler::TaskId;

impl World {
    /// Whether a lock, or what else `cpu` waits for, can be had.
    pub(super) fn free(&mut self, cpu: usize) -> bool {
        match self.cpus[cpu].blocked {
            None => true,
            Some(Blocked::Rq(rq)) => self.rq_owner[rq].is_none(),
            Some(Blocked::Pi(task)) => self.pi_owner[task].is_none(),
            Some(Blocked::OnCpu(task)) => self.kernel.task(task).on_cpu == 0,
            Some(Blocked::Cgroups) => self.groups_owner.is_none(),
        }
    }
}

/// The address of the [`World`], as the scheduler has it.
pub(super) type Address = *mut c_void;

/// Another CPU may go on here.
pub(super) fn suspend(w: Address) {
    let running = world(w).running;
    let yielder = world(w).cpus[running].yielder;
    // SAFETY: it is on the stack of the coroutine that calls this.
    unsafe { (*yielder).suspend(()) };
}

pub(super) fn point(w: Address, call: &str, task: Option<TaskId>) -> usize {
    let cpu = world(w).running;
    if !world(w).interleaves {
        return cpu;
    }
    // Of an op without a break in it, only what it does is shown.
    if world(w).last_shown != cpu || task.is_some() {
        world(w).note(cpu, |world| match task {
            Some(task) => format!("{call}: {}", world.name(task)),
            None => call.to_owned(),
        });
    }
    suspend(w);
    cpu
}

/// The kernel would eject the scheduler. Does not return.
pub(super) fn fail(w: Address, what: String) -> ! {
    assert!(world(w).interleaves, "{what}");
    world(w).failure.get_or_insert(what);
    loop {
        suspend(w);
    }
}

pub(super) fn wait(w: Address, cpu: usize, blocked: Blocked) {
    world(w).cpus[cpu].blocked = Some(blocked);
    suspend(w);
    // The explorer lets it go on only when it can be had.
    world(w).cpus[cpu].blocked = None;
}

pub(super) fn lock_rq(w: Address, cpu: usize, rq: usize) {
    wait(w, cpu, Blocked::Rq(rq));
    world(w).rq_owner[rq] = Some(cpu);
}

pub(super) fn unlock_rq(w: Address, rq: usize) {
    world(w).rq_owner[rq] = None;
}

/// `task`, which is in no DSQ, goes from the CPU `from`, whose run queue is locked, to `to`, whose
/// run queue is locked then. In between others see that it moves.
pub(super) fn migrate(w: Address, cpu: usize, task: TaskId, from: usize, to: usize) {
    world(w).tasks[task].migrating = true;
    world(w).kernel.task(task).cpu = to as i32;
    unlock_rq(w, from);
    lock_rq(w, cpu, to);
    world(w).tasks[task].migrating = false;
}

/// task_rq_lock(): returns the run queue.
pub(super) fn lock_task_rq(w: Address, cpu: usize, task: TaskId) -> usize {
    loop {
        wait(w, cpu, Blocked::Pi(task));
        world(w).pi_owner[task] = Some(cpu);
        let rq = world(w).cpu_of(task);
        lock_rq(w, cpu, rq);
        if world(w).cpu_of(task) == rq && !world(w).tasks[task].migrating {
            return rq;
        }
        unlock_task_rq(w, task, rq);
    }
}

pub(super) fn unlock_task_rq(w: Address, task: TaskId, rq: usize) {
    unlock_rq(w, rq);
    world(w).pi_owner[task] = None;
}

/// `cpu` is about to call an op.
pub(super) fn op(
    w: Address,
    cpu: usize,
    name: &'static str,
    task: Option<TaskId>,
) -> *mut abi::Task {
    let world = world(w);
    world.cpus[cpu].op = name;
    world.note(cpu, |world| match task {
        Some(task) => format!("-- {}", world.name(task)),
        None => "--".to_owned(),
    });
    world.kernel.pointer(task)
}

pub(super) fn op_ends(w: Address, cpu: usize) {
    world(w).cpus[cpu].op = "";
}
