// SPDX-License-Identifier: GPL-2.0-only
//! One reading of everything that a window is judged by.
//!
//! Which threads are vCPUs is asked of the kernel: whoever has had a VM exit. It
//! is settled before a window and holds for it, so that both readings are of the
//! same threads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::time::Instant;

use scx_vmland::ab::measure::{Counters, Measure, Sample, Source};
use scx_vmland::ab::record::{Better, Metric};

use super::command::MetricCommand;
use super::exits::{Exits, PAUSE, REASONS, ThreadExits};
use super::vms::{self, Vms};
use crate::client::schedstat;

pub struct Sampler {
    began: Instant,
    exits: Option<Exits>,
    commands: Vec<MetricCommand>,
    vms: Vms,
    /// By pid of the VM's process.
    vcpus: HashMap<i32, BTreeSet<i32>>,
    notes: Vec<String>,
}

impl Sampler {
    /// What cannot be measured here is left out, and noted.
    pub fn new(began: Instant, commands: Vec<MetricCommand>) -> Self {
        let mut notes = Vec::new();
        let exits = Exits::start()
            .inspect_err(|e| notes.push(format!("VM exits and yields are not counted: {e:#}")))
            .ok();
        Self {
            began,
            exits,
            commands,
            vms: Vms::new(),
            vcpus: HashMap::new(),
            notes,
        }
    }

    /// Looks for VMs and their vCPUs anew.
    pub fn look_around(&mut self) {
        self.vms = vms::find();
        let seen = self.thread_exits();
        self.vcpus.clear();
        for &pid in self.vms.values() {
            let mut threads = vms::threads(pid);
            if self.exits.is_some() {
                threads.retain(|tid| seen.contains_key(tid));
            } else {
                threads.retain(|&tid| vms::is_vcpu_by_name(pid, tid));
            }
            self.vcpus.insert(pid, threads.into_iter().collect());
        }
    }

    /// Of how many VMs and vCPUs is known.
    pub fn counts(&self) -> (usize, usize) {
        (self.vms.len(), self.vcpus.values().map(BTreeSet::len).sum())
    }

    fn thread_exits(&mut self) -> HashMap<i32, ThreadExits> {
        let Some(exits) = &self.exits else {
            return HashMap::new();
        };
        exits.read().unwrap_or_else(|e| {
            self.notes.push(format!("VM exits cannot be read: {e:#}"));
            HashMap::new()
        })
    }

    /// Everything now; `scheduler` is the pid of the scheduler in force, if it has one.
    pub fn read(&mut self, scheduler: Option<u32>) -> Sample {
        // The counters of the kernel first: they take microseconds, commands may take longer.
        let at_s = self.began.elapsed().as_secs_f64();
        let exits = self.thread_exits();
        let mut sample = Sample {
            at_s,
            ..Sample::default()
        };
        for (name, pid) in &self.vms {
            let vm = self.vm_counters(*pid, &exits);
            for (counter, value) in &vm {
                *sample.host.entry(counter.clone()).or_default() += value;
            }
            sample.vms.insert(name.clone(), vm);
        }
        sample.host.extend(host_counters());
        let scheduler_ns = scheduler.map_or(0.0, process_cpu_ns);
        sample.host.insert("scheduler_ns".into(), scheduler_ns);
        for i in 0..self.commands.len() {
            if !self.commands[i].level {
                self.read_command(i, &mut sample.host);
            }
        }
        sample
    }

    /// The values of the commands that tell a level.
    pub fn levels(&mut self) -> Counters {
        let mut levels = Counters::new();
        for i in 0..self.commands.len() {
            if self.commands[i].level {
                self.read_command(i, &mut levels);
            }
        }
        levels
    }

    fn read_command(&mut self, i: usize, into: &mut Counters) {
        let command = &self.commands[i];
        match command.read() {
            Ok(value) => {
                into.insert(command.name.clone(), value);
                // Rates are by the time of this very reading.
                into.insert(time_of(&command.name), self.began.elapsed().as_secs_f64());
            }
            Err(e) => self
                .notes
                .push(format!("metric {}: the command {e:#}", command.name)),
        }
    }

