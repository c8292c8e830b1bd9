// SPDX-License-Identifier: GPL-2.0-only
//! What happens to a host, and must not harm it: each fault while guests work and the scheduler
//! is attached. Afterwards it still is, no task was stranded, and the guests go on.
//!
//! soak.rs inflicts them in random order.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::RwLock;
use std::thread::{Builder, scope, sleep};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use crate::control;
use crate::rig::{
    Guest, Hog, Scheduler, bare_vm, ms, read, sched_ext_state, set_affinity, threads, vmland_vms,
    wait_for,
};

/// The scheduler, and guests that work.
pub struct World {
    pub scheduler: Scheduler,
    pub guests: [Guest; 2],
}

pub type Fault = fn(&mut World, &mut Rng);

/// Those that soak.rs chooses from.
pub const FAULTS: [(&str, Fault); 17] = [
    ("hangups", hangups),
    ("stopped", stopped),
    ("starved", starved),
    ("forks", forks),
    ("hotplug", hotplug),
    ("affinity", affinity),
    ("cpusets", cpusets),
    ("cgroups", cgroups),
    ("quotas", quotas),
    ("classes", classes),
    ("bare_vms", bare_vms),
    ("a_wide_vm", a_wide_vm),
    ("vcpus_in_turn", vcpus_in_turn),
    ("clocks", clocks),
    ("suspended", suspended),
    ("killed", killed),
    ("settings", settings),
];

impl World {
    pub fn new() -> Self {
        Self {
            scheduler: Scheduler::start(&[]),
            guests: Guest::take_all(["lock-a", "tlb-a"]),
        }
    }

    pub fn suffer(&mut self, rng: &mut Rng, fault: Fault) {
        let stalls = stalls();
        fault(self, rng);
        self.scheduler.assert_alive();
        self.guests.iter().for_each(Guest::assert_progress);
        assert_eq!(self::stalls(), stalls, "{}", self.scheduler.log());
    }

    /// The guests work all the time.
    fn go_on(&self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.guests.iter().for_each(Guest::assert_progress);
            sleep(ms(200));
        }
    }

    fn vcpus(&self) -> Vec<i32> {
        self.guests.iter().flat_map(Guest::vcpu_threads).collect()
    }
}

/// Complaints of the kernel about tasks that do not run.
fn stalls() -> usize {
    let log = Command::new("dmesg").output().expect("dmesg").stdout;
    let log = String::from_utf8_lossy(&log).to_lowercase();
    let of = |text| log.matches(text).count();
    of("runnable task stall") + of("blocked for more than") + of("rcu_preempt detected stalls")
}

pub const SYSCTL: &str = "/proc/sys/vm/compact_unevictable_allowed";

/// A reload takes 0.1 ms for each rule and VM; the signals that come meanwhile are one.
fn hangups(world: &mut World, rng: &mut Rng) {
    for _ in 0..200 {
        world.scheduler.signal_at_once(libc::SIGHUP);
        sleep(Duration::from_micros(rng.u64(0..2_000)));
    }
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_storm_of_signals_to_end() {
    let before = read(SYSCTL);
    let World { scheduler, guests } = World::new();
    assert_eq!(read(SYSCTL), "0");
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].repeat(20) {
        scheduler.signal_at_once(signal);
    }
    let took = wait_for("the kernel's own scheduler", ms(1_000), || {
        sched_ext_state() == "disabled"
    });
    println!("disabled after {took:?}");
    assert!(scheduler.wait().success());
    assert_eq!(read(SYSCTL), before, "the host's value");
    guests.iter().for_each(Guest::assert_progress);
}

/// User space hangs: BPF goes on alone. A scheduler that waits for it leaves tasks waiting.
fn stopped(world: &mut World, _: &mut Rng) {
    for seconds in [1, 4, 10] {
        world.scheduler.signal("STOP");
        world.go_on(Duration::from_secs(seconds));
        world.scheduler.signal("CONT");
        world.go_on(ms(500));
    }
}

