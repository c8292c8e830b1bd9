// SPDX-License-Identifier: GPL-2.0-only
//! Hosts with several LLCs and nodes, beside the model of the stock scheduler.
//!
//! `cargo test --release --locked --test sim large -- --ignored --nocapture` prints the table of
//! docs/simulator.md.

use crate::fairness::jain;
use crate::vmland::{Settings, vmland};
use vmland_sim::eevdf::Eevdf;
use vmland_sim::machine::{Costs, Machine, Moves};
use vmland_sim::scheduler::Scheduler;
use vmland_sim::topology::Topology;
use vmland_sim::vm::Load;

/// vCPUs of 16 VMs: 64 in all.
const SIZES: [usize; 16] = [2, 4, 2, 8, 2, 2, 4, 2, 16, 2, 2, 4, 2, 8, 2, 2];

const KINDS: [(&str, Load); 6] = [
    (
        "compute",
        Load::Cpu {
            chunk_ns: 1_000_000,
        },
    ),
    (
        "lock",
        Load::Lock {
            held_ns: 2_000,
            outside_ns: 50_000,
        },
    ),
    (
        "barrier",
        Load::Barrier {
            between_ns: 200_000,
        },
    ),
    (
        "munmap",
        Load::Tlb {
            held_ns: 20_000,
            outside_ns: 500_000,
        },
    ),
    ("ping-pong", Load::Message { each_ns: 50_000 }),
    (
        "timers",
        Load::Latency {
            period_ns: 4_000_000,
            each_ns: 3_000_000,
        },
    ),
];

/// What the VMs of a host do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Only(usize),
    Mix,
}

impl Kind {
    fn all() -> impl Iterator<Item = Self> {
        (0..KINDS.len()).map(Self::Only).chain([Self::Mix])
    }

    fn name(self) -> &'static str {
        match self {
            Self::Only(kind) => KINDS[kind].0,
            Self::Mix => "mix",
        }
    }

    /// The kind of load of a VM.
    fn of(self, vm: usize) -> usize {
        match self {
            Self::Only(kind) => kind,
            // A VM of each size has each kind.
            Self::Mix => (vm + vm / SIZES.len()) % KINDS.len(),
        }
    }
}

/// What a host has done in a second.
pub struct Figures {
    /// By kind of load; 0 where there is none.
    pub work: [f64; KINDS.len()],
    /// Of vCPUs.
    pub llc_moves: f64,
    pub node_moves: f64,
    /// Part of their CPU time for which vCPUs were on the node of their memory.
    pub local: f64,
    /// Part of all CPU time.
    pub idle_in_vain: f64,
    /// CPU time of a decision, and the part of it that is waiting for queue locks.
    pub decision_ns: f64,
    pub lock_waiting: f64,
    /// Of the CPU time of VMs by weight.
    pub jain: f64,
    /// Seconds that it has taken to simulate.
    pub took_s: f64,
}

/// VMs for a host, twice as many vCPUs as CPUs. A VM weighs by its vCPUs, as the stock scheduler's
/// model has no groups. Memory is on one node after the other.
pub fn host<S: Scheduler>(topology: &Topology, scheduler: S, kind: Kind, seed: u64) -> Machine<S> {
    let mut host = Machine::new(topology, scheduler, Costs::large(), seed);
    let nodes = topology.nodes().len();
    let mut left = 2 * topology.nr_cpus();
    for vm in 0.. {
        let vcpus = SIZES[vm % SIZES.len()].min(left);
        let load = match KINDS[kind.of(vm)].1 {
            // Guests do not tick together.
            Load::Latency { period_ns, each_ns } => Load::Latency {
                period_ns: period_ns + vm as u64 % 16 * 10_000,
                each_ns,
            },
            load => load,
        };
        host.add_vm_on(vm / 2 % nodes, load, vcpus, 50 * vcpus as u32);
        // A thread of its VMM. Without it all would come round in the same order for ever.
        host.add_thread(&[], Some((10_000_000, 50_000)));
        left -= vcpus;
        if left == 0 {
            return host;
        }
    }
    unreachable!("there are vCPUs enough");
}

