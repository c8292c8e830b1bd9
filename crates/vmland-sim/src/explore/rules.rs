// SPDX-License-Identifier: GPL-2.0-only
//! The rules that hold whenever time goes on.

use super::world::{State, USER, World};
use crate::abi;
use crate::scheduler::TaskId;

/// For so long can a task wait beside an idle CPU that it may use.
const IDLE_NS: u64 = 1_000_000;
/// The same in the local DSQ of a CPU that a higher class has taken.
const TAKEN_NS: u64 = 10_000_000;
/// As long as this after the class has taken it, the scheduler may put tasks there.
const NOTICED_NS: u64 = 1_000_000;
/// For so long can a task wait at all (timeout_ms).
pub(super) const STALL_NS: u64 = 5_000_000_000;

impl World {
    /// The rules that hold whenever time goes on.
    pub(super) fn check(&mut self) {
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
            let taken = dsq == abi::DSQ_LOCAL && {
                let cpu = self.cpu_of(task);
                let (taken_ns, since_ns) = (self.cpus[cpu].rt_since_ns, self.tasks[task].since_ns);
                // The kernel keeps a task there that ends.
                self.cpus[cpu].rt
                    && taken_ns > 0
                    && !(taken_ns + 1..taken_ns + NOTICED_NS).contains(&since_ns)
                    && !self.tasks[task].exiting
            };
            if self.may_wait_in.contains(&dsq) && !taken {
                continue;
            }
            let limit_ns = if taken { TAKEN_NS } else { IDLE_NS };
            let waited_ns = match self.tasks[task].waits {
                (before, since_ns) if before == dsq && !taken => self.now_ns() - since_ns,
                _ => waited_ns,
            };
            for cpu in 0..self.cpus.len() {
                let idle_ns = self.now_ns() - self.cpus[cpu].idle_since_ns;
                if self.idles(cpu)
                    && self.cpus[cpu].active
                    && !self.has_to_do(cpu)
                    && waited_ns.min(idle_ns) > limit_ns
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

    /// ops.stopping() has charged `task` for the time since ops.running(); it was called at
    /// `begins_ns`.
    pub(super) fn check_time(&mut self, task: TaskId, begins_ns: u64) {
        let Some(ran_ns) = self.ran_ns.filter(|_| task != USER) else {
            return;
        };
        let charged_ns = ran_ns(self.kernel.pointer(Some(task)));
        let (before_ns, after_ns) = self.tasks[task].ran_at_ns;
        let least_ns = begins_ns.saturating_sub(after_ns);
        let most_ns = self.now_ns() - before_ns;
        if !(least_ns..=most_ns).contains(&charged_ns) {
            self.failure.get_or_insert(format!(
                "task {task} has run for {least_ns} to {most_ns} ns, and is charged for {charged_ns}"
            ));
        }
    }
}
