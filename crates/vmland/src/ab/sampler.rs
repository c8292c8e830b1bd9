// SPDX-License-Identifier: GPL-2.0-only
//! One reading of all counters.
//!
//! A thread that has had a VM exit is a vCPU. The threads are looked up before a window and
//! not within it, so that both readings are of the same threads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Instant;

use procfs::{CpuPressure, Current, CurrentSI, KernelStats};
use vmland_ab::measure::{Counters, Measure, Sample, Values};
use vmland_identity::Thread;

use super::command::MetricCommand;
use super::exits::{Exits, REASONS, ThreadExits};
use super::metrics::{self, counter};
use super::vms::{self, Vms};
use crate::client::{PROC, schedstat};

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
            let counted = self.exits.is_some();
            let is_vcpu = |thread: &Thread| match counted {
                true => seen.contains_key(&thread.tid),
                false => thread.is_vcpu_by_name(),
            };
            let threads = vmland_identity::threads(Path::new(PROC), pid).into_iter();
            let vcpus = threads.filter(is_vcpu).map(|thread| thread.tid);
            self.vcpus.insert(pid, vcpus.collect());
        }
    }

    /// Number of VMs, and of their vCPUs.
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

    /// Everything now; `scheduler` is the pid of the active scheduler, if it has one.
    pub fn read(&mut self, scheduler: Option<u32>) -> Sample {
        // The counters of the kernel first: they take microseconds, commands may take longer.
        let at_s = self.began.elapsed().as_secs_f64();
        let exits = self.thread_exits();
        let mut sample = Sample {
            at_s,
            ..Sample::default()
        };
        for (name, pid) in &self.vms {
            if let Some(vm) = self.vm_counters(*pid, &exits) {
                sample.vms.insert(name.clone(), vm);
            }
        }
        sample.host = host_counters();
        if let Some(ns) = scheduler.map_or(Some(0.0), process_cpu_ns) {
            sample.host.insert(counter::SCHEDULER_NS.into(), ns);
        }
        for command in self.commands.iter().filter(|command| !command.level) {
            if let Some(value) = read_command(command, &mut self.notes) {
                let at_s = self.began.elapsed().as_secs_f64();
                sample.host.insert(metrics::command_counter(command), value);
                sample.host.insert(metrics::command_clock_s(command), at_s);
            }
        }
        sample
    }

    /// The values of the commands that print a level.
    pub fn levels(&mut self) -> Values {
        let mut levels = Values::new();
        for command in self.commands.iter().filter(|command| command.level) {
            if let Some(value) = read_command(command, &mut self.notes) {
                levels.insert(command.id.clone(), value);
            }
        }
        levels
    }

    /// None if the VM or one of its vCPUs has ended: the thread's last counts are lost.
    fn vm_counters(&self, pid: i32, exits: &HashMap<i32, ThreadExits>) -> Option<Counters> {
        let mut sum = BTreeMap::<&str, u64>::new();
        let mut add = |counter, value| *sum.entry(counter).or_default() += value;
        for &tid in self.vcpus.get(&pid).into_iter().flatten() {
            let stat = schedstat(pid, tid)?;
            add(counter::CPU_NS, stat.sum_exec_runtime);
            add(counter::WAIT_NS, stat.run_delay);
            if self.exits.is_none() {
                continue;
            }
            let none = ThreadExits::default();
            let thread = exits.get(&tid).unwrap_or(&none);
            add(counter::EXITS, thread.all);
            add(counter::YIELDS_ASKED, thread.yields_asked);
            add(counter::YIELDS_ACCEPTED, thread.yields_accepted);
            for (reason, hits) in REASONS.iter().zip(thread.by_reason) {
                add(reason.id, hits);
            }
        }
        Some(sum.into_iter().map(|(k, v)| (k.into(), v as f64)).collect())
    }

    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// What can be measured here, in the order in which it is shown.
    pub fn measures(&self) -> Vec<Measure> {
        let mut measures: Vec<Measure> = self.commands.iter().map(metrics::of_command).collect();
        measures.extend(metrics::own(self.exits.is_some()));
        measures
    }

    /// Measured, but not shown.
    pub fn details(&self) -> Vec<Measure> {
        self.exits.iter().flat_map(|_| metrics::details()).collect()
    }
}

/// None, and a note, if it prints no number.
fn read_command(command: &MetricCommand, notes: &mut Vec<String>) -> Option<f64> {
    let read = command.read();
    read.inspect_err(|e| notes.push(format!("metric {}: the command {e:#}", command.title)))
        .ok()
}

fn host_counters() -> Counters {
    let mut counters = Counters::new();
    if let Ok(stat) = KernelStats::current() {
        counters.insert(counter::CONTEXT_SWITCHES.into(), stat.ctxt as f64);
    }
    if let Ok(pressure) = CpuPressure::current() {
        counters.insert(counter::PRESSURE_US.into(), pressure.some.total as f64);
    }
    counters
}

/// None if one of its threads has ended meanwhile.
fn process_cpu_ns(pid: u32) -> Option<f64> {
    let pid = pid as i32;
    let mut ns = 0;
    for thread in vmland_identity::threads(Path::new(PROC), pid) {
        ns += schedstat(pid, thread.tid)?.sum_exec_runtime;
    }
    Some(ns as f64)
}
