// SPDX-License-Identifier: GPL-2.0-only
//! Who has been sent an IPI comes first; who merely woke does not.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::rig::{Guest, Scheduler, ms, vmland_vms, wait_for};
use crate::trace::{Event, Moment, record};

/// The vCPU `to` of the VM that the vCPU `from` is of. `vms` are the tids of each VM's
/// vCPUs, by vCPU id.
fn receiver(vms: &[Vec<i32>], from: i32, to: usize) -> Option<i32> {
    let vm = vms.iter().find(|vm| vm.contains(&from))?;
    vm.get(to).copied()
}

/// Of IPIs to vCPUs that wanted to run but were off their CPU.
#[derive(Debug, Default)]
struct Receivers {
    /// From the IPI until the receiver ran, in µs, ascending.
    waits_us: Vec<u64>,
    /// Pause exits of the senders meanwhile.
    spins: usize,
    /// How often a sender left its CPU to somebody else meanwhile.
    passed_over: usize,
    /// How often a vCPU began to run, and of these on another CPU than before.
    runs: usize,
    moves: usize,
}

impl Receivers {
    fn of(moments: &[Moment], vms: &[Vec<i32>]) -> Self {
        let mut this = Self::default();
        let mut waiting: HashSet<i32> = HashSet::new();
        // (sender, receiver) -> when, and how often the sender has spun since
        let mut open: HashMap<(i32, i32), (u64, usize)> = HashMap::new();
        let mut ran_on: HashMap<i32, u32> = HashMap::new();
        for moment in moments {
            match moment.event {
                Event::Switch { prev, waits, next } => {
                    if waits {
                        waiting.insert(prev);
                    }
                    waiting.remove(&next);
                    open.retain(|&(_, receiver), &mut (since_us, spins)| {
                        if receiver == next {
                            this.waits_us.push(moment.at_us - since_us);
                            this.spins += spins;
                        }
                        receiver != next
                    });
                    this.passed_over += open.keys().filter(|(sender, _)| *sender == prev).count();
                    if vms.iter().any(|vm| vm.contains(&next)) {
                        this.runs += 1;
                        let last = ran_on.insert(next, moment.cpu);
                        this.moves += usize::from(last.is_some_and(|cpu| cpu != moment.cpu));
                    }
                }
                Event::Ipi { from, to } => {
                    let receiver = receiver(vms, from, to);
                    if let Some(receiver) = receiver.filter(|tid| waiting.contains(tid)) {
                        open.entry((from, receiver)).or_insert((moment.at_us, 0));
                    }
                }
                Event::Spin { pid } => {
                    for ((sender, _), (_, spins)) in &mut open {
                        *spins += usize::from(*sender == pid);
                    }
                }
                Event::Wake { .. } | Event::Ask { .. } => {}
            }
        }
        this.waits_us.sort_unstable();
        this
    }

    fn quantile_us(&self, part: f64) -> u64 {
        self.waits_us[((self.waits_us.len() - 1) as f64 * part) as usize]
    }

    fn spins_each(&self) -> f64 {
        self.spins as f64 / self.waits_us.len() as f64
    }

    /// The part of them that their senders left their CPUs without running.
    fn passed_over(&self) -> f64 {
        self.passed_over as f64 / self.waits_us.len() as f64
    }

    /// The part of runs that began on another CPU than the one before.
    fn moves(&self) -> f64 {
        self.moves as f64 / self.runs as f64
    }
}

/// A scheduler that has seen pause exits, so that its probes on KVM are in force.
fn start(args: &[&str]) -> Scheduler {
    let scheduler = Scheduler::start(args);
    wait_for("pause exits", ms(15_000), || {
        let counted = |vm: &Value| vm["pause_exits"].as_u64().is_some_and(|n| n > 0);
        vmland_vms().iter().any(counted)
    });
    scheduler
}

