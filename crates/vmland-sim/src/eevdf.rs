// SPDX-License-Identifier: GPL-2.0-only
//! A model of the kernel's own scheduler, only to see whether the simulator puts
//! schedulers into the order in which the rig does.
//!
//! Each CPU has a queue and an average virtual time V. Of those that are eligible (vruntime not
//! above V) the one with the earliest deadline runs, and is left alone for a slice. Who sleeps
//! takes its lag along. A directed yield makes its target the next of the target's own
//! queue, if it is eligible, and costs the yielder the rest of its slice. It moves
//! no task from one queue to another. An idle CPU takes a task from the longest
//! queue, and a busy one half of what another has more, now and then. On hosts of several LLCs
//! and nodes, `balance.rs` has the domains and NUMA balancing.
//!
//! No groups, no nice levels beyond weight, and O(n) in a queue.

mod balance;

use std::collections::VecDeque;

use crate::scheduler::{At, Joins, Scheduler, TaskId};
use crate::topology::Topology;
use balance::{Domains, Load, Numa};

/// The kernel's base slice on two CPUs, which stands for all hosts of one LLC here.
const SLICE_NS: i64 = 1_400_000;
/// How often a busy CPU looks at the others of its LLC.
const BALANCE_NS: u64 = 16_000_000;

struct Entity {
    weight: i64,
    cpu: usize,
    /// It has been given a CPU by its first wake-up.
    placed: bool,
    /// When it ran last.
    ran_ns: u64,
    load: Load,
    numa: Numa,
    vruntime: i64,
    deadline: i64,
    lag: i64,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<TaskId>,
    current: Option<TaskId>,
    /// Left alone until it has had a slice.
    protected: bool,
    next_buddy: Option<TaskId>,
    charged_ns: u64,
    /// By domain.
    balanced_ns: [u64; 3],
    /// So often has it taken no task of a busier group.
    failed: u32,
    /// The running task is to go to that CPU.
    expelled_to: Option<usize>,
}

pub struct Eevdf {
    topology: Topology,
    domains: Domains,
    slice_ns: i64,
    queues: Vec<Queue>,
    tasks: Vec<Entity>,
    kicks: VecDeque<usize>,
    slice_changes: Vec<usize>,
}

impl Eevdf {
    pub fn new(topology: impl Into<Topology>) -> Self {
        let topology = topology.into();
        Self {
            domains: Domains::new(&topology),
            slice_ns: balance::slice_ns(&topology),
            queues: (0..topology.nr_cpus()).map(|_| Queue::default()).collect(),
            topology,
            tasks: Vec::new(),
            kicks: VecDeque::new(),
            slice_changes: Vec::new(),
        }
    }

    fn all(&self, cpu: usize) -> impl Iterator<Item = TaskId> {
        let queue = &self.queues[cpu];
        queue.waiting.iter().copied().chain(queue.current)
    }

    /// V: the weighted mean of the virtual times.
    fn mean(&self, cpu: usize) -> i64 {
        let (mut sum, mut weight) = (0_i128, 0_i128);
        for task in self.all(cpu) {
            let task = &self.tasks[task];
            sum += i128::from(task.vruntime) * i128::from(task.weight);
            weight += i128::from(task.weight);
        }
        sum.checked_div(weight).unwrap_or(0) as i64
    }

    fn vslice(&self, task: TaskId) -> i64 {
        self.slice_ns * 100 / self.tasks[task].weight
    }

    fn charge(&mut self, at: At) {
        let queue = &mut self.queues[at.cpu];
        let ran_ns = at.now_ns - queue.charged_ns;
        queue.charged_ns = at.now_ns;
        let Some(current) = queue.current else {
            return;
        };
        let vslice = self.vslice(current);
        let task = &mut self.tasks[current];
        task.ran_ns = at.now_ns;
        task.vruntime += ran_ns as i64 * 100 / task.weight;
        if task.vruntime >= task.deadline {
            task.deadline = task.vruntime + vslice;
            self.queues[at.cpu].protected = false;
        }
    }

    /// Puts `task` into the queue of `cpu`, with the lag that it has.
    fn place(&mut self, task: TaskId, cpu: usize) {
        let bound = 2 * self.vslice(task);
        let lag = self.tasks[task].lag.clamp(-bound, bound);
        let vruntime = self.mean(cpu) - lag;
        let deadline = vruntime + self.vslice(task);
        let entity = &mut self.tasks[task];
        entity.vruntime = vruntime;
        entity.deadline = deadline;
        entity.cpu = cpu;
        self.queues[cpu].waiting.push(task);
        self.slice_changes.push(cpu);
    }

