// SPDX-License-Identifier: GPL-2.0-only
//! Lets the BPF part trace for a while (`bpf/trace/trace.bpf.h`). Its records go from the ring to
//! the client, without this process.

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use nix::time::{ClockId, clock_gettime};
use vmland_control::trace::{self, Runs, Stops, Tracing, Yields};

use crate::bpf_intf::*;
use crate::metrics;

/// The records, as vmland-control decodes them.
const _: () = {
    use std::mem::{offset_of, size_of};
    type Event = vmland_trace_event;
    assert!(size_of::<Event>() == trace::RECORD);
    assert!(offset_of!(Event, at_ns) == 0);
    assert!(offset_of!(Event, cpu) == 8 && offset_of!(Event, what) == 12);
    assert!(offset_of!(Event, reason) == 16 && offset_of!(Event, pid) == 20);
    assert!(offset_of!(Event, other) == 24 && offset_of!(Event, vm_id) == 28);
    assert!(vmland_trace_what_VMLAND_TRACE_WOKEN == trace::WOKEN);
    assert!(vmland_trace_what_VMLAND_TRACE_RUNS == trace::RUNS);
    assert!(vmland_trace_what_VMLAND_TRACE_STOPS == trace::STOPS);
    assert!(vmland_trace_what_VMLAND_TRACE_YIELDS == trace::YIELDS);
    assert!(vmland_trace_runs_VMLAND_RUNS_DIRECT == Runs::Direct.number());
    assert!(vmland_trace_runs_VMLAND_RUNS_KEPT == Runs::Kept.number());
    assert!(vmland_trace_stops_VMLAND_STOPS_SLEEPS == Stops::Sleeps.number());
    assert!(vmland_trace_stops_VMLAND_STOPS_KEEPS == Stops::Keeps.number());
    assert!(vmland_trace_yields_VMLAND_YIELDS_TARGET == Yields::Target.number());
    assert!(vmland_trace_yields_VMLAND_YIELDS_LEAVES == Yields::Leaves.number());
};

pub struct Tracer {
    /// `vmland_trace_until`.
    until: MapHandle,
    ring: u32,
    bytes: u32,
}

impl Tracer {
    pub fn new(until: MapHandle, ring: &MapHandle) -> Result<Self> {
        let info = ring.info().context("the ring of traces")?.info;
        Ok(Self {
            until,
            ring: info.id,
            bytes: info.max_entries,
        })
    }

    /// From now on for `ns`; 0: no longer. None: that is being traced already.
    pub fn trace(&self, ns: u64, counters: &MapHandle) -> Result<Option<Tracing>> {
        let key = 0_u32.to_ne_bytes();
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let now_ns = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
        let until = self.until.lookup(&key, MapFlags::ANY)?;
        let until = until.and_then(|it| Some(u64::from_ne_bytes(it.try_into().ok()?)));
        if ns > 0 && until.is_some_and(|until| until > now_ns) {
            return Ok(None);
        }
        let until = if ns > 0 { now_ns + ns } else { 0 };
        self.until
            .update(&key, &until.to_ne_bytes(), MapFlags::ANY)?;
        Ok(Some(Tracing {
            ring: self.ring,
            bytes: self.bytes,
            lost: metrics::total(counters, vmland_counter_VMLAND_TRACE_LOST)?,
        }))
    }
}
