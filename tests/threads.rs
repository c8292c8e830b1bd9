// SPDX-License-Identifier: GPL-2.0-only
//! A panic in a thread of the scheduler's own is its end, in a process of its own here.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread::{Builder, park_timeout};
use std::time::Duration;

use scx_vmland::threads;

/// Names the thread that is to panic in the process that this test starts.
const PANICS: &str = "VMLAND_TEST_PANICS";

fn ends(thread: &str) -> ExitStatus {
    let test = ["--exact", "a_panic_in_a_thread_of_its_own_is_its_end"];
    let program = env::current_exe().expect("a test is a file");
    let mut command = Command::new(program);
    command.args(test).env(PANICS, thread);
    command.output().expect("the test starts").status
}

fn fail(thread: &str) {
    threads::end_with_any();
    if thread.is_empty() {
        let client = Builder::new().spawn(|| panic!("as of a library"));
        assert!(client.expect("a thread").join().is_err());
    } else {
        threads::start("settings", || panic!("of the scheduler's own"));
        park_timeout(Duration::from_secs(60));
    }
}

#[test]
fn a_panic_in_a_thread_of_its_own_is_its_end() {
    if let Ok(thread) = env::var(PANICS) {
        return fail(&thread);
    }
    assert_eq!(ends("settings").signal(), Some(libc::SIGABRT));
    assert!(ends("").success(), "a client's thread may fail alone");
}
