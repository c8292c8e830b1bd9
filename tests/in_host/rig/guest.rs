// SPDX-License-Identifier: GPL-2.0-only
//! KVM guests, each with one load on all its vCPUs.
//!
//! A boot takes longer than most windows. So the guests that tests take come from a stock: a
//! guest that no test uses stays there, paused in the middle of its work. It boots when the first
//! test takes it, while all others are paused: one or two take 4 to 6 s then, and two or three
//! times as long beside guests that work. Many at once are slower than one after the other, for
//! their vCPUs wait for siblings that have no CPU: 12 took 143 s.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::qmp::{qmp, qmp_with};
use super::{ms, read, thread_cpu_ns, wait_for};

/// What runs in a guest.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    load: &'static str,
    vcpus: u32,
    /// KVM's paravirtual TLB flush, IPIs and yield. Without them every TLB shootdown interrupts
    /// every vCPU, as on a hypervisor that the guest does not know.
    pv: bool,
}

const fn kind(name: &'static str, load: &'static str, vcpus: u32) -> Kind {
    Kind {
        name,
        load,
        vcpus,
        pv: true,
    }
}

const fn agnostic(kind: Kind) -> Kind {
    Kind { pv: false, ..kind }
}

/// The guests that tests take, by name. `vmland bench` calls its own `cpu1`, `cpu2` and so on.
const STOCK: [Kind; 13] = [
    kind("cpu-a", "cpu", 2),
    kind("cpu-b", "cpu", 2),
    kind("cpu-c", "cpu", 2),
    kind("cpu-4vcpus", "cpu", 4),
    kind("lat", "lat", 1),
    kind("lock-a", "lock", 2),
    kind("lock-b", "lock", 2),
    kind("msg-a", "msg", 2),
    kind("msg-b", "msg", 2),
    kind("msg-4vcpus", "msg", 4),
    kind("storm", "storm", 2),
    agnostic(kind("tlb-a", "tlb", 2)),
    agnostic(kind("tlb-b", "tlb", 2)),
];

/// For each guest that boots, since the last came up. A guest that takes longer hangs, as one does
/// now and then under software emulation. While the machine compiled, one took up to 18 s.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// The test that has it has paused it.
    Paused,
    InStock,
}

/// Every guest that was started and has not ended.
static GUESTS: Mutex<BTreeMap<&'static str, State>> = Mutex::new(BTreeMap::new());

fn guests() -> MutexGuard<'static, BTreeMap<&'static str, State>> {
    GUESTS.lock().expect("nothing panics that holds it")
}

fn in_state(wanted: State) -> Vec<&'static str> {
    let guests = guests();
    let names = guests.iter().filter(|(_, state)| **state == wanted);
    names.map(|(name, _)| *name).collect()
}

/// Calls `f` while no guest runs.
pub fn while_paused<T>(f: impl FnOnce() -> T) -> T {
    let running = in_state(State::Running);
    for name in &running {
        qmp(name, "stop").expect("QEMU stops it");
    }
    let result = f();
    for name in &running {
        qmp(name, "cont").expect("QEMU lets it go on");
    }
    result
}

/// A Linux guest under QEMU/KVM; it goes into the stock when dropped.
pub struct Guest {
    kind: Kind,
    /// Asked for once: on a busy host QEMU's answer can take a second, which is not to be
    /// part of what is measured.
    vcpu_threads: Vec<i32>,
}

impl Guest {
    /// From the stock.
    pub fn take(name: &str) -> Self {
        let [this] = Self::take_all([name]);
        this
    }

    pub fn take_all<const N: usize>(names: [&str; N]) -> [Self; N] {
        boot_missing(&names);
        let guests = names.map(|name| {
            let kind = STOCK.iter().find(|kind| kind.name == name);
            Self::of(*kind.expect("a guest of the stock")).with_vcpu_threads()
        });
        guests.iter().for_each(Self::resume);
        guests
    }

