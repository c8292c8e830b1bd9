// SPDX-License-Identifier: GPL-2.0-only
//! Thousands of threads that compute: nobody waits until the kernel ejects the scheduler, and
//! neither kernel threads nor VMs nor quotas suffer.

use crate::vmland::{Settings, Vmland, vmland};
use vmland_sim::ext::Ext;
use vmland_sim::machine::{Costs, Machine, State};
use vmland_sim::scheduler::TaskId;
use vmland_sim::vm::Load;

type Host = Machine<Ext<Vmland>>;

const SECOND_NS: u64 = 1_000_000_000;
const CPU: Load = Load::Cpu {
    chunk_ns: 1_000_000,
};

/// A thread of the kernel's on each CPU.
fn kernel_threads(host: &mut Host, sleeps_works_ns: (u64, u64)) -> Vec<TaskId> {
    let threads = (0..host.cpus.len()).map(|cpu| {
        let task = host.add_thread(&[cpu], Some(sleeps_works_ns));
        host.scheduler.set_kthread(task);
        task
    });
    threads.collect()
}

/// What a host of `nr_cpus` CPUs is like on which thousands of threads compute.
struct Crowd {
    host: Host,
    vcpus: Vec<TaskId>,
    /// Threads of the kernel's that have little to do, and such that are busy.
    light: Vec<TaskId>,
    busy: Vec<TaskId>,
    threads: Vec<TaskId>,
}

impl Crowd {
    /// `count` threads on the CPUs `on` (none: all), beside a VM of two vCPUs.
    fn new(nr_cpus: usize, count: usize, on: &[usize]) -> Self {
        let scheduler = vmland(nr_cpus, Settings::default());
        let mut host = Machine::new(nr_cpus, scheduler, Costs::default(), 1);
        let mut light = kernel_threads(&mut host, (10_000_000, 50_000));
        // As RCU's, which is not bound to a CPU.
        light.push(host.add_thread(&[], Some((4_000_000, 20_000))));
        host.scheduler.set_kthread(light[nr_cpus]);
        let busy = kernel_threads(&mut host, (1_000_000, 1_000_000));
        let vm = host.add_vm(CPU, 2, 100);
        let vcpus = host.vms[vm].vcpus.clone();
        host.run_for(SECOND_NS);
        let threads = (0..count).map(|_| host.add_thread(on, None)).collect();
        Self {
            host,
            vcpus,
            light,
            busy,
            threads,
        }
    }

    /// The longest that one of `tasks` has waited, or waits now, in seconds.
    fn longest_wait(&self, tasks: &[TaskId]) -> f64 {
        let waits_ns = |&task: &TaskId| {
            let task = &self.host.tasks[task];
            match task.state {
                State::Ready => task.waited_ns.max(self.host.now_ns - task.since_ns),
                _ => task.waited_ns,
            }
        };
        tasks.iter().map(waits_ns).max().expect("some") as f64 / 1e9
    }

    /// CPUs that each of these groups of tasks uses in 40 s, after 25.
    fn cpus<const N: usize>(&mut self, groups: [&[TaskId]; N]) -> [f64; N] {
        let used = |host: &Host| {
            groups.map(|tasks| tasks.iter().map(|&task| host.cpu_ns(task)).sum::<u64>())
        };
        self.host.run_for(25 * SECOND_NS);
        let before = used(&self.host);
        self.host.run_for(40 * SECOND_NS);
        let after = used(&self.host);
        std::array::from_fn(|i| (after[i] - before[i]) as f64 / (40 * SECOND_NS) as f64)
    }

