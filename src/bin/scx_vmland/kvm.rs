// SPDX-License-Identifier: GPL-2.0-only
//! Follows KVM as it comes and goes.
//!
//! `bpf/kvm.bpf.c` loads only while KVM is there. A thread of its own, started
//! before the framework forbids mmap to the scheduler's, looks for KVM twice a
//! second, which is all it costs.

#[allow(clippy::all)]
mod skel {
    include!(concat!(env!("OUT_DIR"), "/kvm_skel.rs"));
}

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{sleep, spawn};
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle, ProgramInput};
use log::{debug, warn};

const POLL: Duration = Duration::from_millis(500);

/// The scheduler's maps that the object shares.
pub struct Maps {
    pub layout: MapHandle,
    pub vm_slots: MapHandle,
    pub vms: MapHandle,
}

/// Starts the thread; it begins when it is sent the maps.
pub fn follow() -> Sender<Maps> {
    let (sender, maps) = channel();
    spawn(move || watch(maps));
    sender
}

fn watch(maps: Receiver<Maps>) {
    let Ok(maps) = maps.recv() else { return };
    loop {
        if present()
            && let Err(e) = attend(&maps)
        {
            warn!("no vCPU can be recognised until KVM is loaded anew: {e:#}");
            wait_until_gone();
        }
        sleep(POLL);
    }
}

/// A module's directory; built-in KVM has one too, for its parameters.
fn present() -> bool {
    Path::new("/sys/module/kvm/parameters").exists()
}

fn wait_until_gone() {
    while present() {
        sleep(POLL);
    }
}

/// From the moment KVM is there until it is gone.
fn attend(maps: &Maps) -> Result<()> {
    let mut object = MaybeUninit::uninit();
    let mut open = skel::KvmSkelBuilder::default()
        .open(&mut object)
        .context("cannot open the KVM object")?;
    open.maps.vmland_kvm_layout.reuse_fd(maps.layout.as_fd())?;
    open.maps.vmland_vm_slots.reuse_fd(maps.vm_slots.as_fd())?;
    open.maps.vmland_vms.reuse_fd(maps.vms.as_fd())?;
    let loaded = open.load().context("cannot load the KVM object")?;
    loaded
        .progs
        .write_layout
        .test_run(ProgramInput::default())
        .context("cannot find out where KVM keeps its fields")?;

    let _spin = optional(loaded.progs.on_spin.attach(), "pause exits are not counted");
    let _destroy = optional(
        loaded.progs.on_destroy.attach(),
        "a VM is noticed to be gone only with its threads",
    );
    debug!("KVM is there");
    wait_until_gone();
    debug!("KVM is gone");
    let unknown = [0; size_of::<crate::bpf_intf::vmland_kvm_layout>()];
    maps.layout
        .update(&0u32.to_ne_bytes(), &unknown, MapFlags::ANY)?;
    Ok(())
}

fn optional<T>(attached: libbpf_rs::Result<T>, otherwise: &str) -> Option<T> {
    attached.inspect_err(|e| warn!("{otherwise}: {e}")).ok()
}
