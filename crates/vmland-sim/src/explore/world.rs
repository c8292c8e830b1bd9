// SPDX-License-Identifier: GPL-2.0-only
//! What the coroutines of the CPUs share: tasks, CPUs, locks, events.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ffi::c_void;
use std::mem::take;

use corosensei::{Coroutine, Yielder};
use fastrand::Rng;

use crate::abi::{self, CpuMask, Host, Ops};
use crate::ext::Probes;
use crate::kernel::{Insertion, Kernel};
use crate::scheduler::TaskId;

/// Much happens at multiples of this, and so at the same time.
pub(super) const GRID_NS: u64 = 50_000;
pub(super) const TICK_NS: u64 = 1_000_000;
/// The thread in user space.
pub(super) const USER: TaskId = 0;
/// Points of a failing schedule that are shown.
pub(super) const SHOWN: usize = 150;

#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Schedule,
    /// The task that runs sleeps, or ends. The number is the CPU's turn that is meant.
    Leave(u32, bool),
    Yield(u32, Option<TaskId>),
    Spin(u32),
    Ipi(u32, TaskId),
    MigrateDisable(u32, bool),
    Wake(TaskId),
    Tick,
    Timer(usize, u64),
    Affinity(TaskId, u64),
    Weight(TaskId, u32),
    /// The stopper moves a task to a CPU that it may use.
    Push(TaskId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The task that runs on a CPU in that turn does something.
    Act(usize, u32),
    Tick(usize),
    Wake(TaskId),
    Timer(usize, u64, Option<usize>),
    /// Something from outside.
    Outside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    Rq(usize),
    Pi(TaskId),
    OnCpu(TaskId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Asleep,
    Runnable,
    Gone,
}

pub(super) struct Task {
    pub(super) state: State,
    pub(super) vm: Option<usize>,
    /// The CPUs that it may use; task_struct points to one of these two.
    pub(super) allowed: Box<CpuMask>,
    pub(super) bound: Box<CpuMask>,
    /// A CPU that moves it to its local DSQ, and does not hold its run queue's lock yet.
    pub(super) holding_cpu: Option<usize>,
    /// Between two run queues.
    pub(super) migrating: bool,
    pub(super) since_ns: u64,
}

pub(super) struct Cpu {
    pub(super) fiber: Option<Coroutine<(), (), ()>>,
    pub(super) yielder: *const Yielder<(), ()>,
    pub(super) work: Option<Work>,
    pub(super) pending: VecDeque<Work>,
    /// Since when it has had something to do.
    pub(super) since_ns: u64,
    pub(super) blocked: Option<Blocked>,
    pub(super) resched: bool,
    pub(super) kicks: Vec<(usize, u64)>,
    pub(super) insertion: Option<Insertion>,
    pub(super) in_balance: bool,
    pub(super) moved: bool,
    pub(super) turn: u32,
    pub(super) idle_since_ns: u64,
    pub(super) op: &'static str,
    /// The point at which the op, the last ops.dispatch() and idling began, and at which
    /// another CPU last inserted a task that may run here.
    pub(super) op_at: u64,
    pub(super) dispatch_at: u64,
    pub(super) idle_at: u64,
    pub(super) inserted_at: u64,
    pub(super) priority: u64,
}

/// What the coroutines share. They reach it by [`world()`], never across a point.
pub(super) struct World {
    pub(super) kernel: Kernel,
    /// The functions that points stand before.
    pub(super) functions: Host,
    pub(super) host: Box<Host>,
    pub(super) online: Box<CpuMask>,
    pub(super) ops: Ops,
    pub(super) probes: Option<Probes>,
    pub(super) cpus: Vec<Cpu>,
    pub(super) tasks: Vec<Task>,
    /// The task that runs on an idle CPU.
    pub(super) idle: TaskId,
    pub(super) rq_owner: Vec<Option<usize>>,
    pub(super) pi_owner: Vec<Option<usize>>,
    /// The CPU that goes on.
    pub(super) running: usize,
    pub(super) points: u64,
    pub(super) events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pub(super) numbered: u64,
    pub(super) timers: HashMap<usize, u64>,
    pub(super) failure: Option<String>,
    pub(super) trace: Option<VecDeque<String>>,
    pub(super) last_shown: usize,
    pub(super) may_wait_in: Vec<u64>,
    /// Nothing is interleaved yet.
    pub(super) booting: bool,
    pub(super) random: Rng,
}

pub(super) fn world<'a>(world: *mut c_void) -> &'a mut World {
    // SAFETY: one thread; nobody keeps the reference across a point.
    unsafe { &mut *world.cast() }
}

impl World {
    pub(super) fn now_ns(&self) -> u64 {
        self.kernel.now_ns
    }

    pub(super) fn after(&mut self, ns: u64, event: Event) {
        self.numbered += 1;
        self.events
            .push(Reverse((self.now_ns() + ns, self.numbered, event)));
    }

    /// After `ns` on average, at a time at which other things happen, too.
    pub(super) fn after_about(&mut self, ns: u64, event: Event) {
        let at_ns = self.now_ns() + self.random.u64(1..2 * ns);
        self.after(at_ns.next_multiple_of(GRID_NS) - self.now_ns(), event);
    }

    pub(super) fn flags(&mut self, task: TaskId) -> &mut u32 {
        &mut self.kernel.task(task).scx.flags
    }

    pub(super) fn queued(&mut self, task: TaskId) -> bool {
        *self.flags(task) & abi::TASK_QUEUED != 0
    }

    pub(super) fn cpu_of(&mut self, task: TaskId) -> usize {
        self.kernel.task(task).cpu as usize
    }

    pub(super) fn slice(&mut self, task: TaskId) -> u64 {
        self.kernel.task(task).scx.slice_ns
    }

    pub(super) fn may_run_on(&mut self, task: TaskId, cpu: usize) -> bool {
        let p = self.kernel.task(task);
        if p.migration_disabled != 0 && p.cpu as usize != cpu {
            return false;
        }
        self.kernel.may_run_on(task, cpu)
    }

    pub(super) fn push(&mut self, cpu: usize, work: Work) {
        if !self.has_to_do(cpu) {
            self.cpus[cpu].since_ns = self.now_ns();
        }
        self.cpus[cpu].pending.push_back(work);
    }

    /// A CPU, and CPUs that it lets a task use: often one.
    pub(super) fn any_affinity(&mut self) -> (usize, u64) {
        let nr_cpus = self.cpus.len();
        let cpus = match self.random.bool() {
            true => 1 << self.random.usize(0..nr_cpus),
            false => self.random.u64(1..1 << nr_cpus),
        };
        (self.random.usize(0..nr_cpus), cpus)
    }

    pub(super) fn has_to_do(&self, cpu: usize) -> bool {
        let cpu = &self.cpus[cpu];
        cpu.work.is_some() || cpu.resched || !cpu.pending.is_empty()
    }

    pub(super) fn resched(&mut self, cpu: usize) {
        if !self.has_to_do(cpu) {
            self.cpus[cpu].since_ns = self.now_ns();
        }
        self.cpus[cpu].resched = true;
    }

    /// enqueue_task_scx() and dequeue_task_scx(), but for the ops.
    pub(super) fn set_queued(&mut self, task: TaskId, queued: bool) {
        let cpu = self.cpu_of(task);
        if queued {
            *self.flags(task) |= abi::TASK_QUEUED;
            self.kernel.nr_running[cpu] += 1;
        } else {
            *self.flags(task) &= !abi::TASK_QUEUED;
            self.kernel.nr_running[cpu] -= 1;
            self.tasks[task].holding_cpu = None;
            self.kernel.remove(task);
        }
    }

    pub(super) fn enqueue_local(&mut self, task: TaskId, cpu: usize, flags: u64) {
        self.kernel.enqueue_local(task, cpu, flags);
        for (cpu, flags) in take(&mut self.kernel.kicks) {
            match self.kernel.current[cpu] {
                Some(current) if flags & abi::KICK_PREEMPT != 0 => {
                    self.kernel.task(current).scx.slice_ns = 0;
                    self.resched(cpu);
                }
                None => self.resched(cpu),
                Some(_) => {}
            }
        }
    }

    /// `task` has been inserted into a DSQ by an op of `by`. See the module's text.
    pub(super) fn inserted(&mut self, task: TaskId, by: usize) {
        let (points, op_at) = (self.points, self.cpus[by].op_at);
        for cpu in 0..self.cpus.len() {
            if cpu == by || !self.may_run_on(task, cpu) {
                continue;
            }
            self.cpus[cpu].inserted_at = points;
            if self.kernel.current[cpu].is_none() && self.cpus[cpu].idle_at >= op_at {
                self.resched(cpu);
            }
        }
    }

    pub(super) fn name(&self, task: TaskId) -> String {
        match self.tasks[task].vm {
            Some(vm) => format!("task {task} (VM {vm})"),
            None => format!("task {task}"),
        }
    }

    pub(super) fn note(&mut self, cpu: usize, text: impl FnOnce(&mut Self) -> String) {
        if self.trace.is_none() {
            return;
        }
        let text = text(self);
        self.last_shown = cpu;
        let line = format!(
            "{:>9.1} us  CPU {cpu}  {:<11} {text}",
            self.now_ns() as f64 / 1e3,
            self.cpus[cpu].op
        );
        let trace = self.trace.as_mut().expect("just seen");
        if trace.len() == SHOWN {
            trace.pop_front();
        }
        trace.push_back(line);
    }
}
