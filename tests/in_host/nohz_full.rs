// SPDX-License-Identifier: GPL-2.0-only
//! CPUs without a tick. tests/in_host/run boots a host of its own for these tests, in which CPU 2 is
//! such a CPU.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::rig::{Hog, Scheduler, cpus_used, ms, read};

/// CPU 2, as taskset has it.
const NOHZ_FULL: &str = "4";
const INSTANCE: &str = "/sys/kernel/tracing/instances/vmland-nohz-full";

/// Timers that have interrupted CPU 2, a second.
#[derive(Debug)]
struct Timers {
    /// The host's tick.
    ticks: f64,
    /// The scheduler's.
    bpf: f64,
}

fn timers(span: Duration) -> Timers {
    let _ = fs::create_dir(INSTANCE);
    let put = |file: &str, text: &str| {
        fs::write(format!("{INSTANCE}/{file}"), text).unwrap_or_else(|e| panic!("{file}: {e}"))
    };
    put("tracing_cpumask", NOHZ_FULL);
    put("events/timer/hrtimer_expire_entry/enable", "1");
    sleep(span);
    put("tracing_on", "0");
    let text = fs::read_to_string(format!("{INSTANCE}/trace")).expect("a trace");
    put("events/enable", "0");
    fs::remove_dir(INSTANCE).expect("the instance goes");
    let a_second = |functions: &[&str]| {
        let is_one = |line: &&str| functions.iter().any(|function| line.contains(function));
        text.lines().filter(is_one).count() as f64 / span.as_secs_f64()
    };
    let timers = Timers {
        ticks: a_second(&["tick_nohz_handler", "tick_sched_timer"]),
        bpf: a_second(&["bpf_timer_cb"]),
    };
    println!("{timers:.1?}");
    timers
}

/// One that runs already when the scheduler attaches, and goes on after another one has come and
/// gone. Under the kernel's own scheduler there are 0.2 ticks a second, and 230 with finite slices.
#[test]
#[ignore = "needs a sched_ext host with a nohz_full CPU"]
fn a_task_that_is_alone_has_no_tick() {
    assert_eq!(read("/sys/devices/system/cpu/nohz_full"), "2");
    let hog = Hog::start(NOHZ_FULL, 0);
    sleep(ms(1_000));
    let _scheduler = Scheduler::start(&[]);
    sleep(ms(1_000));
    let alone = timers(ms(5_000));

    let other = Hog::start(NOHZ_FULL, 0);
    sleep(ms(1_000));
    let [used, used_by_other] = cpus_used(|| [hog.cpu_ns(), other.cpu_ns()], ms(5_000));
    drop(other);
    sleep(ms(1_000));
    let again = timers(ms(5_000));

    // 0.0 ticks measured, and 0.0 to 1.0 timers.
    for timers in [alone, again] {
        assert!(timers.ticks <= 2.0 && timers.bpf <= 2.0, "{timers:?}");
    }
    let share = used / (used + used_by_other);
    assert!((0.48..=0.52).contains(&share), "{share:.3}");
}
