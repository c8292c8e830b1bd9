// SPDX-License-Identifier: GPL-2.0-only
//! The operator's tool: looks at a running scx_vmland.

mod client;
mod top;
mod vms;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use scx_vmland::preflight::exit;

/// Look at a running scx_vmland
#[derive(Parser)]
#[command(name = "vmland", version)]
struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Vms(vms::Opts),
    Top(top::Opts),
}

fn main() -> ExitCode {
    let opts: Opts = match exit::parse() {
        Ok(opts) => opts,
        Err(code) => return ExitCode::from(code),
    };
    let done = match opts.command {
        Command::Vms(opts) => vms::run(&opts),
        Command::Top(opts) => top::run(&opts),
    };
    match done {
        Ok(()) => ExitCode::from(exit::OK),
        // Whoever read us has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::from(exit::OK),
        Err(e) => {
            eprintln!("vmland: {e:#}");
            let not_running = e.is::<client::NotRunning>();
            ExitCode::from(if not_running {
                exit::UNAVAILABLE
            } else {
                exit::FAILURE
            })
        }
    }
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
