// SPDX-License-Identifier: GPL-2.0-only
//! Guests: loads made of a few primitives, as `crates/vmland-guests/load.c` has them.
//!
//! A vCPU computes, spins until something holds, or sleeps until a message comes.
//! Whatever it does it answers IPIs first, when it is on a CPU.

use std::collections::VecDeque;

use crate::machine::{Event, Machine, State, Step};
use crate::scheduler::{Joins, Scheduler, TaskId};
use crate::vm::{Doing, Load, Vm};

/// How long the sleeping lock is waited for by spinning, in ns (the kernel's
/// rwsem_rspin_threshold()).
const SPIN_NS: u64 = 25_000;

impl<S: Scheduler> Machine<S> {
    /// A VM of that many vCPUs, which start in its first millisecond.
    pub fn add_vm(&mut self, load: Load, vcpus: usize, weight: u32) -> usize {
        let vm = self.vms.len();
        self.vms.push(Vm {
            load,
            vcpus: Vec::new(),
            work: 0,
            memory: None,
            local_ns: 0,
            remote_ns: 0,
            late_ns: Vec::new(),
            last_boosted: 0,
            next_ticket: 0,
            serving: 0,
            waiting: VecDeque::new(),
            locked: false,
            arrived: 0,
            round: 0,
        });
        for id in 0..vcpus {
            let joins = Joins {
                vcpu: Some((vm, id)),
                weight: 100,
                vm_weight: weight,
                cpus: Vec::new(),
            };
            let start_ns = self.random.u64(0..1_000_000);
            let task = self.add_task(joins, Doing::Compute(1_000), start_ns);
            self.vms[vm].vcpus.push(task);
        }
        vm
    }

    /// A VM whose memory is on `node`.
    pub fn add_vm_on(&mut self, node: usize, load: Load, vcpus: usize, weight: u32) -> usize {
        let vm = self.add_vm(load, vcpus, weight);
        self.set_memory(self.vms[vm].vcpus[0], node);
        vm
    }

    /// A thread that is no vCPU, on these CPUs (none: on all). It computes, or sleeps and
    /// works for that long.
    pub fn add_thread(&mut self, cpus: &[usize], sleeps_works_ns: Option<(u64, u64)>) -> TaskId {
        let joins = Joins {
            vcpu: None,
            weight: 100,
            vm_weight: 100,
            cpus: cpus.to_vec(),
        };
        let task = self.add_task(joins, Doing::Compute(1_000), 0);
        self.tasks[task].guest.helper_ns = sleeps_works_ns;
        task
    }

    /// `ns`, a quarter more or less.
    fn about(&mut self, ns: u64) -> u64 {
        ns * 3 / 4 + self.random.u64(0..=ns / 2) + 1
    }

    /// What `task`, on `cpu`, does next, now that what it did is done.
    fn advance(&mut self, task: TaskId, cpu: usize) -> Doing {
        let Some((vm, id)) = self.tasks[task].joins.vcpu else {
            return self.advance_helper(task);
        };
        let phase = self.tasks[task].guest.phase;
        let (phase, doing) = match self.vms[vm].load {
            Load::Lock {
                held_ns,
                outside_ns,
            } => match phase {
                0 => self.lock(vm, task),
                1 => (2, Doing::Compute(self.about(held_ns))),
                _ => {
                    self.unlock(vm);
                    (0, Doing::Compute(self.about(outside_ns)))
                }
            },
            Load::Tlb {
                held_ns,
                outside_ns,
            } => match phase {
                0 | 1 | 4 => self.sleeping_lock(vm, task, held_ns),
                2 => {
                    for sibling in 0..self.vms[vm].vcpus.len() {
                        let sibling = self.vms[vm].vcpus[sibling];
                        // An idle CPU has no translations of the process to forget.
                        if sibling != task && self.tasks[sibling].doing != Doing::Sleep {
                            self.ask(task, cpu, sibling);
                        }
                    }
                    (3, Doing::Spin)
                }
                _ => {
                    self.sleeping_unlock(vm, task, cpu);
                    (0, Doing::Compute(self.about(outside_ns)))
                }
            },
            Load::Message { each_ns } => {
                let sends = id % 2 == 0;
                match phase {
                    0 if !sends => (1, Doing::Sleep),
                    0 | 1 => {
                        if sends && phase == 1 {
                            self.vms[vm].work += 1;
                        }
                        (2, Doing::Compute(self.about(each_ns)))
                    }
                    _ => {
                        let partner = self.vms[vm].vcpus.get(id ^ 1).copied();
                        if let Some(partner) = partner {
                            self.send(task, cpu, partner, false);
                        }
                        (1, Doing::Sleep)
                    }
                }
            }
            Load::Barrier { between_ns } => match phase {
                0 => (1, Doing::Compute(self.about(between_ns))),
                1 => self.arrive(vm, task),
                _ => (1, Doing::Compute(self.about(between_ns))),
            },
            Load::Cpu { chunk_ns } => {
                self.vms[vm].work += phase as u64;
                (1, Doing::Compute(self.about(chunk_ns)))
            }
            Load::Latency { period_ns, each_ns } => match phase {
                1 => {
                    let late_ns = self.now_ns - self.tasks[task].guest.due_ns;
                    self.vms[vm].late_ns.push(late_ns);
                    self.vms[vm].work += 1;
                    (0, Doing::Compute(self.about(each_ns)))
                }
                _ => {
                    let left_ns = period_ns - self.now_ns % period_ns;
                    self.tasks[task].guest.due_ns = self.now_ns + left_ns;
                    self.after_ns(left_ns, Event::Timer { task: task as u32 });
                    (1, Doing::Sleep)
                }
            },
            Load::YieldStorm => (1, Doing::Spin),
            Load::IpiStorm => {
                let vcpus = &self.vms[vm].vcpus;
                let next = vcpus[(id + 1) % vcpus.len()];
                if phase == 1 && next != task {
                    self.ask(task, cpu, next);
                    self.tasks[task].guest.answers_due = 0;
                }
                (1, Doing::Compute(self.about(5_000)))
            }
        };
        self.tasks[task].guest.phase = phase;
        doing
    }

