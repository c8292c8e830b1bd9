// SPDX-License-Identifier: GPL-2.0-only
//! Homes: the domains in which each VM is to run (`bpf/domain/home.bpf.h`).
//!
//! What VMs have done in, homes out; no clock and no kernel. A VM gets the smallest home that has a
//! CPU for each of its vCPUs: a domain, the domains of a node, or all. Of those of one size it gets
//! the one with the least *pressure*: the CPU time that VMs at home there take, by what there is.
//! That is what they take by their shares, as CPUs take tasks beyond their domain where shares ask
//! for it (`bpf/queue/beyond.bpf.h`); the closer the pressures, the fewer do.
//!
//! | rule | bound |
//! | --- | --- |
//! | a VM is at home where its memory is | unless the pressure elsewhere is less by [`REMOTE`] |
//! | a VM moves | if it finds a pressure that is less by [`GAIN`], or [`GAIN`] / [`ROOM`] where there is room |
//! | and stays for | [`STAY_NS`] |
//! | a move that has not brought the pressures closer is undone | and the VM stays for [`REST_NS`] |
//!
//! A VM moves as a whole, and its load with it. At first its load is not known: it is taken for as
//! large as that of a VM that computes.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;

use crate::topology::Domains;

/// By that much of a domain's CPUs the pressure on a node may be above that on another one before a
/// VM leaves its memory: remote memory makes all that it does slower, by about a third.
pub const REMOTE: f64 = 0.5;

/// What a difference of pressures counts where there is room for all. It is less than [`REMOTE`]: no
/// VM leaves its memory while there is.
pub const ROOM: f64 = 0.4;

/// Of a domain's CPUs. Less is not worth the caches, and is lost in what changes anyway.
pub const GAIN: f64 = 0.1;

/// Between two moves of a VM, in ns.
pub const STAY_NS: u64 = 2_000_000_000;

/// After a move that was undone, in ns.
pub const REST_NS: u64 = 32_000_000_000;

/// Between two looks at the pressures, in ns.
pub const BALANCE_NS: u64 = 500_000_000;

/// Moves at a time: each changes the pressures that the next one is judged by, and these are
/// measured anew before more follow.
const MOVES: usize = 4;

/// What a VM has done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    pub vm_id: u32,
    pub vcpus: u32,
    /// Since it was first seen.
    pub cpu_ns: u64,
    /// The node of most of its memory, if that is known.
    pub memory: Option<usize>,
    /// The domains that it may be at home in, by bit.
    pub allowed: u64,
}

/// Domains from `first` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Home {
    pub first: u16,
    pub nr: u16,
}

impl Home {
    fn of(domains: &Range<usize>) -> Self {
        Self {
            first: domains.start as u16,
            nr: domains.len() as u16,
        }
    }

    pub fn domains(self) -> Range<usize> {
        self.first.into()..usize::from(self.first) + usize::from(self.nr)
    }
}

struct Vm {
    seen: Seen,
    /// None: it may be at home nowhere.
    home: Option<Home>,
    /// CPUs that it takes.
    load: f64,
    /// When its load was last measured.
    at_ns: u64,
    stays_until_ns: u64,
    moved: Option<Moved>,
}

/// A move that has not proved itself yet.
struct Moved {
    from: Home,
    /// The larger of the two pressures before.
    before: f64,
}

pub struct Homes {
    domains: Domains,
    vms: BTreeMap<u32, Vm>,
    balanced_ns: Option<u64>,
}

impl Homes {
    pub fn new(domains: Domains) -> Self {
        Self {
            domains,
            vms: BTreeMap::new(),
            balanced_ns: None,
        }
    }

