// SPDX-License-Identifier: GPL-2.0-only
//! How long a new VM runs before its parameters are in the map.

use std::collections::BTreeMap;
use std::fs;
use std::mem::offset_of;

use crate::bpf_intf::{vmland_vcpu, vmland_vm_params};
use crate::rig::{Guest, Hog, Scheduler};

const PROBES: &str = "/sys/kernel/tracing/kprobe_events";
const INSTANCE: &str = "/sys/kernel/tracing/instances/vmland-new-vm";

/// Under software emulation, where a file of /proc takes a millisecond: 8 to 65 ms measured. By polling
/// alone it was up to 250 ms.
const LIMIT_US: u64 = 100_000;

fn put(file: &str, text: &str) {
    fs::write(format!("{INSTANCE}/{file}"), text).unwrap_or_else(|e| panic!("{file}: {e}"));
}

/// Calls `f`. Returns for each VM of which the scheduler recognised a vCPU meanwhile how long it
/// took from then until its parameters were written, in us.
fn delays_us(f: impl FnOnce()) -> Vec<u64> {
    // The arguments of htab_map_update_elem(map, key, value, flags) on x86-64, and of the
    // same for arrays. A map's name has 15 characters.
    let probes = format!(
        "p:vmland_new/seen htab_map_update_elem map=map->name:string vm=+{seen}(%dx):u32\n\
         p:vmland_new/written array_map_update_elem map=map->name:string vm=+{written}(%dx):u32\n",
        seen = offset_of!(vmland_vcpu, vm_id),
        written = offset_of!(vmland_vm_params, vm_id),
    );
    fs::write(PROBES, probes).expect("kprobe events");
    fs::create_dir(INSTANCE).expect("a new instance");
    put("trace_clock", "mono");
    put("events/vmland_new/seen/filter", "map == \"vmland_vcpus\"");
    put(
        "events/vmland_new/written/filter",
        "map == \"vmland_vm_param\"",
    );
    put("events/vmland_new/enable", "1");
    f();
    put("tracing_on", "0");
    let trace = fs::read_to_string(format!("{INSTANCE}/trace")).expect("a trace");
    put("events/enable", "0");
    fs::remove_dir(INSTANCE).expect("the instance goes");
    fs::write(PROBES, "").expect("the probes go");

    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut delays: BTreeMap<u64, u64> = BTreeMap::new();
    for (at_us, name, vm) in trace.lines().filter_map(parse) {
        match name {
            "seen" => drop(seen.entry(vm).or_insert(at_us)),
            _ => {
                if let Some(since) = seen.get(&vm) {
                    delays.entry(vm).or_insert(at_us - since);
                }
            }
        }
    }
    assert_eq!(delays.len(), seen.len(), "{trace}");
    delays.into_values().collect()
}

/// `  scx_vmland-183  [001] d..2.  12.345678: written: (…+0x0/0x1) map="vmland_vm_param" vm=3`
fn parse(line: &str) -> Option<(u64, &str, u64)> {
    let (_, rest) = line.split_once(" [")?;
    let (before, rest) = rest.split_once(": ")?;
    let (name, rest) = rest.split_once(": ")?;
    let (seconds, us) = before.rsplit_once(' ')?.1.split_once('.')?;
    let at_us = seconds.parse::<u64>().ok()? * 1_000_000 + us.parse::<u64>().ok()?;
    let vm = rest.rsplit_once(" vm=")?.1.trim().parse().ok()?;
    Some((at_us, name, vm))
}

/// No CPU is idle, so the thread that writes the parameters has to preempt.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_new_vm_has_its_parameters_at_once() {
    let _scheduler = Scheduler::start(&[]);
    let _hogs = ["1", "2", "4"].map(|mask| Hog::start(mask, 0));
    let delays = delays_us(|| {
        let names = ["new1", "new2", "new3"];
        Guest::boot(names.map(|name| (name, "cpu", 2)))
            .into_iter()
            .for_each(Guest::end);
    });
    println!("us from the first vCPU to the parameters: {delays:?}");
    assert!(delays.iter().all(|us| *us <= LIMIT_US), "{delays:?}");
}
