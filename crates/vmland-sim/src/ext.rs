// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's sched_ext class (kernel/sched/ext.c), driving a native scheduler.
//!
//! What it does on a wake-up, in schedule() and on a yield is what the kernel does
//! there, in that order: which op is called when, which task goes on with the rest of its
//! slice, and when an insertion takes place.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

use crate::abi::{self, CpuMask, Host, KvmVcpu, Ops, Task};
use crate::kernel::{self, Kernel, Record};
use crate::lock::{LockCosts, LockTotals};
use crate::native::{Native, Source};
use crate::scheduler::{Alarm, At, Joins, Round, Scheduler, TaskId};
use crate::topology::Topology;

/// The slice of a task that was given none (SCX_SLICE_DFL), in ns.
pub(crate) const SLICE_DFL_NS: u64 = 20_000_000;

/// The scheduler's part in user space.
pub trait UserSpace {
    /// The record by which the BPF part tells of a task.
    type Event: Copy;
    /// The record by which it is told where the task goes.
    type Decision: Copy;

    /// Before the scheduler starts; its own thread has the pid `pid`.
    fn load(&mut self, native: &Native, pid: i32);
    fn task_joins(&mut self, _pid: i32, _who: &Joins) {}
    /// The memory of the task with that pid is on `node`.
    fn memory(&mut self, _pid: i32, _node: usize) {}
    /// A round begins, whether there are events or not.
    fn begins(&mut self, _kernel: &Kernel) {}
    /// An event; returns what to look at it costs, in ns.
    fn event(&mut self, kernel: &Kernel, event: &Self::Event) -> u64;
    /// The next decision, if it has one to make in this round.
    fn decide(&mut self) -> Option<Self::Decision>;
    /// Events without a decision.
    fn waiting(&self) -> u64;
    /// CPU time of a round beside that of its events, in ns.
    fn round_ns(&self) -> u64;
}

/// Probes on KVM, of schedulers that have some.
pub(crate) struct Probes {
    pub on_ipi: extern "C" fn(*mut c_void, u32, u32) -> i32,
    pub on_accept: extern "C" fn(*mut c_void, u32, u16, u16, u8) -> i32,
    pub on_spin: extern "C" fn(*mut c_void) -> i32,
}

impl Probes {
    pub fn of(native: &Native) -> Option<Self> {
        native.has("on_spin").then(|| Self {
            on_ipi: native.function("on_apic_ipi"),
            on_accept: native.function("on_accept_irq"),
            on_spin: native.function("on_spin"),
        })
    }
}

/// Core scheduling (kernel/sched/core.c): SMT siblings, which are CPU 2n and 2n + 1, run tasks of
/// one cookie at a time.
struct CoreSched {
    /// By task; others have none, which is a cookie, too.
    cookies: HashMap<TaskId, u64>,
    /// The kernel takes the answer of ops.core_sched_before() the other way round, as before
    /// f7b6d128dd49.
    inverted: bool,
    on_prio_less: extern "C" fn(*mut c_void, *mut Task, *mut Task, bool) -> i32,
}

/// A fixed IPI's vector; any will do.
pub(crate) const VECTOR: u8 = 0xfb;

/// The root of the cgroup tree.
const ROOT: abi::Cgroup = abi::Cgroup {
    id: &1,
    level: 0,
    parent: null(),
};

/// A cgroup below the root, with the cpu controller. It outlives its children.
pub struct Cgroup {
    known: Box<abi::Cgroup>,
    _id: Box<u64>,
}

pub struct Ext<U> {
    // The native code holds pointers to these two.
    kernel: *mut Kernel,
    host: *mut Host,
    /// The task that runs on an idle CPU.
    idle: Box<Task>,
    ops: Ops,
    nr_queued: *mut u64,
    nr_scheduled: *mut u64,
    probes: Option<Probes>,
    user: U,
    user_thread: TaskId,
    #[expect(clippy::vec_box, reason = "tasks point to them")]
    masks: Vec<Box<CpuMask>>,
    cgroups: u64,
    vcpus: Vec<(TaskId, Box<KvmVcpu>)>,
    vcpu_ids: Vec<Option<usize>>,
    core_sched: Option<CoreSched>,
    /// Last, for the others point into it.
    native: Native,
}

