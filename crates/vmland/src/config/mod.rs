// SPDX-License-Identifier: GPL-2.0-only
//! `vmland config`: the settings of VMs, before and while they are effective.

mod check;
mod reload;
mod sample;
mod schema;
mod show;

use anyhow::Result;
use nix::unistd::{getegid, geteuid};
use vmland_settings::{Caller, Warning};

/// Check and show the settings of VMs
#[derive(clap::Args)]
pub struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Check(check::Opts),
    Reload(reload::Opts),
    Sample(sample::Opts),
    Schema(schema::Opts),
    Show(show::Opts),
}

pub fn run(opts: &Opts) -> Result<()> {
    match &opts.command {
        Command::Check(opts) => check::run(opts),
        Command::Reload(opts) => reload::run(opts),
        Command::Sample(opts) => sample::run(opts),
        Command::Schema(opts) => schema::run(opts),
        Command::Show(opts) => show::run(opts),
    }
}

pub fn caller() -> Caller {
    Caller {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
    }
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}
