// SPDX-License-Identifier: GPL-2.0-only
//! What BPF tells user space (`struct vmland_event` of `bpf/intf.h`).
//!
//! Events arrive in records of the framework's layout. [`decode`] and
//! `bpf/policy/event.bpf.h`, which has the table, are the only places that know which
//! field of a record carries which one of an event.

use crate::policy::Arrival;

/// `enum vmland_event_kind` of `bpf/intf.h`.
pub const SLICE_EXPIRED: u64 = 3;

/// A record of the framework's ring, with the names that the framework gives to its
/// fields, as far as they carry something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    pub pid: i32,
    pub flags: u64,
    pub stop_ts: u64,
    pub exec_runtime: u64,
    pub weight: u64,
    pub vtime: u64,
    pub enq_cnt: u64,
}

/// A vCPU has used up its slice and waits for a decision. None: the record is another event.
pub fn decode(record: &Record) -> Option<Arrival> {
    (record.flags == SLICE_EXPIRED).then_some(Arrival {
        pid: record.pid,
        weight: record.weight,
        slice_ns: record.stop_ts,
        vruntime: record.vtime,
        vtime: record.exec_runtime,
        generation: record.enq_cnt,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record {
        pid: 1,
        flags: SLICE_EXPIRED,
        stop_ts: 4,
        exec_runtime: 5,
        weight: 6,
        vtime: 7,
        enq_cnt: 8,
    };

    #[test]
    fn every_field_is_where_the_bpf_part_puts_it() {
        let arrival = Arrival {
            pid: 1,
            weight: 6,
            slice_ns: 4,
            vruntime: 7,
            vtime: 5,
            generation: 8,
        };
        assert_eq!(decode(&RECORD), Some(arrival));
    }

    #[test]
    fn other_records_are_other_events() {
        for flags in [0, 1, 2, 4] {
            assert_eq!(decode(&Record { flags, ..RECORD }), None);
        }
    }
}
