// SPDX-License-Identifier: GPL-2.0-only
//! The simulated host: CPUs, their ticks, the tasks on them, and the order of events.
//!
//! One event after the other, by time and then by number, so that a run depends on
//! nothing but its description and its seed. What tasks do when they have a CPU is
//! told in `guest.rs` (loads) and `kvm.rs` (pause exits).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::scheduler::{Alarm, At, Joins, Scheduler, TaskId};
use crate::vm::{Doing, Spin, Totals, Vcpu, Vm};

/// What things cost on the host, in ns.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// Distance of a CPU's ticks, at which slices are found to be over.
    pub tick_ns: u64,
    /// A context switch.
    pub switch_ns: u64,
    /// From a kick to the other CPU's schedule().
    pub kick_ns: u64,
    /// From sending an IPI until it is there.
    pub ipi_ns: u64,
    /// A guest's handler of an IPI.
    pub handler_ns: u64,
    /// Spinning that ends in a pause exit.
    pub pause_ns: u64,
    /// A pause exit.
    pub exit_ns: u64,
}

impl Default for Costs {
    /// A server of today; pause-loop exits after some 10 µs.
    fn default() -> Self {
        Self {
            tick_ns: 4_000_000,
            switch_ns: 2_000,
            kick_ns: 1_000,
            ipi_ns: 1_000,
            handler_ns: 1_000,
            pause_ns: 10_000,
            exit_ns: 2_000,
        }
    }
}

