// SPDX-License-Identifier: GPL-2.0-only
//! The structures that the native scheduler and the simulator share, as
//! `shim/types.h` and `shim/host.h` have them; [`LAYOUT`] is compared with what
//! the C compiler made of those when an object is loaded.

use std::ffi::{c_char, c_int, c_void};
use std::mem::{offset_of, size_of};
use std::ptr::{null, null_mut};

pub const MAX_CPUS: usize = 1024;
pub const STORAGES: usize = 4;

pub const TASK_QUEUED: u32 = 1;

pub const PF_EXITING: u32 = 4;
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// Why a CPU is taken (enum scx_cpu_preempt_reason).
pub const PREEMPT_RT: u32 = 0;
pub const PREEMPT_STOP: u32 = 2;

pub const KICK_IDLE: u64 = 1;
pub const KICK_PREEMPT: u64 = 2;

pub const WAKE_TTWU: u64 = 8;

pub const PICK_IDLE_CORE: u64 = 1;

pub const ENQ_WAKEUP: u64 = 1;
pub const ENQ_HEAD: u64 = 0x10;
pub const ENQ_REENQ: u64 = 1 << 40;
pub const ENQ_CPU_SELECTED: u64 = 1 << 10;
pub const ENQ_PREEMPT: u64 = 1 << 32;
pub const ENQ_LAST: u64 = 1 << 41;

pub const DSQ_GLOBAL: u64 = 1 << 63 | 1;
pub const DSQ_LOCAL: u64 = 1 << 63 | 2;
pub const DSQ_LOCAL_ON: u64 = 1 << 63 | 1 << 62;

pub const SLICE_INF: u64 = u64::MAX;

/// "Leave it as it is", of a slice or a virtual time.
pub const SAME: u64 = u64::MAX;

/// `what` of [`Host::hash`].
pub const HASH_FIND: c_int = 0;
pub const HASH_MAKE: c_int = 1;

#[repr(C)]
#[derive(Clone, PartialEq, Eq)]
pub struct CpuMask {
    pub bits: [u64; MAX_CPUS / 64],
}

impl CpuMask {
    pub fn none() -> Self {
        Self {
            bits: [0; MAX_CPUS / 64],
        }
    }

    pub fn of(cpus: impl IntoIterator<Item = usize>) -> Self {
        let mut mask = Self::none();
        cpus.into_iter().for_each(|cpu| mask.set(cpu, true));
        mask
    }

    pub fn set(&mut self, cpu: usize, on: bool) {
        let bit = 1 << (cpu % 64);
        if on {
            self.bits[cpu / 64] |= bit;
        } else {
            self.bits[cpu / 64] &= !bit;
        }
    }

    pub fn has(&self, cpu: usize) -> bool {
        self.bits[cpu / 64] >> (cpu % 64) & 1 == 1
    }

    /// The first CPU of all from `after` on, and then from the beginning.
    pub fn next_common(&self, others: [&Self; 2], after: usize) -> Option<usize> {
        let words = self.bits.len();
        let (word, bit) = (after / 64 % words, after % 64);
        let [a, b] = others;
        (0..=words).find_map(|step| {
            let i = (word + step) % words;
            let all = self.bits[i] & a.bits[i] & b.bits[i];
            let wanted = match step {
                0 => all & u64::MAX << bit,
                _ => all,
            };
            (wanted != 0).then(|| i * 64 + wanted.trailing_zeros() as usize)
        })
    }

    pub fn count(&self) -> usize {
        self.bits.iter().map(|b| b.count_ones() as usize).sum()
    }
}

#[repr(C)]
pub struct Entity {
    pub dsq: *const u64,
    pub dsq_vtime: u64,
    pub slice_ns: u64,
    pub weight: u32,
    pub flags: u32,
}

#[repr(C)]
pub struct Task {
    pub preempt_notifier: *const KvmVcpu,
    pub pid: i32,
    pub tgid: i32,
    pub flags: u32,
    pub nr_cpus_allowed: i32,
    pub cpus: *const CpuMask,
    pub cpu: i32,
    pub on_cpu: i32,
    pub numa_preferred_nid: i32,
    pub migration_disabled: i32,
    pub comm: [u8; 16],
    /// Signals: bit n - 1 is signal n.
    pub pending: u64,
    pub scx: Entity,
    pub storage: [*mut c_void; STORAGES],
}

