// SPDX-License-Identifier: GPL-2.0-only
//! The attached scheduler, as /sys/kernel/sched_ext has it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const SYS: &str = "/sys";
const DIR: &str = "kernel/sched_ext";
const POLL: Duration = Duration::from_millis(5);

/// Does this kernel support sched_ext?
pub fn has_sched_ext() -> bool {
    Path::new(SYS).join(DIR).exists()
}

/// The name of the attached scheduler's ops; none while the kernel's own is active.
pub fn attached() -> Option<String> {
    attached_below(SYS.as_ref())
}

/// The same, where `sys` is `/sys`, except in tests.
pub fn attached_below(sys: &Path) -> Option<String> {
    (state(sys) == "enabled").then(|| read(sys, "root/ops"))
}

/// Nothing is attached, nor being attached or detached.
pub fn is_stock() -> bool {
    matches!(state(SYS.as_ref()).as_str(), "disabled" | "")
}

/// Waits until `done` says so; false if it did not in time.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

fn state(sys: &Path) -> String {
    read(sys, "state")
}

fn read(sys: &Path, file: &str) -> String {
    let text = fs::read_to_string(sys.join(DIR).join(file)).unwrap_or_default();
    text.trim().to_string()
}
