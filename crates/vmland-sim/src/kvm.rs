// SPDX-License-Identifier: GPL-2.0-only
//! Pause exits: kvm_vcpu_on_spin()'s choice of a sibling, and yield_to().
//!
//! As on a host whose KVM cannot tell whether a preempted vCPU has an interrupt
//! pending (AMD, or Intel without APICv).

use crate::machine::{Machine, State};
use crate::scheduler::{Scheduler, TaskId};
use crate::vm::Spin;

/// yield_to() fails so often before the search is given up.
const TRIES: u32 = 3;

enum Yielded {
    Yes,
    No,
    /// -ESRCH: both have their CPUs for themselves.
    Pointless,
}

impl<S: Scheduler> Machine<S> {
    pub fn pause_exit(&mut self, task: TaskId, cpu: usize) {
        let Some((vm, _)) = self.tasks[task].joins.vcpu else {
            return self.begin_step(cpu);
        };
        self.kvm.pause_exits += 1;
        self.tasks[task].overhead_ns += self.costs.exit_ns;
        self.tasks[task].spin.in_loop = true;
        self.tasks[task].spin.returns = true;
        if self.on_spin(vm, task, cpu) {
            self.schedule(cpu, false);
        } else {
            self.has_called_scheduler(task);
            self.after_scheduler(cpu);
            self.begin_step(cpu);
        }
    }

    /// The end of kvm_vcpu_on_spin(), which may have been long in coming.
    pub fn comes_from_exit(&mut self, task: TaskId, cpu: usize) -> bool {
        if !self.tasks[task].spin.returns {
            return false;
        }
        self.tasks[task].spin = Spin::default();
        self.scheduler.spun(self.at(cpu), task);
        self.has_called_scheduler(task);
        self.after_scheduler(cpu);
        true
    }

    fn on_spin(&mut self, vm: usize, me: TaskId, cpu: usize) -> bool {
        let last = self.vms[vm].last_boosted;
        let count = self.vms[vm].vcpus.len();
        let mut tries = TRIES;
        for i in (1..=count).map(|step| (last + step) % count) {
            let target = self.vms[vm].vcpus[i];
            if target == me || !self.may_boost(me, target) {
                continue;
            }
            match self.yield_to(me, target, cpu) {
                Yielded::Yes => {
                    self.vms[vm].last_boosted = i;
                    return true;
                }
                Yielded::No => {}
                Yielded::Pointless => {
                    tries -= 1;
                    if tries == 0 {
                        return false;
                    }
                }
            }
        }
        false
    }

    fn may_boost(&mut self, me: TaskId, target: TaskId) -> bool {
        if self.tasks[target].state != State::Ready {
            return false;
        }
        if self.tasks[me].guest.in_kernel && !self.tasks[target].guest.in_kernel {
            return false;
        }
        // One that spins itself is taken every other time.
        let spin = &mut self.tasks[target].spin;
        let eligible = !spin.in_loop || spin.eligible;
        if spin.in_loop {
            spin.eligible = !spin.eligible;
        }
        eligible
    }

    fn yield_to(&mut self, from: TaskId, to: TaskId, cpu: usize) -> Yielded {
        let to_cpu = self.scheduler.cpu_of(to);
        if self.scheduler.nr_running(cpu) == 1 && self.scheduler.nr_running(to_cpu) == 1 {
            return Yielded::Pointless;
        }
        self.kvm.yields_asked += 1;
        if self.scheduler.yields(self.at(cpu), from, Some(to)) {
            self.kvm.yields_accepted += 1;
            Yielded::Yes
        } else {
            Yielded::No
        }
    }
}
