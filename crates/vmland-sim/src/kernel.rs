// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel keeps for a sched_ext scheduler: tasks, dispatch queues, idle
//! CPUs, hash maps and the framework's rings; and the functions on them that the
//! scheduler calls ([`functions`], one a kfunc or helper).
//!
//! As in the kernel, an insertion from `ops.select_cpu` or `ops.enqueue` happens
//! when the op has returned, and a kick then too: both are noted here. One from
//! `ops.dispatch` happens at once, unless the task has gone.

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr::{null, null_mut};

use crate::abi::{self, CpuMask, DsqIter, Host, KvmVcpu, Task, Timer};
use crate::dsq::{Dsq, Place};
use crate::idle::Idle;
use crate::lock::{Lock, LockCosts, LockTotals};
use crate::scheduler::Alarm;
use crate::topology::Topology;

/// The ring of queued tasks has room for so many records without their headers
/// (main.bpf.c, MAX_ENQUEUED_TASKS).
const RING_RECORDS: usize = 4096;
/// A record's header in the ring, in bytes.
const HEADER_BYTES: usize = 8;

/// A record of one of the framework's rings. Its layout is between the scheduler's
/// BPF part and its user space.
pub struct Record(Box<[u64]>);

impl Record {
    pub fn new<T: Copy>(value: T) -> Self {
        let mut record = Self::zeroed(size_of::<T>());
        // SAFETY: it has room for a `T`.
        unsafe { record.0.as_mut_ptr().cast::<T>().write(value) };
        record
    }

    /// # Safety
    ///
    /// The scheduler has written a `T`.
    pub unsafe fn read<T: Copy>(&self) -> T {
        assert_eq!(self.size(), size_of::<T>());
        // SAFETY: of that size, and the caller vouches for the type.
        unsafe { self.0.as_ptr().cast::<T>().read() }
    }

    fn zeroed(size: usize) -> Self {
        assert_eq!(size % size_of::<u64>(), 0);
        Self(vec![0; size / size_of::<u64>()].into())
    }

    fn size(&self) -> usize {
        size_of_val(&*self.0)
    }

    fn pointer(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }
}

/// An insertion that an op has asked for.
pub struct Insertion {
    pub task: usize,
    pub dsq: u64,
    pub vtime: u64,
    pub flags: u64,
}

/// A task and what is known of it beside its task_struct.
struct Known {
    task: Box<Task>,
    /// The DSQ it waits in, and where there.
    place: Option<(u64, Place)>,
    /// Of the DSQ, when it was inserted.
    seq: u64,
}

struct Queue {
    dsq: Dsq,
    /// What `p->scx.dsq` points to.
    id: Box<u64>,
    /// Insertions so far.
    seq: u64,
    lock: Lock,
}

impl Queue {
    fn new(id: u64) -> Self {
        Self {
            dsq: Dsq::default(),
            id: Box::new(id),
            seq: 0,
            lock: Lock::default(),
        }
    }
}

