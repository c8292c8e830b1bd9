// SPDX-License-Identifier: GPL-2.0-only
//! The guests' load as an ordinary process.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;
use scx_vmland::guests::spec::Load;

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
