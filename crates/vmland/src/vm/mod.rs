// SPDX-License-Identifier: GPL-2.0-only
//! `vmland vm`: what one VM may have, while it runs.

pub mod cgroup;
mod save;
mod set;
mod show;
mod unset;

use anyhow::Result;

/// Show, set and take back what one VM may have
///
/// NAME is a VM's name as "vmland vms" shows it, or its UUID. Keys and values are those of
/// the configuration ("vmland config sample" explains them).
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Show(show::Opts),
    Set(set::Opts),
    Unset(unset::Opts),
}

pub fn run(opts: &Opts) -> Result<()> {
    match &opts.command {
        Command::Show(opts) => show::run(opts),
        Command::Set(opts) => set::run(opts),
        Command::Unset(opts) => unset::run(opts),
    }
}
