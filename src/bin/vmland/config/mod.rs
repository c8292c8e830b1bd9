// SPDX-License-Identifier: GPL-2.0-only
//! `vmland config`: the settings of VMs, before and while they are in force.

mod check;
mod schema;
mod show;

use std::fs;

use anyhow::Result;
use nix::unistd::{getegid, geteuid};
use scx_vmland::config::{Caller, Host, Warning};
use scx_vmland::guests::cpus;

/// Check and show the settings of VMs
#[derive(clap::Args)]
pub struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Check(check::Opts),
    Schema(schema::Opts),
    Show(show::Opts),
}

pub fn run(opts: &Opts) -> Result<()> {
    match &opts.command {
        Command::Check(opts) => check::run(opts),
        Command::Schema(opts) => schema::run(opts),
        Command::Show(opts) => show::run(opts),
    }
}

fn caller() -> Caller {
    Caller {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
    }
}

/// Nothing is known of the host where /sys does not tell.
fn this_host() -> Host {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
    let online = online.and_then(|list| cpus::parse(&list));
    Host {
        cpus: online.and_then(|cpus| u32::try_from(cpus.len()).ok().filter(|n| *n > 0)),
    }
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}
