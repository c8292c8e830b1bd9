// SPDX-License-Identifier: GPL-2.0-only
//! Schedules of interleaved ops (`vmland_sim::explore`), chosen by seeds.

use std::env;
use std::panic::resume_unwind;
use std::thread::{ScopedJoinHandle, available_parallelism, scope};
use std::time::{Duration, Instant};

use vmland_sim::abi::DSQ_LOCAL;
use vmland_sim::explore::{Failure, Setup, explore};

use crate::source;
use crate::vmland::{Settings, user};

/// SCHED_DSQ and the first THROTTLED_DSQ (main.bpf.c, bpf/context/queues.bpf.h); and local DSQs, for a
/// task that gets a CPU at its wake-up is bound to it, although another task may come first.
const MAY_WAIT_IN: [u64; 3] = [1024 + 1, 1024 + 3, DSQ_LOCAL];

fn schedule(seed: u64) -> Result<u64, Box<Failure>> {
    let setup = Setup {
        source: source("explored.c"),
        for_ns: 30_000_000,
        may_wait_in: MAY_WAIT_IN.to_vec(),
    };
    let settings = Settings {
        slice_ns: 2_000_000,
        slice_min_ns: 500_000,
        ..Settings::default()
    };
    explore(&setup, seed, |nr_cpus| user(nr_cpus, settings)).map_err(Box::new)
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

fn check(seed: u64) -> u64 {
    schedule(seed).unwrap_or_else(|failure| {
        let Failure { seed, what, trace } = *failure;
        panic!("seed {seed}: {what}\n{trace}\nseed {seed}: {what}");
    })
}

/// Other CPUs empty every queue while one chooses: the task that had it goes on.
#[test]
fn the_last_task_keeps_its_cpu() {
    check(7_002_096);
}

/// A decision comes before the task is in PARKED_DSQ: an idle CPU takes it from there.
#[test]
fn a_task_is_parked_after_its_decision() {
    check(1_004_984);
}

/// The target's affinity changes while a hand-off moves it.
#[test]
fn a_hand_off_meets_a_change_of_affinity() {
    check(10_388);
}

/// On every CPU, EXPLORE_SECONDS of schedules from EXPLORE_SEED on.
#[test]
fn explored_without_a_finding() {
    let until = Instant::now() + Duration::from_secs(number("EXPLORE_SECONDS").unwrap_or(30));
    let first = number("EXPLORE_SEED").unwrap_or(0);
    let cpus = available_parallelism().map_or(1, usize::from);
    let explore = |cpu| {
        let seeds = (first + cpu as u64..).step_by(cpus);
        let seeds = seeds.take_while(|_| Instant::now() < until);
        seeds.fold((0, 0), |(schedules, points), seed| {
            (schedules + 1, points + check(seed))
        })
    };
    let done: Vec<(u64, u64)> = scope(|scope| {
        let threads: Vec<_> = (0..cpus)
            .map(|cpu| scope.spawn(move || explore(cpu)))
            .collect();
        let results = threads.into_iter().map(ScopedJoinHandle::join);
        results
            .map(|it| it.unwrap_or_else(|e| resume_unwind(e)))
            .collect()
    });
    println!("schedules and points of each CPU: {done:?}");
}

/// What there is to find: a line for each seed with a failure.
#[test]
#[ignore = "a list, and not a check"]
fn list() {
    let until = Instant::now() + Duration::from_secs(number("EXPLORE_SECONDS").unwrap_or(60));
    let first = number("EXPLORE_SEED").unwrap_or(0);
    for seed in (first..).take_while(|_| Instant::now() < until) {
        if let Err(failure) = schedule(seed) {
            println!("seed {seed}: {}", failure.what);
        }
    }
}
