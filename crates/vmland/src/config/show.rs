// SPDX-License-Identifier: GPL-2.0-only
//! `vmland config show`: what holds for each VM of the running scheduler.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use comfy_table::{Table, presets};
use serde::Serialize;
use vmland_settings::{Config, DEFAULT_FILE, Key, Settings, Sources, VmFacts, host_cpus};

use super::{caller, warn};
use crate::client::Client;

/// What stands for a value that nobody has set.
const UNSET: &str = "–";

/// Show what a configuration gives each VM that runs
///
/// Computed from the files and the VMs that the scheduler knows. "–" is left to the
/// scheduler. Globs that match no VM are warned of.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    /// The main file; those beside it, in the directory that ends in .d, count too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Settings on top, as the scheduler takes them. May be repeated.
    #[arg(long, value_name = "NAME-GLOB:key=value,…")]
    vm: Vec<String>,

    /// A line for each value, with where it was set.
    #[arg(long)]
    origin: bool,

    /// As JSON: an array of VMs; times in nanoseconds.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    vm: VmFacts,
    settings: Settings,
    /// By key: where it was set.
    origins: BTreeMap<&'static str, String>,
}

pub fn run(opts: &Opts) -> Result<()> {
    let sources = Sources {
        file: opts.config.clone().unwrap_or(DEFAULT_FILE.into()),
        must_exist: opts.config.is_some(),
        flags: opts.vm.clone(),
        caller: caller(),
        host_cpus: host_cpus(),
    };
    // What is wrong with the files does not need the scheduler to be told.
    let (config, warnings) = Config::load(&sources)?;
    let vms = running()?;
    warn(&warnings);
    warn(&config.warnings_for(&vms));

    let shown: Vec<_> = vms.into_iter().map(|vm| shown(&config, vm)).collect();
    let mut out = std::io::stdout().lock();
    if opts.json {
        serde_json::to_writer_pretty(&mut out, &shown)?;
        writeln!(out)?;
    } else {
        let table = if opts.origin {
            origins(&shown)
        } else {
            values(&shown)
        };
        writeln!(out, "{table}")?;
    }
    Ok(())
}

fn running() -> Result<Vec<VmFacts>> {
    let mut client = Client::connect()?;
    let metrics = client.metrics()?;
    let facts = |(id, vm): (&u32, &vmland_control::stats::VmMetrics)| {
        let vcpus = u32::try_from(vm.vcpus.len()).unwrap_or(u32::MAX);
        VmFacts::new(client.identity(*id, vm.tgid).clone(), vcpus)
    };
    Ok(metrics.vms.iter().map(facts).collect())
}

fn shown(config: &Config, vm: VmFacts) -> Shown {
    let explained = config.explain(&vm);
    let origin = |key: &Key| Some((key.name(), explained.origin(*key)?.to_string()));
    Shown {
        settings: explained.settings,
        origins: Key::ALL.iter().filter_map(origin).collect(),
        vm,
    }
}

fn written(settings: &Settings, key: Key) -> String {
    settings.written(key).unwrap_or(UNSET.into())
}

/// A line for each VM, a column for each key.
fn values(vms: &[Shown]) -> Table {
    let mut table = Table::new();
    let keys = Key::ALL.iter().map(|key| key.name());
    table
        .load_preset(presets::NOTHING)
        .set_header(["VM"].into_iter().chain(keys));
    for Shown { vm, settings, .. } in vms {
        let values = Key::ALL.iter().map(|key| written(settings, *key));
        table.add_row([vm.name.clone()].into_iter().chain(values));
    }
    table
}

/// A line for each VM and key.
fn origins(vms: &[Shown]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(["VM", "KEY", "VALUE", "ORIGIN"]);
    for shown in vms {
        for (i, key) in Key::ALL.iter().enumerate() {
            let name = if i == 0 { &shown.vm.name } else { "" };
            let origin = shown.origins.get(key.name());
            table.add_row([
                name,
                key.name(),
                &written(&shown.settings, *key),
                origin.map_or(UNSET, String::as_str),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_identity::Vmm;

    fn example() -> Vec<Shown> {
        let sources = Sources {
            file: "/nowhere/config.toml".into(),
            flags: vec!["*:slice=5ms".into(), "web-*:weight=200".into()],
            ..Sources::default()
        };
        let (config, _) = Config::load(&sources).expect("right");
        let vm = |name: &str| VmFacts {
            name: name.into(),
            uuid: None,
            vmm: Vmm::Qemu,
            cgroup: None,
            uid: Some(64055),
            vcpus: 2,
        };
        ["web-1", "db"].map(|name| shown(&config, vm(name))).into()
    }

    fn lines(table: &Table) -> Vec<Vec<String>> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        table.to_string().lines().map(words).collect()
    }

    #[test]
    fn one_line_for_each_vm() {
        let lines = lines(&values(&example()));
        assert_eq!(lines[0][..4], ["VM", "weight", "cap", "slice"]);
        assert_eq!(lines[1][..5], ["web-1", "200", UNSET, "5ms", UNSET]);
        assert_eq!(lines[2][..5], ["db", UNSET, UNSET, "5ms", UNSET]);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn where_each_value_comes_from() {
        let lines = lines(&origins(&example()));
        assert_eq!(
            lines[1],
            ["web-1", "weight", "200", "--vm", "'web-*:weight=200'"]
        );
        assert_eq!(lines[2], ["cap", UNSET, UNSET]);
        assert_eq!(lines[3], ["slice", "5ms", "--vm", "'*:slice=5ms'"]);
        assert_eq!(lines.len(), 1 + 2 * Key::ALL.len());
    }

    #[test]
    fn as_json() {
        let json = serde_json::to_value(example()).expect("JSON");
        assert_eq!(json[0]["name"], "web-1");
        assert_eq!(json[0]["settings"]["slice_ns"], 5_000_000);
        assert_eq!(json[0]["settings"]["slice_min_ns"], serde_json::Value::Null);
        assert_eq!(json[0]["origins"]["weight"], "--vm 'web-*:weight=200'");
        assert_eq!(json[1]["origins"].get("weight"), None);
    }
}
