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

/// Of the map's only value.
const KEY: [u8; 4] = [0; 4];

/// The scheduler's maps that the object shares.
pub struct Maps {
    pub layout: MapHandle,
    pub vm_slots: MapHandle,
    pub vms: MapHandle,
    pub pauses: MapHandle,
}

/// Starts the thread; it begins when it is sent the maps.
pub fn follow() -> Sender<Maps> {
    let (sender, maps) = channel();
    spawn(move || watch(maps));
    sender
}

fn watch(maps: Receiver<Maps>) {
    // While the scheduler loads, so that it knows its vCPUs from the first moment on.
    let mut layout = present().then(read_layout);
    let Ok(maps) = maps.recv() else { return };
    loop {
        if present()
            && let Err(e) = attend(&maps, layout.take().unwrap_or_else(read_layout))
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

/// Where KVM keeps what the scheduler reads, as the map holds it.
fn read_layout() -> Result<Vec<u8>> {
    let mut object = MaybeUninit::uninit();
    let mut open = skel::KvmSkelBuilder::default()
        .open(&mut object)
        .context("cannot open the KVM object")?;
    open.progs.on_spin.set_autoload(false);
    open.progs.on_destroy.set_autoload(false);
    let loaded = open.load().context("cannot load the KVM object")?;
    loaded
        .progs
        .write_layout
        .test_run(ProgramInput::default())
        .context("cannot find out where KVM keeps its fields")?;
    let layout = loaded.maps.vmland_kvm_layout.lookup(&KEY, MapFlags::ANY)?;
    layout.context("the KVM object has written nothing")
}

/// From the moment KVM is there until it is gone.
fn attend(maps: &Maps, layout: Result<Vec<u8>>) -> Result<()> {
    maps.layout.update(&KEY, &layout?, MapFlags::ANY)?;
    debug!("KVM is there");

    let mut object = MaybeUninit::uninit();
    let mut open = skel::KvmSkelBuilder::default()
        .open(&mut object)
        .context("cannot open the KVM object")?;
    open.progs.write_layout.set_autoload(false);
    open.maps.vmland_vm_slots.reuse_fd(maps.vm_slots.as_fd())?;
    open.maps.vmland_vms.reuse_fd(maps.vms.as_fd())?;
    open.maps.vmland_pauses.reuse_fd(maps.pauses.as_fd())?;
    let loaded = open.load().context("cannot load the KVM object")?;
    let _spin = optional(loaded.progs.on_spin.attach(), "pause exits are not counted");
    let _destroy = optional(
        loaded.progs.on_destroy.attach(),
        "a VM is noticed to be gone only with its threads",
    );
    wait_until_gone();
    debug!("KVM is gone");
    let unknown = [0; size_of::<crate::bpf_intf::vmland_kvm_layout>()];
    maps.layout.update(&KEY, &unknown, MapFlags::ANY)?;
    Ok(())
}

fn optional<T>(attached: libbpf_rs::Result<T>, otherwise: &str) -> Option<T> {
    attached.inspect_err(|e| warn!("{otherwise}: {e}")).ok()
}
