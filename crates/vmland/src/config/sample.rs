// SPDX-License-Identifier: GPL-2.0-only
//! `vmland config sample`: a configuration to begin with.

use std::io::{Write, stdout};

use anyhow::Result;

/// Print a configuration in which every key is explained and commented out
#[derive(clap::Args)]
pub struct Opts {}

pub fn run(_: &Opts) -> Result<()> {
    write!(stdout(), "{}", vmland_settings::sample())?;
    Ok(())
}
