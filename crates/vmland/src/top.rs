// SPDX-License-Identifier: GPL-2.0-only
//! `vmland top`: what the VMs do, again and again.

use std::io::{IsTerminal, Write};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use vmland_control::stats::{Metrics, VmMetrics};

use crate::client::Client;

/// Show what the VMs do: CPU share, pause exits, yields asked and honoured
#[derive(clap::Args)]
pub struct Opts {
    /// Seconds between two readings.
    #[arg(short, long, value_name = "SEC", default_value_t = 1.0, value_parser = interval)]
    interval: f64,

    /// Stop after N readings, with a summary of them all.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

pub fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(sec) if (0.1..=3_600.0).contains(&sec) => Ok(sec),
        _ => Err("expected seconds, from 0.1 to 3600".into()),
    }
}

pub fn run(opts: &Opts) -> Result<()> {
    let mut client = Client::connect()?;
    let mut out = std::io::stdout().lock();
    let first = client.metrics()?;
    let mut last = first.clone();
    let mut readings = 0;
    while opts.count.is_none_or(|count| readings < count) {
        sleep(Duration::from_secs_f64(opts.interval));
        let now = client.metrics()?;
        if out.is_terminal() {
            write!(out, "\x1b[H\x1b[J")?;
        }
        writeln!(out, "{}\n", table(&mut client, &last, &now))?;
        out.flush()?;
        last = now;
        readings += 1;
    }
    writeln!(
        out,
        "Over {:.0} s:\n{}",
        span(&first, &last),
        table(&mut client, &first, &last)
    )?;
    writeln!(out, "{}", hints(&first, &last))?;
    Ok(())
}

fn span(from: &Metrics, to: &Metrics) -> f64 {
    (to.at_ns.saturating_sub(from.at_ns) as f64 / 1e9).max(1e-3)
}

/// One row a VM: rates between two readings.
fn table(client: &mut Client, from: &Metrics, to: &Metrics) -> Table {
    let sec = span(from, to);
    let none = VmMetrics::default();
    let before = |id: &u32| from.vms.get(id).unwrap_or(&none);
    let total: u64 = to
        .vms
        .iter()
        .map(|(id, vm)| vm.cpu_ns - before(id).cpu_ns.min(vm.cpu_ns))
        .sum();

    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "VM",
        "vCPUs",
        "CPU %",
        "SHARE %",
        "PAUSE/s",
        "YIELDS/s",
        "HONOURED/s",
    ]);
    for (id, vm) in &to.vms {
        let before = before(id);
        let delta = |f: fn(&VmMetrics) -> u64| f(vm).saturating_sub(f(before)) as f64;
        let cpu = delta(|vm| vm.cpu_ns);
        table.add_row([
            client.identity(*id, vm.tgid).name.clone(),
            vm.vcpus.len().to_string(),
            format!("{:.0}", cpu / sec / 1e7),
            format!("{:.1}", 100.0 * cpu / total.max(1) as f64),
            format!("{:.0}", delta(|vm| vm.pause_exits) / sec),
            format!("{:.0}", delta(|vm| vm.yields_asked) / sec),
            format!("{:.0}", delta(|vm| vm.yields_honoured) / sec),
        ]);
    }
    for column in 1..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn hints(from: &Metrics, to: &Metrics) -> String {
    let d = |f: fn(&Metrics) -> u64| f(to).saturating_sub(f(from));
    let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let asked = d(|m| m.yield_asked);
    let taken = d(|m| m.yield_honoured + m.yield_in_turn);
    let moved = d(|m| m.handoff_shared + m.handoff_pinned);
    let next = d(|m| m.handoff_next);
    format!(
        "yield_to: {asked} asked, {taken} honoured ({:.1} %); of {moved} vCPUs handed a CPU, \
         {next} ran next on it ({:.1} %)",
        percent(taken, asked),
        percent(next, moved),
    )
}
