// SPDX-License-Identifier: GPL-2.0-only
//! Whether a VM's vCPUs run together, how far they get apart, and what they have out of
//! turn, as it is set. About 60 s with the guests' start.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::control::{done, show};
use crate::rig::{Guest, Scheduler, ms, thread_cpu_ns};
use crate::trace::{Event, Moment, record};

#[derive(Clone, Copy, PartialEq)]
enum Doing {
    Unknown,
    Sleeps,
    Waits,
    Runs,
}

/// Of the time in which all of these threads wanted to run and one did, the part in which
/// all did.
fn together(moments: &[Moment], threads: &[i32]) -> f64 {
    let mut doing = vec![Doing::Unknown; threads.len()];
    let (mut some_us, mut all_us) = (0, 0);
    let mut since_us = 0;
    for moment in moments {
        let span_us = moment.at_us - since_us;
        since_us = moment.at_us;
        let all_want = { &doing }
            .iter()
            .all(|it| matches!(it, Doing::Waits | Doing::Runs));
        let running = doing.iter().filter(|it| **it == Doing::Runs).count();
        if all_want && running > 0 {
            some_us += span_us;
        }
        if running == threads.len() {
            all_us += span_us;
        }
        let mut is = |tid: i32, what: Doing| {
            if let Some(at) = threads.iter().position(|thread| *thread == tid) {
                doing[at] = what;
            }
        };
        match moment.event {
            Event::Switch { prev, waits, next } => {
                is(prev, if waits { Doing::Waits } else { Doing::Sleeps });
                is(next, Doing::Runs);
            }
            Event::Wake { pid } => is(pid, Doing::Waits),
            _ => {}
        }
    }
    all_us as f64 / some_us as f64
}

/// How often in a second a vCPU that wants to run on is followed by a sibling on its CPU.
fn handed_on(guest: &Guest, span: Duration) -> f64 {
    let vcpus = guest.vcpu_threads();
    let is_one = |moment: &&Moment| match moment.event {
        Event::Switch { prev, waits, next } => {
            waits && vcpus.contains(&prev) && vcpus.contains(&next)
        }
        _ => false,
    };
    record(span).iter().filter(is_one).count() as f64 / span.as_secs_f64()
}

fn together_for(guest: &Guest, span: Duration) -> f64 {
    let vcpus = guest.vcpu_threads();
    together(&record(span), &vcpus)
}

#[test]
fn who_sleeps_is_not_waited_for() {
    let switch = |at_us, prev, waits, next| Moment {
        at_us,
        event: Event::Switch { prev, waits, next },
    };
    let wake = |at_us, pid| Moment {
        at_us,
        event: Event::Wake { pid },
    };
    let moments = [
        switch(10, 0, true, 1),
        switch(12, 0, true, 2), // 1 and 2 run
        switch(15, 2, true, 9), // 1 runs, 2 waits
        switch(20, 1, false, 0),
        switch(25, 9, true, 2), // 2 runs, 1 sleeps
        wake(32, 1),            // 2 runs, 1 waits
        switch(34, 0, true, 1), // both
        switch(37, 1, true, 0),
    ];
    assert_eq!(together(&moments, &[1, 2]), 6.0 / 13.0);
}

/// How far the two vCPUs of a guest get apart in `span`, as CPU time in ms: where one is
/// ahead of the other nine tenths of the time, from where it is in one tenth.
fn apart_ms(guest: &Guest, span: Duration) -> f64 {
    let vcpus = guest.vcpu_threads();
    let lead = || thread_cpu_ns(vcpus[0]) as i64 - thread_cpu_ns(vcpus[1]) as i64;
    let start = Instant::now();
    let mut leads = vec![];
    while start.elapsed() < span {
        sleep(ms(3));
        leads.push(lead());
    }
    leads.sort_unstable();
    let at = |tenths| leads[leads.len() * tenths / 10];
    (at(9) - at(1)) as f64 / 1e6
}

/// The part of its CPU time that a VM had out of turn while `vmland vm show` looked.
fn out_of_turn(vm: &str) -> f64 {
    let now = &show(vm, "2")["now"];
    let ns = |key: &str| now[key].as_f64().expect("a number");
    ns("boosted_ns") / ns("cpu_ns")
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn siblings_run_as_it_is_set() {
    let _scheduler = Scheduler::start(&[]);
    let [tlb, other_tlb] = Guest::start_agnostic([("t", "tlb", 2), ("u", "tlb", 2)]);
    let [lock, other_lock] = Guest::start_all([("a", "lock", 2), ("b", "lock", 2)]);
    let set = |vms: &[&str], setting: &str| {
        for vm in vms {
            done(&["vm", "set", vm, setting]);
        }
        sleep(ms(300));
    };
    let span = ms(2_000);

    // Those that collide when they run together do so where it is said.
    lock.pause();
    other_lock.pause();
    let auto = together_for(&tlb, span);
    set(&["t", "u"], "cosched=strict");
    let strict = together_for(&tlb, span);
    println!("munmap, together: auto {auto:.2}, strict {strict:.2}");
    assert!(strict > auto + 0.15);
    tlb.pause();
    other_tlb.pause();
    lock.resume();
    other_lock.resume();
    sleep(ms(500));

    // A hand-off passes on what is left of the turn, or else gives one of its own.
    let auto = handed_on(&lock, span);
    set(&["a", "b"], "cosched=off");
    let off = handed_on(&lock, span);
    println!("lock, handed on: auto {auto:.0} times a second, off {off:.0}");
    assert!(off > 1.3 * auto);
    set(&["a", "b"], "cosched=auto");

    let all = out_of_turn("a");
    set(&["a", "b"], "boost_budget=2%");
    let little = out_of_turn("a");
    set(&["a"], "boost_budget=0%");
    let none = out_of_turn("a");
    println!("out of turn: {all:.3}, at 2 % {little:.3}, at 0 % {none:.3}");
    assert!(all > 0.04 && little < 0.03 && none == 0.0);
    set(&["a", "b"], "boost_budget=100%");

    // By chance they may not get far.
    let free = apart_ms(&lock, ms(4_000)).max(apart_ms(&lock, ms(4_000)));
    set(&["a", "b"], "skew=1ms");
    let level = apart_ms(&lock, ms(4_000));
    println!("apart: {free:.1} ms, {level:.1} ms with a skew of 1 ms");
    assert!(level < 0.7 * free);
    lock.assert_progress();
    other_lock.assert_progress();
}