    /// Takes what all VMs have done, by slot. Returns the slots of those whose homes are new.
    pub fn plan(&mut self, now_ns: u64, seen: &BTreeMap<u32, Seen>) -> Vec<u32> {
        self.vms
            .retain(|slot, vm| seen.get(slot).is_some_and(|it| it.vm_id == vm.seen.vm_id));
        let balance = self
            .balanced_ns
            .is_none_or(|at_ns| now_ns >= at_ns + BALANCE_NS);
        let mut changed = Vec::new();
        let vcpus: u32 = seen.values().map(|it| it.vcpus).sum();
        let cpus = self.domains.nr_cpus(0..self.domains.len()) as f64;
        let each = (cpus / f64::from(vcpus.max(1))).min(1.0);
        for (&slot, &it) in seen {
            match self.vms.get_mut(&slot) {
                Some(vm) if vm.seen.vcpus == it.vcpus && vm.seen.allowed == it.allowed => {
                    vm.seen.memory = it.memory;
                    if balance {
                        vm.measure(now_ns, it);
                    }
                }
                known => {
                    let before = known.and_then(|vm| vm.home);
                    let load = f64::from(it.vcpus) * each;
                    self.vms.remove(&slot);
                    let home = self.best(&it, load, before);
                    self.vms.insert(slot, Vm::new(now_ns, it, home, load));
                    if home != before {
                        changed.push(slot);
                    }
                }
            }
        }
        if balance {
            self.balanced_ns = Some(now_ns);
            changed.extend(self.judge(now_ns));
            changed.extend((0..MOVES).map_while(|_| self.balance(now_ns)));
            changed.sort_unstable();
            changed.dedup();
        }
        changed
    }

    /// The home of the VM in `slot`, and its id.
    pub fn home(&self, slot: u32) -> Option<(u32, Home)> {
        let vm = self.vms.get(&slot)?;
        Some((vm.seen.vm_id, vm.home.unwrap_or_default()))
    }

    /// Of each domain, the CPUs that VMs at home there take, by those that it has.
    fn pressures(&self) -> Vec<f64> {
        let mut pressures = vec![0.0; self.domains.len()];
        for vm in self.vms.values() {
            let Some(home) = vm.home.map(Home::domains) else {
                continue;
            };
            let of_each = vm.load / self.domains.nr_cpus(home.clone()) as f64;
            home.for_each(|domain| pressures[domain] += of_each);
        }
        pressures
    }

    /// The homes of the smallest size that has a CPU for each vCPU.
    fn candidates(&self, seen: &Seen) -> Vec<Range<usize>> {
        let nr = self.domains.len();
        let all = || iter::once(0..nr);
        let sizes = [
            (0..nr).map(|it| it..it + 1).collect(),
            self.domains.nodes(),
            all().collect(),
        ];
        let may = |home: &Range<usize>| home.clone().all(|it| seen.allowed >> it & 1 == 1);
        let fits = |home: &Range<usize>| self.domains.nr_cpus(home.clone()) >= seen.vcpus as usize;
        let fitting = sizes.into_iter().find_map(|mut homes: Vec<Range<usize>>| {
            homes.retain(|home| may(home) && fits(home));
            (!homes.is_empty()).then_some(homes)
        });
        // Wider than the host, or than what it may use.
        fitting.unwrap_or_else(|| all().filter(may).collect())
    }

    fn is_remote(&self, seen: &Seen, home: &Range<usize>) -> bool {
        let not_here = |node| home.clone().all(|it| self.domains.get(it).node != node);
        seen.memory.is_some_and(not_here)
    }

    /// The pressure at `home` with `own` on top, as it is felt, and what the VM loses there by
    /// remote memory.
    fn cost(&self, pressures: &[f64], seen: &Seen, home: &Range<usize>, own: f64) -> f64 {
        let remote = if self.is_remote(seen, home) {
            REMOTE
        } else {
            0.0
        };
        felt(mean(&pressures[home.clone()]) + own) + remote
    }

    /// What a VM of that load adds to the pressure at `home`.
    fn own(&self, load: f64, home: &Range<usize>) -> f64 {
        load / self.domains.nr_cpus(home.clone()) as f64
    }

