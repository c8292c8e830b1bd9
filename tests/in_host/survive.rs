// SPDX-License-Identifier: GPL-2.0-only
//! The host goes on when the scheduler attaches, detaches or is killed, and under churn.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;

use vmland_control::standby::{FLAG, READY};

use crate::rig::{Guest, Hog, Scheduler, kill, ms, read, sched_ext_state, stat_field, wait_for};

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn attach_and_detach_again_and_again() {
    let [lock, tlb] = Guest::take_all(["lock-a", "tlb-a"]);
    for i in 0..8 {
        let scheduler = if i < 6 {
            Scheduler::start(&[])
        } else {
            Scheduler::start_beside(&[])
        };
        sleep(ms(200));
        assert!(scheduler.stop().success());
    }
    lock.assert_progress();
    tlb.assert_progress();
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn killed_with_guests_running() {
    let [lock, tlb] = Guest::take_all(["lock-a", "tlb-a"]);
    let scheduler = Scheduler::start_beside(&[]);
    sleep(ms(1_000));
    scheduler.signal("KILL");
    let took = wait_for("the kernel's own scheduler", ms(1_000), || {
        sched_ext_state() == "disabled"
    });
    println!("disabled after {took:?}");
    lock.assert_progress();
    tlb.assert_progress();
}

/// A real-time task takes the CPU of a task that may use another one, which is idle. Without
/// ops.cpu_release() that waits until the kernel throttles real-time tasks, for nearly 1 s.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_task_leaves_a_cpu_that_a_realtime_task_has_taken() {
    let mut scheduler = Scheduler::start(&[]);
    for _ in 0..3 {
        let task = Hog::start("6", 0);
        sleep(ms(300));
        let realtime = Hog::start(&format!("{:x}", 1 << task.cpu()), 0);
        realtime.make_realtime();
        let before_ns = task.cpu_ns();
        let took = wait_for("20 ms of CPU time", ms(300), || {
            task.cpu_ns() > before_ns + 20_000_000
        });
        println!("20 ms of CPU time after {took:?}");
    }
    scheduler.assert_alive();
    assert!(scheduler.stop().success());
}

/// CPU time and memory of the scheduler on an idle host.
#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn an_idle_host_pays_little() {
    let scheduler = Scheduler::start(&[]);
    let pid = scheduler.pid();
    sleep(ms(2_000));
    // utime and stime, in ticks of 10 ms.
    let cpu_ms = || (stat_field(pid, 14) + stat_field(pid, 15)) * 10;
    let before = cpu_ms();
    sleep(ms(8_000));
    let percent = (cpu_ms() - before) as f64 / 80.0;
    let status = read(&format!("/proc/{pid}/status"));
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("it is resident");
    let kib: u64 = resident
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    println!("{percent:.1} % of a CPU, {} MiB", kib >> 10);
    assert!(percent <= 1.0, "{percent:.1} %");
    assert!(kib <= 100 << 10, "{kib} KiB");

    // It ends at once although the host is idle: it does not wait for an event.
    scheduler.signal("INT");
    let took = wait_for("the kernel's own scheduler", ms(900), || {
        sched_ext_state() == "disabled"
    });
    println!("disabled after {took:?}");
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_second_scheduler_is_refused_by_name() {
    let _first = Scheduler::start(&[]);
    let second = Command::new("scx_vmland")
        .output()
        .expect("scx_vmland starts");
    assert_eq!(second.status.code(), Some(75));
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(message.contains("vmland_"), "{message}");
}

/// A scheduler that is loaded and waits for a line on stdin before it attaches.
fn stand_by() -> Child {
    let mut child = Command::new("scx_vmland")
        .arg(FLAG)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("scx_vmland starts");
    let messages = BufReader::new(child.stderr.as_mut().expect("a pipe"));
    let mut lines = messages.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(READY)), "it does not load");
    child
}

fn tell(child: &mut Child) {
    let input = child.stdin.as_mut().expect("a pipe");
    input.write_all(b"\n").expect("it reads");
}

#[test]
#[ignore = "needs a sched_ext host with KVM"]
fn a_standby_attaches_at_once() {
    let mut first = Scheduler::start(&[]);
    let code = |mut child: Child| child.wait().expect("our child").code();
    let mut early = stand_by();
    tell(&mut early);
    assert_eq!(code(early), Some(75));
    let mut forgotten = stand_by();
    drop(forgotten.stdin.take());
    assert_eq!(code(forgotten), Some(0));
    let unwanted = stand_by();
    kill(unwanted.id() as i32, "INT");
    assert_eq!(code(unwanted), Some(0));
    first.assert_alive();

    let mut next = stand_by();
    assert!(first.stop().success());
    tell(&mut next);
    let took = wait_for("the one that stood by", ms(1_500), || {
        sched_ext_state() == "enabled"
    });
    println!("attached after {took:?}");
    wait_for("statistics", ms(5_000), || {
        let vms = Command::new("vmland").arg("vms").output();
        vms.is_ok_and(|out| out.status.success())
    });
    kill(next.id() as i32, "INT");
    assert_eq!(code(next), Some(0));
}
