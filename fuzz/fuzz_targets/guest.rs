// SPDX-License-Identifier: GPL-2.0-only
#![no_main]

#[path = "../targets/guest.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
