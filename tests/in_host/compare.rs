// SPDX-License-Identifier: GPL-2.0-only
//! `vmland ab` and `vmland bench` on a real host: they switch, measure, and leave no trace.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::faults::plug;
use crate::rig::{Guest, Scheduler, kill, ms, read, sched_ext_state, wait_for};

const JSON: &str = "/tmp/compared.json";

/// Short windows soon after a switch: most tests are about how it measures, not about figures.
fn vmland(words: &str) -> Command {
    let mut command = Command::new("vmland");
    command.args(words.split_whitespace());
    command.args(["--export-json", JSON]);
    if !words.contains("--settle") {
        command.args(["--settle", "200ms"]);
    }
    if !words.contains("--window") {
        command.args(["--window", "1s"]);
    }
    command
}

pub fn run(words: &str) -> (Output, Value) {
    let output = vmland(words).output().expect("vmland starts");
    (output, record())
}

fn record() -> Value {
    let record = fs::read_to_string(JSON).expect("a record");
    serde_json::from_str(&record).expect("JSON")
}

fn start(words: &str) -> Child {
    let output = fs::File::create("/tmp/vmland.log").expect("a log");
    vmland(words)
        .stdout(output.try_clone().expect("a log"))
        .stderr(output)
        .stdin(Stdio::null())
        .spawn()
        .expect("vmland starts")
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// The values of a metric in the windows of an arm, without the discarded ones.
fn values(record: &Value, arm: usize, metric: &str) -> Vec<f64> {
    let windows = record["windows"].as_array().expect("windows");
    windows
        .iter()
        .filter(|w| w["arm"] == arm && w["discarded"].is_null())
        .filter_map(|w| w["values"][metric].as_f64())
        .collect()
}

fn notes(record: &Value) -> String {
    record["notes"].to_string()
}

fn assert_no_trace_is_left() {
    assert_eq!(sched_ext_state(), "disabled");
    let instances = fs::read_dir("/sys/kernel/tracing/instances").expect("tracefs");
    assert_eq!(instances.count(), 0);
    assert_eq!(read("/sys/kernel/tracing/kprobe_events"), "");
}

/// The processes that run a guest.
fn qemus() -> BTreeSet<PathBuf> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let is_qemu = |process: &PathBuf| {
        let name = fs::read_to_string(process.join("comm"));
        name.is_ok_and(|name| name.starts_with("qemu-system"))
    };
    processes.map(|it| it.path()).filter(is_qemu).collect()
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn guests_of_its_own_under_three_schedulers() {
    let before = qemus();
    let output = vmland("bench --guests lock,lat:vcpus=1 --window 2s --rounds 2")
        .args([
            "--schedulers",
            "eevdf,scx_vmland,short=scx_vmland --slice-us 3000,solo",
        ])
        .output()
        .expect("vmland starts");
    let record = record();
    assert!(output.status.success(), "{}", text(&output));
    for arm in 0..4 {
        for metric in ["work_lock", "pause_exits", "vcpu_time"] {
            let values = values(&record, arm, metric);
            assert_eq!(values.len(), 2, "{metric} of {arm}: {}", text(&output));
            assert!(values.iter().all(|&v| v > 0.0), "{metric}: {values:?}");
        }
    }
    let switches = record["switches"].as_array().expect("switches");
    let took: Vec<_> = switches.iter().map(|s| s["took_s"].as_f64()).collect();
    println!("switches took, in s: {took:?}");
    // A switch does not include loading, which takes longer.
    assert!(took.iter().all(|s| s.is_some_and(|s| s < 2.0)), "{took:?}");
    // lock1 alone has both CPUs, and lat1 sleeps in no window of solo.
    assert!(values(&record, 3, "wakeup_p99").is_empty());
    assert_eq!(values(&record, 1, "wakeup_p99").len(), 2);
    let accepted = values(&record, 1, "yields_accepted");
    assert!(
        // A gang refuses hints at a sibling that waits for its next turn: 85 to 88 % measured.
        accepted.iter().all(|&percent| percent > 50.0),
        "{accepted:?}"
    );
    assert_no_trace_is_left();
    assert_eq!(qemus(), before, "a guest is left");
}

/// A guest that ends, ends the run.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_guest_that_dies_fails_the_run() {
    let mut bench =
        start("bench --guests cpu:vcpus=1,cpu:vcpus=1 --rounds 20 --schedulers eevdf,stock=");
    wait_for("a window", ms(90_000), || {
        read("/tmp/vmland.log").contains("window 2 ")
    });
    let killed = Command::new("sh")
        .args([
            "-c",
            "kill -KILL $(grep -lz guest=cpu2 /proc/[0-9]*/cmdline | cut -d/ -f3 | head -n 1)",
        ])
        .status();
    assert!(killed.is_ok_and(|s| s.success()), "no guest to kill");
    let status = bench.wait().expect("it ends");
    let log = read("/tmp/vmland.log");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("Guest cpu2 has ended"), "{log}");
    assert_no_trace_is_left();
}

/// The same scheduler twice: the guests' work, the first metric, does not differ.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_against_a() {
    // By chance one run in twenty shows a difference: hence a second one.
    let shows_none = || {
        let (output, record) = run("bench --guests cpu,cpu --rounds 6 --schedulers eevdf,stock=");
        assert!(output.status.success(), "{}", text(&output));
        let versus = &record["comparisons"][0]["arms"][1]["versus"];
        assert_eq!(record["comparisons"][0]["metric"], "work_cpu");
        println!("{versus}");
        let ratio = versus["ratio"]["estimate"].as_f64().expect("a ratio");
        versus["verdict"] == "no-difference-shown" && (0.85..=1.18).contains(&ratio)
    };
    assert!(shows_none() || shows_none());
}

