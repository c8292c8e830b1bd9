// SPDX-License-Identifier: GPL-2.0-only
//! What everybody gets, hostile VMs or not: shares, bounds on waiting and on debts.

use crate::bpf_intf::{
    vmland_counter_VMLAND_YIELD_ASKED, vmland_counter_VMLAND_YIELD_HONOURED,
    vmland_counter_VMLAND_YIELD_IN_TURN, vmland_counter_VMLAND_YIELD_RECEIVER,
};
use crate::vmland::{Settings, Vmland, debt_percent, vmland};
use vmland_sim::ext::Ext;
use vmland_sim::machine::{Costs, Machine};
use vmland_sim::scheduler::TaskId;
use vmland_sim::vm::Load;

type Host = Machine<Ext<Vmland>>;

const SECOND_NS: u64 = 1_000_000_000;
/// Largest debt, in slices (bpf/vtime/vtime.bpf.h).
const DEBT_SLICES: u64 = 3;

const CPU: Load = Load::Cpu {
    chunk_ns: 1_000_000,
};
const LOCK: Load = Load::Lock {
    held_ns: 2_000,
    outside_ns: 2_000,
};
const TLB: Load = Load::Tlb {
    held_ns: 20_000,
    outside_ns: 50_000,
};

const BARRIER: Load = Load::Barrier { between_ns: 50_000 };

fn host(nr_cpus: usize, seed: u64) -> Host {
    let scheduler = vmland(nr_cpus, Settings::default());
    Machine::new(nr_cpus, scheduler, Costs::default(), seed)
}

fn vm_cpu_ns(host: &Host) -> Vec<f64> {
    let sum = |vcpus: &Vec<TaskId>| vcpus.iter().map(|&task| host.cpu_ns(task)).sum::<u64>();
    host.vms.iter().map(|vm| sum(&vm.vcpus) as f64).collect()
}

/// CPU time of each VM in the next `ns`.
fn shares(host: &mut Host, ns: u64) -> Vec<f64> {
    let before = vm_cpu_ns(host);
    host.run_for(ns);
    let after = vm_cpu_ns(host);
    after.iter().zip(before).map(|(a, b)| a - b).collect()
}

/// Jain's index: 1 if all are alike, 1/n if one has all.
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// VMs get CPU time by weight, whatever their number of vCPUs.
#[test]
fn shares_are_by_weight() {
    for seed in 0..3 {
        let mut host = host(8, seed);
        let vms = [
            (4, 100),
            (8, 100),
            (16, 100),
            (8, 200),
            (8, 50),
            (8, 400),
            (12, 100),
        ];
        for (vcpus, weight) in vms {
            host.add_vm(CPU, vcpus, weight);
        }
        host.run_for(SECOND_NS);
        let shares = shares(&mut host, 10 * SECOND_NS);
        let by_weight: Vec<f64> = shares
            .iter()
            .zip(vms)
            .map(|(share, (_, weight))| share / f64::from(weight))
            .collect();
        println!("seed {seed}: {:.5} {by_weight:.0?}", jain(&by_weight));
        assert!(jain(&by_weight) >= 0.995, "seed {seed}: {by_weight:.0?}");
    }
}

/// VMs that do nothing but ask for yields, and VMs that do nothing but send IPIs, get
/// no more than those that compute; nor do those that wait for each other. All of them
/// are always runnable. That is so whatever hand-offs are allowed out of turn.
#[test]
fn hostile_vms_gain_nothing() {
    let usual = Settings::default();
    let in_turn = Settings {
        boost_percent: 0,
        ..usual
    };
    let level = Settings {
        skew_ns: 4_000_000,
        ..usual
    };
    for (seed, settings) in [(0, usual), (1, usual), (2, in_turn), (3, level)] {
        let scheduler = vmland(4, settings);
        let mut host = Machine::new(4, scheduler, Costs::default(), seed);
        let loads = [
            CPU,
            CPU,
            LOCK,
            BARRIER,
            Load::YieldStorm,
            Load::IpiStorm,
            Load::YieldStorm,
            CPU,
        ];
        for load in loads {
            host.add_vm(load, 4, 100);
        }
        host.run_for(SECOND_NS);
        let shares = shares(&mut host, 10 * SECOND_NS);
        let computing: Vec<f64> = (0..loads.len())
            .filter(|&vm| loads[vm] == CPU)
            .map(|vm| shares[vm])
            .collect();
        let honest = computing.iter().sum::<f64>() / computing.len() as f64;
        let relative: Vec<f64> = shares.iter().map(|share| share / honest).collect();
        println!("seed {seed}: {:.5} {relative:.4?}", jain(&shares));
        assert!(jain(&shares) >= 0.995, "seed {seed}: {relative:.3?}");
        for (load, share) in loads.iter().zip(&relative) {
            assert!(*share <= 1.02, "seed {seed}: {load:?} gets {share}");
            assert!(*load != CPU || *share >= 0.98, "seed {seed}: {share}");
        }
    }
}