impl<U: UserSpace> Ext<U> {
    /// A host on which the scheduler has attached. The first task that joins is
    /// to be the scheduler's own thread.
    pub fn new(source: &Source, topology: impl Into<Topology>, mut user: U) -> Self {
        let topology = topology.into();
        let native = Native::load(source);
        let kernel = Box::new(Kernel::new(&topology));
        let all = Box::new(CpuMask::of(0..topology.nr_cpus()));
        let online = Box::new(topology.online_mask());
        let host = Box::into_raw(Box::new(Host {
            nr_cpus: topology.nr_cpus() as i32,
            online: &raw const *online,
            idle: &raw const *kernel.idle.cpus,
            idle_cores: &raw const *kernel.idle.cores,
            nodes: kernel.nodes(),
            ..kernel::functions()
        }));
        let kernel = Box::into_raw(kernel);
        // SAFETY: it has just been made.
        unsafe { (*host).kernel = kernel.cast() };
        let ops = native.start(host);
        user.load(&native, 1);
        assert_eq!((ops.init)(abi::NO_CONTEXT), 0, "ops.init");
        let probes = Probes::of(&native);
        Self {
            kernel,
            host,
            idle: Box::new(Task::new(0, 0, null(), 0)),
            ops,
            nr_queued: native.global("nr_queued"),
            nr_scheduled: native.global("nr_scheduled"),
            probes,
            user,
            user_thread: 0,
            masks: vec![all, online],
            cgroups: 0,
            vcpus: Vec::new(),
            vcpu_ids: Vec::new(),
            core_sched: None,
            native,
        }
    }

    pub fn user(&self) -> &U {
        &self.user
    }

    pub fn task(&mut self, task: TaskId) -> *mut Task {
        self.kernel().pointer(Some(task))
    }

    /// `task` is a thread of the kernel's.
    pub fn set_kthread(&mut self, task: TaskId) {
        self.kernel().task(task).flags |= abi::PF_KTHREAD;
    }

    /// The kernel stops the ticks of these CPUs while it may.
    pub fn set_nohz_full(&mut self, cpus: CpuMask) {
        self.kernel().nohz_full = cpus;
    }

    /// The kernel has core scheduling, of one or the other sense.
    pub fn set_core_sched(&mut self, inverted: bool) {
        self.core_sched = Some(CoreSched {
            cookies: HashMap::new(),
            inverted,
            on_prio_less: self.native.function("on_prio_less"),
        });
    }

    /// prctl(PR_SCHED_CORE)
    pub fn set_cookie(&mut self, task: TaskId, cookie: u64) {
        let core_sched = self.core_sched.as_mut().expect("core scheduling");
        core_sched.cookies.insert(task, cookie);
    }

    fn cookie(&self, task: TaskId) -> u64 {
        let cookies = self.core_sched.as_ref().map(|it| &it.cookies);
        cookies.and_then(|it| it.get(&task)).copied().unwrap_or(0)
    }

    /// scx_prio_less(): is `a` to run after `b`?
    fn prio_less(&mut self, a: TaskId, b: TaskId) -> bool {
        let core_sched = self.core_sched.as_ref().expect("core scheduling");
        let (inverted, on_prio_less) = (core_sched.inverted, core_sched.on_prio_less);
        let before = self.ops.core_sched_before.expect("it has an order");
        let (a, b) = (self.task(a), self.task(b));
        on_prio_less(abi::NO_CONTEXT, a, b, false);
        match inverted {
            true => before(abi::NO_CONTEXT, a, b),
            false => before(abi::NO_CONTEXT, b, a),
        }
    }

