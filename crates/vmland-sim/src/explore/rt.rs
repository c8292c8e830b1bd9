// SPDX-License-Identifier: GPL-2.0-only
//! Tasks of higher classes: they take CPUs, and tasks go to them and come back.

use super::class::{enqueue, put_prev, schedule, stopping, switched, update_idle};
use super::points::{Address, lock_rq, lock_task_rq, op, op_ends, unlock_rq, unlock_task_rq};
use super::world::{Event, State, world};
use crate::abi;
use crate::scheduler::TaskId;

/// For so long does a task of a higher class run, on average.
const RT_NS: u64 = 2_000_000;

/// switch_class(): the CPU's task has been put back, and one of a higher class follows.
pub(super) fn release(w: Address, cpu: usize, reason: u32) {
    let Some(cpu_release) = world(w).ops.cpu_release else {
        return;
    };
    if std::mem::replace(&mut world(w).cpus[cpu].released, true) {
        return;
    }
    op(w, cpu, "cpu_release", None);
    cpu_release(abi::NO_CONTEXT, cpu as i32, &reason);
    op_ends(w, cpu);
    if !std::mem::take(&mut world(w).cpus[cpu].reenqueue) {
        return;
    }
    let mut tasks = Vec::new();
    while let Some(task) = world(w).kernel.local_first(cpu) {
        world(w).kernel.remove(task);
        tasks.push(task);
    }
    for task in tasks {
        enqueue(w, cpu, task, abi::ENQ_REENQ);
    }
}

/// The CPU belongs to a higher class from now on.
fn taken(w: Address, cpu: usize) {
    update_idle(w, cpu, false);
    let world = world(w);
    let prev = world.kernel.current[cpu];
    switched(w, cpu, prev, None);
    world.cpus[cpu].rt = true;
    world.cpus[cpu].rt_since_ns = 0;
    world.cpus[cpu].resched = false;
    let runs_ns = [RT_NS, 10 * RT_NS][world.random.usize(0..2)];
    world.after_about(runs_ns, Event::RtLeaves(cpu));
}

/// schedule() with a task of a higher class as the next one.
pub(super) fn takes(w: Address, cpu: usize) {
    lock_rq(w, cpu, cpu);
    if !world(w).cpus[cpu].rt && world(w).cpus[cpu].active {
        world(w).kernel.use_slice(cpu);
        let prev = world(w).kernel.current[cpu];
        if let Some(prev) = prev {
            put_prev(w, cpu, prev, 0);
            release(w, cpu, abi::PREEMPT_RT);
        }
        taken(w, cpu);
        if prev.is_some() {
            world(w).cpus[cpu].rt_since_ns = world(w).now_ns();
        }
        world(w).note(cpu, |_| "runs: a task of a higher class".to_owned());
    }
    unlock_rq(w, cpu);
}

pub(super) fn leaves(w: Address, cpu: usize) {
    world(w).cpus[cpu].rt = false;
    world(w).cpus[cpu].idle_since_ns = world(w).now_ns();
    schedule(w, cpu, false);
}

/// sched_setscheduler(). No ops.cpu_release() follows if `task` runs.
pub(super) fn to_rt(w: Address, cpu: usize, task: TaskId) {
    let rq = lock_task_rq(w, cpu, task);
    let runs = world(w).kernel.current[rq] == Some(task);
    let here = matches!(world(w).tasks[task].state, State::Asleep | State::Runnable);
    // Not modelled: its CPU is just choosing another one, or goes.
    if !here || runs && (world(w).cpus[rq].in_balance || !world(w).cpus[rq].active) {
        unlock_task_rq(w, task, rq);
        return;
    }
    if runs {
        world(w).kernel.use_slice(rq);
        stopping(w, cpu, task, false);
    }
    let runnable = world(w).queued(task);
    if runnable {
        world(w).set_queued(task, false);
    }
    let p = op(w, cpu, "disable", Some(task));
    if let Some(disable) = world(w).ops.disable {
        disable(abi::NO_CONTEXT, p);
    }
    op_ends(w, cpu);
    world(w).tasks[task].state = State::Away;
    if runs {
        taken(w, rq);
    }
    world(w).after_about(RT_NS, Event::FromRt(task));
    unlock_task_rq(w, task, rq);
}

/// It comes back, runnable or asleep; it did not run when it came.
pub(super) fn from_rt(w: Address, cpu: usize, task: TaskId, runnable: bool) {
    let rq = lock_task_rq(w, cpu, task);
    if world(w).tasks[task].state != State::Away {
        unlock_task_rq(w, task, rq);
        return;
    }
    let p = op(w, cpu, "enable", Some(task));
    (world(w).ops.enable)(abi::NO_CONTEXT, p);
    op_ends(w, cpu);
    world(w).tasks[task].since_ns = world(w).now_ns();
    if runnable && world(w).kernel.may_run_on(task, rq) && world(w).cpus[rq].active {
        world(w).tasks[task].state = State::Runnable;
        world(w).set_queued(task, true);
        enqueue(w, cpu, task, 0);
        if world(w).idles(rq) {
            world(w).resched(rq);
        }
    } else {
        world(w).tasks[task].state = State::Asleep;
        world(w).after_about(RT_NS, Event::Wake(task));
    }
    unlock_task_rq(w, task, rq);
}
