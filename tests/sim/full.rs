// SPDX-License-Identifier: GPL-2.0-only
//! More VMs, cgroups and reports than the scheduler has room for: each is counted, and tasks run.

use crate::bpf_intf::{
    vmland_counter_VMLAND_CGROUPS_FULL, vmland_counter_VMLAND_EVIDENCE_LOST,
    vmland_counter_VMLAND_VMS_FULL, vmland_limits_VMLAND_MAX_CGROUPS, vmland_limits_VMLAND_MAX_VMS,
};
use crate::limits::{SECOND_NS, cpu_ns, host};
use crate::vmland::{Settings, vmland};
use vmland_sim::machine::{Costs, Machine};
use vmland_sim::vm::Load;

/// A vCPU of a VM without a slot is an ordinary task: it wakes as often as the others do.
#[test]
fn more_vms_than_slots() {
    const BEYOND: usize = 100;
    let slots = vmland_limits_VMLAND_MAX_VMS as usize;
    let mut host = host(8, Costs::default());
    let load = Load::Latency {
        period_ns: SECOND_NS / 4,
        each_ns: 50_000,
    };
    for _ in 0..slots + BEYOND {
        host.add_vm(load, 1, 100);
    }
    host.run_for(2 * SECOND_NS);
    let full = host
        .scheduler
        .user()
        .counter(vmland_counter_VMLAND_VMS_FULL);
    let works = || host.vms.iter().map(|vm| vm.work);
    let (least, most) = (works().min(), works().max());
    println!("no slot: {full} times; wake-ups {least:?} to {most:?}");
    assert!(full >= BEYOND as u64, "{full}");
    assert!(least >= Some(6) && most <= Some(9), "{least:?} {most:?}");
}

/// A cgroup without a slot counts as its parent: its quota does not hold, those of others do.
#[test]
fn more_cgroups_than_slots() {
    const BEYOND: usize = 100;
    // The root has one.
    let slots = vmland_limits_VMLAND_MAX_CGROUPS as usize - 1;
    let mut host = host(2, Costs::default());
    let cgroups: Vec<_> = (0..slots + BEYOND)
        .map(|_| host.scheduler.add_cgroup(20_000, 100_000))
        .collect();
    let tasks = [slots - 1, slots].map(|at| {
        let task = host.add_thread(&[], None);
        host.scheduler.enter_cgroup(task, &cgroups[at]);
        task
    });
    host.run_for(SECOND_NS);
    let before = tasks.map(|task| host.cpu_ns(task));
    host.run_for(5 * SECOND_NS);
    let used = [0, 1].map(|i| (host.cpu_ns(tasks[i]) - before[i]) as f64 / (5 * SECOND_NS) as f64);
    let full = host
        .scheduler
        .user()
        .counter(vmland_counter_VMLAND_CGROUPS_FULL);
    println!(
        "no slot: {full} times; with one {:.3} CPUs, without {:.3}",
        used[0], used[1]
    );
    assert_eq!(full, BEYOND as u64);
    assert!((used[0] - 0.2).abs() < 0.01, "{used:?}");
    assert!(used[1] > 0.95, "{used:?}");
}

/// User space takes reports once a minute at most, and the ring holds fewer.
#[test]
fn more_reports_than_the_ring_holds() {
    let settings = Settings {
        round_ns: 60 * SECOND_NS,
        ..Settings::default()
    };
    let mut host = Machine::new(4, vmland(4, settings), Costs::default(), 1);
    for _ in 0..32 {
        host.add_vm(Load::YieldStorm, 2, 100);
    }
    host.run_for(SECOND_NS);
    let used = |host: &_, vm: usize| cpu_ns(host, &host.vms[vm].vcpus);
    let before: Vec<u64> = (0..32).map(|vm| used(&host, vm)).collect();
    host.run_for(20 * SECOND_NS);
    let used: Vec<f64> = (0..32)
        .map(|vm| (used(&host, vm) - before[vm]) as f64 / (20 * SECOND_NS) as f64)
        .collect();
    let lost = host
        .scheduler
        .user()
        .counter(vmland_counter_VMLAND_EVIDENCE_LOST);
    println!("lost {lost}, CPUs {used:.3?}");
    assert!(lost > 0);
    let mean = used.iter().sum::<f64>() / 32.0;
    assert!(
        used.iter().all(|used| (used / mean - 1.0).abs() < 0.1),
        "{used:?}"
    );
}