    /// pick_next_task() with core scheduling: the task of `at.cpu`. If the sibling is to run
    /// another one than it does, it is kicked.
    fn pick_core(&mut self, at: At, prev: Option<TaskId>) -> Option<TaskId> {
        let cpus = [at.cpu, at.cpu ^ 1];
        let picks = cpus.map(|cpu| {
            let prev = match cpu == at.cpu {
                true => prev,
                false => self.kernel().current[cpu],
            };
            let rq = At { cpu, ..at };
            self.enter(rq);
            // SAFETY: ours until we are dropped.
            unsafe { &mut *self.host }.cpu = at.cpu as i32;
            self.kernel().use_slice(cpu);
            self.pick(rq, prev)
        });
        self.enter(at);
        let first = match picks {
            [Some(a), Some(b)] if self.prio_less(a, b) => Some(b),
            [a, b] => a.or(b),
        };
        let cookie = self.cookie(first?);
        let chosen = [0, 1].map(|i| {
            picks[i]
                .filter(|&task| self.cookie(task) == cookie)
                .or_else(|| self.find_cookie(cpus[i], cookie))
        });
        if chosen[1] != self.kernel().current[cpus[1]] {
            self.kernel().kicks.push_back((cpus[1], 0));
        }
        chosen[0]
    }

    /// sched_core_find(): the first runnable task of `cpu` that has the cookie.
    fn find_cookie(&mut self, cpu: usize, cookie: u64) -> Option<TaskId> {
        let mut tasks = Vec::new();
        for task in 0..self.vcpu_ids.len() {
            let has_it = self.cookie(task) == cookie;
            let p = self.kernel().task(task);
            let waits = p.scx.flags & abi::TASK_QUEUED != 0 && p.on_cpu == 0;
            if has_it && waits && p.cpu == cpu as i32 {
                tasks.push(task);
            }
        }
        let first = |a, b| if self.prio_less(a, b) { b } else { a };
        tasks.into_iter().reduce(first)
    }

    /// Keeps the records of the scheduler's ring `name` from now on.
    pub fn keep_apart(&mut self, name: &str) {
        let ring = self.native.global::<c_void>(name);
        self.kernel().apart = ring;
    }