impl Costs {
    /// A host under software emulation: every PAUSE is an exit, and whatever leaves the
    /// guest costs some ten times as much beside the guest's own code.
    pub fn emulated() -> Self {
        Self {
            switch_ns: 10_000,
            kick_ns: 5_000,
            ipi_ns: 5_000,
            handler_ns: 5_000,
            pause_ns: 200,
            exit_ns: 20_000,
            ..Self::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// What runs on a CPU has come to the end of a step.
    Step { cpu: u32, turn: u32 },
    /// A slice is over at this tick.
    Tick { cpu: u32, turn: u32 },
    /// A CPU schedules.
    Schedule { cpu: u32 },
    /// Who runs on a CPU goes to sleep.
    Block { cpu: u32, turn: u32 },
    /// An IPI arrives; `answer`: the sender waits for it to be handled.
    Ipi { to: u32, from: u32, answer: bool },
    /// A guest's timer.
    Timer { task: u32 },
    /// A task becomes runnable.
    Wake { task: u32 },
    /// A timer of the scheduler's fires.
    Alarm(Alarm),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Asleep,
    Ready,
    Running(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `overhead_ns` has to pass first.
    Overhead,
    Compute,
    Pause,
}

pub struct Task {
    pub joins: Joins,
    pub state: State,
    pub doing: Doing,
    pub step: Step,
    pub step_start_ns: u64,
    pub overhead_ns: u64,
    /// Since when it has been ready or running.
    pub since_ns: u64,
    pub cpu_ns: u64,
    /// Longest time that it was ready without a CPU.
    pub waited_ns: u64,
    pub guest: Vcpu,
    pub spin: Spin,
}

#[derive(Clone, Copy, Default)]
pub struct Cpu {
    pub current: Option<TaskId>,
    /// Counts what makes earlier steps or ticks of it void.
    step_turn: u32,
    tick_turn: u32,
    tick_at_ns: u64,
    /// CPUs do not tick together.
    tick_phase_ns: u64,
    schedules: bool,
    /// Interrupts so far: ticks at which a slice is over, timers, and kicks of other CPUs.
    pub interrupts: u64,
}

pub struct Machine<S> {
    pub scheduler: S,
    pub costs: Costs,
    pub now_ns: u64,
    pub tasks: Vec<Task>,
    pub vms: Vec<Vm>,
    pub cpus: Vec<Cpu>,
    pub random: fastrand::Rng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbered: u64,
    /// Events since time went on.
    at_once: u64,
    /// Events handled, and calls of schedule(), so far.
    pub handled: u64,
    pub schedules: u64,
    pub kvm: Totals,
    /// Whether to find out how long the scheduler takes in schedule(), and how long
    /// that was so far.
    pub timed: bool,
    pub switch_time: Duration,
}

impl<S: Scheduler> Machine<S> {
    pub fn new(nr_cpus: usize, scheduler: S, costs: Costs, seed: u64) -> Self {
        let mut machine = Self {
            scheduler,
            costs,
            now_ns: 0,
            tasks: Vec::new(),
            vms: Vec::new(),
            cpus: vec![Cpu::default(); nr_cpus],
            random: fastrand::Rng::with_seed(seed),
            events: BinaryHeap::new(),
            numbered: 0,
            at_once: 0,
            handled: 0,
            schedules: 0,
            kvm: Default::default(),
            timed: false,
            switch_time: Duration::ZERO,
        };
        for cpu in &mut machine.cpus {
            cpu.tick_phase_ns = machine.random.u64(0..machine.costs.tick_ns);
        }
        if machine.scheduler.user_thread().is_some() {
            let joins = Joins {
                vcpu: None,
                weight: 100,
                vm_weight: 100,
                cpus: Vec::new(),
            };
            machine.add_task(joins, Doing::Round(0), 0);
        }
        machine
    }

    /// A task that is runnable from `start_ns` on.
    pub fn add_task(&mut self, joins: Joins, doing: Doing, start_ns: u64) -> TaskId {
        let task = self.tasks.len();
        let at = At {
            now_ns: self.now_ns,
            cpu: task % self.cpus.len(),
        };
        self.scheduler.join(at, task, &joins);
        self.tasks.push(Task {
            joins,
            state: State::Asleep,
            doing,
            step: Step::Overhead,
            step_start_ns: 0,
            overhead_ns: 0,
            since_ns: 0,
            cpu_ns: 0,
            waited_ns: 0,
            guest: Default::default(),
            spin: Default::default(),
        });
        self.after_ns(start_ns, Event::Wake { task: task as u32 });
        task
    }

    pub fn after_ns(&mut self, ns: u64, event: Event) {
        self.numbered += 1;
        self.events
            .push(Reverse((self.now_ns + ns, self.numbered, event)));
    }

    pub fn run_for(&mut self, ns: u64) {
        let end_ns = self.now_ns + ns;
        while let Some(&Reverse((at_ns, _, event))) = self.events.peek() {
            if at_ns > end_ns {
                break;
            }
            self.events.pop();
            if at_ns > self.now_ns {
                self.now_ns = at_ns;
                self.at_once = 0;
            }
            self.at_once += 1;
            assert!(self.at_once < 1_000_000, "time stands still at {event:?}");
            self.handled += 1;
            self.handle(event);
        }
        self.now_ns = end_ns;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Step { cpu, turn } => {
                if self.cpus[cpu as usize].step_turn == turn {
                    self.step_ends(cpu as usize);
                }
            }
            Event::Tick { cpu, turn } => {
                let at = self.at(cpu as usize);
                if self.cpus[at.cpu].tick_turn == turn {
                    self.cpus[at.cpu].tick_at_ns = 0;
                    self.cpus[at.cpu].interrupts += 1;
                    if self.scheduler.tick(at) {
                        self.schedule(at.cpu, false);
                    } else {
                        self.set_tick(at.cpu);
                    }
                }
            }
            Event::Schedule { cpu } => {
                self.cpus[cpu as usize].schedules = false;
                self.schedule(cpu as usize, false);
            }
            Event::Block { cpu, turn } => {
                if self.cpus[cpu as usize].step_turn == turn {
                    self.block(cpu as usize);
                }
            }
            Event::Ipi { to, from, answer } => self.ipi_arrives(to as usize, from as usize, answer),
            Event::Timer { task } => self.timer(task as usize),
            Event::Wake { task } => self.wake(task as usize, 0),
            Event::Alarm(alarm) => {
                self.cpus[alarm.cpu as usize].interrupts += 1;
                self.scheduler.fire(alarm, self.now_ns);
                self.after_scheduler(alarm.cpu as usize);
            }
        }
    }

    pub fn at(&self, cpu: usize) -> At {
        At {
            now_ns: self.now_ns,
            cpu,
        }
    }

    /// `task` sleeps no more; `cpu` is where that was found.
    pub fn wake(&mut self, task: TaskId, cpu: usize) {
        if self.tasks[task].state != State::Asleep {
            return;
        }
        self.tasks[task].state = State::Ready;
        self.tasks[task].since_ns = self.now_ns;
        self.scheduler.wake(self.at(cpu), task);
        self.after_scheduler(cpu);
    }

    /// Does what the scheduler's kicks ask for, starts its timers, and follows a change of
    /// `cpu`'s slice.
    pub fn after_scheduler(&mut self, cpu: usize) {
        while let Some((ns, alarm)) = self.scheduler.next_timer() {
            self.after_ns(ns, Event::Alarm(alarm));
        }
        while let Some(kicked) = self.scheduler.next_kick() {
            if !std::mem::replace(&mut self.cpus[kicked].schedules, true) {
                let ns = if kicked == cpu { 0 } else { self.costs.kick_ns };
                self.cpus[kicked].interrupts += u64::from(kicked != cpu);
                self.after_ns(ns, Event::Schedule { cpu: kicked as u32 });
            }
        }
        while let Some(changed) = self.scheduler.next_slice_change() {
            self.set_tick(changed);
        }
        self.set_tick(cpu);
    }

    /// Looks at `cpu` again at the tick after the slice.
    fn set_tick(&mut self, cpu: usize) {
        let Some(end_ns) = self.scheduler.slice_end_ns(cpu) else {
            return;
        };
        let tick_ns = self.costs.tick_ns;
        let this = &mut self.cpus[cpu];
        let least_ns = end_ns.max(self.now_ns + 1);
        let at_ns = (least_ns + tick_ns - this.tick_phase_ns).next_multiple_of(tick_ns)
            + this.tick_phase_ns
            - tick_ns;
        if this.tick_at_ns == at_ns {
            return;
        }
        this.tick_at_ns = at_ns;
        this.tick_turn += 1;
        let turn = this.tick_turn;
        let cpu = cpu as u32;
        self.after_ns(at_ns - self.now_ns, Event::Tick { cpu, turn });
    }

    /// schedule() on `cpu`; the task that runs there goes to sleep if `sleeps`.
    pub fn schedule(&mut self, cpu: usize, sleeps: bool) {
        self.schedules += 1;
        let prev = self.cpus[cpu].current;
        self.pause_step(cpu);
        if let Some(prev) = prev {
            let task = &mut self.tasks[prev];
            task.cpu_ns += self.now_ns - task.since_ns;
            task.since_ns = self.now_ns;
        }
        let started = self.timed.then(Instant::now);
        let next = self.scheduler.switch(self.at(cpu), sleeps);
        self.switch_time += started.map_or(Duration::ZERO, |started| started.elapsed());
        self.cpus[cpu].current = next;
        if next != prev {
            if let Some(prev) = prev {
                self.tasks[prev].state = match sleeps {
                    true => State::Asleep,
                    false => State::Ready,
                };
            }
            if let Some(next) = next {
                let task = &mut self.tasks[next];
                task.waited_ns = task.waited_ns.max(self.now_ns - task.since_ns);
                task.since_ns = self.now_ns;
                task.state = State::Running(cpu);
                task.overhead_ns += self.costs.switch_ns;
            }
        }
        self.after_scheduler(cpu);
        if next.is_some() {
            self.begin_step(cpu);
        }
    }

    /// The running step ends before its time.
    pub fn pause_step(&mut self, cpu: usize) {
        self.cpus[cpu].step_turn += 1;
        let Some(current) = self.cpus[cpu].current else {
            return;
        };
        let task = &mut self.tasks[current];
        let ran_ns = self.now_ns - task.step_start_ns;
        match (task.step, &mut task.doing) {
            (Step::Overhead, _) => task.overhead_ns = task.overhead_ns.saturating_sub(ran_ns),
            (Step::Compute, Doing::Compute(left_ns) | Doing::Round(left_ns)) => {
                *left_ns = left_ns.saturating_sub(ran_ns).max(1);
            }
            _ => {}
        }
        task.step_start_ns = self.now_ns;
    }

    /// `step` takes `ns` from now on.
    pub fn set_step(&mut self, cpu: usize, step: Step, ns: u64) {
        let current = self.cpus[cpu].current.expect("a task runs");
        let task = &mut self.tasks[current];
        task.step = step;
        task.step_start_ns = self.now_ns;
        let turn = self.cpus[cpu].step_turn;
        let cpu = cpu as u32;
        self.after_ns(ns, Event::Step { cpu, turn });
    }

    /// Who runs on `cpu` goes to sleep as soon as nothing else happens.
    pub fn set_block(&mut self, cpu: usize) {
        let turn = self.cpus[cpu].step_turn;
        let cpu = cpu as u32;
        self.after_ns(0, Event::Block { cpu, turn });
    }

    /// CPU time of `task` up to now.
    pub fn cpu_ns(&self, task: TaskId) -> u64 {
        let task = &self.tasks[task];
        match task.state {
            State::Running(_) => task.cpu_ns + self.now_ns - task.since_ns,
            _ => task.cpu_ns,
        }
    }
}