    /// Not from the stock, for tests of how guests start and end: each with its name, load and
    /// number of vCPUs.
    pub fn boot<const N: usize>(guests: [(&'static str, &'static str, u32); N]) -> [Self; N] {
        let kinds = guests.map(|(name, load, vcpus)| kind(name, load, vcpus));
        let mut up = vec![];
        boot_all(&kinds, |guest| up.push(guest.with_vcpu_threads()));
        up.sort_by_key(|guest| kinds.iter().position(|kind| kind.name == guest.kind.name));
        up.try_into().unwrap_or_else(|_| panic!("not all came up"))
    }

    fn of(kind: Kind) -> Self {
        let vcpu_threads = vec![];
        Self { kind, vcpu_threads }
    }

    fn with_vcpu_threads(mut self) -> Self {
        let answer = qmp(self.kind.name, "query-cpus-fast").expect("QEMU answers");
        let cpus = answer["return"].as_array().expect("a list of CPUs");
        let thread = |cpu: &Value| cpu["thread-id"].as_i64().expect("a thread id") as i32;
        self.vcpu_threads = cpus.iter().map(thread).collect();
        self
    }

    /// The process that starts its QEMU, which takes a second.
    fn start(&self) -> Child {
        let Kind {
            name,
            load,
            vcpus,
            pv,
        } = self.kind;
        guests().insert(name, State::Running);
        Command::new("guest")
            .args(["start", name, load, "--vcpus", &vcpus.to_string()])
            .args(["--pv", if pv { "on" } else { "off" }])
            .spawn()
            .expect("/bin/guest is there")
    }

    fn log(&self) -> String {
        read(&format!("/run/guests/{}.log", self.kind.name))
    }

    /// The work of its last whole report, `P <ms> <work>`.
    fn last_count(&self) -> Option<u64> {
        const END: u64 = 4096;
        let mut log = File::open(format!("/run/guests/{}.log", self.kind.name)).ok()?;
        let length = log.seek(SeekFrom::End(0)).ok()?;
        log.seek(SeekFrom::Start(length.saturating_sub(END))).ok()?;
        let mut end = vec![];
        log.read_to_end(&mut end).ok()?;
        let work = |line: &str| -> Option<u64> {
            let (time, work) = line
                .strip_prefix("P ")?
                .strip_suffix('\r')?
                .split_once(' ')?;
            time.parse::<u64>().ok()?;
            work.parse().ok()
        };
        String::from_utf8_lossy(&end).rsplit('\n').find_map(work)
    }

    /// Its kernel has panicked, or its QEMU has ended.
    fn has_crashed(&self) -> bool {
        // QEMU takes the file with it when it ends.
        let pid = read(&format!("/run/guests/{}.pid", self.kind.name));
        let runs = !pid.is_empty() && Path::new(&format!("/proc/{pid}")).exists();
        !runs || self.log().contains("Kernel panic")
    }

    /// Ends it for good.
    pub fn end(self) {
        stop(self.kind.name);
        std::mem::forget(self);
    }

    /// Ends the whole stock: the host is as if there never had been a guest.
    pub fn end_stock() {
        in_state(State::InStock).into_iter().for_each(stop);
    }

    /// Work done so far, as the guest itself reports it ten times a second.
    pub fn count(&self) -> u64 {
        self.last_count().expect("a report")
    }

    /// Its QEMU.
    pub fn pid(&self) -> i32 {
        read(&format!("/run/guests/{}.pid", self.kind.name))
            .parse()
            .expect("a pid")
    }

    pub fn pause(&self) {
        self.switch("stop", State::Paused);
    }

    /// Its state goes to a file, as for a snapshot or a migration. It is paused then.
    pub fn save(&self) {
        const FILE: &str = "/tmp/saved-guest";
        let name = self.kind.name;
        let uri = json!({ "uri": format!("file:{FILE}") });
        qmp_with(name, "migrate", &uri).expect("QEMU begins");
        wait_for("the guest to be saved", ms(20_000), || {
            let answer = qmp(name, "query-migrate").expect("QEMU answers");
            let status = &answer["return"]["status"];
            assert_ne!(status, "failed", "{answer}");
            status == "completed"
        });
        guests().insert(name, State::Paused);
        fs::remove_file(FILE).expect("it was written");
    }