    /// Those of that ring so far.
    pub fn take_apart(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.kernel().records_apart)
    }

    /// Sets a global variable of the scheduler's.
    pub fn set<T>(&mut self, name: &str, value: T) {
        self.native.set(name, value);
    }

    /// scx_dump_state(): what the scheduler tells of itself, of each CPU, of the task that runs
    /// there and of those that wait for it.
    pub fn dump(&mut self, at: At) -> String {
        self.enter(at);
        let ops = self.ops;
        let context = abi::DumpContext { at_ns: at.now_ns };
        let (Some(dump), Some(dump_cpu), Some(dump_task)) = (ops.dump, ops.dump_cpu, ops.dump_task)
        else {
            return String::new();
        };
        dump(abi::NO_CONTEXT, &context);
        for cpu in 0..self.kernel().current.len() {
            let idle = self.kernel().current[cpu].is_none();
            dump_cpu(abi::NO_CONTEXT, &context, cpu as i32, idle);
            for task in 0..self.vcpu_ids.len() {
                let p = self.kernel().task(task);
                if p.cpu == cpu as i32 && p.scx.flags & abi::TASK_QUEUED != 0 {
                    dump_task(abi::NO_CONTEXT, &context, self.task(task));
                }
            }
        }
        std::mem::take(&mut self.kernel().dump)
    }

    /// `task` gets SIGKILL. That it ends then is not modelled.
    pub fn kill(&mut self, task: TaskId) {
        self.kernel().task(task).pending |= 1 << (9 - 1);
    }

    /// A new cgroup below the root with that cpu.max.
    pub fn add_cgroup(&mut self, quota_us: u64, period_us: u64) -> Cgroup {
        self.add_cgroup_below(&ROOT, quota_us, period_us)
    }

    /// A new child of `parent` with that cpu.max.
    pub fn add_child_cgroup(&mut self, parent: &Cgroup, quota_us: u64, period_us: u64) -> Cgroup {
        self.add_cgroup_below(&parent.known, quota_us, period_us)
    }

    fn add_cgroup_below(&mut self, parent: &abi::Cgroup, quota_us: u64, period_us: u64) -> Cgroup {
        self.cgroups += 1;
        let id = Box::new(1 + self.cgroups);
        let cgroup = Cgroup {
            known: Box::new(abi::Cgroup {
                id: &raw const *id,
                level: parent.level + 1,
                parent,
            }),
            _id: id,
        };
        let args = abi::CgroupInitArgs {
            weight: 100,
            idle: false,
            period_us,
            quota_us,
            burst_us: 0,
        };
        let init = self.ops.cgroup_init.expect("it knows cgroups");
        let err = init(abi::NO_CONTEXT, &raw const *cgroup.known, &args);
        assert_eq!(err, 0, "ops.cgroup_init");
        cgroup
    }

    /// `cgroup` gets that cpu.max.
    pub fn set_quota(&mut self, cgroup: &Cgroup, quota_us: u64, period_us: u64, at: At) {
        self.enter(at);
        let set = self.ops.cgroup_set_bandwidth.expect("it knows cgroups");
        set(
            abi::NO_CONTEXT,
            &raw const *cgroup.known,
            period_us,
            quota_us,
            0,
        );
    }

    /// `cgroup` gets that cpu.weight.
    pub fn set_weight(&mut self, cgroup: &Cgroup, weight: u32, at: At) {
        self.enter(at);
        let set = self.ops.cgroup_set_weight.expect("it knows cgroups");
        set(abi::NO_CONTEXT, &raw const *cgroup.known, weight);
    }

    /// `cgroup` gets that cpu.idle.
    pub fn set_idle(&mut self, cgroup: &Cgroup, idle: bool, at: At) {
        self.enter(at);
        let set = self.ops.cgroup_set_idle.expect("it knows cgroups");
        set(abi::NO_CONTEXT, &raw const *cgroup.known, idle);
    }

    /// `task`, which sleeps and is in the root cgroup, moves to `cgroup`.
    pub fn enter_cgroup(&mut self, task: TaskId, cgroup: &Cgroup) {
        let moves = self.ops.cgroup_move.expect("it knows cgroups");
        let p = self.task(task);
        moves(abi::NO_CONTEXT, p, &ROOT, &raw const *cgroup.known);
    }

    /// select_task_rq(): `cpu`, if it is online, else the first that `task` may use.
    fn allowed_cpu(&mut self, task: TaskId, cpu: i32) -> i32 {
        let kernel = self.kernel();
        if kernel.is_online(cpu as usize) {
            return cpu;
        }
        let mut cpus = 0..kernel.current.len();
        let first = cpus.find(|&cpu| kernel.is_online(cpu) && kernel.may_run_on(task, cpu));
        first.map_or(cpu, |cpu| cpu as i32)
    }

    /// Never held while the scheduler is called.
    fn kernel(&mut self) -> &mut Kernel {
        // SAFETY: ours until we are dropped.
        unsafe { &mut *self.kernel }
    }

    fn kernel_ref(&self) -> &Kernel {
        // SAFETY: as above.
        unsafe { &*self.kernel }
    }

    /// What the scheduler sees in the call to come.
    fn enter(&mut self, at: At) {
        let kernel = self.kernel();
        kernel.now_ns = at.now_ns;
        kernel.rq_now_ns[at.cpu] = at.now_ns;
        kernel.cpu = at.cpu;
        let current = kernel.current[at.cpu];
        let mut current = kernel.pointer(current);
        if current.is_null() {
            current = &raw mut *self.idle;
        }
        // SAFETY: ours until we are dropped.
        let host = unsafe { &mut *self.host };
        host.now_ns = at.now_ns;
        host.rq_now_ns = at.now_ns;
        host.cpu = at.cpu as i32;
        host.current = current;
    }

    fn insert_as_asked(&mut self, task: TaskId) {
        let kernel = self.kernel();
        // Else it is held by the scheduler's user space.
        let Some(asked) = kernel.insertion.take() else {
            return;
        };
        assert_eq!(asked.task, task);
        kernel.insert(task, asked.dsq, asked.vtime, asked.flags);
    }

    fn enqueue(&mut self, task: TaskId, flags: u64) {
        let p = self.kernel().pointer(Some(task));
        (self.ops.enqueue)(abi::NO_CONTEXT, p, flags);
        self.insert_as_asked(task);
    }

    /// balance_one() and pick_task_scx(): the next task of `at.cpu`. The framework sets
    /// SCX_OPS_ENQ_LAST, so no task goes on without a slice.
    fn pick(&mut self, at: At, prev: Option<TaskId>) -> Option<TaskId> {
        let goes_on = |kernel: &mut Kernel| {
            prev.filter(|&prev| {
                let scx = &kernel.task(prev).scx;
                scx.flags & abi::TASK_QUEUED != 0 && scx.slice_ns > 0
            })
        };
        if let Some(prev) = goes_on(self.kernel()) {
            return Some(prev);
        }
        if self.kernel().local_first(at.cpu).is_none() {
            let p = self.kernel().pointer(prev);
            self.kernel().dispatching = true;
            (self.ops.dispatch)(abi::NO_CONTEXT, at.cpu as i32, p);
            self.kernel().dispatching = false;
            if let Some(prev) = goes_on(self.kernel()) {
                return Some(prev);
            }
        }
        self.kernel().local_first(at.cpu)
    }
}