    fn advance_helper(&mut self, task: TaskId) -> Doing {
        let guest = &mut self.tasks[task].guest;
        let Some((period_ns, each_ns)) = guest.helper_ns else {
            return Doing::Compute(1_000_000);
        };
        guest.phase ^= 1;
        if guest.phase == 1 {
            return Doing::Compute(self.about(each_ns));
        }
        let ns = self.random.u64(0..=2 * period_ns);
        self.after_ns(ns, Event::Timer { task: task as u32 });
        Doing::Sleep
    }

    /// May `task`, which spins, go on?
    fn may_pass(&self, task: TaskId) -> bool {
        let guest = &self.tasks[task].guest;
        let Some((vm, _)) = self.tasks[task].joins.vcpu else {
            return true;
        };
        let vm = &self.vms[vm];
        match vm.load {
            Load::Tlb { .. } if guest.phase == 3 => guest.answers_due == 0,
            Load::Tlb { .. } => !vm.locked || self.now_ns >= guest.due_ns,
            Load::Lock { .. } => guest.ticket == vm.serving,
            Load::Barrier { .. } => guest.ticket != vm.round,
            _ => false,
        }
    }

    fn lock(&mut self, vm: usize, task: TaskId) -> (u8, Doing) {
        let vm = &mut self.vms[vm];
        self.tasks[task].guest.ticket = vm.next_ticket;
        vm.next_ticket += 1;
        vm.waiting.push_back(task);
        (1, Doing::Spin)
    }

    fn unlock(&mut self, vm: usize) {
        let vm = &mut self.vms[vm];
        vm.work += 1;
        vm.serving += 1;
        vm.waiting.pop_front();
        if let Some(&next) = vm.waiting.front() {
            self.look_again(next);
        }
    }

    /// A lock like the kernel's mmap_lock: who does not get it spins for a while, then
    /// sleeps; who comes when it is free takes it. Phases 0: comes; 1: has spun; 4: has
    /// slept.
    fn sleeping_lock(&mut self, vm: usize, task: TaskId, held_ns: u64) -> (u8, Doing) {
        let guest = &mut self.tasks[task].guest;
        guest.in_kernel = true;
        if !std::mem::replace(&mut self.vms[vm].locked, true) {
            return (2, Doing::Compute(self.about(held_ns)));
        }
        if guest.phase == 1 {
            self.vms[vm].waiting.push_back(task);
            return (4, Doing::Sleep);
        }
        guest.due_ns = self.now_ns + SPIN_NS;
        (1, Doing::Spin)
    }

    fn sleeping_unlock(&mut self, vm: usize, task: TaskId, cpu: usize) {
        self.tasks[task].guest.in_kernel = false;
        self.vms[vm].work += 1;
        self.vms[vm].locked = false;
        if let Some(sleeper) = self.vms[vm].waiting.pop_front() {
            self.send(task, cpu, sleeper, false);
        }
        for sibling in 0..self.vms[vm].vcpus.len() {
            let sibling = self.vms[vm].vcpus[sibling];
            if sibling != task {
                self.look_again(sibling);
            }
        }
    }

    fn arrive(&mut self, vm: usize, task: TaskId) -> (u8, Doing) {
        let this = &mut self.vms[vm];
        self.tasks[task].guest.ticket = this.round;
        this.arrived += 1;
        if this.arrived == this.vcpus.len() {
            this.arrived = 0;
            this.round += 1;
            this.work += 1;
            for sibling in 0..self.vms[vm].vcpus.len() {
                let sibling = self.vms[vm].vcpus[sibling];
                if sibling != task {
                    self.look_again(sibling);
                }
            }
        }
        (2, Doing::Spin)
    }

