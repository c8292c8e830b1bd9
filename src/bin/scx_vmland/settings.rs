// SPDX-License-Identifier: GPL-2.0-only
//! Gives each VM the terms that are in force for it.
//!
//! A thread of its own, since finding out who a VM is reads files of its process,
//! which can block. Four times a second it looks for VMs that are new or have
//! more vCPUs than before, and writes their terms where `bpf/terms.bpf.h` reads
//! them. In between it serves the control socket, whose clients may change what is
//! in force. SIGHUP makes it read the configuration anew; one with an error changes
//! nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::spawn;
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use log::{debug, error, info, warn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use scx_vmland::config::{
    Config, CpuSet, Diagnostics, InForce, Latency, Settings, Sources, VmFacts, YieldTo,
};
use scx_vmland::control::server::Server;
use scx_vmland::control::{Running, answer};
use scx_vmland::vm_identity::identify;

use crate::bpf_intf::{
    VMLAND_TERMS_IGNORE_YIELD, VMLAND_TERMS_LATENCY_BATCH, VMLAND_TERMS_LATENCY_LOW,
    VMLAND_TERMS_PREFERS_CPUS, vmland_terms, vmland_vm,
};
use crate::metrics::lookup;
use crate::opts::Opts;
use crate::prefer::Preferences;

const POLL: Duration = Duration::from_millis(250);

/// The weight of a VM for which none is set.
const DEFAULT_WEIGHT: u64 = 100;

/// The scheduler's maps that this thread works with.
pub struct Maps {
    pub vm_slots: MapHandle,
    pub vms: MapHandle,
    pub terms: MapHandle,
    pub preferred: MapHandle,
}

/// Reads the configuration, and says what it is warned of.
pub fn load(sources: &Sources) -> Result<Config, Diagnostics> {
    let (config, warnings) = Config::load(sources)?;
    for warning in warnings {
        warn!("{warning}");
    }
    Ok(config)
}

/// What holds where nobody says anything.
pub fn defaults(opts: &Opts) -> Settings {
    Settings {
        weight: Some(DEFAULT_WEIGHT),
        slice_ns: Some(opts.slice_us * 1_000),
        slice_min_ns: Some(opts.slice_us_min * 1_000),
        yield_to: Some(YieldTo::Honour),
        ipi_window_ns: Some(opts.ipi_window_us * 1_000),
        latency: Some(Latency::Normal),
        cpus: Some(CpuSet::ALL),
    }
}

/// Starts the thread; it begins when it is sent the maps. To be called before
/// there is any other thread, for a signal goes to whichever does not block it.
pub fn follow(now: InForce, server: Server) -> Result<Sender<Maps>> {
    let mut hangup = SigSet::empty();
    hangup.add(Signal::SIGHUP);
    hangup.thread_block()?;
    let hangups = SignalFd::with_flags(&hangup, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("cannot wait for SIGHUP")?;
    let (sender, maps) = channel();
    spawn(move || watch(now, server, &hangups, &maps));
    Ok(sender)
}

fn watch(mut now: InForce, mut server: Server, hangups: &SignalFd, maps: &Receiver<Maps>) {
    let Ok(maps) = maps.recv() else { return };
    let mut vms = Vms {
        maps,
        preferences: Preferences::default(),
        known: BTreeMap::new(),
    };
    loop {
        vms.look();
        if let Ok(Some(_)) = hangups.read_signal() {
            reload(&mut now, &mut vms);
        }
        vms.settle(&now);
        server.turn(POLL, |line| {
            vms.look();
            let running: Vec<_> = vms.known.values().map(|vm| &vm.running).collect();
            let answered = answer(line, &mut now, &running);
            if answered.changed {
                vms.unsettle();
                vms.settle(&now);
            }
            answered.line.into_bytes()
        });
    }
}

/// At SIGHUP. The log is told what a client of the socket would be.
fn reload(now: &mut InForce, vms: &mut Vms) {
    let facts: Vec<_> = vms.known.values().map(|vm| &vm.running.facts).collect();
    match now.reload(&facts) {
        Ok((changes, warnings)) => {
            for warning in warnings {
                warn!("{warning}");
            }
            let rules = now.said();
            info!(
                "configuration read anew: {rules} rules, {} changes",
                changes.len()
            );
            vms.unsettle();
        }
        Err(errors) => error!("the configuration stays as it was: {errors}"),
    }
}

/// The VMs that there are, and the maps that tell of them.
struct Vms {
    maps: Maps,
    preferences: Preferences,
    /// By id.
    known: BTreeMap<u32, Known>,
}

struct Known {
    running: Running,
    slot: Vec<u8>,
    /// Its terms have been written.
    settled: bool,
}

impl Vms {
    /// Finds out who is new, has more vCPUs than before, or is gone.
    fn look(&mut self) {
        if let Err(e) = self.try_look() {
            warn!("cannot see which VMs there are: {e:#}");
        }
    }

    fn try_look(&mut self) -> Result<()> {
        let mut there = BTreeMap::new();
        for key in self.maps.vm_slots.keys() {
            let Some(slot) = self.maps.vm_slots.lookup(&key, MapFlags::ANY)? else {
                continue;
            };
            let vm = lookup::<vmland_vm>(&self.maps.vms, &slot)?;
            let Some(vm) = vm.filter(|vm| vm.vm_id != 0) else {
                continue;
            };
            let before = self.known.remove(&vm.vm_id);
            let known = before.filter(|known| known.running.facts.vcpus == vm.nr_vcpus);
            let known = known.unwrap_or_else(|| Known {
                running: Running {
                    id: vm.vm_id,
                    pid: vm.tgid,
                    facts: VmFacts::new(identify(Path::new("/proc"), vm.tgid), vm.nr_vcpus),
                },
                slot,
                settled: false,
            });
            there.insert(vm.vm_id, known);
        }
        self.known = there;
        Ok(())
    }

    fn unsettle(&mut self) {
        for vm in self.known.values_mut() {
            vm.settled = false;
        }
    }

    /// Writes the terms of VMs that are new or have changed.
    fn settle(&mut self, now: &InForce) {
        for vm in self.known.values_mut().filter(|vm| !vm.settled) {
            let settings = now.settings_for(&vm.running.facts);
            debug!("VM {}: {settings:?}", vm.running.facts.name);
            match write(&self.maps, &self.preferences, vm, &settings) {
                Ok(()) => vm.settled = true,
                Err(e) => warn!(
                    "cannot give VM {} its settings: {e:#}",
                    vm.running.facts.name
                ),
            }
        }
    }
}

fn write(maps: &Maps, preferences: &Preferences, vm: &Known, settings: &Settings) -> Result<()> {
    let mut terms = terms(vm.running.id, settings);
    let slot = u32::from_ne_bytes(vm.slot.as_slice().try_into()?);
    if let Some(cpus) = settings.cpus.filter(|cpus| *cpus != CpuSet::ALL)
        && preferences.set(&maps.preferred, slot, &cpus)?
    {
        terms.flags |= VMLAND_TERMS_PREFERS_CPUS;
    }
    let bytes = unsafe { plain::as_bytes(&terms) };
    Ok(maps.terms.update(&vm.slot, bytes, MapFlags::ANY)?)
}

fn terms(vm_id: u32, settings: &Settings) -> vmland_terms {
    let mut flags = 0;
    if settings.yield_to == Some(YieldTo::Ignore) {
        flags |= VMLAND_TERMS_IGNORE_YIELD;
    }
    flags |= match settings.latency {
        Some(Latency::Low) => VMLAND_TERMS_LATENCY_LOW,
        Some(Latency::Batch) => VMLAND_TERMS_LATENCY_BATCH,
        Some(Latency::Normal) | None => 0,
    };
    vmland_terms {
        vm_id,
        weight: settings.weight.unwrap_or(DEFAULT_WEIGHT) as u32,
        slice_ns: settings.slice_ns.unwrap_or(0),
        slice_min_ns: settings.slice_min_ns.unwrap_or(0),
        ipi_window_ns: settings.ipi_window_ns.unwrap_or(0),
        flags,
        pad: 0,
    }
}
