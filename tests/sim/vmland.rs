// SPDX-License-Identifier: GPL-2.0-only
//! scx_vmland's user space: the planner of `src/planner.rs`, and the loop around it as
//! `src/scheduler.rs` has it. How long a round takes is modelled.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::mem::{offset_of, zeroed};

use scx_vmland::event::{self, Record};
use scx_vmland::homes::{BALANCE_NS, Homes, Seen};
use scx_vmland::planner::Planner;
use scx_vmland::topology::{Domains, MOST_DOMAINS, Place};

use crate::bpf_intf::{
    dispatched_task_ctx, queued_task_ctx, vmland_counter, vmland_counter_VMLAND_NR_COUNTERS,
    vmland_domain, vmland_event_kind_VMLAND_EVENT_VCPU_SEEN, vmland_home, vmland_kvm_layout,
    vmland_limits_VMLAND_CPU_WORDS, vmland_limits_VMLAND_MAX_VMS, vmland_plan, vmland_vcpu,
    vmland_vm_ctx, vmland_vm_params, vmland_waits,
};
use crate::source;
use vmland_control::histogram::Histogram;
use vmland_sim::abi::{CpuMask, KvmVcpu, MAX_CPUS, Task};
use vmland_sim::ext::{Ext, UserSpace};
use vmland_sim::kernel::Kernel;
use vmland_sim::native::Native;
use vmland_sim::scheduler::{Joins, TaskId};
use vmland_sim::topology::Topology;

const DEFAULTS: vmland_settings::Settings = vmland_settings::Settings::DEFAULTS;

/// What holds for all VMs, by default what the table of settings has, and how long user space takes.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub slice_ns: u64,
    pub slice_min_ns: u64,
    pub ipi_window_ns: u64,
    pub boost_percent: u32,
    pub skew_ns: u64,
    pub receiver_ns: u64,
    /// Mechanisms that are left out, as `--without` does: bits of `vmland_mechanism`.
    pub without: u32,
    pub round_ns: u64,
    pub event_ns: u64,
    /// The kernel has core scheduling.
    pub core_sched: bool,
    /// The nohz_full CPUs, by bit.
    pub nohz_full: u64,
    /// One queue for all CPUs, whatever the topology.
    pub one_queue: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slice_ns: DEFAULTS.slice_ns.unwrap_or_default(),
            slice_min_ns: DEFAULTS.slice_min_ns.unwrap_or_default(),
            ipi_window_ns: DEFAULTS.ipi_window_ns.unwrap_or_default(),
            boost_percent: DEFAULTS.boost_percent.unwrap_or_default() as u32,
            skew_ns: DEFAULTS.skew_ns.unwrap_or_default(),
            receiver_ns: 10_000,
            without: 0,
            round_ns: 5_000,
            event_ns: 500,
            core_sched: false,
            nohz_full: 0,
            one_queue: false,
        }
    }
}

impl Settings {
    /// On a host under emulation, as src/receiver_time.rs has it.
    pub fn emulated() -> Self {
        Self {
            receiver_ns: 200_000,
            ..Self::default()
        }
    }
}

pub struct Vmland {
    settings: Settings,
    planner: Planner,
    vm_weights: HashMap<i32, u32>,
    params: *mut vmland_vm_params,
    plans: *mut vmland_plan,
    vcpus: *const c_void,
    waits: *const vmland_waits,
    slots: HashMap<i32, u32>,
    counters: *const u64,
    debt: Option<extern "C" fn(*mut Task) -> i64>,
    topology: Topology,
    domains: Domains,
    homes: Homes,
    homes_of: *mut vmland_home,
    vms: *const vmland_vm_ctx,
    /// Slots that are, or were, of a VM, and a vCPU of it.
    pids: BTreeMap<u32, i32>,
    memory: HashMap<i32, usize>,
    planned_ns: u64,
}

/// As src/host.rs has it from scx_utils.
fn domains(topology: &Topology) -> Domains {
    let place = |cpu| {
        let at = topology.place(cpu);
        Place {
            node: at.node,
            llc: at.llc,
            core: at.core,
            cpu,
        }
    };
    Domains::new(topology.online().map(place).collect())
}

pub fn user(topology: impl Into<Topology>, settings: Settings) -> Vmland {
    let topology = topology.into();
    let domains = match settings.one_queue {
        true => Domains::one(topology.online().collect()),
        false => domains(&topology),
    };
    Vmland {
        settings,
        planner: Planner::new(vmland_limits_VMLAND_MAX_VMS as usize),
        vm_weights: HashMap::new(),
        params: std::ptr::null_mut(),
        plans: std::ptr::null_mut(),
        vcpus: std::ptr::null(),
        waits: std::ptr::null(),
        slots: HashMap::new(),
        counters: std::ptr::null(),
        debt: None,
        topology,
        homes: Homes::new(domains.clone()),
        domains,
        homes_of: std::ptr::null_mut(),
        vms: std::ptr::null(),
        pids: BTreeMap::new(),
        memory: HashMap::new(),
        planned_ns: 0,
    }
}

