// SPDX-License-Identifier: GPL-2.0-only
//! What BPF tells user space (`struct vmland_event` of `bpf/intf.h`).
//!
//! Events arrive in records of the framework's layout. `bpf/planner/event.bpf.h` has the table of
//! which field of a record carries which one of an event. [`decode`] reads evidence by it, and
//! `vcpu_events.rs` the slot of a VM.

use crate::planner::Evidence;

/// `enum vmland_event_kind` of `bpf/intf.h`.
pub const EVIDENCE: u64 = 3;

/// A record of the framework's ring, with the names that the framework gives to its
/// fields, as far as they carry something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    pub nr_cpus_allowed: u64,
    pub flags: u64,
    pub stop_ts: u64,
    pub exec_runtime: u64,
    pub weight: u64,
    pub vtime: u64,
    pub enq_cnt: u64,
}

/// What a VM has done. None: the record is another event.
pub fn decode(record: &Record) -> Option<Evidence> {
    (record.flags == EVIDENCE).then_some(Evidence {
        vm_slot: record.nr_cpus_allowed as u32,
        vm_id: record.enq_cnt as u32,
        at_ns: record.stop_ts,
        cpu_ns: record.vtime,
        pause_exits: record.exec_runtime,
        receivers: record.weight,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record {
        nr_cpus_allowed: 1,
        flags: EVIDENCE,
        stop_ts: 4,
        exec_runtime: 5,
        weight: 6,
        vtime: 7,
        enq_cnt: 2,
    };

    #[test]
    fn every_field_is_where_the_bpf_part_puts_it() {
        let evidence = Evidence {
            vm_slot: 1,
            vm_id: 2,
            at_ns: 4,
            cpu_ns: 7,
            pause_exits: 5,
            receivers: 6,
        };
        assert_eq!(decode(&RECORD), Some(evidence));
    }

    #[test]
    fn other_records_are_other_events() {
        for flags in [0, 1, 2, 4] {
            assert_eq!(decode(&Record { flags, ..RECORD }), None);
        }
    }
}