pub struct Kernel {
    known: Vec<Known>,
    /// The scheduler's DSQs.
    queues: HashMap<u64, Queue, BuildIdHasher>,
    /// Each CPU's local DSQ.
    locals: Vec<Queue>,
    pub current: Vec<Option<usize>>,
    /// Up to when the slice of the task that runs there has been charged, in ns.
    pub(crate) slice_used_ns: Vec<u64>,
    /// CPUs whose tick stops while a task with an infinite slice runs.
    pub(crate) nohz_full: CpuMask,
    /// Those of which it has stopped.
    pub(crate) tickless: CpuMask,
    /// Runnable tasks, by the CPU that they belong to.
    pub nr_running: Vec<u32>,
    pub idle: Idle,
    topology: Topology,
    /// The memory node of each CPU.
    nodes: Vec<i32>,
    /// What queue locks cost; None: nothing.
    pub(crate) lock_costs: Option<LockCosts>,
    pub(crate) locks: LockTotals,
    /// What this CPU has spent on them in the op that is called, and is to be charged.
    pub(crate) spent_ns: u64,
    /// Until when each CPU is busy with that.
    free_ns: Vec<u64>,
    pub insertion: Option<Insertion>,
    /// In `ops.dispatch`.
    pub dispatching: bool,
    pub kicks: VecDeque<(usize, u64)>,
    pub slice_changes: Vec<usize>,
    /// The scheduler's timers, and how often each has been started.
    timers: Vec<(*mut Timer, u32)>,
    /// Those that have been started, and after how many ns they are to fire.
    pub(crate) alarms: VecDeque<(u64, Alarm)>,
    hashes: HashMap<(usize, u64), Box<[u64]>, BuildIdHasher>,
    removed: Vec<Box<[u64]>>,
    /// Records, and whether they have been submitted.
    ring: VecDeque<(Record, bool)>,
    /// A ring whose records nobody takes meanwhile, and these; null: there is none.
    pub(crate) apart: *const c_void,
    pub(crate) records_apart: Vec<Record>,
    pub user_ring: VecDeque<Record>,
    /// The last one taken from `user_ring`.
    taken: Option<Record>,
    /// What the scheduler has told of itself in the dump that is being made.
    pub(crate) dump: String,
    /// Operations on DSQs so far: what a scheduler's decisions cost.
    pub operations: u64,
    pub now_ns: u64,
    /// When a call for each CPU was last made.
    pub rq_now_ns: Vec<u64>,
    pub cpu: usize,
}

/// Keys are addresses and small numbers: one multiplication spreads them.
#[derive(Default, Clone, Copy)]
pub struct BuildIdHasher;

pub struct IdHasher(u64);

impl std::hash::BuildHasher for BuildIdHasher {
    type Hasher = IdHasher;
    fn build_hasher(&self) -> IdHasher {
        IdHasher(0)
    }
}

impl std::hash::Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }
    fn write_u64(&mut self, n: u64) {
        let mixed = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}

impl Kernel {
    pub fn new(topology: &Topology) -> Self {
        let nr_cpus = topology.nr_cpus();
        let local = || Queue::new(abi::DSQ_LOCAL);
        Self {
            known: Vec::new(),
            queues: HashMap::default(),
            locals: (0..nr_cpus).map(|_| local()).collect(),
            current: vec![None; nr_cpus],
            slice_used_ns: vec![0; nr_cpus],
            nohz_full: CpuMask::none(),
            tickless: CpuMask::none(),
            rq_now_ns: vec![0; nr_cpus],
            nr_running: vec![0; nr_cpus],
            idle: Idle::new(topology),
            topology: topology.clone(),
            nodes: (0..nr_cpus)
                .map(|cpu| topology.node_of(cpu) as i32)
                .collect(),
            lock_costs: None,
            locks: LockTotals::default(),
            spent_ns: 0,
            free_ns: vec![0; nr_cpus],
            insertion: None,
            dispatching: false,
            kicks: VecDeque::new(),
            slice_changes: Vec::new(),
            timers: Vec::new(),
            alarms: VecDeque::new(),
            hashes: HashMap::default(),
            removed: Vec::new(),
            ring: VecDeque::new(),
            apart: null(),
            records_apart: Vec::new(),
            user_ring: VecDeque::new(),
            taken: None,
            dump: String::new(),
            operations: 0,
            now_ns: 0,
            cpu: 0,
        }
    }

    /// A task that sleeps; its pid is its number here and 1.
    pub(crate) fn add_task(&mut self, tgid: i32, weight: u32, cpus: *const CpuMask, cpu: usize) {
        let pid = self.known.len() as i32 + 1;
        let mut task = Task::new(pid, tgid, cpus, cpu as i32);
        task.scx.weight = weight;
        self.known.push(Known {
            task: Box::new(task),
            place: None,
            seq: 0,
        });
    }

    pub fn set_vcpu(&mut self, task: usize, vcpu: *const KvmVcpu) {
        self.known[task].task.preempt_notifier = vcpu;
    }

    pub fn task(&mut self, task: usize) -> &mut Task {
        &mut self.known[task].task
    }

    pub fn pointer(&mut self, task: Option<usize>) -> *mut Task {
        task.map_or(null_mut(), |task| &mut *self.known[task].task)
    }

