// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler needs no more of root than its service grants, and keeps less.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use scx_vmland::capabilities::OF_THREADS;

use crate::rig::{Guest, Scheduler, ms, read, vmland_vms, wait_for};

const SERVICE: &str = include_str!("../../configs/scx_vmland.service");

/// By number, from 0 up (uapi/linux/capability.h).
#[rustfmt::skip]
const NAMES: [&str; 41] = [
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
];

/// What the service file grants, as a set of bits.
fn granted() -> u64 {
    let mut lines = SERVICE.lines();
    let words = lines.find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let bit = |word: &str| {
        let name = word.strip_prefix("CAP_").expect("a capability");
        NAMES.iter().position(|known| *known == name).expect(name)
    };
    let words = words.expect("the service has it").split(' ');
    words.map(bit).fold(0, |set, bit| set | 1 << bit)
}

/// As the service manager does before it starts a program.
fn leave_all_but(granted: u64) -> io::Result<()> {
    for bit in (0..NAMES.len()).filter(|bit| granted & 1 << bit == 0) {
        // SAFETY: a system call without pointers.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, bit, 0, 0, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The permitted, effective and bounding set of each thread, and its name.
fn threads(pid: i32) -> Vec<(String, BTreeMap<String, u64>)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let thread = |path: &str| {
        let status = read(&format!("{path}/status"));
        let sets = status.lines().filter_map(|line| line.split_once(":\t"));
        let caps = sets.filter(|(name, _)| name.starts_with("Cap"));
        let hex = |set| u64::from_str_radix(set, 16).expect("hex");
        let caps = caps.map(|(name, set)| (name.to_owned(), hex(set)));
        (read(&format!("{path}/comm")), caps.collect())
    };
    let paths = tasks.map(|task| task.expect("an entry").path());
    paths
        .map(|path| thread(&path.display().to_string()))
        .collect()
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn what_attaching_takes_is_given_up_when_attached() {
    let mut command = Command::new("scx_vmland");
    command.args(["--verbose", "--vm", "tlb-a:cpus=1"]);
    // SAFETY: system calls only.
    unsafe { command.pre_exec(|| leave_all_but(granted())) };
    let mut scheduler = Scheduler::start_as(command);

    // The threads that load objects later can do so.
    let guest = Guest::take("tlb-a");
    wait_for("the VM", ms(5_000), || !vmland_vms().is_empty());
    wait_for("IPIs to be followed", ms(10_000), || {
        scheduler
            .log()
            .contains("IPIs and pause exits are followed")
    });
    // Of cgroups, older kernels let no scheduler follow all.
    let log = scheduler.log();
    let warnings = log
        .lines()
        .filter(|line| line.starts_with("WARN") && !line.contains("cgroups"));
    assert_eq!(warnings.collect::<Vec<_>>(), [""; 0]);

    let threads = threads(scheduler.pid());
    // tests/in_host/kernels compares these.
    for line in log.lines().filter(|line| line.contains("verifier:")) {
        println!("{line}");
    }
    for (name, _) in OF_THREADS {
        assert!(threads.iter().any(|thread| thread.0 == name), "{name}");
    }
    for (name, caps) in &threads {
        let of = OF_THREADS.iter().find(|of| of.0 == name);
        let kept: u64 = of.map_or(0, |of| of.1.iter().fold(0, |set, bit| set | 1 << bit));
        assert_eq!(
            kept & !granted(),
            0,
            "{name}: the service does not grant it"
        );
        assert_eq!((caps["CapPrm"], caps["CapEff"]), (kept, kept), "{name}");
        assert_eq!((caps["CapInh"], caps["CapAmb"]), (0, 0), "{name}");
    }
    guest.assert_progress();
    scheduler.assert_alive();
    assert!(scheduler.stop().success());
}
