// SPDX-License-Identifier: GPL-2.0-only
//! Ops of several CPUs, interleaved.
//!
//! Each CPU is a coroutine. Before every call from BPF into the kernel, and before every
//! atomic operation, it is suspended, and a seed chooses which CPU goes on, or whether time
//! does. An op runs under the locks that the kernel takes for it (kernel/sched/ext.c and
//! core.c): `ops.select_cpu` under p->pi_lock, most others under a run queue's lock, which
//! a move from a DSQ drops where the task belongs to another run queue. What ends the
//! scheduler in the kernel ends the run here ([`Failure`]), and so does a task that waits
//! while a CPU that it may use is idle.
//!
//! One gap of the kernel's is bridged: `ops.enqueue` looks for an idle CPU before the kernel
//! inserts the task, so that a CPU that becomes idle between the two sees neither. Here that
//! CPU schedules again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::take;
use std::ptr::null;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};
use fastrand::Rng;

use crate::abi::{self, CpuMask, DsqIter, Host, KvmVcpu, Ops, Timer};
use crate::ext::{Probes, SLICE_DFL_NS, UserSpace, VECTOR};
use crate::kernel::{self, Insertion, Kernel, Record, index, iterator};
use crate::native::{Native, Source};
use crate::scheduler::{Joins, TaskId};

/// Simulated time that passes from one point to the next.
const STEP_NS: u64 = 100;
/// For so long can time go on while a CPU stands at a point.
const PAUSE_NS: u64 = 50_000;
/// Much happens at multiples of this, and so at the same time.
const GRID_NS: u64 = 50_000;
const TICK_NS: u64 = 1_000_000;
/// For so long can a task wait beside an idle CPU that it may use.
const IDLE_NS: u64 = 1_000_000;
/// For so long can a task wait at all (timeout_ms).
const STALL_NS: u64 = 5_000_000_000;
/// The thread in user space.
const USER: TaskId = 0;
/// Points of a failing schedule that are shown.
const SHOWN: usize = 150;

/// A schedule, by its seed.
pub struct Setup {
    pub source: Source,
    /// How long it is, in simulated time.
    pub for_ns: u64,
    /// DSQs whose tasks may wait beside an idle CPU.
    pub may_wait_in: Vec<u64>,
}

/// What went wrong, and how it came to that: CPU, op, call and task of the last points.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub what: String,
    pub trace: String,
}

/// Something that a CPU does in the kernel.
#[derive(Clone, Copy, Debug)]
enum Work {
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
enum Event {
    /// The task that runs on a CPU in that turn does something.
    Act(usize, u32),
    Tick(usize),
    Wake(TaskId),
    Timer(usize, u64, Option<usize>),
    /// Something from outside.
    Outside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    Rq(usize),
    Pi(TaskId),
    OnCpu(TaskId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asleep,
    Runnable,
    Gone,
}

struct Task {
    state: State,
    vm: Option<usize>,
    /// The CPUs that it may use; task_struct points to one of these two.
    allowed: Box<CpuMask>,
    bound: Box<CpuMask>,
    /// A CPU that moves it to its local DSQ, and does not hold its run queue's lock yet.
    holding_cpu: Option<usize>,
    /// Between two run queues.
    migrating: bool,
    since_ns: u64,
}

struct Cpu {
    fiber: Option<Coroutine<(), (), ()>>,
    yielder: *const Yielder<(), ()>,
    work: Option<Work>,
    pending: VecDeque<Work>,
    /// Since when it has had something to do.
    since_ns: u64,
    blocked: Option<Blocked>,
    resched: bool,
    kicks: Vec<(usize, u64)>,
    insertion: Option<Insertion>,
    in_balance: bool,
    moved: bool,
    turn: u32,
    idle_since_ns: u64,
    op: &'static str,
    /// The point at which the op, the last ops.dispatch() and idling began, and at which
    /// another CPU last inserted a task that may run here.
    op_at: u64,
    dispatch_at: u64,
    idle_at: u64,
    inserted_at: u64,
    priority: u64,
}

/// What the coroutines share. They reach it by [`world()`], never across a point.
struct World {
    kernel: Kernel,
    /// The functions that points stand before.
    functions: Host,
    host: Box<Host>,
    online: Box<CpuMask>,
    ops: Ops,
    probes: Option<Probes>,
    cpus: Vec<Cpu>,
    tasks: Vec<Task>,
    /// The task that runs on an idle CPU.
    idle: TaskId,
    rq_owner: Vec<Option<usize>>,
    pi_owner: Vec<Option<usize>>,
    /// The CPU that goes on.
    running: usize,
    points: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbered: u64,
    timers: HashMap<usize, u64>,
    failure: Option<String>,
    trace: Option<VecDeque<String>>,
    last_shown: usize,
    may_wait_in: Vec<u64>,
    /// Nothing is interleaved yet.
    booting: bool,
    random: Rng,
}

fn world<'a>(world: *mut c_void) -> &'a mut World {
    // SAFETY: one thread; nobody keeps the reference across a point.
    unsafe { &mut *world.cast() }
}

impl World {
    fn now_ns(&self) -> u64 {
        self.kernel.now_ns
    }

    fn after(&mut self, ns: u64, event: Event) {
        self.numbered += 1;
        self.events
            .push(Reverse((self.now_ns() + ns, self.numbered, event)));
    }

    /// After `ns` on average, at a time at which other things happen, too.
    fn after_about(&mut self, ns: u64, event: Event) {
        let at_ns = self.now_ns() + self.random.u64(1..2 * ns);
        self.after(at_ns.next_multiple_of(GRID_NS) - self.now_ns(), event);
    }

    fn flags(&mut self, task: TaskId) -> &mut u32 {
        &mut self.kernel.task(task).scx.flags
    }

    fn queued(&mut self, task: TaskId) -> bool {
        *self.flags(task) & abi::TASK_QUEUED != 0
    }

    fn cpu_of(&mut self, task: TaskId) -> usize {
        self.kernel.task(task).cpu as usize
    }

    fn slice(&mut self, task: TaskId) -> u64 {
        self.kernel.task(task).scx.slice_ns
    }

    fn may_run_on(&mut self, task: TaskId, cpu: usize) -> bool {
        let p = self.kernel.task(task);
        if p.migration_disabled != 0 && p.cpu as usize != cpu {
            return false;
        }
        self.kernel.may_run_on(task, cpu)
    }

    fn push(&mut self, cpu: usize, work: Work) {
        if !self.has_to_do(cpu) {
            self.cpus[cpu].since_ns = self.now_ns();
        }
        self.cpus[cpu].pending.push_back(work);
    }

