// SPDX-License-Identifier: GPL-2.0-only
//! Hosts from two CPUs to 512: what a decision costs there, and whether it is fair.

use crate::fairness::jain;
use crate::vmland::{Settings, Vmland, vmland};
use vmland_sim::ext::Ext;
use vmland_sim::machine::{Costs, Machine};
use vmland_sim::scheduler::Scheduler;
use vmland_sim::vm::Load;

/// A host, and its VMs, all of one size. One in eight spins for locks, and one for
/// IPIs: more would be more of pause exits, which are not decisions.
fn host(nr_cpus: usize, vms: usize, vcpus: usize) -> Machine<Ext<Vmland>> {
    let scheduler = vmland(nr_cpus, Settings::default());
    let mut host = Machine::new(nr_cpus, scheduler, Costs::default(), 1);
    for vm in 0..vms {
        let load = match vm % 8 {
            1 => Load::Lock {
                held_ns: 20_000,
                outside_ns: 200_000,
            },
            5 => Load::Tlb {
                held_ns: 20_000,
                outside_ns: 2_000_000,
            },
            _ => Load::Cpu {
                chunk_ns: 10_000_000,
            },
        };
        host.add_vm(load, vcpus, 100);
    }
    host
}

struct Figures {
    nr_cpus: usize,
    vms: usize,
    vcpus: usize,
    operations: f64,
    ns: f64,
    /// Of the VMs that compute.
    jain: f64,
    /// What a VM that spins for a lock gets, as a part of what those get.
    lock_share: f64,
    events_per_s: f64,
}

/// A host of that size after a warm-up, for `ns`.
fn measure(nr_cpus: usize, vms: usize, vcpus: usize, warm_up_ns: u64, ns: u64) -> Figures {
    let mut host = host(nr_cpus, vms, vcpus);
    host.run_for(warm_up_ns);
    let share = |host: &Machine<Ext<Vmland>>| -> Vec<u64> {
        host.vms
            .iter()
            .map(|vm| vm.vcpus.iter().map(|&task| host.cpu_ns(task)).sum())
            .collect()
    };
    let before = share(&host);
    let (operations, schedules, handled) =
        (host.scheduler.operations(), host.schedules, host.handled);
    host.timed = true;
    let started = std::time::Instant::now();
    host.run_for(ns);
    let took_s = started.elapsed().as_secs_f64();
    let schedules = (host.schedules - schedules) as f64;
    let shares: Vec<f64> = share(&host)
        .iter()
        .zip(before)
        .map(|(after, before)| (after - before) as f64)
        .collect();
    let of = |wanted: fn(&Load) -> bool| -> Vec<f64> {
        let vms = host.vms.iter().zip(&shares);
        vms.filter(|(vm, _)| wanted(&vm.load))
            .map(|(_, &share)| share)
            .collect()
    };
    let mean = |shares: &[f64]| shares.iter().sum::<f64>() / shares.len() as f64;
    let computing = of(|load| matches!(load, Load::Cpu { .. }));
    let locking = of(|load| matches!(load, Load::Lock { .. }));
    Figures {
        nr_cpus,
        vms,
        vcpus: vms * vcpus,
        operations: (host.scheduler.operations() - operations) as f64 / schedules,
        ns: host.switch_time.as_nanos() as f64 / schedules,
        jain: jain(&computing),
        lock_share: mean(&locking) / mean(&computing),
        events_per_s: (host.handled - handled) as f64 / took_s,
    }
}

impl Figures {
    fn print(&self) {
        println!(
            "{:4} CPUs, {:4} VMs, {:6} vCPUs: {:5.2} operations and {:5.0} ns a decision, \
             Jain {:.5}, a lock VM {:.2}, {:.1} M events/s",
            self.nr_cpus,
            self.vms,
            self.vcpus,
            self.operations,
            self.ns,
            self.jain,
            self.lock_share,
            self.events_per_s / 1e6
        );
    }
}

/// A decision takes as many operations on queues on a large host as on a small one; an
/// operation is O(log n).
#[test]
fn cost_does_not_grow() {
    let small = measure(4, 4, 20, 500_000_000, 2_000_000_000);
    let large = measure(128, 64, 40, 500_000_000, 1_000_000_000);
    small.print();
    large.print();
    assert!(large.operations <= 1.5 * small.operations);
}

/// The largest host: VMs that compute get as much as each other there too. Its CPUs have 16 queues,
/// which are apart by up to three slices: in a hundred that is little, in five it shows.
#[test]
fn the_largest_host_is_fair() {
    let two_a_cpu = measure(512, 200, 5, 300_000_000, 2_000_000_000);
    two_a_cpu.print();
    assert!(two_a_cpu.jain >= 0.995);
    let twenty_a_cpu = measure(512, 200, 50, 300_000_000, 1_000_000_000);
    twenty_a_cpu.print();
    assert!(twenty_a_cpu.jain >= 0.985);
}

/// Two guests on two CPUs: the simulator itself is fast enough.
#[test]
fn a_million_events_a_second() {
    let small = measure(2, 2, 2, 0, 2_000_000_000);
    small.print();
    assert!(small.events_per_s >= 1e6);
}
