// SPDX-License-Identifier: GPL-2.0-only
//! The simulator's figures as data: docs/figures/sim-*.json. `make figures` makes the tables of docs/ from it.
//!
//! `cargo test --release --locked --test sim figures -- --ignored` writes the files.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bpf_intf::{
    vmland_mechanism_VMLAND_GANGS, vmland_mechanism_VMLAND_PREEMPTION,
    vmland_mechanism_VMLAND_PROLONG, vmland_mechanism_VMLAND_RECEIVERS,
    vmland_mechanism_VMLAND_SECOND_CHANCE, vmland_mechanism_VMLAND_STICKY,
    vmland_mechanism_VMLAND_TURNS, vmland_mechanism_VMLAND_YIELD_TO,
};
use crate::ordering::{LOADS, LOCK, Run, two_guests};
use crate::rustland::rustland;
use crate::vmland::{Settings, vmland};
use vmland_sim::eevdf::Eevdf;
use vmland_sim::machine::{Costs, Machine};
use vmland_sim::scheduler::Scheduler;
use vmland_sim::vm::Load;

/// Names as `--without` has them, and their bits. The first row leaves nothing out.
const MECHANISMS: [(&str, u32); 9] = [
    ("", 0),
    ("yield-to", vmland_mechanism_VMLAND_YIELD_TO),
    ("receivers", vmland_mechanism_VMLAND_RECEIVERS),
    ("second-chance", vmland_mechanism_VMLAND_SECOND_CHANCE),
    ("turns", vmland_mechanism_VMLAND_TURNS),
    ("preemption", vmland_mechanism_VMLAND_PREEMPTION),
    ("sticky", vmland_mechanism_VMLAND_STICKY),
    ("prolong", vmland_mechanism_VMLAND_PROLONG),
    ("gangs", vmland_mechanism_VMLAND_GANGS),
];

/// Each run takes one second of simulated time.
const SEEDS: u64 = 15;

fn hosts() -> [(&'static str, Costs); 2] {
    [
        ("emulated", Costs::emulated()),
        ("server", Costs::default()),
    ]
}

fn runs<S: Scheduler>(load: Load, costs: Costs, scheduler: impl Fn() -> S) -> Vec<Run> {
    (0..SEEDS)
        .map(|seed| two_guests(scheduler(), load, costs, seed))
        .collect()
}

/// How late a guest's timer of 2 ms is beside two lock-bound guests: p99, in ms.
fn late_ms(settings: Settings, costs: Costs, seed: u64) -> f64 {
    let mut machine = Machine::new(2, vmland(2, settings), costs, seed);
    let timer = Load::Latency {
        period_ns: 2_000_000,
        each_ns: 50_000,
    };
    let sleeper = machine.add_vm(timer, 1, 100);
    for _ in 0..2 {
        machine.add_vm(LOCK, 2, 100);
    }
    machine.run_for(1_000_000_000);
    let late_ns = &mut machine.vms[sleeper].late_ns;
    late_ns.sort_unstable();
    late_ns[late_ns.len() * 99 / 100] as f64 / 1e6
}

/// A value of each run, in the order of seeds.
fn values(runs: &[Run], of: fn(&Run) -> f64) -> Vec<f64> {
    runs.iter().map(of).map(rounded).collect()
}

/// More digits would only make the file long.
pub fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// `test` writes them. A row a line, so that a diff tells what has changed.
pub fn write(name: &str, test: &str, rows: &[Value]) {
    let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    let text = format!(
        "{{\"command\": \"cargo test --release --locked --test sim {test} -- --ignored\",\n\
         \"rows\": [\n{}\n]}}\n",
        rows.join(",\n")
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/figures");
    fs::write(path.join(name), text).expect("docs/figures is writable");
}

/// Schedulers beside each other.
#[test]
#[ignore = "writes docs/figures/sim-schedulers.json, in half a minute"]
fn table() {
    let mut rows = Vec::new();
    for (host, costs) in hosts() {
        for (name, load) in LOADS {
            let vmland = || vmland(2, Settings::default());
            for (scheduler, runs) in [
                ("eevdf", runs(load, costs, || Eevdf::new(2))),
                ("scx_rustland", runs(load, costs, || rustland(2))),
                ("scx_vmland", runs(load, costs, vmland)),
            ] {
                let work_per_s = values(&runs, |run| run.work_per_s);
                rows.push(json!({
                    "costs": host, "load": name, "scheduler": scheduler,
                    "work_per_s": work_per_s,
                }));
            }
        }
    }
    write("sim-schedulers.json", "figures::table", &rows);
}

/// scx_vmland, and scx_vmland without each mechanism.
#[test]
#[ignore = "writes docs/figures/sim-mechanisms.json, in half a minute"]
fn mechanisms() {
    let mut rows = Vec::new();
    for (host, costs) in hosts() {
        for (without, bits) in MECHANISMS {
            let settings = Settings {
                without: bits,
                ..Settings::default()
            };
            for (name, load) in LOADS {
                let runs = runs(load, costs, || vmland(2, settings));
                rows.push(json!({
                    "costs": host, "load": name, "without": without,
                    "work_per_s": values(&runs, |run| run.work_per_s),
                    "exits_per_work": values(&runs, |run| run.exits_per_work),
                }));
            }
            let late_ms: Vec<f64> = (0..SEEDS)
                .map(|seed| rounded(late_ms(settings, costs, seed)))
                .collect();
            rows.push(json!({
                "costs": host, "load": "timer", "without": without,
                "late_p99_ms": late_ms,
            }));
        }
    }
    write("sim-mechanisms.json", "figures::mechanisms", &rows);
}
