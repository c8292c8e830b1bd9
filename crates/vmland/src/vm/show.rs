// SPDX-License-Identifier: GPL-2.0-only
//! `vmland vm show`: what holds for a VM, and what comes of it.

use std::io::Write;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use vmland_base::CGROUP_ROOT;
use vmland_control::client::ask;
use vmland_control::stats::VmMetrics;
use vmland_control::{Request, Shown};

use super::cgroup;
use crate::client::{Client, schedstat};

/// Show the effective settings of a VM, the origin of each, and what the VM gets
#[derive(clap::Args)]
pub struct Opts {
    /// Name or UUID.
    #[arg(value_name = "NAME")]
    vm: String,

    /// Seconds over which "now" is measured.
    #[arg(short, long, value_name = "SEC", default_value_t = 1.0, value_parser = crate::top::interval)]
    interval: f64,

    /// As JSON; times in nanoseconds.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    shown: Shown,
    /// Over the interval.
    now: Effect,
    /// Since the VM was first seen.
    total: Effect,
}

/// What a VM had, and did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Effect {
    /// Over how long; of a total, since the machine was started.
    span_ns: u64,
    cpu_ns: u64,
    /// CPU time of all VMs that run now.
    all_vms_cpu_ns: u64,
    /// How long its vCPUs were ready to run and had no CPU.
    run_delay_ns: u64,
    pause_exits: u64,
    yields_asked: u64,
    yields_honoured: u64,
    /// How long its vCPUs were throttled since a quota or the cap was used up, summed.
    throttled_ns: u64,
    /// Of `cpu_ns`, out of turn.
    boosted_ns: u64,
}

pub fn run(opts: &Opts) -> Result<()> {
    let mut shown: Shown = ask(&Request::Show {
        vm: opts.vm.clone(),
    })?;
    cgroup::add_to(&mut shown, Path::new(CGROUP_ROOT));
    let mut client = Client::connect()?;
    let before = effect(&mut client, shown.id)?;
    sleep(Duration::from_secs_f64(opts.interval));
    let total = effect(&mut client, shown.id)?;
    let report = Report {
        now: total.since(&before),
        shown,
        total,
    };
    let mut out = std::io::stdout().lock();
    if opts.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", text(&report))?;
    }
    Ok(())
}

fn effect(client: &mut Client, id: u32) -> Result<Effect> {
    let metrics = client.metrics()?;
    let vm = metrics.vms.get(&id).context("the VM has just ended")?;
    let waited = |tid: &i32| schedstat(vm.tgid, *tid).map_or(0, |stat| stat.run_delay);
    Ok(Effect {
        span_ns: metrics.at_ns,
        cpu_ns: vm.cpu_ns,
        all_vms_cpu_ns: metrics.vms.values().map(|vm: &VmMetrics| vm.cpu_ns).sum(),
        run_delay_ns: vm.vcpus.values().map(waited).sum(),
        pause_exits: vm.pause_exits,
        yields_asked: vm.yields_asked,
        yields_honoured: vm.yields_honoured,
        throttled_ns: vm.throttled_ns,
        boosted_ns: vm.boosted_ns,
    })
}

impl Effect {
    fn since(&self, before: &Effect) -> Effect {
        let d = |f: fn(&Effect) -> u64| f(self).saturating_sub(f(before));
        Effect {
            span_ns: d(|e| e.span_ns),
            cpu_ns: d(|e| e.cpu_ns),
            all_vms_cpu_ns: d(|e| e.all_vms_cpu_ns),
            run_delay_ns: d(|e| e.run_delay_ns),
            pause_exits: d(|e| e.pause_exits),
            yields_asked: d(|e| e.yields_asked),
            yields_honoured: d(|e| e.yields_honoured),
            throttled_ns: d(|e| e.throttled_ns),
            boosted_ns: d(|e| e.boosted_ns),
        }
    }
}

