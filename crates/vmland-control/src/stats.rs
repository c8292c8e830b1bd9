// SPDX-License-Identifier: GPL-2.0-only
//! What a running scheduler tells about itself, over the scx_stats socket.
//!
//! All numbers are totals since the scheduler attached; a reader takes the
//! difference of two readings. Names and units are shown by `--help-stats`.

use scx_stats::prelude::*;
use scx_stats_derive::{Stats, stat_doc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::histogram::Histogram;

/// One VM, keyed in [`Metrics::vms`] by an id that is never reused.
#[stat_doc]
#[derive(Clone, Debug, Default, Serialize, Deserialize, Stats)]
pub struct VmMetrics {
    #[stat(desc = "Process that runs the VM")]
    pub tgid: i32,
    #[stat(desc = "Threads of its vCPUs, by KVM's vCPU id")]
    pub vcpus: BTreeMap<i32, i32>,
    #[stat(desc = "CPU time of its vCPU threads (ns)")]
    pub cpu_ns: u64,
    #[stat(
        desc = "Weight by which the VM competes now, cgroups included; only ratios mean anything"
    )]
    pub weight: u64,
    #[stat(desc = "Pause exits: times a spinning vCPU asked for a directed yield")]
    pub pause_exits: u64,
    #[stat(desc = "IPIs of its vCPUs that the scheduler sees, one for each receiver")]
    pub ipis: u64,
    #[stat(desc = "Hand-offs of a sender's CPU to the receiver of its IPI")]
    pub receivers: u64,
    #[stat(desc = "yield_to() calls that reached the scheduler")]
    pub yields_asked: u64,
    #[stat(desc = "yield_to() calls that were honoured")]
    pub yields_honoured: u64,
    #[stat(desc = "Time that its vCPUs were throttled by a quota or a cap (ns), summed")]
    pub throttled_ns: u64,
    #[stat(desc = "CPU time of its vCPU threads out of turn (ns), a part of cpu_ns")]
    pub boosted_ns: u64,
    #[stat(desc = "How long its vCPUs were runnable until they ran, each time")]
    pub waits: Histogram,
    #[stat(desc = "Of these, waits that began by a wake-up")]
    pub wakeups: Histogram,
}

/// The whole host.
#[stat_doc]
#[derive(Clone, Debug, Default, Serialize, Deserialize, Stats)]
#[stat(top)]
pub struct Metrics {
    #[stat(desc = "Time since boot of this reading (ns)")]
    pub at_ns: u64,
    #[stat(desc = "vCPU threads recognised")]
    pub vcpus_seen: u64,
    #[stat(desc = "vCPU threads that ended, or whose VM did")]
    pub vcpus_gone: u64,
    #[stat(desc = "Directed yields that KVM asked for")]
    pub yield_asked: u64,
    #[stat(desc = "Directed yields honoured: hand-off to the target")]
    pub yield_honoured: u64,
    #[stat(desc = "Directed yields honoured in turn: the target runs before the yielder")]
    pub yield_in_turn: u64,
    #[stat(desc = "Directed yields refused: yielder or target is no vCPU")]
    pub yield_not_vcpu: u64,
    #[stat(desc = "Directed yields refused: yielder and target belong to two VMs")]
    pub yield_other_vm: u64,
    #[stat(desc = "Directed yields refused: yield_to = \"ignore\", or --without yield-to")]
    pub yield_ignored: u64,
    #[stat(desc = "Directed yields refused: the target is throttled")]
    pub yield_throttled: u64,
    #[stat(desc = "Directed yields refused: the target waits for the turn of its gang")]
    pub yield_gang: u64,
    #[stat(desc = "Directed yields refused once: the target has not run since it woke")]
    pub yield_woken: u64,
    #[stat(desc = "Directed yields honoured: hand-off to the receiver of an IPI")]
    pub yield_receiver: u64,
    #[stat(
        desc = "Hand-offs to the receiver of an IPI, after a pause exit without a target of KVM"
    )]
    pub spin_receiver: u64,
    #[stat(
        desc = "Hand-offs to the receiver of an IPI, as the sender slept or had used up its slice"
    )]
    pub left_receiver: u64,
    #[stat(desc = "Calls of sched_yield()")]
    pub yield_plain: u64,
    #[stat(desc = "Hand-offs whose target waited in the queue of a domain")]
    pub handoff_shared: u64,
    #[stat(desc = "Hand-offs whose target waited in a per-CPU queue")]
    pub handoff_pinned: u64,
    #[stat(desc = "Hand-offs whose target was put first on its own CPU: it may not run here")]
    pub handoff_remote: u64,
    #[stat(desc = "Hand-offs whose target was already on a CPU")]
    pub handoff_served: u64,
    #[stat(desc = "Hand-offs whose target slept, was throttled or had moved")]
    pub handoff_lost: u64,
    #[stat(desc = "Hand-offs whose target was the next task to run on the CPU")]
    pub handoff_next: u64,
    #[stat(desc = "Waking tasks put on an idle CPU")]
    pub dispatch_idle: u64,
    #[stat(desc = "Tasks taken from the queue of the CPU's domain")]
    pub dispatch_shared: u64,
    #[stat(desc = "Tasks taken from the queue of another domain")]
    pub dispatch_beyond: u64,
    #[stat(desc = "Tasks taken from a per-CPU queue")]
    pub dispatch_pinned: u64,
    #[stat(desc = "Tasks that kept their CPU for another slice")]
    pub dispatch_kept: u64,
    #[stat(desc = "Reports of VMs sent to the planner")]
    pub evidence_sent: u64,
    #[stat(desc = "Reports not sent to the planner: the ring was full")]
    pub evidence_lost: u64,
    #[stat(desc = "Running tasks preempted by a waking one")]
    pub preempt: u64,
    #[stat(desc = "Turns of gangs, whose vCPUs run at the same time")]
    pub gang_turns: u64,
    #[stat(desc = "Tasks throttled: a quota or a cap was used up")]
    pub throttled: u64,
    #[stat(desc = "Tasks put first as they had waited for more than 10 s")]
    pub rescued: u64,
    #[stat(desc = "Times that a vCPU ran as an ordinary task, as there were too many VMs")]
    pub vms_full: u64,
    #[stat(desc = "cgroups that count as their parent, as there were too many")]
    pub cgroups_full: u64,
    #[stat(desc = "Records of traces that found no room")]
    pub trace_lost: u64,
    #[stat(desc = "Page faults of the scheduler since it attached (should stay 0)")]
    pub page_faults: u64,
    #[stat(desc = "VMs, by an id that is never reused")]
    pub vms: BTreeMap<u32, VmMetrics>,
}

impl Metrics {
    /// Hand-offs to the receiver of an IPI, for all reasons.
    pub fn receivers_first(&self) -> u64 {
        self.yield_receiver + self.spin_receiver + self.left_receiver
    }
}

/// Metadata for `--help-stats` and for other readers of the socket.
pub fn describe<Req: Send, Res: Send>() -> StatsServerData<Req, Res> {
    StatsServerData::new()
        .add_meta(Histogram::meta())
        .add_meta(VmMetrics::meta())
        .add_meta(Metrics::meta())
}
