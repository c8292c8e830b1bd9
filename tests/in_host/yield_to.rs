// SPDX-License-Identifier: GPL-2.0-only
//! The hint is taken, and the target runs before the yielder.

use crate::rig::{Guest, Scheduler, ms};
use crate::trace::{Event, Moment, record};

/// A target that is bound to another CPU runs there, as soon as that one has been
/// interrupted. Until then the yielder may go on.
const ELSEWHERE_US: u64 = 1_000;

#[derive(Debug, Default)]
struct Tally {
    /// yield_to() calls whose target was ready to run but not running.
    asked: u64,
    accepted: u64,
    /// Of those accepted: the target was switched in before the yielder was, or on
    /// another CPU at once.
    target_first: u64,
    yielder_first: u64,
}

/// An accepted yield whose target has not run yet.
struct Open {
    from: i32,
    to: i32,
    at_us: u64,
    /// The yielder came back without a switch.
    kept: bool,
}

impl Tally {
    fn of(moments: &[Moment]) -> Self {
        let mut this = Self::default();
        let mut open: Vec<Open> = vec![];
        for moment in moments {
            let late = |yielded: &Open| yielded.kept && moment.at_us - yielded.at_us > ELSEWHERE_US;
            this.yielder_first += take(&mut open, late);
            match moment.event {
                Event::Ask {
                    from,
                    to,
                    waiting,
                    answer,
                } => {
                    for yielded in open.iter_mut().filter(|yielded| yielded.from == from) {
                        yielded.kept = true;
                    }
                    this.asked += u64::from(waiting && answer.is_some());
                    if waiting && answer == Some(1) {
                        this.accepted += 1;
                        open.push(Open {
                            from,
                            to,
                            at_us: moment.at_us,
                            kept: false,
                        });
                    }
                }
                Event::Switch { next, .. } => {
                    this.yielder_first += take(&mut open, |yielded| yielded.from == next);
                    this.target_first += take(&mut open, |yielded| yielded.to == next);
                }
                _ => {}
            }
        }
        this
    }
}

/// Removes those that are `settled`, and returns how many they were.
fn take(open: &mut Vec<Open>, settled: impl Fn(&Open) -> bool) -> u64 {
    let before = open.len();
    open.retain(|yielded| !settled(yielded));
    (before - open.len()) as u64
}

fn check(_guests: [Guest; 2]) {
    let _scheduler = Scheduler::start(&[]);
    let tally = Tally::of(&record(ms(8_000)));
    println!("{tally:?}");
    assert!(tally.asked > 200, "too few yields to judge: {tally:?}");
    let settled = tally.target_first + tally.yielder_first;
    assert!(tally.accepted * 100 >= tally.asked * 95, "{tally:?}");
    assert!(tally.target_first * 100 >= settled * 99, "{tally:?}");
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn the_hint_is_taken_under_lock_load() {
    check(Guest::start_all([("a", "lock", 2), ("b", "lock", 2)]));
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn the_hint_is_taken_under_shootdown_load() {
    check(Guest::start_agnostic([("t", "tlb", 2), ("u", "tlb", 2)]));
}

#[test]
fn a_yielder_that_comes_back_first_is_told() {
    let at = |at_us, event| Moment { at_us, event };
    let ask = |at_us, answer| {
        let (from, to, waiting, answer) = (1, 2, true, Some(answer));
        at(
            at_us,
            Event::Ask {
                from,
                to,
                waiting,
                answer,
            },
        )
    };
    let switch = |at_us, next| {
        let (prev, waits) = (0, false);
        at(at_us, Event::Switch { prev, waits, next })
    };
    let outcome = |moments: &[Moment]| {
        let tally = Tally::of(moments);
        (tally.accepted, tally.target_first, tally.yielder_first)
    };

    assert_eq!(outcome(&[ask(0, 1), switch(1, 2), switch(2, 1)]), (1, 1, 0));
    assert_eq!(
        outcome(&[ask(0, 1), switch(1, 3), switch(2, 1), switch(3, 2)]),
        (1, 0, 1)
    );
    assert_eq!(outcome(&[ask(0, 0), switch(1, 1), switch(2, 2)]), (0, 0, 0));
    // Kept its CPU while the target was on its way to another, and for longer.
    assert_eq!(outcome(&[ask(0, 1), ask(9, 1), switch(500, 2)]), (2, 2, 0));
    assert_eq!(
        outcome(&[ask(0, 1), ask(900, 1), switch(1_500, 2)]),
        (2, 1, 1)
    );
}
