// SPDX-License-Identifier: GPL-2.0-only
//! nohz_full CPUs (bpf/queue/alone.bpf.h): no interrupts where a task has its CPU for itself, and
//! where tasks compete the same shares and bounds as with ticks.

use crate::fairness::jain;
use crate::vmland::{Settings, Vmland, vmland};
use vmland_sim::ext::Ext;
use vmland_sim::machine::{Costs, Machine};
use vmland_sim::scheduler::TaskId;
use vmland_sim::vm::Load;

type Host = Machine<Ext<Vmland>>;

const SECOND_NS: u64 = 1_000_000_000;
const CPU: Load = Load::Cpu {
    chunk_ns: 1_000_000,
};
/// All but CPU 0, as on a real host.
const ALL: u64 = !1;

fn host(nr_cpus: usize, nohz_full: u64, seed: u64) -> Host {
    let settings = Settings {
        nohz_full: nohz_full & ((1 << nr_cpus) - 1),
        ..Settings::default()
    };
    Machine::new(nr_cpus, vmland(nr_cpus, settings), Costs::default(), seed)
}

/// What each of `tasks` runs for in the next `ns`, and the longest that one of them waits.
fn window(host: &mut Host, tasks: &[TaskId], ns: u64) -> (Vec<f64>, f64) {
    let cpu_ns = |host: &Host| tasks.iter().map(|&it| host.cpu_ns(it)).collect::<Vec<_>>();
    for &task in tasks {
        host.tasks[task].waited_ns = 0;
    }
    let before = cpu_ns(host);
    host.run_for(ns);
    let ran = cpu_ns(host)
        .iter()
        .zip(before)
        .map(|(a, b)| (a - b) as f64 / ns as f64)
        .collect();
    let waited = tasks.iter().map(|&task| host.tasks[task].waited_ns).max();
    (ran, waited.unwrap_or(0) as f64 / 1e6)
}

/// A thread that is bound to a CPU, and a VM that may run anywhere, on CPUs that nobody else wants.
/// Others run on CPU 0 only, and some of them always wait.
#[test]
fn who_is_alone_is_not_interrupted() {
    for (nohz_full, interrupted) in [(ALL, false), (0, true)] {
        let mut host = host(4, nohz_full, 1);
        let bound = host.add_thread(&[2], None);
        let vm = host.add_vm(CPU, 2, 100);
        let mut alone = host.vms[vm].vcpus.clone();
        alone.push(bound);
        for _ in 0..3 {
            host.add_thread(&[0], None);
            host.add_thread(&[0], Some((5_000_000, 1_000_000)));
        }
        host.run_for(SECOND_NS);
        let before = host.cpus.clone();
        let (ran, _) = window(&mut host, &alone, 10 * SECOND_NS);
        let interrupts: Vec<u64> = (1..4)
            .map(|cpu| host.cpus[cpu].interrupts - before[cpu].interrupts)
            .collect();
        println!("nohz_full {nohz_full:x}: {interrupts:?} in 10 s, {ran:.4?}");
        // 0, and over 600 with ticks.
        assert_eq!(
            interrupts.iter().any(|&it| it > 20),
            interrupted,
            "{interrupts:?}"
        );
        assert!(ran.iter().all(|&cpus| cpus > 0.999), "{ran:?}");
    }
}

/// A task that comes where tasks have been alone for seconds has its share from then on, and none
/// waits for longer than with ticks. All are bound to one CPU, or may run anywhere.
#[test]
fn a_task_that_comes_has_its_share() {
    for cpus in [&[2][..], &[]] {
        let waits = [ALL, 0].map(|nohz_full| {
            let mut host = host(4, nohz_full, 1);
            let hogs = if cpus.is_empty() { 4 } else { 1 };
            let mut all: Vec<TaskId> = (0..hogs).map(|_| host.add_thread(cpus, None)).collect();
            host.run_for(5 * SECOND_NS);
            let came = host.add_thread(cpus, None);
            let (ran, first_ms) = window(&mut host, &[came], SECOND_NS / 10);
            assert!(ran[0] > 0.0, "it does not run");
            host.run_for(SECOND_NS);
            all.push(came);
            let (ran, longest_ms) = window(&mut host, &all, 5 * SECOND_NS);
            println!("{cpus:?}, nohz_full {nohz_full:x}: first run after {first_ms:.1} ms, then {longest_ms:.1} ms; {ran:.3?}");
            assert!(jain(&ran) > 0.999, "{ran:?}");
            [first_ms, longest_ms]
        });
        let [
            [first_ms, longest_ms],
            [first_with_ticks_ms, longest_with_ticks_ms],
        ] = waits;
        // A tick ends a slice up to 4 ms late, a timer does not.
        assert!(first_ms <= first_with_ticks_ms + 1.0, "{waits:?}");
        assert!(longest_ms <= longest_with_ticks_ms + 1.0, "{waits:?}");
    }
}

/// With 64 tasks of which most sleep now and then, on CPUs that are full or nearly so: CPU time and
/// the longest wait are as with ticks.
#[test]
fn nobody_starves_beside_an_infinite_slice() {
    for works in [8, 3] {
        let results = [ALL, 0].map(|nohz_full| {
            let mut host = host(4, nohz_full, 2);
            let mut hogs = Vec::new();
            for _ in 0..2 {
                let vm = host.add_vm(CPU, 2, 100);
                hogs.extend(&host.vms[vm].vcpus);
            }
            let mut sleepers = Vec::new();
            for task in 0..24 {
                let cpus = if task % 3 == 0 { vec![task % 4] } else { vec![] };
                sleepers.push(host.add_thread(&cpus, Some((30_000_000, works * 200_000))));
            }
            host.run_for(SECOND_NS);
            let all = [&hogs[..], &sleepers[..]].concat();
            let (ran, longest_ms) = window(&mut host, &all, 10 * SECOND_NS);
            let sum = |part: &[f64]| part.iter().sum::<f64>();
            let (hogs, sleepers) = ran.split_at(hogs.len());
            println!("{works}: nohz_full {nohz_full:x}: {:.3} and {:.3} CPUs, longest wait {longest_ms:.1} ms", sum(hogs), sum(sleepers));
            (sum(sleepers), longest_ms)
        });
        let [(sleepers, longest_ms), (with_ticks, longest_with_ticks_ms)] = results;
        assert!((sleepers / with_ticks - 1.0).abs() < 0.05, "{results:?}");
        assert!(longest_ms <= longest_with_ticks_ms + 4.0, "{results:?}");
    }
}

/// A quota holds for a task that has been alone before it got one.
#[test]
fn a_quota_ends_it() {
    let mut host = host(4, ALL, 1);
    let task = host.add_thread(&[2], None);
    let cgroup = host.scheduler.add_cgroup(100_000, 100_000);
    host.scheduler.enter_cgroup(task, &cgroup);
    host.run_for(SECOND_NS);
    let at = host.at(0);
    host.scheduler.set_quota(&cgroup, 20_000, 100_000, at);
    host.after_scheduler(0);
    host.run_for(SECOND_NS);
    let (ran, _) = window(&mut host, &[task], 5 * SECOND_NS);
    println!("{ran:.4?}");
    assert!((ran[0] - 0.2).abs() < 0.005, "{ran:?}");
}