    /// Nobody waits for as long as the kernel allows, which is 30 s, and kernel threads wait for
    /// less than a second. The longest waits of vCPUs are those of debts from before the crowd.
    fn check_waits(&self) {
        let threads = self.longest_wait(&self.threads);
        let vcpus = self.longest_wait(&self.vcpus);
        let kernel = [&self.light, &self.busy].map(|tasks| self.longest_wait(tasks));
        println!(
            "  longest waits: threads {threads:.2} s, vCPUs {vcpus:.3} s, kernel {kernel:.3?} s"
        );
        assert!(threads < 25.0 && vcpus < 25.0, "{threads} s, {vcpus} s");
        assert!(kernel[0] < 1.0 && kernel[1] < 1.0, "{kernel:?} s");
    }
}

/// On all CPUs, on one and on some.
#[test]
fn thousands_of_threads() {
    for (nr_cpus, count, on, fair) in [
        (1, 4_000, vec![], 0.0005),
        (2, 4_000, vec![], 0.001),
        (8, 8_000, vec![], 0.002),
        // The vCPUs have other CPUs: half of one beside the busy kernel thread and each other.
        (2, 4_000, vec![1], 0.7),
        (8, 4_000, vec![3], 1.95),
        (8, 4_000, vec![1, 2], 1.95),
    ] {
        let mut crowd = Crowd::new(nr_cpus, count, &on);
        let [vm, threads] = crowd.cpus([&crowd.vcpus.clone(), &crowd.threads.clone()]);
        println!(
            "{nr_cpus} CPUs, {count} threads on {on:?}: VM {vm:.5}, threads {threads:.3} CPUs"
        );
        crowd.check_waits();
        // Beside 4 000 on one CPU that is 20 turns of a millisecond: 0.85 to 1.05 measured.
        assert!(vm >= 0.75 * fair, "{vm} of {fair}");
    }
}

/// A quota of all threads, and one of another cgroup.
#[test]
fn quotas_hold() {
    for (nr_cpus, count, quota_us) in [
        (2, 1_000, 1_000),
        (2, 1_000, 20_000),
        (2, 4_000, 20_000),
        (8, 4_000, 100_000),
    ] {
        let mut crowd = Crowd::new(nr_cpus, count, &[]);
        let other = vec![crowd.host.add_thread(&[], None)];
        for (tasks, quota_us) in [(&crowd.threads, quota_us), (&other, 20_000)] {
            let cgroup = crowd.host.scheduler.add_cgroup(quota_us, 100_000);
            for &task in tasks {
                crowd.host.scheduler.enter_cgroup(task, &cgroup);
            }
        }
        let [threads, another] = crowd.cpus([&crowd.threads.clone(), &other]);
        let quota = quota_us as f64 / 100_000.0;
        println!("{nr_cpus} CPUs, {count} threads: {threads:.4} of {quota}, another {another:.4}");
        crowd.check_waits();
        assert!((threads / quota - 1.0).abs() < 0.05, "{threads} of {quota}");
        assert!((another / 0.2 - 1.0).abs() < 0.05, "{another} of 0.2");
    }
}

/// A quota that is set while a thousand threads wait holds from then on: they are throttled at
/// once, and none runs once more before that.
#[test]
fn a_new_quota_holds_at_once() {
    let mut host = Machine::new(2, vmland(2, Settings::default()), Costs::default(), 1);
    let threads: Vec<TaskId> = (0..1_000).map(|_| host.add_thread(&[], None)).collect();
    let cgroup = host.scheduler.add_cgroup(u64::MAX, 100_000);
    for &task in &threads {
        host.scheduler.enter_cgroup(task, &cgroup);
    }
    host.run_for(3 * SECOND_NS);
    let at = host.at(0);
    host.scheduler.set_quota(&cgroup, 2_000, 100_000, at);
    host.after_scheduler(0);
    let used = |host: &Host| threads.iter().map(|&task| host.cpu_ns(task)).sum::<u64>();
    let before = used(&host);
    host.run_for(SECOND_NS / 2);
    let used_ms = (used(&host) - before) as f64 / 1e6;
    println!("{used_ms:.1} of 10 ms");
    // It was 100 ms, 0.1 of each, and then none for five seconds.
    assert!((4.0..=12.0).contains(&used_ms), "{used_ms} ms");
}
