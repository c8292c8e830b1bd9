// SPDX-License-Identifier: GPL-2.0-only
//! Starting, watching and ending guests, on any machine: `tests/fixtures/host`
//! is the host, and its `qemu` a script that plays QEMU. The tests of `in_host`
//! have real ones.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vmland_guests::archive;
use vmland_guests::preflight::{Options, Refusal};
use vmland_guests::running::{Error, Guests, STALLED_AFTER};
use vmland_guests::spec::{GuestSpec, Load};

/// More than a machine that does much else takes to start a shell.
const SOON: Duration = Duration::from_secs(30);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/host")
}

fn options() -> Options {
    Options {
        qemu: fixtures().join("qemu"),
        root: fixtures(),
        ..Options::default()
    }
}

/// What a guest of that name does, the script's text says.
fn guest(name: &str) -> GuestSpec {
    GuestSpec {
        load: if name.starts_with("io") {
            Load::Io
        } else {
            Load::Lock
        },
        vcpus: 2,
        name: name.into(),
        weight: None,
    }
}

fn start(names: &[&str]) -> Guests {
    let specs: Vec<_> = names.iter().map(|name| guest(name)).collect();
    Guests::start(&specs, &options()).expect("they start")
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "{what}: not within {SOON:?}");
        sleep(Duration::from_millis(10));
    }
}

/// A process that has ended, but that nobody has waited for yet, counts as gone.
fn is_gone(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z'))
    })
}

/// The console of the guest `tells`, which says how it was started.
fn told(options: &Options) -> String {
    let guests = Guests::start(&[guest("tells")], options).expect("it starts");
    let ended = guests.wait_up(SOON).unwrap_err();
    assert!(matches!(ended, Error::Ended { .. }), "{ended}");
    ended.to_string()
}

#[test]
fn progress() {
    let guests = start(&["works1", "works2"]);
    guests.wait_up(SOON).unwrap();
    let first = guests.progress(1).unwrap();
    wait_for("the next report", || {
        guests.progress(1).unwrap().guest_ms > first.guest_ms
    });
    let next = guests.progress(1).unwrap();
    assert_eq!(next.work, 2 * next.guest_ms);
    assert!(next.received > first.received);
    assert!(next.latency_since(&first).is_none());
    guests.check().unwrap();
    assert!(
        guests
            .specs()
            .map(|spec| &spec.name[..])
            .eq(["works1", "works2"])
    );
}

#[test]
fn round_trips() {
    let guests = start(&["io"]);
    guests.wait_up(SOON).unwrap();
    let first = guests.progress(0).unwrap();
    let samples = || {
        let now = guests.progress(0).unwrap();
        now.latency_since(&first)
            .map_or(0, |latency| latency.samples)
    };
    wait_for("round trips", || samples() >= 20);
    let latency = guests.progress(0).unwrap().latency_since(&first).unwrap();
    // The script starts a process for each answer: not within microseconds.
    assert!(latency.p50_us > 100, "{latency:?}");
    assert!(latency.p50_us <= latency.p99_us && latency.p99_us <= latency.max_us);
    guests.check().unwrap();
}

#[test]
fn the_command_line() {
    let on = told(&options());
    for part in [
        "-name guest=tells,debug-threads=on",
        "-accel kvm",
        "-cpu host -smp 2 -m 192",
        "-serial stdio",
        "nopvspin",
        "load=lock",
        "initrd begins with 070701",
        "qemu: no more",
    ] {
        assert!(on.contains(part), "no {part:?} in:{on}");
    }
    let kernel = format!("-kernel {}", fixtures().join("boot/vmlinux").display());
    assert!(on.contains(&kernel), "{on}");

    let with_workload = told(&Options {
        archive: b"070701 and more".to_vec(),
        ..options()
    });
    for part in ["-smp 2 -m 194", "initrd ends with more"] {
        assert!(
            with_workload.contains(part),
            "no {part:?} in:{with_workload}"
        );
    }

    let off = told(&Options {
        pv: false,
        cpus: Some("0".into()),
        ..options()
    });
    let cpu = "-cpu host,-kvm-pv-tlb-flush,-kvm-pv-ipi,-kvm-pv-sched-yield ";
    assert!(off.contains(cpu), "{off}");
    let only_0 = off
        .lines()
        .filter_map(|line| line.split_once("Cpus_allowed_list:"));
    assert!(
        only_0
            .map(|(_, list)| list.trim_start_matches('\u{fffd}'))
            .eq(["0"]),
        "{off}"
    );
}

#[test]
fn nothing_starts_where_not_all_can() {
    let specs = vec![guest("works"); 17];
    let refused = Guests::start(&specs, &options())
        .err()
        .expect("4 GiB are too few");
    let Error::Refused(refusal @ Refusal::NoMemory { .. }) = refused else {
        panic!("{refused}");
    };
    assert_eq!(refusal.exit_code(), 69);

    let options = Options {
        // Executable, and no program.
        qemu: fixtures(),
        ..options()
    };
    let refused = Guests::start(&specs[..1], &options).err().expect("no QEMU");
    assert!(
        matches!(refused, Error::Refused(Refusal::NoQemu(_))),
        "{refused}"
    );
}

