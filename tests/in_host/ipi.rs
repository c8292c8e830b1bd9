// SPDX-License-Identifier: GPL-2.0-only
//! The receiver of an IPI runs first. A vCPU that only woke does not.

use std::collections::{HashMap, HashSet};
use std::process::Command;

use serde_json::Value;

use crate::rig::{Guest, Scheduler, ms, vmland_vms, wait_for};
use crate::trace::{Event, Moment, record};

/// The thread of the vCPU `id` in the VM of `sender`. `vms` are the threads of each VM's vCPUs,
/// by vCPU id.
fn receiver(vms: &[Vec<i32>], sender: i32, id: usize) -> Option<i32> {
    let vm = vms.iter().find(|vm| vm.contains(&sender))?;
    vm.get(id).copied()
}

/// About IPIs to vCPUs that were runnable but not running.
#[derive(Debug, Default)]
struct Receivers {
    /// From the IPI until the receiver ran, ascending.
    waits_us: Vec<u64>,
    /// Pause exits of the senders meanwhile.
    spins: usize,
    /// How often a sender left its CPU meanwhile, and another task than the receiver got it.
    passed_over: usize,
    /// How often a vCPU was switched in.
    runs: usize,
    /// Of these runs: on another CPU than the run before.
    moves: usize,
}

