// SPDX-License-Identifier: GPL-2.0-only
//! The commands of README.md and docs/ that need a host: those of tests/commands.txt of the kinds
//! "bare" and "host".

use std::fs;
use std::process::Command;
use std::time::Instant;

use crate::rig::{Guest, Scheduler, ms, vmland_vms, wait_for};

const COMMANDS: &str = include_str!("../commands.txt");

/// A guest of the stock in place of the VM db-1, which the documents have.
const VM: &str = "cpu-a";

/// Runs the commands of a kind, in their order.
fn run(kind: &str) {
    let of_kind = |line: &'static str| line.strip_prefix(kind)?.strip_prefix(' ');
    let commands: Vec<_> = COMMANDS.lines().filter_map(of_kind).collect();
    assert!(commands.len() > 1, "{commands:?}");
    for line in commands {
        let (command, run) = line.split_once("  => ").unwrap_or((line, line));
        let run = &run.replace("db-1", VM);
        let start = Instant::now();
        let out = Command::new("sh").args(["-c", run]).output();
        let out = out.expect("sh is there");
        println!("{:.1?}: {command}", start.elapsed());
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(out.status.success(), "{run}: {}\n{said}", out.status);
        assert!(
            !said.is_empty() || run.contains("grep -q"),
            "{run} says nothing"
        );
    }
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn commands_of_the_documents() {
    let _guest = Guest::take(VM);
    run("bare");
    fs::create_dir_all("/etc/scx_vmland").expect("/etc is writable");
    fs::write("/etc/scx_vmland/config.toml", "").expect("/etc is writable");
    let mut scheduler = Scheduler::start(&[]);
    wait_for("the VM", ms(5_000), || {
        vmland_vms().iter().any(|vm| vm["name"] == VM)
    });
    run("host");
    scheduler.assert_alive();
    fs::remove_dir_all("/etc/scx_vmland").expect("it was made");
}