    /// Is it runnable, and neither in a DSQ nor on a CPU?
    pub(crate) fn held(&self, task: usize) -> bool {
        let known = &self.known[task];
        known.task.scx.flags & abi::TASK_QUEUED != 0
            && known.task.on_cpu == 0
            && known.place.is_none()
    }

    pub(crate) fn add_queue(&mut self, id: u64) {
        self.queues.insert(id, Queue::new(id));
    }

    /// This CPU takes the lock of `dsq`, and passes over that many tasks before it has what it
    /// looks for. Local DSQs have none of their own.
    fn lock(&mut self, dsq: u64, passed: u64) {
        let Some(costs) = self.lock_costs else {
            return;
        };
        let Some(queue) = self.queues.get_mut(&dsq) else {
            return;
        };
        let times = (self.now_ns, self.now_ns.max(self.free_ns[self.cpu]));
        let (waited_ns, ns) = queue
            .lock
            .take(self.cpu, times, passed, &costs, &self.topology);
        self.locks.acquisitions += 1;
        self.locks.waited_ns += waited_ns;
        self.spend(ns);
    }

    /// This CPU looks at `dsq` without its lock.
    fn look(&mut self, dsq: u64) {
        if let (Some(costs), Some(queue)) = (self.lock_costs, self.queues.get(&dsq)) {
            let ns = queue.lock.read(self.cpu, &costs, &self.topology);
            self.spend(ns);
        }
    }

    fn spend(&mut self, ns: u64) {
        let free_ns = &mut self.free_ns[self.cpu];
        *free_ns = self.now_ns.max(*free_ns) + ns;
        self.locks.spent_ns += ns;
        self.spent_ns += ns;
    }

    fn queue(&mut self, id: u64) -> &mut Queue {
        self.queues
            .get_mut(&id)
            .unwrap_or_else(|| panic!("no DSQ {id:#x}"))
    }

    /// The CPU whose local DSQ `id` is, when used on `cpu`.
    pub(crate) fn local_cpu(&self, id: u64, cpu: usize) -> Option<usize> {
        if id == abi::DSQ_LOCAL {
            Some(cpu)
        } else if id & abi::DSQ_LOCAL_ON == abi::DSQ_LOCAL_ON {
            Some((id & 0xffff_ffff) as usize)
        } else {
            None
        }
    }

    pub fn enqueue_local(&mut self, task: usize, cpu: usize, flags: u64) {
        assert!(
            self.topology.is_online(cpu),
            "task {task} is put on CPU {cpu}, which is offline"
        );
        self.migrate(task, cpu);
        let queue = &mut self.locals[cpu];
        let place = queue.dsq.insert(task, 0, flags & abi::ENQ_HEAD != 0);
        let id = &raw const *queue.id;
        let known = &mut self.known[task];
        assert!(known.place.is_none(), "task {task} waits in two DSQs");
        known.place = Some((abi::DSQ_LOCAL, place));
        known.task.scx.dsq = id;
        self.operations += 1;
        if flags & abi::ENQ_PREEMPT != 0 {
            self.kicks.push_back((cpu, abi::KICK_PREEMPT));
        } else if self.current[cpu].is_none() {
            self.kicks.push_back((cpu, abi::KICK_IDLE));
        }
    }

    pub(crate) fn migrate(&mut self, task: usize, cpu: usize) {
        let p = &mut self.known[task].task;
        let from = std::mem::replace(&mut p.cpu, cpu as i32) as usize;
        if from != cpu && p.scx.flags & abi::TASK_QUEUED != 0 {
            self.nr_running[from] -= 1;
            self.nr_running[cpu] += 1;
        }
    }

    pub fn insert(&mut self, task: usize, dsq: u64, vtime: u64, flags: u64) {
        let cpu = self.known[task].task.cpu as usize;
        if let Some(cpu) = self.local_cpu(dsq, cpu) {
            return self.enqueue_local(task, cpu, flags);
        }
        self.lock(dsq, 0);
        let queue = self.queue(dsq);
        let place = queue.dsq.insert(task, vtime, false);
        queue.seq += 1;
        let (id, seq) = (&raw const *queue.id, queue.seq);
        let known = &mut self.known[task];
        assert!(known.place.is_none(), "task {task} waits in two DSQs");
        known.seq = seq;
        known.place = Some((dsq, place));
        known.task.scx.dsq = id;
        known.task.scx.dsq_vtime = vtime;
        self.operations += 1;
    }

