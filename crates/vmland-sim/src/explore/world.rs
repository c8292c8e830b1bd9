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
    /// It begins to end: PF_EXITING, and it has left its cgroup's list of tasks.
    Exiting(u32),
    Yield(u32, Option<TaskId>),
    Spin(u32),
    Ipi(u32, TaskId),
    MigrateDisable(u32, bool),
    Wake(TaskId),
    Tick,
    /// A timer, as it was started, of the CPU with that number.
    Timer(usize, u64, u32),
    Affinity(TaskId, u64),
    Weight(TaskId, u32),
    /// The stopper moves a task to a CPU that it may use.
    Push(TaskId),
    /// A task of a higher class takes the CPU, and leaves it.
    RtTakes,
    RtLeaves,
    /// A task leaves for a higher class, and comes back: runnable, or asleep.
    ToRt(TaskId),
    FromRt(TaskId, bool),
    /// The CPU that does it goes or comes.
    Offline,
    Online,
    /// KVM destroys the VM with that `struct kvm`.
    VmDestroyed(u64),
    Cgroup(GroupWork),
    /// User space decides anew about the VM of a task.
    Decide(TaskId, u64),
}

/// Something that is done to a cgroup. cgroup_mutex and what else orders them is one lock here.
#[derive(Clone, Copy, Debug)]
pub(super) enum GroupWork {
    New(usize),
    Remove(usize),
    Move(TaskId, usize),
    Weight(usize, u32),
    Idle(usize, bool),
    /// Quota and period; 0: none.
    Max(usize, u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The task that runs on a CPU in that turn does something.
    Act(usize, u32),
    Tick(usize),
    Wake(TaskId),
    Timer(usize, u64, Option<usize>),
    RtLeaves(usize),
    FromRt(TaskId),
    /// A CPU that goes is off when nothing runs there any more.
    Dies(usize),
    Online(usize),
    /// Something from outside.
    Outside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    Rq(usize),
    Pi(TaskId),
    OnCpu(TaskId),
    Cgroups,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Asleep,
    Runnable,
    /// In another class.
    Away,
    Gone,
}

pub(super) struct Task {
    pub(super) state: State,
    /// Of a vCPU thread: its VM, and its number there.
    pub(super) vm: Option<usize>,
    pub(super) vcpu_id: usize,
    pub(super) cgroup: usize,
    pub(super) exiting: bool,
    /// The CPUs that it may use; task_struct points to one of these two.
    pub(super) allowed: Box<CpuMask>,
    pub(super) bound: Box<CpuMask>,
    /// A CPU that moves it to its local DSQ, and does not hold its run queue's lock yet.
    pub(super) holding_cpu: Option<usize>,
    /// Between two run queues.
    pub(super) migrating: bool,
    pub(super) since_ns: u64,
    /// Where it waits, and since when it waits there.
    pub(super) waits: (u64, u64),
    /// When it last got a CPU: before and after ops.running().
    pub(super) ran_at_ns: (u64, u64),
}

/// A cgroup, as the kernel has it. It stays while tasks that end refer to it.
pub(super) struct Group {
    pub(super) known: Box<abi::Cgroup>,
    pub(super) _id: Box<u64>,
    pub(super) parent: usize,
    pub(super) online: bool,
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
    /// A task of a higher class runs.
    pub(super) rt: bool,
    /// Since when, if the scheduler was told of it.
    pub(super) rt_since_ns: u64,
    /// The idle task runs.
    pub(super) idle: bool,
    /// ops.cpu_release() has been called, and ops.cpu_acquire() not yet.
    pub(super) released: bool,
    /// The local DSQ is to be enqueued again.
    pub(super) reenqueue: bool,
    /// Tasks may be moved to it; there is such a CPU.
    pub(super) active: bool,
    pub(super) online: bool,
    /// What the run queue has cached.
    pub(super) rq_now_ns: u64,
    pub(super) turn: u32,
    pub(super) idle_since_ns: u64,
    pub(super) op: &'static str,
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
    /// What ran_ns the scheduler has of a task, if it tells.
    pub(super) ran_ns: Option<extern "C" fn(*mut abi::Task) -> u64>,
    /// User space decides anew about the VM of a task, by the bits of a number; 0: as at first.
    pub(super) decide: Option<extern "C" fn(*mut abi::Task, u64)>,
    pub(super) vm_destroyed: Option<extern "C" fn(*mut c_void, *mut c_void) -> i32>,
    pub(super) probes: Option<Probes>,
    pub(super) cpus: Vec<Cpu>,
    pub(super) tasks: Vec<Task>,
    /// `struct kvm`s that are being destroyed.
    pub(super) dying_kvms: Vec<u64>,
    pub(super) groups: Vec<Group>,
    pub(super) groups_owner: Option<usize>,
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
    /// Another CPU may go on at a point. Not as the schedule begins, or when it has ended.
    pub(super) interleaves: bool,
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

    /// Is `cpu` there, and does nothing run on it?
    pub(super) fn idles(&self, cpu: usize) -> bool {
        let this = &self.cpus[cpu];
        self.kernel.current[cpu].is_none() && !this.rt && this.online
    }

    /// select_fallback_rq(): if no CPU is left that it may use, it may use all.
    pub(super) fn fallback(&mut self, task: TaskId) -> usize {
        let nr_cpus = self.cpus.len();
        let usable = |world: &Self| {
            (0..nr_cpus).find(|&cpu| world.cpus[cpu].active && world.kernel.may_run_on(task, cpu))
        };
        if let Some(cpu) = usable(self) {
            return cpu;
        }
        self.allow(task, (1 << nr_cpus) - 1);
        usable(self).expect("a CPU is active")
    }

    pub(super) fn allow(&mut self, task: TaskId, cpus: u64) {
        self.tasks[task].allowed.bits[0] = cpus;
        self.kernel.task(task).nr_cpus_allowed = cpus.count_ones() as i32;
    }

    pub(super) fn push(&mut self, cpu: usize, work: Work) {
        let cpu = if self.cpus[cpu].online { cpu } else { 0 };
        if !self.has_to_do(cpu) {
            self.cpus[cpu].since_ns = self.now_ns();
        }
        self.cpus[cpu].pending.push_back(work);
    }

    /// A CPU, and CPUs that it lets a task use: often one. One of them at least is active.
    pub(super) fn any_affinity(&mut self) -> (usize, u64) {
        let nr_cpus = self.cpus.len();
        let cpus = match self.random.bool() {
            true => 1 << self.random.usize(0..nr_cpus),
            false => self.random.u64(1..1 << nr_cpus),
        };
        let active = |cpu: &usize| cpus >> cpu & 1 == 1 && self.cpus[*cpu].active;
        let cpus = cpus | u64::from(!(0..nr_cpus).any(|cpu| active(&cpu)));
        (self.random.usize(0..nr_cpus), cpus)
    }

    pub(super) fn has_to_do(&self, cpu: usize) -> bool {
        let cpu = &self.cpus[cpu];
        cpu.work.is_some() || cpu.resched || !cpu.pending.is_empty()
    }

    pub(super) fn resched(&mut self, cpu: usize) {
        if !self.cpus[cpu].online {
            return;
        }
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

    /// `task` has been inserted into a DSQ.
    pub(super) fn inserted(&mut self, task: TaskId) {
        let dsq = self.kernel.dsq_of(task).unwrap_or(0);
        let since_ns = match self.tasks[task].waits {
            (before, since_ns) if before == dsq => since_ns.max(self.tasks[task].since_ns),
            _ => self.now_ns(),
        };
        self.tasks[task].waits = (dsq, since_ns);
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
