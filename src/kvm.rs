// SPDX-License-Identifier: GPL-2.0-only
//! Follows KVM, and its VMs, as they come and go.
//!
//! `bpf/classify/kvm.bpf.c` loads only while KVM is there, and `bpf/ipi/ipi.bpf.c`, which holds
//! the module, only while there are VMs, which hold it too. A thread of its own,
//! started before the framework forbids mmap to the scheduler's, looks for both
//! twice a second, which is all it costs.

#[allow(warnings)]
mod skel {
    include!(concat!(env!("OUT_DIR"), "/kvm_skel.rs"));
}
#[allow(warnings)]
mod ipi_skel {
    include!(concat!(env!("OUT_DIR"), "/ipi_skel.rs"));
}

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle, ProgramInput};
use log::{debug, warn};
use scx_vmland::threads;

use crate::{nice, receiver_time, verifier};

const POLL: Duration = Duration::from_millis(500);

/// Of the map's only value.
const KEY: [u8; 4] = [0; 4];

/// The scheduler's maps that the object shares.
pub struct Maps {
    pub layout: MapHandle,
    pub vm_slots: MapHandle,
    pub vms: MapHandle,
    pub free_vms: MapHandle,
    pub tasks: MapHandle,
    pub sent: MapHandle,
    pub vcpu_pids: MapHandle,
    pub counts: MapHandle,
}

/// Starts the thread; it begins when it is sent the maps, and has `nice` from then on.
pub fn follow(nice: i32) -> Sender<Maps> {
    let (sender, maps) = channel();
    threads::start("kvm", move || watch(maps, nice));
    sender
}

fn watch(maps: Receiver<Maps>, nice: i32) {
    // While the scheduler loads, so that it knows its vCPUs from the first moment on.
    let mut layout = present().then(read_layout);
    nice::set(nice);
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
    open.maps.vmland_free_vms.reuse_fd(maps.free_vms.as_fd())?;
    verifier::ask(open.open_object_mut());
    let loaded = open.load().context("cannot load the KVM object")?;
    verifier::log_work(loaded.object());
    let _destroy = loaded
        .progs
        .on_destroy
        .attach()
        .inspect_err(|e| warn!("a VM is noticed to be gone only with its threads: {e}"))
        .ok();
    while present() {
        if any_vm(maps)
            && let Err(e) = attend_vms(maps)
        {
            warn!("pause exits are not counted, and IPI receivers not put first: {e:#}");
            wait_until_gone();
        }
        sleep(POLL);
    }
    debug!("KVM is gone");
    let unknown = [0; size_of::<crate::bpf_intf::vmland_kvm_layout>()];
    maps.layout.update(&KEY, &unknown, MapFlags::ANY)?;
    Ok(())
}

/// Where the kernel lists its tracepoints, if it does.
const EVENTS: [&str; 2] = [
    "/sys/kernel/tracing/events/kvm",
    "/sys/kernel/debug/tracing/events/kvm",
];

/// Switches off the programs whose tracepoint KVM does not have: of one that is missing the
/// kernel would refuse the whole object.
fn leave_out_missing(open: &mut ipi_skel::OpenIpiSkel<'_>) {
    let Some(events) = EVENTS.iter().map(Path::new).find(|dir| dir.exists()) else {
        return;
    };
    let mut missing = vec![];
    macro_rules! need {
        ($($program:ident: $event:literal)+) => { $(
            if !events.join($event).exists() {
                open.progs.$program.set_autoload(false);
                missing.push($event);
            }
        )+ };
    }
    need! {
        on_apic_ipi: "kvm_apic_ipi"
        on_hypercall: "kvm_hypercall"
        on_hv_ipi: "kvm_hv_send_ipi"
        on_hv_ipi_ex: "kvm_hv_send_ipi_ex"
        on_accept_irq: "kvm_apic_accept_irq"
    }
    if !missing.is_empty() {
        warn!(
            "IPIs are not followed by {}: KVM has no such event",
            missing.join(", ")
        );
    }
}

fn any_vm(maps: &Maps) -> bool {
    maps.vm_slots.keys().next().is_some()
}

/// From the first VM until the last is gone.
fn attend_vms(maps: &Maps) -> Result<()> {
    let mut object = MaybeUninit::uninit();
    let mut open = ipi_skel::IpiSkelBuilder::default()
        .open(&mut object)
        .context("cannot open the IPI object")?;
    // Without it the kernel's constants, such as SCX_TASK_QUEUED, are all 0 there.
    scx_utils::import_enums!(open);
    open.maps.vmland_tasks.reuse_fd(maps.tasks.as_fd())?;
    open.maps.vmland_sent.reuse_fd(maps.sent.as_fd())?;
    open.maps
        .vmland_vcpu_pids
        .reuse_fd(maps.vcpu_pids.as_fd())?;
    open.maps.vmland_kvm_counts.reuse_fd(maps.counts.as_fd())?;
    leave_out_missing(&mut open);
    if let Some(data) = &mut open.maps.data_data {
        data.vmland_receiver_ns = receiver_time::ns();
    }
    verifier::ask(open.open_object_mut());
    let mut loaded = open.load().context("cannot load the IPI object")?;
    { &loaded.progs.init_timers }
        .test_run(ProgramInput::default())
        .context("cannot set up timers")?;
    loaded.attach().context("cannot attach the IPI object")?;
    verifier::log_work(loaded.object());
    debug!("IPIs and pause exits are followed");
    while any_vm(maps) {
        sleep(POLL);
    }
    debug!("there is no VM");
    Ok(())
}
