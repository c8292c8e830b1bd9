// SPDX-License-Identifier: GPL-2.0-only
//! What places cost, each cost by itself; and whether every CPU is served on any topology.

use fastrand::Rng;

use crate::vmland::{Settings, vmland};
use vmland_sim::eevdf::Eevdf;
use vmland_sim::machine::{Costs, Machine, Moves, State};
use vmland_sim::scheduler::Scheduler;
use vmland_sim::topology::{Place, Topology};
use vmland_sim::vm::Load;

const SECOND_NS: u64 = 1_000_000_000;
const CPU: Load = Load::Cpu { chunk_ns: 100_000 };

/// Work of VMs of one vCPU on such a host in a second, as a part of what one alone does.
fn slowness(topology: &Topology, vms: usize, memory: Option<usize>) -> Vec<f64> {
    let scheduler = vmland(topology, Settings::default());
    let mut host = Machine::new(topology, scheduler, Costs::default(), 1);
    for _ in 0..vms {
        match memory {
            Some(node) => host.add_vm_on(node, CPU, 1, 100),
            None => host.add_vm(CPU, 1, 100),
        };
    }
    host.run_for(SECOND_NS);
    host.vms
        .iter()
        .map(|vm| vm.work as f64 * 100_000.0 / SECOND_NS as f64)
        .collect()
}

fn is_about(value: f64, wanted: f64) -> bool {
    (value / wanted - 1.0).abs() < 0.01
}

/// A busy sibling makes both 1.6 times slower, an idle one neither.
#[test]
fn a_busy_sibling_slows() {
    let core = Topology::new(1, 1, 1, 2);
    let alone = slowness(&core, 1, None);
    let both = slowness(&core, 2, None);
    println!("alone {alone:.4?}, both {both:.4?}");
    assert!(is_about(alone[0], 1.0));
    assert!(both.iter().all(|&work| is_about(work, 1.0 / 1.6)));
}

/// A sibling that is busy for half of the time slows by half of that: what runs is rescaled when
/// the sibling falls idle, and when it is busy again.
#[test]
fn a_sibling_that_comes_and_goes_slows_meanwhile() {
    let topology = Topology::new(1, 1, 1, 2);
    let scheduler = vmland(&topology, Settings::default());
    let mut host = Machine::new(&topology, scheduler, Costs::default(), 1);
    let long = Load::Cpu {
        chunk_ns: 40_000_000,
    };
    let vm = host.add_vm(long, 1, 100);
    let thread = host.add_thread(&[], Some((10_000_000, 5_000_000)));
    host.run_for(100 * SECOND_NS);
    let busy = host.cpu_ns(thread) as f64 / (100.0 * SECOND_NS as f64);
    let work = host.vms[vm].work as f64 * 40e6 / (100.0 * SECOND_NS as f64);
    let wanted = 1.0 - busy * (1.0 - 1.0 / 1.6);
    println!("busy {busy:.4}, work {work:.4} of {wanted:.4}");
    assert!(is_about(work, wanted));
}

/// Memory on another node makes computing 1.3 times slower. Here that node has no CPUs.
#[test]
fn remote_memory_slows() {
    let place = |core| Place {
        node: 0,
        llc: 0,
        core,
    };
    let topology = Topology::of(vec![place(0), place(1)]);
    let local = slowness(&topology, 1, Some(0));
    let remote = slowness(&topology, 1, Some(1));
    let first_touch = slowness(&topology, 1, None);
    println!("local {local:.4?}, remote {remote:.4?}, first touch {first_touch:.4?}");
    assert!(is_about(local[0], 1.0));
    assert!(is_about(remote[0], 1.0 / 1.3));
    assert!(is_about(first_touch[0], 1.0));
}

/// A move to another LLC costs 50 us of work, and one within an LLC nothing. What is
/// missing is that and context switches.
#[test]
fn a_move_to_another_llc_costs() {
    for topology in [Topology::new(1, 1, 2, 1), Topology::new(1, 2, 1, 1)] {
        let scheduler = vmland(&topology, Settings::default());
        let mut host = Machine::new(&topology, scheduler, Costs::default(), 1);
        let vms: Vec<usize> = (0..3).map(|_| host.add_vm(CPU, 1, 100)).collect();
        host.run_for(10 * SECOND_NS);
        let cpu_ns: u64 = vms
            .iter()
            .map(|&vm| host.cpu_ns(host.vms[vm].vcpus[0]))
            .sum();
        let work_ns: u64 = host.vms.iter().map(|vm| vm.work * 100_000).sum();
        let moves = |of: fn(&Moves) -> u64| host.tasks.iter().map(|it| of(&it.moves)).sum::<u64>();
        let (cpu, llc) = (moves(|it| it.cpu), moves(|it| it.llc));
        let cost_ns = llc * 50_000 + host.scheduling_ns;
        println!("{cpu} moves, {llc} of LLC: {cost_ns} ns of {cpu_ns}");
        assert!(cpu > 50);
        assert_eq!(llc > 0, topology.llcs().len() > 1);
        // Chunks vary by a quarter.
        assert!((cpu_ns as f64 - cost_ns as f64 - work_ns as f64).abs() < 0.002 * cpu_ns as f64);
    }
}