    /// Takes `task` out of the DSQ that it waits in.
    pub fn remove(&mut self, task: usize) {
        let Some((dsq, place)) = self.known[task].place.take() else {
            return;
        };
        self.known[task].task.scx.dsq = null();
        let cpu = self.known[task].task.cpu as usize;
        match self.local_cpu(dsq, cpu) {
            Some(cpu) => self.locals[cpu].dsq.remove(place),
            None => self.queue(dsq).dsq.remove(place),
        }
        self.operations += 1;
    }

    pub fn local_first(&self, cpu: usize) -> Option<usize> {
        self.locals[cpu].dsq.after(None)
    }

    /// The first of `dsq` that may run on `cpu` goes to that CPU's local DSQ.
    fn move_to_local(&mut self, dsq: u64, cpu: usize) -> bool {
        let queue = &self.queues[&dsq];
        let mut looked_at = 0;
        let first = queue.dsq.iter().find(|&task| {
            looked_at += 1;
            self.may_run_on(task, cpu)
        });
        self.operations += looked_at;
        match looked_at {
            0 => self.look(dsq),
            _ => self.lock(dsq, looked_at - 1),
        }
        let Some(task) = first else {
            return false;
        };
        self.remove(task);
        self.enqueue_local(task, cpu, 0);
        true
    }

    pub(crate) fn may_run_on(&self, task: usize, cpu: usize) -> bool {
        // SAFETY: as in `add_task()`.
        unsafe { &*self.known[task].task.cpus }.has(cpu)
    }

    /// Charges the slice of the task that runs on `cpu`.
    pub fn use_slice(&mut self, cpu: usize) {
        let used = self.now_ns - self.slice_used_ns[cpu];
        self.slice_used_ns[cpu] = self.now_ns;
        if let Some(task) = self.current[cpu] {
            let scx = &mut self.known[task].task.scx;
            if scx.slice_ns != abi::SLICE_INF {
                scx.slice_ns = scx.slice_ns.saturating_sub(used);
            }
        }
    }

    /// When the slice of the task that runs on `cpu` will be over, if a tick is to find that.
    pub fn slice_end_ns(&self, cpu: usize) -> Option<u64> {
        let task = self.current[cpu]?;
        let slice_ns = self.known[task].task.scx.slice_ns;
        (slice_ns != abi::SLICE_INF && !self.tickless.has(cpu))
            .then(|| self.slice_used_ns[cpu] + slice_ns)
    }

    /// The timer that is to fire; None: it has been started again since.
    pub(crate) fn due(&self, alarm: Alarm) -> Option<*mut Timer> {
        let (timer, started) = self.timers[alarm.timer as usize];
        (started == alarm.started).then_some(timer)
    }

    /// The first record, if it has been submitted.
    pub fn ring_next(&mut self) -> Option<Record> {
        let (_, submitted) = self.ring.front()?;
        submitted
            .then(|| self.ring.pop_front())?
            .map(|(record, _)| record)
    }

    /// The DSQ that `task` waits in.
    pub(crate) fn dsq_of(&self, task: usize) -> Option<u64> {
        self.known[task].place.map(|(dsq, _)| dsq)
    }

    /// Does `task` wait in the DSQ of `it`, and has it not been inserted since that began?
    pub(crate) fn iterates(&self, it: &DsqIter, task: usize) -> bool {
        self.dsq_of(task) == Some(it.dsq) && self.known[task].seq <= it.seq
    }

    /// Tasks of `dsq`, in order.
    pub(crate) fn tasks_in(&self, dsq: u64) -> impl Iterator<Item = usize> {
        self.queues[&dsq].dsq.iter()
    }

    pub(crate) fn has_dsq(&self, dsq: u64) -> bool {
        self.queues.contains_key(&dsq)
    }

