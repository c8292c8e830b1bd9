// SPDX-License-Identifier: GPL-2.0-only
//! The guests' load as an ordinary process.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;
use vmland_guests::spec::Load;

const LOAD: &str = concat!(env!("OUT_DIR"), "/load");

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads lines until one that is no report of work.
fn next_answer(output: &mut impl BufRead) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "it ended");
        if !line.starts_with("P ") {
            return line;
        }
    }
}

#[test]
fn its_loads_are_those_that_can_be_asked_for() {
    let out = Command::new(LOAD).arg("nothing").output().unwrap();
    assert_eq!(out.status.code(), Some(64));
    let message = String::from_utf8(out.stderr).unwrap();
    let (_, names) = message.trim_end().split_once("there are: ").unwrap();
    assert!(names.split(' ').eq(Load::ALL.map(Load::as_str)), "{names}");
}

fn run(script: &str) -> Running {
    let load = Command::new(LOAD)
        .args(["run", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    Running(load.unwrap())
}

/// Each run leaves a character; what it says on its way does not get into the reports.
#[test]
fn run_counts_runs() {
    let runs = tempfile::NamedTempFile::new().unwrap();
    let script = format!(
        "echo P 1 1; echo P 1 1 >&2; sleep 0.01; printf x >>{}",
        runs.path().display()
    );
    let mut load = run(&script);
    let reports = BufReader::new(load.0.stdout.take().unwrap()).lines();
    let counts: Vec<u64> = reports
        .take(20)
        .map(|line| {
            let line = line.unwrap();
            let (ms, count) = line.strip_prefix("P ").unwrap().split_once(' ').unwrap();
            assert_ne!(ms, "1", "the program's own words");
            count.parse().unwrap()
        })
        .collect();
    drop(load);
    assert!(counts.is_sorted(), "{counts:?}");
    let (last, done) = (counts[19], runs.path().metadata().unwrap().len());
    assert!(0 < last && last <= done, "{last} of {done}");
}

/// How a workload ends that cannot be run again: what the guest says last, and the runs
/// that it had counted.
fn failed(mut load: Running) -> String {
    let mut output = String::new();
    let mut console = load.0.stdout.take().unwrap();
    console.read_to_string(&mut output).unwrap();
    assert_eq!(load.0.wait().unwrap().code(), Some(1));
    let printed = output.lines().filter(|line| !line.starts_with("P "));
    printed.map(|line| format!("{line}\n")).collect()
}

#[test]
fn run_ends_with_a_program_that_fails() {
    assert_eq!(failed(run("echo no >&2; exit 3")), "no\n\nF 3\n");
    assert_eq!(failed(run("kill -SEGV $$")), "\nF 139\n");
    // Only the end of the output, and only by the run that failed.
    let long = failed(run("printf 0; seq 1000 >&2; printf end >&2; exit 1"));
    assert!(long.ends_with("\n1000\nend\nF 1\n"), "{long}");
    assert!(long.len() < 1100, "{long}");

    let marker = tempfile::tempdir().unwrap();
    let second = format!(
        "mkdir {}/x || exit 4; echo fine >&2",
        marker.path().display()
    );
    let second = failed(run(&second));
    assert!(
        !second.contains("fine") && second.ends_with("\nF 4\n"),
        "{second}"
    );
}

#[test]
fn run_needs_a_program() {
    let load = Command::new(LOAD)
        .args(["run", "/no/such/program"])
        .output();
    let out = load.unwrap();
    assert_eq!(out.status.code(), Some(1));
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(told.ends_with("\nF 127\n"), "{told}");
    let out = Command::new(LOAD).arg("run").output().unwrap();
    assert_eq!(out.status.code(), Some(64));
}

/// As a guest's console is one.
#[test]
fn io_on_a_terminal_answers_each_byte_and_echoes_none() {
    let terminal = openpty(None, None).unwrap();
    let load = Command::new(LOAD)
        .arg("io")
        .stdin(terminal.slave.try_clone().unwrap())
        .stdout(terminal.slave)
        .spawn();
    let _load = Running(load.unwrap());
    let mut host = File::from(terminal.master);
    let mut output = BufReader::new(host.try_clone().unwrap());

    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    assert!(
        first.starts_with("P ") && first.ends_with(" 0\r\n"),
        "{first:?}"
    );
    // Among them those that a terminal usually makes something else of.
    for request in *b"?\r\x03\x04\x13?" {
        host.write_all(&[request]).unwrap();
        assert_eq!(next_answer(&mut output), "R\r\n");
    }
    // An answer is counted just after it was given.
    let reports = output.lines().take(3).map(Result::unwrap);
    assert!({ reports }.any(|report| report.ends_with(" 6")));
}

#[test]
fn io_on_a_pipe_ends_with_its_requests() {
    let load = Command::new(LOAD)
        .arg("io")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut load = Running(load.unwrap());
    let mut requests = load.0.stdin.take().unwrap();
    let mut output = BufReader::new(load.0.stdout.take().unwrap());
    requests.write_all(b"???").unwrap();
    for _ in 0..3 {
        assert_eq!(next_answer(&mut output), "R\n");
    }
    drop(requests);
    assert_eq!(load.0.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains('R'), "{rest:?}");
}
