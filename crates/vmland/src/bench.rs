// SPDX-License-Identifier: GPL-2.0-only
//! `vmland bench`: a comparison that brings its own guests.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vmland_ab::measure::{Sample, Values};
use vmland_guests::preflight::Options;
use vmland_guests::running::{Guests, Progress};
use vmland_guests::spec::{self, GuestRequest, GuestSpec, Load};
use vmland_guests::workload;

use crate::ab::metrics::{self, CPU_OFF_WEIGHT, Delay, counter, load_counter};
use crate::ab::{Company, Comparison, PAUSE, PlanOpts};
use crate::launch::{LaunchOpts, Switch};

/// A guest is up in seconds; in an emulated host on a busy machine, in a minute.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// The arm that leaves the first guest alone on the host.
const SOLO: &str = "solo";

const HELP: &str = "\
Compare schedulers with Linux guests that it starts

Starts one guest under QEMU and KVM for each load in --guests, and compares
schedulers as \"vmland ab\" does. The guests' user space is built in; their kernel is
the host's own image. They end with vmland.

Loads, and what each counts:
{loads}
\"solo\" in --schedulers is the kernel's own scheduler with only the first guest
running: an upper limit for that guest.";

fn help() -> String {
    let line = |load: Load| {
        let (about, counted) = load.about();
        let line = format!("  {load:<8} {about:<42} {counted}");
        line.trim_end().to_owned() + "\n"
    };
    HELP.replace("{loads}", &Load::ALL.map(line).concat())
}

/// Compare schedulers with Linux guests that it starts
#[derive(clap::Args)]
#[command(long_about = help())]
pub struct Opts {
    /// The guests: loads, each with optional settings (tlb:vcpus=4,name=web). weight=N puts
    /// the guest into a cgroup of its own; if one guest has a weight, the default is 100.
    #[arg(
        long,
        value_name = "LOAD,…",
        default_value = "lock,lock",
        conflicts_with = "preset"
    )]
    guests: String,

    /// Guests for a purpose.
    #[arg(long)]
    preset: Option<Preset>,

    /// vCPUs of a guest without vcpus=N.
    #[arg(long, value_name = "N", default_value = "2", value_parser = spec::vcpus)]
    vcpus: u32,

    #[command(flatten)]
    launch: LaunchOpts,

    /// The command of the load run: a program of this host with its arguments, such as
    /// "hackbench -g 1 -l 50". A run should be much shorter than the window.
    #[arg(long, value_name = "COMMAND")]
    workload: Option<String>,

    /// A file that the workload needs; at DEST in the guest, or at its own path.
    /// May be repeated.
    #[arg(long, value_name = "FILE[:DEST]", requires = "workload")]
    workload_file: Vec<String>,

    /// Take the workload, its libraries and files from this root, as chroot would.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/",
        hide_default_value = true,
        requires = "workload"
    )]
    workload_root: PathBuf,

    #[command(flatten)]
    plan: PlanOpts,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Preset {
    /// Four guests with as many vCPUs as they have CPUs, on munmap: the setting of the VEE '21 paper, to scale.
    Paper,
    /// A guest that sleeps and wakes beside two that contend for locks.
    Neighbours,
    /// Three guests that compute, with as many vCPUs as they have CPUs and weights of 100, 200 and 400.
    Fair,
}

pub fn run(opts: &Opts) -> Result<()> {
    let (requests, vcpus) = wanted(opts)?;
    let specs = spec::resolve(&requests, vcpus)?;
    let archive = packed(opts, &specs)?;
    let loads = Load::ALL
        .into_iter()
        .filter(|load| specs.iter().any(|spec| spec.load == *load));
    let weighted = specs.iter().any(|spec| spec.weight.is_some());
    let of_weights = weighted.then(metrics::of_weights);
    let mut comparison = Comparison {
        plan: &opts.plan,
        metrics: vec![],
        workload: vec![],
        measures: loads.flat_map(metrics::of_load).chain(of_weights).collect(),
        extra_arms: &[SOLO],
        notes: vec![],
    };
    comparison.check()?;

    let began = Instant::now();
    let guests = Guests::start(
        &specs,
        &Options {
            archive,
            ..opts.launch.options()
        },
    )?;
    guests.wait_up(BOOT_LIMIT)?;
    comparison.notes.push(note(&specs, opts));

    let mut bench = Bench {
        guests,
        alone: false,
        began,
        at_start: Vec::new(),
        cpu_at_start: Vec::new(),
    };
    comparison.run(Some(&mut bench), began)
}