/// What a host does after a warm-up.
pub fn measure<S: Scheduler>(
    host: &mut Machine<S>,
    kind: Kind,
    warm_up_ns: u64,
    ns: u64,
) -> Figures {
    host.run_for(warm_up_ns);
    let cpu_ns = |host: &Machine<S>, vm: usize| -> u64 {
        let vcpus = host.vms[vm].vcpus.iter();
        vcpus.map(|&task| host.cpu_ns(task)).sum()
    };
    let before: Vec<_> = (0..host.vms.len())
        .map(|vm| {
            let this = &host.vms[vm];
            (this.work, this.local_ns, this.remote_ns, cpu_ns(host, vm))
        })
        .collect();
    let moves = |host: &Machine<S>, of: fn(&Moves) -> u64| -> u64 {
        let tasks = host.vms.iter().flat_map(|vm| &vm.vcpus);
        tasks.map(|&task| of(&host.tasks[task].moves)).sum()
    };
    let (llc_moves, node_moves) = (moves(host, |it| it.llc), moves(host, |it| it.node));
    let locks = host.scheduler.locks();
    let (schedules, scheduling_ns) = (host.schedules, host.scheduling_ns);
    let idle_ns = host.idle_in_vain_ns;
    let started = std::time::Instant::now();
    host.run_for(ns);
    let took_s = started.elapsed().as_secs_f64() * 1e9 / ns as f64;
    let seconds = ns as f64 / 1e9;
    let mut work = [0.0; KINDS.len()];
    let (mut local_ns, mut remote_ns) = (0, 0);
    let mut shares = Vec::new();
    for (vm, (work_before, local_before, remote_before, cpu_before)) in before.iter().enumerate() {
        let this = &host.vms[vm];
        work[kind.of(vm)] += (this.work - work_before) as f64 / seconds;
        local_ns += this.local_ns - local_before;
        remote_ns += this.remote_ns - remote_before;
        shares.push((cpu_ns(host, vm) - cpu_before) as f64 / this.vcpus.len() as f64);
    }
    let scheduling_ns = (host.scheduling_ns - scheduling_ns) as f64;
    let locks_waited_ns = (host.scheduler.locks().waited_ns - locks.waited_ns) as f64;
    let nr_cpus = host.topology.online().count() as f64;
    Figures {
        work,
        llc_moves: (moves(host, |it| it.llc) - llc_moves) as f64 / seconds,
        node_moves: (moves(host, |it| it.node) - node_moves) as f64 / seconds,
        local: local_ns as f64 / (local_ns + remote_ns) as f64,
        idle_in_vain: (host.idle_in_vain_ns - idle_ns) as f64 / (ns as f64 * nr_cpus),
        decision_ns: scheduling_ns / (host.schedules - schedules) as f64,
        lock_waiting: locks_waited_ns / scheduling_ns,
        jain: jain(&shares),
        took_s,
    }
}

impl Figures {
    fn print(&self, kind: Kind, scheduler: &str) {
        let work: Vec<String> = self
            .work
            .iter()
            .filter(|&&work| work > 0.0)
            .map(|work| format!("{work:.0}"))
            .collect();
        println!(
            "| {} | {scheduler} | {} | {:.0} | {:.0} | {:.1} % | {:.3} % | {:.0} | {:.1} % | {:.4} | {:.1} |",
            kind.name(),
            work.join(" "),
            self.llc_moves,
            self.node_moves,
            100.0 * self.local,
            100.0 * self.idle_in_vain,
            self.decision_ns,
            100.0 * self.lock_waiting,
            self.jain,
            self.took_s,
        );
    }
}

const HEAD: &str = "| load | scheduler | work/s | LLC moves/s | node moves/s | local | idle in vain | \
                    ns a decision | waiting for locks | Jain | s a simulated s |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

const WARM_UP_NS: u64 = 1_000_000_000;
const WINDOW_NS: u64 = 2_000_000_000;

/// 128 CPUs in 8 LLCs and 2 nodes, 64 VMs, 2 : 1. KIND chooses one kind of load.
#[test]
#[ignore = "takes minutes"]
fn table() {
    let topology = Topology::new(2, 4, 8, 2);
    println!("{HEAD}");
    let wanted = std::env::var("KIND").ok();
    let wanted = |kind: &Kind| wanted.as_ref().is_none_or(|name| name == kind.name());
    for kind in Kind::all().filter(wanted) {
        let mut stock = host(&topology, Eevdf::new(&topology), kind, 1);
        measure(&mut stock, kind, WARM_UP_NS, WINDOW_NS).print(kind, "stock (model)");
        let scheduler = vmland(&topology, Settings::default());
        let mut ours = host(&topology, scheduler, kind, 1);
        measure(&mut ours, kind, WARM_UP_NS, WINDOW_NS).print(kind, "scx_vmland");
    }
}

/// What a decision costs with the queue locks, and how much of that is waiting, from 4 CPUs to
/// 512. KIND as above.
#[test]
#[ignore = "takes minutes"]
fn decisions() {
    println!("{HEAD}");
    let wanted = std::env::var("KIND").ok();
    let wanted = |kind: &Kind| wanted.as_ref().is_none_or(|name| name == kind.name());
    for kind in Kind::all().filter(wanted) {
        for (nodes, llcs, cores, threads) in
            [(1, 1, 4, 1), (1, 2, 8, 2), (2, 4, 8, 2), (2, 16, 8, 2)]
        {
            let topology = Topology::new(nodes, llcs, cores, threads);
            let scheduler = vmland(&topology, Settings::default());
            let mut host = host(&topology, scheduler, kind, 1);
            let figures = measure(&mut host, kind, WARM_UP_NS / 2, WINDOW_NS / 4);
            figures.print(kind, &format!("{} CPUs", topology.nr_cpus()));
        }
    }
}
