// SPDX-License-Identifier: GPL-2.0-only
//! What a decision of the policy costs, by the number of vCPUs that wait for one:
//! one that has used up its slice is added, and the one with the earliest deadline is
//! removed. The goal is 1 µs at 10 000, and a growth no worse than log n.
//!
//! `cargo bench --bench policy`

#[path = "../tests/arrivals/mod.rs"]
mod arrivals;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use scx_vmland::policy::Policy;

use arrivals::{SLICE_NS, arrival};

/// `waiting` vCPUs, in no order.
fn full(waiting: i32, random: &mut fastrand::Rng) -> Policy {
    let mut policy = Policy::new(waiting as usize + 1);
    for pid in 1..=waiting {
        policy.enqueue(arrival(pid, random.u64(0..SLICE_NS)));
    }
    policy
}

fn decision(c: &mut Criterion) {
    let mut group = c.benchmark_group("decision");
    group.throughput(Throughput::Elements(1));
    for waiting in [100, 1_000, 10_000, 100_000] {
        let mut random = fastrand::Rng::with_seed(1);
        let mut policy = full(waiting, &mut random);
        group.bench_function(BenchmarkId::from_parameter(waiting), |b| {
            b.iter(|| {
                let first = policy.take().expect("a vCPU waits");
                let ran = SLICE_NS + random.u64(0..SLICE_NS);
                policy.enqueue(arrival(black_box(first.pid), first.deadline + ran));
            })
        });
    }
    group.finish();
}

criterion_group!(benches, decision);
criterion_main!(benches);
