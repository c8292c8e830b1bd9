// SPDX-License-Identifier: GPL-2.0-only
//! Domains and NUMA balancing (kernel/sched/fair.c), roughly.
//!
//! - A new task goes to the node, LLC and CPU with the least load (find_idlest_cpu()).
//! - One that wakes goes to the waker's LLC if that CPU has less to do than its own
//!   (wake_affine()), and there to an idle CPU: itself, an idle core, an idle thread
//!   (select_idle_sibling()).
//! - A CPU that would idle takes a task from the longest queue, nearest domain first.
//! - Busy CPUs balance within their LLC. Beyond it one CPU does so for its LLC or node, the more
//!   rarely the larger the domain is, if another one's load is 1.17 times as much (imbalance_pct).
//!   A CPU with tasks that wait makes an idle one take one.
//! - No task that ran 0.5 ms ago leaves its LLC (task_hot()), and none the node of its
//!   memory, unless balancing between groups has failed three times.
//! - Once a second a task that is not on the node of its memory tries to go there: to a CPU with
//!   less to do, or in exchange for a task that has no reason to be there (task_numa_migrate()).
//!
//! Memory does not follow tasks. No task has NUMA faults but by where its memory is.

use super::{BALANCE_NS, Eevdf, SLICE_NS};
use crate::scheduler::{At, TaskId};
use crate::topology::{Distance, Topology};

/// Of the domains beyond an LLC: imbalance_pct, and how much more rarely busy CPUs balance
/// (busy_factor) than once a ms and CPU.
const IMBALANCE: f64 = 1.17;
const BUSY_FACTOR: u64 = 16;
const MS_NS: u64 = 1_000_000;
/// sysctl_sched_migration_cost
const HOT_NS: u64 = 500_000;
const FAILURES: u32 = 3;
/// PELT's.
const HALF_LIFE_NS: f64 = 32e6;
/// numa_balancing's shortest scan period.
const NUMA_NS: u64 = 1_000_000_000;

/// The kernel's base slice: 0.7 ms, and as much more for each doubling of CPUs up to eight.
pub(super) fn slice_ns(topology: &Topology) -> i64 {
    match topology.is_flat() {
        true => SLICE_NS,
        false => 700_000 * i64::from(1 + topology.online().count().min(8).ilog2()),
    }
}

/// The domains of each CPU, from its LLC up to the host: CPUs, and the CPUs of the groups that
/// they consist of. One that is no larger than the one below it is left out.
pub(super) struct Domains {
    of: Vec<Vec<Domain>>,
}

#[derive(Clone)]
struct Domain {
    cpus: Vec<usize>,
    groups: Vec<Vec<usize>>,
    local: usize,
}

impl Domains {
    pub(super) fn new(topology: &Topology) -> Self {
        let of = (0..topology.nr_cpus()).map(|cpu| Self::of_cpu(topology, cpu));
        Self { of: of.collect() }
    }

    fn of_cpu(topology: &Topology, cpu: usize) -> Vec<Domain> {
        let llc = topology.llcs()[topology.llc_of(cpu)].clone();
        let node = topology.nodes()[topology.node_of(cpu)].clone();
        let single: Vec<Vec<usize>> = llc.iter().map(|&cpu| vec![cpu]).collect();
        let of_node = |cpus: &&Vec<usize>| cpus.first().is_some_and(|first| node.contains(first));
        let llcs = topology.llcs().iter().filter(of_node).cloned().collect();
        let used = |cpus: &&Vec<usize>| !cpus.is_empty();
        let nodes = topology.nodes().iter().filter(used).cloned().collect();
        let levels = [
            (llc, single),
            (node.clone(), llcs),
            (topology.online().collect(), nodes),
        ];
        let mut domains: Vec<Domain> = Vec::new();
        for (cpus, groups) in levels {
            let larger = |last: &Domain| cpus.len() > last.cpus.len();
            if domains.last().is_none_or(larger) {
                let here = |group: &Vec<usize>| group.contains(&cpu);
                let local = groups.iter().position(here).unwrap_or(0);
                domains.push(Domain {
                    cpus,
                    groups,
                    local,
                });
            }
        }
        domains
    }
}