/// On VMX a vCPU that comes from another CPU interrupts that one, and waits for it.
#[test]
fn a_vcpu_that_moves_interrupts_its_cpu() {
    let run = |vmclear_ns| {
        let costs = Costs {
            vmclear_ns,
            ..Costs::default()
        };
        let mut host = Machine::new(2, vmland(2, Settings::default()), costs, 1);
        (0..3).for_each(|_| {
            host.add_vm(CPU, 1, 100);
        });
        host.run_for(10 * SECOND_NS);
        let interrupts: u64 = host.cpus.iter().map(|cpu| cpu.interrupts).sum();
        let moves: u64 = host.tasks.iter().map(|task| task.moves.cpu).sum();
        let work: u64 = host.vms.iter().map(|vm| vm.work).sum();
        (interrupts as f64, moves as f64, work as f64)
    };
    let (before, _, most) = run(0);
    let (interrupts, moves, work) = run(100_000);
    println!("{before} interrupts, {interrupts} with {moves} moves; work {most}, {work}");
    assert!(moves > 1_000.0 && is_about(interrupts - before, moves));
    // The handler of the other CPU takes 1 us.
    assert!(is_about(work, most - moves * 101_000.0 / 100_000.0));
}

/// Queue locks: with one queue for all, CPUs wait for each other; a host with a single CPU waits
/// for nobody.
#[test]
fn queue_locks_are_waited_for() {
    let waiting = |topology: Topology| {
        let settings = Settings {
            one_queue: true,
            ..Settings::default()
        };
        let scheduler = vmland(&topology, settings);
        let mut host = Machine::new(&topology, scheduler, Costs::large(), 1);
        for _ in 0..2 * topology.nr_cpus() {
            host.add_vm(Load::Message { each_ns: 20_000 }, 2, 100);
        }
        host.run_for(SECOND_NS / 10);
        let locks = host.scheduler.locks();
        println!("{locks:?}, {} ns for scheduling", host.scheduling_ns);
        locks.waited_ns as f64 / host.scheduling_ns as f64
    };
    assert!(waiting(Topology::new(1, 1, 1, 1)) == 0.0);
    assert!(waiting(Topology::new(2, 4, 8, 2)) > 0.01);
}

/// No CPU idles while a task waits that may run there, for longer than this.
const UNSERVED_NS: u64 = 1_000_000;

/// A task that has waited for long, and a CPU that has been idle for long and may run it.
fn unserved<S: Scheduler>(host: &Machine<S>) -> Option<String> {
    let long_ago = host.now_ns.saturating_sub(UNSERVED_NS);
    let idle = |cpu: usize| host.cpus[cpu].current.is_none() && host.cpus[cpu].since_ns < long_ago;
    let cpus: Vec<usize> = host.topology.online().filter(|&cpu| idle(cpu)).collect();
    let user_thread = host.scheduler.user_thread();
    let mut tasks = host.tasks.iter().enumerate();
    tasks.find_map(|(id, task)| {
        if task.state != State::Ready || task.since_ns >= long_ago || Some(id) == user_thread {
            return None;
        }
        let allowed = |cpu: &&usize| task.joins.cpus.is_empty() || task.joins.cpus.contains(cpu);
        let cpu = cpus.iter().find(allowed)?;
        Some(format!("task {id} waits, CPU {cpu} idles"))
    })
}

