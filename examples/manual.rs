// SPDX-License-Identifier: GPL-2.0-only
//! Writes the scheduler's manual page and completions below a directory such as /usr/share. An
//! example, so that the scheduler itself is linked with nothing for it.

#[allow(dead_code)] // What it does with its options.
#[path = "../src/opts.rs"]
mod opts;

use std::env;
use std::path::Path;

use clap::CommandFactory;

const NAME: &str = "scx_vmland";

fn main() -> std::io::Result<()> {
    let share = env::args_os().nth(1).expect("usage: manual DIR");
    vmland_manual::write(opts::Opts::command(), Path::new(&share))
}
