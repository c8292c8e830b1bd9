// SPDX-License-Identifier: GPL-2.0-only
//! `vmland manual`, for packagers: the tool's manual pages and completions.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;

/// Write manual pages and completions below a directory such as /usr/share
#[derive(clap::Args)]
pub struct Opts {
    #[arg(value_name = "DIR")]
    share: PathBuf,
}

pub fn run(opts: &Opts) -> Result<()> {
    vmland_manual::write(crate::Opts::command(), &opts.share)
        .with_context(|| format!("cannot write below {}", opts.share.display()))
}
