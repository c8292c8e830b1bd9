// SPDX-License-Identifier: GPL-2.0-only
//! The active scheduler, read from /sys/kernel/sched_ext.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const DIR: &str = "/sys/kernel/sched_ext";
const POLL: Duration = Duration::from_millis(5);

/// Does this kernel support sched_ext?
pub fn has_sched_ext() -> bool {
    Path::new(DIR).exists()
}

/// The name of the active scheduler's ops; none while that is the kernel's own.
pub fn attached() -> Option<String> {
    (state() == "enabled").then(|| read("root/ops"))
}

/// Nothing is attached, nor being attached or detached.
pub fn is_stock() -> bool {
    matches!(state().as_str(), "disabled" | "")
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

fn state() -> String {
    read("state")
}

fn read(file: &str) -> String {
    let text = fs::read_to_string(Path::new(DIR).join(file)).unwrap_or_default();
    text.trim().to_string()
}