/// On a host as no vendor makes it, with VMs of all kinds and threads bound to some CPUs.
fn run_random(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let nr_cpus = random.usize(1..=24);
    let mut topology = Topology::random(&mut random, nr_cpus);
    if random.usize(0..3) == 0 {
        let holes: Vec<usize> = (1..nr_cpus).filter(|_| random.usize(0..6) == 0).collect();
        topology = topology.offline(holes);
    }
    let online: Vec<usize> = topology.online().collect();
    let scheduler = vmland(&topology, Settings::default());
    let mut host = Machine::new(&topology, scheduler, Costs::large(), seed);
    let loads = [
        CPU,
        Load::Lock {
            held_ns: 2_000,
            outside_ns: 20_000,
        },
        Load::Message { each_ns: 50_000 },
        Load::Latency {
            period_ns: 2_000_000,
            each_ns: 500_000,
        },
        Load::Tlb {
            held_ns: 20_000,
            outside_ns: 200_000,
        },
    ];
    for _ in 0..random.usize(1..=4) {
        let load = loads[random.usize(0..loads.len())];
        // Wider than the host, at times.
        host.add_vm(load, random.usize(1..=online.len() + 2), 100);
    }
    for _ in 0..random.usize(0..=6) {
        let bound: Vec<usize> = match random.usize(0..3) {
            0 => vec![online[random.usize(0..online.len())]],
            1 => online.iter().copied().filter(|_| random.bool()).collect(),
            _ => Vec::new(),
        };
        host.add_thread(&bound, Some((random.u64(1..5_000_000), 300_000)));
    }
    host.run_for(5_000_000);
    for _ in 0..500 {
        host.run_for(200_000);
        if let Some(what) = unserved(&host) {
            panic!(
                "seed {seed}, {nr_cpus} CPUs, at {} ns: {what}\n{topology:?}",
                host.now_ns
            );
        }
    }
    let mut tasks = host.tasks.iter().skip(1);
    let starved = tasks.position(|task| task.last_cpu.is_none());
    assert_eq!(
        starved, None,
        "seed {seed}: a task has never run\n{topology:?}"
    );
}

/// Whatever the topology, no CPU is unserved and no task without a queue.
#[test]
fn any_topology_is_served() {
    (0..100).for_each(run_random);
}

/// Changes of node in a second, of tasks that compute, and part of their time for which vCPUs are on the
/// node of their memory.
fn nodes<S: Scheduler>(mut host: Machine<S>) -> (f64, f64) {
    host.run_for(6 * SECOND_NS);
    let memory = |host: &Machine<S>| {
        let vms = (0..host.vms.len()).map(|vm| host.near_and_far_ns(vm));
        vms.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    };
    let moves = |host: &Machine<S>| -> u64 {
        let computing = host.tasks.iter().filter(|task| !task.is_helper());
        computing.map(|task| task.moves.node).sum()
    };
    let before = (moves(&host), memory(&host));
    host.run_for(12 * SECOND_NS);
    let (near_ns, far_ns) = memory(&host);
    let (near_ns, far_ns) = (near_ns - before.1.0, far_ns - before.1.1);
    let moves = (moves(&host) - before.0) as f64 / 12.0;
    (moves, near_ns as f64 / (near_ns + far_ns) as f64)
}

/// Two nodes of two CPUs, VMs and threads that compute, and what the host does beside.
fn two_nodes<S: Scheduler>(
    scheduler: S,
    memory: Option<usize>,
    vms: &[usize],
    threads: usize,
) -> Machine<S> {
    let mut host = Machine::new(TWO_NODES(), scheduler, Costs::emulated(), 1);
    for &vcpus in vms {
        let vm = host.add_vm(CPU, vcpus, 100);
        if let Some(node) = memory {
            host.set_memory(host.vms[vm].vcpus[0], node);
        }
    }
    for _ in 0..threads {
        host.add_thread(&[], None);
    }
    for _ in 0..4 {
        host.add_thread(&[], Some((10_000_000, 50_000)));
    }
    host
}

const TWO_NODES: fn() -> Topology = || Topology::new(2, 1, 2, 1);

/// The emulated host has four CPUs in two sockets. There the stock scheduler's tasks change
/// socket 0.2 times a second while four VMs of one vCPU and four threads compute, and 1.9 times
/// while a VM of two vCPUs, whose memory is on node 0, and six threads do.
#[test]
fn stock_keeps_sockets() {
    let stock = |memory, vms: &[usize], threads| {
        nodes(two_nodes(Eevdf::new(TWO_NODES()), memory, vms, threads))
    };
    let ours = |memory, vms: &[usize], threads| {
        let scheduler = vmland(TWO_NODES(), Settings::default());
        nodes(two_nodes(scheduler, memory, vms, threads))
    };
    for (what, memory, vms, threads) in [
        ("sockets", None, &[1, 1, 1, 1][..], 4),
        ("nodes, 1 : 1", Some(0), &[2], 2),
        ("nodes, 2 : 1", Some(0), &[2], 6),
    ] {
        let (stock, stock_local) = stock(memory, vms, threads);
        let (ours, ours_local) = ours(memory, vms, threads);
        println!(
            "{what}: changes a second: stock {stock:.1}, scx_vmland {ours:.1}; local {stock_local:.3}, {ours_local:.3}"
        );
        assert!(stock <= 4.0);
    }
}