impl Task {
    /// Asleep, of nice level 0.
    pub(crate) fn new(pid: i32, tgid: i32, cpus: *const CpuMask, cpu: i32) -> Self {
        Self {
            preempt_notifier: null(),
            pid,
            tgid,
            flags: 0,
            // SAFETY: null, or a mask that outlives the task.
            nr_cpus_allowed: unsafe { cpus.as_ref() }.map_or(0, |cpus| cpus.count() as i32),
            cpus,
            cpu,
            on_cpu: 0,
            numa_preferred_nid: -1,
            migration_disabled: 0,
            comm: [0; 16],
            pending: 0,
            scx: Entity {
                dsq: null(),
                dsq_vtime: 0,
                slice_ns: 0,
                weight: 100,
                flags: 0,
            },
            storage: [null_mut(); STORAGES],
        }
    }
}

#[repr(C)]
pub struct KvmVcpu {
    pub preempt_notifier: u64,
    pub kvm: u64,
    pub vcpu_id: i32,
}

/// Its cgroup.
#[repr(C)]
pub struct InitTaskArgs {
    pub cgroup: *const Cgroup,
}

/// The moment of a dump, by CLOCK_MONOTONIC.
#[repr(C)]
pub struct DumpContext {
    pub at_ns: u64,
}

/// cpu.weight, cpu.idle and cpu.max of a cgroup.
#[repr(C)]
pub struct CgroupInitArgs {
    pub weight: u32,
    pub idle: bool,
    pub period_us: u64,
    pub quota_us: u64,
    pub burst_us: u64,
}

#[repr(C)]
pub struct Cgroup {
    pub id: *const u64,
    pub level: i32,
    /// Null: it is the root.
    pub parent: *const Cgroup,
}

/// The table by which the scheduler calls the simulated kernel. `kernel` is the
/// first argument of each function.
#[repr(C)]
pub struct Host {
    pub kernel: *mut c_void,
    pub now_ns: u64,
    /// What the run queue of `cpu` has cached.
    pub rq_now_ns: u64,
    pub cpu: i32,
    pub nr_cpus: i32,
    /// The task that runs on `cpu`; null: none.
    pub current: *mut Task,
    pub online: *const CpuMask,
    pub idle: *const CpuMask,
    /// CPUs of cores that are idle as a whole.
    pub idle_cores: *const CpuMask,
    /// The memory node of each CPU.
    pub nodes: *const i32,

    pub dsq_create: extern "C" fn(*mut c_void, u64) -> c_int,
    /// task, DSQ, slice, vtime, flags
    pub dsq_insert: extern "C" fn(*mut c_void, *mut Task, u64, u64, u64, u64),
    /// iterator, task, to, whether the iterator's vtime is meant, flags
    pub dsq_move: extern "C" fn(*mut c_void, *mut DsqIter, *mut Task, u64, bool, u64) -> bool,
    pub dsq_move_to_local: extern "C" fn(*mut c_void, u64) -> bool,
    /// The first task; null: none.
    pub dsq_peek: extern "C" fn(*mut c_void, u64) -> *mut Task,
    /// An iterator begins.
    pub dsq_iterate: extern "C" fn(*mut c_void, *mut DsqIter),
    /// Its next task; null: none.
    pub dsq_next: extern "C" fn(*mut c_void, *mut DsqIter) -> *mut Task,
    /// The iterator ends.
    pub dsq_end: extern "C" fn(*mut c_void, *mut DsqIter),
    pub dsq_nr_queued: extern "C" fn(*mut c_void, u64) -> i32,
    pub kick_cpu: extern "C" fn(*mut c_void, i32, u64),
    /// Claims that CPU, if it is idle.
    pub claim_idle: extern "C" fn(*mut c_void, i32) -> bool,
    /// Claims an idle CPU of the mask: scx_bpf_pick_idle_cpu(). Flags.
    pub pick_idle: extern "C" fn(*mut c_void, *const CpuMask, u64) -> i32,
    /// previous CPU, mask, flags: scx_bpf_select_cpu_and()
    pub select_idle: extern "C" fn(*mut c_void, i32, *const CpuMask, u64) -> i32,
    pub set_slice: extern "C" fn(*mut c_void, *mut Task, u64),
    pub task_from_pid: extern "C" fn(*mut c_void, i32) -> *mut Task,
    pub cgroup_from_id: extern "C" fn(*mut c_void, u64) -> *const Cgroup,
    /// Of this CPU's local DSQ.
    pub reenqueue_local: extern "C" fn(*mut c_void),
    /// map, key, size of a value, `HASH_*`
    pub hash: extern "C" fn(*mut c_void, *mut c_void, u64, usize, c_int) -> *mut c_void,
    pub ring_reserve: extern "C" fn(*mut c_void, *const c_void, usize) -> *mut c_void,
    pub ring_submit: extern "C" fn(*mut c_void, *mut c_void),
    pub ring_used: extern "C" fn(*mut c_void) -> u64,
    pub user_ring_next: extern "C" fn(*mut c_void) -> *mut c_void,
    /// timer, ns from now, flags
    pub timer_start: extern "C" fn(*mut c_void, *mut Timer, u64, u64),
    /// A call into the kernel, or an atomic operation, is about to happen; with
    /// `SIM_POINTS` only.
    pub point: extern "C" fn(*mut c_void, *const c_char),
    /// A part of a dump.
    pub dump: extern "C" fn(*mut c_void, *const c_char),
    pub error: extern "C" fn(*mut c_void, *const c_char),
}

