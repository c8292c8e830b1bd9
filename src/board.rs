// SPDX-License-Identifier: GPL-2.0-only
//! What the planner thinks of each VM, for the thread that tells people.
//!
//! The scheduling thread must not wait for another thread, and allocates nothing. So it leaves a
//! copy for each report, a hundred bytes behind a lock of that VM's, and leaves none if the lock
//! is held. A reader holds it as long as it takes to copy them, and the next report, 20 ms later,
//! makes it good.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use vmland_control::Planned;

use crate::planner::{THRESHOLDS, Vm};

pub struct Board {
    /// By slot.
    vms: Box<[Mutex<Option<Posted>>]>,
    is_left_out: bool,
}

#[derive(Clone, Copy)]
struct Posted {
    vm: Vm,
    /// The evidence's time, and ours, which go at the same speed for as long as matters.
    at_ns: u64,
    at: Instant,
}

impl Board {
    /// For VMs in slots below `slots`. `is_left_out`: nobody follows the planner.
    pub fn new(slots: usize, is_left_out: bool) -> Self {
        Self {
            vms: (0..slots).map(|_| Mutex::default()).collect(),
            is_left_out,
        }
    }

    /// What the planner knows of the VM in this slot, at `at_ns` of the evidence's time.
    pub fn post(&self, slot: u32, vm: &Vm, at_ns: u64) {
        if let Some(place) = self.vms.get(slot as usize)
            && let Ok(mut posted) = place.try_lock()
        {
            let at = Instant::now();
            *posted = Some(Posted { vm: *vm, at_ns, at });
        }
    }

    /// What the planner thinks now of the VM in this slot. If that is another VM than `vm_id`,
    /// this one has not been reported.
    pub fn read(&self, slot: u32, vm_id: u32) -> Planned {
        let posted = self.vms.get(slot as usize).and_then(|place| {
            let posted = place.lock().unwrap_or_else(PoisonError::into_inner);
            posted.filter(|posted| posted.vm.id() == vm_id)
        });
        let planned = posted.map(|Posted { vm, at_ns, at }| {
            let since_ns = u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX);
            vm.explain(at_ns.saturating_add(since_ns))
        });
        Planned {
            is_left_out: self.is_left_out,
            ..planned.unwrap_or(Planned {
                thresholds: THRESHOLDS,
                ..Planned::default()
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::{Evidence, Planner};
    use vmland_control::{Mode, Sign};

    const SPINS: Evidence = Evidence {
        vm_slot: 1,
        vm_id: 7,
        at_ns: 20_000_000,
        cpu_ns: 20_000_000,
        pause_exits: 100,
        receivers: 0,
    };

    fn posted(is_left_out: bool) -> Board {
        let mut planner = Planner::new(2);
        planner.report(&SPINS);
        let board = Board::new(2, is_left_out);
        board.post(1, planner.vm(1).expect("a slot"), SPINS.at_ns);
        board
    }

    #[test]
    fn what_was_posted_is_read() {
        let planned = posted(false).read(1, 7);
        assert_eq!((planned.mode, planned.is_left_out), (Mode::Free, false));
        assert_eq!(planned.thresholds, THRESHOLDS);
        let reported = planned.reported.expect("a report");
        assert_eq!((reported.sign, reported.against), (Sign::Spins, 1));
        assert_eq!(reported.pause_exits_per_s, 5_000);
        assert!(posted(true).read(1, 7).is_left_out);
    }

    #[test]
    fn time_goes_on_after_a_report() {
        let board = posted(false);
        let age_ns = || board.read(1, 7).reported.expect("a report").age_ns;
        let before = age_ns();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(age_ns() >= before + 2_000_000);
    }

    #[test]
    fn others_have_not_been_reported() {
        let board = posted(false);
        for (slot, vm_id) in [(1, 8), (0, 7), (2, 7)] {
            let planned = board.read(slot, vm_id);
            assert_eq!(planned.reported, None);
            assert_eq!(planned.thresholds, THRESHOLDS);
        }
        board.post(2, &Vm::default(), 0);
    }

    #[test]
    fn a_reader_does_not_hold_the_planner_up() {
        let board = posted(false);
        let reader = board.vms[1].lock().expect("free");
        board.post(1, &Vm::default(), 0);
        drop(reader);
        assert!(board.read(1, 7).reported.is_some(), "it is as it was");
    }
}
