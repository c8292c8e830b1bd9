// SPDX-License-Identifier: GPL-2.0-only
//! The simulated host: CPUs, their ticks, the tasks on them, and the order of events.
//!
//! One event after the other, by time and then by number, so that a run depends on
//! nothing but its description and its seed. What tasks do when they have a CPU is
//! told in `guest.rs` (loads) and `kvm.rs` (pause exits).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::lock::LockCosts;
use crate::scheduler::{Alarm, At, Joins, Scheduler, TaskId};
use crate::topology::{Distance, Topology};
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
    /// A move to another LLC, whose caches are cold.
    pub llc_move_ns: u64,
    /// Computing takes so much longer while the memory is another node's, in thousandths.
    pub remote_permille: u64,
    /// Everything takes so much longer while the SMT sibling is busy, in thousandths.
    pub smt_permille: u64,
    /// A vCPU that begins to run on another CPU than before interrupts that one and waits for it
    /// (VMX, loaded_vmcs_clear()); 0: it does not.
    pub vmclear_ns: u64,
    /// Queue locks; None: they cost nothing.
    pub locks: Option<LockCosts>,
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
            llc_move_ns: 50_000,
            remote_permille: 1_300,
            smt_permille: 1_600,
            vmclear_ns: 0,
            locks: None,
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

    /// A large server: its queue locks cost something, too.
    pub fn large() -> Self {
        Self {
            locks: Some(LockCosts::SERVER),
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
    /// It is ready as it was woken, and not as it has left its CPU.
    pub woken: bool,
    pub cpu_ns: u64,
    /// Longest time that it was ready without a CPU.
    pub waited_ns: u64,
    /// Where it has run last.
    pub last_cpu: Option<usize>,
    pub moves: Moves,
    /// The node of its memory, if it is no vCPU; None: it has not run yet.
    pub memory: Option<usize>,
    pub guest: Vcpu,
    pub spin: Spin,
}

impl Task {
    /// It is no vCPU, and sleeps most of the time.
    pub fn is_helper(&self) -> bool {
        self.guest.helper_ns.is_some()
    }
}

/// How often a task has begun to run on another CPU, LLC and node than before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moves {
    pub cpu: u64,
    pub llc: u64,
    pub node: u64,
}

/// From becoming ready to running.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub task: TaskId,
    pub woken: bool,
    pub ns: u64,
}

/// What a CPU is to those that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Serves {
    #[default]
    Busy,
    /// It idles, but will schedule.
    Comes,
    Idles,
}

#[derive(Clone, Copy, Default)]
pub struct Cpu {
    pub current: Option<TaskId>,
    serves: Serves,
    /// Since when it has been idle or busy.
    pub since_ns: u64,
    /// How much longer its step takes than it would elsewhere, in thousandths.
    slow_permille: u64,
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
    pub topology: Topology,
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
    /// CPUs, by what they are to those that wait; tasks that wait and may use all CPUs; the others.
    serving: [u64; 3],
    waiting: u64,
    waiting_bound: Vec<TaskId>,
    /// CPU time for which a CPU has idled, and would not schedule, while a task waited that might
    /// have run there.
    pub idle_in_vain_ns: u64,
    /// CPU time that context switches and the scheduler's queue locks have taken.
    pub scheduling_ns: u64,
    /// Whether to find out how long the scheduler takes in schedule(), and how long
    /// that was so far.
    pub timed: bool,
    pub switch_time: Duration,
    /// Whether to keep each wait that has ended, and these.
    pub records_waits: bool,
    pub waits: Vec<Wait>,
}

