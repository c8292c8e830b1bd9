// SPDX-License-Identifier: GPL-2.0-only
//! `vmland config check`: what is wrong with a file.

use std::path::PathBuf;

use anyhow::Result;
use vmland_settings::{Config, DEFAULT_FILE, Sources, host_cpus};

use super::{caller, warn};

/// Say what is wrong with a configuration
///
/// Reads FILE and the *.toml files of the directory beside it that ends in .d
/// instead of .toml, as the scheduler does. Needs neither root nor a scheduler.
/// Exit codes: 0 right (there may be warnings); 1 wrong.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    #[arg(default_value = DEFAULT_FILE)]
    file: PathBuf,

    /// Settings on top, as the scheduler takes them. May be repeated.
    #[arg(long, value_name = "NAME-GLOB:key=value,…")]
    vm: Vec<String>,
}

/// The errors themselves have been told.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", file.display(), count(*errors, "error"))]
struct Broken {
    file: PathBuf,
    errors: usize,
}

pub fn run(opts: &Opts) -> Result<()> {
    let sources = Sources {
        file: opts.file.clone(),
        must_exist: true,
        flags: opts.vm.clone(),
        caller: caller(),
        host_cpus: host_cpus(),
    };
    match Config::load(&sources) {
        Ok((config, warnings)) => {
            warn(&warnings);
            let rules = config.rules().iter().filter(|rule| !rule.is_for_all());
            let rules = count(rules.count(), "rule");
            println!("{}: {rules}, no error", opts.file.display());
            Ok(())
        }
        Err(diagnostics) => {
            eprintln!("{diagnostics}");
            let broken = Broken {
                file: opts.file.clone(),
                errors: diagnostics.0.len(),
            };
            Err(broken.into())
        }
    }
}

fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
