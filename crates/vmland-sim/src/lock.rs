// SPDX-License-Identifier: GPL-2.0-only
//! The spinlocks of dispatch queues as resources: CPUs hold one after the other, and the lock's
//! cache line has to come to each.
//!
//! An op is simulated at one instant, but takes time: what it has spent so far puts its next
//! acquisition later. So a lock knows when it will be held, and who comes gets the first gap that
//! is long enough.

use std::collections::VecDeque;

use crate::topology::{Distance, Topology};

/// What queue locks cost, in ns.
#[derive(Clone, Copy, Debug)]
pub struct LockCosts {
    /// For so long is a lock held for an insertion, a removal, or a step of an iterator.
    pub hold_ns: u64,
    /// For each task that is passed over meanwhile.
    pub pass_ns: u64,
    /// Until a cache line that a CPU at that distance has written is here.
    pub transfer_ns: [u64; 5],
}

impl LockCosts {
    /// A server of today. Sources: docs/simulator.md.
    pub const SERVER: Self = Self {
        hold_ns: 60,
        pass_ns: 10,
        transfer_ns: [0, 10, 40, 110, 220],
    };

    fn transfer(&self, distance: Distance) -> u64 {
        self.transfer_ns[distance as usize]
    }
}

/// What CPUs have spent on queue locks.
#[derive(Clone, Copy, Debug, Default)]
pub struct LockTotals {
    pub acquisitions: u64,
    /// While another CPU held the lock.
    pub waited_ns: u64,
    /// All: waiting, transfer of cache lines, and holding.
    pub spent_ns: u64,
}

#[derive(Default)]
pub struct Lock {
    /// Who has written its cache line last.
    last: Option<usize>,
    /// When it is held: from, to.
    held_ns: VecDeque<(u64, u64)>,
}

impl Lock {
    fn transfer(&self, cpu: usize, costs: &LockCosts, topology: &Topology) -> u64 {
        let last = self.last.unwrap_or(cpu);
        costs.transfer(topology.distance(cpu, last))
    }

    /// `cpu` takes it at `at_ns` and passes over that many tasks; no event comes before
    /// `now_ns`. Returns how long it waits, and how long all takes.
    pub fn take(
        &mut self,
        cpu: usize,
        (now_ns, at_ns): (u64, u64),
        passed: u64,
        costs: &LockCosts,
        topology: &Topology,
    ) -> (u64, u64) {
        while self.held_ns.front().is_some_and(|&(_, to)| to <= now_ns) {
            self.held_ns.pop_front();
        }
        let ns = self.transfer(cpu, costs, topology) + costs.hold_ns + passed * costs.pass_ns;
        let mut begins_ns = at_ns;
        let mut place = 0;
        for &(from, to) in &self.held_ns {
            if from >= begins_ns + ns {
                break;
            }
            begins_ns = begins_ns.max(to);
            place += 1;
        }
        self.held_ns.insert(place, (begins_ns, begins_ns + ns));
        self.last = Some(cpu);
        (begins_ns - at_ns, begins_ns - at_ns + ns)
    }

    /// `cpu` reads what the lock guards without taking it. How long that takes.
    pub fn read(&self, cpu: usize, costs: &LockCosts, topology: &Topology) -> u64 {
        self.transfer(cpu, costs, topology)
    }
}