    fn leave(&mut self, task: TaskId, cpu: usize) {
        self.tasks[task].lag = self.mean(cpu) - self.tasks[task].vruntime;
        let queue = &mut self.queues[cpu];
        queue.waiting.retain(|&other| other != task);
        if queue.next_buddy == Some(task) {
            queue.next_buddy = None;
        }
    }

    fn best(&self, cpu: usize) -> Option<TaskId> {
        let queue = &self.queues[cpu];
        let mean = self.mean(cpu);
        let eligible = |&task: &TaskId| self.tasks[task].vruntime <= mean;
        if queue.protected {
            return queue.current;
        }
        queue
            .next_buddy
            .filter(eligible)
            .or_else(|| {
                self.all(cpu)
                    .filter(eligible)
                    .min_by_key(|&task| self.tasks[task].deadline)
            })
            .or_else(|| self.all(cpu).min_by_key(|&task| self.tasks[task].vruntime))
    }

    fn length(&self, cpu: usize) -> usize {
        self.all(cpu).count()
    }
}

impl Scheduler for Eevdf {
    fn join(&mut self, at: At, _task: TaskId, who: &Joins) {
        self.tasks.push(Entity {
            weight: who.weight.into(),
            cpu: at.cpu,
            placed: false,
            ran_ns: 0,
            load: Load::new(),
            numa: Numa::new(self.tasks.len()),
            vruntime: 0,
            deadline: 0,
            lag: 0,
        });
    }

    fn wake(&mut self, at: At, task: TaskId) {
        let cpu = self.select_cpu(at.cpu, task);
        self.tasks[task].load.becomes(true, at.now_ns);
        self.charge(At { cpu, ..at });
        self.place(task, cpu);
        if self.queues[cpu].current.is_none() || self.best(cpu) == Some(task) {
            self.kicks.push_back(cpu);
        }
    }

    fn switch(&mut self, at: At, sleeps: bool) -> Option<TaskId> {
        let cpu = at.cpu;
        self.charge(at);
        if sleeps {
            let current = self.queues[cpu].current.expect("it sleeps");
            self.leave(current, cpu);
            self.tasks[current].load.becomes(false, at.now_ns);
            self.queues[cpu].current = None;
            self.queues[cpu].protected = false;
        }
        self.expel(cpu);
        if self.length(cpu) == 0 {
            self.balance_new_idle(at);
        }
        let next = self.best(cpu);
        let queue = &mut self.queues[cpu];
        let prev = queue.current;
        if next == prev {
            return next;
        }
        queue.waiting.extend(prev);
        queue.waiting.retain(|&task| Some(task) != next);
        queue.next_buddy = queue.next_buddy.filter(|&buddy| Some(buddy) != next);
        queue.current = next;
        queue.protected = next.is_some();
        next
    }

    fn slice_end_ns(&self, cpu: usize) -> Option<u64> {
        let queue = &self.queues[cpu];
        let task = &self.tasks[queue.current?];
        let left_ns = (task.deadline - task.vruntime) * task.weight / 100;
        match queue.waiting.is_empty() {
            false => Some(queue.charged_ns + left_ns.max(0) as u64),
            true => self.numa_due_ns(queue.current?),
        }
    }

    fn tick(&mut self, at: At) -> bool {
        self.charge(at);
        self.balance_busy(at);
        self.balance_numa(at);
        let queue = &self.queues[at.cpu];
        !queue.protected || queue.expelled_to.is_some()
    }

    fn yields(&mut self, at: At, from: TaskId, to: Option<TaskId>) -> bool {
        self.charge(at);
        if let Some(to) = to {
            let there = self.tasks[to].cpu;
            self.queues[there].next_buddy = Some(to);
            if there != at.cpu {
                self.kicks.push_back(there);
            }
        }
        let mean = self.mean(at.cpu);
        let vslice = self.vslice(from);
        let task = &mut self.tasks[from];
        if task.vruntime <= mean {
            task.vruntime = task.vruntime.max(task.deadline);
        }
        task.deadline += vslice;
        self.queues[at.cpu].protected = false;
        true
    }

    fn memory(&mut self, task: TaskId, node: usize) {
        self.tasks[task].numa.node = Some(node);
    }

    fn nr_running(&self, cpu: usize) -> u32 {
        self.length(cpu) as u32
    }

    fn cpu_of(&self, task: TaskId) -> usize {
        self.tasks[task].cpu
    }

    fn next_kick(&mut self) -> Option<usize> {
        self.kicks.pop_front()
    }

    fn next_slice_change(&mut self) -> Option<usize> {
        self.slice_changes.pop()
    }
}