fn note(specs: &[GuestSpec], opts: &Opts) -> String {
    let weight = |s: &GuestSpec| { s.weight }.map_or(String::new(), |n| format!(", weight {n}"));
    let guest = |s: &GuestSpec| {
        let weight = weight(s);
        format!("{} ({}, {} vCPUs{weight})", s.name, s.load, s.vcpus)
    };
    let guests: Vec<_> = specs.iter().map(guest).collect();
    let pv = match opts.launch.pv {
        Switch::On => "with",
        Switch::Off => "without",
    };
    let cpus =
        { opts.launch.cpus.as_deref() }.map_or(String::new(), |list| format!(", on CPUs {list}"));
    format!(
        "guests: {}; {pv} KVM's paravirtual TLB flush, IPIs and yield{cpus}",
        guests.join(", ")
    )
}

fn wanted(opts: &Opts) -> Result<(Vec<GuestRequest>, u32)> {
    let Some(preset) = opts.preset else {
        return Ok((spec::requests(&opts.guests)?, opts.vcpus));
    };
    Ok(match preset {
        Preset::Paper => (spec::requests("tlb,tlb,tlb,tlb")?, guest_cpus(opts)?),
        Preset::Neighbours => (spec::requests("lat:vcpus=1,lock,lock")?, opts.vcpus),
        Preset::Fair => (
            spec::requests("cpu:weight=100,cpu:weight=200,cpu:weight=400")?,
            guest_cpus(opts)?,
        ),
    })
}

/// The workload's archive; empty if no guest runs one.
fn packed(opts: &Opts, specs: &[GuestSpec]) -> Result<Vec<u8>, workload::Error> {
    let runs = specs.iter().any(|spec| spec.load == Load::Run);
    match (runs, &opts.workload) {
        (false, None) => Ok(Vec::new()),
        (false, Some(_)) => Err(workload::Error::Unused),
        (true, None) => Err(workload::Error::Missing),
        (true, Some(command)) => workload::pack(&workload::Request {
            command: command.clone(),
            files: opts.workload_file.clone(),
            root: opts.workload_root.clone(),
        }),
    }
}

/// How many CPUs the guests have to share.
fn guest_cpus(opts: &Opts) -> Result<u32> {
    let cpus = match &opts.launch.cpus {
        Some(list) => vmland_base::cpus::parse(list)
            .with_context(|| format!("--cpus {list}: no list of CPUs"))?
            .len(),
        None => std::thread::available_parallelism()?.get(),
    };
    ensure!(cpus > 0, "no CPUs for the guests");
    Ok(cpus as u32)
}

/// For guests that used `cpu` and have the weight beside it, in percent.
fn off_weight(guests: &[(Duration, u32)]) -> Option<f64> {
    let cpu: f64 = guests.iter().map(|(cpu, _)| cpu.as_secs_f64()).sum();
    let weight: f64 = guests.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let off = |(used, own): &(Duration, u32)| {
        let (part, due) = (used.as_secs_f64() / cpu, f64::from(*own) / weight);
        (part / due - 1.0).abs() * 100.0
    };
    (cpu > 0.0).then(|| guests.iter().map(off).fold(0.0, f64::max))
}

struct Bench {
    guests: Guests,
    /// Are all but the first stopped?
    alone: bool,
    began: Instant,
    /// Each guest's progress when the window began.
    at_start: Vec<Option<Progress>>,
    /// And its CPU time, if it has a weight.
    cpu_at_start: Vec<Option<Duration>>,
}

