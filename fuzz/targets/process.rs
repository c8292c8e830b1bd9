// SPDX-License-Identifier: GPL-2.0-only
//! What `/proc/PID` says of a VMM: command line, cgroups, status and name, most of it the
//! process's own words.
//!
//! Whatever it says, its VM has a name that can be printed.

use vmland_identity::{identify, threads};

use crate::files;

pub fn run(data: &[u8]) {
    let files = [
        "1/cmdline",
        "1/cgroup",
        "1/status",
        "1/comm",
        "1/task/1/comm",
    ];
    let proc = files::put(data, &files);
    let vm = identify(&proc, 1);
    assert!(!vm.name.trim().is_empty() && vm.name.chars().count() <= 256);
    let threads = threads(&proc, 1).into_iter().map(|thread| thread.name);
    let texts = threads.chain([vm.name]).chain(vm.uuid).chain(vm.cgroup);
    for text in texts {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