/// A real-time task has the CPU of user space, but for what the kernel keeps of it for others:
/// a twentieth.
fn starved(world: &mut World, _: &mut Rng) {
    let threads = threads(world.scheduler.pid());
    for &thread in &threads {
        set_affinity(thread, &[2]);
    }
    let realtime = Hog::start("4", 0);
    realtime.make_realtime();
    world.go_on(ms(4_000));
    drop(realtime);
    for thread in threads {
        set_affinity(thread, &[0, 1, 2]);
    }
}

/// The kernel takes over, and the next start sets back what was left. That took 0.3 to 0.5 s, and
/// 2.7 s once on a machine with ten compilers. survive.rs asserts 1 s.
fn killed(world: &mut World, rng: &mut Rng) {
    world
        .scheduler
        .signal(rng.choice(["KILL", "ABRT"]).expect("one"));
    let took = wait_for("the kernel's own scheduler", ms(5_000), || {
        sched_ext_state() == "disabled"
    });
    println!("disabled after {took:?}");
    world.scheduler.replace();
    assert!(world.scheduler.log().contains("is set back"));
}

/// 10 000 tasks that become runnable at once. Fair again within 1 s: the guests go on.
fn forks(world: &mut World, _: &mut Rng) {
    const TASKS: usize = 10_000;
    // To start them takes 12 s here, and three times as long beside the guests.
    world.guests.iter().for_each(Guest::pause);
    let gate = RwLock::new(());
    scope(|scope| {
        let closed = gate.write();
        for _ in 0..TASKS {
            let task = || drop(gate.read());
            let started = Builder::new()
                .stack_size(16 << 10)
                .spawn_scoped(scope, task);
            started.expect("room for the task");
        }
        world.guests.iter().for_each(Guest::resume);
        drop(closed);
    });
}

pub fn plug(online: bool) {
    let text = if online { "1" } else { "0" };
    fs::write("/sys/devices/system/cpu/cpu2/online", text).expect("a CPU that can go");
}

/// Ten times in 5 s. What was set stays set.
fn hotplug(_: &mut World, rng: &mut Rng) {
    set("lock-a", "weight=400");
    for _ in 0..10 {
        plug(false);
        sleep(ms(rng.u64(100..250)));
        plug(true);
        sleep(ms(rng.u64(100..250)));
    }
    let shown = control::show("lock-a", "0.2");
    let settings = shown["settings"].as_array().expect("a list");
    let weight = settings.iter().find(|setting| setting["key"] == "weight");
    assert_eq!(weight.expect("is shown")["value"], "400");
    control::done(&["vm", "unset", "lock-a"]);
}

/// A VM that has just been seen is not known at once.
fn set(vm: &str, setting: &str) {
    wait_for("the VM", ms(5_000), || {
        vmland_vms().iter().any(|known| known["name"] == vm)
    });
    control::done(&["vm", "set", vm, setting]);
}

/// Of the vCPUs, at 1 kHz, under hand-offs and co-scheduling.
fn affinity(world: &mut World, rng: &mut Rng) {
    set("lock-a", "cosched=strict");
    let vcpus = world.vcpus();
    let end = Instant::now() + ms(3_000);
    while Instant::now() < end {
        let cpus = rng.choice([&[1][..], &[2], &[1, 2]]).expect("one");
        set_affinity(*rng.choice(&vcpus).expect("one"), cpus);
        sleep(ms(1));
    }
    for vcpu in vcpus {
        set_affinity(vcpu, &[1, 2]);
    }
    control::done(&["vm", "unset", "lock-a"]);
}

const CGROUPS: &str = "/sys/fs/cgroup";

fn use_controller(name: &str) {
    let file = format!("{CGROUPS}/cgroup.subtree_control");
    fs::write(file, format!("+{name}")).expect("the controller");
}

fn enter(cgroup: &str, pid: i32) {
    fs::write(format!("{cgroup}/cgroup.procs"), pid.to_string()).expect("moved");
}

