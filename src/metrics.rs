// SPDX-License-Identifier: GPL-2.0-only
//! Statistics: from the BPF maps to the scx_stats socket, and to a line of text.
//!
//! The socket's own threads read the maps, so a reading costs the scheduling
//! loop nothing. They are started before the framework forbids mmap.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use plain::Plain;
use scx_stats::prelude::*;
use scx_vmland::limits::Limit;
use vmland_control::histogram::{self, Histogram};
use vmland_control::stats::{self, Metrics, VmMetrics};

use crate::bpf_intf::{self, *};

// SAFETY: numbers only.
unsafe impl Plain for vmland_vm_ctx {}
// SAFETY: numbers only.
unsafe impl Plain for vmland_vcpu {}
// SAFETY: numbers only.
unsafe impl Plain for vmland_waits {}

const _: () = assert!(
    vmland_wait_VMLAND_WAIT_SHIFT == histogram::SHIFT
        && vmland_wait_VMLAND_WAIT_BITS == histogram::BITS
        && vmland_wait_VMLAND_WAIT_BUCKETS == histogram::BUCKETS
);

/// Handles of the maps that statistics are read from.
pub struct Maps {
    pub counters: MapHandle,
    pub vm_slots: MapHandle,
    pub vms: MapHandle,
    pub vcpus: MapHandle,
    pub waits: MapHandle,
}

/// Filled once the scheduler has attached.
pub type SharedMaps = Arc<OnceLock<Maps>>;

/// Serves [`Metrics`] on the socket that scx_stats clients know.
pub fn serve(maps: SharedMaps) -> Result<StatsServer<(), ()>> {
    let faults = page_faults();
    let read: Box<dyn StatsReaderSend<(), ()>> = Box::new(move |_, _| {
        let maps = maps.get().ok_or_else(|| anyhow!("not attached yet"))?;
        let mut metrics = read(maps)?;
        metrics.page_faults = page_faults().saturating_sub(faults);
        metrics.to_json()
    });
    StatsServer::new(stats::describe().add_stats("top", read))
        .launch()
        .context("cannot serve statistics")
}

fn read(maps: &Maps) -> Result<Metrics> {
    let c = |counter| total(&maps.counters, counter);
    let mut metrics = Metrics {
        at_ns: since_boot_ns(),
        vcpus_seen: c(vmland_counter_VMLAND_VCPUS_SEEN)?,
        vcpus_gone: c(vmland_counter_VMLAND_VCPUS_GONE)?,
        yield_asked: c(vmland_counter_VMLAND_YIELD_ASKED)?,
        yield_honoured: c(vmland_counter_VMLAND_YIELD_HONOURED)?,
        yield_in_turn: c(vmland_counter_VMLAND_YIELD_IN_TURN)?,
        yield_not_vcpu: c(vmland_counter_VMLAND_YIELD_NOT_VCPU)?,
        yield_other_vm: c(vmland_counter_VMLAND_YIELD_OTHER_VM)?,
        yield_ignored: c(vmland_counter_VMLAND_YIELD_IGNORED)?,
        yield_throttled: c(vmland_counter_VMLAND_YIELD_THROTTLED)?,
        yield_gang: c(vmland_counter_VMLAND_YIELD_GANG)?,
        yield_woken: c(vmland_counter_VMLAND_YIELD_WOKEN)?,
        yield_receiver: c(vmland_counter_VMLAND_YIELD_RECEIVER)?,
        spin_receiver: c(vmland_counter_VMLAND_SPIN_RECEIVER)?,
        left_receiver: c(vmland_counter_VMLAND_LEFT_RECEIVER)?,
        yield_plain: c(vmland_counter_VMLAND_YIELD_PLAIN)?,
        handoff_shared: c(vmland_counter_VMLAND_HANDOFF_SHARED)?,
        handoff_pinned: c(vmland_counter_VMLAND_HANDOFF_PINNED)?,
        handoff_remote: c(vmland_counter_VMLAND_HANDOFF_REMOTE)?,
        handoff_served: c(vmland_counter_VMLAND_HANDOFF_SERVED)?,
        handoff_lost: c(vmland_counter_VMLAND_HANDOFF_LOST)?,
        handoff_next: c(vmland_counter_VMLAND_HANDOFF_NEXT)?,
        dispatch_idle: c(vmland_counter_VMLAND_DISPATCH_IDLE)?,
        dispatch_shared: c(vmland_counter_VMLAND_DISPATCH_SHARED)?,
        dispatch_beyond: c(vmland_counter_VMLAND_DISPATCH_BEYOND)?,
        dispatch_pinned: c(vmland_counter_VMLAND_DISPATCH_PINNED)?,
        dispatch_kept: c(vmland_counter_VMLAND_DISPATCH_KEPT)?,
        evidence_sent: c(vmland_counter_VMLAND_EVIDENCE_SENT)?,
        evidence_lost: c(vmland_counter_VMLAND_EVIDENCE_LOST)?,
        preempt: c(vmland_counter_VMLAND_PREEMPT)?,
        gang_turns: c(vmland_counter_VMLAND_GANG_TURNS)?,
        throttled: c(vmland_counter_VMLAND_THROTTLED)?,
        rescued: c(vmland_counter_VMLAND_RESCUED)?,
        vms_full: c(vmland_counter_VMLAND_VMS_FULL)?,
        cgroups_full: c(vmland_counter_VMLAND_CGROUPS_FULL)?,
        trace_lost: c(vmland_counter_VMLAND_TRACE_LOST)?,
        ..Default::default()
    };
    for key in maps.vm_slots.keys() {
        let Some(slot) = maps.vm_slots.lookup(&key, MapFlags::ANY)? else {
            continue;
        };
        let Some(vm) = lookup::<vmland_vm_ctx>(&maps.vms, &slot)? else {
            continue;
        };
        let [wakeups, waits] = histograms(maps, &slot)?;
        metrics.vms.insert(
            vm.vm_id,
            VmMetrics {
                tgid: vm.tgid,
                cpu_ns: vm.cpu_ns,
                weight: vm.weight,
                pause_exits: vm.pause_exits,
                ipis: vm.ipis,
                receivers: vm.receivers,
                yields_asked: vm.yields_asked,
                yields_honoured: vm.yields_honoured,
                throttled_ns: vm.throttled_ns,
                boosted_ns: vm.boosted_ns,
                waits,
                wakeups,
                ..Default::default()
            },
        );
    }
    for key in maps.vcpus.keys() {
        let Some(vcpu) = lookup::<vmland_vcpu>(&maps.vcpus, &key)? else {
            continue;
        };
        let pid = i32::from_ne_bytes(key[..4].try_into()?);
        if let Some(vm) = metrics.vms.get_mut(&vcpu.vm_id) {
            vm.vcpus.insert(vcpu.vcpu_id, pid);
        }
    }
    Ok(metrics)
}

