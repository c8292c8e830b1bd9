// SPDX-License-Identifier: GPL-2.0-only
//! A model of the kernel's own scheduler, only to see whether the simulator puts
//! schedulers into the order in which the rig does.
//!
//! Each CPU has a queue and an average virtual time V. Of those that are not ahead of
//! V the one with the earliest deadline runs, and is left alone for a slice. Who sleeps
//! takes its lag along. A directed yield makes its target the next of the target's own
//! queue, if it is not ahead of V, and costs the yielder the rest of its slice. It moves
//! no task from one queue to another. An idle CPU takes a task from the longest
//! queue, and a busy one half of what another has more, now and then.
//!
//! No groups, no caches, no nice levels beyond weight, and O(n) in a queue.

use std::collections::VecDeque;

use crate::scheduler::{At, Joins, Scheduler, TaskId};

/// The kernel's base slice on two to four CPUs.
const SLICE_NS: i64 = 1_400_000;
const BALANCE_NS: u64 = 16_000_000;

struct Entity {
    weight: i64,
    cpu: usize,
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
    balanced_ns: u64,
}

pub struct Eevdf {
    queues: Vec<Queue>,
    tasks: Vec<Entity>,
    kicks: VecDeque<usize>,
    slice_changes: Vec<usize>,
}

impl Eevdf {
    pub fn new(nr_cpus: usize) -> Self {
        Self {
            queues: (0..nr_cpus).map(|_| Queue::default()).collect(),
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
        SLICE_NS * 100 / self.tasks[task].weight
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

    /// Takes `count` tasks from the longest queue.
    fn pull(&mut self, cpu: usize, count: impl Fn(usize) -> usize) {
        let longest = (0..self.queues.len()).max_by_key(|&other| (self.length(other), other));
        let Some(from) = longest.filter(|&from| from != cpu) else {
            return;
        };
        let more = self.length(from).saturating_sub(self.length(cpu));
        for _ in 0..count(more) {
            let Some(&task) = self.queues[from].waiting.first() else {
                return;
            };
            self.leave(task, from);
            self.place(task, cpu);
        }
    }
}

impl Scheduler for Eevdf {
    fn join(&mut self, at: At, _task: TaskId, who: &Joins) {
        self.tasks.push(Entity {
            weight: who.weight.into(),
            cpu: at.cpu,
            vruntime: 0,
            deadline: 0,
            lag: 0,
        });
    }

    fn wake(&mut self, at: At, task: TaskId) {
        let prev = self.tasks[task].cpu;
        let idle = |&cpu: &usize| self.length(cpu) == 0;
        let cpu = Some(prev)
            .filter(idle)
            .or_else(|| (0..self.queues.len()).find(idle))
            .unwrap_or(prev);
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
            self.queues[cpu].current = None;
            self.queues[cpu].protected = false;
        }
        if self.length(cpu) == 0 {
            self.pull(cpu, |more| usize::from(more > 1));
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
        (!queue.waiting.is_empty()).then(|| queue.charged_ns + left_ns.max(0) as u64)
    }

    fn tick(&mut self, at: At) -> bool {
        self.charge(at);
        let queue = &mut self.queues[at.cpu];
        if at.now_ns - queue.balanced_ns >= BALANCE_NS {
            queue.balanced_ns = at.now_ns;
            self.pull(at.cpu, |more| more / 2);
        }
        !self.queues[at.cpu].protected
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