/// An iterator over a DSQ, and what the next move through it is to change.
#[repr(C)]
pub struct DsqIter {
    pub dsq: u64,
    pub slice_ns: u64,
    pub vtime: u64,
    /// Of the DSQ, when the iterator began: tasks that were inserted later are not seen.
    pub seq: u64,
    /// Where the last task was found.
    pub place: [i64; 2],
    pub started: bool,
    /// It stands in the DSQ, behind that task.
    pub linked: bool,
}

/// A timer of the BPF part; the first member of its map's value.
#[repr(C)]
pub struct Timer {
    pub callback: extern "C" fn(*mut c_void, *mut u32, *mut Timer) -> c_int,
}

pub const TIMER_CPU_PIN: u64 = 2;

/// A program of the scheduler's; its first argument is unused.
type Context = *mut c_void;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ops {
    pub select_cpu: extern "C" fn(Context, *mut Task, i32, u64) -> i32,
    pub enqueue: extern "C" fn(Context, *mut Task, u64),
    pub dispatch: extern "C" fn(Context, i32, *mut Task),
    pub runnable: Option<extern "C" fn(Context, *mut Task, u64)>,
    pub running: extern "C" fn(Context, *mut Task),
    pub stopping: extern "C" fn(Context, *mut Task, bool),
    pub yields: Option<extern "C" fn(Context, *mut Task, *mut Task) -> bool>,
    pub core_sched_before: Option<extern "C" fn(Context, *mut Task, *mut Task) -> bool>,
    pub enable: extern "C" fn(Context, *mut Task),
    pub disable: Option<extern "C" fn(Context, *mut Task)>,
    pub init_task: extern "C" fn(Context, *mut Task, *const InitTaskArgs) -> i32,
    pub exit_task: Option<extern "C" fn(Context, *mut Task, *mut c_void)>,
    pub dump: Option<extern "C" fn(Context, *const DumpContext)>,
    pub dump_cpu: Option<extern "C" fn(Context, *const DumpContext, i32, bool)>,
    pub dump_task: Option<extern "C" fn(Context, *const DumpContext, *mut Task)>,
    pub cgroup_init: Option<extern "C" fn(Context, *const Cgroup, *const CgroupInitArgs) -> i32>,
    pub cgroup_exit: Option<extern "C" fn(Context, *const Cgroup)>,
    pub cgroup_move: Option<extern "C" fn(Context, *mut Task, *const Cgroup, *const Cgroup)>,
    pub cgroup_set_weight: Option<extern "C" fn(Context, *const Cgroup, u32)>,
    /// cgroup, period, quota, burst; in us
    pub cgroup_set_bandwidth: Option<extern "C" fn(Context, *const Cgroup, u64, u64, u64)>,
    pub cgroup_set_idle: Option<extern "C" fn(Context, *const Cgroup, bool)>,
    pub cpu_online: Option<extern "C" fn(Context, i32)>,
    pub cpu_offline: Option<extern "C" fn(Context, i32)>,
    pub cpu_release: Option<extern "C" fn(Context, i32, *const u32)>,
    pub update_idle: Option<extern "C" fn(Context, i32, bool)>,
    pub init: extern "C" fn(Context) -> i32,
    pub exit: *mut c_void,
    pub timeout_ms: u32,
    pub dispatch_max_batch: u32,
    pub name: *const c_char,
}

pub const NO_CONTEXT: Context = null_mut();

/// Sizes and offsets, in the order of `shim/check.h`.
pub const LAYOUT: [usize; 14] = [
    size_of::<Task>(),
    offset_of!(Task, cpus),
    offset_of!(Task, cpu),
    offset_of!(Task, scx),
    offset_of!(Task, scx.flags),
    offset_of!(Task, storage),
    size_of::<KvmVcpu>(),
    offset_of!(KvmVcpu, vcpu_id),
    size_of::<Host>(),
    offset_of!(Host, current),
    offset_of!(Host, dsq_create),
    offset_of!(Host, error),
    size_of::<Ops>(),
    offset_of!(Ops, init),
];
