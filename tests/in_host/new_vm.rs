// SPDX-License-Identifier: GPL-2.0-only
//! How long a new VM runs before its parameters are in the map.

use std::collections::BTreeMap;
use std::fs;
use std::mem::offset_of;

use crate::bpf_intf::{
    queued_task_ctx, vmland_event_kind_VMLAND_EVENT_VCPU_SEEN as VCPU_SEEN, vmland_vm_params,
};
use crate::rig::{Guest, Hog, Scheduler};

const PROBES: &str = "/sys/kernel/tracing/kprobe_events";
const INSTANCE: &str = "/sys/kernel/tracing/instances/vmland-new-vm";

/// Measured, in ms: see the test.
const LIMIT_US: u64 = 20_000;

fn put(file: &str, text: &str) {
    fs::write(format!("{INSTANCE}/{file}"), text).unwrap_or_else(|e| panic!("{file}: {e}"));
}

/// Calls `f`. Returns for each VM of which the scheduler recognised a vCPU meanwhile how long it
/// took from then until its parameters were written, in us.
fn delays_us(f: impl FnOnce()) -> Vec<u64> {
    // The arguments of bpf_ringbuf_submit(record, flags) and of
    // array_map_update_elem(map, key, value, flags) on x86-64.
    let probes = format!(
        "p:vmland_new/seen bpf_ringbuf_submit kind=+{kind}(%di):u64 vm=+{vm}(%di):u64\n\
         p:vmland_new/written array_map_update_elem vm=+{written}(%dx):u32\n",
        kind = offset_of!(queued_task_ctx, flags),
        vm = offset_of!(queued_task_ctx, nr_cpus_allowed),
        written = offset_of!(vmland_vm_params, vm_id),
    );
    fs::write(PROBES, probes).expect("kprobe events");
    fs::create_dir(INSTANCE).expect("a new instance");
    put("trace_clock", "mono");
    let seen = format!("kind == {VCPU_SEEN}");
    put("events/vmland_new/seen/filter", &seen);
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
                // Other maps have other values in that place, but not before the VM is seen.
                if let Some(since) = seen.get(&vm) {
                    delays.entry(vm).or_insert(at_us - since);
                }
            }
        }
    }
    assert_eq!(delays.len(), seen.len(), "{trace}");
    delays.into_values().collect()
}

/// `  scx_vmland-183  [001] d..2.  12.345678: written: (array_map_update_elem+0x0/0x1) vm=3`
fn parse(line: &str) -> Option<(u64, &str, u64)> {
    let (task, rest) = line.split_once(" [")?;
    let (before, rest) = rest.split_once(": ")?;
    let (name, rest) = rest.split_once(": ")?;
    let (seconds, us) = before.rsplit_once(' ')?.1.split_once('.')?;
    let at_us = seconds.parse::<u64>().ok()? * 1_000_000 + us.parse::<u64>().ok()?;
    let vm = rest.rsplit_once(" vm=")?.1.trim().parse().ok()?;
    let by_settings = task.trim_start().starts_with("scx_vmland");
    (name == "seen" || by_settings).then_some((at_us, name, vm))
}

/// No CPU is idle, so the thread that writes the parameters has to preempt.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_new_vm_has_its_parameters_within_20_ms() {
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
