// SPDX-License-Identifier: GPL-2.0-only
//! Does the simulator put schedulers into the order in which the rig does?

use crate::eevdf::Eevdf;
use crate::guest::Load;
use crate::machine::{Costs, Machine};
use crate::rustland::rustland;
use crate::scheduler::Scheduler;
use crate::vmland::{Settings, vmland};

#[test]
fn table() {
    let loads = [
        (
            "lock",
            Load::Lock {
                held_ns: 2_000,
                outside_ns: 2_000,
            },
        ),
        (
            "tlb",
            Load::Tlb {
                held_ns: 10_000,
                outside_ns: 20_000,
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
    for (name, load) in loads {
        for seed in 0..3 {
            print!("{name:8} ");
            run("eevdf", Eevdf::new(2), load, seed);
            run("rustland", rustland(2), load, seed);
            let s = run("vmland", vmland(2, Settings::default()), load, seed);
            println!();
            let _ = s;
        }
    }
}

fn run<S: Scheduler>(name: &str, scheduler: S, load: Load, seed: u64) -> Machine<S> {
    let mut machine = Machine::new(2, scheduler, Costs::default(), seed);
    for _ in 0..2 {
        machine.add_vm(load, 2, 100);
        machine.add_helper(10_000_000, 50_000);
    }
    let start = std::time::Instant::now();
    machine.run_for(4_000_000_000);
    let took = start.elapsed().as_secs_f64();
    let work: u64 = machine.vms.iter().map(|vm| vm.work).sum();
    print!(
        "{name} {:7.0}/s x{:4.2} s{:.2} y{}/{} sw{} {:4.1}M/s| ",
        work as f64 / 4.0,
        machine.kvm.pause_exits as f64 / work as f64,
        machine.vms[0].work as f64 / work as f64,
        machine.kvm.yields_accepted,
        machine.kvm.yields_asked,
        machine.schedules,
        machine.handled as f64 / took / 1e6,
    );
    machine
}
