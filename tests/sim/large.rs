// SPDX-License-Identifier: GPL-2.0-only
//! Hosts with several LLCs and nodes, beside the model of the stock scheduler.
//!
//! `cargo test --release --locked --test sim large -- --ignored --nocapture` writes the figures of
//! docs/simulator.md.

use serde_json::{Map, Value, json};

use crate::fairness::jain;
use crate::figures::{rounded, write};
use crate::vmland::{Settings, vmland};
use vmland_sim::eevdf::Eevdf;
use vmland_sim::machine::{Costs, Machine, Moves};
use vmland_sim::scheduler::Scheduler;
use vmland_sim::topology::Topology;
use vmland_sim::vm::Load;

/// vCPUs of 16 VMs: 64 in all.
const SIZES: [usize; 16] = [2, 4, 2, 8, 2, 2, 4, 2, 16, 2, 2, 4, 2, 8, 2, 2];

const KINDS: [(&str, Load); 7] = [
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
    // The load of the host changes: VMs sleep, and all their vCPUs wake at once.
    (
        "bursts",
        Load::Latency {
            period_ns: 400_000_000,
            each_ns: 120_000_000,
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
}

/// VMs for a host, that many vCPUs for each CPU. A VM weighs by its vCPUs, as the stock scheduler's
/// model has no groups. The nodes have the memory of as many vCPUs.
pub fn host<S: Scheduler>(
    topology: &Topology,
    scheduler: S,
    kind: Kind,
    vcpus_per_cpu: usize,
    seed: u64,
) -> Machine<S> {
    let mut host = Machine::new(topology, scheduler, Costs::large(), seed);
    let mut of_node = vec![0; topology.nodes().len()];
    let mut left = vcpus_per_cpu * topology.nr_cpus();
    for vm in 0.. {
        let vcpus = SIZES[vm % SIZES.len()].min(left);
        let load = match KINDS[kind.of(vm)].1 {
            // Guests do not tick together.
            Load::Latency { period_ns, each_ns } => Load::Latency {
                period_ns: period_ns + vm as u64 % 16 * period_ns / 400,
                each_ns,
            },
            load => load,
        };
        let node = (0..of_node.len()).min_by_key(|&node| of_node[node]);
        let node = node.expect("there is a node");
        of_node[node] += vcpus;
        host.add_vm_on(node, load, vcpus, 50 * vcpus as u32);
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
            (this.work, host.near_and_far_ns(vm), cpu_ns(host, vm))
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
    host.run_for(ns);
    let seconds = ns as f64 / 1e9;
    let mut work = [0.0; KINDS.len()];
    let (mut local_ns, mut remote_ns) = (0, 0);
    let mut shares = Vec::new();
    for (vm, (work_before, memory_before, cpu_before)) in before.iter().enumerate() {
        let this = &host.vms[vm];
        work[kind.of(vm)] += (this.work - work_before) as f64 / seconds;
        let (near_ns, far_ns) = host.near_and_far_ns(vm);
        local_ns += near_ns - memory_before.0;
        remote_ns += far_ns - memory_before.1;
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
    }
}

impl Figures {
    fn row(&self, kind: Kind, scheduler: &str, seed: u64) -> Value {
        let work = KINDS.iter().zip(self.work).filter(|(_, work)| *work > 0.0);
        let work: Map<String, Value> = work
            .map(|((name, _), work)| (name.to_string(), rounded(work).into()))
            .collect();
        json!({
            "load": kind.name(), "scheduler": scheduler, "seed": seed, "work_per_s": work,
            "llc_moves_per_s": rounded(self.llc_moves),
            "node_moves_per_s": rounded(self.node_moves),
            "local": rounded(self.local),
            "idle_in_vain": self.idle_in_vain,
            "decision_ns": rounded(self.decision_ns),
            "lock_waiting": rounded(self.lock_waiting),
            "jain": rounded(self.jain),
        })
    }
}

const WARM_UP_NS: u64 = 5_000_000_000;
const WINDOW_NS: u64 = 2_000_000_000;
const SEEDS: u64 = 3;

/// KIND chooses one kind of load, for a look at it.
fn kinds() -> impl Iterator<Item = Kind> {
    let wanted = std::env::var("KIND").ok();
    Kind::all().filter(move |kind| wanted.as_ref().is_none_or(|name| name == kind.name()))
}

/// 128 CPUs in 8 LLCs and 2 nodes, 32 VMs and 64 VMs: 1 : 1 and 2 : 1.
#[test]
#[ignore = "writes docs/figures/sim-large.json, in some minutes"]
fn table() {
    let topology = Topology::new(2, 4, 8, 2);
    let mut rows = Vec::new();
    for (kind, vcpus, seed) in kinds()
        .flat_map(|kind| [1, 2].map(|vcpus| (kind, vcpus)))
        .flat_map(|(kind, vcpus)| (1..=SEEDS).map(move |seed| (kind, vcpus, seed)))
    {
        let mut add = |scheduler, figures: Figures| {
            let mut row = figures.row(kind, scheduler, seed);
            row["vcpus_per_cpu"] = vcpus.into();
            println!("{row}");
            rows.push(row);
        };
        let mut stock = host(&topology, Eevdf::new(&topology), kind, vcpus, seed);
        add("eevdf", measure(&mut stock, kind, WARM_UP_NS, WINDOW_NS));
        let scheduler = vmland(&topology, Settings::default());
        let mut ours = host(&topology, scheduler, kind, vcpus, seed);
        add(
            "scx_vmland",
            measure(&mut ours, kind, WARM_UP_NS, WINDOW_NS),
        );
    }
    if std::env::var("KIND").is_err() {
        write("sim-large.json", "large::table", &rows);
    }
}

/// What a decision costs with the queue locks, and how much of that is waiting, from 4 CPUs to
/// 512.
#[test]
#[ignore = "writes docs/figures/sim-decisions.json, in some minutes"]
fn decisions() {
    let mut rows = Vec::new();
    for kind in kinds() {
        for (nodes, llcs, cores, threads) in
            [(1, 1, 4, 1), (1, 2, 8, 2), (2, 4, 8, 2), (2, 16, 8, 2)]
        {
            let topology = Topology::new(nodes, llcs, cores, threads);
            let scheduler = vmland(&topology, Settings::default());
            let mut host = host(&topology, scheduler, kind, 2, 1);
            let figures = measure(&mut host, kind, WARM_UP_NS / 10, WINDOW_NS / 4);
            let mut row = figures.row(kind, "scx_vmland", 1);
            row["cpus"] = topology.nr_cpus().into();
            println!("{row}");
            rows.push(row);
        }
    }
    if std::env::var("KIND").is_err() {
        write("sim-decisions.json", "large::decisions", &rows);
    }
}

/// On a large host, too, no CPU idles while a task waits that may run there: not for 0.1 % of the
/// time. VMs whose vCPUs sleep have most occasions.
#[test]
fn no_cpu_idles_in_vain() {
    let topology = Topology::new(2, 4, 8, 2);
    for kind in [Kind::Mix, Kind::Only(4), Kind::Only(5)] {
        let scheduler = vmland(&topology, Settings::default());
        let mut host = host(&topology, scheduler, kind, 2, 1);
        let figures = measure(&mut host, kind, WARM_UP_NS / 25, WINDOW_NS / 10);
        println!("{}: {:.6}", kind.name(), figures.idle_in_vain);
        assert!(figures.idle_in_vain <= 0.001);
    }
}