    /// Applies what `it` changes to `task`, which moves.
    pub(crate) fn change(&mut self, it: &DsqIter, task: usize, set_vtime: bool) -> u64 {
        let scx = &mut self.known[task].task.scx;
        if it.slice_ns != abi::SAME {
            scx.slice_ns = it.slice_ns;
        }
        if set_vtime && it.vtime != abi::SAME {
            it.vtime
        } else {
            scx.dsq_vtime
        }
    }

    /// An entry of a hash map of the scheduler's.
    pub fn hash_entry<T>(&self, map: *const c_void, key: u64) -> Option<&T> {
        let value = self.hashes.get(&(map as usize, key))?;
        // SAFETY: as large as a `T`, and aligned to eight bytes.
        Some(unsafe { &*value.as_ptr().cast() })
    }

    pub(crate) fn nodes(&self) -> *const i32 {
        self.nodes.as_ptr()
    }

    /// Is `cpu` online?
    pub(crate) fn is_online(&self, cpu: usize) -> bool {
        self.topology.is_online(cpu)
    }
}

/// The table, with all functions but nothing else.
pub fn functions() -> Host {
    Host {
        kernel: null_mut(),
        now_ns: 0,
        rq_now_ns: 0,
        cpu: 0,
        nr_cpus: 0,
        current: null_mut(),
        online: null(),
        idle: null(),
        idle_cores: null(),
        nodes: null(),
        dsq_create,
        dsq_insert,
        dsq_move,
        dsq_move_to_local,
        dsq_peek,
        dsq_iterate,
        dsq_next,
        dsq_end,
        dsq_nr_queued,
        kick_cpu,
        claim_idle,
        pick_idle,
        select_idle,
        set_slice,
        task_from_pid,
        cgroup_from_id,
        reenqueue_local,
        hash,
        ring_reserve,
        ring_submit,
        ring_used,
        user_ring_next,
        timer_start,
        point,
        dump,
        error,
    }
}

/// The simulator holds no reference to its kernel while it calls the scheduler, and
/// one thread does all.
fn this<'a>(kernel: *mut c_void) -> &'a mut Kernel {
    // SAFETY: see above; ext.rs sets the pointer.
    unsafe { &mut *kernel.cast::<Kernel>() }
}

pub(crate) fn index(task: *mut Task) -> usize {
    // SAFETY: the scheduler has it from us.
    (unsafe { (*task).pid } - 1) as usize
}

extern "C" fn dsq_create(kernel: *mut c_void, dsq: u64) -> c_int {
    this(kernel).add_queue(dsq);
    0
}

extern "C" fn dsq_insert(
    kernel: *mut c_void,
    task: *mut Task,
    dsq: u64,
    slice_ns: u64,
    vtime: u64,
    flags: u64,
) {
    let task = index(task);
    let kernel = this(kernel);
    if kernel.dispatching {
        if kernel.held(task) {
            kernel.task(task).scx.slice_ns = slice_ns;
            kernel.insert(task, dsq, vtime, flags);
        }
        return;
    }
    kernel.task(task).scx.slice_ns = slice_ns;
    let insertion = Insertion {
        task,
        dsq,
        vtime,
        flags,
    };
    assert!(
        kernel.insertion.replace(insertion).is_none(),
        "inserted twice"
    );
}

extern "C" fn dsq_move(
    kernel: *mut c_void,
    it: *mut DsqIter,
    task: *mut Task,
    to: u64,
    set_vtime: bool,
    flags: u64,
) -> bool {
    let task = index(task);
    let kernel = this(kernel);
    let it = iterator(it);
    kernel.lock(it.dsq, 0);
    if !kernel.iterates(it, task) {
        return false;
    }
    kernel.remove(task);
    let vtime = kernel.change(it, task, set_vtime);
    // The local DSQ is that of this CPU here, of the task's when it is enqueued.
    match kernel.local_cpu(to, kernel.cpu) {
        Some(cpu) => kernel.enqueue_local(task, cpu, flags),
        None => kernel.insert(task, to, vtime, flags),
    }
    true
}

extern "C" fn dsq_move_to_local(kernel: *mut c_void, dsq: u64) -> bool {
    let kernel = this(kernel);
    kernel.move_to_local(dsq, kernel.cpu)
}

