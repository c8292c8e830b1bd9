// SPDX-License-Identifier: GPL-2.0-only
//! The settings for a VM's siblings: co-scheduling, skew, and the budget for CPU time out of
//! turn.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::control::{done, show};
use crate::rig::{Guest, Scheduler, ms, thread_cpu_ns};
use crate::trace::{Event, Moment, record};

#[derive(Clone, Copy, PartialEq)]
enum State {
    Unknown,
    Sleeping,
    Waiting,
    Running,
}

/// Of the time in which all of these threads were runnable and one ran, the part in which all
/// ran.
fn coscheduled(moments: &[Moment], threads: &[i32]) -> f64 {
    let mut states = vec![State::Unknown; threads.len()];
    let (mut some_us, mut all_us) = (0, 0);
    let mut since_us = 0;
    for moment in moments {
        let span_us = moment.at_us - since_us;
        since_us = moment.at_us;
        let all_runnable = { &states }
            .iter()
            .all(|it| matches!(it, State::Waiting | State::Running));
        let running = states.iter().filter(|it| **it == State::Running).count();
        if all_runnable && running > 0 {
            some_us += span_us;
        }
        if running == threads.len() {
            all_us += span_us;
        }
        let mut is = |tid: i32, state: State| {
            if let Some(at) = threads.iter().position(|thread| *thread == tid) {
                states[at] = state;
            }
        };
        match moment.event {
            Event::Switch { prev, waits, next } => {
                let off_cpu = match waits {
                    true => State::Waiting,
                    false => State::Sleeping,
                };
                is(prev, off_cpu);
                is(next, State::Running);
            }
            Event::Wake { pid } => is(pid, State::Waiting),
            _ => {}
        }
    }
    all_us as f64 / some_us as f64
}

