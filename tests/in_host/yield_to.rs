// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler takes the hint of yield_to(): the target runs before the yielder.

use crate::rig::{Guest, Scheduler, ms};
use crate::trace::{Event, Moment, record};

/// How much earlier than the target the yielder may run if the target gets another CPU. A
/// target whose affinity demands that CPU runs when it has been interrupted, and the yielder goes
/// on until then. And where the turns of two CPUs end with the same tick, yielder and target are
/// switched in at the same time, in either order.
const OTHER_CPU_US: u64 = 1_000;

#[derive(Debug, Default)]
struct Tally {
    /// yield_to() calls whose target was runnable and not running.
    calls: u64,
    accepted: u64,
    /// Of those accepted: the target was switched in before the yielder, or at the same time on
    /// another CPU.
    target_first: u64,
    yielder_first: u64,
}

/// An accepted yield whose target has not run yet.
struct Open {
    yielder: i32,
    target: i32,
    at_us: u64,
    /// When the yielder was switched in again; `at_us` if it was never switched out.
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
                    .is_some_and(|back| moment.at_us - back > OTHER_CPU_US)
            };
            this.yielder_first += take(&mut open, late);
            match moment.event {
                Event::Yield {
                    yielder,
                    target,
                    waiting,
                    result,
                } => {
                    for yielded in open.iter_mut().filter(|it| it.yielder == yielder) {
                        yielded.back_us.get_or_insert(yielded.at_us);
                    }
                    this.calls += u64::from(waiting && result.is_some());
                    if waiting && result == Some(1) {
                        this.accepted += 1;
                        open.push(Open {
                            yielder,
                            target,
                            at_us: moment.at_us,
                            back_us: None,
                        });
                    }
                }
                Event::Switch { prev, next, .. } => {
                    // The yielder ran, and left again before the target ran.
                    this.yielder_first += take(&mut open, |yielded| {
                        let back = yielded.back_us.is_some_and(|back| back > yielded.at_us);
                        back && yielded.yielder == prev
                    });
                    for yielded in open.iter_mut().filter(|it| it.yielder == next) {
                        yielded.back_us.get_or_insert(moment.at_us);
                    }
                    this.target_first += take(&mut open, |yielded| yielded.target == next);
                }
                _ => {}
            }
        }
        this
    }
}

/// Removes those that are `settled`, and returns their number.
fn take(open: &mut Vec<Open>, settled: impl Fn(&Open) -> bool) -> u64 {
    let before = open.len();
    open.retain(|yielded| !settled(yielded));
    (before - open.len()) as u64
}

fn check(_guests: [Guest; 2]) {
    // A gang refuses hints at siblings that wait for its next turn.
    let _scheduler = Scheduler::start(&["--without", "gangs"]);
    let tally = Tally::of(&record(ms(5_000)));
    println!("{tally:?}");
    assert!(tally.calls > 200, "too few yields to judge: {tally:?}");
    let settled = tally.target_first + tally.yielder_first;
    assert!(tally.accepted * 100 >= tally.calls * 95, "{tally:?}");
    assert!(tally.target_first * 100 >= settled * 99, "{tally:?}");
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn the_hint_is_taken_under_lock_load() {
    check(Guest::take_all(["lock-a", "lock-b"]));
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn the_hint_is_taken_under_shootdown_load() {
    check(Guest::take_all(["tlb-a", "tlb-b"]));
}

#[test]
fn a_yielder_that_runs_first_is_counted() {
    let at = |at_us, event| Moment {
        at_us,
        cpu: 1,
        event,
    };
    let yield_to = |at_us, result| {
        let (yielder, target, waiting, result) = (1, 2, true, Some(result));
        at(
            at_us,
            Event::Yield {
                yielder,
                target,
                waiting,
                result,
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

    assert_eq!(
        outcome(&[yield_to(0, 1), switch(1, 2), switch(2, 1)]),
        (1, 1, 0)
    );
    let back = [yield_to(0, 1), leave(1, 1, 3), switch(2, 1)];
    let then = |event| outcome(&[&back[..], &[event]].concat());
    assert_eq!(then(leave(3, 1, 2)), (1, 0, 1));
    assert_eq!(then(leave(3, 3, 2)), (1, 1, 0), "on another CPU");
    assert_eq!(then(leave(1_500, 3, 2)), (1, 0, 1));
    assert_eq!(
        outcome(&[yield_to(0, 0), switch(1, 1), switch(2, 2)]),
        (0, 0, 0)
    );
    // The yielder kept its CPU until the target got another, and for longer.
    assert_eq!(
        outcome(&[yield_to(0, 1), yield_to(9, 1), switch(500, 2)]),
        (2, 2, 0)
    );
    assert_eq!(
        outcome(&[yield_to(0, 1), yield_to(900, 1), switch(1_500, 2)]),
        (2, 1, 1)
    );
}
