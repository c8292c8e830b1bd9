// SPDX-License-Identifier: GPL-2.0-only
//! Host tasks that compete with the guests.

use std::process::{Child, Command};

use super::{stat_field, thread_cpu_ns};

/// A process that does nothing but use CPU time; killed when dropped.
pub struct Hog(Child);

impl Hog {
    /// On the CPUs of `mask` (as taskset has it), at `nice`.
    pub fn start(mask: &str, nice: i32) -> Self {
        let child = Command::new("taskset")
            .args([mask, "sh", "-c", "while :; do :; done"])
            .spawn()
            .expect("taskset and sh are there");
        // SAFETY: a system call without pointers.
        let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, child.id(), nice) };
        assert_eq!(set, 0, "setpriority");
        Self(child)
    }

    /// A real-time task from now on.
    pub fn make_realtime(&self) {
        let fifo = libc::sched_param { sched_priority: 1 };
        // SAFETY: the parameters outlive the call.
        let set = unsafe { libc::sched_setscheduler(self.pid(), libc::SCHED_FIFO, &fifo) };
        assert_eq!(set, 0, "sched_setscheduler");
    }

    /// The CPU that it ran on last.
    pub fn cpu(&self) -> u32 {
        stat_field(self.pid(), 39) as u32
    }

    pub fn cpu_ns(&self) -> u64 {
        thread_cpu_ns(self.pid())
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call without pointers.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