/// What NUMA balancing knows of a task.
pub(super) struct Numa {
    pub node: Option<usize>,
    /// When it is looked at again.
    due_ns: u64,
}

impl Numa {
    /// Tasks are not looked at all at once.
    pub(super) fn new(task: TaskId) -> Self {
        Self {
            node: None,
            due_ns: NUMA_NS + task as u64 * 37 % 1_000 * MS_NS,
        }
    }
}

/// How much of the last time a task was runnable (PELT's load_avg, without its weight).
pub(super) struct Load {
    average: f64,
    runnable: bool,
    since_ns: u64,
}

impl Load {
    pub(super) fn new() -> Self {
        Self {
            average: 1.0,
            runnable: false,
            since_ns: 0,
        }
    }

    fn at(&self, now_ns: u64) -> f64 {
        let halves = (now_ns - self.since_ns) as f64 / HALF_LIFE_NS;
        let to = f64::from(self.runnable);
        to + (self.average - to) * (-halves).exp2()
    }

    pub(super) fn becomes(&mut self, runnable: bool, now_ns: u64) {
        self.average = self.at(now_ns);
        self.runnable = runnable;
        self.since_ns = now_ns;
    }
}

impl Eevdf {
    fn is_idle(&self, cpu: usize) -> bool {
        self.length(cpu) == 0
    }

    fn load(&self, cpus: &[usize]) -> usize {
        cpus.iter().map(|&cpu| self.length(cpu)).sum()
    }

    /// Where `task` is to wait, which has been woken from `here`.
    pub(super) fn select_cpu(&mut self, here: usize, task: TaskId) -> usize {
        let first = !std::mem::replace(&mut self.tasks[task].placed, true);
        if first && !self.topology.is_flat() {
            return self.idlest();
        }
        let prev = self.tasks[task].cpu;
        let target = match self.topology.distance(here, prev) {
            Distance::Node | Distance::Remote if self.length(here) < self.length(prev) => here,
            _ => prev,
        };
        if self.is_idle(target) {
            return target;
        }
        let llc = &self.domains.of[target][0].cpus;
        if llc.contains(&prev) && self.is_idle(prev) {
            return prev;
        }
        let idle = |&&cpu: &&usize| self.is_idle(cpu);
        let core = |&&cpu: &&usize| {
            let sibling = self.topology.sibling_of(cpu);
            self.is_idle(cpu) && sibling.is_none_or(|sibling| self.is_idle(sibling))
        };
        let found = llc.iter().find(core).or_else(|| llc.iter().find(idle));
        found.copied().unwrap_or(target)
    }

    /// The CPU with the least load of the LLC with the least one of the node with the least one.
    fn idlest(&self) -> usize {
        let rank = |cpus: &Vec<usize>| self.load(cpus) * 1_000 / cpus.len();
        let used = |cpus: &&Vec<usize>| !cpus.is_empty();
        let nodes = self.topology.nodes().iter().filter(used);
        let node = nodes.min_by_key(|cpus| rank(cpus)).expect("CPUs");
        let llcs = self.topology.llcs().iter().filter(used);
        let here = llcs.filter(|cpus| node.contains(&cpus[0]));
        let llc = here.min_by_key(|cpus| rank(cpus)).expect("CPUs");
        let cpus = llc.iter().copied();
        let busy = |cpu: usize| self.topology.sibling_of(cpu).map(|it| self.length(it));
        cpus.min_by_key(|&cpu| (self.length(cpu), busy(cpu)))
            .expect("CPUs")
    }

