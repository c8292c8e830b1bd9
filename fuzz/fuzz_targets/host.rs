// SPDX-License-Identifier: GPL-2.0-only
#![no_main]
#![allow(dead_code)]

// Not by way of the scheduler's package, which would build its BPF part for them.
#[path = "../targets/files.rs"]
mod files;
#[path = "../../crates/vmland/src/ab/histogram.rs"]
mod histogram;
#[path = "../../src/leftovers.rs"]
mod leftovers;
#[path = "../../src/nohz.rs"]
mod nohz;
#[path = "../targets/host.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
