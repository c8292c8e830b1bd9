// SPDX-License-Identifier: GPL-2.0-only
//! Whether a VM's vCPUs run together, how far they get apart, and what they have out of
//! turn, as it is set.

use std::collections::HashMap;
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

/// How long a CPU stays with a VM whose vCPUs hand it on, in ms, as seen from a moment of
/// such a stay. It begins when a vCPU takes the CPU from anybody else.
fn stay_ms(moments: &[Moment], vcpus: &[i32]) -> f64 {
    let mut stays = HashMap::new();
    let (mut sum, mut squares) = (0.0, 0.0);
    for moment in moments {
        let Event::Switch { prev, waits, next } = moment.event else {
            continue;
        };
        let is_one = vcpus.contains(&next);
        match stays.remove(&prev) {
            Some((since_us, _)) if waits && is_one => {
                stays.insert(next, (since_us, true));
                continue;
            }
            Some((since_us, true)) => {
                let ms = (moment.at_us - since_us) as f64 / 1e3;
                sum += ms;
                squares += ms * ms;
            }
            _ => {}
        }
        if is_one {
            stays.insert(next, (moment.at_us, false));
        }
    }
    squares / sum
}

fn switch(at_us: u64, prev: i32, waits: bool, next: i32) -> Moment {
    Moment {
        at_us,
        cpu: 1,
        event: Event::Switch { prev, waits, next },
    }
}

#[test]
fn a_stay_ends_with_the_last_sibling() {
    let moments = [
        switch(1_000, 9, true, 1),
        switch(2_000, 1, true, 2),
        switch(3_000, 2, true, 1),
        switch(4_000, 1, true, 9), // 3 ms
        switch(5_000, 9, true, 2),
        switch(7_000, 2, true, 9), // not handed on
        switch(8_000, 9, true, 1),
        switch(8_500, 1, true, 2),
        switch(9_000, 2, false, 1), // 1 ms
        switch(9_500, 1, true, 9),
    ];
    assert_eq!(stay_ms(&moments, &[1, 2]), (9.0 + 1.0) / (3.0 + 1.0));
}

/// What `of` says of each of these guests' vCPUs for `span`, on average.
fn mean(of: fn(&[Moment], &[i32]) -> f64, guests: [&Guest; 2], span: Duration) -> f64 {
    let moments = record(span);
    let values = guests.map(|guest| of(&moments, &guest.vcpu_threads()));
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn who_sleeps_is_not_waited_for() {
    let wake = |at_us, pid| Moment {
        at_us,
        cpu: 1,
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

/// How much the lead of one of these guests' two vCPUs over the other varies within
/// 300 ms, as CPU time in ms: the mean over the guests and over `spans` such spans.
fn apart_ms(guests: [&Guest; 2], spans: u32) -> f64 {
    let pairs = guests.map(Guest::vcpu_threads);
    let leads = || {
        pairs
            .each_ref()
            .map(|pair| thread_cpu_ns(pair[0]) as f64 - thread_cpu_ns(pair[1]) as f64)
    };
    let mut sum = 0.0;
    for _ in 0..spans {
        let start = Instant::now();
        let [mut least, mut most] = [leads(); 2];
        while start.elapsed() < ms(300) {
            sleep(ms(3));
            let now = leads();
            for i in 0..pairs.len() {
                least[i] = now[i].min(least[i]);
                most[i] = now[i].max(most[i]);
            }
        }
        sum += (0..pairs.len()).map(|i| most[i] - least[i]).sum::<f64>();
    }
    sum / (f64::from(spans) * pairs.len() as f64) / 1e6
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
    let [tlb, other_tlb] = Guest::take_all(["tlb1", "tlb2"]);
    let [lock, other_lock, cpu, other_cpu] = Guest::take_all(["lock1", "lock2", "cpu1", "cpu2"]);
    for not_yet in [&lock, &other_lock, &cpu, &other_cpu] {
        not_yet.pause();
    }
    let set = |vms: &[&str], setting: &str| {
        for vm in vms {
            done(&["vm", "set", vm, setting]);
        }
        sleep(ms(300));
    };
    let span = ms(3_000);

    // Those that collide when they run together do so where it is said.
    let auto = mean(together, [&tlb, &other_tlb], span);
    set(&["tlb1", "tlb2"], "cosched=strict");
    let strict = mean(together, [&tlb, &other_tlb], span);
    println!("munmap, together: auto {auto:.2}, strict {strict:.2}");
    assert!(strict > 1.4 * auto);
    tlb.pause();
    other_tlb.pause();
    lock.resume();
    other_lock.resume();
    sleep(ms(500));

    // A hand-off passes on what is left of the turn, or else gives one of its own.
    let auto = mean(stay_ms, [&lock, &other_lock], span);
    set(&["lock1", "lock2"], "cosched=off");
    let off = mean(stay_ms, [&lock, &other_lock], span);
    println!("lock, a CPU stays: auto {auto:.1} ms, off {off:.1} ms");
    assert!(off > 1.4 * auto);
    set(&["lock1", "lock2"], "cosched=auto");

    let all = out_of_turn("lock1");
    set(&["lock1", "lock2"], "boost_budget=2%");
    let little = out_of_turn("lock1");
    set(&["lock1"], "boost_budget=0%");
    let none = out_of_turn("lock1");
    println!("out of turn: {all:.3}, at 2 % {little:.3}, at 0 % {none:.3}");
    assert!(all > 0.02 && little < 0.03 && none == 0.0);
    set(&["lock1", "lock2"], "boost_budget=100%");
    lock.assert_progress();
    other_lock.assert_progress();
    lock.pause();
    other_lock.pause();
    cpu.resume();
    other_cpu.resume();
    sleep(ms(500));

    // Siblings that wait take turns within their VM's turn.
    let free = apart_ms([&cpu, &other_cpu], 10);
    set(&["cpu1", "cpu2"], "skew=1ms");
    let level = apart_ms([&cpu, &other_cpu], 10);
    println!("apart: {free:.1} ms, {level:.1} ms with a skew of 1 ms");
    assert!(level < 0.85 * free);
    cpu.assert_progress();
    other_cpu.assert_progress();
}
