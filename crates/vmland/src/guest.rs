// SPDX-License-Identifier: GPL-2.0-only
//! `vmland guest`: what the project's own tests need of the guests.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use vmland_guests::archive;

/// Parts of the guests that bench starts
#[derive(Args)]
#[command(hide = true)]
pub struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the guests' user space, a cpio archive
    Userspace {
        /// Where to
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

pub fn run(opts: &Opts) -> Result<()> {
    match &opts.command {
        Command::Userspace { output } => fs::write(output, archive::userspace())
            .with_context(|| format!("cannot write {}", output.display())),
    }
}