impl Receivers {
    fn of(moments: &[Moment], vms: &[Vec<i32>]) -> Self {
        let mut this = Self::default();
        let mut waiting: HashSet<i32> = HashSet::new();
        // (sender, receiver) -> time of the IPI, the sender's pause exits since
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
                Event::Ipi {
                    sender,
                    receiver_id,
                } => {
                    let receiver = receiver(vms, sender, receiver_id);
                    if let Some(receiver) = receiver.filter(|tid| waiting.contains(tid)) {
                        open.entry((sender, receiver)).or_insert((moment.at_us, 0));
                    }
                }
                Event::Spin { pid } => {
                    for ((sender, _), (_, spins)) in &mut open {
                        *spins += usize::from(*sender == pid);
                    }
                }
                Event::Wake { .. } | Event::Yield { .. } => {}
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

    /// How often an IPI was passed over, on average.
    fn passed_over(&self) -> f64 {
        self.passed_over as f64 / self.waits_us.len() as f64
    }

    /// The part of runs on another CPU than the run before.
    fn moves(&self) -> f64 {
        self.moves as f64 / self.runs as f64
    }
}

/// A scheduler that has counted pause exits: its programs in KVM are attached.
fn start(args: &[&str]) -> Scheduler {
    let scheduler = Scheduler::start(args);
    wait_for("pause exits", ms(15_000), || {
        let counted = |vm: &Value| vm["pause_exits"].as_u64().is_some_and(|n| n > 0);
        vmland_vms().iter().any(counted)
    });
    scheduler
}

/// The events of 3 s under a scheduler with `args`.
fn record_under(args: &[&str]) -> Vec<Moment> {
    let scheduler = start(args);
    let moments = record(ms(3_000));
    scheduler.stop();
    moments
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn receivers_run_first() {
    let guests = Guest::take_all(["tlb-a", "tlb-b"]);
    let vms = guests.each_ref().map(Guest::vcpu_threads);
    let under = |args: &[&str]| {
        let seen = Receivers::of(&record_under(args), &vms);
        assert!(seen.waits_us.len() > 100, "{args:?}: too few IPIs to judge");
        println!(
            "{args:?}: {} IPIs to waiting vCPUs, which ran after p50 {} us, p95 {} us, p99 {} us; \
             {:.2} pause exits each; passed over {:.3}; {:.2} of {} runs on another CPU",
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
    let not_sticky = under(&["--without", "sticky"]);
    let not_prolonged = under(&["--without", "prolong"]);
    let all = under(&[]);
    assert!(all.spins_each() < 0.8 * without.spins_each());
    assert!(all.passed_over() < 0.6 * without.passed_over());
    // The affinity hint keeps sender and receiver on one CPU.
    assert!(all.moves() < 0.4 * not_sticky.moves());
    // Where the sender's turn would end, the receiver still gets the CPU.
    assert!(all.passed_over() < 0.5 * not_prolonged.passed_over());
}

/// Of vCPUs that went to sleep while the receiver of their last IPI waited for a CPU, the part
/// that handed their CPU off to it.
fn handed_to_receiver(moments: &[Moment], vms: &[Vec<i32>]) -> f64 {
    let mut waiting = HashSet::new();
    let mut receivers = HashMap::new();
    let (mut slept, mut handed_off) = (0, 0);
    for moment in moments {
        match moment.event {
            Event::Wake { pid } => {
                waiting.insert(pid);
            }
            Event::Ipi {
                sender,
                receiver_id,
            } => {
                let receiver = receiver(vms, sender, receiver_id);
                if let Some(receiver) = receiver.filter(|tid| *tid != sender) {
                    receivers.insert(sender, receiver);
                }
            }
            Event::Switch { prev, waits, next } => {
                let receiver = receivers.get(&prev).filter(|it| waiting.contains(*it));
                if let Some(receiver) = receiver.filter(|_| !waits) {
                    slept += 1;
                    handed_off += usize::from(*receiver == next);
                }
                if waits {
                    waiting.insert(prev);
                }
                waiting.remove(&next);
                receivers.retain(|_, receiver| *receiver != next);
            }
            Event::Yield { .. } | Event::Spin { .. } => {}
        }
    }
    assert!(slept > 100, "too few to judge: {slept}");
    handed_off as f64 / slept as f64
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_sleeping_sender_hands_its_cpu_to_the_receiver() {
    let guests = Guest::take_all(["msg-a", "msg-b"]);
    let vms = guests.each_ref().map(Guest::vcpu_threads);
    let under = |args: &[&str]| {
        let part = handed_to_receiver(&record_under(args), &vms);
        println!(
            "{args:?}: {part:.2} of vCPUs that sleep hand their CPU off to a waiting receiver"
        );
        part
    };
    let without = under(&["--without", "receivers"]);
    let with = under(&[]);
    assert!(with > 0.8 && without < 0.8 * with);
}

/// Results of yield_to() for targets that woke and have not run since, from yielders that have
/// sent them no IPI: of the first call for each, and of the further ones.
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
        // Woke and has not run since -> whether yield_to() was refused for it.
        let mut woken: HashMap<i32, bool> = HashMap::new();
        // Senders -> receivers that have not run since.
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
                Event::Ipi {
                    sender,
                    receiver_id,
                } => {
                    if let Some(receiver) = receiver(vms, sender, receiver_id) {
                        senders.entry(sender).or_default().insert(receiver);
                    }
                }
                Event::Yield {
                    yielder,
                    target,
                    waiting: true,
                    result: Some(result),
                } if !senders.contains_key(&yielder) => {
                    let Some(refused) = woken.get_mut(&target) else {
                        continue;
                    };
                    match (*refused, result) {
                        (false, 0) => this.first_refused += 1,
                        (false, _) => this.first_taken += 1,
                        (true, 0) => this.further_refused += 1,
                        (true, _) => this.further_taken += 1,
                    }
                    *refused |= result == 0;
                }
                Event::Yield { .. } | Event::Spin { .. } => {}
            }
        }
        this
    }
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_vcpu_that_only_woke_is_refused_once() {
    let guest = Guest::take("msg-4vcpus");
    // So that vCPUs that have woken wait for a CPU, and can be hinted at.
    let _scheduler = start(&["--without", "preemption"]);
    let woken = Woken::of(&record(ms(6_000)), &[guest.vcpu_threads()]);
    println!("{woken:?}");
    let first = woken.first_refused + woken.first_taken;
    assert!(first > 20, "too few calls to judge: {woken:?}");
    // The scheduler knows better which receivers still wait.
    assert!(woken.first_refused * 4 >= first * 3, "{woken:?}");
    // Some of those refused got a CPU before KVM had the locks.
    let further = woken.further_taken + woken.further_refused;
    assert!(
        woken.further_taken * first > 2 * woken.first_taken * further,
        "{woken:?}"
    );
}

/// As on a host whose KVM has none of the x86 tracepoints: each program is loaded for itself, and
/// what is missing is said.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn without_events_of_ipis_pause_exits_are_counted() {
    const EVENTS: &str = "/sys/kernel/tracing/events/kvm";
    let done = |program: &str, args: &[&str]| {
        let status = Command::new(program).args(args).status();
        assert!(status.is_ok_and(|s| s.success()), "{program} {args:?}");
    };
    done("mount", &["-t", "tmpfs", "none", EVENTS]);
    let scheduler = Scheduler::start(&[]);
    let _guests = Guest::take_all(["lock-a", "lock-b"]);
    wait_for("pause exits", ms(10_000), || {
        vmland_vms()
            .iter()
            .any(|vm| vm["pause_exits"].as_u64() > Some(0))
    });
    done("umount", &[EVENTS]);
    let log = scheduler.log();
    assert!(
        log.contains("IPIs are not followed by kvm_apic_ipi"),
        "{log}"
    );
}
