// SPDX-License-Identifier: GPL-2.0-only
//! Events: what the BPF part tells the policy (`struct vmland_event` of `bpf/intf.h`).
//!
//! They arrive in records of the framework's ring. [`Event::decode`] and
//! `bpf/policy/event.bpf.h`, which has the table, are the only places that know which
//! field of a record carries which one of an event.

use crate::policy::{Arrival, Policy, VmId};

/// `enum vmland_event_kind` of `bpf/intf.h`.
pub const VCPU_SEEN: u64 = 1;
/// Likewise.
pub const VCPU_GONE: u64 = 2;
/// Likewise.
pub const SLICE_EXPIRED: u64 = 3;

/// A record of the framework's ring, with the names that the framework gives to its
/// fields, as far as they carry something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    pub pid: i32,
    pub nr_cpus_allowed: u64,
    pub flags: u64,
    pub start_ts: u64,
    pub stop_ts: u64,
    pub exec_runtime: u64,
    pub weight: u64,
    pub vtime: u64,
    pub enq_cnt: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Thread `pid` became a vCPU of `vm`.
    VcpuSeen { pid: i32, vm: VmId },
    /// Thread `pid` is no vCPU any more.
    VcpuGone { pid: i32 },
    /// A vCPU has used up its slice and waits for a decision.
    SliceExpired(Arrival),
}

impl Event {
    /// None if the record is no event of `bpf/intf.h`.
    pub fn decode(record: &Record) -> Option<Self> {
        let pid = record.pid;
        Some(match record.flags {
            VCPU_SEEN => Self::VcpuSeen {
                pid,
                vm: record.nr_cpus_allowed as VmId,
            },
            VCPU_GONE => Self::VcpuGone { pid },
            SLICE_EXPIRED => Self::SliceExpired(Arrival {
                pid,
                weight: record.weight,
                slice_ns: record.stop_ts,
                vruntime: record.vtime,
                vtime: record.exec_runtime,
                ran_ns: record.start_ts,
                generation: record.enq_cnt,
            }),
            _ => return None,
        })
    }

    /// Tells `policy`.
    pub fn apply(self, policy: &mut Policy) {
        match self {
            Self::VcpuSeen { pid, vm } => policy.vcpu_seen(pid, vm),
            Self::VcpuGone { pid } => policy.vcpu_gone(pid),
            Self::SliceExpired(arrival) => policy.enqueue(arrival),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record {
        pid: 1,
        nr_cpus_allowed: 2,
        flags: 0,
        start_ts: 3,
        stop_ts: 4,
        exec_runtime: 5,
        weight: 6,
        vtime: 7,
        enq_cnt: 8,
    };

    fn decoded(flags: u64) -> Option<Event> {
        Event::decode(&Record { flags, ..RECORD })
    }

    #[test]
    fn every_field_is_where_the_bpf_part_puts_it() {
        let arrival = Arrival {
            pid: 1,
            weight: 6,
            slice_ns: 4,
            vruntime: 7,
            vtime: 5,
            ran_ns: 3,
            generation: 8,
        };
        assert_eq!(decoded(VCPU_SEEN), Some(Event::VcpuSeen { pid: 1, vm: 2 }));
        assert_eq!(decoded(VCPU_GONE), Some(Event::VcpuGone { pid: 1 }));
        assert_eq!(decoded(SLICE_EXPIRED), Some(Event::SliceExpired(arrival)));
    }

    #[test]
    fn other_records_are_no_events() {
        assert_eq!(decoded(0), None);
        assert_eq!(decoded(4), None);
    }
}
