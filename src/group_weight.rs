// SPDX-License-Identifier: GPL-2.0-only
//! Gives a VM's cgroup the weight that is configured for the VM.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use libbpf_rs::Program;
use libbpf_rs::libbpf_sys::{bpf_prog_test_run_opts, bpf_test_run_opts};
use vmland_base::CGROUP_ROOT;

use crate::bpf_intf::vmland_override;

/// The kernel's id of a cgroup, its path as in /proc/PID/cgroup.
pub fn id_of(path: &str) -> Option<u64> {
    Some(fs::metadata(format!("{CGROUP_ROOT}{path}")).ok()?.ino())
}

/// The program `vmland_override` of `bpf/cgroup/cgroup_ops.bpf.h`.
pub struct GroupWeight(OwnedFd);

impl GroupWeight {
    pub fn new(program: &Program<'_>) -> Result<Self> {
        let fd = program.as_fd().try_clone_to_owned();
        Ok(Self(fd.context("cannot keep a BPF program open")?))
    }

    /// Requeues the waiting tasks, by the parameters that hold by then.
    pub fn requeue(&self) -> Result<()> {
        self.set(None, None).map(drop)
    }

    /// Gives `cgroup` this weight in place of its cpu.weight, or that again. Returns
    /// whether it is one with the cpu controller; the root is not. In any case
    /// the waiting tasks are requeued, by the parameters that hold by then.
    pub fn set(&self, cgroup: Option<u64>, weight: Option<u64>) -> Result<bool> {
        let mut word = vmland_override {
            cgroup: cgroup.unwrap_or(0),
            weight: weight.unwrap_or(0) as u32,
            pad: 0,
        };
        let mut run = bpf_test_run_opts {
            sz: size_of::<bpf_test_run_opts>() as _,
            ctx_in: (&raw mut word).cast(),
            ctx_size_in: size_of::<vmland_override>() as u32,
            ..Default::default()
        };
        // SAFETY: `run` and what it points to outlive the call.
        let status = unsafe { bpf_prog_test_run_opts(self.0.as_raw_fd(), &mut run) };
        if status != 0 {
            let e = io::Error::from_raw_os_error(-status);
            return Err(e).context("cannot set the weight of a cgroup");
        }
        Ok(run.retval == 1)
    }
}