    /// The home of a VM that counts nowhere, and was at home at `before`.
    fn best(&self, seen: &Seen, load: f64, before: Option<Home>) -> Option<Home> {
        let pressures = self.pressures();
        let cost = |home: &Range<usize>| self.cost(&pressures, seen, home, self.own(load, home));
        let candidates = self.candidates(seen);
        let best = { candidates.iter() }.min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
        let stays = before
            .map(Home::domains)
            .filter(|it| candidates.contains(it));
        match stays {
            Some(home) if cost(&home) < cost(best) + GAIN => before,
            _ => Some(Home::of(best)),
        }
    }

    /// Moves that have had time to prove themselves stay or are undone. Returns the latter.
    fn judge(&mut self, now_ns: u64) -> Vec<u32> {
        let pressures = self.pressures();
        let mut undone = Vec::new();
        for (&slot, vm) in &mut self.vms {
            let Some(moved) = vm.moved.take_if(|_| now_ns >= vm.stays_until_ns) else {
                continue;
            };
            let home = vm.home.unwrap_or_default().domains();
            let now = worst(&pressures, [home, moved.from.domains()]);
            if now > moved.before {
                vm.home = Some(moved.from);
                vm.stays_until_ns = now_ns + REST_NS;
                undone.push(slot);
            }
        }
        undone
    }

    /// Moves the VM whose move brings most, if that is enough.
    fn balance(&mut self, now_ns: u64) -> Option<u32> {
        let pressures = self.pressures();
        let movable = self
            .vms
            .iter()
            .filter(|(_, vm)| now_ns >= vm.stays_until_ns);
        let moves = movable.filter_map(|(&slot, vm)| Some((slot, self.best_move(&pressures, vm)?)));
        let (slot, (gain, to)) = moves.max_by(|(_, a), (_, b)| a.0.total_cmp(&b.0))?;
        if gain < GAIN {
            return None;
        }
        let seen = self.vms[&slot].seen;
        let from = self.vms[&slot].home?;
        let comes_home = self.is_remote(&seen, &from.domains()) && !self.is_remote(&seen, &to);
        let before = worst(&pressures, [from.domains(), to.clone()]);
        let vm = self.vms.get_mut(&slot)?;
        vm.home = Some(Home::of(&to));
        vm.stays_until_ns = now_ns + STAY_NS;
        vm.moved = Some(Moved {
            from,
            before: before + if comes_home { REMOTE } else { 0.0 },
        });
        Some(slot)
    }

    /// What the best move of a VM brings, and where it goes.
    fn best_move(&self, pressures: &[f64], vm: &Vm) -> Option<(f64, Range<usize>)> {
        let from = vm.home?.domains();
        // Its own load counts there already.
        let here = self.cost(pressures, &vm.seen, &from, 0.0);
        let others = self.candidates(&vm.seen).into_iter();
        let others = others.filter(|it| it.len() == from.len() && *it != from);
        let gain =
            |to: &Range<usize>| here - self.cost(pressures, &vm.seen, to, self.own(vm.load, to));
        others
            .map(|to| (gain(&to), to))
            .max_by(|a, b| a.0.total_cmp(&b.0))
    }
}

/// A domain with room for all counts for less: what is left are siblings on one core.
fn felt(pressure: f64) -> f64 {
    if pressure < 1.0 {
        1.0 - ROOM * (1.0 - pressure)
    } else {
        pressure
    }
}

fn mean(pressures: &[f64]) -> f64 {
    pressures.iter().sum::<f64>() / pressures.len() as f64
}

/// The largest pressure of these domains.
fn worst(pressures: &[f64], homes: [Range<usize>; 2]) -> f64 {
    let of_all = homes.into_iter().flatten().map(|it| pressures[it]);
    of_all.fold(0.0, f64::max)
}

impl Vm {
    fn new(now_ns: u64, seen: Seen, home: Option<Home>, load: f64) -> Self {
        Self {
            seen,
            home,
            load,
            at_ns: now_ns,
            stays_until_ns: now_ns + STAY_NS,
            moved: None,
        }
    }

