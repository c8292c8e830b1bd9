// SPDX-License-Identifier: GPL-2.0-only
//! The policy under thousands of random tasks: a plain driver loop plays a host
//! with several CPUs, and checks what the policy promises.

use proptest::prelude::*;
use scx_vmland::policy::{Arrival, DEFAULT_WEIGHT, Policy, lag_bounds, ns_to_vtime};

const SLICE_NS: u64 = 5_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Task {
    weight: u64,
    vruntime: u64,
    runs: u64,
    cpu_ns: u64,
    /// Decisions since it was enqueued.
    passed_over: usize,
    waiting: bool,
}

/// What a vCPU does with its CPU.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Uses the whole slice.
    Run,
    /// Gives up after this part of a slice, in percent, and pays to just past
    /// another's vruntime, as a yielder does.
    YieldTo { after: u64, to: usize },
    /// Uses this part of its slice, in percent, and comes back at once.
    Sleep { after: u64 },
}

struct Host {
    policy: Policy,
    tasks: Vec<Task>,
    /// The vruntime that the tasks have come to.
    vtime: u64,
}

impl Host {
    fn new(weights: &[u64]) -> Self {
        let task = |&weight: &u64| Task {
            weight,
            ..Task::default()
        };
        let mut host = Self {
            policy: Policy::new(weights.len()),
            tasks: weights.iter().map(task).collect(),
            vtime: 0,
        };
        for pid in 0..weights.len() {
            host.enqueue(pid);
        }
        host
    }

    fn enqueue(&mut self, pid: usize) {
        let task = &mut self.tasks[pid];
        assert!(!task.waiting, "{pid} is enqueued twice");
        task.waiting = true;
        task.passed_over = 0;
        self.policy.enqueue(Arrival {
            pid: pid as i32,
            weight: task.weight,
            slice_ns: SLICE_NS,
            vruntime: task.vruntime,
            vtime: self.vtime,
            generation: task.runs,
        });
    }

    /// Gives `cpus` tasks a CPU; each then does what `act` says.
    fn round(&mut self, cpus: usize, mut act: impl FnMut(usize) -> Act) {
        let mut running = Vec::new();
        for _ in 0..cpus {
            let Some(decision) = self.policy.take() else {
                break;
            };
            let pid = decision.pid as usize;
            let task = &mut self.tasks[pid];
            assert!(task.waiting, "{pid} came out, but never went in");
            assert_eq!(decision.generation, task.runs);
            task.waiting = false;
            // The policy's word on its vruntime, which it may have bounded.
            task.vruntime = decision.deadline - ns_to_vtime(decision.slice_ns, task.weight);
            self.vtime = self.vtime.max(task.vruntime);
            for other in self.tasks.iter_mut().filter(|t| t.waiting) {
                other.passed_over += 1;
            }
            running.push(pid);
        }
        for pid in running {
            let (part, to) = match act(pid) {
                Act::Run => (100, None),
                Act::YieldTo { after, to } => (after, Some(to)),
                Act::Sleep { after } => (after, None),
            };
            let ran_ns = SLICE_NS * part / 100;
            let target = to.map(|to| self.tasks[to % self.tasks.len()].vruntime);
            let task = &mut self.tasks[pid];
            task.runs += 1;
            task.cpu_ns += ran_ns;
            task.vruntime += ns_to_vtime(ran_ns, task.weight);
            if let Some(target) = target {
                task.vruntime = task.vruntime.max(target + 1);
            }
            self.enqueue(pid);
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Run),
        (1u64..=100, 0usize..64).prop_map(|(after, to)| Act::YieldTo { after, to }),
        (1u64..=100).prop_map(|after| Act::Sleep { after }),
    ]
}

