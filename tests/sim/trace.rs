// SPDX-License-Identifier: GPL-2.0-only
//! The records of a trace tell what the simulated host sees, and what the counters say.

use std::collections::HashMap;

use crate::bpf_intf::*;
use crate::limits::{CPU, SECOND_NS, host, limit};
use vmland_control::trace::{Event, Runs, Stops, What, Yields};
use vmland_sim::kernel::Record;
use vmland_sim::machine::Costs;
use vmland_sim::vm::Load;

fn decoded(record: &Record) -> Event {
    // SAFETY: the BPF part writes these into that ring.
    let record: vmland_trace_event = unsafe { record.read() };
    // SAFETY: numbers without padding.
    let bytes = unsafe {
        std::slice::from_raw_parts((&raw const record).cast::<u8>(), size_of_val(&record))
    };
    Event::decode(bytes).expect("a record")
}

#[test]
fn tells_who_runs_and_why() {
    const CPUS: usize = 4;
    let mut host = host(CPUS, Costs::default());
    host.scheduler.keep_apart("vmland_trace");
    host.scheduler.set("vmland_trace_until", i64::MAX as u64);
    let lock = Load::Lock {
        held_ns: 2_000,
        outside_ns: 4_000,
    };
    let shootdowns = Load::Tlb {
        held_ns: 2_000,
        outside_ns: 20_000,
    };
    let wakes = Load::Latency {
        period_ns: 2_000_000,
        each_ns: 100_000,
    };
    for load in [lock, shootdowns, wakes, CPU] {
        host.add_vm(load, 4, 100);
    }
    host.run_for(3 * SECOND_NS);
    let records = host.scheduler.take_apart();
    let events: Vec<_> = records.iter().map(decoded).collect();
    assert!(events.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));

    // Each CPU has one task at a time, and their turns add up to the CPU time that each had.
    let mut running: HashMap<u32, (i32, u64)> = HashMap::new();
    let mut cpu_ns: HashMap<i32, u64> = HashMap::new();
    let mut add = |pid, ns| *cpu_ns.entry(pid).or_default() += ns;
    let mut whys: HashMap<Runs, u64> = HashMap::new();
    let mut ends: HashMap<Stops, u64> = HashMap::new();
    let mut hows: HashMap<Yields, u64> = HashMap::new();
    for event in &events {
        match event.what {
            What::Woken => {}
            What::Runs { why, suspended } => {
                *whys.entry(why).or_default() += 1;
                assert_eq!(running.insert(event.cpu, (event.pid, event.at_ns)), None);
                assert!(suspended != event.pid);
            }
            What::Stops(why) => {
                *ends.entry(why).or_default() += 1;
                let (pid, since_ns) = running.remove(&event.cpu).expect("it runs");
                assert_eq!(pid, event.pid);
                add(pid, event.at_ns - since_ns);
            }
            What::Yields { how, to } => {
                *hows.entry(how).or_default() += 1;
                // One that sleeps has left its CPU already.
                let runs = running.get(&event.cpu).map(|it| it.0);
                let left = runs.is_none() && how == Yields::Leaves;
                assert!(left || runs == Some(event.pid), "{event:?}");
                assert!(to > 0 && to != event.pid);
            }
        }
    }
    for (pid, since_ns) in running.values() {
        add(*pid, host.now_ns - since_ns);
    }
    for vm in &host.vms {
        for &vcpu in &vm.vcpus {
            assert_eq!(cpu_ns[&(vcpu as i32 + 1)], host.cpu_ns(vcpu), "{vcpu}");
        }
    }

    println!("{whys:?}\n{ends:?}\n{hows:?}");
    let of = |how| hows.get(&how).copied().unwrap_or(0);
    let counted = |counter| host.scheduler.user().counter(counter);
    assert_eq!(
        of(Yields::Target) + of(Yields::Receiver) + of(Yields::InTurn) + of(Yields::Refused),
        counted(vmland_counter_VMLAND_YIELD_ASKED)
    );
    let to_target = counted(vmland_counter_VMLAND_YIELD_HONOURED);
    assert_eq!(
        of(Yields::Target) + of(Yields::Receiver) + of(Yields::InTurn),
        to_target
            + counted(vmland_counter_VMLAND_YIELD_IN_TURN)
            + counted(vmland_counter_VMLAND_YIELD_RECEIVER)
    );
    // A target can be the receiver, too.
    assert!(of(Yields::Target) >= to_target);
    assert_eq!(
        whys[&Runs::Handed],
        counted(vmland_counter_VMLAND_HANDOFF_NEXT)
    );
    assert_eq!(
        whys[&Runs::Kept],
        counted(vmland_counter_VMLAND_DISPATCH_KEPT)
    );
    assert_eq!(ends[&Stops::Keeps], whys[&Runs::Kept]);
    assert!(whys[&Runs::First] >= counted(vmland_counter_VMLAND_PREEMPT) / 2);
    // Every kind is there.
    for why in Runs::ALL {
        assert!(whys.contains_key(why), "{why:?}");
    }
    for why in [
        Stops::Sleeps,
        Stops::Yielded,
        Stops::Suspended,
        Stops::Slice,
    ] {
        assert!(ends.contains_key(&why), "{why:?}");
    }
    for how in [
        Yields::Target,
        Yields::Receiver,
        Yields::Refused,
        Yields::Leaves,
    ] {
        assert!(of(how) > 0, "{how:?}");
    }
}

#[test]
fn nothing_is_written_unless_asked_for() {
    let mut host = host(2, Costs::default());
    host.scheduler.keep_apart("vmland_trace");
    host.add_vm(CPU, 4, 100);
    host.run_for(SECOND_NS / 2);
    assert_eq!(host.scheduler.take_apart().len(), 0);
    let until_ns = host.now_ns + SECOND_NS / 2;
    host.scheduler.set("vmland_trace_until", until_ns);
    host.run_for(2 * SECOND_NS);
    let records = host.scheduler.take_apart();
    let last = records.last().map(decoded).expect("it was traced");
    assert!((until_ns - SECOND_NS / 10..until_ns).contains(&last.at_ns));
}

/// A VM that computes, alone on its CPUs, with a quota of half a CPU: it ends each turn, or nothing
/// does and the vCPU keeps its CPU.
#[test]
fn a_quota_that_is_used_up_ends_a_turn() {
    let mut host = host(2, Costs::default());
    host.scheduler.keep_apart("vmland_trace");
    let vm = host.add_vm(CPU, 2, 100);
    let vcpus = host.vms[vm].vcpus.clone();
    limit(&mut host, &vcpus, 50_000, 100_000);
    host.run_for(SECOND_NS);
    host.scheduler.set("vmland_trace_until", i64::MAX as u64);
    host.run_for(2 * SECOND_NS);
    let records = host.scheduler.take_apart();
    let stops = records.iter().map(decoded).filter(|it| it.vm_id != 0);
    let mut ends: HashMap<Stops, u64> = HashMap::new();
    for event in stops {
        if let What::Stops(why) = event.what {
            *ends.entry(why).or_default() += 1;
        }
    }
    println!("{ends:?}");
    // Two vCPUs in 20 periods.
    assert!(ends[&Stops::Runtime] >= 30);
    assert!(
        ends.keys()
            .all(|it| matches!(it, Stops::Runtime | Stops::Keeps))
    );
}