impl Bench {
    /// Of this window; None if guests have no weights or all but one are stopped.
    fn off_weight(&self) -> Option<f64> {
        if self.alone {
            return None;
        }
        let used = { self.guests.specs().enumerate() }
            .map(|(guest, spec)| {
                let cpu = { self.guests.cpu_time(guest)? }
                    .checked_sub((*self.cpu_at_start.get(guest)?)?)?;
                Some((cpu, spec.weight?))
            })
            .collect::<Option<Vec<_>>>()?;
        off_weight(&used)
    }

    /// The guests that run.
    fn running(&self) -> std::ops::Range<usize> {
        0..if self.alone {
            1
        } else {
            self.guests.specs().len()
        }
    }
}

impl Company for Bench {
    fn enter(&mut self, arm: &str) -> Result<()> {
        let alone = arm == SOLO;
        if alone != self.alone {
            for guest in 1..self.guests.specs().len() {
                if alone {
                    self.guests.pause(guest)?;
                } else {
                    self.guests.resume(guest)?;
                }
            }
            self.alone = alone;
        }
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        Ok(self.guests.check()?)
    }

    fn sample(&mut self, sample: &mut Sample) {
        for guest in self.running() {
            let Some(progress) = self.guests.progress(guest) else {
                continue;
            };
            let Some(spec) = self.guests.specs().nth(guest) else {
                continue;
            };
            let at_s = progress.received.duration_since(self.began).as_secs_f64();
            let vm = sample.vms.entry(spec.name.clone()).or_default();
            vm.insert(load_counter(counter::WORK, spec.load), progress.work as f64);
            vm.insert(load_counter(counter::WORK_AT_S, spec.load), at_s);
            if let Some(&pauses) = vm.get(PAUSE) {
                vm.insert(load_counter(PAUSE, spec.load), pauses);
            }
        }
    }

    fn window_begins(&mut self) {
        let guests = 0..self.guests.specs().len();
        self.at_start = { guests.clone() }
            .map(|guest| self.guests.progress(guest))
            .collect();
        self.cpu_at_start = guests.map(|guest| self.guests.cpu_time(guest)).collect();
    }

    /// The longest delays of all guests with a load, and how CPU time was parted.
    fn window_ends(&mut self) -> Values {
        let mut values = Values::new();
        for guest in self.running() {
            let Some(load) = self.guests.specs().nth(guest).map(|spec| spec.load) else {
                continue;
            };
            let (Some(now), Some(Some(then))) =
                (self.guests.progress(guest), self.at_start.get(guest))
            else {
                continue;
            };
            let Some(delays) = now.latency_since(then) else {
                continue;
            };
            for (delay, us) in [(Delay::P99, delays.p99_us), (Delay::Max, delays.max_us)] {
                let value = values.entry(delay.id(load)).or_default();
                *value = value.max(us as f64);
            }
        }
        if let Some(off) = self.off_weight() {
            values.insert(CPU_OFF_WEIGHT.into(), off);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_weights() {
        let ms = Duration::from_millis;
        let off = |guests: &[(u64, u32)]| {
            off_weight(
                &{ guests.iter() }
                    .map(|&(cpu, w)| (ms(cpu), w))
                    .collect::<Vec<_>>(),
            )
        };
        let near = |value: Option<f64>, to: f64| (value.unwrap() - to).abs() < 1e-9;
        assert!(near(off(&[(100, 100), (200, 200), (400, 400)]), 0.0));
        // 3/8 for 1/4, 5/8 for 3/4.
        assert!(near(off(&[(300, 100), (500, 300)]), 50.0));
        assert!(near(off(&[(0, 1), (500, 1)]), 100.0));
        assert_eq!(off(&[(0, 1), (0, 1)]), None);
        assert_eq!(off(&[]), None);
    }
}