/// Weights of nice 10, 5, 0, -5 and -10.
fn weight() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![11u64, 33, 100, 305, 932]).prop_map(|w| w * DEFAULT_WEIGHT / 100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_task_is_lost_or_starved(
        weights in prop::collection::vec(weight(), 1..40),
        cpus in 1usize..8,
        acts in prop::collection::vec(act(), 1..200),
    ) {
        let mut host = Host::new(&weights);
        let n = weights.len();
        let total: u64 = weights.iter().sum();
        let mut next = acts.iter().cycle();
        for _ in 0..3_000 {
            host.round(cpus, |_| *next.next().expect("a cycle has no end"));
            prop_assert_eq!(host.policy.waiting(), n);
            for task in &host.tasks {
                // At most DEBT_SLICES + 2 slices of its own behind anybody, in
                // which the others have their turns: by weight, but sleepers and
                // yielders use as little as 1 % of theirs.
                let own = 100 * (total / task.weight + n as u64) as usize;
                prop_assert!(task.passed_over <= 6 * own, "{:?}", task);
            }
        }
    }

    #[test]
    fn lag_is_bounded(
        weights in prop::collection::vec(weight(), 2..20),
        vruntimes in prop::collection::vec(any::<u64>(), 2..20),
        vtime in 0u64..u64::MAX / 4,
    ) {
        for (pid, (&weight, &vruntime)) in weights.iter().zip(&vruntimes).enumerate() {
            let (credit, debt) = lag_bounds(SLICE_NS, weight);
            let mut one = Policy::new(1);
            one.enqueue(Arrival { pid: pid as i32, weight, slice_ns: SLICE_NS, vruntime, vtime, generation: 0 });
            let decision = one.take().expect("it went in");
            let bounded = decision.deadline.wrapping_sub(ns_to_vtime(SLICE_NS, weight));
            let lag = bounded.wrapping_sub(vtime) as i64;
            prop_assert!(lag >= -(credit as i64) && lag <= debt as i64, "{}", lag);
        }
    }

    #[test]
    fn time_follows_weight(weights in prop::collection::vec(weight(), 2..12)) {
        let mut host = Host::new(&weights);
        let rounds = 40_000u64;
        for _ in 0..rounds {
            host.round(1, |_| Act::Run);
        }
        let total: u64 = weights.iter().sum();
        for task in &host.tasks {
            let fair = (rounds * SLICE_NS) as f64 * task.weight as f64 / total as f64;
            let error = (task.cpu_ns as f64 - fair).abs();
            prop_assert!(error <= 0.02 * fair + 4.0 * SLICE_NS as f64, "{:?} of {}", task, fair);
        }
    }

    #[test]
    fn yielding_earns_nothing(
        acts in prop::collection::vec(act(), 1..100),
        others in 1usize..8,
    ) {
        // Task 0 plays any game it likes; the others run their slices.
        let mut host = Host::new(&vec![DEFAULT_WEIGHT; others + 1]);
        let mut next = acts.iter().cycle();
        let rounds = 20_000;
        for _ in 0..rounds {
            host.round(1, |pid| match pid {
                0 => *next.next().expect("a cycle has no end"),
                _ => Act::Run,
            });
        }
        let total: u64 = host.tasks.iter().map(|t| t.cpu_ns).sum();
        let fair = total as f64 / (others + 1) as f64;
        let got = host.tasks[0].cpu_ns as f64;
        prop_assert!(got <= 1.01 * fair + 4.0 * SLICE_NS as f64, "{} of {}", got, fair);
    }
}

#[test]
fn ties_are_served_in_order_of_arrival() {
    let mut host = Host::new(&[100; 5]);
    let order: Vec<i32> = (0..5)
        .map(|_| host.policy.take().expect("five").pid)
        .collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn virtual_time_wraps_around() {
    let mut policy = Policy::new(4);
    let arrival = |pid, vruntime| Arrival {
        pid,
        weight: 100,
        slice_ns: SLICE_NS,
        vruntime,
        vtime: u64::MAX - 10,
        generation: 0,
    };
    policy.enqueue(arrival(1, 5)); // after the wrap
    policy.enqueue(arrival(2, u64::MAX - 5)); // before it
    assert_eq!(policy.take().expect("two").pid, 2);
    assert_eq!(policy.take().expect("one").pid, 1);
}