    /// May `task` go from the queue of `from` to that of `to`?
    fn can_migrate(&self, task: TaskId, from: usize, to: usize, now_ns: u64) -> bool {
        let distance = self.topology.distance(from, to);
        let task = &self.tasks[task];
        if distance < Distance::Node {
            return true;
        }
        let home = distance == Distance::Remote
            && task.numa.node == Some(self.topology.node_of(from))
            && self.queues[to].failed < FAILURES;
        !home && now_ns - task.ran_ns >= HOT_NS
    }

    /// `at.cpu` takes up to `count` tasks from the longest queue of `cpus`; as many, by how many
    /// more that has. How many it has taken.
    fn pull(&mut self, at: At, cpus: &[usize], count: impl Fn(usize) -> usize) -> usize {
        let cpu = at.cpu;
        let longest = cpus
            .iter()
            .copied()
            .max_by_key(|&other| (self.length(other), other));
        let Some(from) = longest.filter(|&from| from != cpu) else {
            return 0;
        };
        let more = self.length(from).saturating_sub(self.length(cpu));
        let (wanted, mut taken) = (count(more), 0);
        while taken < wanted {
            let waiting = &self.queues[from].waiting;
            let movable = |&&task: &&TaskId| self.can_migrate(task, from, cpu, at.now_ns);
            let Some(&task) = waiting.iter().find(movable) else {
                break;
            };
            self.leave(task, from);
            self.place(task, cpu);
            taken += 1;
        }
        taken
    }

    /// `at.cpu` would idle.
    pub(super) fn balance_new_idle(&mut self, at: At) {
        for level in 0..self.domains.of[at.cpu].len() {
            let cpus = std::mem::take(&mut self.domains.of[at.cpu][level].cpus);
            let taken = self.pull(at, &cpus, |more| usize::from(more > 1));
            self.domains.of[at.cpu][level].cpus = cpus;
            if taken > 0 {
                return;
            }
        }
    }

    /// A tick on `at.cpu`, which is busy.
    pub(super) fn balance_busy(&mut self, at: At) {
        for level in 0..self.domains.of[at.cpu].len() {
            let domain = &self.domains.of[at.cpu][level];
            let ms_ns = domain.cpus.len() as u64 * MS_NS;
            let since_ns = at.now_ns - self.queues[at.cpu].balanced_ns[level];
            if level == 0 {
                if since_ns >= BALANCE_NS {
                    self.queues[at.cpu].balanced_ns[0] = at.now_ns;
                    let cpus = domain.cpus.clone();
                    self.pull(at, &cpus, |more| more / 2);
                }
            } else if since_ns >= ms_ns && self.push_to_idle(at, level) {
                self.queues[at.cpu].balanced_ns[level] = at.now_ns;
            } else if since_ns >= BUSY_FACTOR * ms_ns {
                self.queues[at.cpu].balanced_ns[level] = at.now_ns;
                self.balance_groups(at, level);
            }
        }
    }

    /// nohz_balancer_kick(): an idle CPU of that domain takes a task that waits on `at.cpu`.
    fn push_to_idle(&mut self, at: At, level: usize) -> bool {
        if self.queues[at.cpu].waiting.is_empty() {
            return false;
        }
        let cpus = &self.domains.of[at.cpu][level].cpus;
        let Some(idle) = cpus.iter().copied().find(|&cpu| self.is_idle(cpu)) else {
            return false;
        };
        let there = At { cpu: idle, ..at };
        let taken = self.pull(there, &[at.cpu], |more| usize::from(more > 1));
        if taken > 0 {
            self.queues[idle].charged_ns = at.now_ns;
            self.kicks.push_back(idle);
        }
        taken > 0
    }