/// The waits of the VM in `slot`: those that began by a wake-up, and all.
fn histograms(maps: &Maps, slot: &[u8]) -> Result<[Histogram; 2]> {
    let Some(waits) = lookup::<vmland_waits>(&maps.waits, slot)? else {
        return Ok(<[Histogram; 2]>::default());
    };
    let of = |it: &vmland_histogram| Histogram::new(it.sum_ns, &it.buckets);
    let woken = of(&waits.woken);
    let all = of(&waits.others).plus(&woken);
    Ok([woken, all])
}

/// The value of `key`; None if there is none.
pub fn lookup<T: Plain + Copy>(map: &MapHandle, key: &[u8]) -> Result<Option<T>> {
    let Some(bytes) = map.lookup(key, MapFlags::ANY)? else {
        return Ok(None);
    };
    // SAFETY: a `Plain` may have any bytes.
    let mut value: T = unsafe { std::mem::zeroed() };
    plain::copy_from_bytes(&mut value, &bytes).map_err(|e| anyhow!("map value: {e:?}"))?;
    Ok(Some(value))
}

/// How often a limit has been reached.
pub fn times_reached(counters: &MapHandle, limit: Limit) -> u64 {
    let counter = match limit {
        Limit::Vms => vmland_counter_VMLAND_VMS_FULL,
        Limit::Cgroups => vmland_counter_VMLAND_CGROUPS_FULL,
        Limit::PlannerRing => vmland_counter_VMLAND_EVIDENCE_LOST,
    };
    total(counters, counter).unwrap_or(0)
}

pub fn total(counters: &MapHandle, counter: bpf_intf::vmland_counter) -> Result<u64> {
    let per_cpu = counters
        .lookup_percpu(&counter.to_ne_bytes(), MapFlags::ANY)?
        .unwrap_or_default();
    Ok(per_cpu
        .iter()
        .filter_map(|v| Some(u64::from_ne_bytes(v.get(..8)?.try_into().ok()?)))
        .sum())
}

fn since_boot_ns() -> u64 {
    let mut ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime only writes to `ts`.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

fn page_faults() -> u64 {
    procfs::process::Process::myself()
        .and_then(|p| p.stat())
        .map_or(0, |s| s.minflt + s.majflt)
}

/// Prints a line about the running scheduler every `interval`.
pub fn monitor(interval: Duration) -> Result<()> {
    let mut last: Option<Metrics> = None;
    scx_utils::monitor_stats::<Metrics>(
        &[],
        interval,
        || false,
        |now| {
            if let Some(last) = last.replace(now.clone()) {
                println!("{}", line(&last, &now));
            }
            Ok(())
        },
    )
}

fn line(a: &Metrics, b: &Metrics) -> String {
    let d = |f: fn(&Metrics) -> u64| f(b).saturating_sub(f(a));
    let pauses = |m: &Metrics| m.vms.values().map(|vm| vm.pause_exits).sum::<u64>();
    format!(
        "VMs {:<3} vCPUs {:<4} | pause exits {:<6} yields: asked {:<6} honoured {:<6} next {:<6} | receivers first {:<6} | \
         dispatch: idle {:<6} queue {:<6} kept {:<5} | evidence {:<5} lost {} | \
         preempt {:<5} faults {}",
        b.vms.len(),
        b.vms.values().map(|vm| vm.vcpus.len()).sum::<usize>(),
        pauses(b).saturating_sub(pauses(a)),
        d(|m| m.yield_asked),
        d(|m| m.yield_honoured + m.yield_in_turn + m.yield_receiver),
        d(|m| m.handoff_next),
        d(Metrics::receivers_first),
        d(|m| m.dispatch_idle),
        d(|m| m.dispatch_shared + m.dispatch_beyond + m.dispatch_pinned),
        d(|m| m.dispatch_kept),
        d(|m| m.evidence_sent),
        d(|m| m.evidence_lost),
        d(|m| m.preempt),
        d(|m| m.page_faults),
    )
}