impl<U> Drop for Ext<U> {
    fn drop(&mut self) {
        // SAFETY: made by new(), and the native code is not called any more.
        unsafe {
            drop(Box::from_raw(self.kernel));
            drop(Box::from_raw(self.host));
        }
    }
}

impl<U: UserSpace> Scheduler for Ext<U> {
    fn set_lock_costs(&mut self, costs: Option<LockCosts>) {
        self.kernel().lock_costs = costs;
    }

    fn take_spent_ns(&mut self) -> u64 {
        std::mem::take(&mut self.kernel().spent_ns)
    }

    fn locks(&self) -> LockTotals {
        self.kernel_ref().locks
    }

    fn memory(&mut self, task: TaskId, node: usize) {
        self.user.memory(task as i32 + 1, node);
    }

    fn join(&mut self, at: At, task: TaskId, who: &Joins) {
        if !who.cpus.is_empty() {
            self.masks
                .push(Box::new(CpuMask::of(who.cpus.iter().copied())));
        }
        let mask = match who.cpus.is_empty() {
            true => &*self.masks[0],
            false => &**self.masks.last().expect("just pushed"),
        };
        let mask: *const CpuMask = mask;
        let tgid = who.vcpu.map_or(1, |(vm, _)| vm as i32 + 2);
        let mut online = who.cpus.iter().copied();
        let cpu = online.find(|&cpu| self.kernel().is_online(cpu));
        let cpu = cpu.unwrap_or(at.cpu);
        self.kernel().add_task(tgid, who.weight, mask, cpu);
        self.vcpu_ids.push(who.vcpu.map(|(_, id)| id));
        if let Some((vm, vcpu_id)) = who.vcpu {
            let vcpu = Box::new(KvmVcpu {
                preempt_notifier: 0,
                kvm: vm as u64 + 1,
                vcpu_id: vcpu_id as i32,
            });
            self.kernel().set_vcpu(task, &raw const *vcpu);
            self.vcpus.push((task, vcpu));
        }
        self.user.task_joins(task as i32 + 1, who);
        self.enter(at);
        let p = self.kernel().pointer(Some(task));
        let args = abi::InitTaskArgs { cgroup: &ROOT };
        let err = (self.ops.init_task)(abi::NO_CONTEXT, p, &args);
        assert_eq!(err, 0, "ops.init_task");
        (self.ops.enable)(abi::NO_CONTEXT, p);
    }

