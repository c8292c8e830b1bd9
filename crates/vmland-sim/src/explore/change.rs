// SPDX-License-Identifier: GPL-2.0-only
//! Changes of a task: of its CPUs, its weight, its end.

use std::ffi::c_void;
use std::ptr::null;

use super::class::{enqueue, put_prev, running, stopping, switched};
use super::points::{Address, lock_task_rq, migrate, op, op_ends, unlock_task_rq};
use super::rt::release;
use super::world::{State, Work, world};
use crate::abi;
use crate::scheduler::TaskId;

/// A runnable task that does not run goes to another CPU (move_queued_task()), under the
/// lock of `from`; or is enqueued again there, if no other is left to it and it may use all now
/// (do_set_cpus_allowed()). Returns the run queue whose lock is held then.
pub(super) fn move_queued(w: Address, cpu: usize, task: TaskId, from: usize) -> usize {
    let to = world(w).fallback(task);
    world(w).set_queued(task, false);
    if to != from {
        migrate(w, cpu, task, from, to);
    }
    world(w).set_queued(task, true);
    enqueue(w, cpu, task, 0);
    if world(w).kernel.current[to].is_none() {
        world(w).resched(to);
    }
    to
}

/// `change` under the locks of `task`, which leaves its DSQ or CPU for it and comes back
/// (sched_change_begin(), sched_change_end()). Returns its run queue.
pub(super) fn change(w: Address, cpu: usize, task: TaskId, change: impl FnOnce()) -> usize {
    let rq = lock_task_rq(w, cpu, task);
    let queued = world(w).queued(task);
    let runs = world(w).kernel.current[rq] == Some(task);
    if queued && runs {
        world(w).kernel.use_slice(rq);
        stopping(w, cpu, task, false);
    }
    if queued {
        world(w).set_queued(task, false);
    }
    change();
    world(w).tasks[task].since_ns = world(w).now_ns();
    if queued {
        world(w).set_queued(task, true);
        if runs {
            running(w, cpu, task);
        } else {
            enqueue(w, cpu, task, 0);
        }
    }
    rq
}

/// __set_cpus_allowed_ptr()
pub(super) fn set_affinity(w: Address, cpu: usize, task: TaskId, cpus: u64) {
    let mut rq = change(w, cpu, task, || {
        let world = world(w);
        let usable = |cpu: usize| cpus >> cpu & 1 == 1 && world.cpus[cpu].active;
        let any = (0..world.cpus.len()).any(usable);
        if !any || world.kernel.task(task).migration_disabled != 0 {
            return;
        }
        world.allow(task, cpus);
        world.note(cpu, |world| {
            format!("may use {cpus:#b} now: {}", world.name(task))
        });
    });
    if !world(w).kernel.may_run_on(task, rq) && world(w).queued(task) {
        if world(w).kernel.current[rq] == Some(task) {
            world(w).push(rq, Work::Push(task));
        } else {
            rq = move_queued(w, cpu, task, rq);
        }
    }
    unlock_task_rq(w, task, rq);
}

/// The stopper runs in place of `task`, which moves (migration_cpu_stop()).
pub(super) fn push(w: Address, cpu: usize, task: TaskId) {
    let mut rq = lock_task_rq(w, cpu, task);
    let bound = world(w).kernel.task(task).migration_disabled != 0;
    let stays = world(w).may_run_on(task, cpu) && world(w).cpus[cpu].active;
    if rq == cpu && !bound && world(w).queued(task) && !stays {
        if world(w).kernel.current[cpu] == Some(task) {
            world(w).kernel.use_slice(cpu);
            put_prev(w, cpu, task, 0);
            release(w, cpu, abi::PREEMPT_STOP);
            switched(w, cpu, Some(task), None);
            world(w).cpus[cpu].idle_since_ns = world(w).now_ns();
        }
        rq = move_queued(w, cpu, task, rq);
        world(w).resched(cpu);
    }
    unlock_task_rq(w, task, rq);
}

/// `task` has ended (sched_ext_free()).
pub(super) fn leave(w: Address, cpu: usize, task: TaskId) {
    let rq = lock_task_rq(w, cpu, task);
    let away = world(w).tasks[task].state == State::Away;
    world(w).tasks[task].state = State::Gone;
    let p = op(w, cpu, "exit_task", Some(task));
    if let (Some(disable), false) = (world(w).ops.disable, away) {
        disable(abi::NO_CONTEXT, p);
    }
    if let Some(exit_task) = world(w).ops.exit_task {
        exit_task(abi::NO_CONTEXT, p, null::<c_void>().cast_mut());
    }
    op_ends(w, cpu);
    unlock_task_rq(w, task, rq);
}
