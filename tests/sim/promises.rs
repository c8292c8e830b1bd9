// SPDX-License-Identifier: GPL-2.0-only
//! What VMs are promised on a server: a VM's share by its weight whatever its vCPUs do,
//! siblings that spin for each other at the same time on CPUs, and wake-ups at once.

use crate::ordering::LOCK;
use crate::vmland::{Settings, vmland};
use vmland_sim::eevdf::Eevdf;
use vmland_sim::machine::{Costs, Machine};
use vmland_sim::scheduler::Scheduler;
use vmland_sim::vm::Load;

const WARM_UP_NS: u64 = 300_000_000;
const WINDOW_NS: u64 = 1_000_000_000;
const SEEDS: u64 = 5;

const BARRIER: Load = Load::Barrier { between_ns: 50_000 };
const CPU: Load = Load::Cpu {
    chunk_ns: 1_000_000,
};
const MUNMAP: Load = Load::Tlb {
    held_ns: 40_000,
    outside_ns: 100_000,
};
const PING_PONG: Load = Load::Message { each_ns: 20_000 };
const TIMER: Load = Load::Latency {
    period_ns: 2_000_000,
    each_ns: 50_000,
};

/// Load and number of vCPUs.
type Guests<'a> = &'a [(Load, usize)];

/// What each VM did in the window.
struct Window {
    work: Vec<f64>,
    cpus: Vec<f64>,
    late_p99_ms: f64,
    pause_exits: f64,
}

fn window<S: Scheduler>(nr_cpus: usize, guests: Guests, seed: u64, scheduler: S) -> Window {
    let mut machine = Machine::new(nr_cpus, scheduler, Costs::default(), seed);
    for &(load, vcpus) in guests {
        machine.add_vm(load, vcpus, 100);
        machine.add_thread(&[], Some((10_000_000, 50_000)));
    }
    let counted = |machine: &Machine<S>| -> (Vec<u64>, Vec<u64>, u64) {
        let cpu_ns =
            |vm: &vmland_sim::vm::Vm| vm.vcpus.iter().map(|&task| machine.cpu_ns(task)).sum();
        (
            machine.vms.iter().map(|vm| vm.work).collect(),
            machine.vms.iter().map(cpu_ns).collect(),
            machine.kvm.pause_exits,
        )
    };
    machine.run_for(WARM_UP_NS);
    let (work, cpu_ns, exits) = counted(&machine);
    for vm in &mut machine.vms {
        vm.late_ns.clear();
    }
    machine.run_for(WINDOW_NS);
    let (work_now, cpu_now, exits_now) = counted(&machine);
    let since = |now: Vec<u64>, then: Vec<u64>| -> Vec<f64> {
        now.iter()
            .zip(then)
            .map(|(now, then)| (now - then) as f64)
            .collect()
    };
    let mut late_ns: Vec<u64> = machine
        .vms
        .iter()
        .flat_map(|vm| vm.late_ns.clone())
        .collect();
    late_ns.sort_unstable();
    Window {
        work: since(work_now, work),
        cpus: since(cpu_now, cpu_ns)
            .iter()
            .map(|ns| ns / WINDOW_NS as f64)
            .collect(),
        late_p99_ms: late_ns
            .get(late_ns.len() * 99 / 100)
            .map_or(0.0, |&ns| ns as f64 / 1e6),
        pause_exits: (exits_now - exits) as f64,
    }
}

fn windows<S: Scheduler>(nr_cpus: usize, guests: Guests, scheduler: impl Fn() -> S) -> Vec<Window> {
    (0..SEEDS)
        .map(|seed| window(nr_cpus, guests, seed, scheduler()))
        .collect()
}

fn ours(nr_cpus: usize, guests: Guests) -> Vec<Window> {
    windows(nr_cpus, guests, || vmland(nr_cpus, Settings::default()))
}

fn stock(nr_cpus: usize, guests: Guests) -> Vec<Window> {
    windows(nr_cpus, guests, || Eevdf::new(nr_cpus))
}

