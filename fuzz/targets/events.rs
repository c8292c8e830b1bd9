// SPDX-License-Identifier: GPL-2.0-only
//! What the BPF part tells the planner: records of seven numbers, one after the other.
//!
//! Whatever they say, a plan is for the VM that was reported and changes something, and what is
//! shown of the VM can be read again.

use std::collections::HashMap;

use vmland_control::Planned;

use crate::event::{self, Record};
use crate::planner::Planner;

const SLOTS: u32 = 4;
const NUMBERS: usize = 7;

pub fn run(data: &[u8]) {
    let mut planner = Planner::new(SLOTS as usize);
    let mut gangs = HashMap::new();
    let (numbers, _) = data.as_chunks::<8>();
    let (records, _) = numbers.as_chunks::<NUMBERS>();
    for numbers in records {
        let [
            nr_cpus_allowed,
            flags,
            stop_ts,
            exec_runtime,
            weight,
            vtime,
            enq_cnt,
        ] = numbers.map(u64::from_le_bytes);
        let record = Record {
            nr_cpus_allowed,
            flags,
            stop_ts,
            exec_runtime,
            weight,
            vtime,
            enq_cnt,
        };
        let Some(evidence) = event::decode(&record) else {
            continue;
        };
        if let Some(plan) = planner.report(&evidence) {
            assert_eq!(
                (plan.vm_slot, plan.vm_id),
                (evidence.vm_slot, evidence.vm_id)
            );
            let before = gangs.insert((plan.vm_slot, plan.vm_id), plan.gang);
            assert_ne!(before, Some(plan.gang));
        }
        match planner.vm(evidence.vm_slot) {
            Some(vm) => {
                let shown = vm.explain(evidence.at_ns);
                let text = serde_json::to_string(&shown).expect("JSON");
                let read: Planned = serde_json::from_str(&text).expect("JSON of ours");
                assert_eq!(read, shown);
                // A slot is used again by another VM, which is free at first.
                gangs.retain(|&(slot, id), _| slot != evidence.vm_slot || id == evidence.vm_id);
            }
            None => assert!(evidence.vm_slot >= SLOTS),
        }
    }
}