    /// An IPI that the sender waits to be answered.
    fn ask(&mut self, from: TaskId, cpu: usize, to: TaskId) {
        self.tasks[from].guest.answers_due += 1;
        self.send(from, cpu, to, true);
    }

    fn send(&mut self, from: TaskId, cpu: usize, to: TaskId, answer: bool) {
        self.tasks[from].overhead_ns += self.costs.exit_ns;
        self.scheduler.ipi(self.at(cpu), from, to);
        self.has_called_scheduler(from);
        let event = Event::Ipi {
            to: to as u32,
            from: from as u32,
            answer,
        };
        self.after_ns(self.costs.ipi_ns, event);
    }

    pub fn ipi_arrives(&mut self, to: TaskId, from: TaskId, answer: bool) {
        let guest = &mut self.tasks[to].guest;
        match answer {
            true if guest.irqs.contains(&from) => return,
            true => guest.irqs.push(from),
            false => guest.messages += 1,
        }
        match self.tasks[to].state {
            State::Running(cpu) => {
                self.pause_step(cpu);
                self.begin_step(cpu);
            }
            State::Asleep => {
                let cpu = self.scheduler.cpu_of(from);
                self.wake(to, cpu);
            }
            State::Ready => {}
        }
    }

    pub fn timer(&mut self, task: TaskId) {
        self.tasks[task].guest.messages += 1;
        let cpu = self.scheduler.cpu_of(task);
        self.wake(task, cpu);
    }

    /// What `task` waits for may have come to hold.
    fn look_again(&mut self, task: TaskId) {
        let State::Running(cpu) = self.tasks[task].state else {
            return;
        };
        if self.tasks[task].step == Step::Pause && self.may_pass(task) {
            self.pause_step(cpu);
            self.begin_step(cpu);
        }
    }

    /// Who runs on `cpu` goes on.
    pub fn begin_step(&mut self, cpu: usize) {
        let task = self.cpus[cpu].current.expect("a task runs");
        loop {
            let this = &mut self.tasks[task];
            if !this.guest.irqs.is_empty() {
                this.overhead_ns += this.guest.irqs.len() as u64 * self.costs.handler_ns;
                let mut irqs = std::mem::take(&mut this.guest.irqs);
                this.guest.handling.append(&mut irqs);
                this.guest.irqs = irqs;
            }
            if this.overhead_ns > 0 {
                let ns = this.overhead_ns;
                return self.set_step(cpu, Step::Overhead, ns);
            }
            if self.comes_from_exit(task, cpu) {
                continue;
            }
            match self.tasks[task].doing {
                Doing::Compute(ns) => return self.set_step(cpu, Step::Compute, ns),
                Doing::Round(0) => {
                    let round = self.scheduler.round_begins();
                    self.tasks[task].doing = Doing::Round(round.cost_ns.max(1));
                }
                Doing::Round(ns) => return self.set_step(cpu, Step::Compute, ns),
                Doing::Spin if self.may_pass(task) => {
                    self.tasks[task].doing = self.advance(task, cpu);
                }
                Doing::Spin => return self.set_step(cpu, Step::Pause, self.costs.pause_ns),
                Doing::Sleep if self.tasks[task].guest.messages > 0 => {
                    self.tasks[task].guest.messages -= 1;
                    self.tasks[task].doing = self.advance(task, cpu);
                }
                Doing::Sleep => {
                    self.tasks[task].step = Step::Pause;
                    return self.set_block(cpu);
                }
            }
        }
    }

    /// The task that runs on `cpu` has done its step.
    pub fn step_ends(&mut self, cpu: usize) {
        let task = self.cpus[cpu].current.expect("a task runs");
        match self.tasks[task].step {
            Step::Overhead => {
                self.tasks[task].overhead_ns = 0;
                while let Some(sender) = self.tasks[task].guest.handling.pop() {
                    let due = &mut self.tasks[sender].guest.answers_due;
                    *due = due.saturating_sub(1);
                    self.look_again(sender);
                }
            }
            Step::Compute => {
                if let Doing::Round(_) = self.tasks[task].doing {
                    return self.round_ends(task, cpu);
                }
                self.tasks[task].doing = self.advance(task, cpu);
            }
            Step::Pause => return self.pause_exit(task, cpu),
        }
        self.begin_step(cpu);
    }

    fn round_ends(&mut self, task: TaskId, cpu: usize) {
        self.tasks[task].doing = Doing::Round(0);
        self.tasks[task].step = Step::Pause;
        self.scheduler.round_ends();
        self.scheduler.yields(self.at(cpu), task, None);
        self.schedule(cpu, false);
    }

    /// Who runs on `cpu` has nothing to do, unless something has come meanwhile.
    pub fn block(&mut self, cpu: usize) {
        let task = self.cpus[cpu].current.expect("a task runs");
        let guest = &self.tasks[task].guest;
        if guest.messages > 0 || !guest.irqs.is_empty() {
            return self.begin_step(cpu);
        }
        self.schedule(cpu, true);
    }
}