    fn wake(&mut self, at: At, task: TaskId) {
        self.enter(at);
        let p = self.kernel().pointer(Some(task));
        let (prev_cpu, pinned) = {
            let p = self.kernel().task(task);
            (p.cpu, p.nr_cpus_allowed == 1)
        };
        let mut flags = abi::ENQ_WAKEUP;
        if !pinned {
            flags |= abi::ENQ_CPU_SELECTED;
            let cpu = (self.ops.select_cpu)(abi::NO_CONTEXT, p, prev_cpu, abi::WAKE_TTWU);
            self.kernel().task(task).cpu = self.allowed_cpu(task, cpu);
        }
        let kernel = self.kernel();
        let p = kernel.task(task);
        p.scx.flags |= abi::TASK_QUEUED;
        let cpu = p.cpu as usize;
        kernel.nr_running[cpu] += 1;
        if let Some(runnable) = self.ops.runnable {
            let p = self.kernel().pointer(Some(task));
            runnable(abi::NO_CONTEXT, p, flags);
        }
        if self.kernel().insertion.is_some() {
            self.insert_as_asked(task);
        } else {
            self.enqueue(task, flags);
        }
        // wakeup_preempt(): a CPU that has no task of this class looks for one.
        let kernel = self.kernel();
        let cpu = kernel.task(task).cpu as usize;
        if kernel.current[cpu].is_none() {
            kernel.kicks.push_back((cpu, abi::KICK_IDLE));
        }
    }

    fn switch(&mut self, at: At, sleeps: bool) -> Option<TaskId> {
        let cpu = at.cpu;
        self.enter(at);
        self.kernel().use_slice(cpu);
        let prev = self.kernel().current[cpu];
        if let (Some(prev), true) = (prev, sleeps) {
            let p = self.kernel().pointer(Some(prev));
            (self.ops.stopping)(abi::NO_CONTEXT, p, false);
            let kernel = self.kernel();
            kernel.task(prev).scx.flags &= !abi::TASK_QUEUED;
            kernel.nr_running[cpu] -= 1;
        }
        let next = match self.core_sched {
            Some(_) => self.pick_core(at, prev),
            None => self.pick(at, prev),
        };
        if let Some(next) = next {
            let scx = &mut self.kernel().task(next).scx;
            if scx.slice_ns == 0 {
                scx.slice_ns = SLICE_DFL_NS;
            }
        }
        if next == prev {
            if next.is_none() {
                self.kernel().idle.set(cpu, true);
            }
            return next;
        }
        if let Some(prev) = prev
            && !sleeps
        {
            let p = self.kernel().pointer(Some(prev));
            (self.ops.stopping)(abi::NO_CONTEXT, p, true);
            if self.kernel().task(prev).scx.slice_ns > 0 {
                self.kernel().enqueue_local(prev, cpu, abi::ENQ_HEAD);
            } else {
                let last = if next.is_none() { abi::ENQ_LAST } else { 0 };
                self.enqueue(prev, last);
            }
        }
        let kernel = self.kernel();
        kernel.current[cpu] = next;
        kernel.idle.set(cpu, next.is_none());
        if let Some(next) = next {
            kernel.remove(next);
            kernel.task(next).on_cpu = 1;
            let p = kernel.pointer(Some(next));
            (self.ops.running)(abi::NO_CONTEXT, p);
            // set_next_task_scx(). It is not called for a task that keeps its CPU.
            let kernel = self.kernel();
            let infinite = kernel.task(next).scx.slice_ns == abi::SLICE_INF;
            let tickless = infinite && kernel.nohz_full.has(cpu);
            kernel.tickless.set(cpu, tickless);
        }
        if let Some(prev) = prev {
            self.kernel().task(prev).on_cpu = 0;
        }
        next
    }

    fn slice_end_ns(&self, cpu: usize) -> Option<u64> {
        self.kernel_ref().slice_end_ns(cpu)
    }

    fn tick(&mut self, at: At) -> bool {
        let kernel = self.kernel();
        kernel.now_ns = at.now_ns;
        kernel.use_slice(at.cpu);
        let current = kernel.current[at.cpu];
        current.is_some_and(|task| kernel.task(task).scx.slice_ns == 0)
    }

    fn yields(&mut self, at: At, yielder: TaskId, target: Option<TaskId>) -> bool {
        self.enter(at);
        self.kernel().use_slice(at.cpu);
        let p = self.kernel().pointer(Some(yielder));
        let to = self.kernel().pointer(target);
        match self.ops.yields {
            Some(yields) => yields(abi::NO_CONTEXT, p, to),
            None if target.is_none() => {
                self.kernel().task(yielder).scx.slice_ns = 0;
                true
            }
            None => false,
        }
    }

