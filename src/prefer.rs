// SPDX-License-Identifier: GPL-2.0-only
//! Tells the BPF part which CPUs a VM prefers, by way of `bpf/placement/prefer.bpf.c`.

#[allow(warnings)]
mod skel {
    include!(concat!(env!("OUT_DIR"), "/prefer_skel.rs"));
}

use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use anyhow::{Context, Result, ensure};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{MapHandle, ProgramInput};
use log::warn;
use vmland_settings::CpuSet;

use crate::bpf_intf::vmland_preference;
use crate::verifier;
use skel::{PreferSkel, PreferSkelBuilder};

/// The program, loaded when a VM has a preference for the first time: most hosts have
/// none. None if the kernel did not take it.
#[derive(Default)]
pub struct Preferences(OnceCell<Option<PreferSkel<'static>>>);

impl Preferences {
    /// Before the VM's parameters say that there is a preference. False: there can be none.
    /// `preferred` is the scheduler's map.
    pub fn set(&self, preferred: &MapHandle, vm_slot: u32, cpus: &CpuSet) -> Result<bool> {
        let program = self.0.get_or_init(|| {
            load(preferred)
                .inspect_err(|e| warn!("preferred CPUs have no effect: {e:#}"))
                .ok()
        });
        let Some(program) = program else {
            return Ok(false);
        };
        let mut wanted = vmland_preference {
            vm_slot,
            pad: 0,
            cpus: *cpus.words(),
        };
        // SAFETY: the program reads it as what it is.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut((&raw mut wanted).cast(), size_of_val(&wanted))
        };
        let input = ProgramInput {
            context_in: Some(bytes),
            ..Default::default()
        };
        let code = program.progs.prefer.test_run(input)?.return_value as i32;
        ensure!(code == 0, "error {code}");
        Ok(true)
    }
}

fn load(preferred: &MapHandle) -> Result<PreferSkel<'static>> {
    // For as long as the process: at most one.
    let object = Box::leak(Box::new(MaybeUninit::uninit()));
    let mut open = PreferSkelBuilder::default()
        .open(object)
        .context("cannot open the object of preferred CPUs")?;
    open.maps.vmland_preferred.reuse_fd(preferred.as_fd())?;
    verifier::ask(open.open_object_mut());
    let loaded = open
        .load()
        .context("cannot load the object of preferred CPUs")?;
    verifier::log_work(loaded.object());
    Ok(loaded)
}