/// Of a cgroup of the guests', at 1 kHz or as fast as the kernel does it.
fn cpusets(world: &mut World, rng: &mut Rng) {
    set("lock-a", "cosched=strict");
    use_controller("cpuset");
    let cgroup = format!("{CGROUPS}/fault-cpuset");
    fs::create_dir(&cgroup).expect("a cgroup");
    for guest in &world.guests {
        enter(&cgroup, guest.pid());
    }
    let end = Instant::now() + ms(2_000);
    while Instant::now() < end {
        let cpus = rng.choice(["1", "2", "1-2"]).expect("one");
        fs::write(format!("{cgroup}/cpuset.cpus"), cpus).expect("CPUs that there are");
        sleep(ms(1));
    }
    for guest in &world.guests {
        enter(CGROUPS, guest.pid());
    }
    fs::remove_dir(&cgroup).expect("an empty cgroup");
    control::done(&["vm", "unset", "lock-a"]);
}

/// A millisecond in a tenth of a second for eight tasks, which are stopped and continued all the
/// time. When the machine stands still for some ms, one of them overdraws that, and all make up
/// for it later. So these 3 s had 5 to 32 of 30 ms; when a tick was free it was 240 ms.
fn quotas(_: &mut World, rng: &mut Rng) {
    const SPAN: Duration = Duration::from_secs(3);
    use_controller("cpu");
    let cgroup = format!("{CGROUPS}/fault-quota");
    fs::create_dir(&cgroup).expect("a cgroup");
    let hogs = [(); 8].map(|()| Hog::start("6", 0));
    for hog in &hogs {
        enter(&cgroup, hog.pid());
    }
    fs::write(format!("{cgroup}/cpu.max"), "1000 100000").expect("a quota");
    // What they overdraw when it is set.
    sleep(ms(500));
    let cpu_ns = || hogs.iter().map(Hog::cpu_ns).sum::<u64>();
    let (start, before) = (Instant::now(), cpu_ns());
    while start.elapsed() < SPAN {
        let hog = rng.choice(&hogs).expect("one");
        hog.signal(libc::SIGSTOP);
        sleep(ms(rng.u64(0..20)));
        hog.signal(libc::SIGCONT);
    }
    let used_ms = (cpu_ns() - before) as f64 / 1e6;
    println!("{used_ms:.1} of 30 ms");
    drop(hogs);
    fs::remove_dir(&cgroup).expect("an empty cgroup");
    assert!((1.0..=100.0).contains(&used_ms), "{used_ms:.1} of 30 ms");
}

/// Made, with a task and a quota in them, nested, and removed.
fn cgroups(_: &mut World, rng: &mut Rng) {
    use_controller("cpu");
    let hogs = [Hog::start("6", 0), Hog::start("6", 0)];
    let end = Instant::now() + ms(3_000);
    for i in 0.. {
        if Instant::now() > end {
            break;
        }
        let outer = format!("{CGROUPS}/fault-{}", i % 7);
        let inner = format!("{outer}/inner");
        fs::create_dir_all(&inner).expect("a cgroup");
        for (file, value) in [
            ("cgroup.subtree_control", "+cpu".to_owned()),
            ("cpu.weight", rng.u32(1..10_000).to_string()),
            ("cpu.max", format!("{} 10000", rng.u32(1_000..50_000))),
        ] {
            fs::write(format!("{outer}/{file}"), value).expect(file);
        }
        enter(&inner, rng.choice(&hogs).expect("one").pid());
        sleep(ms(rng.u64(0..8)));
        for hog in &hogs {
            enter(CGROUPS, hog.pid());
        }
        for dir in [&inner, &outer] {
            fs::remove_dir(dir).expect("an empty cgroup");
        }
    }
}

/// From linux/sched.h.
const SCHED_EXT: i32 = 7;

fn set_class(tid: i32, policy: i32) {
    let param = libc::sched_param {
        sched_priority: i32::from(policy == libc::SCHED_FIFO),
    };
    // SAFETY: the parameter is valid. The thread may have ended.
    unsafe { libc::sched_setscheduler(tid, policy, &raw const param) };
}

/// vCPUs leave for other classes, real-time ones too, and come back.
fn classes(world: &mut World, rng: &mut Rng) {
    let vcpus = world.vcpus();
    let end = Instant::now() + ms(3_000);
    while Instant::now() < end {
        let vcpu = *rng.choice(&vcpus).expect("one");
        let policies = [
            libc::SCHED_FIFO,
            libc::SCHED_BATCH,
            libc::SCHED_IDLE,
            SCHED_EXT,
        ];
        set_class(vcpu, rng.choice(policies).expect("one"));
        sleep(ms(rng.u64(1..10)));
        set_class(vcpu, libc::SCHED_OTHER);
    }
}