pub(crate) fn iterator<'a>(it: *mut DsqIter) -> &'a mut DsqIter {
    // SAFETY: shim/kfuncs.h passes one of its own stack.
    unsafe { &mut *it }
}

extern "C" fn dsq_peek(kernel: *mut c_void, dsq: u64) -> *mut Task {
    let kernel = this(kernel);
    kernel.operations += 1;
    kernel.look(dsq);
    let first = kernel.queues[&dsq].dsq.after(None);
    kernel.pointer(first)
}

extern "C" fn dsq_iterate(kernel: *mut c_void, it: *mut DsqIter) {
    let it = iterator(it);
    it.seq = this(kernel).queues[&it.dsq].seq;
}

extern "C" fn dsq_next(kernel: *mut c_void, it: *mut DsqIter) -> *mut Task {
    let kernel = this(kernel);
    let it = iterator(it);
    kernel.lock(it.dsq, 0);
    loop {
        kernel.operations += 1;
        let place = it.started.then_some((it.place[0], it.place[1]));
        let Some(next) = kernel.queues[&it.dsq].dsq.after(place) else {
            it.linked = false;
            return null_mut();
        };
        let (_, place) = kernel.known[next].place.expect("it waits");
        it.started = true;
        it.linked = true;
        it.place = [place.0, place.1];
        if kernel.iterates(it, next) {
            return kernel.pointer(Some(next));
        }
    }
}

extern "C" fn dsq_end(kernel: *mut c_void, it: *mut DsqIter) {
    let it = iterator(it);
    if it.linked {
        this(kernel).lock(it.dsq, 0);
    }
}

extern "C" fn dsq_nr_queued(kernel: *mut c_void, dsq: u64) -> i32 {
    let kernel = this(kernel);
    kernel.look(dsq);
    let queue = match kernel.local_cpu(dsq, kernel.cpu) {
        Some(cpu) => &kernel.locals[cpu],
        None => &kernel.queues[&dsq],
    };
    queue.dsq.len() as i32
}

extern "C" fn kick_cpu(kernel: *mut c_void, cpu: i32, flags: u64) {
    this(kernel).kicks.push_back((cpu as usize, flags));
}

extern "C" fn claim_idle(kernel: *mut c_void, cpu: i32) -> bool {
    let kernel = this(kernel);
    kernel.operations += 1;
    usize::try_from(cpu).is_ok_and(|cpu| kernel.idle.claim(cpu))
}

fn or_busy(cpu: Option<usize>) -> i32 {
    const EBUSY: i32 = 16;
    cpu.map_or(-EBUSY, |cpu| cpu as i32)
}

extern "C" fn pick_idle(kernel: *mut c_void, allowed: *const CpuMask, flags: u64) -> i32 {
    let kernel = this(kernel);
    kernel.operations += 1;
    // SAFETY: a mask of a task's or of the host's.
    let allowed = unsafe { &*allowed };
    or_busy(kernel.idle.pick_any(allowed, flags, kernel.cpu))
}

extern "C" fn select_idle(
    kernel: *mut c_void,
    prev: i32,
    allowed: *const CpuMask,
    flags: u64,
) -> i32 {
    let kernel = this(kernel);
    kernel.operations += 1;
    // SAFETY: as above.
    let allowed = unsafe { &*allowed };
    or_busy(
        kernel
            .idle
            .select(prev as usize, allowed, flags, kernel.cpu),
    )
}

extern "C" fn set_slice(kernel: *mut c_void, task: *mut Task, slice_ns: u64) {
    let task = index(task);
    let kernel = this(kernel);
    let p = kernel.task(task);
    let cpu = p.cpu as usize;
    p.scx.slice_ns = slice_ns;
    if kernel.current[cpu] == Some(task) {
        kernel.slice_used_ns[cpu] = kernel.now_ns;
        kernel.slice_changes.push(cpu);
    }
}

extern "C" fn task_from_pid(kernel: *mut c_void, pid: i32) -> *mut Task {
    let kernel = this(kernel);
    let task = (pid as usize).wrapping_sub(1);
    kernel.pointer((task < kernel.known.len()).then_some(task))
}

