// SPDX-License-Identifier: GPL-2.0-only
//! The rules that hold whenever time goes on.

use super::world::{State, World};

/// For so long can a task wait beside an idle CPU that it may use.
const IDLE_NS: u64 = 1_000_000;
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