    pub fn resume(&self) {
        self.switch("cont", State::Running);
    }

    fn switch(&self, command: &str, state: State) {
        let name = self.kind.name;
        if let Err(error) = qmp(name, command) {
            panic!("{command} of guest {name}: {error}");
        }
        guests().insert(name, state);
    }

    /// Load lat: how late wake-ups were, at most in each second since the guest's start.
    pub fn latest_wake_ups(&self) -> Vec<Duration> {
        // L <ms> <samples> <p50> <p99> <max>
        let latest = |line: &str| -> Option<Duration> {
            let us = line.strip_prefix("L ")?.split(' ').nth(4)?;
            Some(Duration::from_micros(us.trim().parse().ok()?))
        };
        self.log().lines().filter_map(latest).collect()
    }

    /// The guest's time and its steal time so far, of all CPUs, by its own count once a second.
    pub fn steal(&self) -> (Duration, Duration) {
        // S <ms> <steal>
        let report = |line: &str| -> Option<(Duration, Duration)> {
            let (at, steal) = line.strip_prefix("S ")?.split_once(' ')?;
            Some((ms(at.parse().ok()?), ms(steal.trim().parse().ok()?)))
        };
        let log = self.log();
        let last = log.lines().rev().find_map(report);
        last.expect("a report of a guest that has run for a second")
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
        let name = self.kind.name;
        if self.has_crashed() || qmp(name, "stop").is_err() {
            // tests/in_host/judge.awk looks for this.
            println!("guest {name} has crashed");
            stop(name);
        } else {
            guests().insert(name, State::InStock);
        }
    }
}

fn boot_missing(names: &[&str]) {
    let has: Vec<_> = guests().keys().copied().collect();
    let missing = |kind: &&Kind| names.contains(&kind.name) && !has.contains(&kind.name);
    let kinds: Vec<_> = STOCK.iter().filter(missing).copied().collect();
    if !kinds.is_empty() {
        // Dropped, a guest goes into the stock.
        while_paused(|| boot_all(&kinds, drop));
    }
}

/// Boots them at the same time, and calls `up` with each that has reported. One that does not
/// come up gets a second chance.
fn boot_all(kinds: &[Kind], mut up: impl FnMut(Guest)) {
    let start = Instant::now();
    let mut booting: Vec<_> = { kinds.iter() }.map(|kind| (Guest::of(*kind), 1)).collect();
    let mut qemus: Vec<_> = booting.iter().map(|(guest, _)| guest.start()).collect();
    qemus.iter_mut().for_each(wait_started);
    let mut since = Instant::now();
    while !booting.is_empty() {
        let limit = BOOT_LIMIT * booting.len() as u32;
        for (guest, attempt) in std::mem::take(&mut booting) {
            if guest.last_count().is_some() {
                since = Instant::now();
                up(guest);
            } else if !guest.has_crashed() && since.elapsed() < limit {
                booting.push((guest, attempt));
            } else {
                let name = guest.kind.name;
                assert!(attempt == 1, "guest {name} does not boot: {}", guest.log());
                // tests/in_host/run counts these.
                println!("guest {name} did not come up, booting it again");
                stop(name);
                wait_started(&mut guest.start());
                since = Instant::now();
                booting.push((guest, attempt + 1));
            }
        }
        sleep(ms(50));
    }
    println!("{} guests booted in {:.1?}", kinds.len(), start.elapsed());
}

fn wait_started(qemu: &mut Child) {
    assert!(qemu.wait().is_ok_and(|s| s.success()), "guest start failed");
}

fn stop(name: &str) {
    guests().remove(name);
    // It fails for a guest whose QEMU has ended.
    let _ = Command::new("guest").args(["stop", name]).status();
}
