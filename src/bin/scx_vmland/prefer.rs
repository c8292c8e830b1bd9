// SPDX-License-Identifier: GPL-2.0-only
//! Tells the BPF part which CPUs a VM prefers, by way of `bpf/prefer.bpf.c`.

#[allow(clippy::all)]
mod skel {
    include!(concat!(env!("OUT_DIR"), "/prefer_skel.rs"));
}

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use anyhow::{Context, Result, ensure};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapHandle, OpenObject, ProgramInput};
use scx_vmland::config::CpuSet;

use crate::bpf_intf::vmland_preference;

pub struct Preferences<'a>(skel::PreferSkel<'a>);

impl<'a> Preferences<'a> {
    /// `preferred` is the scheduler's map.
    pub fn load(
        object: &'a mut MaybeUninit<OpenObject>,
        preferred: &MapHandle,
    ) -> Result<Preferences<'a>> {
        let mut open = skel::PreferSkelBuilder::default()
            .open(object)
            .context("cannot open the object of preferred CPUs")?;
        open.maps.vmland_preferred.reuse_fd(preferred.as_fd())?;
        let loaded = open
            .load()
            .context("cannot load the object of preferred CPUs")?;
        Ok(Self(loaded))
    }

    /// Before the VM's terms say that there is a preference.
    pub fn set(&self, vm_slot: u32, cpus: &CpuSet) -> Result<()> {
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
        let code = self.0.progs.prefer.test_run(input)?.return_value as i32;
        ensure!(code == 0, "error {code}");
        Ok(())
    }
}
