// SPDX-License-Identifier: GPL-2.0-only
//! Changes by the administrator while VMs run: `vmland vm`, `vmland config reload`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use scx_stats::prelude::StatsClient;
use serde_json::Value;
use vmland_control::stats::Metrics;

use crate::rig::{GUEST_CPUS, Guest, Scheduler, ms, read, sched_ext_state, stat_field, wait_for};
use crate::settings::{assert_near, shares};

const CONFIG: &str = "/tmp/control.toml";
const COMMENT: &str = "# The rules of this host.\n";

/// Its exit code, and its stdout and stderr.
fn vmland(args: &[&str]) -> (i32, String) {
    let out = Command::new("vmland").args(args).output();
    let out = out.expect("vmland starts");
    let output = [out.stdout, out.stderr].concat();
    let output = String::from_utf8_lossy(&output).into_owned();
    (out.status.code().expect("no signal"), output)
}

pub fn done(args: &[&str]) -> String {
    let (code, output) = vmland(args);
    assert_eq!(code, 0, "{args:?}: {output}");
    output
}

pub fn refused(args: &[&str], with: i32, says: &str) {
    let (code, output) = vmland(args);
    assert_eq!(code, with, "{args:?}: {output}");
    assert!(output.contains(says), "{args:?}: {output}");
}

/// The JSON of `vmland vm show` over this interval.
pub fn show(vm: &str, seconds: &str) -> Value {
    let json = done(&["vm", "show", vm, "--interval", seconds, "--json"]);
    serde_json::from_str(&json).expect("JSON")
}

/// The effective value, and its origin.
fn setting(vm: &str, key: &str) -> (String, String) {
    let shown = show(vm, "0.2");
    let settings = shown["settings"].as_array().expect("a list").clone();
    let setting = settings.iter().find(|s| s["key"] == key).expect("is shown");
    let text = |field: &str| setting[field].as_str().unwrap_or("default").to_owned();
    (text("value"), text("origin"))
}

/// The part of samples in which a vCPU of the guest was on `cpu`.
fn part_on(guest: &Guest, cpu: u32, span: Duration) -> f64 {
    let vcpus = guest.vcpu_threads();
    let start = Instant::now();
    let (mut there, mut all) = (0, 0);
    while start.elapsed() < span {
        for tid in &vcpus {
            // The CPU that it last ran on.
            there += u32::from(stat_field(*tid, 39) == u64::from(cpu));
            all += 1;
        }
        sleep(ms(7));
    }
    f64::from(there) / f64::from(all)
}

