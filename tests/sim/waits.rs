// SPDX-License-Identifier: GPL-2.0-only
//! The histograms of waits are those of the waits that the simulated host sees.

use crate::limits::{CPU, Host, SECOND_NS, host, limit};
use vmland_control::histogram::{BUCKETS, Histogram, range_ns};
use vmland_sim::machine::Costs;
use vmland_sim::vm::Load;

/// As user space would count these waits.
fn counted<'a>(waits_ns: impl Iterator<Item = &'a u64>) -> Histogram {
    let mut counts = [0; BUCKETS as usize];
    let mut sum_ns = 0;
    for ns in waits_ns {
        let bucket = (0..BUCKETS).rfind(|it| range_ns(*it).start <= *ns);
        counts[bucket.expect("the first begins at 0") as usize] += 1;
        sum_ns += ns;
    }
    Histogram::new(sum_ns, &counts)
}

/// The scheduler's histograms of `vm`, and the host's: of waits from a wake-up, and of the others.
fn both(host: &Host, vm: usize) -> [[Histogram; 2]; 2] {
    let slot = host.scheduler.user().slot_of(host.vms[vm].vcpus[0]);
    let seen = [true, false].map(|woken| {
        let of_vm = |it: &&vmland_sim::machine::Wait| {
            it.woken == woken && host.vms[vm].vcpus.contains(&it.task)
        };
        counted(host.waits.iter().filter(of_vm).map(|it| &it.ns))
    });
    [host.scheduler.user().waits(slot), seen]
}

#[test]
fn agree_with_what_the_host_sees() {
    let mut host = host(4, Costs::default());
    host.records_waits = true;
    let loads = [
        CPU,
        Load::Latency {
            period_ns: 2_000_000,
            each_ns: 100_000,
        },
        Load::Message { each_ns: 20_000 },
        CPU,
    ];
    for load in loads {
        host.add_vm(load, 4, 100);
    }
    let throttled = host.vms[3].vcpus.clone();
    limit(&mut host, &throttled, 20_000, 100_000);
    host.run_for(20 * SECOND_NS);
    for vm in 0..loads.len() {
        let [counted, seen] = both(&host, vm);
        for (counted, seen, of) in [
            (&counted[0], &seen[0], "from a wake-up"),
            (&counted[1], &seen[1], "others"),
        ] {
            let p99 = |it: &Histogram| it.quantile_ns(0.99).unwrap_or(0.0) / 1e3;
            println!(
                "VM {vm}, {of}: {} waits, {} ms; 99 % up to {:.0} us",
                counted.count(),
                counted.sum_ns / 1_000_000,
                p99(counted)
            );
            // A vCPU is recognised when it first leaves a CPU or is queued: the first wait of each
            // may be missing.
            let missing = seen.since(counted);
            assert!(missing.count() <= 4, "{of}: {missing:?}");
            assert_eq!(counted.since(seen).count(), 0, "{of}");
        }
    }
    // The cases are there: many waits of each kind, and a quota that is waited for.
    let [counted, _] = both(&host, 2);
    assert!(counted[0].count() > 10_000);
    let [counted, _] = both(&host, 3);
    assert!(counted[1].quantile_ns(0.99).expect("it waits") > 5e7);
}
