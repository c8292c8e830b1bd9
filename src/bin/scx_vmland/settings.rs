// SPDX-License-Identifier: GPL-2.0-only
//! Gives each VM the terms that the configuration has for it.
//!
//! A thread of its own, since finding out who a VM is reads files of its process,
//! which can block. Four times a second it looks for VMs that are new or have
//! more vCPUs than before, and writes their terms where `bpf/terms.bpf.h` reads
//! them. SIGHUP makes it read the configuration anew; one with an error changes
//! nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{sleep, spawn};
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use log::{debug, error, info, warn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use scx_vmland::config::{Config, Diagnostics, Latency, Settings, Sources, VmFacts, YieldTo};
use scx_vmland::vm_identity::identify;

use crate::bpf_intf::{
    VMLAND_TERMS_IGNORE_YIELD, VMLAND_TERMS_LATENCY_BATCH, VMLAND_TERMS_LATENCY_LOW, vmland_terms,
    vmland_vm,
};
use crate::metrics::lookup;

const POLL: Duration = Duration::from_millis(250);

/// The weight of a VM for which none is set.
const DEFAULT_WEIGHT: u64 = 100;

/// The scheduler's maps that this thread works with.
pub struct Maps {
    pub vm_slots: MapHandle,
    pub vms: MapHandle,
    pub terms: MapHandle,
}

/// Reads the configuration, and says what it is warned of.
pub fn load(sources: &Sources) -> Result<Config, Diagnostics> {
    let (config, warnings) = Config::load(sources)?;
    for warning in warnings {
        warn!("{warning}");
    }
    Ok(config)
}

/// Starts the thread; it begins when it is sent the maps. To be called before
/// there is any other thread, for a signal goes to whichever does not block it.
pub fn follow(config: Config, sources: Sources) -> Result<Sender<Maps>> {
    let mut hangup = SigSet::empty();
    hangup.add(Signal::SIGHUP);
    hangup.thread_block()?;
    let hangups = SignalFd::with_flags(&hangup, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("cannot wait for SIGHUP")?;
    let (sender, maps) = channel();
    spawn(move || watch(config, &sources, &hangups, &maps));
    Ok(sender)
}

fn watch(mut config: Config, sources: &Sources, hangups: &SignalFd, maps: &Receiver<Maps>) {
    let Ok(maps) = maps.recv() else { return };
    let mut settled = Settled::new();
    loop {
        if let Ok(Some(_)) = hangups.read_signal() {
            match load(sources) {
                Ok(new) => {
                    info!("configuration read anew: {} rules", new.rules().len());
                    config = new;
                    settled.clear();
                }
                Err(errors) => error!("the configuration stays as it was: {errors}"),
            }
        }
        if let Err(e) = settle(&config, &maps, &mut settled) {
            warn!("cannot give VMs their settings: {e:#}");
        }
        sleep(POLL);
    }
}

/// By VM, the number of vCPUs for which its terms were written.
type Settled = HashMap<u32, u32>;

/// Writes the terms of VMs that are new or have changed.
fn settle(config: &Config, maps: &Maps, settled: &mut Settled) -> Result<()> {
    let mut there = Settled::new();
    for key in maps.vm_slots.keys() {
        let Some(slot) = maps.vm_slots.lookup(&key, MapFlags::ANY)? else {
            continue;
        };
        let Some(vm) = lookup::<vmland_vm>(&maps.vms, &slot)?.filter(|vm| vm.vm_id != 0) else {
            continue;
        };
        there.insert(vm.vm_id, vm.nr_vcpus);
        if settled.get(&vm.vm_id) == Some(&vm.nr_vcpus) {
            continue;
        }
        let facts = VmFacts::new(identify(Path::new("/proc"), vm.tgid), vm.nr_vcpus);
        let settings = config.settings_for(&facts);
        debug!("VM {}: {settings:?}", facts.name);
        let terms = terms(vm.vm_id, &settings);
        maps.terms
            .update(&slot, unsafe { plain::as_bytes(&terms) }, MapFlags::ANY)?;
    }
    *settled = there;
    Ok(())
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
        flags,
        pad: 0,
    }
}