/// 200 VMs in a few seconds, several at a time. None stays known.
fn bare_vms(_: &mut World, _: &mut Rng) {
    scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                set_affinity(0, &[1, 2]);
                for _ in 0..50 {
                    bare_vm::run(2, ms(40));
                }
            });
        }
    });
    assert_none_of_ours_is_known();
}

/// Of the VMs that live in this process.
fn known_of_ours() -> Vec<Value> {
    let own = i64::from(std::process::id());
    let mut vms = vmland_vms();
    vms.retain(|vm| vm["pid"] == own);
    vms
}

fn assert_none_of_ours_is_known() {
    wait_for("only guests to be known", ms(5_000), || {
        known_of_ours().is_empty()
    });
}

/// A VM of 200 vCPUs, all of which compute.
fn a_wide_vm(world: &mut World, _: &mut Rng) {
    scope(|scope| {
        scope.spawn(|| {
            set_affinity(0, &[1, 2]);
            bare_vm::run(200, ms(3_000));
        });
        world.go_on(ms(2_500));
    });
    assert_none_of_ours_is_known();
}

/// A thread that runs three vCPUs in turn, as gVisor does: the VM stays the same one.
fn vcpus_in_turn(_: &mut World, _: &mut Rng) {
    let mut seen = BTreeSet::new();
    scope(|scope| {
        let vm = scope.spawn(|| {
            set_affinity(0, &[1, 2]);
            bare_vm::run_in_turn(3, ms(2_000));
        });
        while !vm.is_finished() {
            for vm in known_of_ours() {
                seen.insert((
                    vm["id"].to_string(),
                    vm["vcpus"].as_array().map_or(0, Vec::len),
                ));
            }
        }
    });
    // It has one thread.
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen.iter().all(|(_, vcpus)| *vcpus == 1), "{seen:?}");
    assert_none_of_ours_is_known();
}

/// The time of the day goes an hour forth and back.
fn clocks(_: &mut World, _: &mut Rng) {
    for hours in [1, -1, -1, 1].repeat(10) {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the time is valid, and outlives the calls.
        let set = unsafe {
            libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now);
            now.tv_sec += hours * 3_600;
            libc::clock_settime(libc::CLOCK_REALTIME, &raw const now)
        };
        assert_eq!(set, 0, "clock_settime");
        sleep(ms(20));
    }
}

/// The host goes to sleep and wakes up as far as the kernel can test it here: it freezes all
/// processes, and does without the scheduler meanwhile.
fn suspended(_: &mut World, _: &mut Rng) {
    for (file, value) in [
        ("/sys/module/suspend/parameters/pm_test_delay", "1"),
        ("/sys/power/pm_test", "freezer"),
        ("/sys/power/state", "freeze"),
        ("/sys/power/pm_test", "none"),
    ] {
        fs::write(file, value).unwrap_or_else(|e| panic!("{file}: {e}"));
    }
}

/// At random, of a guest.
fn settings(_: &mut World, rng: &mut Rng) {
    for _ in 0..10 {
        let setting = match rng.u32(0..6) {
            0 => format!("weight={}", rng.u32(1..=10_000)),
            1 => format!("cap={:.2}", 0.05 + rng.f64()),
            2 => format!("slice={}us", rng.u32(500..20_000)),
            3 => format!(
                "cosched={}",
                rng.choice(["off", "auto", "strict"]).expect("one")
            ),
            4 => format!(
                "latency={}",
                rng.choice(["low", "normal", "batch"]).expect("one")
            ),
            _ => format!("cpus={}", rng.choice(["1", "2", "1-2"]).expect("one")),
        };
        let vm = rng.choice(["lock-a", "tlb-a"]).expect("one");
        // Refused where it contradicts what was set before, or the VM is not known yet.
        let _ = Command::new("vmland")
            .args(["vm", "set", vm, &setting])
            .output();
        sleep(ms(100));
    }
    for vm in ["lock-a", "tlb-a"] {
        let _ = Command::new("vmland").args(["vm", "unset", vm]).output();
    }
}