/// What happens in 3 s under a scheduler with `args`.
fn record_under(args: &[&str]) -> Vec<Moment> {
    let scheduler = start(args);
    let moments = record(ms(3_000));
    scheduler.stop();
    moments
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn receivers_come_first() {
    let guests = Guest::take_all(["tlb1", "tlb2"]);
    let vms = guests.each_ref().map(Guest::vcpu_threads);
    let under = |args: &[&str]| {
        let seen = Receivers::of(&record_under(args), &vms);
        assert!(seen.waits_us.len() > 100, "{args:?}: too few IPIs to judge");
        println!(
            "{args:?}: {} IPIs to vCPUs off their CPU, waited p50 {} us, p95 {} us, p99 {} us; \
             {:.2} pause exits each; CPU left to others {:.3}; {:.2} of {} runs on another CPU",
            seen.waits_us.len(),
            seen.quantile_us(0.5),
            seen.quantile_us(0.95),
            seen.quantile_us(0.99),
            seen.spins_each(),
            seen.passed_over(),
            seen.moves(),
            seen.runs,
        );
        seen
    };
    let without = under(&["--without", "receivers"]);
    let free = under(&["--without", "stay"]);
    let not_prolonged = under(&["--without", "prolong"]);
    let all = under(&[]);
    assert!(all.spins_each() < 0.8 * without.spins_each());
    assert!(all.passed_over() < 0.6 * without.passed_over());
    // Sender and receiver stay on one CPU.
    assert!(all.moves() < 0.4 * free.moves());
    // Where the sender's turn ends, the receiver still has its chance.
    assert!(all.passed_over() < 0.5 * not_prolonged.passed_over());
}

/// Of vCPUs that went to sleep while the receiver of their last IPI waited for a CPU, the
/// part whose CPU that one got.
fn left_to_receiver(moments: &[Moment], vms: &[Vec<i32>]) -> f64 {
    let mut waiting = HashSet::new();
    let mut receivers = HashMap::new();
    let (mut slept, mut left_to_it) = (0, 0);
    for moment in moments {
        match moment.event {
            Event::Wake { pid } => {
                waiting.insert(pid);
            }
            Event::Ipi { from, to } => {
                if let Some(to) = receiver(vms, from, to).filter(|to| *to != from) {
                    receivers.insert(from, to);
                }
            }
            Event::Switch { prev, waits, next } => {
                let receiver = receivers.get(&prev).filter(|it| waiting.contains(*it));
                if let Some(receiver) = receiver.filter(|_| !waits) {
                    slept += 1;
                    left_to_it += usize::from(*receiver == next);
                }
                if waits {
                    waiting.insert(prev);
                }
                waiting.remove(&next);
                receivers.retain(|_, receiver| *receiver != next);
            }
            Event::Ask { .. } | Event::Spin { .. } => {}
        }
    }
    assert!(slept > 100, "too few to judge: {slept}");
    left_to_it as f64 / slept as f64
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn who_sleeps_leaves_its_cpu_to_the_receiver() {
    let guests = Guest::take_all(["msg1", "msg2"]);
    let vms = guests.each_ref().map(Guest::vcpu_threads);
    let under = |args: &[&str]| {
        let part = left_to_receiver(&record_under(args), &vms);
        println!("{args:?}: {part:.2} of sleepers leave their CPU to a receiver that waits");
        part
    };
    let without = under(&["--without", "receivers"]);
    let with = under(&[]);
    assert!(with > 0.8 && without < 0.8 * with);
}

/// Hints for siblings that woke and have not run since, nor were sent anything by
/// the spinner: how the first of each was answered, and the further ones.
#[derive(Debug, Default)]
struct Woken {
    first_taken: usize,
    first_refused: usize,
    further_taken: usize,
    further_refused: usize,
}

impl Woken {
    fn of(moments: &[Moment], vms: &[Vec<i32>]) -> Self {
        let mut this = Self::default();
        // Woke and has not run since -> has it been refused?
        let mut woken: HashMap<i32, bool> = HashMap::new();
        // Senders of IPIs that may not have been answered.
        let mut senders: HashMap<i32, HashSet<i32>> = HashMap::new();
        for moment in moments {
            match moment.event {
                Event::Wake { pid } => {
                    woken.insert(pid, false);
                }
                Event::Switch { prev, next, .. } => {
                    woken.remove(&next);
                    woken.remove(&prev);
                    senders.retain(|_, receivers| {
                        receivers.remove(&prev);
                        !receivers.is_empty()
                    });
                }
                Event::Ipi { from, to } => {
                    if let Some(receiver) = receiver(vms, from, to) {
                        senders.entry(from).or_default().insert(receiver);
                    }
                }
                Event::Ask {
                    from,
                    to,
                    waiting: true,
                    answer: Some(answer),
                } if !senders.contains_key(&from) => {
                    let Some(refused) = woken.get_mut(&to) else {
                        continue;
                    };
                    match (*refused, answer) {
                        (false, 0) => this.first_refused += 1,
                        (false, _) => this.first_taken += 1,
                        (true, 0) => this.further_refused += 1,
                        (true, _) => this.further_taken += 1,
                    }
                    *refused |= answer == 0;
                }
                Event::Ask { .. } | Event::Spin { .. } => {}
            }
        }
        this
    }
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn who_merely_woke_is_passed_over_once() {
    let guest = Guest::take("msg-4vcpus");
    let _scheduler = start(&[]);
    let woken = Woken::of(&record(ms(6_000)), &[guest.vcpu_threads()]);
    println!("{woken:?}");
    let first = woken.first_refused + woken.first_taken;
    assert!(first > 20, "too few hints to judge: {woken:?}");
    // The scheduler has the better view of which receivers still wait.
    assert!(woken.first_refused * 4 >= first * 3, "{woken:?}");
    // Some of those refused had got a CPU by the time that KVM had the locks.
    let further = woken.further_taken + woken.further_refused;
    assert!(
        woken.further_taken * first > 2 * woken.first_taken * further,
        "{woken:?}"
    );
}
