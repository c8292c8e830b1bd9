// SPDX-License-Identifier: GPL-2.0-only
//! The planner: how the vCPUs of each VM are to be scheduled, by what they have done.
//!
//! *Evidence* in, *plan* out. The planner has no clock and no kernel: the evidence brings the
//! time. BPF applies a plan by itself until the next one (`bpf/planner/evidence.bpf.h`).
//!
//! | mode | for VMs whose vCPUs | what BPF does |
//! | --- | --- | --- |
//! | free | work by themselves, or answer each other's IPIs | each vCPU has turns of its own; hand-offs to receivers |
//! | gang | spin for each other: locks, barriers | aligned turns (`bpf/cosched/gang.bpf.h`) |
//!
//! A pause exit is a sign of spinning. If the vCPU spins because it waits for the answer to an
//! IPI, BPF hands its CPU to the receiver, and counts that. So what speaks for a gang is pause
//! exits without such hand-offs. Both come in bursts, so a report counts with those before it.
//!
//! Siblings that run at the same time hardly spin, and a gang shows no evidence of what it
//! would do without. So a gang is free now and then, for a [`TRIAL_NS`]. If it spins again, it is
//! a gang for twice as long as before; if not, it stays free.

use vmland_control::{Mode, Planned, Reported, Sign, Thresholds};

/// Pause exits without a hand-off to a receiver, per second of CPU time, from which on a VM is
/// said to spin: two in a slice of 10 ms. A vCPU that waits for one that has no CPU has a pause
/// exit each 10 to 100 us, by the host's `ple_window`.
pub const SPINNING_PER_S: u64 = 200;

/// So many pause exits in place of one for each hand-off to a receiver belong to that IPI: a
/// vCPU has one or two of them before it is found to wait for a receiver.
const EXITS_PER_RECEIVER: u64 = 4;

/// Hand-offs to receivers, per second of CPU time, from which on a VM is said to answer IPIs,
/// whatever number of pause exits it has: under emulation every PAUSE is one.
const RECEIVERS_PER_S: u64 = 50;

/// Over how much CPU time of its VM evidence counts, in ns: 40 slices. It fades: of what is as
/// old as that, a third counts. A single report is too short to tell who answers IPIs: under
/// emulation a vCPU that waits for a receiver has pause exits while that one runs, too.
const MEMORY_NS: f64 = 400e6;

/// A report of less CPU time than this decides nothing, in ns: half a slice.
const LEAST_CPU_NS: u64 = 5_000_000;

/// Reports in a row that have to agree before the mode changes.
const AGREE: u32 = 2;

/// How long a VM is a gang before it is tried free, in ns: 2 s at first, then twice as long
/// each time, up to 32 s. A trial costs a few slices of the work that a gang is worth.
const GANG_NS: u64 = 2_000_000_000;
const LONGEST_GANG_NS: u64 = 16 * GANG_NS;

/// How long a trial is, in ns. A VM that spins is a gang again after [`AGREE`] reports.
pub const TRIAL_NS: u64 = 200_000_000;

/// What the planner decides by, for `vmland why`.
pub const THRESHOLDS: Thresholds = Thresholds {
    spinning_per_s: SPINNING_PER_S,
    exits_per_receiver: EXITS_PER_RECEIVER,
    receivers_per_s: RECEIVERS_PER_S,
    agree: AGREE,
};

/// What a VM has done since it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    pub vm_slot: u32,
    pub vm_id: u32,
    pub at_ns: u64,
    pub cpu_ns: u64,
    pub pause_exits: u64,
    /// Hand-offs to receivers of IPIs.
    pub receivers: u64,
}

/// How a VM is to be scheduled from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub vm_slot: u32,
    pub vm_id: u32,
    pub gang: bool,
}

