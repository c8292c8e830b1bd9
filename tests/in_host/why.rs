// SPDX-License-Identifier: GPL-2.0-only
//! `vmland why` says of real guests what the planner thinks of them.

use std::thread::sleep;

use serde_json::Value;

use crate::control::{done, refused};
use crate::rig::{Guest, Scheduler, ms};

/// How often `vmland why` is asked.
const TIMES: usize = 12;

/// In so many of them at least the planner is to think the same: 11 and 12 in four boots. When
/// it took each report for itself, a munmap guest was free in 9, and answered IPIs in 3.
const MOST: usize = 10;

/// The JSON of `vmland why`, again and again.
fn why(vm: &str) -> Vec<Value> {
    let one = |_| {
        let json = done(&["why", vm, "--json", "--interval", "0.2"]);
        let why: Value = serde_json::from_str(&json).expect("JSON");
        println!("{vm}: {} {}", why["planned"], why["now"]);
        why
    };
    (0..TIMES).map(one).collect()
}

/// In how many of them the planner thinks so.
fn count(whys: &[Value], field: &str, value: &str) -> usize {
    let planned = |why: &&Value| why["planned"].pointer(field) == Some(&value.into());
    let count = whys.iter().filter(planned).count();
    println!("{field} {value}: {count} of {TIMES}");
    count
}

/// Asserts that `vmland why` says all of this.
fn says(vm: &str, words: &[&str]) {
    let text = done(&["why", vm]);
    println!("{text}");
    for words in words {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_lock_guest_is_a_gang_and_a_munmap_guest_answers_ipis() {
    let scheduler = Scheduler::start(&[]);
    let [tlb, other_tlb] = Guest::take_all(["tlb-a", "tlb-b"]);
    let [lock, other_lock] = Guest::take_all(["lock-a", "lock-b"]);
    lock.pause();
    other_lock.pause();
    // A guest that boots may be a gang for a while.
    sleep(ms(3_000));

    let munmap = why("tlb-a");
    assert!(count(&munmap, "/mode", "free") >= MOST);
    assert!(count(&munmap, "/reported/sign", "answers-ipis") >= MOST);
    let sum = |key: &str| -> u64 {
        let now = munmap.iter().map(|why| why["now"][key].as_u64());
        now.map(|value| value.expect("a number")).sum()
    };
    assert!(sum("receivers") > 0 && sum("ipis") > 0);
    // Two VMs of one weight have a CPU each.
    let due = sum("due_ns") as f64 / sum("span_ns") as f64;
    println!("due: {due:.2} CPUs");
    assert!((0.85..1.15).contains(&due));
    says("tlb-a", &["IPIs", "that its weight gives it"]);

    done(&["vm", "set", "tlb-a", "cap=0.3"]);
    sleep(ms(300));
    says("tlb-a", &["are throttled", "its cap holds it", "of 0.30"]);
    done(&["vm", "unset", "tlb-a"]);

    tlb.pause();
    other_tlb.pause();
    lock.resume();
    other_lock.resume();
    sleep(ms(1_000));
    let locks = why("lock-a");
    assert!(count(&locks, "/mode", "gang") >= MOST);
    let text = done(&["why", "lock-a"]);
    println!("{text}");
    assert!(text.contains(" a gang for ") || text.contains("on trial after a gang"));
    done(&["vm", "set", "lock-a", "cosched=off"]);
    says(
        "lock-a",
        &[
            "always free, by cosched = off (vmland vm set)",
            "cosched = auto",
        ],
    );

    refused(&["why", "lock-x"], 1, "no VM has the name or UUID");
    assert!(scheduler.stop().success());
    refused(&["why", "lock-a"], 69, "no scx_vmland is running");
}
