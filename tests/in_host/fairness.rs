// SPDX-License-Identifier: GPL-2.0-only
//! CPU time is proportional to weight, whatever the guests do.

use std::thread::sleep;

use crate::rig::{GUEST_CPUS, Guest, Hog, Scheduler, cpus_used, ms, vmland_vms};

/// The guests' CPUs, as taskset has them.
const BOTH: &str = "6";
const FIRST: &str = "2";
const SECOND: &str = "4";

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn equal_guests_get_equal_time() {
    let _scheduler = Scheduler::start(&[]);
    let [a, b] = Guest::take_all(["lock-a", "lock-b"]);
    let [used_a, used_b] = cpus_used(|| [a.cpu_ns(), b.cpu_ns()], ms(12_000));
    let ratio = used_a / used_b;
    assert!(
        (0.95..=1.0 / 0.95).contains(&ratio),
        "{used_a:.3} : {used_b:.3}"
    );
    assert!(used_a + used_b > 0.9 * GUEST_CPUS as f64, "CPUs stood idle");
}

/// A guest that only sends IPIs, spins and yields gets as much as one that computes.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_hostile_guest_gains_nothing() {
    let _scheduler = Scheduler::start(&[]);
    let [storm, calm] = Guest::take_all(["storm", "cpu-a"]);
    let [used_storm, used_calm] = cpus_used(|| [storm.cpu_ns(), calm.cpu_ns()], ms(10_000));
    let share = used_storm / (used_storm + used_calm);
    println!("CPUs used: hostile {used_storm:.3}, calm {used_calm:.3}; share {share:.4}");
    assert!((0.49..=0.51).contains(&share), "{share:.4} of 0.5");
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_host_task_gets_its_share_beside_four_vcpus() {
    let _scheduler = Scheduler::start(&[]);
    let _guests = Guest::take_all(["cpu-a", "cpu-b"]);
    let (plain, nice) = (Hog::start(BOTH, 0), Hog::start(BOTH, 10));
    sleep(ms(2_000));
    let [plain, nice] = cpus_used(|| [plain.cpu_ns(), nice.cpu_ns()], ms(10_000));
    // Nice 10 weighs 110 of 1024 (sched_prio_to_weight[]), four vCPUs 1024 each.
    let total = 5.0 + 110.0 / 1024.0;
    let fair = GUEST_CPUS as f64 / total;
    println!(
        "CPUs used: nice 0 {plain:.3} of {fair:.3}, nice 10 {nice:.3} of {:.3}",
        fair * 110.0 / 1024.0
    );
    assert!(
        (0.85..=1.15).contains(&(plain / fair)),
        "{plain:.3} of {fair:.3}"
    );
    assert!(
        (0.6..=1.6).contains(&(nice / (fair * 110.0 / 1024.0))),
        "{nice:.3}"
    );
}

/// A task that wakes on an idle CPU after a long sleep has no more lag than any other sleeper.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_long_sleeper_starves_nobody() {
    let _scheduler = Scheduler::start(&[]);
    let sleeper = Hog::start(BOTH, 0);
    sleep(ms(200));
    sleeper.signal(libc::SIGSTOP);
    // Four rivals on two CPUs: each gets 4 s of virtual time.
    let rivals = [BOTH; 4].map(|mask| Hog::start(mask, 0));
    sleep(ms(8_000));
    drop(rivals);
    sleep(ms(200));
    sleeper.signal(libc::SIGCONT);
    sleep(ms(100));
    let newcomers = [FIRST, SECOND].map(|mask| Hog::start(mask, 0));
    sleep(ms(300));
    let used = cpus_used(|| [newcomers[0].cpu_ns(), newcomers[1].cpu_ns()], ms(1_500));
    assert!(used.iter().all(|&cpus| cpus >= 0.45), "{used:.3?} of 0.667");
}

/// Where affinity splits the host, virtual time advances at a different rate in each part; weights
/// hold in each.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn weights_hold_where_affinity_splits_the_host() {
    let _scheduler = Scheduler::start(&[]);
    let (plain, nice) = (Hog::start(FIRST, 0), Hog::start(FIRST, 5));
    let _elsewhere = [Hog::start(SECOND, 10), Hog::start(SECOND, 10)];
    sleep(ms(1_000));
    let [_, nice] = cpus_used(|| [plain.cpu_ns(), nice.cpu_ns()], ms(5_000));
    // sched_prio_to_weight[]: 335 of 1024.
    let fair = 335.0 / (335.0 + 1024.0);
    assert!(
        (0.85..=1.15).contains(&(nice / fair)),
        "{nice:.3} of {fair:.3}"
    );
}

/// While the process in user space is stopped, BPF schedules alone, and fairly.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_stopped_policy_stalls_nobody() {
    let mut scheduler = Scheduler::start(&[]);
    let [a, b] = Guest::take_all(["lock-a", "lock-b"]);
    let (work_a, work_b) = (a.count(), b.count());
    scheduler.signal("STOP");
    let [used_a, used_b] = cpus_used(|| [a.cpu_ns(), b.cpu_ns()], ms(3_000));
    scheduler.signal("CONT");
    assert!(
        used_a.min(used_b) > 0.35 * (used_a + used_b),
        "{used_a:.3} : {used_b:.3}"
    );
    assert!(used_a + used_b > 0.9 * GUEST_CPUS as f64, "CPUs stood idle");
    assert!(a.count() > work_a && b.count() > work_b);
    sleep(ms(1_000));
    scheduler.assert_alive();
    assert_eq!(vmland_vms().len(), 2);
}
