// SPDX-License-Identifier: GPL-2.0-only
//! Which vCPU gets a CPU next, and for how long.
//!
//! Weighted virtual time, as in the BPF part (`bpf/vtime/vtime.bpf.h`). A vCPU is charged
//! for CPU time with *vruntime*, at a rate of 1/weight. vCPUs are served by *deadline*: the
//! vruntime that a vCPU will have after one more slice. Equal deadlines are served in the
//! order of arrival. The *vtime* of a CPU is the vruntime that the tasks which compete for
//! it have come to. The lag of a vCPU, the distance of its vruntime from the vtime of the CPU
//! that it left, is bounded on both sides ([`lag_bounds`]). So a debt (of a yielder, for
//! example) does not outlive its reason, and a credit is no larger than what the order of
//! deadlines makes a vCPU wait.
//!
//! The policy takes plain values and returns plain values. Times are in nanoseconds. Virtual
//! times are in nanoseconds of a task of [`DEFAULT_WEIGHT`]; they wrap around, and are
//! compared as in the kernel, by the sign of their difference. After warm-up nothing
//! allocates. A decision costs O(log n).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Weight of a task at nice 0, for which 1 ns of CPU time is 1 ns of vruntime.
/// `VMLAND_NICE_0` of `bpf/intf.h`.
pub const DEFAULT_WEIGHT: u64 = 102_400;

/// Largest credit, in slices of the vCPU. `bpf/vtime/vtime.bpf.h` has the same bounds, and
/// the reasons.
pub const CREDIT_SLICES: u64 = 2;

/// Largest debt, likewise.
pub const DEBT_SLICES: u64 = 3;

/// Largest credit and largest debt of a vCPU, as virtual times: [`CREDIT_SLICES`] and
/// [`DEBT_SLICES`] slices.
pub fn lag_bounds(slice_ns: u64, weight: u64) -> (u64, u64) {
    let slice = ns_to_vtime(slice_ns, weight);
    (CREDIT_SLICES * slice, DEBT_SLICES * slice)
}

/// `ns` of CPU time as vruntime of a task of `weight`.
pub fn ns_to_vtime(ns: u64, weight: u64) -> u64 {
    ns * DEFAULT_WEIGHT / weight.max(1)
}

/// A vCPU that used up its slice and waits for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub pid: i32,
    /// Its effective weight, which is a part of its VM's (`bpf/params/effective.bpf.h`);
    /// [`DEFAULT_WEIGHT`] for an ordinary task at nice 0.
    pub weight: u64,
    /// Its slice, in ns, by the settings of its VM.
    pub slice_ns: u64,
    /// Its vruntime, after it was charged for its last run.
    pub vruntime: u64,
    /// The vtime of the CPU that it left.
    pub vtime: u64,
    /// Returned with the decision, by which the BPF part recognises a stale one.
    pub generation: u64,
}

/// What the policy has decided about a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub pid: i32,
    /// By which it is sorted into its queue.
    pub deadline: u64,
    pub slice_ns: u64,
    pub generation: u64,
}

pub struct Policy {
    waiting: BinaryHeap<Waiting>,
    arrivals: u64,
}

impl Policy {
    /// A policy that does not allocate up to `capacity` vCPUs.
    pub fn new(capacity: usize) -> Self {
        Self {
            waiting: BinaryHeap::with_capacity(capacity),
            arrivals: 0,
        }
    }

    /// Adds a vCPU to those that wait for a decision.
    pub fn enqueue(&mut self, arrival: Arrival) {
        let slice_ns = arrival.slice_ns;
        let vruntime = bound_lag(&arrival);
        self.waiting.push(Waiting {
            arrived: self.arrivals,
            decision: Decision {
                pid: arrival.pid,
                deadline: vruntime.wrapping_add(ns_to_vtime(slice_ns, arrival.weight)),
                slice_ns,
                generation: arrival.generation,
            },
        });
        self.arrivals += 1;
    }

    /// The decision about the vCPU with the earliest deadline, which is removed.
    pub fn take(&mut self) -> Option<Decision> {
        self.waiting.pop().map(|first| first.decision)
    }

    /// The same decision, which remains.
    pub fn peek(&self) -> Option<&Decision> {
        self.waiting.peek().map(|first| &first.decision)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

fn bound_lag(arrival: &Arrival) -> u64 {
    let (credit, debt) = lag_bounds(arrival.slice_ns, arrival.weight);
    let least = arrival.vtime.wrapping_sub(credit);
    let most = arrival.vtime.wrapping_add(debt);
    if after(least, arrival.vruntime) {
        least
    } else if after(arrival.vruntime, most) {
        most
    } else {
        arrival.vruntime
    }
}

/// Virtual times wrap around: `a` is after `b` if it is less than half of the range
/// larger.
fn after(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) > 0
}

#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    arrived: u64,
    decision: Decision,
}

/// The greatest is served first: the earliest deadline, then the earliest arrival.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        let later = self.decision.deadline.wrapping_sub(other.decision.deadline) as i64;
        0.cmp(&later).then(other.arrived.cmp(&self.arrived))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
