// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's dump tells of the scheduler: at SysRq-D, and when it ejects it.

use std::fs;
use std::thread::sleep;

use crate::rig::{Guest, Hog, Scheduler, Tracefs, ms, sched_ext_state, vmland_vms, wait_for};

/// The lines of ours in the kernel's dump.
fn dumped() -> Vec<String> {
    let tracefs = Tracefs::new("");
    tracefs.put("events/sched_ext/sched_ext_dump/enable", "1");
    fs::write("/proc/sysrq-trigger", "D").expect("SysRq-D");
    let text = String::from_utf8_lossy(&tracefs.trace()).into_owned();
    let lines = text.lines().filter_map(|line| line.split_once("vmland: "));
    lines.map(|(_, line)| line.trim_end().to_owned()).collect()
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn sysrq_d_tells_of_vms_and_queues() {
    let guests = Guest::take_all(["cpu-a", "cpu-b"]);
    let mut scheduler = Scheduler::start(&[]);
    wait_for("both VMs", ms(5_000), || vmland_vms().len() == 2);
    // Bound to a CPU that the guests use.
    let _bound = Hog::start("2", 0);
    sleep(ms(1_000));
    let lines = dumped();
    println!("{}", lines.join("\n"));
    let any = |is: &dyn Fn(&String) -> bool| lines.iter().any(is);
    assert!(any(&|it| it.starts_with("queue of domain 0: ")));
    for vm in [1, 2] {
        assert!(any(&|it| it.starts_with(&format!("VM {vm} slot "))), "{vm}");
    }
    assert!(any(&|it| it.starts_with("queue of this CPU ")));
    // Both CPUs of the guests are busy, and somebody waits.
    let runs = lines.iter().filter(|it| it.contains(" runs, VM "));
    assert!(runs.count() >= 2);
    for vcpu in 0..2 {
        let vcpu = format!("vCPU {vcpu} of VM ");
        assert_eq!(lines.iter().filter(|it| it.starts_with(&vcpu)).count(), 2);
    }
    assert!(any(&|it| it.starts_with("waits for ")));
    guests.iter().for_each(Guest::assert_progress);
    scheduler.assert_alive();
    assert!(scheduler.stop().success());
}

/// A file of the kernel's; what it held before is written back when this is dropped.
struct Changed {
    file: &'static str,
    before: String,
}

impl Changed {
    /// None if this kernel does not have it.
    fn to(file: &'static str, text: &str) -> Option<Self> {
        let before = fs::read_to_string(file).ok()?;
        fs::write(file, text).unwrap_or_else(|e| panic!("{file}: {e}"));
        Some(Self { file, before })
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        fs::write(self.file, &self.before).expect("as it was");
    }
}

/// A real-time task keeps a CPU for itself, which the kernel is told to allow. After 30 s it ejects
/// the scheduler, for a task that is bound to that CPU waits.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn an_ejection_tells_who_waited() {
    const REALTIME: &str = "/proc/sys/kernel/sched_rt_runtime_us";
    const SERVER: &str = "/sys/kernel/debug/sched/ext_server/cpu2/runtime";
    let guest = Guest::take("cpu-a");
    let scheduler = Scheduler::start(&[]);
    let _limit = Changed::to(REALTIME, "-1").expect("every kernel has it");
    // Before Linux 7.0 there is no such server.
    let _server = Changed::to(SERVER, "0");
    let realtime = Hog::start("4", 0);
    let bound = Hog::start("4", 0);
    realtime.make_realtime();
    let pid = bound.pid();
    let log = scheduler.log_file().to_owned();
    // 30 s, and what the kernel takes to look; then the CPU is needed to end.
    wait_for("the ejection", ms(90_000), || {
        sched_ext_state() != "enabled"
    });
    drop((realtime, bound));
    let status = scheduler.wait();
    let log = fs::read_to_string(log).expect("a log");
    println!("{log}");
    assert_eq!(status.code(), Some(70));
    assert!(log.contains("runnable task stall"));
    let after = |text: &str| log.split_once(text).expect("it is told").1;
    assert!(after("vmland: queue of domain 0: ").contains("vmland: VM 1 slot "));
    // Beside the task, kernel threads may wait.
    let number = |text: &str| text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
    let queues = log.split("vmland: queue of this CPU ").skip(1);
    assert!(queues.filter_map(number).any(|waiting| waiting >= 1));
    // The kernel names the task, and we say how long it has waited.
    let named = format!("[{pid}] ");
    let mut named = log.split(&named).skip(1);
    let of_task = named.find(|it| it.trim_start_matches("*root ").starts_with('-'));
    let of_task = of_task.expect("it is told");
    let waited = of_task.split_once("waits for ").expect("it waits").1;
    let us = number(waited).expect("a number");
    assert!((25_000_000..60_000_000).contains(&us), "{us}");
    guest.assert_progress();
}