    fn nr_running(&self, cpu: usize) -> u32 {
        self.kernel_ref().nr_running[cpu]
    }

    fn cpu_of(&self, task: TaskId) -> usize {
        // SAFETY: as kernel_ref(); a number is read.
        unsafe { (*self.kernel).task(task).cpu as usize }
    }

    fn next_kick(&mut self) -> Option<usize> {
        let kernel = self.kernel();
        loop {
            let (cpu, flags) = kernel.kicks.pop_front()?;
            if !kernel.is_online(cpu) {
                continue;
            }
            match kernel.current[cpu] {
                Some(_) if flags & abi::KICK_IDLE != 0 => continue,
                Some(task) if flags & abi::KICK_PREEMPT != 0 => {
                    kernel.task(task).scx.slice_ns = 0;
                }
                _ => {}
            }
            return Some(cpu);
        }
    }

    fn next_slice_change(&mut self) -> Option<usize> {
        self.kernel().slice_changes.pop()
    }

    fn next_timer(&mut self) -> Option<(u64, Alarm)> {
        self.kernel().alarms.pop_front()
    }

    fn fire(&mut self, alarm: Alarm, now_ns: u64) {
        let Some(timer) = self.kernel().due(alarm) else {
            return;
        };
        let cpu = alarm.cpu as usize;
        // The clock of the run queue stands still since the last op.
        let rq_now_ns = self.kernel_ref().rq_now_ns[cpu];
        self.enter(At { now_ns, cpu });
        self.kernel().rq_now_ns[cpu] = rq_now_ns;
        // SAFETY: ours until we are dropped.
        unsafe { &mut *self.host }.rq_now_ns = rq_now_ns;
        // SAFETY: the scheduler has started it, and its maps live as long as it does.
        let callback = unsafe { (*timer).callback };
        callback(null_mut(), &mut alarm.cpu.clone(), timer);
    }

    fn ipi(&mut self, at: At, _from: TaskId, to: TaskId) {
        let (Some(probes), Some(vcpu)) = (&self.probes, self.vcpu_ids[to]) else {
            return;
        };
        let (on_ipi, on_accept) = (probes.on_ipi, probes.on_accept);
        self.enter(at);
        on_ipi(abi::NO_CONTEXT, VECTOR.into(), vcpu as u32);
        on_accept(abi::NO_CONTEXT, vcpu as u32, 0, 0, VECTOR);
    }

    fn spun(&mut self, at: At, _task: TaskId) {
        let Some(on_spin) = self.probes.as_ref().map(|probes| probes.on_spin) else {
            return;
        };
        self.enter(at);
        on_spin(abi::NO_CONTEXT);
    }

    fn user_thread(&self) -> Option<TaskId> {
        Some(self.user_thread)
    }

    fn round_begins(&mut self) -> Round {
        let mut cost_ns = self.user.round_ns();
        // SAFETY: as kernel_ref(); no native code is called.
        self.user.begins(unsafe { &*self.kernel });
        while let Some(record) = self.kernel().ring_next() {
            // SAFETY: its BPF part writes no other records.
            let event = unsafe { record.read() };
            // SAFETY: as kernel_ref(); no native code is called.
            let kernel = unsafe { &*self.kernel };
            cost_ns += self.user.event(kernel, &event);
            // SAFETY: main.bpf.c defines it so.
            unsafe { *self.nr_queued = (*self.nr_queued).saturating_sub(1) };
        }
        Round { cost_ns }
    }

    fn round_ends(&mut self) {
        while let Some(decision) = self.user.decide() {
            self.kernel().user_ring.push_back(Record::new(decision));
        }
        // SAFETY: main.bpf.c defines it so.
        unsafe { *self.nr_scheduled = self.user.waiting() };
    }

    fn operations(&self) -> u64 {
        self.kernel_ref().operations
    }
}
