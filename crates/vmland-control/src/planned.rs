// SPDX-License-Identifier: GPL-2.0-only
//! What the planner thinks of a VM, and by what.
//!
//! Rates are per second of CPU time of the VM's vCPUs. A receiver is the vCPU that is to take an
//! IPI; a hand-off gives it the CPU of the sender.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What the planner has decided. A VM's `cosched` overrules it.
    pub mode: Mode,
    /// All VMs are free, whatever the planner decides (`--without gangs`).
    pub is_left_out: bool,
    /// None: it has not been reported; a VM is that has pause exits.
    pub reported: Option<Reported>,
    pub thresholds: Thresholds,
}

/// How the vCPUs of a VM are scheduled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Each has turns of its own.
    #[default]
    Free,
    /// They have their turns at the same time.
    Gang,
}

/// What reports say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    Calm,
    /// Its vCPUs spin for each other.
    Spins,
    /// They wait for answers to IPIs.
    AnswersIpis,
}

/// What reports of a VM say, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    pub sign: Sign,
    /// How long ago the last one was.
    pub age_ns: u64,
    /// For how long the mode has lasted.
    pub mode_since_ns: u64,
    /// Of a gang: after how long it is tried free. Of a VM that is tried free: how long that
    /// still is. Else None.
    pub mode_left_ns: Option<u64>,
    pub pause_exits_per_s: u64,
    /// Hand-offs to receivers.
    pub receivers_per_s: u64,
    /// Reports in a row that speak for the other mode.
    pub against: u32,
}

/// What the planner decides by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// A VM with as many pause exits spins,
    pub spinning_per_s: u64,
    /// unless there is a hand-off to a receiver for fewer than so many of them,
    pub exits_per_receiver: u64,
    /// or so many hand-offs to receivers.
    pub receivers_per_s: u64,
    /// So many reports in a row have to agree.
    pub agree: u32,
}
