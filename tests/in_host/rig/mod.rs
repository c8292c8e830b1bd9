// SPDX-License-Identifier: GPL-2.0-only
//! What the tests start and stop on the host, and how they look at it.
//!
//! | module | what it starts |
//! | --- | --- |
//! | `scheduler` | scx_vmland |
//! | `guest` | KVM guests, which tests take from a stock |
//! | `qmp` | nothing; it asks QEMU |
//! | `hog` | processes that only use CPU time |
//! | `cgroup` | cgroups |
//! | `bare_vm` | VMs without a guest |
//! | `tracefs` | an instance of tracefs |

pub mod bare_vm;
mod cgroup;
mod guest;
mod hog;
mod qmp;
mod scheduler;
mod tracefs;

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use bare_vm::BareVm;
pub use cgroup::Cgroup;
pub use guest::{Guest, while_paused};
pub use hog::Hog;
pub use scheduler::Scheduler;
pub use tracefs::Tracefs;

/// CPUs that guests run on; the emulated host keeps CPU 0 free of them.
pub const GUEST_CPUS: u64 = 2;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Waits until `done`, at most `limit`.
pub fn wait_for(what: &str, limit: Duration, mut done: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(ms(10));
    }
    start.elapsed()
}

/// `disabled`, `enabled`, …
pub fn sched_ext_state() -> String {
    read("/sys/kernel/sched_ext/state")
}

/// The text of a file, trimmed; empty if there is no such file.
pub fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_string()
}

/// CPUs used in `span`, from what `read` returns: CPU time in ns.
pub fn cpus_used<const N: usize>(read: impl Fn() -> [u64; N], span: Duration) -> [f64; N] {
    let (start, before) = (Instant::now(), read());
    sleep(span);
    let after = read();
    let span = start.elapsed().as_nanos() as f64;
    let used = std::array::from_fn(|i| (after[i] - before[i]) as f64 / span);
    println!("CPUs used: {used:.3?}");
    used
}

/// Likewise, without the two of six parts of `span` whose split is farthest from the others'. A CPU
/// of the emulated host that stands still for long is charged to the task that has it just then, up
/// to the bound of its debt.
pub fn cpus_used_mostly<const N: usize>(read: impl Fn() -> [u64; N], span: Duration) -> [f64; N] {
    const PARTS: usize = 6;
    let mut parts = [(); PARTS].map(|()| cpus_used(&read, span / PARTS as u32));
    let first = |used: &[f64; N]| used[0] / used.iter().sum::<f64>();
    parts.sort_by(|a, b| first(a).total_cmp(&first(b)));
    let middle = &parts[1..PARTS - 1];
    std::array::from_fn(|i| middle.iter().map(|used| used[i]).sum::<f64>() / middle.len() as f64)
}

/// A field of proc_pid_stat(5), by its number there, from the third on. The second is a name
/// in brackets that may hold spaces and brackets.
pub fn stat_field(id: i32, number: usize) -> u64 {
    let stat = read(&format!("/proc/{id}/stat"));
    let fields = stat.rsplit_once(") ").expect("a name").1;
    let field = fields.split(' ').nth(number - 3).expect("a field");
    field.parse().expect("a number")
}

/// The threads of a process.
pub fn threads(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let tid = |task: std::io::Result<fs::DirEntry>| task.ok()?.file_name().to_str()?.parse().ok();
    tasks.filter_map(tid).collect()
}

/// Has a thread run on these CPUs only, as taskset does; 0 is the caller.
pub fn set_affinity(tid: i32, cpus: &[usize]) {
    // SAFETY: a set of bits, which is valid when it is zeroed, and outlives the call. The thread
    // may have ended.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &cpu in cpus {
            libc::CPU_SET(cpu, &mut set);
        }
        libc::sched_setaffinity(tid, size_of_val(&set), &raw const set);
    }
}

/// CPU time of a thread; 0 if it has ended.
pub fn thread_cpu_ns(tid: i32) -> u64 {
    let stat = read(&format!("/proc/{tid}/schedstat"));
    stat.split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .unwrap_or(0)
}

pub fn kill(pid: i32, signal: &str) {
    let sent = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status();
    assert!(sent.is_ok_and(|s| s.success()), "kill -s {signal} {pid}");
}

/// The VMs that `vmland vms` lists, as JSON.
pub fn vmland_vms() -> Vec<Value> {
    let out = Command::new("vmland")
        .args(["vms", "--json"])
        .output()
        .expect("vmland starts");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).expect("JSON")
}