fn text(report: &Report) -> String {
    let Report { shown, now, total } = report;
    let mut head = format!(
        "{}: {}, process {}, {} vCPUs\n",
        shown.name, shown.vmm, shown.pid, shown.vcpus
    );
    for (what, text) in [("UUID", &shown.uuid), ("cgroup", &shown.cgroup)] {
        if let Some(text) = text {
            head += &format!("{what} {text}\n");
        }
    }
    if let Some(uid) = shown.uid {
        head += &format!("user {uid}\n");
    }
    let mut settings = Table::new();
    settings
        .load_preset(presets::NOTHING)
        .set_header(["KEY", "VALUE", "ORIGIN"]);
    for setting in &shown.settings {
        let origin = setting.origin.as_deref().unwrap_or("default");
        settings.add_row([&setting.key, &setting.value, origin]);
    }

    let mut effects = Table::new();
    effects
        .load_preset(presets::NOTHING)
        .set_header(["", "NOW", "TOTAL"]);
    let seconds = |ns: u64| format!("{:.1} s", ns as f64 / 1e9);
    let part = |ns: u64, of: u64| ns as f64 / of.max(1) as f64;
    let share = |e: &Effect| format!("{:.1} %", 100.0 * part(e.cpu_ns, e.all_vms_cpu_ns));
    let cpus = |ns| format!("{:.2} CPUs", part(ns, now.span_ns));
    let mut row = |what: &str, now: String, total: String| {
        effects.add_row([what, &now, &total]);
    };
    row("CPU time", cpus(now.cpu_ns), seconds(total.cpu_ns));
    row(
        "of that, out of turn",
        cpus(now.boosted_ns),
        seconds(total.boosted_ns),
    );
    row("share of the VMs' CPU time", share(now), share(total));
    let vcpus = |ns| format!("{:.2} vCPUs", part(ns, now.span_ns));
    for (what, f) in [
        (
            "waiting for a CPU",
            (|e| e.run_delay_ns) as fn(&Effect) -> u64,
        ),
        ("of that, throttled", |e| e.throttled_ns),
    ] {
        row(what, vcpus(f(now)), seconds(f(total)));
    }
    for (what, f) in [
        ("pause exits", (|e| e.pause_exits) as fn(&Effect) -> u64),
        ("yields asked", |e| e.yields_asked),
        ("yields honoured", |e| e.yields_honoured),
    ] {
        let rate = f(now) as f64 / (now.span_ns as f64 / 1e9).max(1e-3);
        row(what, format!("{rate:.0}/s"), f(total).to_string());
    }
    for column in effects.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{head}\n{settings}\n\n{effects}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_control::{By, Setting};

    #[test]
    fn what_is_shown() {
        let setting = |key: &str, value: &str, origin: Option<&str>| Setting {
            key: key.into(),
            value: value.into(),
            origin: origin.map(str::to_owned),
        };
        let total = Effect {
            span_ns: 100_000_000_000,
            cpu_ns: 12_000_000_000,
            all_vms_cpu_ns: 24_000_000_000,
            run_delay_ns: 3_000_000_000,
            pause_exits: 700,
            yields_asked: 60,
            yields_honoured: 50,
            throttled_ns: 1_500_000_000,
            boosted_ns: 2_000_000_000,
        };
        let before = Effect {
            span_ns: 98_000_000_000,
            cpu_ns: 9_000_000_000,
            all_vms_cpu_ns: 20_000_000_000,
            run_delay_ns: 2_000_000_000,
            pause_exits: 500,
            yields_asked: 60,
            yields_honoured: 40,
            throttled_ns: 1_000_000_000,
            boosted_ns: 1_500_000_000,
        };
        let report = Report {
            shown: Shown {
                id: 3,
                pid: 4711,
                name: "db-1".into(),
                uuid: Some("8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11".into()),
                vmm: "qemu".into(),
                cgroup: None,
                uid: Some(64055),
                owns_cgroup: false,
                vcpus: 4,
                by: By::Name,
                settings: vec![
                    setting("weight", "400", Some("vmland vm set")),
                    setting("cpus", "all", None),
                ],
                config: "/etc/scx_vmland/config.toml".into(),
                warnings: vec![],
            },
            now: total.since(&before),
            total,
        };
        let shown = text(&report);
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let lines: Vec<_> = shown.lines().map(words).collect();
        let has = |line: &str| assert!(lines.contains(&words(line)), "{line} in {shown}");
        has("db-1: qemu, process 4711, 4 vCPUs");
        has("weight 400 vmland vm set");
        has("cpus all default");
        has("CPU time 1.50 CPUs 12.0 s");
        has("share of the VMs' CPU time 75.0 % 50.0 %");
        has("of that, out of turn 0.25 CPUs 2.0 s");
        has("waiting for a CPU 0.50 vCPUs 3.0 s");
        has("of that, throttled 0.25 vCPUs 1.5 s");
        has("pause exits 100/s 700");
        has("yields honoured 5/s 50");
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["settings"][0]["origin"], "vmland vm set");
        assert_eq!(json["now"]["cpu_ns"], 3_000_000_000_u64);
        assert_eq!(json["name"], "db-1");
    }
}
