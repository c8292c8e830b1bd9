// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler and the guests, started and stopped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// CPUs that guests run on; the emulated host keeps CPU 0 free of them.
pub const GUEST_CPUS: u64 = 2;

pub fn ms(n: u64) -> Duration {
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

pub fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_string()
}

/// What of `span` on the guests' CPUs went where, in CPUs.
pub fn cpus_used<const N: usize>(read: impl Fn() -> [u64; N], span: Duration) -> [f64; N] {
    let (start, before) = (Instant::now(), read());
    sleep(span);
    let after = read();
    let span = start.elapsed().as_nanos() as f64;
    let used = std::array::from_fn(|i| (after[i] - before[i]) as f64 / span);
    println!("CPUs used: {used:.3?}");
    used
}

/// A running scx_vmland; stopped when dropped.
pub struct Scheduler {
    child: Child,
    log: String,
}

impl Scheduler {
    /// The guests rest until it is attached, which takes less than half the time so.
    pub fn start(args: &[&str]) -> Self {
        let awake = awake().clone();
        for name in &awake {
            qmp(name, "stop");
        }
        let this = Self::start_beside(args);
        for name in &awake {
            qmp(name, "cont");
        }
        this
    }

    /// While the guests work.
    pub fn start_beside(args: &[&str]) -> Self {
        let log = format!("/tmp/scx_vmland.{:?}.log", Instant::now());
        let file = fs::File::create(&log).expect("/tmp is writable");
        let child = Command::new("scx_vmland")
            .args(args)
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("scx_vmland starts");
        let mut scheduler = Self { child, log };
        let start = Instant::now();
        while !(sched_ext_state() == "enabled" && scheduler.log().contains("attached")) {
            let gone = scheduler.child.try_wait().expect("our child");
            assert!(
                gone.is_none() && start.elapsed() < ms(20_000),
                "does not attach ({gone:?}):\n{}",
                scheduler.log()
            );
            sleep(ms(10));
        }
        scheduler
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn log(&self) -> String {
        read(&self.log)
    }

    pub fn signal(&self, name: &str) {
        kill(self.pid(), name);
    }

    /// Asserts that it is still in charge.
    pub fn assert_alive(&mut self) {
        let gone = self.child.try_wait().expect("our child");
        assert!(gone.is_none(), "it ended ({gone:?}):\n{}", self.log());
        assert_eq!(sched_ext_state(), "enabled", "{}", self.log());
    }

    /// As Ctrl-C does.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("INT");
        let status = self.child.wait().expect("our child");
        assert_eq!(sched_ext_state(), "disabled");
        status
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.signal("INT");
            let _ = self.child.wait();
        }
    }
}

pub fn kill(pid: i32, signal: &str) {
    let sent = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status();
    assert!(sent.is_ok_and(|s| s.success()), "kill -s {signal} {pid}");
}

/// What a guest is, apart from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    load: &'static str,
    vcpus: u32,
    /// KVM's paravirtual TLB flush, IPIs and yield.
    pv: bool,
}