/// The host has one cgroup, the root.
extern "C" fn cgroup_from_id(_kernel: *mut c_void, _id: u64) -> *const abi::Cgroup {
    null()
}

/// No CPU is taken by another class.
extern "C" fn reenqueue_local(_kernel: *mut c_void) {}

extern "C" fn hash(
    kernel: *mut c_void,
    map: *mut c_void,
    key: u64,
    size: usize,
    what: c_int,
) -> *mut c_void {
    let kernel = this(kernel);
    let key = (map as usize, key);
    match what {
        abi::HASH_FIND => kernel
            .hashes
            .get_mut(&key)
            .map_or(null_mut(), |value| value.as_mut_ptr().cast()),
        abi::HASH_MAKE => kernel
            .hashes
            .entry(key)
            .or_insert_with(|| vec![0; size.div_ceil(8)].into())
            .as_mut_ptr()
            .cast(),
        _ => {
            // As with RCU, what another CPU has found stays there for a while.
            let removed = kernel.hashes.remove(&key);
            kernel.removed.extend(removed);
            null_mut()
        }
    }
}

extern "C" fn ring_reserve(kernel: *mut c_void, ring: *const c_void, size: usize) -> *mut c_void {
    let kernel = this(kernel);
    if ring == kernel.apart {
        kernel.records_apart.push(Record::zeroed(size));
        let last = kernel.records_apart.last_mut();
        return last.map_or(null_mut(), Record::pointer);
    }
    if (kernel.ring.len() + 1) * (size + HEADER_BYTES) > RING_RECORDS * size {
        return null_mut();
    }
    kernel.ring.push_back((Record::zeroed(size), false));
    kernel
        .ring
        .back_mut()
        .map_or(null_mut(), |(record, _)| record.pointer())
}

extern "C" fn ring_submit(kernel: *mut c_void, record: *mut c_void) {
    let kernel = this(kernel);
    let last = kernel.records_apart.last();
    if last.is_some_and(|last| last.0.as_ptr().cast() == record.cast_const()) {
        return;
    }
    let ring = &mut kernel.ring;
    let reserved = ring
        .iter_mut()
        .rev()
        .find(|(one, _)| one.0.as_ptr().cast() == record.cast_const());
    reserved.expect("it was reserved").1 = true;
}

extern "C" fn ring_used(kernel: *mut c_void) -> u64 {
    let bytes = |(record, _): &(Record, bool)| (record.size() + HEADER_BYTES) as u64;
    this(kernel).ring.iter().map(bytes).sum()
}

extern "C" fn user_ring_next(kernel: *mut c_void) -> *mut c_void {
    let kernel = this(kernel);
    kernel.taken = kernel.user_ring.pop_front();
    kernel.taken.as_mut().map_or(null_mut(), Record::pointer)
}

extern "C" fn timer_start(kernel: *mut c_void, timer: *mut Timer, ns: u64, _flags: u64) {
    let kernel = this(kernel);
    let known = kernel.timers.iter().position(|&(known, _)| known == timer);
    let index = known.unwrap_or_else(|| {
        kernel.timers.push((timer, 0));
        kernel.timers.len() - 1
    });
    kernel.timers[index].1 += 1;
    let alarm = Alarm {
        timer: index as u32,
        started: kernel.timers[index].1,
        cpu: kernel.cpu as u32,
    };
    kernel.alarms.push_back((ns, alarm));
}

extern "C" fn point(_kernel: *mut c_void, _call: *const c_char) {}

extern "C" fn dump(kernel: *mut c_void, text: *const c_char) {
    // SAFETY: shim/kfuncs.h ends it with a zero.
    let text = unsafe { CStr::from_ptr(text) };
    this(kernel).dump.push_str(&text.to_string_lossy());
}

extern "C" fn error(_kernel: *mut c_void, text: *const c_char) {
    // SAFETY: shim/kfuncs.h ends it with a zero.
    let text = unsafe { CStr::from_ptr(text) };
    panic!("scx_bpf_error: {}", text.to_string_lossy());
}
