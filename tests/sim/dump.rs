// SPDX-License-Identifier: GPL-2.0-only
//! What the scheduler tells of itself in the kernel's dump (bpf/dump/dump.bpf.h).

use crate::limits::{CPU, SECOND_NS, host, limit};
use vmland_sim::machine::Costs;

/// Two VMs on two CPUs, the second with a quota, and a thread that is bound to CPU 1.
#[test]
fn tells_of_queues_cpus_and_vms() {
    let mut host = host(2, Costs::default());
    for _ in 0..2 {
        host.add_vm(CPU, 2, 100);
    }
    host.add_thread(&[1], None);
    let limited = host.vms[1].vcpus.clone();
    limit(&mut host, &limited, 1_000, 100_000);
    host.run_for(SECOND_NS + 50_000_000);
    let at = host.at(0);
    let dump = host.scheduler.dump(at);
    println!("{dump}");
    let count = |text: &str| dump.matches(text).count();
    assert_eq!(count("queue of domain 0: "), 1);
    assert_eq!(count("throttled 2\n"), 1);
    assert_eq!(count("queue of this CPU"), 2);
    // Throttled vCPUs are not runnable, and what their VM is stands with them.
    assert_eq!((count("VM 1 slot 0 pid"), count("VM 2 slot 1 pid")), (1, 0));
    assert!(dump.contains("vCPUs 2 runnable 2 running "), "{dump}");
    for (vm, slot) in [(1, 0), (2, 1)] {
        for vcpu in 0..2 {
            assert_eq!(count(&format!("vCPU {vcpu} of VM {vm} slot {slot}\n")), 1);
        }
    }
    assert_eq!(count("throttled for "), 2);
    // Since when they run and wait: less than a second, and not in the future.
    let mut times = 0;
    for before in [" runs, VM 1, for ", "waits for ", "throttled for "] {
        for (at, _) in dump.match_indices(before) {
            let us = dump[at + before.len()..].split(' ').next();
            let us: i64 = us.and_then(|us| us.parse().ok()).expect("a number");
            assert!((0..1_000_000).contains(&us), "{before}{us}");
            times += 1;
        }
    }
    assert!(times >= 4, "{times}");
}