/// The length of the turns in which vCPUs of a VM hand a CPU off to each other, in ms: the mean
/// at a random moment of such a turn. A turn begins when a vCPU takes the CPU from another task.
fn turn_ms(moments: &[Moment], vcpus: &[i32]) -> f64 {
    let mut turns = HashMap::new();
    let (mut sum, mut squares) = (0.0, 0.0);
    for moment in moments {
        let Event::Switch { prev, waits, next } = moment.event else {
            continue;
        };
        let is_one = vcpus.contains(&next);
        match turns.remove(&prev) {
            Some((since_us, _)) if waits && is_one => {
                turns.insert(next, (since_us, true));
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
            turns.insert(next, (moment.at_us, false));
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
fn a_turn_ends_with_the_last_sibling() {
    let moments = [
        switch(1_000, 9, true, 1),
        switch(2_000, 1, true, 2),
        switch(3_000, 2, true, 1),
        switch(4_000, 1, true, 9), // 3 ms
        switch(5_000, 9, true, 2),
        switch(7_000, 2, true, 9), // no hand-off
        switch(8_000, 9, true, 1),
        switch(8_500, 1, true, 2),
        switch(9_000, 2, false, 1), // 1 ms
        switch(9_500, 1, true, 9),
    ];
    assert_eq!(turn_ms(&moments, &[1, 2]), (9.0 + 1.0) / (3.0 + 1.0));
}

/// `of` for the vCPUs of each of these guests in `span`, on average.
fn mean(of: fn(&[Moment], &[i32]) -> f64, guests: [&Guest; 2], span: Duration) -> f64 {
    let moments = record(span);
    let values = guests.map(|guest| of(&moments, &guest.vcpu_threads()));
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn a_sleeping_sibling_does_not_count() {
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
    assert_eq!(coscheduled(&moments, &[1, 2]), 6.0 / 13.0);
}

/// The range, within 300 ms, of the difference in CPU time between a guest's two vCPUs, in ms:
/// the mean over the guests and over `spans` such spans.
fn skew_ms(guests: [&Guest; 2], spans: u32) -> f64 {
    let pairs = guests.map(Guest::vcpu_threads);
    let differences = || {
        pairs
            .each_ref()
            .map(|pair| thread_cpu_ns(pair[0]) as f64 - thread_cpu_ns(pair[1]) as f64)
    };
    let mut sum = 0.0;
    for _ in 0..spans {
        let start = Instant::now();
        let [mut least, mut most] = [differences(); 2];
        while start.elapsed() < ms(300) {
            sleep(ms(3));
            let now = differences();
            for i in 0..pairs.len() {
                least[i] = now[i].min(least[i]);
                most[i] = now[i].max(most[i]);
            }
        }
        sum += (0..pairs.len()).map(|i| most[i] - least[i]).sum::<f64>();
    }
    sum / (f64::from(spans) * pairs.len() as f64) / 1e6
}

/// The part of its CPU time that a VM got out of turn, in 2 s.
fn out_of_turn(vm: &str) -> f64 {
    let now = &show(vm, "2")["now"];
    let ns = |key: &str| now[key].as_f64().expect("a number");
    ns("boosted_ns") / ns("cpu_ns")
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn siblings_follow_the_settings() {
    let _scheduler = Scheduler::start(&[]);
    let [tlb, other_tlb] = Guest::take_all(["tlb-a", "tlb-b"]);
    let [lock, other_lock, cpu, other_cpu] =
        Guest::take_all(["lock-a", "lock-b", "cpu-a", "cpu-b"]);
    for later in [&lock, &other_lock, &cpu, &other_cpu] {
        later.pause();
    }
    let set = |vms: &[&str], setting: &str| {
        for vm in vms {
            done(&["vm", "set", vm, setting]);
        }
        sleep(ms(300));
    };
    let span = ms(3_000);

    // By default, siblings that disturb each other do not run at the same time.
    let auto = mean(coscheduled, [&tlb, &other_tlb], span);
    set(&["tlb-a", "tlb-b"], "cosched=strict");
    let strict = mean(coscheduled, [&tlb, &other_tlb], span);
    println!("munmap, co-scheduled: auto {auto:.2}, strict {strict:.2}");
    assert!(strict > 1.4 * auto);
    tlb.pause();
    other_tlb.pause();
    lock.resume();
    other_lock.resume();
    sleep(ms(500));

    // A hand-off passes on the rest of the turn; without co-scheduling the target gets its own.
    let auto = mean(turn_ms, [&lock, &other_lock], span);
    set(&["lock-a", "lock-b"], "cosched=off");
    let off = mean(turn_ms, [&lock, &other_lock], span);
    println!("lock, length of turns: auto {auto:.1} ms, off {off:.1} ms");
    assert!(off > 1.4 * auto);
    set(&["lock-a", "lock-b"], "cosched=auto");

    let all = out_of_turn("lock-a");
    set(&["lock-a", "lock-b"], "boost_budget=2%");
    let little = out_of_turn("lock-a");
    set(&["lock-a"], "boost_budget=0%");
    let none = out_of_turn("lock-a");
    println!("out of turn: {all:.3}, at 2 % {little:.3}, at 0 % {none:.3}");
    assert!(all > 0.02 && little < 0.03 && none == 0.0);
    set(&["lock-a", "lock-b"], "boost_budget=100%");
    lock.assert_progress();
    other_lock.assert_progress();
    lock.pause();
    other_lock.pause();
    cpu.resume();
    other_cpu.resume();
    sleep(ms(500));

    // Siblings that wait take turns within their VM's turn.
    let free = skew_ms([&cpu, &other_cpu], 10);
    set(&["cpu-a", "cpu-b"], "skew=1ms");
    let level = skew_ms([&cpu, &other_cpu], 10);
    println!("skew: {free:.1} ms, {level:.1} ms where 1 ms is set");
    assert!(level < 0.85 * free);
    cpu.assert_progress();
    other_cpu.assert_progress();
}
