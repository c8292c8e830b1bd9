// SPDX-License-Identifier: GPL-2.0-only
//! `vmland doctor` on a host that can run the scheduler.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;

use crate::rig::{Scheduler, read};

/// As this user sees it: the verdict on each check, and the text; and the exit code.
fn doctor(uid: u32) -> (BTreeMap<String, (String, String)>, Option<i32>) {
    let mut command = Command::new("vmland");
    let out = command.args(["doctor", "--json"]).uid(uid).output();
    let out = out.expect("vmland starts");
    let report: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let text = |finding: &Value, key: &str| finding[key].as_str().expect("a text").to_owned();
    let findings = report["findings"].as_array().expect("a list").iter();
    let findings = findings.map(|it| {
        let about = (text(it, "verdict"), text(it, "text"));
        (text(it, "check"), about)
    });
    (findings.collect(), out.status.code())
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn says_what_is_so_here() {
    let (findings, code) = doctor(0);
    println!("{findings:#?}");
    assert_eq!(code, Some(0));
    let of = |check: &str| {
        let (verdict, text) = findings.get(check).unwrap_or_else(|| panic!("no {check}"));
        (verdict.as_str(), text.as_str())
    };
    let release = read("/proc/sys/kernel/osrelease");
    assert_eq!(of("kernel"), ("ok", format!("Linux {release}").as_str()));
    for check in [
        "sched_ext",
        "btf",
        "isolcpus",
        "pid_namespace",
        "privileges",
    ] {
        assert_eq!(of(check).0, "ok", "{check}");
    }
    assert_eq!(
        of("scheduler"),
        ("ok", "The kernel's own runs; the place is free.")
    );
    assert!(of("kvm").1.contains("kvm_amd"));
    // Emulated SVM has no pause filter of its own; the host's kernel line switches it on.
    assert_eq!(of("pause_exits").0, "ok");

    let scheduler = Scheduler::start(&[]);
    let (attached, code) = doctor(0);
    assert_eq!(code, Some(0));
    assert_eq!(attached["scheduler"].1, "scx_vmland is attached.");
    assert!(scheduler.stop().success());
    assert_eq!(doctor(0).0, findings);

    // Another user may not attach one.
    let (findings, code) = doctor(65_534);
    assert_eq!(
        (findings["privileges"].0.as_str(), code),
        ("refused", Some(1))
    );
}
