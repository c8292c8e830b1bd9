// SPDX-License-Identifier: GPL-2.0-only
//! A schedule: it begins, a seed chooses who goes on, and time passes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ffi::{CStr, c_char};
use std::ptr::null;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};
use fastrand::Rng;

use super::Setup;
use super::calls::functions;
use super::cpu::live;
use super::groups::{self, ROOT};
use super::points::Address;
use super::rules::STALL_NS;
use super::world::{Cpu, Event, GroupWork, State, TICK_NS, Task, USER, Work, World, world};
use crate::abi::{self, CpuMask, KvmVcpu};
use crate::ext::{Probes, UserSpace};
use crate::kernel::{self, Kernel};
use crate::native::Native;
use crate::scheduler::{Joins, TaskId};
use crate::topology::Topology;

/// Simulated time that passes from one point to the next.
const STEP_NS: u64 = 100;
/// For so long can time go on while a CPU stands at a point.
const PAUSE_NS: u64 = 50_000;
/// No schedule passes so many.
const POINTS: u64 = 1_000_000;
/// Within so long have all tasks left at the end.
const END_NS: u64 = 200_000_000;

pub(super) struct Vm {
    pub(super) tasks: Vec<TaskId>,
    /// Its `struct kvm`.
    pub(super) kvm: u64,
    /// Its vCPUs leave the guest, and KVM destroys it when all have.
    pub(super) ends: bool,
}

/// A schedule.
pub(super) struct Explorer<U> {
    pub(super) world: Box<World>,
    pub(super) user: U,
    /// Steps of the round that the thread in user space is in.
    pub(super) round: u8,
    pub(super) nr_queued: *mut u64,
    pub(super) nr_scheduled: *mut u64,
    pub(super) vms: Vec<Vm>,
    /// `struct kvm`s so far.
    pub(super) kvms: u64,
    /// Events from outside come no more, and tasks end.
    pub(super) ends: bool,
    /// What of the scheduler's sums is left when no task is; null: nothing.
    left: Option<extern "C" fn() -> *const c_char>,
    /// How often, in %, a task only computes when it could do something.
    pub(super) computes: u32,
    /// Average distance of events from outside.
    pub(super) outside_ns: u64,
    /// For as many points does a CPU keep its priority.
    pub(super) redraw_at: u64,
    pub(super) time_priority: u64,
    pub(super) vcpus: Vec<Option<Box<KvmVcpu>>>,
    /// Last, for the others point into it.
    pub(super) _native: Native,
}

