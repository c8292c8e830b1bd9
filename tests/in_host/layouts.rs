// SPDX-License-Identifier: GPL-2.0-only
//! What libvirt and Proxmox VE set for a VM, in cgroups as they lay them out. Each line of the
//! tables in docs/platforms.md is checked here.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::control;
use crate::rig::{
    Cgroup, Guest, Hog, Scheduler, cpus_used, cpus_used_mostly, ms, set_affinity, stat_field,
    thread_cpu_ns, threads,
};
use crate::settings::assert_near;

/// The guests' CPUs, as taskset has them, and as numbers.
const BOTH: &str = "6";
const ALL: [usize; 2] = [1, 2];

/// CPU time is measured for so long.
const SPAN: Duration = ms(3_000);

/// A VM in the cgroups that libvirt makes where systemd and cgroup v2 are: a scope of systemd's,
/// below it one of libvirt's, and below that threaded ones for vCPUs, I/O threads and the rest.
struct Domain<'a> {
    guest: &'a Guest,
    emulator: Cgroup,
    iothread: Cgroup,
    vcpus: Vec<Cgroup>,
    libvirt: Cgroup,
    scope: Cgroup,
}

impl<'a> Domain<'a> {
    fn new(machine: &Cgroup, id: u32, guest: &'a Guest) -> Self {
        let scope = Cgroup::new(
            machine.path(),
            &format!(r"machine-qemu\x2d{id}\x2dvm.scope"),
        );
        let libvirt = Cgroup::new(scope.path(), "libvirt");
        let leaf = |name: &str| Cgroup::threaded(&libvirt, name);
        let tids = guest.vcpu_threads();
        let vcpus: Vec<_> = (0..tids.len()).map(|i| leaf(&format!("vcpu{i}"))).collect();
        let (emulator, iothread) = (leaf("emulator"), leaf("iothread1"));
        libvirt.take(guest.pid());
        for tid in threads(guest.pid()) {
            let vcpu = tids.iter().position(|vcpu| *vcpu == tid);
            vcpu.map_or(&emulator, |i| &vcpus[i]).take_thread(tid);
        }
        Self {
            guest,
            emulator,
            iothread,
            vcpus,
            libvirt,
            scope,
        }
    }

    /// A busy thread of QEMU's in `leaf`.
    fn busy(&self, leaf: &Cgroup) -> Hog {
        let hog = Hog::start(BOTH, 0);
        self.libvirt.take(hog.pid());
        leaf.take_thread(hog.pid());
        hog
    }
}

impl Drop for Domain<'_> {
    fn drop(&mut self) {
        // A cgroup whose threads run cannot be removed.
        self.libvirt.empty();
    }
}

/// Whether CPU time was split so. What the scheduler and others on the host took is not counted.
fn assert_split<const N: usize>(used: [f64; N], ideal: [f64; N]) {
    let [of_used, of_ideal] = [&used, &ideal].map(|all| all.iter().sum::<f64>());
    assert_near(used.map(|cpus| cpus * of_ideal / of_used), ideal, 0.1);
}

/// As libvirt pins a thread.
fn pin(leaf: &Cgroup, tid: i32, cpu: usize) {
    leaf.set("cpuset.cpus", cpu);
    set_affinity(tid, &[cpu]);
}

fn unpin(leaf: &Cgroup, tid: i32) {
    leaf.set("cpuset.cpus", "");
    set_affinity(tid, &ALL);
}

