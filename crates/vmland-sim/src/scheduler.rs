// SPDX-License-Identifier: GPL-2.0-only
//! What the simulated host asks of a scheduler.

use crate::lock::{LockCosts, LockTotals};

pub type TaskId = usize;

/// When and where something happens.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub now_ns: u64,
    pub cpu: usize,
}

/// A timer of the scheduler's, as it was started the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// Which one.
    pub timer: u32,
    /// How often it had been started before: a later start makes this one void.
    pub started: u32,
    /// Where it was started, and fires.
    pub cpu: u32,
}

/// A task that joins, asleep.
#[derive(Clone, Debug)]
pub struct Joins {
    /// VM and vCPU id, of a vCPU.
    pub vcpu: Option<(usize, usize)>,
    /// As nice levels have it; 100 is nice 0.
    pub weight: u32,
    /// Its VM's weight.
    pub vm_weight: u32,
    /// CPUs that it may run on; empty: all.
    pub cpus: Vec<usize>,
}

/// A round of a scheduler's user space.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub cost_ns: u64,
}

pub trait Scheduler {
    /// What its queue locks are to cost; None: nothing.
    fn set_lock_costs(&mut self, _costs: Option<LockCosts>) {}

    /// What the CPU that has called the scheduler has spent on queue locks since the last time
    /// that this was asked, in ns.
    fn take_spent_ns(&mut self) -> u64 {
        0
    }

    /// What all CPUs have spent so far.
    fn locks(&self) -> LockTotals {
        LockTotals::default()
    }

    /// The memory of `task` is on `node`.
    fn memory(&mut self, _task: TaskId, _node: usize) {}

    /// Tasks join in the order of their numbers, from 0.
    fn join(&mut self, at: At, task: TaskId, who: &Joins);

    /// `task` becomes runnable; `at.cpu` is where it was woken from.
    fn wake(&mut self, at: At, task: TaskId);

    /// Who is to run on `at.cpu`, which calls schedule(). Who runs there goes to sleep
    /// if `sleeps`.
    fn switch(&mut self, at: At, sleeps: bool) -> Option<TaskId>;

    /// When a tick will find that the task that runs on `cpu` has used up its slice.
    fn slice_end_ns(&self, cpu: usize) -> Option<u64>;

    /// Whether a tick that finds that is to make the CPU schedule.
    fn tick(&mut self, at: At) -> bool;

    /// yield_to(), or sched_yield() if there is no target. Whether the hint was taken,
    /// so that `from` is to call schedule().
    fn yields(&mut self, at: At, from: TaskId, to: Option<TaskId>) -> bool;

    /// Runnable tasks that belong to `cpu`.
    fn nr_running(&self, cpu: usize) -> u32;

    /// The CPU that `task` belongs to.
    fn cpu_of(&self, task: TaskId) -> usize;

    /// A CPU that is to schedule.
    fn next_kick(&mut self) -> Option<usize>;

    /// A CPU whose running task has been given another slice.
    fn next_slice_change(&mut self) -> Option<usize> {
        None
    }

    /// A timer that has been started, and after how many ns it is to fire.
    fn next_timer(&mut self) -> Option<(u64, Alarm)> {
        None
    }

    /// A timer fires, unless it has been started again.
    fn fire(&mut self, _alarm: Alarm, _now_ns: u64) {}

    /// KVM has delivered an IPI of `from`, which runs on `at.cpu`.
    fn ipi(&mut self, _at: At, _from: TaskId, _to: TaskId) {}

    /// `task` comes back from a pause exit.
    fn spun(&mut self, _at: At, _task: TaskId) {}

    /// The scheduler's own thread, if it has one. It is told when it gets a CPU,
    /// and when it has run for what the round costs; then it yields.
    fn user_thread(&self) -> Option<TaskId> {
        None
    }
    fn round_begins(&mut self) -> Round {
        Round { cost_ns: 0 }
    }
    fn round_ends(&mut self) {}

    /// What its decisions have cost so far, in operations on its queues.
    fn operations(&self) -> u64 {
        0
    }
}