    /// The first CPU of a group takes tasks from the busiest other group.
    fn balance_groups(&mut self, at: At, level: usize) {
        let Domain { groups, local, .. } = self.domains.of[at.cpu][level].clone();
        let here = &groups[local];
        if here[0] != at.cpu {
            return;
        }
        let load = |group: &Vec<usize>| -> f64 {
            let tasks = group.iter().flat_map(|&cpu| self.all(cpu));
            tasks.map(|task| self.tasks[task].load.at(at.now_ns)).sum()
        };
        let rank = |group: &Vec<usize>| load(group) / group.len() as f64;
        let Some(busiest) = groups.iter().max_by(|a, b| rank(a).total_cmp(&rank(b))) else {
            return;
        };
        if rank(busiest) <= rank(here) * IMBALANCE {
            return;
        }
        let part = busiest.len() as f64 / (here.len() + busiest.len()) as f64;
        let surplus = load(busiest) - (load(here) + load(busiest)) * part;
        let busiest = busiest.clone();
        let taken = self.pull(at, &busiest, |_| surplus.round() as usize);
        let failed = &mut self.queues[at.cpu].failed;
        *failed = if taken == 0 { *failed + 1 } else { 0 };
    }

    /// When `task`, which has its CPU for itself, is to be looked at.
    pub(super) fn numa_due_ns(&self, task: TaskId) -> Option<u64> {
        let task = &self.tasks[task];
        let here = self.topology.node_of(task.cpu);
        let elsewhere = task.numa.node.is_some_and(|node| node != here);
        elsewhere.then_some(task.numa.due_ns)
    }

    /// A tick on `at.cpu`: those of its tasks that are due.
    pub(super) fn balance_numa(&mut self, at: At) {
        let here = self.topology.node_of(at.cpu);
        let due = |&task: &TaskId| {
            let numa = &self.tasks[task].numa;
            numa.node.is_some_and(|node| node != here) && numa.due_ns <= at.now_ns
        };
        let tasks: Vec<TaskId> = self.all(at.cpu).filter(due).collect();
        for task in tasks {
            self.tasks[task].numa.due_ns = at.now_ns + NUMA_NS;
            let node = self.tasks[task].numa.node.expect("it is elsewhere");
            self.migrate_numa(at, task, node);
        }
    }

    /// task_numa_migrate()
    fn migrate_numa(&mut self, at: At, task: TaskId, node: usize) {
        let cpus = self.topology.nodes()[node].clone();
        let Some(&idlest) = cpus.iter().min_by_key(|&&cpu| self.length(cpu)) else {
            return;
        };
        if self.length(idlest) < self.length(at.cpu) {
            return self.send(at, task, at.cpu, idlest);
        }
        let here = self.topology.node_of(at.cpu);
        // Best one that gains, else one that does not care.
        let rank = |task: TaskId| match self.tasks[task].numa.node {
            Some(wanted) if wanted == here => 0,
            None => 1,
            Some(wanted) if wanted != node => 2,
            Some(_) => 3,
        };
        let others = cpus
            .iter()
            .flat_map(|&cpu| self.all(cpu).map(move |task| (cpu, task)));
        let best = others.min_by_key(|&(_, task)| rank(task));
        let Some((cpu, other)) = best.filter(|&(_, task)| rank(task) < 3) else {
            return;
        };
        self.send(at, task, at.cpu, cpu);
        self.send(at, other, cpu, at.cpu);
    }

    /// `task` goes from the queue of `from` to that of `to`; at the next switch, if it runs.
    fn send(&mut self, at: At, task: TaskId, from: usize, to: usize) {
        if self.queues[from].current == Some(task) {
            self.queues[from].expelled_to = Some(to);
            self.kicks.push_back(from);
            return;
        }
        self.charge(At { cpu: from, ..at });
        self.charge(At { cpu: to, ..at });
        self.leave(task, from);
        self.place(task, to);
        if self.queues[to].current.is_none() {
            self.kicks.push_back(to);
        }
    }

    /// The task that runs on `cpu` leaves, if it is to.
    pub(super) fn expel(&mut self, cpu: usize) {
        let to = self.queues[cpu].expelled_to.take();
        let (Some(to), Some(task)) = (to, self.queues[cpu].current) else {
            return;
        };
        self.leave(task, cpu);
        self.queues[cpu].current = None;
        self.queues[cpu].protected = false;
        self.place(task, to);
        if self.queues[to].current.is_none() {
            self.kicks.push_back(to);
        }
    }
}
