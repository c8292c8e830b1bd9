// SPDX-License-Identifier: GPL-2.0-only
//! What the host keeps of its VMs and their vCPUs: the load and how far it has come
//! (`guest.rs`), and what KVM remembers of pause exits (`kvm.rs`).

use std::collections::VecDeque;

use crate::scheduler::TaskId;

/// What all vCPUs of a VM do. Times are in ns, and vary by a quarter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// A ticket lock that is waited for by spinning. Work: an acquisition.
    Lock { held_ns: u64, outside_ns: u64 },
    /// munmap(): under a lock that is waited for asleep, IPIs to all siblings that are
    /// not idle, and spinning until all have answered. Work: a munmap.
    Tlb { held_ns: u64, outside_ns: u64 },
    /// Ping-pong in pairs that wait asleep. Work: a round trip.
    Message { each_ns: u64 },
    /// Meet, spinning. Work: a barrier that all have passed.
    Barrier { between_ns: u64 },
    /// Compute. Work: a chunk.
    Cpu { chunk_ns: u64 },
    /// Sleep until a tick. Work: a wake-up.
    Latency { period_ns: u64, each_ns: u64 },
    /// Hostile: spin for nothing, so that every pause exit asks for a yield.
    YieldStorm,
    /// Hostile: IPIs to the next sibling, without a pause.
    IpiStorm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Compute(u64),
    Spin,
    Sleep,
    /// A round of the scheduler's user space, and what is left of it; 0: it begins.
    Round(u64),
}

/// What a vCPU is up to.
#[derive(Clone, Debug, Default)]
pub struct Vcpu {
    pub(crate) phase: u8,
    pub(crate) ticket: u64,
    /// Who has sent it IPIs that it has not taken yet, and what it handles now.
    pub(crate) irqs: Vec<TaskId>,
    pub(crate) handling: Vec<TaskId>,
    pub(crate) answers_due: usize,
    pub(crate) messages: u32,
    pub(crate) due_ns: u64,
    /// Of a task that is no vCPU: how long it sleeps and works, on average; None: it
    /// computes.
    pub(crate) helper_ns: Option<(u64, u64)>,
    /// Would be found in the guest's kernel, were it preempted.
    pub in_kernel: bool,
}

pub struct Vm {
    pub load: Load,
    pub vcpus: Vec<TaskId>,
    pub work: u64,
    /// The node of its memory; None: no vCPU has run yet.
    pub memory: Option<usize>,
    /// CPU time that its vCPUs had had on the node of its memory, and on others, when each of them
    /// was last scheduled, in ns.
    pub(crate) local_ns: u64,
    pub(crate) remote_ns: u64,
    /// How late wake-ups were, in ns.
    pub late_ns: Vec<u64>,
    /// KVM's memory of whom it boosted last.
    pub last_boosted: usize,
    pub(crate) next_ticket: u64,
    pub(crate) serving: u64,
    pub(crate) waiting: VecDeque<TaskId>,
    pub(crate) locked: bool,
    pub(crate) arrived: usize,
    pub(crate) round: u64,
}

/// What KVM remembers of a vCPU (kvm_vcpu.spin_loop).
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin {
    pub(crate) in_loop: bool,
    pub(crate) eligible: bool,
    /// It has yielded from a pause exit, and is still in there.
    pub(crate) returns: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub pause_exits: u64,
    pub yields_asked: u64,
    pub yields_accepted: u64,
}