pub fn vmland(topology: impl Into<Topology>, settings: Settings) -> Ext<Vmland> {
    let topology = topology.into();
    let user = user(&topology, settings);
    let mut scheduler = Ext::new(&source("vmland.c"), &topology, user);
    scheduler.set_nohz_full(CpuMask::of(
        (0..64).filter(|cpu| settings.nohz_full >> cpu & 1 == 1),
    ));
    scheduler
}

const COUNTERS: usize = vmland_counter_VMLAND_NR_COUNTERS as usize;

impl Vmland {
    pub fn counter(&self, counter: vmland_counter) -> u64 {
        (0..self.topology.nr_cpus())
            // SAFETY: a per-CPU array of that many counters each.
            .map(|cpu| unsafe { *self.counters.add(cpu * COUNTERS + counter as usize) })
            .sum()
    }

    /// The slot of the VM of that vCPU.
    pub fn slot_of(&self, task: TaskId) -> u32 {
        self.slots[&(task as i32 + 1)]
    }

    /// The histograms of the VM in `slot`: of waits from a wake-up, and of the others.
    pub fn waits(&self, slot: u32) -> [Histogram; 2] {
        // SAFETY: numbers only, and a slot of the map.
        let waits = unsafe { &*self.waits.add(slot as usize) };
        [waits.woken, waits.others].map(|it| Histogram::new(it.sum_ns, &it.buckets))
    }

    /// As src/settings.rs does when it sees a new VM. The simulator has one ring and one thread
    /// in user space; here it is that of the settings, too.
    fn vm_seen(&mut self, kernel: &Kernel, pid: i32) {
        let Some(vcpu) = kernel.hash_entry::<vmland_vcpu>(self.vcpus, pid as u32 as u64) else {
            return;
        };
        self.slots.insert(pid, vcpu.vm_slot);
        self.pids.insert(vcpu.vm_slot, pid);
        let weight = self.vm_weights.get(&pid).copied().unwrap_or(100);
        // SAFETY: numbers only, and a slot of the map.
        unsafe {
            *self.params.add(vcpu.vm_slot as usize) = vmland_vm_params {
                vm_id: vcpu.vm_id,
                weight,
                ipi_window_ns: self.settings.ipi_window_ns,
                boost_percent: self.settings.boost_percent,
                skew_ns: self.settings.skew_ns,
                ..zeroed()
            };
        }
    }
}

impl Vmland {
    /// As src/host.rs does.
    fn plan_homes(&mut self, now_ns: u64) {
        if self.domains.len() < 2 {
            return;
        }
        self.planned_ns = now_ns;
        let seen = self.pids.iter().filter_map(|(&slot, pid)| {
            // SAFETY: a slot of the map.
            let vm = unsafe { &*self.vms.add(slot as usize) };
            let seen = Seen {
                vm_id: vm.vm_id,
                vcpus: vm.nr_vcpus,
                cpu_ns: vm.cpu_ns,
                memory: self.memory.get(pid).copied(),
                allowed: u64::MAX,
            };
            (vm.vm_id != 0).then_some((slot, seen))
        });
        for slot in self.homes.plan(now_ns, &seen.collect()) {
            let (vm_id, home) = self.homes.home(slot).unwrap_or_default();
            // SAFETY: likewise.
            unsafe {
                *self.homes_of.add(slot as usize) = vmland_home {
                    vm_id,
                    first: home.first,
                    nr: home.nr,
                };
            }
        }
    }
}

/// How far the vruntime of `task` is beyond its CPU's vtime, in % of its slice.
pub fn debt_percent(scheduler: &mut Ext<Vmland>, task: TaskId) -> i64 {
    let debt = scheduler.user().debt.expect("it has been loaded");
    debt(scheduler.task(task))
}

fn record(queued: &queued_task_ctx) -> Record {
    Record {
        nr_cpus_allowed: queued.nr_cpus_allowed,
        flags: queued.flags,
        stop_ts: queued.stop_ts,
        exec_runtime: queued.exec_runtime,
        weight: queued.weight,
        vtime: queued.vtime,
        enq_cnt: queued.enq_cnt,
    }
}

impl UserSpace for Vmland {
    type Event = queued_task_ctx;
    type Decision = dispatched_task_ctx;

