// SPDX-License-Identifier: GPL-2.0-only
//! An instance of tracefs, with the probes that it reads.

use std::fs;

const ROOT: &str = "/sys/kernel/tracing";
const INSTANCE: &str = "/sys/kernel/tracing/instances/vmland-test";

/// One at a time. When dropped, also by a test that fails, the instance and the probes are gone:
/// the next test could not define its own.
pub struct Tracefs;

impl Tracefs {
    /// `probes`: lines of `kprobe_events`. Times are of CLOCK_MONOTONIC.
    pub fn new(probes: &str) -> Self {
        fs::write(format!("{ROOT}/kprobe_events"), probes).expect("kprobe events");
        fs::create_dir(INSTANCE).expect("a new instance");
        let this = Self;
        this.put("trace_clock", "mono");
        this
    }

    pub fn put(&self, file: &str, text: &str) {
        fs::write(format!("{INSTANCE}/{file}"), text).unwrap_or_else(|e| panic!("{file}: {e}"));
    }

    pub fn trace(&self) -> Vec<u8> {
        fs::read(format!("{INSTANCE}/trace")).expect("a trace")
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        self.put("events/enable", "0");
        fs::remove_dir(INSTANCE).expect("the instance goes");
        fs::write(format!("{ROOT}/kprobe_events"), "").expect("the probes go");
    }
}
