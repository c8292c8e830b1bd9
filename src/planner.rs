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
//! exits without such hand-offs.
//!
//! Siblings that run at the same time hardly spin, and a gang shows no evidence of what it
//! would do without. So a gang is free now and then, for a [`TRIAL_NS`]. If it spins again, it is
//! a gang for twice as long as before; if not, it stays free.

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

/// What a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It ran for too short a time.
    Unclear,
    Calm,
    /// Its vCPUs spin for each other.
    Spins,
    /// They wait for answers to IPIs.
    AnswersIpis,
}

/// What the planner knows of a VM.
#[derive(Clone, Copy, Debug, Default)]
struct Vm {
    last: Evidence,
    gang: bool,
    /// When that began.
    since_ns: u64,
    /// For how long it is, or was last, a gang.
    gang_ns: u64,
    /// Reports in a row that speak for the other mode.
    against: u32,
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
        let sign = sign(&vm.last, now);
        if sign == Sign::Unclear {
            return None;
        }
        vm.last = *now;
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
}

impl Vm {
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

fn sign(last: &Evidence, now: &Evidence) -> Sign {
    let cpu_ns = now.cpu_ns.saturating_sub(last.cpu_ns);
    if cpu_ns < LEAST_CPU_NS {
        return Sign::Unclear;
    }
    let exits = now.pause_exits.saturating_sub(last.pause_exits);
    let receivers = now.receivers.saturating_sub(last.receivers);
    let least = (SPINNING_PER_S * cpu_ns).div_ceil(1_000_000_000);
    if exits < least {
        Sign::Calm
    } else if exits < EXITS_PER_RECEIVER * receivers
        || receivers * 1_000_000_000 >= RECEIVERS_PER_S * cpu_ns
    {
        Sign::AnswersIpis
    } else {
        Sign::Spins
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
    fn slots_beyond_those_it_knows_are_left_alone() {
        let beyond = Evidence {
            vm_slot: 2,
            ..Evidence::default()
        };
        assert_eq!(Planner::new(2).report(&beyond), None);
    }
}
