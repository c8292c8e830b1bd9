// SPDX-License-Identifier: GPL-2.0-only
//! The hint is taken, and the target runs before the yielder.

use std::collections::HashMap;

use crate::rig::{Guest, Scheduler, ms};
use crate::trace::{Event, record};

#[derive(Debug, Default)]
struct Tally {
    /// yield_to() calls whose target was ready to run but not running.
    asked: u64,
    accepted: u64,
    /// Of those accepted: the target was switched in before the yielder was.
    target_first: u64,
    yielder_first: u64,
}

fn tally(events: &[Event]) -> Tally {
    let mut tally = Tally::default();
    let mut asking: HashMap<i32, (i32, bool)> = HashMap::new();
    // yielder -> target, of accepted yields that are not settled yet
    let mut open: HashMap<i32, i32> = HashMap::new();
    for event in events {
        match *event {
            Event::Ask { from, to, waiting } => {
                // It runs, so it came back without a switch.
                if open.remove(&from).is_some() {
                    tally.yielder_first += 1;
                }
                asking.insert(from, (to, waiting));
            }
            Event::Answer { from, value } => {
                let Some((to, waiting)) = asking.remove(&from) else {
                    continue;
                };
                if !waiting {
                    continue;
                }
                tally.asked += 1;
                if value == 1 {
                    tally.accepted += 1;
                    open.insert(from, to);
                }
            }
            Event::Switch { next, .. } => {
                if open.remove(&next).is_some() {
                    tally.yielder_first += 1;
                }
                let settled = open.len();
                open.retain(|_, &mut to| to != next);
                tally.target_first += (settled - open.len()) as u64;
            }
        }
    }
    tally
}

/// yield_to() answers after it has called schedule(), so the switches of an
/// accepted yield stand between `Ask` and `Answer`: settle from the call on.
fn answers_first(events: &[Event]) -> Vec<Event> {
    let mut answers: HashMap<i32, Vec<(usize, i64)>> = HashMap::new();
    for (i, event) in events.iter().enumerate() {
        if let Event::Answer { from, value } = *event {
            answers.entry(from).or_default().push((i, value));
        }
    }
    let mut out = Vec::with_capacity(events.len());
    for (i, event) in events.iter().enumerate() {
        match *event {
            Event::Answer { .. } => {}
            Event::Ask { from, .. } => {
                out.push(*event);
                let next = answers
                    .get(&from)
                    .and_then(|a| a.iter().find(|(at, _)| *at > i));
                if let Some(&(_, value)) = next {
                    out.push(Event::Answer { from, value });
                }
            }
            Event::Switch { .. } => out.push(*event),
        }
    }
    out
}

fn check(load: &str) {
    let _scheduler = Scheduler::start(&[]);
    let _guests = Guest::start_all([("a", load, 2), ("b", load, 2)]);
    let tally = tally(&answers_first(&record(ms(8_000))));
    println!("{load}: {tally:?}");
    assert!(tally.asked > 200, "too few yields to judge: {tally:?}");
    let settled = tally.target_first + tally.yielder_first;
    assert!(tally.accepted * 100 >= tally.asked * 95, "{tally:?}");
    assert!(tally.target_first * 100 >= settled * 99, "{tally:?}");
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn the_hint_is_taken_under_lock_load() {
    check("lock");
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn the_hint_is_taken_under_shootdown_load() {
    check("tlb");
}

#[test]
fn a_yielder_that_comes_back_first_is_told() {
    let ask = Event::Ask {
        from: 1,
        to: 2,
        waiting: true,
    };
    let yes = Event::Answer { from: 1, value: 1 };
    let switch = |next| Event::Switch { next };

    let good = tally(&answers_first(&[ask, switch(2), switch(1), yes]));
    assert_eq!(
        (good.accepted, good.target_first, good.yielder_first),
        (1, 1, 0)
    );
    let bad = tally(&answers_first(&[ask, switch(3), switch(1), yes, switch(2)]));
    assert_eq!(
        (bad.accepted, bad.target_first, bad.yielder_first),
        (1, 0, 1)
    );
    let stayed = tally(&answers_first(&[ask, yes, ask, yes, switch(2)]));
    assert_eq!(
        (stayed.accepted, stayed.target_first, stayed.yielder_first),
        (2, 1, 1)
    );
}