    fn vm_counters(&self, pid: i32, exits: &HashMap<i32, ThreadExits>) -> Counters {
        let mut sum = BTreeMap::<&str, u64>::new();
        let mut add = |counter, value| *sum.entry(counter).or_default() += value;
        for &tid in self.vcpus.get(&pid).into_iter().flatten() {
            let stat = schedstat(pid, tid);
            add("cpu_ns", stat.cpu_ns);
            add("wait_ns", stat.run_delay_ns);
            if self.exits.is_none() {
                continue;
            }
            let none = ThreadExits::default();
            let thread = exits.get(&tid).unwrap_or(&none);
            add("exits", thread.all);
            add("yields asked", thread.yields_asked);
            add("yields accepted", thread.yields_accepted);
            for (reason, hits) in REASONS.iter().zip(thread.by_reason) {
                add(reason.name, hits);
            }
        }
        sum.into_iter().map(|(k, v)| (k.into(), v as f64)).collect()
    }

    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// What comes from all of this, in the order in which it is shown.
    pub fn measures(&self) -> Vec<Measure> {
        let mut measures: Vec<Measure> = self.commands.iter().map(of_command).collect();
        let mut add = |name: &str, unit: &str, better, source, about: &str| {
            measures.push(measure(name, unit, better, source, about));
        };
        use Better::*;
        if self.exits.is_some() {
            add(
                "pause exits",
                "1/s",
                Lower,
                Source::Rate(PAUSE.into(), 1.0),
                "Times a spinning vCPU made its CPU leave the guest.",
            );
            add(
                "VM exits",
                "1/s",
                Neither,
                Source::Rate("exits".into(), 1.0),
                "Times a vCPU left its guest, for whatever reason.",
            );
            add(
                "yields asked",
                "1/s",
                Neither,
                Source::Rate("yields asked".into(), 1.0),
                "Calls of yield_to() by vCPUs.",
            );
            add(
                "yields accepted",
                "%",
                Neither,
                Source::Quotient("yields accepted".into(), "yields asked".into(), 100.0),
                "Calls of yield_to() by vCPUs that the scheduler took.",
            );
        }
        add(
            "vCPU time",
            "CPUs",
            Neither,
            Source::Rate("cpu_ns".into(), 1e-9),
            "CPU time of vCPU threads (schedstat).",
        );
        add(
            "vCPU waiting",
            "CPUs",
            Lower,
            Source::Rate("wait_ns".into(), 1e-9),
            "Time that vCPU threads were ready to run and had no CPU (schedstat): what KVM tells guests as steal time.",
        );
        add(
            "CPU share",
            "%",
            Neither,
            Source::Share("cpu_ns".into()),
            "A VM's part of the CPU time of all VMs.",
        );
        add(
            "context switches",
            "1/s",
            Neither,
            Source::Rate("ctxt".into(), 1.0),
            "On the whole host (/proc/stat).",
        );
        add(
            "CPU pressure",
            "%",
            Neither,
            Source::Rate("pressure_us".into(), 1e-4),
            "Time that some task of the host waited for a CPU (PSI, /proc/pressure/cpu).",
        );
        add(
            "scheduler's CPU time",
            "CPUs",
            Neither,
            Source::Rate("scheduler_ns".into(), 1e-9),
            "CPU time of the scheduler's process; what runs in the kernel is not in it.",
        );
        measures
    }

    /// Measured, but too much to be shown and compared: exits by reason.
    pub fn details(&self) -> Vec<Measure> {
        if self.exits.is_none() {
            return vec![];
        }
        REASONS
            .iter()
            .filter(|reason| reason.name != PAUSE)
            .map(|reason| {
                measure(
                    &format!("{} exits", reason.name),
                    "1/s",
                    Better::Neither,
                    Source::Rate(reason.name.into(), 1.0),
                    "",
                )
            })
            .collect()
    }
}

pub fn measure(name: &str, unit: &str, better: Better, source: Source, about: &str) -> Measure {
    Measure {
        metric: Metric {
            name: name.into(),
            unit: unit.into(),
            better,
            about: about.into(),
            of_vms_only: matches!(source, Source::Share(_)),
        },
        source,
    }
}

fn of_command(command: &MetricCommand) -> Measure {
    let better = if command.lower_is_better {
        Better::Lower
    } else {
        Better::Higher
    };
    let (unit, source) = if command.level {
        ("", Source::Given)
    } else {
        let name = command.name.clone();
        ("1/s", Source::Quotient(name.clone(), time_of(&name), 1.0))
    };
    let about = format!("What \"{}\" prints.", command.command);
    measure(&command.name, unit, better, source, &about)
}

/// The counter that holds when another was read.
fn time_of(counter: &str) -> String {
    format!("{counter} at")
}

fn host_counters() -> Counters {
    let mut counters = Counters::new();
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let switches = stat.lines().find_map(|line| line.strip_prefix("ctxt "));
    if let Some(value) = switches.and_then(|text| text.trim().parse().ok()) {
        counters.insert("ctxt".into(), value);
    }
    // some avg10=0.00 avg60=0.00 avg300=0.00 total=1234
    let pressure = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let some = pressure.lines().find(|line| line.starts_with("some"));
    let total = some.and_then(|line| line.split_once("total="));
    if let Some(value) = total.and_then(|(_, us)| us.trim().parse().ok()) {
        counters.insert("pressure_us".into(), value);
    }
    counters
}

fn process_cpu_ns(pid: u32) -> f64 {
    let pid = pid as i32;
    let ns = |tid| schedstat(pid, tid).cpu_ns;
    vms::threads(pid).into_iter().map(ns).sum::<u64>() as f64
}