/// What the planner knows of a VM.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vm {
    last: Evidence,
    /// What it has done lately.
    recent: Recent,
    /// What that says. None: there was no report that decides anything.
    sign: Option<Sign>,
    gang: bool,
    /// When that began.
    since_ns: u64,
    /// For how long it is, or was last, a gang.
    gang_ns: u64,
    /// Reports in a row that speak for the other mode.
    against: u32,
}

/// What a VM has done; the longer ago, the less it counts.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    cpu_ns: f64,
    pause_exits: f64,
    receivers: f64,
}

pub struct Planner {
    /// By slot.
    vms: Vec<Vm>,
}

impl Planner {
    /// For VMs in slots below `slots`. Nothing is allocated later.
    pub fn new(slots: usize) -> Self {
        Self {
            vms: vec![Vm::default(); slots],
        }
    }

    /// Takes a report. Returns a plan if it is another one than before.
    pub fn report(&mut self, now: &Evidence) -> Option<Plan> {
        let vm = self.vms.get_mut(now.vm_slot as usize)?;
        if vm.last.vm_id != now.vm_id {
            *vm = Vm {
                last: Evidence {
                    vm_id: now.vm_id,
                    ..Evidence::default()
                },
                since_ns: now.at_ns,
                ..Vm::default()
            };
        }
        if now.cpu_ns.saturating_sub(vm.last.cpu_ns) < LEAST_CPU_NS {
            return None;
        }
        vm.recent.add(&vm.last, now);
        vm.last = *now;
        let sign = vm.recent.sign();
        vm.sign = Some(sign);
        let gang = vm.decide(sign, now.at_ns);
        if gang == vm.gang {
            return None;
        }
        vm.gang = gang;
        vm.since_ns = now.at_ns;
        vm.against = 0;
        Some(Plan {
            vm_slot: now.vm_slot,
            vm_id: now.vm_id,
            gang,
        })
    }

    /// What is known of the VM in this slot.
    pub fn vm(&self, slot: u32) -> Option<&Vm> {
        self.vms.get(slot as usize)
    }
}

impl Vm {
    /// Which VM it is: slots are used again.
    pub fn id(&self) -> u32 {
        self.last.vm_id
    }

    /// What the planner thinks of it at `now_ns`, the evidence's time.
    pub fn explain(&self, now_ns: u64) -> Planned {
        let lasted_ns = now_ns.saturating_sub(self.since_ns);
        let left_ns = match self.gang {
            true => Some(self.gang_ns.saturating_sub(lasted_ns)),
            false if self.gang_ns == 0 => None,
            false => TRIAL_NS.checked_sub(lasted_ns),
        };
        let reported = |sign| Reported {
            sign,
            age_ns: now_ns.saturating_sub(self.last.at_ns),
            mode_since_ns: lasted_ns,
            mode_left_ns: left_ns,
            pause_exits_per_s: self.recent.per_s(self.recent.pause_exits).round() as u64,
            receivers_per_s: self.recent.per_s(self.recent.receivers).round() as u64,
            against: self.against,
        };
        Planned {
            mode: if self.gang { Mode::Gang } else { Mode::Free },
            is_left_out: false,
            reported: self.sign.map(reported),
            thresholds: THRESHOLDS,
        }
    }

    /// Whether it is to be a gang.
    fn decide(&mut self, sign: Sign, now_ns: u64) -> bool {
        let lasted_ns = now_ns.saturating_sub(self.since_ns);
        let against = match self.gang {
            true => sign == Sign::AnswersIpis,
            false => sign == Sign::Spins,
        };
        self.against = if against { self.against + 1 } else { 0 };
        if self.gang {
            return self.against < AGREE && lasted_ns < self.gang_ns;
        }
        if self.against < AGREE {
            return false;
        }
        self.gang_ns = match self.gang_ns {
            0 => GANG_NS,
            _ if lasted_ns > TRIAL_NS => GANG_NS,
            before => (2 * before).min(LONGEST_GANG_NS),
        };
        true
    }
}

