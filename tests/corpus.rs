// SPDX-License-Identifier: GPL-2.0-only
//! Replays the corpus of the fuzz targets. Needs no nightly compiler.

use scx_vmland::{event, leftovers, nohz, planner};

#[path = "../fuzz/targets/config.rs"]
mod config;
#[path = "../fuzz/targets/control.rs"]
mod control;
#[path = "../fuzz/targets/events.rs"]
mod events;
#[path = "../fuzz/targets/files.rs"]
mod files;
#[path = "../crates/vmland/src/ab/histogram.rs"]
mod histogram;
#[path = "../fuzz/targets/host.rs"]
mod host;
#[path = "../fuzz/targets/process.rs"]
mod process;

#[path = "../fuzz/targets/replay.rs"]
mod replay;

fn replay(target: &str, run: fn(&[u8])) {
    replay::replay(env!("CARGO_MANIFEST_DIR").as_ref(), target, run);
}

#[test]
fn configurations() {
    replay("config", config::run);
}

#[test]
fn lines_to_the_control_socket() {
    replay("control", control::run);
}

#[test]
fn processes_of_vmms() {
    replay("process", process::run);
}

#[test]
fn hosts() {
    replay("host", host::run);
}

#[test]
fn events_of_the_bpf_part() {
    replay("events", events::run);
}
