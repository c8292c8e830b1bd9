// SPDX-License-Identifier: GPL-2.0-only
//! scx_vmland, started and stopped.

use std::fs;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::Instant;

use super::guest::while_paused;
use super::{kill, ms, read, sched_ext_state};

/// A running scx_vmland; stopped when dropped.
pub struct Scheduler {
    child: Child,
    log: String,
}

impl Scheduler {
    /// The guests are paused until it has attached, which takes less than half the time so.
    pub fn start(args: &[&str]) -> Self {
        while_paused(|| Self::start_beside(args))
    }

    /// While the guests work.
    pub fn start_beside(args: &[&str]) -> Self {
        let mut command = Command::new("scx_vmland");
        command.args(args);
        Self::start_as(command)
    }

    pub fn start_as(mut command: Command) -> Self {
        let start = Instant::now();
        let log = format!("/tmp/scx_vmland.{start:?}.log");
        let file = fs::File::create(&log).expect("/tmp is writable");
        let child = command
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("scx_vmland starts");
        let mut scheduler = Self { child, log };
        while !(sched_ext_state() == "enabled" && scheduler.log().contains("attached")) {
            let ended = scheduler.child.try_wait().expect("our child");
            assert!(
                ended.is_none() && start.elapsed() < ms(20_000),
                "does not attach ({ended:?}):\n{}",
                scheduler.log()
            );
            sleep(ms(10));
        }
        println!("attached after {:.1?}", start.elapsed());
        scheduler
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn log(&self) -> String {
        read(&self.log)
    }

    pub fn log_file(&self) -> &str {
        &self.log
    }

    pub fn signal(&self, name: &str) {
        kill(self.pid(), name);
    }

    /// As a storm of signals needs it: without a process for each.
    pub fn signal_at_once(&self, signal: i32) {
        // SAFETY: a system call without pointers.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// Starts another one in place of this one, which has ended or will.
    pub fn replace(&mut self) {
        self.child.wait().expect("our child");
        *self = Self::start_beside(&[]);
    }

    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    /// Asserts that it is still attached.
    pub fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("our child");
        assert!(ended.is_none(), "it ended ({ended:?}):\n{}", self.log());
        assert_eq!(sched_ext_state(), "enabled", "{}", self.log());
    }

    /// As Ctrl-C does.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("INT");
        let status = self.child.wait().expect("our child");
        assert_eq!(sched_ext_state(), "disabled");
        status
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.signal("INT");
            let _ = self.child.wait();
        }
    }
}
