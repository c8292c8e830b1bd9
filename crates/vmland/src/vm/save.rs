// SPDX-License-Identifier: GPL-2.0-only
//! `--save`: into the file that the scheduler reads.

use anyhow::{Context, Result};
use vmland_control::client::ask;
use vmland_control::{By, Reloaded, Request, Shown};
use vmland_settings::{Edit, Sources, Target, host_cpus, save as write};

use crate::config::caller;

/// Writes the edits, has the scheduler read them, and tells the effective settings.
///
/// What was set until the scheduler ends would override the file, and is unset. If
/// something else wins, a flag of the scheduler's or a file that is read later, that is
/// warned of.
pub fn save(vm: &str, edits: Vec<Edit>) -> Result<Shown> {
    let show = Request::Show { vm: vm.into() };
    let shown: Shown = ask(&show)?;
    let sources = Sources {
        file: shown.config.clone().into(),
        must_exist: false,
        flags: vec![],
        caller: caller(),
        host_cpus: host_cpus(),
    };
    let target = match (shown.by, &shown.uuid) {
        (By::Uuid, Some(uuid)) => Target::Uuid(uuid),
        _ => Target::Name(&shown.name),
    };
    write(&sources, target, &edits)?;

    let _: Reloaded = ask(&Request::Reload {})
        .with_context(|| format!("{} is written, but not effective", shown.config))?;
    let _: Shown = ask(&Request::Unset {
        vm: vm.into(),
        keys: Some(edits.iter().map(|(key, _)| key.name().into()).collect()),
    })?;
    let mut shown: Shown = ask(&show)?;
    let overruled = edits.iter().filter_map(|(key, value)| {
        let now = shown.settings.iter().find(|now| now.key == key.name())?;
        let origin = now.origin.as_deref().unwrap_or_default();
        let is_from_file = origin.starts_with(&format!("{}:", shown.config));
        (value.is_some() && !is_from_file)
            .then(|| format!("{} is saved, but {origin} overrules it", now.key))
    });
    let overruled: Vec<_> = overruled.collect();
    shown.warnings.extend(overruled);
    Ok(shown)
}
