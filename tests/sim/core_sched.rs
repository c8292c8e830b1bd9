// SPDX-License-Identifier: GPL-2.0-only
//! Core scheduling (bpf/queue/core_sched.bpf.h): what VMs get that may not share an SMT core.

use crate::vmland::{Settings, vmland};
use vmland_sim::machine::{Costs, Machine};
use vmland_sim::vm::Load;

const SECOND_NS: u64 = 1_000_000_000;
const CPU: Load = Load::Cpu {
    chunk_ns: 1_000_000,
};

/// Two VMs of weight 3 : 1 on one core, each with a cookie of its own, whichever way round the kernel
/// takes the order of two tasks.
#[test]
fn shares_of_a_core_are_by_weight() {
    for inverted in [false, true] {
        for vcpus in [1, 2, 3] {
            let settings = Settings {
                core_sched: true,
                ..Settings::default()
            };
            let mut host = Machine::new(2, vmland(2, settings), Costs::default(), 1);
            host.scheduler.set_core_sched(inverted);
            let vms = [300, 100].map(|weight| host.add_vm(CPU, vcpus, weight));
            for vm in vms {
                for &task in &host.vms[vm].vcpus {
                    host.scheduler.set_cookie(task, 1 + vm as u64);
                }
            }
            let used = |host: &Machine<_>, vm: usize| -> u64 {
                host.vms[vm]
                    .vcpus
                    .iter()
                    .map(|&task| host.cpu_ns(task))
                    .sum()
            };
            host.run_for(SECOND_NS);
            let before = vms.map(|vm| used(&host, vm));
            host.run_for(10 * SECOND_NS);
            let [heavy, light] = [0, 1].map(|i| (used(&host, vms[i]) - before[i]) as f64);
            let share = heavy / (heavy + light);
            let core = (heavy + light) / (10 * SECOND_NS) as f64;
            println!("inverted {inverted}, {vcpus} vCPUs: {share:.3}, {core:.2} CPUs");
            assert!((share - 0.75).abs() < 0.03, "{share:.3}");
        }
    }
}
