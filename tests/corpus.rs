// SPDX-License-Identifier: GPL-2.0-only
//! Replays the corpus of the fuzz targets: every input that found something new, and every one
//! that found a fault. Needs no nightly compiler.

use std::fs;
use std::path::Path;

use scx_vmland::leftovers;

#[path = "../fuzz/targets/config.rs"]
mod config;
#[path = "../fuzz/targets/control.rs"]
mod control;
#[path = "../fuzz/targets/files.rs"]
mod files;
#[path = "../fuzz/targets/host.rs"]
mod host;
#[path = "../fuzz/targets/process.rs"]
mod process;

fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let inputs = fs::read_dir(&dir).expect("a corpus");
    let mut count = 0;
    for input in inputs {
        let path = input.expect("an entry").path();
        // Shown if it fails.
        println!("{}", path.display());
        run(&fs::read(&path).expect("readable"));
        count += 1;
    }
    assert!(count > 1, "{} is empty", dir.display());
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
