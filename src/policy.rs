// SPDX-License-Identifier: GPL-2.0-only
//! Which vCPU deserves a CPU next, and for how long.
//!
//! Weighted virtual time: a vCPU pays for CPU time with *vruntime*, at a rate of
//! 1/weight, and is served by *deadline*, the vruntime at which it will have
//! had one slice more; ties go to whoever came first. A CPU's *clock* is the
//! vruntime that those who compete for it have come to; a vCPU arrives with that
//! of the CPU it left. Nobody's lag behind or ahead of it exceeds a bound
//! ([`lag_bounds`]), so that a debt (of a vCPU that yielded, say) is forgotten once it
//! is that old, and nobody has more credit than the order of deadlines makes him wait.
//!
//! vCPUs are grouped by VM: the policy knows which vCPU is whose, counts what
//! each VM was given, and forgets a VM with its last vCPU.
//!
//! Plain values in, plain values out: times are in nanoseconds, virtual times in
//! nanoseconds of a task of [`DEFAULT_WEIGHT`]. They wrap around, and are compared as
//! the kernel compares them, by the sign of the difference. After warm-up
//! nothing allocates; a decision costs O(log n).

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// Weight of a task at nice 0, which pays vruntime 1:1. `VMLAND_NICE_0` of
/// `bpf/intf.h`.
pub const DEFAULT_WEIGHT: u64 = 102_400;

/// Largest credit, in slices of the vCPU. `bpf/vtime.bpf.h` bounds it alike.
pub const CREDIT_SLICES: u64 = 2;

/// Largest debt, likewise.
pub const DEBT_SLICES: u64 = 3;

/// Most that a vCPU may lag behind and be ahead of the clock, as virtual times:
/// [`CREDIT_SLICES`] and [`DEBT_SLICES`] slices.
pub fn lag_bounds(slice_ns: u64, weight: u64) -> (u64, u64) {
    let slice = weighted(slice_ns, weight);
    (CREDIT_SLICES * slice, DEBT_SLICES * slice)
}

/// `ns` of CPU time as vruntime of a task of `weight`.
pub fn weighted(ns: u64, weight: u64) -> u64 {
    ns * DEFAULT_WEIGHT / weight.max(1)
}

/// Identity of a VM, never reused while the scheduler runs.
pub type VmId = u32;

/// A vCPU that used up its slice and waits for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub pid: i32,
    /// Its part of its VM's weight, as `bpf/params.bpf.h` finds it;
    /// [`DEFAULT_WEIGHT`] for an ordinary task at nice 0.
    pub weight: u64,
    /// Time slice, in ns, as its VM's settings have it.
    pub slice_ns: u64,
    /// After it has paid for what it ran.
    pub vruntime: u64,
    /// The vruntime that those who compete for its CPU have come to.
    pub clock: u64,
    /// Length of its last run, in ns.
    pub ran_ns: u64,
    /// Handed back with the decision, so that a stale one can be told.
    pub generation: u64,
}

/// What is to become of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub pid: i32,
    /// Its place in line.
    pub deadline: u64,
    pub slice_ns: u64,
    pub generation: u64,
}

/// What a VM was given, as far as the policy has seen it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmAccount {
    pub vcpus: u32,
    /// CPU time of its vCPUs' full slices, in ns.
    pub served_ns: u64,
}

pub struct Policy {
    waiting: BinaryHeap<Waiting>,
    arrivals: u64,
    vm_of: HashMap<i32, VmId>,
    vms: HashMap<VmId, VmAccount>,
}

impl Policy {
    /// A policy that does not allocate up to `capacity` vCPUs.
    pub fn new(capacity: usize) -> Self {
        Self {
            waiting: BinaryHeap::with_capacity(capacity),
            arrivals: 0,
            vm_of: HashMap::with_capacity(capacity),
            vms: HashMap::with_capacity(capacity),
        }
    }

    /// Thread `pid` is a vCPU of `vm`.
    pub fn vcpu_seen(&mut self, pid: i32, vm: VmId) {
        self.vcpu_gone(pid);
        self.vm_of.insert(pid, vm);
        self.vms.entry(vm).or_default().vcpus += 1;
    }

    /// Thread `pid` is no vCPU any more. Unknown ones are fine.
    pub fn vcpu_gone(&mut self, pid: i32) {
        let Some(vm) = self.vm_of.remove(&pid) else {
            return;
        };
        if let Some(account) = self.vms.get_mut(&vm) {
            account.vcpus -= 1;
            if account.vcpus == 0 {
                self.vms.remove(&vm);
            }
        }
    }

    pub fn account(&self, vm: VmId) -> Option<VmAccount> {
        self.vms.get(&vm).copied()
    }

    /// Takes a vCPU into the line.
    pub fn enqueue(&mut self, arrival: Arrival) {
        if let Some(account) = self
            .vm_of
            .get(&arrival.pid)
            .and_then(|vm| self.vms.get_mut(vm))
        {
            account.served_ns += arrival.ran_ns;
        }
        let slice_ns = arrival.slice_ns;
        let vruntime = bound_lag(&arrival);
        self.waiting.push(Waiting {
            arrived: self.arrivals,
            decision: Decision {
                pid: arrival.pid,
                deadline: vruntime.wrapping_add(weighted(slice_ns, arrival.weight)),
                slice_ns,
                generation: arrival.generation,
            },
        });
        self.arrivals += 1;
    }

    /// The most deserving vCPU, which leaves the line.
    pub fn take(&mut self) -> Option<Decision> {
        self.waiting.pop().map(|first| first.decision)
    }

    /// The most deserving vCPU, which stays where it is.
    pub fn peek(&self) -> Option<&Decision> {
        self.waiting.peek().map(|first| &first.decision)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

fn bound_lag(arrival: &Arrival) -> u64 {
    let (credit, debt) = lag_bounds(arrival.slice_ns, arrival.weight);
    let least = arrival.clock.wrapping_sub(credit);
    let most = arrival.clock.wrapping_add(debt);
    if after(least, arrival.vruntime) {
        least
    } else if after(arrival.vruntime, most) {
        most
    } else {
        arrival.vruntime
    }
}

/// Virtual times wrap around: `a` is after `b` if it is less than half the range
/// ahead.
fn after(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) > 0
}

#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    arrived: u64,
    decision: Decision,
}

/// The greatest is served first: earliest deadline, then first come.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        let ahead = self.decision.deadline.wrapping_sub(other.decision.deadline) as i64;
        0.cmp(&ahead).then(other.arrived.cmp(&self.arrived))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
