// SPDX-License-Identifier: GPL-2.0-only
//! What the scheduler has room for, and what happens beyond: each is logged once, when
//! its counter has grown for the first time. Statistics go on counting.

/// A limit that a host can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Vms,
    Cgroups,
    PlannerRing,
}

impl Limit {
    pub const ALL: [Limit; 3] = [Limit::Vms, Limit::Cgroups, Limit::PlannerRing];

    fn consequence(self) -> &'static str {
        match self {
            Limit::Vms => {
                "more VMs than the scheduler keeps: vCPUs of further ones run as ordinary tasks until there is room (statistic vms_full)"
            }
            Limit::Cgroups => {
                "more cgroups than the scheduler keeps: further ones count as their parent (statistic cgroups_full)"
            }
            Limit::PlannerRing => {
                "reports of VMs come faster than the planner takes them: their plans are late (statistic evidence_lost)"
            }
        }
    }
}

/// Which limits have been reached so far.
#[derive(Default)]
pub struct Limits {
    logged: [bool; Limit::ALL.len()],
}

impl Limits {
    /// What is to be logged now, if `count` is how often each limit has been reached.
    pub fn reached(&mut self, count: impl Fn(Limit) -> u64) -> Vec<&'static str> {
        let news = Limit::ALL.into_iter().filter(|limit| {
            let is_new = !self.logged[*limit as usize] && count(*limit) > 0;
            self.logged[*limit as usize] |= is_new;
            is_new
        });
        news.map(Limit::consequence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_said_once() {
        let mut limits = Limits::default();
        assert_eq!(limits.reached(|_| 0), [""; 0]);
        let logged = limits.reached(|limit| u64::from(limit == Limit::Vms));
        assert_eq!(logged, [Limit::Vms.consequence()]);
        // It goes on, and another one is reached.
        let logged = limits.reached(|limit| 7 * u64::from(limit != Limit::PlannerRing));
        assert_eq!(logged, [Limit::Cgroups.consequence()]);
        assert_eq!(limits.reached(|_| 99), [Limit::PlannerRing.consequence()]);
        assert_eq!(limits.reached(|_| 100), [""; 0]);
    }
}