/// Asserts that each thread runs for `span`, on its CPU only.
fn assert_pinned(pinned: &[(i32, usize)], span: Duration) {
    let before: Vec<_> = pinned.iter().map(|(tid, _)| thread_cpu_ns(*tid)).collect();
    let end = Instant::now() + span;
    while Instant::now() < end {
        for &(tid, cpu) in pinned {
            assert_eq!(stat_field(tid, 39), cpu as u64, "the CPU of thread {tid}");
        }
        sleep(ms(5));
    }
    for ((tid, cpu), before) in pinned.iter().zip(before) {
        let ran = ms((thread_cpu_ns(*tid) - before) / 1_000_000);
        println!("thread {tid} on CPU {cpu}: {ran:?} of {span:?}");
        // Of two or three on a CPU.
        assert!(ran > span / 5, "{ran:?}");
    }
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn libvirt_shares_and_pins() {
    let mut scheduler = Scheduler::start(&[]);
    let [a, b] = Guest::take_all(["cpu-a", "cpu-b"]);
    let machine = Cgroup::new("", "machine.slice");
    let [a, b] = [(1, &a), (2, &b)].map(|(id, guest)| Domain::new(&machine, id, guest));
    let used = || [a.guest.cpu_ns(), b.guest.cpu_ns()];

    // cpu_shares
    a.scope.set("cpu.weight", 300);
    sleep(ms(500));
    assert_split(cpus_used_mostly(used, SPAN), [3.0, 1.0]);
    // A weight of scx_vmland's takes its place.
    control::done(&["vm", "set", "cpu-b", "weight=300"]);
    sleep(ms(500));
    assert_split(cpus_used_mostly(used, SPAN), [1.0, 1.0]);
    control::done(&["vm", "unset", "cpu-b"]);

    // A busy thread of QEMU's is within its VM's share, and there as much as a vCPU.
    a.scope.set("cpu.weight", 100);
    let emulator = a.busy(&a.emulator);
    sleep(ms(500));
    let used = || [a.guest.cpu_ns(), emulator.cpu_ns(), b.guest.cpu_ns()];
    assert_split(cpus_used_mostly(used, SPAN), [2.0, 1.0, 3.0]);

    // vcpupin, emulatorpin, iothreadpin
    let iothread = a.busy(&a.iothread);
    let vcpus = a.guest.vcpu_threads();
    let pinned = [
        (&a.vcpus[0], vcpus[0], 1),
        (&a.vcpus[1], vcpus[1], 2),
        (&a.emulator, emulator.pid(), 1),
        (&a.iothread, iothread.pid(), 2),
    ];
    for (leaf, tid, cpu) in pinned {
        pin(leaf, tid, cpu);
    }
    sleep(ms(100));
    assert_pinned(&pinned.map(|(_, tid, cpu)| (tid, cpu)), ms(1_000));
    for (leaf, tid, _) in pinned {
        unpin(leaf, tid);
    }
    scheduler.assert_alive();
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn proxmox_units_limit_and_affinity() {
    let mut scheduler = Scheduler::start(&[]);
    let guests = Guest::take_all(["cpu-a", "cpu-b"]);
    let slice = Cgroup::new("", "qemu.slice");
    let scopes = ["100.scope", "101.scope"].map(|name| Cgroup::new(slice.path(), name));
    for (scope, guest) in scopes.iter().zip(&guests) {
        scope.take(guest.pid());
    }
    let [a, b] = &guests;
    let used = || [a.cpu_ns(), b.cpu_ns()];

    // cpuunits
    scopes[1].set("cpu.weight", 300);
    sleep(ms(500));
    assert_split(cpus_used_mostly(used, SPAN), [1.0, 3.0]);

    // affinity: of all threads, from the start.
    let all = threads(a.pid());
    for &tid in &all {
        set_affinity(tid, &[1]);
    }
    sleep(ms(500));
    let pinned: Vec<_> = a.vcpu_threads().iter().map(|tid| (*tid, 1)).collect();
    scopes[1].set("cpu.weight", 100);
    assert_pinned(&pinned, ms(1_000));
    for &tid in &all {
        set_affinity(tid, &ALL);
    }

    // cpulimit
    scopes[0].set("cpu.max", "50000 100000");
    sleep(ms(500));
    let [limited, _] = cpus_used(used, SPAN);
    assert_near([limited], [0.5], 0.05);
    scopes[0].set("cpu.max", "max");
    sleep(ms(500));
    assert_split(cpus_used_mostly(used, SPAN), [1.0, 1.0]);
    scheduler.assert_alive();
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn libvirt_quotas() {
    let mut scheduler = Scheduler::start(&[]);
    let [a, b] = Guest::take_all(["cpu-a", "cpu-b"]);
    let machine = Cgroup::new("", "machine.slice");
    let [a, b] = [(1, &a), (2, &b)].map(|(id, guest)| Domain::new(&machine, id, guest));
    let [emulator, iothread] = [&a.emulator, &a.iothread].map(|leaf| a.busy(leaf));
    let vcpus = a.guest.vcpu_threads();
    let used = || {
        let [first, second] = [vcpus[0], vcpus[1]].map(thread_cpu_ns);
        [first, second, emulator.cpu_ns(), iothread.cpu_ns()]
    };

    // vcpu_quota of each vCPU, emulator_quota, iothread_quota with a period of its own
    for vcpu in &a.vcpus {
        vcpu.set("cpu.max", "30000 100000");
    }
    a.emulator.set("cpu.max", "20000 100000");
    a.iothread.set("cpu.max", "5000 25000");
    sleep(ms(500));
    // Seen in 12 runs: 0.291 to 0.312, 0.199 to 0.208, and 0.182 to 0.204 of the shorter period.
    assert_near(cpus_used(used, SPAN), [0.3, 0.3, 0.2, 0.2], 0.15);

    // global_quota: of all of them, within their own
    a.libvirt.set("cpu.max", "50000 100000");
    sleep(ms(500));
    let all = || [used().iter().sum(), b.guest.cpu_ns()];
    let [limited, _] = cpus_used(all, SPAN);
    assert_near([limited], [0.5], 0.05);
    a.guest.assert_progress();

    for group in a.vcpus.iter().chain([&a.emulator, &a.iothread, &a.libvirt]) {
        group.set("cpu.max", "max");
    }
    sleep(ms(500));
    assert_split(cpus_used_mostly(all, SPAN), [1.0, 1.0]);
    scheduler.assert_alive();
}
