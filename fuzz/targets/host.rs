// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel says of the host, before anything is attached: release, command line, own
//! status and limits, sched_ext's state, nohz_full CPUs; lists of CPUs, and histograms of its tracing.
//!
//! Whatever it says, the scheduler may run here, or the refusal has a sentence and an exit code.

use vmland_base::cpus;
use vmland_host::{doctor, preflight};

use crate::{files, histogram, leftovers, nohz};

pub fn run(data: &[u8]) {
    let files = [
        "proc/sys/kernel/osrelease",
        "proc/cmdline",
        "proc/self/status",
        "proc/self/limits",
        "sys/kernel/sched_ext/state",
        "sys/kernel/sched_ext/root/ops",
        "sys/kernel/btf/vmlinux",
        "run/scx_vmland/compact_unevictable_allowed",
        "proc/sys/vm/compact_unevictable_allowed",
        "sys/devices/system/cpu/nohz_full",
    ];
    let root = files::put(data, &files);
    if let Err(refusal) = preflight::check(&root) {
        assert_ne!(refusal.exit_code(), 0);
        assert!(!refusal.to_string().is_empty());
    }
    let _ = doctor::examine(&root);
    // It cannot fail for what the files say.
    let _ = leftovers::clean(&root);
    let full: Option<[u64; 16]> = nohz::full_cpus(&root);
    assert_ne!(full, Some([0; 16]), "some, or none");
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = cpus::parse(text);
        for ([pid, reason], hits) in histogram::entries(text) {
            let line = format!("{{ a: {pid}, b: {reason} }} hitcount: {hits}");
            assert_eq!(
                histogram::entries(&line).next(),
                Some(([pid, reason], hits))
            );
        }
    }
}