    /// Half of what counts is what it did lately.
    fn measure(&mut self, now_ns: u64, seen: Seen) {
        let ns = now_ns.saturating_sub(self.at_ns);
        // What it did while it started says little.
        if ns < BALANCE_NS / 2 {
            return;
        }
        let lately = seen.cpu_ns.saturating_sub(self.seen.cpu_ns) as f64 / ns as f64;
        self.load = (self.load + lately) / 2.0;
        self.at_ns = now_ns;
        self.seen = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Place;
    use proptest::prelude::*;

    /// Nodes of LLCs of CPUs.
    fn host(nodes: usize, llcs: usize, cpus: usize) -> Homes {
        let places = (0..nodes * llcs * cpus).map(|cpu| Place {
            node: cpu / cpus / llcs,
            llc: cpu / cpus,
            core: cpu,
            cpu,
        });
        Homes::new(Domains::new(places.collect()))
    }

    /// VMs by slot, which compute for a while.
    struct Vms(BTreeMap<u32, Seen>, u64);

    impl Vms {
        fn new(vcpus: &[u32]) -> Self {
            let seen = vcpus.iter().enumerate().map(|(slot, &vcpus)| {
                let seen = Seen {
                    vm_id: slot as u32 + 1,
                    vcpus,
                    cpu_ns: 0,
                    memory: None,
                    allowed: u64::MAX,
                };
                (slot as u32, seen)
            });
            Self(seen.collect(), 0)
        }

        /// For that long each VM takes so many CPUs.
        fn run(&mut self, homes: &mut Homes, seconds: u64, cpus: &[f64]) -> Vec<u32> {
            let mut changed = Vec::new();
            for _ in 0..seconds * 1_000_000_000 / BALANCE_NS {
                self.1 += BALANCE_NS;
                for (vm, cpus) in self.0.values_mut().zip(cpus) {
                    vm.cpu_ns += (cpus * BALANCE_NS as f64) as u64;
                }
                changed.extend(homes.plan(self.1, &self.0));
            }
            changed
        }
    }

    fn home(homes: &Homes, slot: u32) -> Range<usize> {
        homes.home(slot).expect("it is there").1.domains()
    }

    #[test]
    fn a_home_is_as_wide_as_the_vm() {
        let mut homes = host(2, 2, 4);
        let vms = Vms::new(&[4, 5, 8, 9, 40]);
        assert_eq!(homes.plan(0, &vms.0), [0, 1, 2, 3, 4]);
        let of = |slot| home(&homes, slot);
        assert_eq!((of(0), of(1)), (0..1, 2..4));
        assert_eq!((of(2), of(3), of(4)), (0..2, 0..4, 0..4));
    }

    #[test]
    fn vms_spread() {
        let mut homes = host(1, 4, 4);
        let vms = Vms::new(&[2; 8]);
        homes.plan(0, &vms.0);
        let mut at: Vec<usize> = (0..8).map(|slot| home(&homes, slot).start).collect();
        at.sort_unstable();
        assert_eq!(at, [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn a_vm_is_at_home_beside_its_memory() {
        let mut homes = host(2, 1, 4);
        let mut vms = Vms::new(&[1; 3]);
        vms.0.values_mut().for_each(|vm| vm.memory = Some(1));
        homes.plan(0, &vms.0);
        assert!((0..3).all(|slot| home(&homes, slot) == (1..2)));
        let mut vms = Vms::new(&[2; 8]);
        vms.0.values_mut().for_each(|vm| vm.memory = Some(1));
        let mut homes = host(2, 1, 4);
        homes.plan(0, &vms.0);
        let there = (0..8).filter(|&slot| home(&homes, slot) == (1..2)).count();
        assert!((4..8).contains(&there), "{there} on a full node");
    }

    #[test]
    fn only_where_it_may() {
        let mut homes = host(2, 1, 4);
        let mut vms = Vms::new(&[2, 2, 8]);
        vms.0.values_mut().for_each(|vm| vm.allowed = 0b10);
        homes.plan(0, &vms.0);
        assert_eq!((home(&homes, 0), home(&homes, 1)), (1..2, 1..2));
        assert_eq!(home(&homes, 2), 0..0, "it is wider than that: no home");
    }

    #[test]
    fn a_busy_vm_moves_to_where_there_is_room() {
        let mut homes = host(1, 2, 4);
        let mut vms = Vms::new(&[2; 4]);
        homes.plan(0, &vms.0);
        // Those of domain 0 compute, the others sleep.
        let busy: Vec<f64> = (0..4)
            .map(|slot| {
                if home(&homes, slot) == (0..1) {
                    2.0
                } else {
                    0.0
                }
            })
            .collect();
        let changed = vms.run(&mut homes, 10, &busy);
        let of_busy = (0..4).filter(|&slot| busy[slot as usize] > 0.0);
        let mut at: Vec<usize> = of_busy.map(|slot| home(&homes, slot).start).collect();
        at.sort_unstable();
        assert_eq!(at, [0, 1]);
        assert_eq!(changed.len(), 1, "the others stay: {changed:?}");
    }

    #[test]
    fn a_balanced_host_stays() {
        let mut homes = host(2, 4, 16);
        let sizes = [2, 4, 2, 8, 2, 2, 4, 2, 16, 2, 2, 4, 2, 8, 2, 2].repeat(2);
        let mut vms = Vms::new(&sizes);
        homes.plan(0, &vms.0);
        let loads: Vec<f64> = sizes.iter().map(|&it| f64::from(it)).collect();
        vms.run(&mut homes, 10, &loads);
        assert!(vms.run(&mut homes, 60, &loads).is_empty());
    }

    #[test]
    fn a_move_that_did_not_help_is_undone() {
        let mut homes = host(1, 2, 4);
        let mut vms = Vms::new(&[2; 4]);
        homes.plan(0, &vms.0);
        let first: Vec<Range<usize>> = (0..4).map(|slot| home(&homes, slot)).collect();
        let mut loads = first.iter().map(|it| if *it == (0..1) { 2.0 } else { 0.0 });
        let mut loads: Vec<f64> = loads.by_ref().collect();
        let moved = loop {
            if let Some(&moved) = vms.run(&mut homes, 1, &loads).first() {
                break moved;
            }
        };
        // It takes more and more: where it came from there was room for it, and here there is none.
        loads.fill(0.0);
        loads[moved as usize] = 20.0;
        vms.run(&mut homes, 4, &loads);
        assert_eq!(home(&homes, moved), first[moved as usize]);
    }

    #[test]
    fn a_slot_of_another_vm() {
        let mut homes = host(1, 2, 4);
        let mut vms = Vms::new(&[2, 2]);
        homes.plan(0, &vms.0);
        assert!(homes.plan(1, &vms.0).is_empty());
        vms.0.get_mut(&1).expect("a slot").vm_id = 9;
        assert_eq!(homes.plan(2, &vms.0), [1]);
        assert_eq!(homes.home(1).map(|(id, _)| id), Some(9));
        vms.0.remove(&1);
        homes.plan(3, &vms.0);
        assert_eq!(homes.home(1), None);
    }

    proptest! {
        /// Whatever VMs there are and do: each has a home on the host, and none moves more often
        /// than every [`STAY_NS`].
        #[test]
        fn vms_have_homes_and_stay(
            sizes in prop::collection::vec(1..40_u32, 1..20),
            loads in prop::collection::vec(prop::collection::vec(0.0..4.0_f64, 20), 20),
        ) {
            let mut homes = host(2, 3, 4);
            let mut vms = Vms::new(&sizes);
            homes.plan(0, &vms.0);
            let mut moved_ns = BTreeMap::new();
            for loads in loads {
                vms.run(&mut homes, 0, &[]);
                vms.1 += BALANCE_NS;
                for (vm, load) in vms.0.values_mut().zip(loads) {
                    vm.cpu_ns += (load * BALANCE_NS as f64) as u64;
                }
                for slot in homes.plan(vms.1, &vms.0) {
                    if let Some(before) = moved_ns.insert(slot, vms.1) {
                        prop_assert!(vms.1 >= before + STAY_NS);
                    }
                }
                for &slot in vms.0.keys() {
                    let home = home(&homes, slot);
                    prop_assert!(!home.is_empty() && home.end <= 6);
                }
            }
        }
    }
}