impl Recent {
    fn add(&mut self, last: &Evidence, now: &Evidence) {
        let since = |f: fn(&Evidence) -> u64| f(now).saturating_sub(f(last)) as f64;
        let cpu_ns = since(|e| e.cpu_ns);
        let kept = (1.0 - cpu_ns / MEMORY_NS).max(0.0);
        let counted = (MEMORY_NS / cpu_ns).min(1.0);
        let add = |sum: &mut f64, new: f64| *sum = *sum * kept + new * counted;
        add(&mut self.cpu_ns, cpu_ns);
        add(&mut self.pause_exits, since(|e| e.pause_exits));
        add(&mut self.receivers, since(|e| e.receivers));
    }

    fn sign(&self) -> Sign {
        if self.per_s(self.pause_exits) < SPINNING_PER_S as f64 {
            Sign::Calm
        } else if self.pause_exits < EXITS_PER_RECEIVER as f64 * self.receivers
            || self.per_s(self.receivers) >= RECEIVERS_PER_S as f64
        {
            Sign::AnswersIpis
        } else {
            Sign::Spins
        }
    }

    /// In a second of its CPU time.
    fn per_s(&self, count: f64) -> f64 {
        count * 1e9 / self.cpu_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports of a VM, 20 ms and a CPU's worth of work apart.
    struct Vm {
        planner: Planner,
        now: Evidence,
        gang: bool,
    }

    impl Vm {
        fn new() -> Self {
            Self {
                planner: Planner::new(2),
                now: Evidence {
                    vm_slot: 1,
                    vm_id: 7,
                    ..Evidence::default()
                },
                gang: false,
            }
        }

        fn report(&mut self, pause_exits: u64, receivers: u64) {
            self.now.at_ns += 20_000_000;
            self.now.cpu_ns += 20_000_000;
            self.now.pause_exits += pause_exits;
            self.now.receivers += receivers;
            if let Some(plan) = self.planner.report(&self.now) {
                assert_eq!((plan.vm_slot, plan.vm_id), (1, 7));
                assert_ne!(plan.gang, self.gang, "a plan is a change");
                self.gang = plan.gang;
            }
        }

        /// Spins whenever it is no gang. Returns for how many reports it was one.
        fn lock_bound(&mut self, reports: usize) -> usize {
            (0..reports)
                .filter(|_| {
                    self.report(if self.gang { 0 } else { 100 }, 0);
                    self.gang
                })
                .count()
        }
    }

    #[test]
    fn spinning_makes_a_gang_at_the_second_report() {
        let mut vm = Vm::new();
        vm.report(100, 0);
        assert!(!vm.gang);
        vm.report(100, 0);
        assert!(vm.gang);
    }

    #[test]
    fn waiting_for_answers_to_ipis_does_not() {
        let mut vm = Vm::new();
        (0..100).for_each(|_| vm.report(100, 40));
        assert!(!vm.gang);
        (0..100).for_each(|_| vm.report(0, 0));
        assert!(!vm.gang);
    }

    /// Their hand-offs come in bursts, of which a report may see none.
    #[test]
    fn two_reports_without_a_hand_off_do_not_either() {
        let mut vm = Vm::new();
        for _ in 0..30 {
            vm.report(100, 20);
            (0..3).for_each(|_| vm.report(100, 0));
        }
        assert!(!vm.gang);
        // Another load is found out within a second.
        (0..45).for_each(|_| vm.report(100, 0));
        assert!(vm.gang);
    }

    #[test]
    fn a_gang_that_answers_ipis_is_free_again() {
        let mut vm = Vm::new();
        vm.lock_bound(3);
        assert!(vm.gang);
        (0..2).for_each(|_| vm.report(100, 40));
        assert!(!vm.gang);
    }

    /// Trials get rarer: 60 s of work are nearly all a gang's, and when the load has changed the
    /// VM stays free after the next trial.
    #[test]
    fn trials_are_short_and_rare() {
        let mut vm = Vm::new();
        let reports = 3_000;
        let gang = vm.lock_bound(reports);
        assert!(gang * 1000 > reports * 985, "{gang} of {reports}");
        assert!(gang < reports - 6, "it is tried now and then: {gang}");
        (0..2_000).for_each(|_| vm.report(0, 0));
        assert!(!vm.gang);
    }

    #[test]
    fn a_slot_that_is_used_again_starts_anew() {
        let mut vm = Vm::new();
        vm.lock_bound(3);
        assert!(vm.gang);
        let other = Evidence {
            vm_id: 8,
            cpu_ns: 20_000_000,
            pause_exits: 100,
            ..vm.now
        };
        assert_eq!(vm.planner.report(&other), None);
    }

    #[test]
    fn a_vm_without_reports_is_free_for_no_reason() {
        let planned = Planner::new(1).vm(0).expect("a slot").explain(5);
        assert_eq!((planned.mode, planned.reported), (Mode::Free, None));
        assert!(Planner::new(1).vm(1).is_none());
    }

    /// What is told of a VM that spins, is made a gang, and is tried free.
    #[test]
    fn it_explains_what_it_thinks() {
        let mut vm = Vm::new();
        vm.report(100, 0);
        let told = |vm: &Vm, later_ns| {
            let known = vm.planner.vm(1).expect("a slot");
            let planned = known.explain(vm.now.at_ns + later_ns);
            (planned.mode, planned.reported.expect("reports"))
        };
        let spins = Reported {
            sign: Sign::Spins,
            age_ns: 3,
            mode_since_ns: 3,
            mode_left_ns: None,
            pause_exits_per_s: 5_000,
            receivers_per_s: 0,
            against: 1,
        };
        assert_eq!(told(&vm, 3), (Mode::Free, spins));

        vm.report(100, 0);
        let gang = Reported {
            age_ns: 0,
            mode_since_ns: 0,
            mode_left_ns: Some(GANG_NS),
            against: 0,
            ..spins
        };
        assert_eq!(told(&vm, 0), (Mode::Gang, gang));
        // What it did before it was a gang fades.
        (0..60).for_each(|_| vm.report(0, 0));
        let (mode, calm) = told(&vm, 0);
        assert_eq!((mode, calm.sign), (Mode::Gang, Sign::Calm));
        assert_eq!(calm.mode_left_ns, Some(GANG_NS - 1_200_000_000));
        assert!((1..SPINNING_PER_S).contains(&calm.pause_exits_per_s));
        // It sleeps for longer than it is to be a gang.
        assert_eq!(told(&vm, 2 * GANG_NS).1.mode_left_ns, Some(0));

        while vm.gang {
            vm.report(0, 0);
        }
        assert_eq!(told(&vm, 0).1.mode_left_ns, Some(TRIAL_NS));
        assert_eq!(told(&vm, 0).0, Mode::Free);
        assert_eq!(told(&vm, TRIAL_NS + 1).1.mode_left_ns, None);
    }

    #[test]
    fn a_report_of_too_little_changes_nothing_that_is_told() {
        let mut vm = Vm::new();
        vm.report(100, 40);
        let before = vm.planner.vm(1).expect("a slot").explain(vm.now.at_ns);
        assert_eq!(before.reported.map(|it| it.sign), Some(Sign::AnswersIpis));
        let short = Evidence {
            cpu_ns: vm.now.cpu_ns + LEAST_CPU_NS - 1,
            ..vm.now
        };
        assert_eq!(vm.planner.report(&short), None);
        let after = vm.planner.vm(1).expect("a slot").explain(vm.now.at_ns);
        assert_eq!(after, before);
    }

    #[test]
    fn slots_beyond_those_it_knows_are_left_alone() {
        let beyond = Evidence {
            vm_slot: 2,
            ..Evidence::default()
        };
        assert_eq!(Planner::new(2).report(&beyond), None);
    }
}