impl<U: UserSpace> Explorer<U> {
    pub(super) fn new(
        setup: &Setup,
        seed: u64,
        traced: bool,
        user: impl Fn(&Topology) -> U,
    ) -> Self {
        let mut random = Rng::with_seed(seed);
        let nr_cpus = random.usize(2..=3);
        let native = Native::load(&setup.source);
        let topology = (setup.topology)(seed, nr_cpus);
        let mut user = user(&topology);
        let cpu = || Cpu {
            fiber: None,
            yielder: null(),
            work: None,
            pending: VecDeque::new(),
            since_ns: 0,
            blocked: None,
            resched: false,
            kicks: Vec::new(),
            insertion: None,
            in_balance: false,
            moved: false,
            rt: false,
            rt_since_ns: 0,
            idle: true,
            released: false,
            reenqueue: false,
            active: true,
            online: true,
            rq_now_ns: 0,
            turn: 0,
            idle_since_ns: 0,
            op: "",
            priority: 0,
        };
        let mut host = Box::new(functions());
        let ops = native.start(&raw mut *host);
        let mut world = Box::new(World {
            kernel: Kernel::new(&topology),
            functions: kernel::functions(),
            host,
            online: Box::new(CpuMask::of(0..nr_cpus)),
            ops,
            ran_ns: native
                .has("sim_ran_ns")
                .then(|| native.function("sim_ran_ns")),
            decide: native
                .has("sim_decide")
                .then(|| native.function("sim_decide")),
            vm_destroyed: native
                .has("on_destroy")
                .then(|| native.function("on_destroy")),
            probes: Probes::of(&native),
            cpus: (0..nr_cpus).map(|_| cpu()).collect(),
            tasks: Vec::new(),
            dying_kvms: Vec::new(),
            groups: Vec::new(),
            groups_owner: None,
            idle: 0,
            rq_owner: vec![None; nr_cpus],
            pi_owner: Vec::new(),
            running: 0,
            points: 0,
            events: BinaryHeap::new(),
            numbered: 0,
            timers: HashMap::new(),
            failure: None,
            trace: traced.then(VecDeque::new),
            last_shown: 0,
            may_wait_in: setup.may_wait_in.clone(),
            interleaves: false,
            random,
        });
        world.host.kernel = (&raw mut *world).cast();
        world.host.nr_cpus = nr_cpus as i32;
        world.host.idle = &raw const *world.kernel.idle.cpus;
        world.host.idle_cores = &raw const *world.kernel.idle.cores;
        world.host.nodes = world.kernel.nodes();
        world.host.online = &raw const *world.online;
        user.load(&native, USER as i32 + 1);
        let mut explorer = Self {
            nr_queued: native.global("nr_queued"),
            nr_scheduled: native.global("nr_scheduled"),
            world,
            user,
            round: 0,
            vms: Vec::new(),
            computes: 0,
            outside_ns: 0,
            redraw_at: 0,
            time_priority: 0,
            vcpus: Vec::new(),
            kvms: 0,
            ends: false,
            left: native.has("sim_left").then(|| native.function("sim_left")),
            _native: native,
        };
        explorer.boot(nr_cpus);
        explorer
    }
}

impl<U: UserSpace> Explorer<U> {
    pub(super) fn address(&mut self) -> Address {
        (&raw mut *self.world).cast()
    }