#[test]
fn a_guest_that_never_reports() {
    let guests = start(&["works", "silent"]);
    let error = guests.wait_up(Duration::from_secs(2)).unwrap_err();
    assert!(
        matches!(&error, Error::NotUp { name, .. } if name == "silent"),
        "{error}"
    );
    assert!(
        error.to_string().contains("no working init found"),
        "{error}"
    );
    assert!(guests.progress(1).is_none());
}

#[test]
fn a_guest_that_ends() {
    let guests = start(&["works"]);
    guests.wait_up(SOON).unwrap();
    kill(Pid::from_raw(guests.pid(0) as i32), Signal::SIGKILL).unwrap();
    let mut error = None;
    wait_for("the end", || {
        error = guests.check().err();
        error.is_some()
    });
    let error = error.unwrap();
    assert!(
        matches!(&error, Error::Ended { name, .. } if name == "works"),
        "{error}"
    );
}

#[test]
fn a_guest_whose_workload_fails() {
    let guests = start(&["fails"]);
    wait_for("the failure", || guests.check().is_err());
    let error = guests.check().unwrap_err();
    assert!(matches!(&error, Error::Failed { name, status: 2, .. } if name == "fails"));
    assert!(error.to_string().contains("no such option"), "{error}");
}

#[test]
fn a_guest_that_stalls() {
    let guests = start(&["stalls"]);
    guests.wait_up(SOON).unwrap();
    guests.check().unwrap();
    let mut error = None;
    wait_for("the stall", || {
        error = guests.check().err();
        error.is_some()
    });
    let error = error.unwrap();
    assert!(
        matches!(&error, Error::Stalled { after, .. } if *after > STALLED_AFTER),
        "{error}"
    );
}

#[test]
fn a_paused_guest_stands_still_and_has_not_stalled() {
    let guests = start(&["works"]);
    guests.wait_up(SOON).unwrap();
    guests.pause(0).unwrap();
    // What was under way when it was stopped.
    sleep(Duration::from_secs(1));
    let paused = guests.progress(0).unwrap();
    sleep(STALLED_AFTER);
    guests.check().unwrap();
    assert_eq!(guests.progress(0).unwrap().guest_ms, paused.guest_ms);

    guests.resume(0).unwrap();
    guests.check().unwrap();
    wait_for("progress", || {
        guests.progress(0).unwrap().guest_ms > paused.guest_ms
    });
}

#[test]
fn they_end_when_dropped() {
    let guests = start(&["works", "silent", "io"]);
    let pids: Vec<_> = (0..3).map(|i| guests.pid(i)).collect();
    assert!(!pids.iter().any(|&pid| is_gone(pid)));
    guests.pause(0).unwrap();
    drop(guests);
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}

/// This test is its own parent process, which is killed.
#[test]
fn they_end_with_a_killed_process() {
    const TO_BE_KILLED: &str = "VMLAND_TEST_TO_BE_KILLED";
    if std::env::var_os(TO_BE_KILLED).is_some() {
        let guests = start(&["works", "silent"]);
        println!("\npids {} {}", guests.pid(0), guests.pid(1));
        std::io::stdout().flush().unwrap();
        sleep(SOON * 2);
        return;
    }
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "they_end_with_a_killed_process", "--nocapture"])
        .env(TO_BE_KILLED, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pids: Vec<u32> = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .find_map(|line| {
            let line = line.unwrap();
            let pids = line.strip_prefix("pids ")?.split(' ');
            Some(pids.map(|pid| pid.parse().unwrap()).collect())
        })
        .unwrap();
    assert!(!pids.iter().any(|&pid| is_gone(pid)));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_for("their end", || pids.iter().all(|&pid| is_gone(pid)));
}

#[test]
fn the_archive_has_the_load_as_init() {
    let archive = archive::userspace();
    // The header of newc: the magic number, then fields of eight hexadecimal digits.
    let field = |i: usize| {
        let digits = str::from_utf8(&archive[6 + 8 * i..][..8]).unwrap();
        usize::from_str_radix(digits, 16).unwrap()
    };
    assert!(archive.starts_with(b"070701"));
    let (mode, size, name_size) = (field(1), field(6), field(11));
    assert_eq!(mode, 0o100_755);
    assert_eq!(&archive[110..110 + name_size], b"init\0");
    let content = &archive[(110 + name_size).next_multiple_of(4)..][..size];
    let load = fs::read(concat!(env!("OUT_DIR"), "/load")).unwrap();
    assert!(content == load, "not the program that was built");

    let mut cpio = Command::new("busybox")
        .args(["cpio", "-t"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("busybox is installed (tests/setup)");
    cpio.stdin.take().unwrap().write_all(&archive).unwrap();
    let listed = cpio.wait_with_output().unwrap();
    assert!(listed.status.success());
    assert_eq!(listed.stdout, b"init\n");
}