/// The record says which arm or metric failed; the others are measured.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn arms_and_metrics_that_fail() {
    let _guest = Guest::take("lock-a");
    // It hangs only once: `vmland` waits 5 s before it kills a command.
    let hang = "[ -e /tmp/hung ] && exit\n>/tmp/hung\nsleep 60 &\nsleep 60\n";
    fs::write("/tmp/hang", hang).expect("a script");
    let output = vmland("ab --rounds 2 --schedulers eevdf,stock=,bad=false")
        .args(["--metric", "none=echo nothing to tell"])
        .args(["--metric", "fails=exit 3"])
        .args(["--metric", "hangs@=sh /tmp/hang"])
        .args(["--metric", "uptime=cut -d' ' -f1 /proc/uptime"])
        .output()
        .expect("vmland starts");
    let record = record();
    assert!(output.status.success(), "{}", text(&output));
    assert!(notes(&record).contains("printed no number: \\\"nothing to tell"));
    assert!(notes(&record).contains("failed with exit status: 3"));
    assert!(notes(&record).contains("was killed"));
    assert!(notes(&record).contains("bad is left out"));
    let failed = record["switches"].to_string();
    assert!(failed.contains("ended with exit status: 1"), "{failed}");
    for arm in [0, 1] {
        let seconds = values(&record, arm, "uptime");
        assert_eq!(seconds.len(), 2, "{}", text(&output));
        // Uptime grows by one second each second.
        assert!(
            seconds.iter().all(|s| (0.9..=1.1).contains(s)),
            "{seconds:?}"
        );
    }
    assert_no_trace_is_left();
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn guests_have_weights() {
    let (output, record) = run("bench --preset fair --window 2s --rounds 2 --schedulers \
                                eevdf,scx_vmland");
    assert!(output.status.success(), "{}", text(&output));
    let off = [0, 1].map(|arm| values(&record, arm, "cpu_off_weight"));
    println!("off by at most, in %: {off:.1?}");
    assert_eq!(off[0].len(), 2);
    assert!(off[1].iter().all(|percent| *percent < 10.0));
    let left = fs::read_dir("/sys/fs/cgroup").expect("cgroup v2");
    let is_ours = |name: &str| name.starts_with("vmland-bench-");
    assert!(!{ left.flatten() }.any(|entry| entry.file_name().to_str().is_some_and(is_ours)));
    assert_no_trace_is_left();
}

/// CPUs go and come all the time, also while a scheduler loads, attaches or detaches.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn cpus_that_go_and_come_fail_no_window() {
    let guest = Guest::take("lock-a");
    let mut ab = start("ab --rounds 2");
    let status = loop {
        plug(false);
        sleep(ms(200));
        plug(true);
        sleep(ms(200));
        if let Some(status) = ab.try_wait().expect("our child") {
            break status;
        }
    };
    let record = record();
    assert!(status.success(), "{}", read("/tmp/vmland.log"));
    for arm in [0, 1] {
        let used = values(&record, arm, "vcpu_time");
        assert_eq!(used.len(), 2, "{}", read("/tmp/vmland.log"));
    }
    guest.assert_progress();
    assert_no_trace_is_left();
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn stopped_and_killed_in_the_middle() {
    let guest = Guest::take("lock-a");
    for (signal, says) in [("INT", "eevdf"), ("KILL", "")] {
        let mut ab = start("ab --rounds 20");
        wait_for("a switch to scx_vmland", ms(30_000), || {
            sched_ext_state() == "enabled"
        });
        sleep(ms(1_500));
        kill(ab.id() as i32, signal);
        let took = wait_for("the kernel's own scheduler", ms(10_000), || {
            sched_ext_state() == "disabled"
        });
        println!("{signal}: disabled after {took:?}");
        let status = ab.wait().expect("it ends");
        assert_eq!(
            status.success(),
            signal == "INT",
            "{}",
            read("/tmp/vmland.log")
        );
        assert!(read("/tmp/vmland.log").contains(says));
        guest.assert_progress();
    }
    // The next run removes what the killed one left.
    let (output, _) = run("ab --rounds 2 --schedulers eevdf,stock=");
    assert!(output.status.success(), "{}", text(&output));
    assert_no_trace_is_left();
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn the_previous_scheduler_is_attached_again() {
    let guest = Guest::take("lat");
    let reports = || guest.latest_wake_ups().len();
    // The first report from now on covers time before, too.
    let before = reports();
    wait_for("a report", ms(3_000), || reports() > before);
    let scheduler = Scheduler::start(&["--slice-us", "4000"]);
    let ops = read("/sys/kernel/sched_ext/root/ops");
    let (output, record) = run("ab --rounds 2");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(values(&record, 1, "vcpu_time").len(), 2);
    assert_eq!(sched_ext_state(), "enabled");
    assert_eq!(read("/sys/kernel/sched_ext/root/ops"), ops);
    drop(scheduler);
    assert_eq!(
        sched_ext_state(),
        "enabled",
        "another process has attached it"
    );
    let since = guest.latest_wake_ups().into_iter().skip(before + 1);
    let gap = since.max().expect("reports");
    println!(
        "longest a wake-up was late, over {} switches: {gap:?}",
        record["switches"].as_array().map_or(0, Vec::len)
    );
    let killall = |signal: &str| {
        let status = Command::new("killall")
            .args([signal, "scx_vmland"])
            .status();
        status.expect("killall").success()
    };
    assert!(killall("-INT"));
    wait_for("the kernel's own scheduler", ms(10_000), || {
        sched_ext_state() == "disabled"
    });
    // It holds its lock until it has ended.
    wait_for("its end", ms(10_000), || !killall("-0"));
    assert!(gap < Duration::from_millis(250), "{gap:?}");
}
