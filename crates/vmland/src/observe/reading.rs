// SPDX-License-Identifier: GPL-2.0-only
//! Totals at one moment.
//!
//! Times are in ns. None stands for what cannot be known here: of the scheduler's numbers, under
//! another scheduler than scx_vmland; of KVM's, without root.

use std::collections::BTreeMap;

use vmland_control::stats::{Metrics, VmMetrics};
use vmland_identity::VmIdentity;

/// What a VM is called from reading to reading. A process seldom has more than one VM; `nth`
/// tells these apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VmKey {
    pub pid: i32,
    pub nth: u32,
}

#[derive(Clone, Debug)]
pub struct Reading {
    /// The time of day, since 1970.
    pub unix_ms: u64,
    /// By a clock that nobody sets.
    pub at_ns: u64,
    pub host: Host,
    pub vms: BTreeMap<VmKey, Vm>,
}

#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Online.
    pub cpus: usize,
    /// Name of the sched_ext scheduler; None: the kernel's own.
    pub scheduler: Option<String>,
    /// Of scx_vmland's process, which the kernel does not count its BPF part to.
    pub scheduler_cpu_ns: Option<u64>,
    /// Time that some task waited for a CPU (PSI).
    pub pressure_ns: Option<u64>,
    /// Of scx_vmland. `vms` is empty: each is in its [`Vm`].
    pub counters: Option<Metrics>,
}

#[derive(Clone, Debug)]
pub struct Vm {
    /// When its threads were read.
    pub at_ns: u64,
    /// Its name is unique among the VMs of the reading.
    pub identity: VmIdentity,
    /// By KVM's id.
    pub vcpus: BTreeMap<i32, Vcpu>,
    /// Of its whole process, threads that have ended included.
    pub process_cpu_ns: Option<u64>,
    pub counters: Option<Counters>,
    pub exits: Option<u64>,
    pub poll_wasted_ns: Option<u64>,
}

/// A thread that runs a guest's CPU, by its schedstat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vcpu {
    pub tid: i32,
    pub cpu_ns: u64,
    /// Runnable, and no CPU.
    pub ready_ns: u64,
    /// How often it got a CPU.
    pub runs: u64,
}

/// What scx_vmland counts for a VM.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Never reused while the scheduler runs.
    pub vm_id: u32,
    pub of_vm: VmMetrics,
}