    /// The scheduler attaches, tasks are created, and CPUs begin to live.
    pub(super) fn boot(&mut self, nr_cpus: usize) {
        let w = self.address();
        self.computes = [10, 50, 95][world(w).random.usize(0..3)];
        self.outside_ns = [150_000, 1_000_000][world(w).random.usize(0..2)];
        assert_eq!((world(w).ops.init)(abi::NO_CONTEXT), 0, "ops.init");
        world(w).kernel.add_queue(abi::DSQ_GLOBAL);
        world(w).add_group(None);
        for _ in 0..world(w).random.usize(0..=3) {
            let parent = world(w).random.usize(0..world(w).groups.len());
            groups::make(w, 0, parent);
        }
        self.add_task(None, 100);
        for vm in 0..world(w).random.usize(1..=3) {
            let vcpus = world(w).random.usize(2..=3);
            let weight = [100, 100, 300][world(w).random.usize(0..3)];
            let tasks = (0..vcpus).map(|id| self.add_task(Some((vm, id)), weight));
            let tasks = tasks.collect();
            self.vms.push(Vm {
                tasks,
                kvm: vm as u64 + 1,
                ends: false,
            });
            self.kvms = vm as u64 + 1;
        }
        for _ in 0..world(w).random.usize(0..=2) {
            self.add_task(None, 100);
        }
        let online: *const CpuMask = &raw const *world(w).online;
        world(w).idle = world(w).tasks.len();
        let idle = world(w).idle;
        world(w).kernel.add_task(0, 0, online, 0);
        world(w).kernel.task(idle).pid = 0;
        for cpu in 0..nr_cpus {
            let stack = DefaultStack::new(256 << 10).expect("there is memory");
            let address = w as usize;
            let fiber = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
                live(address as Address, cpu, yielder);
            });
            world(w).cpus[cpu].fiber = Some(fiber);
            world(w).after(TICK_NS, Event::Tick(cpu));
        }
        world(w).after_about(200_000, Event::Outside);
        world(w).interleaves = true;
    }

    pub(super) fn add_task(&mut self, vcpu: Option<(usize, usize)>, vm_weight: u32) -> TaskId {
        let w = self.address();
        let world = world(w);
        let task = world.tasks.len();
        let cgroup = match task {
            USER => ROOT,
            _ => world.random.usize(0..world.groups.len()),
        };
        let nr_cpus = world.cpus.len();
        let joins = Joins {
            vcpu,
            weight: 100,
            vm_weight,
            cpus: Vec::new(),
        };
        world.tasks.push(Task {
            state: State::Asleep,
            vm: vcpu.map(|(vm, _)| vm),
            vcpu_id: vcpu.map_or(0, |(_, id)| id),
            cgroup,
            exiting: false,
            allowed: Box::new(CpuMask::of(0..nr_cpus)),
            bound: Box::new(CpuMask::none()),
            holding_cpu: None,
            migrating: false,
            since_ns: 0,
            waits: (0, 0),
            ran_at_ns: (0, 0),
        });
        world.pi_owner.push(None);
        let mask: *const CpuMask = &raw const *world.tasks[task].allowed;
        let tgid = vcpu.map_or(1, |(vm, _)| vm as i32 + 2);
        world
            .kernel
            .add_task(tgid, joins.weight, mask, task % nr_cpus);
        if let Some((vm, id)) = vcpu {
            let vcpu = Box::new(KvmVcpu {
                preempt_notifier: 0,
                kvm: vm as u64 + 1,
                vcpu_id: id as i32,
            });
            world.kernel.set_vcpu(task, &raw const *vcpu);
            self.vcpus.push(Some(vcpu));
        } else {
            self.vcpus.push(None);
        }
        self.user.task_joins(task as i32 + 1, &joins);
        let p = world.kernel.pointer(Some(task));
        let args = abi::InitTaskArgs {
            cgroup: &raw const *world.groups[cgroup].known,
        };
        assert_eq!((world.ops.init_task)(abi::NO_CONTEXT, p, &args), 0);
        (world.ops.enable)(abi::NO_CONTEXT, p);
        world.after_about(200_000, Event::Wake(task));
        task
    }

    pub(super) fn run(&mut self, for_ns: u64) {
        self.run_until(|explorer| explorer.world.now_ns() >= for_ns);
        self.ends = true;
        // On each CPU, behind other changes that it has been given.
        for cpu in 0..self.world.cpus.len() {
            for group in 0..self.world.groups.len() {
                let no_limit = GroupWork::Max(group, 0, 100_000);
                self.world.push(cpu, Work::Cgroup(no_limit));
            }
            for task in 0..self.world.tasks.len() {
                self.world.push(cpu, Work::Decide(task, 0));
            }
        }
        let late_ns = for_ns + END_NS;
        self.run_until(|explorer| explorer.left().is_none() || explorer.world.now_ns() >= late_ns);
        if let Some(left) = self.left() {
            self.world.failure.get_or_insert(left);
        }
        for cpu in &mut self.world.cpus {
            // SAFETY: what is on its stack is not needed any more, and owns nothing.
            unsafe { cpu.fiber.as_mut().expect("it lives").force_reset() };
        }
    }

    /// What should not be when all have left.
    fn left(&mut self) -> Option<String> {
        let mut tasks = USER + 1..self.world.tasks.len();
        if let Some(task) = tasks.find(|&task| self.world.tasks[task].state != State::Gone) {
            let (state, dsq) = (self.world.tasks[task].state, self.world.kernel.dsq_of(task));
            let cpu = self.world.cpu_of(task);
            return Some(format!(
                "task {task} does not come to an end: {state:?}, DSQ {dsq:x?}, CPU {cpu}"
            ));
        }
        self.world.interleaves = false;
        let text = self.left?();
        self.world.interleaves = true;
        if text.is_null() {
            return None;
        }
        // SAFETY: a text of the scheduler's.
        let text = unsafe { CStr::from_ptr(text) };
        Some(text.to_string_lossy().into_owned())
    }

    fn run_until(&mut self, end: impl Fn(&mut Self) -> bool) {
        while self.world.failure.is_none() {
            if self.world.points >= self.redraw_at {
                self.redraw();
            }
            match self.choose() {
                Some(_) if self.world.points > POINTS => {
                    let what = "CPUs go round in circles";
                    self.world.failure = Some(what.to_owned());
                }
                Some(cpu) => self.resume(cpu),
                None if end(self) => break,
                None => self.time_goes_on(),
            }
        }
    }

    /// New priorities, for a while: PCT's change points, as a stream of them.
    pub(super) fn redraw(&mut self) {
        let world = &mut *self.world;
        for cpu in &mut world.cpus {
            cpu.priority = world.random.u64(..);
        }
        self.time_priority = world.random.u64(..);
        let most = [4, 40, 200][world.random.usize(0..3)];
        self.redraw_at = world.points + world.random.u64(1..=most);
    }

    /// The CPU that goes on; None: time does.
    pub(super) fn choose(&mut self) -> Option<usize> {
        let world = &mut *self.world;
        let next_ns = world.events.peek().map_or(0, |Reverse((at_ns, ..))| *at_ns);
        let mut best = None;
        let mut may_pass = true;
        for cpu in 0..world.cpus.len() {
            if !world.has_to_do(cpu) {
                continue;
            }
            may_pass &= next_ns <= world.cpus[cpu].since_ns + PAUSE_NS;
            let priority = world.cpus[cpu].priority;
            if world.free(cpu) && best.is_none_or(|(highest, _)| priority > highest) {
                best = Some((priority, cpu));
            }
        }
        best.filter(|&(priority, _)| !may_pass || priority > self.time_priority)
            .map(|(_, cpu)| cpu)
    }

    pub(super) fn resume(&mut self, cpu: usize) {
        let world = &mut *self.world;
        world.points += 1;
        world.kernel.now_ns += STEP_NS;
        world.kernel.cpu = cpu;
        world.running = cpu;
        let current = world.kernel.current[cpu];
        world.host.now_ns = world.kernel.now_ns;
        // The clock of a run queue may stand still since the last op.
        if world.cpus[cpu].op != "timer" {
            world.cpus[cpu].rq_now_ns = world.kernel.now_ns;
        }
        world.host.rq_now_ns = world.cpus[cpu].rq_now_ns;
        world.host.cpu = cpu as i32;
        world.host.current = world.kernel.pointer(current.or(Some(world.idle)));
        let now_ns = world.now_ns();
        let this = &mut world.cpus[cpu];
        if this.work.is_none() {
            this.since_ns = now_ns;
            this.work = match this.resched {
                true => Some(Work::Schedule),
                false => this.pending.pop_front(),
            };
        }
        let mut fiber = this.fiber.take().expect("it lives");
        fiber.resume(());
        let now_ns = self.world.now_ns();
        let this = &mut self.world.cpus[cpu];
        this.fiber = Some(fiber);
        if this.work.is_none() {
            this.since_ns = now_ns;
        }
    }

    pub(super) fn time_goes_on(&mut self) {
        self.world.check();
        let busy = (0..self.world.cpus.len()).any(|cpu| self.world.cpus[cpu].work.is_some());
        let Some(Reverse((at_ns, _, event))) = self.world.events.pop() else {
            self.world
                .failure
                .get_or_insert("nothing happens any more".to_owned());
            return;
        };
        if busy && at_ns > self.world.now_ns() + STALL_NS {
            self.world.failure.get_or_insert("dead lock".to_owned());
            return;
        }
        self.world.kernel.now_ns = self.world.now_ns().max(at_ns);
        self.handle(event);
    }
}