fn prefers(a: &Guest, b: &Guest) {
    done(&["vm", "set", "cpu-a", "cpus=1"]);
    done(&["vm", "set", "cpu-b", "cpus=2"]);
    sleep(ms(500));
    let [on_own_a, on_own_b] = [part_on(a, 1, ms(1_500)), part_on(b, 2, ms(1_500))];
    println!("on their CPUs: {on_own_a:.2} {on_own_b:.2}");
    assert!(on_own_a.min(on_own_b) > 0.8);

    // Exchanged, to rule out chance.
    done(&["vm", "set", "cpu-a", "cpus=2"]);
    done(&["vm", "set", "cpu-b", "cpus=1"]);
    sleep(ms(500));
    let [on_own_a, on_own_b] = [part_on(a, 2, ms(1_500)), part_on(b, 1, ms(1_500))];
    println!("on their CPUs, exchanged: {on_own_a:.2} {on_own_b:.2}");
    assert!(on_own_a.min(on_own_b) > 0.8);

    // A preference does not restrict: alone, the guest uses both CPUs.
    b.pause();
    sleep(ms(200));
    let before = a.cpu_ns();
    sleep(ms(1_500));
    let used = (a.cpu_ns() - before) as f64 / 1.5e9;
    b.resume();
    println!("alone: {used:.2} CPUs");
    assert!(used > 0.9 * GUEST_CPUS as f64);
    assert_near(shares(&[a, b], ms(2_500)), [0.5, 0.5], 0.06);
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_setting_takes_effect_at_once_and_is_saved() {
    fs::write(CONFIG, COMMENT).expect("/tmp is writable");
    let mut scheduler = Scheduler::start(&["--config", CONFIG]);
    let [a, b] = Guest::take_all(["cpu-a", "cpu-b"]);
    prefers(&a, &b);
    assert_eq!(
        setting("cpu-a", "cpus"),
        ("2".into(), "vmland vm set".into())
    );
    for vm in ["cpu-a", "cpu-b"] {
        done(&["vm", "unset", vm]);
    }
    assert_eq!(setting("cpu-a", "cpus"), ("all".into(), "default".into()));

    // Nobody but root may ask.
    let other = Command::new("vmland")
        .args(["vm", "set", "cpu-a", "weight=7"])
        .uid(65534)
        .gid(65534)
        .output()
        .expect("vmland starts");
    assert_eq!(other.status.code(), Some(77), "{other:?}");

    // A wrong request changes nothing.
    refused(
        &["vm", "set", "cpu-a", "weight=7", "wieght=1"],
        64,
        "did you mean \"weight\"?",
    );
    refused(
        &["vm", "set", "cpuu-a", "weight=7"],
        1,
        "did you mean \"cpu-a\"?",
    );
    assert_eq!(setting("cpu-a", "weight"), ("100".into(), "default".into()));

    let output = done(&["vm", "set", "cpu-a", "weight=300", "--save"]);
    let origin = format!("{CONFIG}:5:1");
    assert!(
        output.contains(&format!("cpu-a: weight = 300 ({origin})")),
        "{output}"
    );
    let saved = read(CONFIG);
    assert!(
        saved.starts_with(COMMENT) && saved.contains("weight = 300"),
        "{saved}"
    );
    // The lag of each, a few slices at most, is still one of the old weights.
    sleep(ms(500));
    assert_near(shares(&[&a, &b], ms(6_000)), [0.75, 0.25], 0.1);
    let shown = show("cpu-a", "0.2");
    let now = |key: &str| shown["now"][key].as_f64().expect("a number");
    let share = now("cpu_ns") / now("all_vms_cpu_ns");
    assert!((0.5..0.95).contains(&share), "{shown}");
    assert!(now("run_delay_ns") > 0.0, "{shown}");

    // A broken file changes nothing; the message says where, and suggests the right key.
    fs::write(CONFIG, saved.replace("weight", "wieght")).expect("/tmp is writable");
    refused(
        &["config", "reload"],
        64,
        "/tmp/control.toml:5:1: unknown key \"wieght\"; did you mean",
    );
    assert_eq!(setting("cpu-a", "weight"), ("300".into(), origin));
    fs::write(CONFIG, COMMENT).expect("/tmp is writable");
    let output = done(&["config", "reload"]);
    assert_eq!(output, "cpu-a: weight = 100, was 300\n");
    scheduler.assert_alive();

    // The socket that a crash leaves does not prevent another start.
    scheduler.signal("KILL");
    wait_for("the kernel's own scheduler", ms(2_000), || {
        sched_ext_state() == "disabled"
    });
    // A killed process keeps its socket until it has ended.
    drop(scheduler);
    refused(&["vm", "show", "cpu-a"], 69, "no scx_vmland is running");
    let scheduler = Scheduler::start(&["--config", CONFIG]);
    wait_for("the VMs", ms(3_000), || {
        vmland(&["vm", "set", "cpu-a", "weight=50"]).0 == 0
    });
    assert_eq!(
        setting("cpu-a", "weight"),
        ("50".into(), "vmland vm set".into())
    );
    let mode = |path: &str| fs::metadata(path).expect("it is there").mode() & 0o7777;
    assert_eq!(mode("/run/scx_vmland/control"), 0o600);
    assert_eq!(mode("/run/scx_vmland") & 0o022, 0);
    assert!(scheduler.stop().success());
    assert!(fs::metadata("/run/scx_vmland/control").is_err());
}

/// Hand-offs to receivers of IPIs in `span`, and the guests' work meanwhile.
fn receivers_first<const N: usize>(guests: &[&Guest; N], span: Duration) -> (u64, [u64; N]) {
    let mut stats = StatsClient::new().connect(None).expect("a scheduler");
    let mut count = || {
        let metrics: Metrics = stats.request("stats", vec![]).expect("an answer");
        metrics.receivers_first()
    };
    let work = || guests.map(Guest::count);
    let (before, before_work) = (count(), work());
    sleep(span);
    let (after, after_work) = (count(), work());
    let work = std::array::from_fn(|i| after_work[i] - before_work[i]);
    println!("receivers first: {}, work {work:?}", after - before);
    (after - before, work)
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn receivers_run_first_within_the_ipi_window() {
    let _scheduler = Scheduler::start(&["--vm", "*:ipi_window=0"]);
    let [a, b] = Guest::take_all(["tlb-a", "tlb-b"]);
    // In 3 s there were none, and 998 with a window: half of that still separates.
    let (none, work) = receivers_first(&[&a, &b], ms(1_500));
    assert_eq!(none, 0);
    assert!(work.iter().all(|work| *work > 0));
    done(&["vm", "set", "tlb-a", "ipi_window=50ms"]);
    let (some, work) = receivers_first(&[&a, &b], ms(1_500));
    assert!(some > 20, "{some}");
    assert!(work.iter().all(|work| *work > 0));
}