/// Nor does a VM of two thousand vCPUs, which compute or spin.
#[test]
fn thousands_of_vcpus_gain_nothing() {
    for load in [CPU, Load::YieldStorm] {
        let mut host = host(4, 0);
        for _ in 0..3 {
            host.add_vm(CPU, 4, 100);
        }
        host.add_vm(load, 2_000, 100);
        host.run_for(2 * SECOND_NS);
        let shares = shares(&mut host, 10 * SECOND_NS);
        let honest = shares[..3].iter().sum::<f64>() / 3.0;
        let relative: Vec<f64> = shares.iter().map(|share| share / honest).collect();
        println!("{load:?}: {relative:.4?}");
        assert!(relative[3] <= 1.02, "{relative:?}");
    }
}

/// With work for everybody no CPU idles, and what VMs and the scheduler's own thread
/// get is all that there is.
#[test]
fn no_cpu_time_is_lost() {
    let mut host = host(4, 1);
    for load in [CPU, LOCK, TLB, Load::YieldStorm] {
        host.add_vm(load, 4, 100);
    }
    host.run_for(SECOND_NS);
    let before: u64 = (0..host.tasks.len()).map(|task| host.cpu_ns(task)).sum();
    host.run_for(5 * SECOND_NS);
    let after: u64 = (0..host.tasks.len()).map(|task| host.cpu_ns(task)).sum();
    let used = (after - before) as f64 / (4 * 5 * SECOND_NS) as f64;
    assert!((0.999..=1.000_001).contains(&used), "{used}");
}

/// No task waits longer than a bound: DEBT_SLICES of debt, a slice of its own, a slice of
/// grace for the policy and a slice of others' credit later its deadline is the earliest,
/// and in a slice's virtual time all others run once, each to the tick after its slice.
#[test]
fn nobody_starves() {
    let (nr_cpus, vms, vcpus) = (4, 5, 4);
    let settings = Settings::default();
    let costs = Costs::default();
    for seed in 0..3 {
        let mut host = host(nr_cpus, seed);
        let loads = [CPU, Load::YieldStorm, Load::IpiStorm, TLB, LOCK];
        for load in &loads[..vms] {
            host.add_vm(*load, vcpus, 100);
        }
        host.run_for(5 * SECOND_NS);
        let round_ns = (settings.slice_ns + costs.tick_ns) * (vms * vcpus).div_ceil(nr_cpus) as u64;
        let bound_ns = (DEBT_SLICES + 3) * round_ns;
        let longest_ns = host.tasks.iter().map(|task| task.waited_ns).max().unwrap();
        // Who waits at the end has not run since.
        let waits_ns = host
            .tasks
            .iter()
            .filter(|task| task.state == vmland_sim::machine::State::Ready)
            .filter(|task| task.joins.vcpu.is_some())
            .map(|task| host.now_ns - task.since_ns)
            .max()
            .unwrap_or(0);
        println!("seed {seed}: {longest_ns} {waits_ns} of {bound_ns} ns");
        assert!(longest_ns <= bound_ns, "seed {seed}: {longest_ns}");
        assert!(waits_ns <= bound_ns, "seed {seed}: {waits_ns}");
    }
}

/// No waiting task has a debt of more than DEBT_SLICES: its vruntime is no further beyond
/// its CPU's vtime.
#[test]
fn debts_are_bounded() {
    let mut host = host(4, 5);
    for load in [CPU, Load::YieldStorm, Load::IpiStorm, TLB, LOCK] {
        host.add_vm(load, 4, 100);
    }
    host.run_for(SECOND_NS / 10);
    let mut largest = 0;
    for _ in 0..5_000 {
        host.run_for(SECOND_NS / 1_000);
        for task in 0..host.tasks.len() {
            if host.tasks[task].joins.vcpu.is_some()
                && host.tasks[task].state == vmland_sim::machine::State::Ready
            {
                largest = largest.max(debt_percent(&mut host.scheduler, task));
            }
        }
    }
    println!("{largest} %");
    assert!(largest <= 100 * DEBT_SLICES as i64, "{largest} %");
    assert!(largest > 100, "yielders do pay: {largest} %");
}

