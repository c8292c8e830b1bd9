// SPDX-License-Identifier: GPL-2.0-only
//! Does the simulator put schedulers into the order in which the rig does?

use std::fmt::{self, Display, Formatter};

use crate::rustland::rustland;
use crate::vmland::{Settings, vmland};
use vmland_sim::eevdf::Eevdf;
use vmland_sim::machine::{Costs, Machine};
use vmland_sim::scheduler::Scheduler;
use vmland_sim::vm::Load;

pub const LOCK: Load = Load::Lock {
    held_ns: 2_000,
    outside_ns: 2_000,
};

/// What two guests do, on the host of the rig.
pub const LOADS: [(&str, Load); 5] = [
    ("lock", LOCK),
    (
        "tlb",
        Load::Tlb {
            held_ns: 40_000,
            outside_ns: 100_000,
        },
    ),
    ("message", Load::Message { each_ns: 20_000 }),
    ("barrier", Load::Barrier { between_ns: 50_000 }),
    (
        "cpu",
        Load::Cpu {
            chunk_ns: 1_000_000,
        },
    ),
];

const WINDOW_NS: u64 = 1_000_000_000;

/// Work per second, of both guests, over some seeds.
struct Works(Vec<f64>);

impl Works {
    fn new<S: Scheduler>(load: Load, costs: Costs, seeds: u64, scheduler: impl Fn() -> S) -> Self {
        let mut works: Vec<f64> = (0..seeds)
            .map(|seed| two_guests(scheduler(), load, costs, seed).work_per_s)
            .collect();
        works.sort_by(f64::total_cmp);
        Self(works)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    fn worst(&self) -> f64 {
        self.0[0]
    }
}

impl Display for Works {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let best = self.0[self.0.len() - 1];
        write!(f, "{:7.0} [{:.0}..{best:.0}]", self.median(), self.worst())
    }
}

/// What a run gave.
pub struct Run {
    /// Of both guests.
    pub work_per_s: f64,
    pub exits_per_work: f64,
}

pub fn two_guests<S: Scheduler>(scheduler: S, load: Load, costs: Costs, seed: u64) -> Run {
    let mut machine = Machine::new(2, scheduler, costs, seed);
    for _ in 0..2 {
        machine.add_vm(load, 2, 100);
        machine.add_thread(&[], Some((10_000_000, 50_000)));
    }
    machine.run_for(WINDOW_NS);
    let work: u64 = machine.vms.iter().map(|vm| vm.work).sum();
    Run {
        work_per_s: work as f64 / (WINDOW_NS as f64 / 1e9),
        exits_per_work: machine.kvm.pause_exits as f64 / work as f64,
    }
}

/// EEVDF's, scx_rustland's and scx_vmland's.
fn all(load: Load, costs: Costs, seeds: u64) -> [Works; 3] {
    let vmland = || vmland(2, Settings::emulated());
    [
        Works::new(load, costs, seeds, || Eevdf::new(2)),
        Works::new(load, costs, seeds, || rustland(2)),
        Works::new(load, costs, seeds, vmland),
    ]
}

fn of(name: &str) -> [Works; 3] {
    let (_, load) = LOADS.into_iter().find(|(load, _)| *load == name).unwrap();
    let works = all(load, Costs::emulated(), 7);
    let [eevdf, rustland, vmland] = &works;
    println!("{name}: EEVDF {eevdf}, scx_rustland {rustland}, scx_vmland {vmland}");
    works
}

/// EEVDF has two speeds, by whether siblings happen to run at the same time; scx_vmland's worst
/// is far above EEVDF's worst and near EEVDF's median; scx_rustland is behind.
#[test]
fn lock() {
    let [eevdf, rustland, vmland] = of("lock");
    assert!(eevdf.worst() < 0.7 * eevdf.median());
    assert!(vmland.worst() > 1.3 * eevdf.worst());
    assert!(vmland.median() > 0.9 * eevdf.median());
    assert!(rustland.median() < 0.8 * eevdf.median());
}

/// scx_vmland is ahead of both, and scx_rustland of EEVDF: who waits for an answer does so
/// for a sibling that has been descheduled, and under EEVDF that one stays so for longest.
#[test]
fn tlb() {
    let [eevdf, rustland, vmland] = of("tlb");
    assert!(vmland.median() > 1.3 * eevdf.median());
    assert!(vmland.median() > rustland.median());
    assert!(rustland.median() > 1.05 * eevdf.median());
}

/// About level, and scx_rustland's round trip for every message costs a third.
#[test]
fn message() {
    let [eevdf, rustland, vmland] = of("message");
    assert!((0.9..1.1).contains(&(vmland.median() / eevdf.median())));
    assert!(rustland.median() < 0.9 * eevdf.median());
}

#[test]
fn cpu() {
    let [eevdf, rustland, vmland] = of("cpu");
    assert!((0.99..1.01).contains(&(vmland.median() / eevdf.median())));
    assert!((0.98..1.02).contains(&(rustland.median() / eevdf.median())));
}
