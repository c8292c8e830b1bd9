// SPDX-License-Identifier: GPL-2.0-only
//! `vmland config schema`: the JSON schema, for editors.

use std::io::{Write, stdout};

use anyhow::Result;

/// Print the JSON schema of configurations, for editors
#[derive(clap::Args)]
pub struct Opts {}

pub fn run(_: &Opts) -> Result<()> {
    writeln!(stdout(), "{}", vmland_settings::schema())?;
    Ok(())
}
