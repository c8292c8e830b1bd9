// SPDX-License-Identifier: GPL-2.0-only
//! The hint is taken, and the target runs before the yielder.

use crate::rig::{Guest, Scheduler, ms};
use crate::trace::{Event, Moment, record};

/// By how much the yielder may be ahead of a target that gets another CPU: one that is
/// bound there runs as soon as that CPU has been interrupted, and until then the yielder
/// goes on; and where the turns of two CPUs end with the same tick both are switched in,
/// in either order.
const ELSEWHERE_US: u64 = 1_000;

#[derive(Debug, Default)]
struct Tally {
    /// yield_to() calls whose target was ready to run but not running.
    asked: u64,
    accepted: u64,
    /// Of those accepted: the target was switched in before the yielder was, or beside
    /// it at once.
    target_first: u64,
    yielder_first: u64,
}

/// An accepted yield whose target has not run yet.
struct Open {
    from: i32,
    to: i32,
    at_us: u64,
    /// Since when the yielder runs again, if it does; `at_us`, if it never left.
    back_us: Option<u64>,
}

impl Tally {
    fn of(moments: &[Moment]) -> Self {
        let mut this = Self::default();
        let mut open: Vec<Open> = vec![];
        for moment in moments {
            let late = |yielded: &Open| {
                yielded
                    .back_us
                    .is_some_and(|back| moment.at_us - back > ELSEWHERE_US)
            };
            this.yielder_first += take(&mut open, late);
            match moment.event {
                Event::Ask {
                    from,
                    to,
                    waiting,
                    answer,
                } => {
                    for yielded in open.iter_mut().filter(|yielded| yielded.from == from) {
                        yielded.back_us.get_or_insert(yielded.at_us);
                    }
                    this.asked += u64::from(waiting && answer.is_some());
                    if waiting && answer == Some(1) {
                        this.accepted += 1;
                        open.push(Open {
                            from,
                            to,
                            at_us: moment.at_us,
                            back_us: None,
                        });
                    }
                }
                Event::Switch { prev, next, .. } => {
                    // Came back, and is gone again before the target has run.
                    this.yielder_first += take(&mut open, |yielded| {
                        let back = yielded.back_us.is_some_and(|back| back > yielded.at_us);
                        back && yielded.from == prev
                    });
                    for yielded in open.iter_mut().filter(|yielded| yielded.from == next) {
                        yielded.back_us.get_or_insert(moment.at_us);
                    }
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
    let tally = Tally::of(&record(ms(5_000)));
    println!("{tally:?}");
    assert!(tally.asked > 200, "too few yields to judge: {tally:?}");
    let settled = tally.target_first + tally.yielder_first;
    assert!(tally.accepted * 100 >= tally.asked * 95, "{tally:?}");
    assert!(tally.target_first * 100 >= settled * 99, "{tally:?}");
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn the_hint_is_taken_under_lock_load() {
    check(Guest::take_all(["lock1", "lock2"]));
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn the_hint_is_taken_under_shootdown_load() {
    check(Guest::take_all(["tlb1", "tlb2"]));
}

#[test]
fn a_yielder_that_comes_back_first_is_told() {
    let at = |at_us, event| Moment {
        at_us,
        cpu: 1,
        event,
    };
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
    let leave = |at_us, prev, next| {
        let waits = false;
        at(at_us, Event::Switch { prev, waits, next })
    };
    let switch = |at_us, next| leave(at_us, 0, next);
    let outcome = |moments: &[Moment]| {
        let tally = Tally::of(moments);
        (tally.accepted, tally.target_first, tally.yielder_first)
    };

    assert_eq!(outcome(&[ask(0, 1), switch(1, 2), switch(2, 1)]), (1, 1, 0));
    let back = [ask(0, 1), leave(1, 1, 3), switch(2, 1)];
    let then = |event| outcome(&[&back[..], &[event]].concat());
    assert_eq!(then(leave(3, 1, 2)), (1, 0, 1));
    assert_eq!(then(leave(3, 3, 2)), (1, 1, 0), "beside it");
    assert_eq!(then(leave(1_500, 3, 2)), (1, 0, 1));
    assert_eq!(outcome(&[ask(0, 0), switch(1, 1), switch(2, 2)]), (0, 0, 0));
    // Kept its CPU while the target was on its way to another, and for longer.
    assert_eq!(outcome(&[ask(0, 1), ask(9, 1), switch(500, 2)]), (2, 2, 0));
    assert_eq!(
        outcome(&[ask(0, 1), ask(900, 1), switch(1_500, 2)]),
        (2, 1, 1)
    );
}