    /// A CPU, and CPUs that it lets a task use: often one.
    fn any_affinity(&mut self) -> (usize, u64) {
        let nr_cpus = self.cpus.len();
        let cpus = match self.random.bool() {
            true => 1 << self.random.usize(0..nr_cpus),
            false => self.random.u64(1..1 << nr_cpus),
        };
        (self.random.usize(0..nr_cpus), cpus)
    }

    fn has_to_do(&self, cpu: usize) -> bool {
        let cpu = &self.cpus[cpu];
        cpu.work.is_some() || cpu.resched || !cpu.pending.is_empty()
    }

    fn resched(&mut self, cpu: usize) {
        if !self.has_to_do(cpu) {
            self.cpus[cpu].since_ns = self.now_ns();
        }
        self.cpus[cpu].resched = true;
    }

    /// enqueue_task_scx() and dequeue_task_scx(), but for the ops.
    fn set_queued(&mut self, task: TaskId, queued: bool) {
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

    fn enqueue_local(&mut self, task: TaskId, cpu: usize, flags: u64) {
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
    fn inserted(&mut self, task: TaskId, by: usize) {
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

    fn name(&self, task: TaskId) -> String {
        match self.tasks[task].vm {
            Some(vm) => format!("task {task} (VM {vm})"),
            None => format!("task {task}"),
        }
    }

    fn note(&mut self, cpu: usize, text: impl FnOnce(&mut Self) -> String) {
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

    /// Whether a lock, or what else `cpu` waits for, can be had.
    fn free(&mut self, cpu: usize) -> bool {
        match self.cpus[cpu].blocked {
            None => true,
            Some(Blocked::Rq(rq)) => self.rq_owner[rq].is_none(),
            Some(Blocked::Pi(task)) => self.pi_owner[task].is_none(),
            Some(Blocked::OnCpu(task)) => self.kernel.task(task).on_cpu == 0,
        }
    }

    /// The rules that hold whenever time goes on.
    fn check(&mut self) {
        let calm = self.cpus.iter().all(|cpu| cpu.work.is_none());
        for task in 1..self.tasks.len() {
            if self.tasks[task].state != State::Runnable
                || self.kernel.current.contains(&Some(task))
                || self.tasks[task].migrating
            {
                continue;
            }
            let waited_ns = self.now_ns() - self.tasks[task].since_ns;
            if waited_ns > STALL_NS {
                self.failure = Some(format!("{} has waited for 5 s", self.name(task)));
            }
            let Some(dsq) = self.kernel.dsq_of(task) else {
                if calm {
                    self.failure = Some(format!("{} is lost", self.name(task)));
                }
                continue;
            };
            if self.may_wait_in.contains(&dsq) {
                continue;
            }
            for cpu in 0..self.cpus.len() {
                let idle_ns = self.now_ns() - self.cpus[cpu].idle_since_ns;
                if self.kernel.current[cpu].is_none()
                    && !self.has_to_do(cpu)
                    && waited_ns.min(idle_ns) > IDLE_NS
                    && self.may_run_on(task, cpu)
                {
                    self.failure = Some(format!(
                        "{} waits in DSQ {dsq:#x} while CPU {cpu}, which it may use, is idle",
                        self.name(task)
                    ));
                }
            }
        }
    }
}

/// The address of the [`World`], as the scheduler has it.
type Address = *mut c_void;

/// Another CPU may go on here.
fn suspend(w: Address) {
    let running = world(w).running;
    let yielder = world(w).cpus[running].yielder;
    // SAFETY: it is on the stack of the coroutine that calls this.
    unsafe { (*yielder).suspend(()) };
}

fn point(w: Address, call: &str, task: Option<TaskId>) -> usize {
    let cpu = world(w).running;
    if world(w).booting {
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
fn fail(w: Address, what: String) -> ! {
    assert!(!world(w).booting, "{what}");
    world(w).failure.get_or_insert(what);
    loop {
        suspend(w);
    }
}

fn wait(w: Address, cpu: usize, blocked: Blocked) {
    world(w).cpus[cpu].blocked = Some(blocked);
    suspend(w);
    // The explorer lets it go on only when it can be had.
    world(w).cpus[cpu].blocked = None;
}

fn lock_rq(w: Address, cpu: usize, rq: usize) {
    wait(w, cpu, Blocked::Rq(rq));
    world(w).rq_owner[rq] = Some(cpu);
}

fn unlock_rq(w: Address, rq: usize) {
    world(w).rq_owner[rq] = None;
}

/// task_rq_lock(): returns the run queue.
fn lock_task_rq(w: Address, cpu: usize, task: TaskId) -> usize {
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

fn unlock_task_rq(w: Address, task: TaskId, rq: usize) {
    unlock_rq(w, rq);
    world(w).pi_owner[task] = None;
}

/// `cpu` is about to call an op.
fn op(w: Address, cpu: usize, name: &'static str, task: Option<TaskId>) -> *mut abi::Task {
    let world = world(w);
    world.cpus[cpu].op = name;
    world.cpus[cpu].op_at = world.points;
    world.note(cpu, |world| match task {
        Some(task) => format!("-- {}", world.name(task)),
        None => "--".to_owned(),
    });
    world.kernel.pointer(task)
}

fn op_ends(w: Address, cpu: usize) {
    world(w).cpus[cpu].op = "";
}

fn stopping(w: Address, cpu: usize, task: TaskId, runnable: bool) {
    let p = op(w, cpu, "stopping", Some(task));
    (world(w).ops.stopping)(abi::NO_CONTEXT, p, runnable);
    op_ends(w, cpu);
}

fn running(w: Address, cpu: usize, task: TaskId) {
    let p = op(w, cpu, "running", Some(task));
    (world(w).ops.running)(abi::NO_CONTEXT, p);
    op_ends(w, cpu);
}

/// do_enqueue_task(), under the lock of the task's run queue.
fn enqueue(w: Address, cpu: usize, task: TaskId, flags: u64) {
    if world(w).cpus[cpu].insertion.is_none() {
        let p = op(w, cpu, "enqueue", Some(task));
        (world(w).ops.enqueue)(abi::NO_CONTEXT, p, flags);
        op_ends(w, cpu);
    }
    let rq = world(w).cpu_of(task);
    let Some(asked) = world(w).cpus[cpu].insertion.take() else {
        return;
    };
    if asked.task != task {
        fail(w, "an op has inserted another task".to_owned());
    }
    match world(w).kernel.local_cpu(asked.dsq, rq) {
        Some(local) if local == rq => world(w).enqueue_local(task, rq, asked.flags),
        // process_ddsq_deferred_locals(), which the kernel calls before it unlocks the run queue.
        Some(local) if world(w).may_run_on(task, local) => {
            world(w).enqueue_local(task, local, asked.flags);
        }
        Some(local) => fail(
            w,
            format!("a task that may not run on CPU {local} is put there"),
        ),
        None if !world(w).kernel.has_dsq(asked.dsq) => fail(w, format!("no DSQ {:#x}", asked.dsq)),
        None => world(w)
            .kernel
            .insert(task, asked.dsq, asked.vtime, asked.flags),
    }
    world(w).note(cpu, |world| {
        format!("inserted into {:#x}: {}", asked.dsq, world.name(task))
    });
    world(w).inserted(task, cpu);
}

/// balance_one() and pick_task_scx(), with SCX_OPS_ENQ_LAST.
fn pick(w: Address, cpu: usize, prev: Option<TaskId>) -> Option<TaskId> {
    let goes_on = || prev.filter(|&prev| world(w).queued(prev) && world(w).slice(prev) > 0);
    if goes_on().is_some() {
        return prev;
    }
    while world(w).kernel.local_first(cpu).is_none() {
        let p = op(w, cpu, "dispatch", prev);
        let this = &mut world(w).cpus[cpu];
        this.dispatch_at = this.op_at;
        this.in_balance = true;
        this.moved = false;
        (world(w).ops.dispatch)(abi::NO_CONTEXT, cpu as i32, p);
        op_ends(w, cpu);
        world(w).cpus[cpu].in_balance = false;
        if goes_on().is_some() {
            return prev;
        }
        if !world(w).cpus[cpu].moved {
            break;
        }
    }
    world(w).kernel.local_first(cpu)
}

/// put_prev_task_scx() of a task that is still runnable.
fn put_prev(w: Address, cpu: usize, prev: TaskId, flags: u64) {
    stopping(w, cpu, prev, true);
    let world_ = world(w);
    world_.tasks[prev].since_ns = world_.now_ns();
    if world_.slice(prev) > 0 {
        world_.enqueue_local(prev, cpu, abi::ENQ_HEAD);
    } else {
        enqueue(w, cpu, prev, flags);
    }
}

/// The CPU has switched from `prev`, which may sleep.
fn switched(w: Address, cpu: usize, prev: Option<TaskId>, next: Option<TaskId>) {
    let world = world(w);
    if let Some(prev) = prev {
        let p = world.kernel.task(prev);
        p.on_cpu = 0;
        // migrate_disable_switch()
        if p.migration_disabled != 0 {
            *world.tasks[prev].bound = CpuMask::of([cpu]);
            p.cpus = &raw const *world.tasks[prev].bound;
        }
    }
    world.kernel.current[cpu] = next;
    world.cpus[cpu].turn += 1;
    let turn = world.cpus[cpu].turn;
    if next == Some(USER) {
        world.after(500, Event::Act(cpu, turn));
    } else if next.is_some() {
        world.after_about(1_000_000, Event::Act(cpu, turn));
    }
}

/// schedule(); the task that runs goes to sleep if `sleeps`.
fn schedule(w: Address, cpu: usize, sleeps: bool) {
    lock_rq(w, cpu, cpu);
    world(w).kernel.use_slice(cpu);
    let prev = world(w).kernel.current[cpu];
    if let (Some(prev), true) = (prev, sleeps) {
        stopping(w, cpu, prev, false);
        world(w).set_queued(prev, false);
        world(w).tasks[prev].state = State::Asleep;
    }
    let next = pick(w, cpu, prev);
    if let Some(next) = next
        && world(w).slice(next) == 0
    {
        world(w).kernel.task(next).scx.slice_ns = SLICE_DFL_NS;
    }
    if next != prev {
        if let (Some(prev), false) = (prev, sleeps) {
            let last = if next.is_none() { abi::ENQ_LAST } else { 0 };
            put_prev(w, cpu, prev, last);
        }
        if let Some(next) = next {
            world(w).kernel.remove(next);
            world(w).kernel.idle.set(cpu, false);
            world(w).kernel.task(next).on_cpu = 1;
            running(w, cpu, next);
        }
    }
    // As in the kernel, whatever has asked for it before the choice is forgotten.
    let world = world(w);
    world.cpus[cpu].resched = false;
    if next != prev {
        switched(w, cpu, prev, next);
        world.cpus[cpu].idle_since_ns = world.now_ns();
    }
    if next.is_none() {
        world.kernel.idle.set(cpu, true);
        let this = &mut world.cpus[cpu];
        this.idle_at = world.points;
        this.resched = this.inserted_at >= this.dispatch_at;
    }
    let next_name = |world: &mut World| next.map_or("idle".to_owned(), |next| world.name(next));
    world.note(cpu, |world| format!("runs: {}", next_name(world)));
    unlock_rq(w, cpu);
}

fn wake(w: Address, cpu: usize, task: TaskId) {
    wait(w, cpu, Blocked::Pi(task));
    world(w).pi_owner[task] = Some(cpu);
    if world(w).tasks[task].state != State::Asleep {
        world(w).pi_owner[task] = None;
        return;
    }
    wait(w, cpu, Blocked::OnCpu(task));
    let mut flags = abi::ENQ_WAKEUP;
    let p = world(w).kernel.task(task);
    let mut to = p.cpu as usize;
    if p.nr_cpus_allowed > 1 && p.migration_disabled == 0 {
        flags |= abi::ENQ_CPU_SELECTED;
        let p = op(w, cpu, "select_cpu", Some(task));
        to = (world(w).ops.select_cpu)(abi::NO_CONTEXT, p, to as i32, abi::WAKE_TTWU) as usize;
        op_ends(w, cpu);
        if to >= world(w).cpus.len() {
            fail(w, format!("ops.select_cpu returned CPU {to}"));
        }
    }
    // select_fallback_rq()
    if !world(w).kernel.may_run_on(task, to) {
        let nr_cpus = world(w).cpus.len();
        to = (0..nr_cpus)
            .find(|&cpu| world(w).kernel.may_run_on(task, cpu))
            .expect("it may run somewhere");
    }
    world(w).kernel.task(task).cpu = to as i32;
    lock_rq(w, cpu, to);
    world(w).tasks[task].state = State::Runnable;
    world(w).tasks[task].since_ns = world(w).now_ns();
    world(w).set_queued(task, true);
    enqueue(w, cpu, task, flags);
    if world(w).kernel.current[to].is_none() {
        world(w).resched(to);
    }
    unlock_task_rq(w, task, to);
}

/// A runnable task that does not run goes to another CPU (move_queued_task()), under the
/// lock of `from`. Returns the run queue whose lock is held then.
fn move_queued(w: Address, cpu: usize, task: TaskId, from: usize) -> usize {
    let nr_cpus = world(w).cpus.len();
    let to = (0..nr_cpus)
        .find(|&cpu| world(w).kernel.may_run_on(task, cpu))
        .expect("it may run somewhere");
    if to == from {
        return from;
    }
    world(w).set_queued(task, false);
    world(w).tasks[task].migrating = true;
    world(w).kernel.task(task).cpu = to as i32;
    unlock_rq(w, from);
    lock_rq(w, cpu, to);
    world(w).tasks[task].migrating = false;
    world(w).set_queued(task, true);
    enqueue(w, cpu, task, 0);
    if world(w).kernel.current[to].is_none() {
        world(w).resched(to);
    }
    to
}

/// `change` under the locks of `task`, which leaves its DSQ or CPU for it and comes back
/// (sched_change_begin(), sched_change_end()). Returns its run queue.
fn change(w: Address, cpu: usize, task: TaskId, change: impl FnOnce(&mut World)) -> usize {
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
    change(world(w));
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
fn set_affinity(w: Address, cpu: usize, task: TaskId, cpus: u64) {
    let mut rq = change(w, cpu, task, |world| {
        if world.kernel.task(task).migration_disabled != 0 {
            return;
        }
        world.tasks[task].allowed.bits[0] = cpus;
        world.kernel.task(task).nr_cpus_allowed = cpus.count_ones() as i32;
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
fn push(w: Address, cpu: usize, task: TaskId) {
    let mut rq = lock_task_rq(w, cpu, task);
    let bound = world(w).kernel.task(task).migration_disabled != 0;
    if rq == cpu && !bound && world(w).queued(task) && !world(w).may_run_on(task, cpu) {
        if world(w).kernel.current[cpu] == Some(task) {
            world(w).kernel.use_slice(cpu);
            put_prev(w, cpu, task, 0);
            switched(w, cpu, Some(task), None);
            world(w).cpus[cpu].idle_since_ns = world(w).now_ns();
        }
        rq = move_queued(w, cpu, task, rq);
        world(w).resched(cpu);
    }
    unlock_task_rq(w, task, rq);
}

/// yield_to() or sched_yield(). Returns whether schedule() follows.
fn yield_to(w: Address, cpu: usize, from: TaskId, to: Option<TaskId>) -> bool {
    let other = loop {
        let other = to.map_or(cpu, |to| world(w).cpu_of(to));
        lock_rq(w, cpu, cpu.min(other));
        if other != cpu {
            lock_rq(w, cpu, cpu.max(other));
        }
        if to.is_none_or(|to| world(w).cpu_of(to) == other) {
            break other;
        }
        unlock_rq(w, cpu);
        unlock_rq(w, other);
    };
    let waits = to.is_none_or(|to| {
        world(w).queued(to) && world(w).kernel.task(to).on_cpu == 0 && !world(w).tasks[to].migrating
    });
    let mut taken = false;
    if let (true, Some(yields)) = (waits, world(w).ops.yields) {
        world(w).kernel.use_slice(cpu);
        let f = op(w, cpu, "yield", to.or(Some(from)));
        let f = if to.is_some() {
            world(w).kernel.pointer(Some(from))
        } else {
            f
        };
        let t = world(w).kernel.pointer(to);
        taken = yields(abi::NO_CONTEXT, f, t);
        op_ends(w, cpu);
        if taken && to.is_some() && other != cpu {
            world(w).resched(other);
        }
    }
    unlock_rq(w, cpu);
    unlock_rq(w, other);
    taken
}

fn perform(w: Address, cpu: usize, work: Work) {
    let current = world(w).kernel.current[cpu];
    let turn = world(w).cpus[cpu].turn;
    match work {
        Work::Schedule => schedule(w, cpu, false),
        Work::Wake(task) => wake(w, cpu, task),
        Work::Tick => {
            lock_rq(w, cpu, cpu);
            world(w).kernel.use_slice(cpu);
            let current = world(w).kernel.current[cpu];
            if current.is_some_and(|task| world(w).slice(task) == 0) {
                world(w).resched(cpu);
            }
            unlock_rq(w, cpu);
        }
        Work::Timer(timer, armed) if world(w).timers.get(&timer) == Some(&armed) => {
            op(w, cpu, "timer", None);
            let timer = timer as *mut Timer;
            // SAFETY: the scheduler has armed it, and its maps live as long as it does.
            let callback = unsafe { (*timer).callback };
            callback(null::<c_void>().cast_mut(), &mut (cpu as u32), timer);
            op_ends(w, cpu);
        }
        Work::Affinity(task, cpus) => set_affinity(w, cpu, task, cpus),
        Work::Weight(task, weight) => {
            let rq = change(w, cpu, task, |world| {
                world.kernel.task(task).scx.weight = weight
            });
            unlock_task_rq(w, task, rq);
        }
        Work::Push(task) => push(w, cpu, task),
        // What the task that runs does, if it is still the one that was meant.
        Work::Leave(meant, ends) if meant == turn && ends => {
            let task = current.expect("it runs");
            schedule(w, cpu, true);
            leave(w, cpu, task);
        }
        Work::Leave(meant, _) if meant == turn => schedule(w, cpu, true),
        Work::Yield(meant, to)
            if meant == turn && yield_to(w, cpu, current.expect("it runs"), to) =>
        {
            schedule(w, cpu, false);
        }
        Work::Spin(meant) if meant == turn => {
            if let Some(on_spin) = world(w).probes.as_ref().map(|probes| probes.on_spin) {
                op(w, cpu, "on_spin", current);
                on_spin(abi::NO_CONTEXT);
                op_ends(w, cpu);
            }
        }
        Work::Ipi(meant, to) if meant == turn => {
            if let Some((ipi, accept)) = world(w)
                .probes
                .as_ref()
                .map(|probes| (probes.on_ipi, probes.on_accept))
            {
                op(w, cpu, "ipi", Some(to));
                ipi(abi::NO_CONTEXT, VECTOR.into(), to as u32);
                accept(abi::NO_CONTEXT, to as u32, 0, 0, VECTOR);
                op_ends(w, cpu);
            }
            wake(w, cpu, to);
        }
        Work::MigrateDisable(meant, disable) if meant == turn => {
            let task = current.expect("it runs");
            let all: *const CpuMask = &raw const *world(w).tasks[task].allowed;
            let p = world(w).kernel.task(task);
            p.migration_disabled = disable.into();
            if !disable {
                lock_rq(w, cpu, cpu);
                world(w).kernel.task(task).cpus = all;
                // Its affinity has changed before.
                if !world(w).may_run_on(task, cpu) {
                    world(w).push(cpu, Work::Push(task));
                }
                unlock_rq(w, cpu);
            }
        }
        _ => {}
    }
}

/// `task` has ended (sched_ext_free()).
fn leave(w: Address, cpu: usize, task: TaskId) {
    let rq = lock_task_rq(w, cpu, task);
    world(w).tasks[task].state = State::Gone;
    let p = op(w, cpu, "exit_task", Some(task));
    if let Some(disable) = world(w).ops.disable {
        disable(abi::NO_CONTEXT, p);
    }
    if let Some(exit_task) = world(w).ops.exit_task {
        exit_task(abi::NO_CONTEXT, p, null::<c_void>().cast_mut());
    }
    op_ends(w, cpu);
    unlock_task_rq(w, task, rq);
}

/// What a CPU's coroutine does.
fn live(w: Address, cpu: usize, yielder: &Yielder<(), ()>) {
    world(w).cpus[cpu].yielder = yielder;
    loop {
        while let Some(work) = world(w).cpus[cpu].work {
            perform(w, cpu, work);
            // Interrupts are on again: kicks go out.
            for (to, flags) in take(&mut world(w).cpus[cpu].kicks) {
                kick(w, cpu, to, flags);
            }
            world(w).cpus[cpu].work = None;
        }
        suspend(w);
    }
}

/// kick_one_cpu(), kick_one_cpu_if_idle()
fn kick(w: Address, cpu: usize, to: usize, flags: u64) {
    lock_rq(w, cpu, to);
    let current = world(w).kernel.current[to];
    if flags & abi::KICK_IDLE == 0 {
        if let (Some(current), true) = (current, flags & abi::KICK_PREEMPT != 0) {
            world(w).kernel.task(current).scx.slice_ns = 0;
        }
        world(w).resched(to);
    } else if current.is_none() || world(w).cpus[to].in_balance {
        world(w).resched(to);
    }
    unlock_rq(w, to);
}

/* What the scheduler calls. */

fn name(call: *const c_char) -> &'static str {
    // SAFETY: shim/ passes literals.
    unsafe { CStr::from_ptr(call) }.to_str().expect("literals")
}

extern "C" fn on_point(w: Address, call: *const c_char) {
    point(w, name(call), None);
}

extern "C" fn error(w: Address, text: *const c_char) {
    // SAFETY: shim/kfuncs.h ends it with a zero.
    let text = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    fail(w, format!("scx_bpf_error: {text}"));
}

extern "C" fn dsq_create(w: Address, dsq: u64) -> c_int {
    (world(w).functions.dsq_create)(kernel_of(w), dsq)
}

fn kernel_of(w: Address) -> *mut c_void {
    (&raw mut world(w).kernel).cast()
}

fn checked_dsq(w: Address, dsq: u64) {
    if !world(w).kernel.has_dsq(dsq) {
        fail(w, format!("no DSQ {dsq:#x}"));
    }
}

extern "C" fn dsq_insert(
    w: Address,
    p: *mut abi::Task,
    dsq: u64,
    slice_ns: u64,
    vtime: u64,
    flags: u64,
) {
    let task = index(p);
    let cpu = point(w, "dsq_insert", Some(task));
    if world(w).cpus[cpu].in_balance {
        fail(
            w,
            "an insertion from ops.dispatch is not modelled".to_owned(),
        );
    }
    world(w).kernel.task(task).scx.slice_ns = slice_ns;
    let asked = Insertion {
        task,
        dsq,
        vtime,
        flags,
    };
    if world(w).cpus[cpu].insertion.replace(asked).is_some() {
        fail(w, format!("{} is inserted twice", world(w).name(task)));
    }
}

/// task_can_run_on_remote_rq(): else the reason.
fn refused(w: Address, task: TaskId, to: usize) -> Option<String> {
    let name = world(w).name(task);
    if world(w).kernel.task(task).migration_disabled != 0 {
        Some(format!(
            "SCX_DSQ_LOCAL[_ON] cannot move migration disabled {name}"
        ))
    } else if !world(w).kernel.may_run_on(task, to) {
        Some(format!(
            "SCX_DSQ_LOCAL[_ON] target CPU {to} not allowed for {name}"
        ))
    } else {
        None
    }
}

/// A queued task goes to the local DSQ of `to`; `from`, its run queue, is locked, and then
/// `to` is.
fn move_to_local(w: Address, cpu: usize, task: TaskId, from: usize, to: usize, flags: u64) {
    if from != to {
        world(w).set_queued(task, false);
        world(w).tasks[task].migrating = true;
        world(w).kernel.task(task).cpu = to as i32;
        unlock_rq(w, from);
        lock_rq(w, cpu, to);
        world(w).tasks[task].migrating = false;
        world(w).set_queued(task, true);
    } else {
        world(w).kernel.remove(task);
    }
    world(w).enqueue_local(task, to, flags);
    world(w).note(cpu, |world| {
        format!("moved to CPU {to}: {}", world.name(task))
    });
}

extern "C" fn dsq_move(
    w: Address,
    it: *mut DsqIter,
    p: *mut abi::Task,
    to: u64,
    set_vtime: bool,
    flags: u64,
) -> bool {
    let task = index(p);
    let cpu = point(w, "dsq_move", Some(task));
    let from = world(w).cpu_of(task);
    let in_balance = world(w).cpus[cpu].in_balance;
    if !in_balance {
        lock_rq(w, cpu, from);
    } else if from != cpu {
        unlock_rq(w, cpu);
        lock_rq(w, cpu, from);
    }
    let mut locked = from;
    // nldsq_cursor_lost_task()
    let found = world(w).cpu_of(task) == from && world(w).kernel.iterates(iterator(it), task);
    if found {
        let vtime = world(w).kernel.change(iterator(it), task, set_vtime);
        match world(w).kernel.local_cpu(to, cpu) {
            Some(local) => {
                if local != from
                    && let Some(reason) = refused(w, task, local)
                {
                    fail(w, reason);
                }
                move_to_local(w, cpu, task, from, local, flags);
                locked = local;
            }
            None => {
                checked_dsq(w, to);
                world(w).kernel.remove(task);
                world(w).kernel.insert(task, to, vtime, flags);
                world(w).inserted(task, cpu);
            }
        }
    }
    if !in_balance {
        unlock_rq(w, locked);
    } else if locked != cpu {
        unlock_rq(w, locked);
        lock_rq(w, cpu, cpu);
    }
    found
}

/// consume_dispatch_q()
extern "C" fn dsq_move_to_local(w: Address, dsq: u64) -> bool {
    let cpu = point(w, "dsq_move_to_local", None);
    checked_dsq(w, dsq);
    loop {
        let queue: Vec<TaskId> = world(w).kernel.tasks_in(dsq).collect();
        let first = queue
            .into_iter()
            .find(|&task| world(w).cpu_of(task) == cpu || refused(w, task, cpu).is_none());
        let Some(task) = first else {
            return false;
        };
        world(w).cpus[cpu].moved = true;
        let from = world(w).cpu_of(task);
        if from == cpu {
            move_to_local(w, cpu, task, from, cpu, 0);
            return true;
        }
        world(w).kernel.remove(task);
        world(w).tasks[task].holding_cpu = Some(cpu);
        unlock_rq(w, cpu);
        lock_rq(w, cpu, from);
        if world(w).tasks[task].holding_cpu == Some(cpu) {
            move_to_local(w, cpu, task, from, cpu, 0);
            return true;
        }
        unlock_rq(w, from);
        lock_rq(w, cpu, cpu);
    }
}

extern "C" fn dsq_peek(w: Address, dsq: u64) -> *mut abi::Task {
    point(w, "dsq_peek", None);
    checked_dsq(w, dsq);
    (world(w).functions.dsq_peek)(kernel_of(w), dsq)
}

extern "C" fn dsq_iterate(w: Address, it: *mut DsqIter) {
    point(w, "iter_scx_dsq_new", None);
    checked_dsq(w, iterator(it).dsq);
    (world(w).functions.dsq_iterate)(kernel_of(w), it);
}

extern "C" fn dsq_next(w: Address, it: *mut DsqIter) -> *mut abi::Task {
    point(w, "iter_scx_dsq_next", None);
    (world(w).functions.dsq_next)(kernel_of(w), it)
}

extern "C" fn dsq_nr_queued(w: Address, dsq: u64) -> i32 {
    let cpu = point(w, "dsq_nr_queued", None);
    if world(w).kernel.local_cpu(dsq, cpu).is_none() {
        checked_dsq(w, dsq);
    }
    (world(w).functions.dsq_nr_queued)(kernel_of(w), dsq)
}

extern "C" fn kick_cpu(w: Address, to: i32, flags: u64) {
    let cpu = point(w, "kick_cpu", None);
    world(w).note(cpu, |_| format!("kicks CPU {to}"));
    world(w).cpus[cpu].kicks.push((to as usize, flags));
}

extern "C" fn take_idle(w: Address, cpu: i32, allowed: *const CpuMask) -> i32 {
    point(w, "pick_idle_cpu", None);
    (world(w).functions.take_idle)(kernel_of(w), cpu, allowed)
}

extern "C" fn set_slice(w: Address, p: *mut abi::Task, slice_ns: u64) {
    point(w, "task_set_slice", Some(index(p)));
    (world(w).functions.set_slice)(kernel_of(w), p, slice_ns);
    world(w).kernel.slice_changes.clear();
}

extern "C" fn task_from_pid(w: Address, pid: i32) -> *mut abi::Task {
    point(w, "task_from_pid", None);
    let p = (world(w).functions.task_from_pid)(kernel_of(w), pid);
    let gone = !p.is_null() && world(w).tasks[index(p)].state == State::Gone;
    if gone {
        null::<abi::Task>().cast_mut()
    } else {
        p
    }
}

extern "C" fn hash(
    w: Address,
    map: *mut c_void,
    key: u64,
    size: usize,
    what: c_int,
) -> *mut c_void {
    (world(w).functions.hash)(kernel_of(w), map, key, size, what)
}

extern "C" fn ring_reserve(w: Address, size: usize) -> *mut c_void {
    point(w, "ringbuf_reserve", None);
    (world(w).functions.ring_reserve)(kernel_of(w), size)
}

extern "C" fn ring_submit(w: Address, record: *mut c_void) {
    point(w, "ringbuf_submit", None);
    (world(w).functions.ring_submit)(kernel_of(w), record);
}

extern "C" fn ring_used(w: Address) -> u64 {
    point(w, "ringbuf_query", None);
    (world(w).functions.ring_used)(kernel_of(w))
}

extern "C" fn user_ring_next(w: Address) -> *mut c_void {
    point(w, "user_ringbuf_drain", None);
    (world(w).functions.user_ring_next)(kernel_of(w))
}

extern "C" fn timer_start(w: Address, timer: *mut Timer, ns: u64, flags: u64) {
    point(w, "timer_start", None);
    let world = world(w);
    world.numbered += 1;
    let armed = world.numbered;
    world.timers.insert(timer as usize, armed);
    let here = (flags & abi::TIMER_CPU_PIN != 0).then_some(world.running);
    world.after(ns, Event::Timer(timer as usize, armed, here));
}

/// A schedule.
struct Explorer<U> {
    world: Box<World>,
    user: U,
    /// Steps of the round that the thread in user space is in.
    round: u8,
    nr_queued: *mut u64,
    nr_scheduled: *mut u64,
    vms: Vec<Vec<TaskId>>,
    /// How often, in %, a task only computes when it could do something.
    computes: u32,
    /// Average distance of events from outside.
    outside_ns: u64,
    /// For as many points does a CPU keep its priority.
    redraw_at: u64,
    time_priority: u64,
    #[expect(clippy::vec_box, reason = "tasks point to them")]
    _vcpus: Vec<Box<KvmVcpu>>,
    /// Last, for the others point into it.
    _native: Native,
}

/// Runs the schedule of `seed`; `user` makes the scheduler's part in user space for as many
/// CPUs. Returns the points that were passed.
pub fn explore<U: UserSpace>(
    setup: &Setup,
    seed: u64,
    user: impl Fn(usize) -> U,
) -> Result<u64, Failure> {
    let run = |traced| {
        let mut explorer = Explorer::new(setup, seed, traced, &user);
        explorer.run(setup.for_ns);
        explorer.world
    };
    let world = run(false);
    let Some(what) = &world.failure else {
        return Ok(world.points);
    };
    let trace = run(true).trace.unwrap_or_default();
    Err(Failure {
        seed,
        what: what.clone(),
        trace: Vec::from(trace).join("\n"),
    })
}

impl<U: UserSpace> Explorer<U> {
    fn new(setup: &Setup, seed: u64, traced: bool, user: impl Fn(usize) -> U) -> Self {
        let mut random = Rng::with_seed(seed);
        let nr_cpus = random.usize(2..=3);
        let native = Native::load(&setup.source);
        let mut user = user(nr_cpus);
        let cpu = || Cpu {
            fiber: None,
            yielder: null(),
            work: None,
            pending: VecDeque::new(),
            since_ns: 0,
            blocked: None,
            resched: false,
            kicks: Vec::new(),
            insertion: None,
            in_balance: false,
            moved: false,
            turn: 0,
            idle_since_ns: 0,
            op: "",
            op_at: 0,
            dispatch_at: 0,
            idle_at: 0,
            inserted_at: 0,
            priority: 0,
        };
        let mut host = Box::new(functions());
        let ops = native.start(&raw mut *host);
        let mut world = Box::new(World {
            kernel: Kernel::new(nr_cpus),
            functions: kernel::functions(),
            host,
            online: Box::new(CpuMask::of(0..nr_cpus)),
            ops,
            probes: Probes::of(&native),
            cpus: (0..nr_cpus).map(|_| cpu()).collect(),
            tasks: Vec::new(),
            idle: 0,
            rq_owner: vec![None; nr_cpus],
            pi_owner: Vec::new(),
            running: 0,
            points: 0,
            events: BinaryHeap::new(),
            numbered: 0,
            timers: HashMap::new(),
            failure: None,
            trace: traced.then(VecDeque::new),
            last_shown: 0,
            may_wait_in: setup.may_wait_in.clone(),
            booting: true,
            random,
        });
        world.host.kernel = (&raw mut *world).cast();
        world.host.nr_cpus = nr_cpus as i32;
        world.host.idle = &raw const *world.kernel.idle;
        world.host.online = &raw const *world.online;
        user.load(&native, USER as i32 + 1);
        let mut explorer = Self {
            nr_queued: native.global("nr_queued"),
            nr_scheduled: native.global("nr_scheduled"),
            world,
            user,
            round: 0,
            vms: Vec::new(),
            computes: 0,
            outside_ns: 0,
            redraw_at: 0,
            time_priority: 0,
            _vcpus: Vec::new(),
            _native: native,
        };
        explorer.boot(nr_cpus);
        explorer
    }
}

impl<U: UserSpace> Explorer<U> {
    fn address(&mut self) -> Address {
        (&raw mut *self.world).cast()
    }

    /// The scheduler attaches, tasks are created, and CPUs begin to live.
    fn boot(&mut self, nr_cpus: usize) {
        let w = self.address();
        self.computes = [10, 50, 95][world(w).random.usize(0..3)];
        self.outside_ns = [150_000, 1_000_000][world(w).random.usize(0..2)];
        assert_eq!((world(w).ops.init)(abi::NO_CONTEXT), 0, "ops.init");
        self.add_task(None, 100);
        for vm in 0..world(w).random.usize(1..=3) {
            let vcpus = world(w).random.usize(2..=3);
            let weight = [100, 100, 300][world(w).random.usize(0..3)];
            let tasks = (0..vcpus).map(|id| self.add_task(Some((vm, id)), weight));
            let tasks = tasks.collect();
            self.vms.push(tasks);
        }
        for _ in 0..world(w).random.usize(0..=2) {
            self.add_task(None, 100);
        }
        let online: *const CpuMask = &raw const *world(w).online;
        world(w).idle = world(w).tasks.len();
        let idle = world(w).idle;
        world(w).kernel.add_task(0, 0, online, 0);
        world(w).kernel.task(idle).pid = 0;
        for cpu in 0..nr_cpus {
            let stack = DefaultStack::new(256 << 10).expect("there is memory");
            let address = w as usize;
            let fiber = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                live(address as Address, cpu, yielder);
            });
            world(w).cpus[cpu].fiber = Some(fiber);
            world(w).after(TICK_NS, Event::Tick(cpu));
        }
        world(w).after_about(200_000, Event::Outside);
        world(w).booting = false;
    }

    fn add_task(&mut self, vcpu: Option<(usize, usize)>, vm_weight: u32) -> TaskId {
        let w = self.address();
        let world = world(w);
        let task = world.tasks.len();
        let nr_cpus = world.cpus.len();
        let joins = Joins {
            vcpu,
            weight: 100,
            vm_weight,
            cpus: Vec::new(),
        };
        world.tasks.push(Task {
            state: State::Asleep,
            vm: vcpu.map(|(vm, _)| vm),
            allowed: Box::new(CpuMask::of(0..nr_cpus)),
            bound: Box::new(CpuMask::none()),
            holding_cpu: None,
            migrating: false,
            since_ns: 0,
        });
        world.pi_owner.push(None);
        let mask: *const CpuMask = &raw const *world.tasks[task].allowed;
        let tgid = vcpu.map_or(1, |(vm, _)| vm as i32 + 2);
        world
            .kernel
            .add_task(tgid, joins.weight, mask, task % nr_cpus);
        if let Some((vm, id)) = vcpu {
            let vcpu = Box::new(KvmVcpu {
                preempt_notifier: 0,
                kvm: vm as u64 + 1,
                vcpu_id: id as i32,
            });
            world.kernel.set_vcpu(task, &raw const *vcpu);
            self._vcpus.push(vcpu);
        }
        self.user.task_joins(task as i32 + 1, &joins);
        let p = world.kernel.pointer(Some(task));
        let root = abi::Cgroup { id: &1, level: 0 };
        let args = abi::InitTaskArgs { cgroup: &root };
        assert_eq!((world.ops.init_task)(abi::NO_CONTEXT, p, &args), 0);
        (world.ops.enable)(abi::NO_CONTEXT, p);
        world.after_about(200_000, Event::Wake(task));
        task
    }

    fn run(&mut self, for_ns: u64) {
        while self.world.failure.is_none() && self.world.now_ns() < for_ns {
            if self.world.points >= self.redraw_at {
                self.redraw();
            }
            match self.choose() {
                Some(cpu) => self.resume(cpu),
                None => self.time_goes_on(),
            }
        }
        for cpu in &mut self.world.cpus {
            // SAFETY: what is on its stack is not needed any more, and owns nothing.
            unsafe { cpu.fiber.as_mut().expect("it lives").force_reset() };
        }
    }

    /// New priorities, for a while: PCT's change points, as a stream of them.
    fn redraw(&mut self) {
        let world = &mut *self.world;
        for cpu in &mut world.cpus {
            cpu.priority = world.random.u64(..);
        }
        self.time_priority = world.random.u64(..);
        let most = [4, 40, 200][world.random.usize(0..3)];
        self.redraw_at = world.points + world.random.u64(1..=most);
    }

    /// The CPU that goes on; None: time does.
    fn choose(&mut self) -> Option<usize> {
        let world = &mut *self.world;
        let next_ns = world.events.peek().map_or(0, |Reverse((at_ns, ..))| *at_ns);
        let mut best = None;
        let mut may_pass = true;
        for cpu in 0..world.cpus.len() {
            if !world.has_to_do(cpu) {
                continue;
            }
            may_pass &= next_ns <= world.cpus[cpu].since_ns + PAUSE_NS;
            let priority = world.cpus[cpu].priority;
            if world.free(cpu) && best.is_none_or(|(highest, _)| priority > highest) {
                best = Some((priority, cpu));
            }
        }
        best.filter(|&(priority, _)| !may_pass || priority > self.time_priority)
            .map(|(_, cpu)| cpu)
    }

    fn resume(&mut self, cpu: usize) {
        let world = &mut *self.world;
        world.points += 1;
        world.kernel.now_ns += STEP_NS;
        world.kernel.cpu = cpu;
        world.running = cpu;
        let current = world.kernel.current[cpu];
        world.host.now_ns = world.kernel.now_ns;
        world.host.rq_now_ns = world.kernel.now_ns;
        world.host.cpu = cpu as i32;
        world.host.current = world.kernel.pointer(current.or(Some(world.idle)));
        let now_ns = world.now_ns();
        let this = &mut world.cpus[cpu];
        if this.work.is_none() {
            this.since_ns = now_ns;
            this.work = match this.resched {
                true => Some(Work::Schedule),
                false => this.pending.pop_front(),
            };
        }
        let mut fiber = this.fiber.take().expect("it lives");
        fiber.resume(());
        let now_ns = self.world.now_ns();
        let this = &mut self.world.cpus[cpu];
        this.fiber = Some(fiber);
        if this.work.is_none() {
            this.since_ns = now_ns;
        }
    }

    fn time_goes_on(&mut self) {
        self.world.check();
        let busy = (0..self.world.cpus.len()).any(|cpu| self.world.cpus[cpu].work.is_some());
        let Some(Reverse((at_ns, _, event))) = self.world.events.pop() else {
            self.world
                .failure
                .get_or_insert("nothing happens any more".to_owned());
            return;
        };
        if busy && at_ns > self.world.now_ns() + STALL_NS {
            self.world.failure.get_or_insert("dead lock".to_owned());
            return;
        }
        self.world.kernel.now_ns = self.world.now_ns().max(at_ns);
        self.handle(event);
    }

    fn handle(&mut self, event: Event) {
        let world = &mut *self.world;
        let any_cpu = world.random.usize(0..world.cpus.len());
        match event {
            Event::Act(cpu, turn) if world.cpus[cpu].turn != turn => {}
            // Interrupts come first.
            Event::Act(cpu, _) if world.has_to_do(cpu) => world.after(1_000, event),
            Event::Act(cpu, turn) => match world.kernel.current[cpu] {
                Some(USER) => self.user_acts(cpu, turn),
                Some(task) => self.task_acts(cpu, turn, task),
                None => {}
            },
            Event::Tick(cpu) => {
                world.after(TICK_NS, event);
                if world.kernel.current[cpu].is_some() {
                    world.push(cpu, Work::Tick);
                }
            }
            Event::Wake(task) => world.push(any_cpu, Work::Wake(task)),
            Event::Timer(timer, armed, cpu) => {
                world.push(cpu.unwrap_or(any_cpu), Work::Timer(timer, armed));
            }
            Event::Outside => {
                world.after_about(self.outside_ns, Event::Outside);
                let task = world.random.usize(0..world.tasks.len());
                if task == USER || world.tasks[task].state == State::Gone {
                    return;
                }
                let (any_cpu, cpus) = world.any_affinity();
                let work = match world.random.u32(0..8) {
                    0 => Work::Weight(task, [10, 100, 1000][world.random.usize(0..3)]),
                    _ => Work::Affinity(task, cpus),
                };
                world.push(any_cpu, work);
            }
        }
    }

    /// A step of the thread in user space: it reads events, writes decisions, or yields.
    fn user_acts(&mut self, cpu: usize, turn: u32) {
        let world = &mut *self.world;
        let slow_ns = [500, 5_000, 40_000][world.random.usize(0..3)];
        world.after(slow_ns, Event::Act(cpu, turn));
        world.cpus[cpu].op = "user space";
        match self.round {
            0 => {
                while let Some(record) = world.kernel.ring_next() {
                    // SAFETY: its BPF part writes no other records.
                    let event = unsafe { record.read() };
                    self.user.event(&world.kernel, &event);
                    world.note(cpu, |_| "reads an event".to_owned());
                    // SAFETY: main.bpf.c defines it so.
                    unsafe { *self.nr_queued = (*self.nr_queued).saturating_sub(1) };
                }
            }
            1 => {
                while let Some(decision) = self.user.decide() {
                    world.kernel.user_ring.push_back(Record::new(decision));
                    world.note(cpu, |_| "writes a decision".to_owned());
                }
                // SAFETY: main.bpf.c defines it so.
                unsafe { *self.nr_scheduled = self.user.waiting() };
            }
            _ => world.push(cpu, Work::Yield(turn, None)),
        }
        world.cpus[cpu].op = "";
        self.round = (self.round + 1) % 3;
    }

    fn task_acts(&mut self, cpu: usize, turn: u32, task: TaskId) {
        let world = &mut *self.world;
        world.after_about(500_000, Event::Act(cpu, turn));
        let sibling = world.tasks[task].vm.map(|vm| {
            let vcpus = &self.vms[vm];
            (vm, world.random.usize(0..vcpus.len()))
        });
        let sibling = sibling.map(|(vm, id)| self.vms[vm][id]);
        let sibling = sibling.filter(|&sibling| sibling != task);
        // KVM yields to those only that wait for a CPU.
        let waits = |&sibling: &TaskId| {
            world.tasks[sibling].state == State::Runnable
                && !world.kernel.current.contains(&Some(sibling))
        };
        let vm = world.tasks[task].vm;
        let target = vm.and_then(|vm| self.vms[vm].iter().copied().find(waits));
        let bound = world.kernel.task(task).migration_disabled != 0;
        if world.random.u32(0..100) < self.computes {
            return;
        }
        let work = match (world.random.u32(0..60), sibling) {
            (0..15, _) => {
                world.after_about(1_000_000, Event::Wake(task));
                Work::Leave(turn, false)
            }
            (15..38, _) if target.is_some() => Work::Yield(turn, target),
            (38..48, Some(sibling)) => Work::Ipi(turn, sibling),
            (48..53, _) => Work::Spin(turn),
            (53..55, _) => Work::Yield(turn, None),
            (55..59, _) => Work::MigrateDisable(turn, !bound),
            (59, _) if !bound => Work::Leave(turn, true),
            _ => return,
        };
        // A change of the target's affinity meets the hand-off.
        if let Work::Yield(_, Some(target)) = work
            && world.random.u32(0..3) == 0
        {
            let (any_cpu, cpus) = world.any_affinity();
            world.push(any_cpu, Work::Affinity(target, cpus));
        }
        world.push(cpu, work);
    }
}

/// The table, with a point before each function.
fn functions() -> Host {
    Host {
        dsq_create,
        dsq_insert,
        dsq_move,
        dsq_move_to_local,
        dsq_peek,
        dsq_iterate,
        dsq_next,
        dsq_nr_queued,
        kick_cpu,
        take_idle,
        set_slice,
        task_from_pid,
        hash,
        ring_reserve,
        ring_submit,
        ring_used,
        user_ring_next,
        timer_start,
        point: on_point,
        error,
        ..kernel::functions()
    }
}