/// Guests that no test uses at the moment, stopped in the middle of their work.
/// The next test that wants such a one need not wait for it to boot.
static PARKED: Mutex<Vec<(&'static str, Kind)>> = Mutex::new(vec![]);

/// Guests whose vCPUs are not stopped.
static AWAKE: Mutex<Vec<&'static str>> = Mutex::new(vec![]);

/// A Linux guest under QEMU/KVM with one of the loads; parked when dropped.
pub struct Guest {
    name: &'static str,
    kind: Kind,
    /// Asked for once: on a busy host QEMU's answer can take a second, which is not to be
    /// part of what is measured.
    vcpu_threads: Vec<i32>,
}

impl Guest {
    pub fn start(name: &'static str, load: &'static str, vcpus: u32) -> Self {
        let [this] = Self::start_all([(name, load, vcpus)]);
        this
    }

    /// Several at once, each with its name, load and number of vCPUs, which takes less time.
    pub fn start_all<const N: usize>(guests: [(&'static str, &'static str, u32); N]) -> [Self; N] {
        Self::start_with(true, guests)
    }

    /// The same without KVM's paravirtual features: the VM-agnostic setting, in which every TLB
    /// shootdown interrupts every vCPU.
    pub fn start_agnostic<const N: usize>(
        guests: [(&'static str, &'static str, u32); N],
    ) -> [Self; N] {
        Self::start_with(false, guests)
    }

    fn start_with<const N: usize>(
        pv: bool,
        guests: [(&'static str, &'static str, u32); N],
    ) -> [Self; N] {
        let mut guests = guests.map(|(name, load, vcpus)| {
            let kind = Kind { load, vcpus, pv };
            let this = Self {
                name,
                kind,
                vcpu_threads: vec![],
            };
            match take_parked(name) {
                Some(parked) if parked == kind => this.resume(),
                Some(_) => this.boot_anew(),
                None => this.boot(),
            }
            this
        });
        for this in &mut guests {
            // Under software emulation one hangs or panics now and then while it boots.
            if !try_guest(&["wait", this.name, "60"]) {
                this.boot_anew();
                guest(&["wait", this.name, "90"]);
            }
            this.vcpu_threads = vcpu_threads(this.name);
        }
        guests
    }

    fn boot(&self) {
        awake().push(self.name);
        let vcpus = self.kind.vcpus.to_string();
        let pv = if self.kind.pv { "on" } else { "off" };
        guest(&[
            "start",
            self.name,
            self.kind.load,
            "--vcpus",
            &vcpus,
            "--pv",
            pv,
        ]);
    }

    fn boot_anew(&self) {
        self.gone();
        try_guest(&["stop", self.name]);
        self.boot();
    }

    /// Ends it for good.
    pub fn end(self) {
        self.gone();
        guest(&["stop", self.name]);
        std::mem::forget(self);
    }

    /// Ends all that are parked: the host is as if there never had been a guest.
    pub fn end_parked() {
        for (name, _) in PARKED.lock().expect("no test holds it").drain(..) {
            guest(&["stop", name]);
        }
    }

    /// Work done so far, as the guest itself reports it ten times a second.
    pub fn count(&self) -> u64 {
        guest(&["count", self.name])
            .trim()
            .parse()
            .expect("a count")
    }

    /// Its QEMU.
    pub fn pid(&self) -> i32 {
        read(&format!("/run/guests/{}.pid", self.name))
            .parse()
            .expect("a pid")
    }

    pub fn pause(&self) {
        self.gone();
        qmp(self.name, "stop");
    }

    pub fn resume(&self) {
        qmp(self.name, "cont");
        awake().push(self.name);
    }

    /// There are no vCPUs of it that could run.
    fn gone(&self) {
        awake().retain(|name| *name != self.name);
    }

    /// Load lat: the latest that any wake-up was, once the guest was up for a while.
    pub fn longest_wake_up(&self) -> Duration {
        // L <ms> <samples> <p50> <p99> <max>
        let late = |line: &str| -> Option<u64> {
            line.strip_prefix("L ")?
                .split(' ')
                .nth(4)?
                .trim()
                .parse()
                .ok()
        };
        let log = read(&format!("/run/guests/{}.log", self.name));
        let seconds: Vec<u64> = log.lines().filter_map(late).collect();
        Duration::from_micros(seconds.iter().skip(2).copied().max().expect("reports"))
    }

    /// Asserts that the guest works on.
    pub fn assert_progress(&self) {
        let before = self.count();
        wait_for("progress of the guest", ms(5_000), || self.count() > before);
    }

    /// Threads of its vCPUs by index, as QEMU reports them.
    pub fn vcpu_threads(&self) -> Vec<i32> {
        self.vcpu_threads.clone()
    }

    /// CPU time of its vCPU threads, in ns.
    pub fn cpu_ns(&self) -> u64 {
        self.vcpu_threads
            .iter()
            .map(|&tid| thread_cpu_ns(tid))
            .sum()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.gone();
        if try_guest(&["crashed", self.name]) {
            // tests/in_host/run looks for this.
            eprintln!("guest {} has crashed", self.name);
            try_guest(&["stop", self.name]);
        } else if try_guest(&["pause", self.name])
            && let Ok(mut all) = PARKED.lock()
        {
            all.push((self.name, self.kind));
        }
    }
}

fn awake() -> MutexGuard<'static, Vec<&'static str>> {
    AWAKE.lock().expect("no test holds it")
}

fn take_parked(name: &str) -> Option<Kind> {
    let mut parked = PARKED.lock().expect("no test holds it");
    let at = parked.iter().position(|(its, _)| *its == name)?;
    Some(parked.swap_remove(at).1)
}

/// A field of proc_pid_stat(5), by its number there. The second is a name in brackets; only
/// those after it are numbers that can be told apart.
pub fn stat_field(id: i32, number: usize) -> u64 {
    let stat = read(&format!("/proc/{id}/stat"));
    let fields = stat.rsplit_once(") ").expect("a name").1;
    let field = fields.split(' ').nth(number - 3).expect("a field");
    field.parse().expect("a number")
}

pub fn thread_cpu_ns(tid: i32) -> u64 {
    let stat = read(&format!("/proc/{tid}/schedstat"));
    stat.split(' ')
        .next()
        .and_then(|ns| ns.parse().ok())
        .unwrap_or(0)
}

fn vcpu_threads(guest: &str) -> Vec<i32> {
    let answer = qmp(guest, "query-cpus-fast");
    let cpus = answer["return"].as_array().expect("a list of CPUs");
    cpus.iter()
        .map(|cpu| cpu["thread-id"].as_i64().expect("a thread id") as i32)
        .collect()
}

fn try_guest(args: &[&str]) -> bool {
    let status = Command::new("guest").args(args).status();
    status.is_ok_and(|status| status.success())
}

fn guest(args: &[&str]) -> String {
    let out = Command::new("guest")
        .args(args)
        .stderr(Stdio::inherit())
        .output();
    let out = out.expect("/bin/guest is there");
    assert!(out.status.success(), "guest {args:?} failed");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn qmp(name: &str, command: &str) -> Value {
    let mut socket = UnixStream::connect(format!("/run/guests/{name}.qmp")).expect("QMP socket");
    let reader = BufReader::new(socket.try_clone().expect("a socket"));
    for execute in ["qmp_capabilities", command] {
        writeln!(
            socket,
            "{{\"execute\": \"{execute}\", \"id\": \"{execute}\"}}"
        )
        .expect("QMP");
    }
    reader
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.expect("QMP")).expect("JSON"))
        .find(|answer| answer["id"] == command)
        .expect("an answer over QMP")
}

/// A process that does nothing but use CPU time; killed when dropped.
pub struct Hog(Child);

impl Hog {
    /// On the CPUs of `mask` (as taskset has it), at `nice`.
    pub fn start(mask: &str, nice: i32) -> Self {
        let child = Command::new("taskset")
            .args([mask, "sh", "-c", "while :; do :; done"])
            .spawn()
            .expect("taskset and sh are there");
        // SAFETY: a system call without pointers.
        let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, child.id(), nice) };
        assert_eq!(set, 0, "setpriority");
        Self(child)
    }

    pub fn cpu_ns(&self) -> u64 {
        thread_cpu_ns(self.0.id() as i32)
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call without pointers.
        assert_eq!(unsafe { libc::kill(self.0.id() as i32, signal) }, 0);
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
