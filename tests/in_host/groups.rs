// SPDX-License-Identifier: GPL-2.0-only
//! Weights and quotas of cgroups, and caps of VMs.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::rig::{Cgroup, GUEST_CPUS, Guest, Hog, Scheduler, cpus_used, ms, wait_for};
use crate::settings::assert_near;

const CONFIG: &str = "/tmp/cgroup.toml";

/// The guests' CPUs, as taskset has them.
const BOTH: &str = "6";

/// The guests' CPUs, split by weight.
fn parts<const N: usize>(weights: [f64; N]) -> [f64; N] {
    let total: f64 = weights.iter().sum();
    weights.map(|weight| GUEST_CPUS as f64 * weight / total)
}

/// The time until `hog` gets at least `part` of a CPU in 20 ms.
fn time_until(hog: &Hog, part: f64) -> Duration {
    let start = Instant::now();
    loop {
        let (since, before) = (Instant::now(), hog.cpu_ns());
        sleep(ms(20));
        let used = (hog.cpu_ns() - before) as f64 / since.elapsed().as_nanos() as f64;
        if used >= part {
            return start.elapsed();
        }
        assert!(start.elapsed() < ms(3_000), "it gets {used:.2} of a CPU");
    }
}

/// The first guest of three in `/a`, the others in `/p/b` and `/p/c`, and a task in `/t`.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn cgroups_split_the_host() {
    fs::write(CONFIG, "").expect("/tmp is writable");
    let mut scheduler = Scheduler::start(&["--config", CONFIG]);
    let guests = Guest::take_all(["cpu-a", "cpu-b", "cpu-c"]);
    let [p, t] = ["p", "t"].map(|name| Cgroup::new("", name));
    let groups =
        [("", "a"), (p.path(), "b"), (p.path(), "c")].map(|(p, name)| Cgroup::new(p, name));
    for (group, guest) in groups.iter().zip(&guests) {
        group.take(guest.pid());
    }
    let [a, b, c] = groups;
    let hog = Hog::start(BOTH, 0);
    t.take(hog.pid());

    weights([&a, &b, &c], &p, &t, &hog);
    drop(hog);
    quotas(&mut scheduler, &guests, [&a, &b, &c], &t);

    // Detached while some are throttled.
    let before = a.cpu_ns();
    assert!(scheduler.stop().success());
    wait_for("the throttled cgroup", ms(2_000), || {
        a.cpu_ns() > before + 100_000_000
    });
}

fn weights([a, b, c]: [&Cgroup; 3], p: &Cgroup, t: &Cgroup, hog: &Hog) {
    // As on one level: the weight of /p is the sum of its children's.
    a.set("cpu.weight", 100);
    p.set("cpu.weight", 600);
    b.set("cpu.weight", 200);
    c.set("cpu.weight", 400);
    t.set_idle(true);
    sleep(ms(1_000));
    let used = || [a.cpu_ns(), b.cpu_ns(), c.cpu_ns()];
    assert_near(cpus_used(used, ms(6_000)), parts([1.0, 2.0, 4.0]), 0.03);

    // Nested: a third each for a, b with c, and the task.
    p.set("cpu.weight", 100);
    c.set("cpu.weight", 600);
    t.set_idle(false);
    sleep(ms(500));
    let used = || [a.cpu_ns(), b.cpu_ns(), c.cpu_ns(), t.cpu_ns()];
    let ideal = parts([4.0, 1.0, 3.0, 4.0]);
    assert_near(cpus_used(used, ms(5_000)), ideal, 0.03);

    // From nearly nothing to nearly a CPU, at once.
    t.set("cpu.weight", 1);
    sleep(ms(500));
    let [.., little] = cpus_used(used, ms(1_000));
    assert!(little < 0.05, "{little:.3} of a CPU at weight 1");
    t.set("cpu.weight", 10_000);
    let took = time_until(hog, 0.7);
    println!("a change of weight took effect within {took:?}");
    assert!(took <= ms(100), "{took:?}");

    t.set_idle(true);
    sleep(ms(500));
    let [.., idle] = cpus_used(used, ms(2_000));
    assert!(idle < 0.03, "{idle:.3} of a CPU though it is idle");
}

fn quotas(
    scheduler: &mut Scheduler,
    [_, _, third]: &[Guest; 3],
    [a, b, _]: [&Cgroup; 3],
    tiny: &Cgroup,
) {
    third.pause();
    a.set("cpu.max", "50000 100000");
    fs::write(CONFIG, "[[vm]]\nmatch = { name = \"cpu-b\" }\ncap = 0.5\n")
        .expect("/tmp is writable");
    scheduler.signal("HUP");
    // Five tasks share 1 ms a second. What they had too much when the quota was set is a debt.
    let hogs = [(); 5].map(|()| Hog::start(BOTH, 0));
    for hog in &hogs {
        tiny.take(hog.pid());
    }
    tiny.set_idle(false);
    tiny.set("cpu.max", "1000 1000000");
    sleep(ms(1_000));

    let before = hogs.each_ref().map(Hog::cpu_ns);
    let used = || [a.cpu_ns(), b.cpu_ns()];
    assert_near(cpus_used(used, ms(5_000)), [0.5, 0.5], 0.03);
    let ran_ns = hogs
        .iter()
        .zip(before)
        .map(|(hog, before)| hog.cpu_ns() - before);
    let ran_ms = ran_ns.sum::<u64>() / 1_000_000;
    println!("under a tiny quota: {ran_ms} of 5 ms");
    // Each turn can end late by some milliseconds here.
    assert!(ran_ms <= 25, "{ran_ms} ms");
    drop(hogs);
    scheduler.assert_alive();

    // The quota is lifted, and then set to another value.
    a.set("cpu.max", "max");
    sleep(ms(100));
    let [more, _] = cpus_used(used, ms(2_000));
    assert!(more > 1.4, "{more:.3} CPUs of 1.5");
    // Others use the rest: of a sched_ext task that begins on an idle CPU, Linux 7.3 counts up to
    // a tick of CPU time too little in cpu.stat.
    tiny.set("cpu.max", "max");
    tiny.set_idle(true);
    let hogs = [(); 2].map(|()| Hog::start(BOTH, 0));
    for hog in &hogs {
        tiny.take(hog.pid());
    }
    a.set("cpu.max", "20000 20000");
    sleep(ms(100));
    let [one, _] = cpus_used(used, ms(3_000));
    assert!((one - 1.0).abs() < 0.05, "{one:.3} CPUs of 1");
}