/// Sleeping earns no more than a slice: after a second of sleep a VM gets its share and
/// not a burst.
#[test]
fn sleep_earns_a_slice_at_most() {
    let mut host = host(2, 3);
    let sleeper = host.add_vm(
        Load::Latency {
            period_ns: 2 * SECOND_NS,
            each_ns: SECOND_NS,
        },
        1,
        100,
    );
    for _ in 0..3 {
        host.add_vm(CPU, 1, 100);
    }
    // It wakes at two seconds, and computes.
    host.run_for(2 * SECOND_NS + SECOND_NS / 2);
    let ran_ns = vm_cpu_ns(&host)[sleeper];
    let share_ns = SECOND_NS as f64 / 2.0 / 2.0;
    let slices_ns = 3.0 * Settings::default().slice_ns as f64;
    println!("{ran_ns} of {share_ns} ns");
    assert!(ran_ns <= share_ns + slices_ns, "{ran_ns}");
    assert!(ran_ns >= share_ns - slices_ns, "{ran_ns}");
}

/// A vCPU that sleeps most of the time waits for no longer than a turn when it wakes,
/// and mostly for much less.
#[test]
fn wake_ups_are_not_late() {
    let mut host = host(4, 2);
    let sleeper = host.add_vm(
        Load::Latency {
            period_ns: 5_000_000,
            each_ns: 50_000,
        },
        1,
        100,
    );
    for load in [CPU, LOCK, TLB, Load::YieldStorm] {
        host.add_vm(load, 4, 100);
    }
    host.run_for(10 * SECOND_NS);
    let late_ns = &mut host.vms[sleeper].late_ns;
    late_ns.sort_unstable();
    let (p50_ns, p99_ns) = (
        late_ns[late_ns.len() / 2],
        late_ns[late_ns.len() * 99 / 100],
    );
    let turn_ns = Settings::default().slice_ns + Costs::default().tick_ns;
    println!("p50 {p50_ns}, p99 {p99_ns} of {turn_ns} ns");
    assert!(late_ns.len() > 1_000);
    assert!(p99_ns <= turn_ns, "{p99_ns}");
    assert!(p50_ns <= turn_ns / 2, "{p50_ns}");
}

/// What the scheduler counts is what KVM asked of it.
#[test]
fn counters_agree_with_kvm() {
    let mut host = host(4, 4);
    for load in [LOCK, TLB, Load::YieldStorm] {
        host.add_vm(load, 4, 100);
    }
    host.run_for(SECOND_NS);
    let counter = |counter| host.scheduler.user().counter(counter);
    let accepted = counter(vmland_counter_VMLAND_YIELD_HONOURED)
        + counter(vmland_counter_VMLAND_YIELD_IN_TURN)
        + counter(vmland_counter_VMLAND_YIELD_RECEIVER);
    assert!(host.kvm.pause_exits >= host.kvm.yields_accepted);
    assert!(host.kvm.yields_accepted > 1_000);
    assert_eq!(
        counter(vmland_counter_VMLAND_YIELD_ASKED),
        host.kvm.yields_asked
    );
    assert_eq!(accepted, host.kvm.yields_accepted);
}

/// The same seed gives the same run, another seed another.
#[test]
fn runs_are_deterministic() {
    let run = |seed| {
        let mut host = host(4, seed);
        for load in [LOCK, TLB, CPU] {
            host.add_vm(load, 4, 100);
        }
        host.run_for(SECOND_NS);
        let cpu_ns: Vec<u64> = (0..host.tasks.len())
            .map(|task| host.cpu_ns(task))
            .collect();
        (host.handled, host.schedules, cpu_ns)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// A light VM beside a heavy one has its share, also where a third one wakes all the time
/// and needs next to nothing. Between their turns the vruntime of the heavy one is above that of
/// the light one by nearly a slice of the light one, which is many of its own, and that must not
/// be forgiven.
#[test]
fn a_light_vm_has_its_share_beside_a_heavy_one() {
    for (nr_cpus, weights) in [
        (1, [10, 100]),
        (2, [10, 100]),
        (1, [1, 100]),
        (1, [100, 1_000]),
    ] {
        for period_ns in [None, Some(20_000_000), Some(5_000_000)] {
            let mut host = host(nr_cpus, 1);
            for weight in weights.repeat(nr_cpus) {
                host.add_vm(CPU, 1, weight);
            }
            if let Some(period_ns) = period_ns {
                let each_ns = 20_000;
                host.add_vm(Load::Latency { period_ns, each_ns }, 1, 100);
            }
            host.run_for(SECOND_NS);
            let shares = shares(&mut host, 10 * SECOND_NS);
            let computing = &shares[..2 * nr_cpus];
            let light: f64 = computing.iter().step_by(2).sum();
            let share = light / computing.iter().sum::<f64>();
            let fair = f64::from(weights[0]) / f64::from(weights[0] + weights[1]);
            println!("{nr_cpus} CPUs, {weights:?}, {period_ns:?}: {share:.4} of {fair:.4}");
            // 0.0004 and 0.0009 measured; 0.04 before that was so.
            assert!((share - fair).abs() < 0.002, "{share} of {fair}");
        }
    }
}