/// Values of each window, sorted.
fn sorted(windows: &[Window], of: impl Fn(&Window) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = windows.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> f64 {
    values[values.len() / 2]
}

/// Of VMs that do `load`.
fn work(guests: Guests, load: Load) -> impl Fn(&Window) -> f64 {
    move |window| {
        let of = |vm: &usize| guests[*vm].0 == load;
        (0..guests.len()).filter(of).map(|vm| window.work[vm]).sum()
    }
}

/// Work of the VMs that do `load`, median and worst, relative to one of them alone.
fn of_alone(nr_cpus: usize, guests: Guests, load: Load) -> (f64, f64) {
    let alone = guests
        .iter()
        .find(|guest| guest.0 == load)
        .expect("a VM does it");
    let alone = sorted(&ours(nr_cpus, &[*alone]), |window| window.work[0]);
    let together = ours(nr_cpus, guests);
    let shared = sorted(&together, work(guests, load));
    let stock = sorted(&stock(nr_cpus, guests), work(guests, load));
    let (median, worst, stock, alone) =
        (median(&shared), shared[0], median(&stock), median(&alone));
    println!(
        "{guests:?} on {nr_cpus}: {median:.0}, worst {worst:.0}, stock {stock:.0}, alone {alone:.0}: {:.3} {:.3}; shares {:.3?}",
        median / alone,
        worst / alone,
        together[0].cpus,
    );
    (median / alone, worst / alone)
}

fn late_p99_ms(windows: &[Window]) -> f64 {
    let late = sorted(windows, |window| window.late_p99_ms);
    println!("p99 late: {late:.3?} ms");
    median(&late)
}

#[test]
fn two_lock_vms_fit_their_cpus() {
    let (median, worst) = of_alone(2, &[(LOCK, 2); 2], LOCK);
    assert!(median >= 0.97 && worst >= 0.93);
}

#[test]
fn four_lock_vms_as_wide_as_the_host() {
    let (median, worst) = of_alone(8, &[(LOCK, 8); 4], LOCK);
    assert!(median >= 0.85 && worst >= 0.8);
}

#[test]
fn four_barrier_vms_as_wide_as_the_host() {
    let (median, _) = of_alone(8, &[(BARRIER, 8); 4], BARRIER);
    assert!(median >= 0.95);
}

#[test]
fn four_munmap_vms_as_wide_as_the_host() {
    let guests = [(MUNMAP, 8); 4];
    let total = work(&guests, MUNMAP);
    let ours = ours(8, &guests);
    let stock = median(&sorted(&stock(8, &guests), &total));
    let exits = median(&sorted(&ours, |window| window.pause_exits / total(window)));
    let ours = median(&sorted(&ours, &total));
    println!(
        "munmap {ours:.0}, stock {stock:.0}: {:.3}; pause exits {exits:.2}",
        ours / stock
    );
    // 1.19 and 0.88 measured; with two CPUs for each VM alone it would be 1.28 and 0.39.
    assert!(ours >= 1.15 * stock);
    assert!(exits <= 1.0);
}

#[test]
fn wake_ups_beside_lock_vms() {
    let guests = [(LOCK, 4), (LOCK, 4), (TIMER, 2)];
    let (median, _) = of_alone(4, &guests, LOCK);
    let late_ms = late_p99_ms(&ours(4, &guests));
    assert!(median >= 0.9);
    assert!(late_ms <= 0.5);
}

#[test]
fn wake_ups_beside_computing_vms() {
    let guests = [(TIMER, 1), (CPU, 2), (CPU, 2)];
    let computing = work(&guests, CPU);
    let (ours, stock) = (ours(2, &guests), stock(2, &guests));
    let late_ms = late_p99_ms(&ours);
    let ratio = median(&sorted(&ours, &computing)) / median(&sorted(&stock, &computing));
    println!("computing VMs {ratio:.4} of stock");
    assert!(late_ms <= 0.5);
    assert!(ratio >= 0.99);
}

/// The shares of a window move by a turn, which is 1 % of it and CPU: their median is near.
fn shares_are_equal(nr_cpus: usize, guests: Guests, within: f64) {
    let fair = nr_cpus as f64 / guests.len() as f64;
    let windows = ours(nr_cpus, guests);
    for (vm, guest) in guests.iter().enumerate() {
        let shares = sorted(&windows, |window| window.cpus[vm]);
        println!("{guest:?} on {nr_cpus}: {shares:.3?} of {fair:.3}");
        let off = |share: f64| (share - fair).abs();
        assert!(off(median(&shares)) <= within, "{shares:?}");
        assert!(
            shares.iter().all(|&share| off(share) <= 2.0 * within),
            "{shares:?}"
        );
    }
}

#[test]
fn siblings_that_sleep_in_turns_have_no_more_than_their_vms_share() {
    shares_are_equal(2, &[(PING_PONG, 4), (CPU, 2)], 0.02);
}

#[test]
fn shares_are_equal_whatever_vms_do() {
    shares_are_equal(4, &[(PING_PONG, 8), (CPU, 4), (LOCK, 4)], 0.03);
}
