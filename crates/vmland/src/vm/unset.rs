// SPDX-License-Identifier: GPL-2.0-only
//! `vmland vm unset`: back to what the configuration says.

use anyhow::Result;
use vmland_control::Request;
use vmland_control::client::ask;
use vmland_settings::Key;

use super::{save, set};

/// Take back what was set for a VM
///
/// What the configuration says holds again.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    /// Name or UUID.
    #[arg(value_name = "NAME")]
    vm: String,

    /// What to take back; all, unless told.
    #[arg(value_name = "key")]
    keys: Vec<String>,

    /// Take it out of the configuration's main file, too, as far as it is there in a rule
    /// for this VM alone.
    #[arg(long)]
    save: bool,
}

pub fn run(opts: &Opts) -> Result<()> {
    let all = || Key::ALL.iter().map(|key| key.name());
    let keys = (!opts.keys.is_empty()).then(|| opts.keys.clone());
    // Which keys there are is the scheduler's to say, and it changes nothing if one is wrong.
    let mut shown = ask(&Request::Unset {
        vm: opts.vm.clone(),
        keys,
    })?;
    let keys: Vec<&str> = match &opts.keys[..] {
        [] => all().collect(),
        keys => keys.iter().map(String::as_str).collect(),
    };
    if opts.save {
        let edits = keys.iter().filter_map(|key| Some((Key::named(key)?, None)));
        shown = save::save(&opts.vm, edits.collect())?;
    }
    set::tell(&shown, &keys);
    Ok(())
}
