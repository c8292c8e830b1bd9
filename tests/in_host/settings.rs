// SPDX-License-Identifier: GPL-2.0-only
//! The settings of a VM take effect, also while it runs.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::rig::{GUEST_CPUS, Guest, Scheduler, cpus_used_mostly, ms, vmland_vms, wait_for};
use crate::trace::{Event, Moment, record};

const CONFIG: &str = "/tmp/config.toml";

/// The scheduler looks for new VMs four times a second, and then applies their settings.
const APPLIED: Duration = ms(500);

fn start_with(config: &str) -> Scheduler {
    fs::write(CONFIG, config).expect("/tmp is writable");
    Scheduler::start(&["--config", CONFIG])
}

/// Has the scheduler read `config`, which is effective when this returns.
fn reload(scheduler: &Scheduler, config: &str, says: &str) {
    let before = scheduler.log().matches(says).count();
    fs::write(CONFIG, config).expect("/tmp is writable");
    scheduler.signal("HUP");
    wait_for("the configuration to be read", ms(5_000), || {
        scheduler.log().matches(says).count() > before
    });
    sleep(ms(500));
}

/// The share of each guest in the CPU time that all of them got in `span`, in most of it.
pub fn shares<const N: usize>(guests: &[&Guest; N], span: Duration) -> [f64; N] {
    let cpus = cpus_used_mostly(|| guests.map(Guest::cpu_ns), span);
    let total: f64 = cpus.iter().sum();
    assert!(total > 0.9 * GUEST_CPUS as f64, "CPUs stood idle");
    let shares = cpus.map(|cpus| cpus / total);
    println!("shares: {shares:.3?}");
    shares
}

pub fn assert_near<const N: usize>(shares: [f64; N], ideal: [f64; N], part: f64) {
    for (is, should) in shares.iter().zip(ideal) {
        assert!(
            (is / should - 1.0).abs() <= part,
            "{shares:.3?}, expected {ideal:.3?}"
        );
    }
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn weights_are_kept_and_change_while_vms_run() {
    const WEIGHTS: &str = "[[vm]]\nmatch = { name = \"cpu-b\" }\nweight = 200\n\
                           [[vm]]\nmatch = { name = \"cpu-c\" }\nweight = 400\n";
    let mut scheduler = start_with(WEIGHTS);
    let guests = Guest::take_all(["cpu-a", "cpu-b", "cpu-c"]);
    sleep(APPLIED);
    let ideal = [1.0 / 7.0, 2.0 / 7.0, 4.0 / 7.0];
    assert_near(shares(&guests.each_ref(), ms(6_000)), ideal, 0.03);

    // A broken file changes nothing, and the message says where it is broken.
    let broken = "[[vm]]\nmatch = { name = \"cpu-b\" }\nwieght = 1\n";
    reload(&scheduler, broken, "stays as it was");
    let log = scheduler.log();
    assert!(log.contains(":3:") && log.contains("weight"), "{log}");
    assert_near(shares(&guests.each_ref(), ms(2_500)), ideal, 0.05);

    reload(&scheduler, "", "read anew");
    assert_near(shares(&guests.each_ref(), ms(4_000)), [1.0 / 3.0; 3], 0.04);
    scheduler.assert_alive();
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn more_vcpus_are_no_larger_share() {
    let _scheduler = Scheduler::start(&[]);
    let guests = Guest::take_all(["cpu-a", "cpu-4vcpus"]);
    assert_near(shares(&guests.each_ref(), ms(8_000)), [0.5, 0.5], 0.04);
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_vm_can_be_made_to_ignore_yield_to() {
    let _scheduler = Scheduler::start(&["--vm", "lock-a:yield_to=ignore"]);
    let guests = Guest::take_all(["lock-a", "lock-b"]);
    sleep(APPLIED);
    // Seen in 4 s: 0, and 3752 accepted.
    let moments = record(ms(2_000));
    let accepted = guests.each_ref().map(|guest| {
        let vcpus = guest.vcpu_threads();
        let took = |moment: &&Moment| {
            matches!(moment.event, Event::Yield { yielder, result: Some(1), .. } if vcpus.contains(&yielder))
        };
        moments.iter().filter(took).count()
    });
    println!("yields accepted: {accepted:?}");
    assert_eq!(accepted[0], 0);
    assert!(accepted[1] > 50, "{accepted:?}");
    let asked = |name: &str| {
        let vms = vmland_vms();
        let vm = vms.iter().find(|vm| vm["name"] == name).expect("is listed");
        vm["yields_asked"].as_u64().expect("a number")
    };
    assert!(asked("lock-a") > 50);
}

/// The mean time that a vCPU of `guest` waited for a CPU in `span`, in ms.
fn mean_wait_ms(guest: &Guest, span: Duration) -> f64 {
    let read = || {
        guest.vcpu_threads().iter().fold((0, 0), |sum, tid| {
            // <CPU time, ns> <waited, ns> <times it got a CPU>
            let stat = crate::rig::read(&format!("/proc/{tid}/schedstat"));
            let mut fields = stat
                .split_whitespace()
                .map(|n| n.parse::<u64>().expect("a number"));
            let (waited, times) = (fields.nth(1), fields.next());
            (
                sum.0 + waited.expect("three"),
                sum.1 + times.expect("three"),
            )
        })
    };
    let before = read();
    sleep(span);
    let after = read();
    (after.0 - before.0) as f64 / (after.1 - before.1) as f64 / 1e6
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn latency_is_as_it_is_set() {
    let of =
        |latency: &str| format!("[[vm]]\nmatch = {{ name = \"lat\" }}\nlatency = \"{latency}\"\n");
    let scheduler = start_with(&of("normal"));
    let [guest, _b, _c] = Guest::take_all(["lat", "cpu-a", "cpu-b"]);
    let [normal, low, batch] = ["normal", "low", "batch"].map(|latency| {
        reload(&scheduler, &of(latency), "read anew");
        mean_wait_ms(&guest, ms(5_000))
    });
    println!("mean wait: normal {normal:.2} ms, low {low:.2} ms, batch {batch:.2} ms");
    // A guest that mostly sleeps preempts at once, as one with "low" does: 0.3 to 1.1 ms of 6.
    assert!(
        low < batch / 3.0 && normal < batch / 3.0,
        "low {low:.2} ms, normal {normal:.2} ms, batch {batch:.2} ms"
    );
}