impl<S: Scheduler> Machine<S> {
    /// A host with these CPUs; `scheduler` knows the same ones.
    pub fn new(topology: impl Into<Topology>, scheduler: S, costs: Costs, seed: u64) -> Self {
        let topology = topology.into();
        let nr_cpus = topology.nr_cpus();
        let mut machine = Self {
            scheduler,
            topology,
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
            serving: [nr_cpus as u64, 0, 0],
            waiting: 0,
            waiting_bound: Vec::new(),
            idle_in_vain_ns: 0,
            scheduling_ns: 0,
            timed: false,
            switch_time: Duration::ZERO,
            records_waits: false,
            waits: Vec::new(),
        };
        for cpu in &mut machine.cpus {
            cpu.tick_phase_ns = machine.random.u64(0..machine.costs.tick_ns);
            cpu.slow_permille = 1_000;
        }
        for cpu in 0..nr_cpus {
            machine.serves_anew(cpu);
        }
        machine.scheduler.set_lock_costs(machine.costs.locks);
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
        let online: Vec<usize> = self.topology.online().collect();
        let at = At {
            now_ns: self.now_ns,
            cpu: online[task % online.len()],
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
            woken: false,
            cpu_ns: 0,
            waited_ns: 0,
            last_cpu: None,
            moves: Moves::default(),
            memory: None,
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
                self.time_passes(at_ns);
                self.at_once = 0;
            }
            self.at_once += 1;
            assert!(self.at_once < 1_000_000, "time stands still at {event:?}");
            self.handled += 1;
            self.handle(event);
        }
        self.time_passes(end_ns);
    }

    fn time_passes(&mut self, to_ns: u64) {
        let ns = to_ns - self.now_ns;
        self.now_ns = to_ns;
        let [_, coming, idle] = self.serving;
        if idle > 0 && (self.waiting > coming || !self.waiting_bound.is_empty()) {
            self.idle_in_vain_ns += ns * self.idle_in_vain(coming, idle);
        }
    }

    /// CPUs that idle in vain: those that come take tasks first.
    fn idle_in_vain(&self, coming: u64, idle: u64) -> u64 {
        let mut left = coming;
        let mut taken = Vec::new();
        for &task in &self.waiting_bound {
            let cpus = &self.tasks[task].joins.cpus;
            let of = |serves| {
                let free =
                    |&&cpu: &&usize| self.cpus[cpu].serves == serves && !taken.contains(&cpu);
                cpus.iter().find(free).copied()
            };
            if let Some(cpu) = of(Serves::Comes) {
                left = left.saturating_sub(1);
                taken.push(cpu);
            } else if let Some(cpu) = of(Serves::Idles) {
                taken.push(cpu);
            }
        }
        let idles = |&&cpu: &&usize| self.cpus[cpu].serves == Serves::Idles;
        let bound = taken.iter().filter(idles).count() as u64;
        (bound + self.waiting.saturating_sub(left)).min(idle)
    }

    /// What `cpu` is to those that wait may have changed.
    fn serves_anew(&mut self, cpu: usize) {
        let this = &mut self.cpus[cpu];
        let serves = match (this.current, this.schedules) {
            (Some(_), _) => Serves::Busy,
            (None, true) => Serves::Comes,
            (None, false) => Serves::Idles,
        };
        if serves != this.serves && self.topology.is_online(cpu) {
            self.serving[this.serves as usize] -= 1;
            self.serving[serves as usize] += 1;
            this.serves = serves;
        }
    }

    fn set_state(&mut self, task: TaskId, state: State) {
        let this = &mut self.tasks[task];
        let before = std::mem::replace(&mut this.state, state);
        let waits = state == State::Ready;
        // The scheduler runs its own thread when it wants to.
        if waits == (before == State::Ready) || self.scheduler.user_thread() == Some(task) {
            return;
        }
        match (this.joins.cpus.is_empty(), waits) {
            (true, true) => self.waiting += 1,
            (true, false) => self.waiting -= 1,
            (false, true) => self.waiting_bound.push(task),
            (false, false) => self.waiting_bound.retain(|&other| other != task),
        }
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
                self.serves_anew(cpu as usize);
                self.schedule(cpu as usize, false);
            }
            Event::Block { cpu, turn } => {
                if self.cpus[cpu as usize].step_turn == turn {
                    self.block(cpu as usize);
                }
            }
            Event::Ipi { to, from, answer } => self.ipi_arrives(to as usize, from as usize, answer),
            Event::Timer { task } => self.timer(task as usize),
            Event::Wake { task } => {
                let first = self.topology.online().next();
                self.wake(task as usize, first.expect("some CPU is online"));
            }
            Event::Alarm(alarm) => {
                self.cpus[alarm.cpu as usize].interrupts += 1;
                self.scheduler.fire(alarm, self.now_ns);
                self.after_scheduler(alarm.cpu as usize);
                self.interrupted_for_scheduler(alarm.cpu as usize);
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
        self.set_state(task, State::Ready);
        self.tasks[task].since_ns = self.now_ns;
        self.tasks[task].woken = true;
        self.scheduler.wake(self.at(cpu), task);
        self.after_scheduler(cpu);
        self.interrupted_for_scheduler(cpu);
    }

    /// An interrupt on `cpu` has called the scheduler: what runs there loses the time.
    fn interrupted_for_scheduler(&mut self, cpu: usize) {
        let ns = self.scheduler.take_spent_ns();
        if ns > 0 {
            self.scheduling_ns += ns;
            self.interrupted(cpu, ns);
        }
    }

    /// `task`, which runs and begins a step next, has called the scheduler.
    pub fn has_called_scheduler(&mut self, task: TaskId) {
        let ns = self.scheduler.take_spent_ns();
        self.scheduling_ns += ns;
        self.tasks[task].overhead_ns += ns;
    }

    /// What runs on `cpu` loses that much time.
    fn interrupted(&mut self, cpu: usize, ns: u64) {
        if let Some(current) = self.cpus[cpu].current {
            self.pause_step(cpu);
            self.tasks[current].overhead_ns += ns;
            self.begin_step(cpu);
        }
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
                self.serves_anew(kicked);
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
            self.has_run(prev, cpu);
        }
        let started = self.timed.then(Instant::now);
        let next = self.scheduler.switch(self.at(cpu), sleeps);
        self.switch_time += started.map_or(Duration::ZERO, |started| started.elapsed());
        self.cpus[cpu].current = next;
        let mut spent_ns = self.scheduler.take_spent_ns();
        let mut left = None;
        if next != prev {
            if let Some(prev) = prev {
                let state = match sleeps {
                    true => State::Asleep,
                    false => State::Ready,
                };
                self.set_state(prev, state);
                self.tasks[prev].woken = false;
            }
            if let Some(next) = next {
                let task = &mut self.tasks[next];
                let wait = Wait {
                    task: next,
                    woken: task.woken,
                    ns: self.now_ns - task.since_ns,
                };
                self.waits.extend(self.records_waits.then_some(wait));
                task.waited_ns = task.waited_ns.max(wait.ns);
                task.since_ns = self.now_ns;
                self.set_state(next, State::Running(cpu));
                spent_ns += self.costs.switch_ns;
                left = self.arrives(next, cpu);
            }
        }
        self.scheduling_ns += spent_ns;
        self.after_scheduler(cpu);
        if let Some(next) = next {
            self.tasks[next].overhead_ns += spent_ns;
            self.begin_step(cpu);
        }
        if prev.is_none() != next.is_none() {
            self.cpus[cpu].since_ns = self.now_ns;
            self.serves_anew(cpu);
            self.sibling_changes(cpu);
        }
        if let Some(left) = left.filter(|_| self.costs.vmclear_ns > 0) {
            self.cpus[left].interrupts += 1;
            self.interrupted(left, self.costs.handler_ns);
        }
    }

    /// `task` has run on `cpu` up to now.
    fn has_run(&mut self, task: TaskId, cpu: usize) {
        let now_ns = self.now_ns;
        let this = &mut self.tasks[task];
        let ran_ns = now_ns - this.since_ns;
        this.cpu_ns += ran_ns;
        this.since_ns = now_ns;
        if let Some((vm, _)) = this.joins.vcpu {
            let vm = &mut self.vms[vm];
            match vm.memory == Some(self.topology.node_of(cpu)) {
                true => vm.local_ns += ran_ns,
                false => vm.remote_ns += ran_ns,
            }
        }
    }

    /// `task` begins to run on `cpu`. The CPU that a vCPU has left, if that is another one.
    fn arrives(&mut self, task: TaskId, cpu: usize) -> Option<usize> {
        let node = self.topology.node_of(cpu);
        if self.memory_of(task).is_none() {
            self.set_memory(task, node);
        }
        let this = &mut self.tasks[task];
        let last = this.last_cpu.replace(cpu).filter(|&last| last != cpu)?;
        this.moves.cpu += 1;
        let distance = self.topology.distance(cpu, last);
        if distance >= Distance::Node {
            this.moves.llc += 1;
            this.overhead_ns += self.costs.llc_move_ns;
        }
        this.moves.node += u64::from(distance == Distance::Remote);
        this.joins.vcpu?;
        this.overhead_ns += self.costs.vmclear_ns;
        Some(last)
    }

    /// The node of `task`'s memory.
    pub fn memory_of(&self, task: TaskId) -> Option<usize> {
        match self.tasks[task].joins.vcpu {
            Some((vm, _)) => self.vms[vm].memory,
            None => self.tasks[task].memory,
        }
    }

    /// The memory of `task`, and of its VM, is on `node`.
    pub fn set_memory(&mut self, task: TaskId, node: usize) {
        match self.tasks[task].joins.vcpu {
            Some((vm, _)) => {
                self.vms[vm].memory = Some(node);
                for &vcpu in &self.vms[vm].vcpus {
                    self.scheduler.memory(vcpu, node);
                }
            }
            None => {
                self.tasks[task].memory = Some(node);
                self.scheduler.memory(task, node);
            }
        }
    }

    /// `cpu` has become idle or busy: its SMT sibling gets faster or slower.
    fn sibling_changes(&mut self, cpu: usize) {
        let Some(sibling) = self.topology.sibling_of(cpu) else {
            return;
        };
        let Some(task) = self.cpus[sibling].current else {
            return;
        };
        let step = self.tasks[task].step;
        if step == Step::Pause {
            return;
        }
        self.pause_step(sibling);
        let this = &self.tasks[task];
        let left_ns = match (step, &this.doing) {
            (Step::Overhead, _) => this.overhead_ns,
            (_, &(Doing::Compute(left_ns) | Doing::Round(left_ns))) => left_ns,
            _ => return,
        };
        self.set_step(sibling, step, left_ns);
    }

    /// How much longer a step of `task` takes on `cpu` now, in thousandths.
    fn slow_permille(&self, task: TaskId, cpu: usize, step: Step) -> u64 {
        let sibling = self.topology.sibling_of(cpu);
        let shared = sibling.is_some_and(|sibling| self.cpus[sibling].current.is_some());
        let node = Some(self.topology.node_of(cpu));
        let remote = step == Step::Compute && self.memory_of(task) != node;
        match (step, shared, remote) {
            // How fast it spins does not matter.
            (Step::Pause, ..) | (_, false, false) => 1_000,
            (_, true, false) => self.costs.smt_permille,
            (_, false, true) => self.costs.remote_permille,
            (_, true, true) => self.costs.smt_permille * self.costs.remote_permille / 1_000,
        }
    }

    /// The running step ends before its time.
    pub fn pause_step(&mut self, cpu: usize) {
        self.cpus[cpu].step_turn += 1;
        let Some(current) = self.cpus[cpu].current else {
            return;
        };
        let task = &mut self.tasks[current];
        let ran_ns = (self.now_ns - task.step_start_ns) * 1_000 / self.cpus[cpu].slow_permille;
        match (task.step, &mut task.doing) {
            (Step::Overhead, _) => task.overhead_ns = task.overhead_ns.saturating_sub(ran_ns),
            (Step::Compute, Doing::Compute(left_ns) | Doing::Round(left_ns)) => {
                *left_ns = left_ns.saturating_sub(ran_ns).max(1);
            }
            _ => {}
        }
        task.step_start_ns = self.now_ns;
    }

    /// `step` begins, which takes `ns` where nothing slows it.
    pub fn set_step(&mut self, cpu: usize, step: Step, ns: u64) {
        let current = self.cpus[cpu].current.expect("a task runs");
        let slow_permille = self.slow_permille(current, cpu, step);
        let task = &mut self.tasks[current];
        task.step = step;
        task.step_start_ns = self.now_ns;
        self.cpus[cpu].slow_permille = slow_permille;
        let turn = self.cpus[cpu].step_turn;
        let cpu = cpu as u32;
        let takes_ns = (ns * slow_permille).div_ceil(1_000);
        self.after_ns(takes_ns, Event::Step { cpu, turn });
    }

    /// Who runs on `cpu` goes to sleep as soon as nothing else happens.
    pub fn set_block(&mut self, cpu: usize) {
        let turn = self.cpus[cpu].step_turn;
        let cpu = cpu as u32;
        self.after_ns(0, Event::Block { cpu, turn });
    }

    /// CPU time of the VM's vCPUs up to now: on the node of its memory, and on others.
    pub fn near_and_far_ns(&self, vm: usize) -> (u64, u64) {
        let vm = &self.vms[vm];
        let (mut near_ns, mut far_ns) = (vm.local_ns, vm.remote_ns);
        for task in vm.vcpus.iter().map(|&task| &self.tasks[task]) {
            let State::Running(cpu) = task.state else {
                continue;
            };
            match vm.memory == Some(self.topology.node_of(cpu)) {
                true => near_ns += self.now_ns - task.since_ns,
                false => far_ns += self.now_ns - task.since_ns,
            }
        }
        (near_ns, far_ns)
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
