// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler knows exactly the vCPU threads that QEMU reports.

use std::collections::BTreeSet;
use std::process::Command;

use crate::rig::{Guest, Scheduler, kill, ms, read, vmland_vms, wait_for};

fn known() -> BTreeSet<i32> {
    vmland_vms()
        .iter()
        .flat_map(|vm| vm["vcpus"].as_array().expect("a list").clone())
        .map(|vcpu| vcpu["tid"].as_i64().expect("a tid") as i32)
        .collect()
}

fn qemus(guests: &[&Guest]) -> BTreeSet<i32> {
    guests.iter().flat_map(|g| g.vcpu_threads()).collect()
}

fn assert_exact(guests: &[&Guest]) {
    let expected = qemus(guests);
    let mut seen = BTreeSet::new();
    wait_for("the vCPUs that QEMU reports", ms(5_000), || {
        seen = known();
        seen == expected
    });
}

fn names() -> BTreeSet<String> {
    let name = |vm: &serde_json::Value| vm["name"].as_str().expect("a name").to_string();
    vmland_vms().iter().map(name).collect()
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn guests_that_come_pause_and_go() {
    Guest::end_stock();
    // One boots before the scheduler attaches, two after it.
    let [a] = Guest::boot([("a", "lock", 2)]);
    let _scheduler = Scheduler::start_beside(&[]);
    assert_exact(&[&a]);
    // Beside it they take three times as long to boot.
    a.pause();
    let [b, c] = Guest::boot([("b", "idle", 1), ("c", "cpu", 3)]);
    a.resume();
    assert_exact(&[&a, &b, &c]);
    assert_eq!(names(), ["a", "b", "c"].map(String::from).into());

    b.pause();
    c.pause();
    std::thread::sleep(ms(1_500));
    assert_exact(&[&a, &b, &c]);
    c.resume();
    c.assert_progress();
    assert_exact(&[&a, &b, &c]);

    c.save();
    assert_exact(&[&a, &b, &c]);
    c.resume();
    c.assert_progress();
    assert_exact(&[&a, &b, &c]);

    a.end();
    assert_exact(&[&b, &c]);
    // Its process ends, and with it the VM, without a word of QEMU's.
    kill(b.pid(), "KILL");
    assert_exact(&[&c]);
    b.end();
    c.end();
    assert_exact(&[]);
    assert!(vmland_vms().is_empty());
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn kvm_that_is_loaded_after_the_scheduler_and_unloaded() {
    let kvm = |what: &str| {
        let done = Command::new("kvm-modules").arg(what).status();
        assert!(done.is_ok_and(|s| s.success()), "kvm-modules {what}");
    };
    Guest::end_stock();
    kvm("unload");
    let mut scheduler = Scheduler::start(&[]);
    assert!(vmland_vms().is_empty());
    for _ in 0..2 {
        kvm("load");
        let [guest] = Guest::boot([("late", "lock", 2)]);
        assert_exact(&[&guest]);
        guest.end();
        assert_exact(&[]);
        // The scheduler does not hold the module when the last VM has ended.
        wait_for(
            "KVM to be held by its vendor's module alone",
            ms(2_000),
            || read("/sys/module/kvm/refcnt").trim() == "1",
        );
        kvm("unload");
    }
    scheduler.assert_alive();
    kvm("load");
}