    fn load(&mut self, native: &Native, pid: i32) {
        self.debt = Some(native.function("sim_debt"));
        let init_timers: extern "C" fn(*mut c_void) -> i32 = native.function("init_timers");
        init_timers(std::ptr::null_mut());
        native.set("usersched_pid", pid);
        native.set("builtin_idle", true);
        native.set("slice_ns", self.settings.slice_ns);
        native.set("vmland_slice_min_ns", self.settings.slice_min_ns);
        native.set("vmland_ipi_window_ns", self.settings.ipi_window_ns);
        native.set("vmland_receiver_ns", self.settings.receiver_ns);
        native.set("vmland_without", self.settings.without);
        let mut nohz_full = [0_u64; vmland_limits_VMLAND_CPU_WORDS as usize];
        nohz_full[0] = self.settings.nohz_full;
        native.set("has_core_sched", self.settings.core_sched);
        native.set("any_nohz_full", nohz_full[0] != 0);
        native.set("nohz_full_cpus", nohz_full);
        let mut cpu_domains = [0_u8; MAX_CPUS];
        let of_cpus = self.domains.of_cpus(self.topology.nr_cpus());
        cpu_domains[..of_cpus.len()].copy_from_slice(&of_cpus);
        let mut domains = [vmland_domain {
            nr_cpus: 0,
            node_first: 0,
            node_domains: 0,
        }; MOST_DOMAINS];
        for (domain, it) in self.domains.iter().enumerate() {
            let of_node = self.domains.of_node(domain);
            domains[domain] = vmland_domain {
                nr_cpus: it.cpus.len() as u16,
                node_first: of_node.start as u8,
                node_domains: of_node.len() as u8,
            };
        }
        native.set("nr_domains", self.domains.len() as u32);
        native.set("cpu_domains", cpu_domains);
        native.set("domains", domains);
        self.homes_of = native.array("vmland_homes", vmland_limits_VMLAND_MAX_VMS as usize);
        self.vms = native.array("vmland_vms", vmland_limits_VMLAND_MAX_VMS as usize);
        self.params = native.array("vmland_vm_params", vmland_limits_VMLAND_MAX_VMS as usize);
        self.plans = native.array("vmland_plans", vmland_limits_VMLAND_MAX_VMS as usize);
        self.counters = native.array("vmland_counters", COUNTERS * self.topology.nr_cpus());
        self.waits = native.array("vmland_waits", vmland_limits_VMLAND_MAX_VMS as usize);
        self.vcpus = native.global::<c_void>("vmland_vcpus");
        let layout = native.array::<vmland_kvm_layout>("vmland_kvm_layout", 1);
        // SAFETY: an array of one.
        unsafe {
            *layout = vmland_kvm_layout {
                ready: 1,
                vcpu_notifier: offset_of!(KvmVcpu, preempt_notifier) as u32,
                vcpu_kvm: offset_of!(KvmVcpu, kvm) as u32,
                vcpu_id: offset_of!(KvmVcpu, vcpu_id) as u32,
            };
        }
    }

    fn task_joins(&mut self, pid: i32, who: &Joins) {
        if who.vcpu.is_some() && who.vm_weight != 100 {
            self.vm_weights.insert(pid, who.vm_weight);
        }
    }

    fn memory(&mut self, pid: i32, node: usize) {
        self.memory.insert(pid, node);
    }

    fn begins(&mut self, kernel: &Kernel) {
        if kernel.now_ns >= self.planned_ns + BALANCE_NS {
            self.plan_homes(kernel.now_ns);
        }
    }

    fn event(&mut self, kernel: &Kernel, queued: &queued_task_ctx) -> u64 {
        if let Some(evidence) = event::decode(&record(queued)) {
            if std::env::var("TRACE").is_ok() {
                println!("{evidence:?}");
            }
            if let Some(plan) = self.planner.report(&evidence) {
                // SAFETY: a slot of the map.
                unsafe {
                    *self.plans.add(plan.vm_slot as usize) = vmland_plan {
                        vm_id: plan.vm_id,
                        gang: plan.gang.into(),
                    };
                }
            }
        } else if queued.flags == u64::from(vmland_event_kind_VMLAND_EVENT_VCPU_SEEN) {
            self.vm_seen(kernel, queued.pid);
            self.plan_homes(kernel.now_ns);
        }
        self.settings.event_ns
    }

    fn decide(&mut self) -> Option<dispatched_task_ctx> {
        None
    }

    fn waiting(&self) -> u64 {
        0
    }

    fn round_ns(&self) -> u64 {
        self.settings.round_ns
    }
}
