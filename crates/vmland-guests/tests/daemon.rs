// SPDX-License-Identifier: GPL-2.0-only
//! Guests in the background, from their start to their end. As in `guests.rs`, the script
//! `tests/fixtures/host/qemu` plays QEMU; these tests themselves play its QMP socket.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use vmland_guests::daemon::{Daemon, Error};
use vmland_guests::preflight::{Options, Refusal};
use vmland_guests::spec::Load;

/// More than a machine that does much else takes to start a shell.
const SOON: Duration = Duration::from_secs(30);

fn options() -> Options {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/host");
    Options {
        qemu: host.join("qemu"),
        root: host,
        ..Options::default()
    }
}

/// What a guest of that name does, the script's text says.
fn started(directory: &Path, name: &str) -> Daemon {
    let guest = Daemon::new(directory, name);
    guest.start(Load::Lock, 2, &options()).expect("it starts");
    guest
}

#[test]
fn from_start_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("guests");
    let guest = started(&run, "works");
    guest.wait_up(SOON).unwrap();
    assert!(guest.work().unwrap() > 0);
    assert!(!guest.has_crashed());
    let again = guest.start(Load::Lock, 2, &options()).unwrap_err();
    assert!(matches!(again, Error::Runs(_)), "{again}");

    let other = started(&run, "silent");
    assert!(matches!(other.work(), Err(Error::NoReport(_))));
    let names = || {
        let guests = Daemon::running(&run);
        guests
            .iter()
            .map(|guest| guest.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(), ["silent", "works"]);
    guest.stop().unwrap();
    assert_eq!(names(), ["silent"]);
    other.stop().unwrap();
    assert!(names().is_empty());

    assert!(guest.has_crashed(), "QEMU has ended");
    assert!(guest.work().is_ok(), "its console stays");
    for error in [
        guest.stop().unwrap_err(),
        guest.pause().unwrap_err(),
        guest.wait_up(SOON).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotRunning(_)), "{error}");
    }
    assert!(Daemon::running(&directory.path().join("none")).is_empty());
}

#[test]
fn the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let guest = Daemon::new(directory.path(), "tells");
    let options = Options {
        userspace: b"070701 and more".to_vec(),
        ..options()
    };
    guest.start(Load::Tlb, 3, &options).unwrap();
    let ended = guest.wait_up(SOON).unwrap_err();
    assert!(
        matches!(ended, Error::Ended { .. } | Error::NotRunning(_)),
        "{ended}"
    );
    let told = fs::read_to_string(directory.path().join("tells.log")).unwrap();
    let file = |what: &str| directory.path().join(what).display().to_string();
    for part in [
        "-name guest=tells,debug-threads=on",
        "-cpu host -smp 3 -m 192",
        "load=tlb",
        "-daemonize",
        &format!("-pidfile {}", file("tells.pid")),
        &format!("-serial file:{}", file("tells.log")),
        &format!("-qmp unix:{},server=on,wait=off", file("tells.qmp")),
        "initrd begins with 070701",
        "initrd ends with more",
    ] {
        assert!(told.contains(part), "no {part:?} in:{told}");
    }
}

#[test]
fn guests_that_do_not_come_up() {
    let directory = tempfile::tempdir().unwrap();
    let guest = started(directory.path(), "silent");
    let error = guest.wait_up(Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::NotUp { .. }), "{error}");
    assert!(
        error.to_string().contains("no working init found"),
        "{error}"
    );
    guest.stop().unwrap();

    let guest = Daemon::new(directory.path(), "refused");
    let error = guest.start(Load::Lock, 2, &options()).unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");

    let options = Options {
        cpus: Some("1-0".into()),
        ..options()
    };
    let error = guest.start(Load::Lock, 2, &options).unwrap_err();
    assert!(
        matches!(error, Error::Refused(Refusal::BadCpus { .. })),
        "{error}"
    );
}

#[test]
fn a_guest_that_panics() {
    let directory = tempfile::tempdir().unwrap();
    let guest = started(directory.path(), "panics");
    guest.wait_up(SOON).unwrap();
    while !guest.has_crashed() {
        thread::sleep(Duration::from_millis(10));
    }
    guest.stop().unwrap();
}

#[test]
fn one_that_ignores_sigterm_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let guest = started(directory.path(), "stays");
    guest.wait_up(SOON).unwrap();
    guest.stop().unwrap();
    assert!(guest.pid().is_none());
}

#[test]
fn paused_and_resumed_over_qmp() {
    let directory = tempfile::tempdir().unwrap();
    let guest = started(directory.path(), "works");
    let listener = UnixListener::bind(directory.path().join("works.qmp")).unwrap();
    let qemu = thread::spawn(move || {
        let mut commands = vec![];
        for result in ["\"return\": {}", "\"error\": {\"desc\": \"not now\"}"] {
            let (mut client, _) = listener.accept().unwrap();
            client.write_all(b"{\"QMP\": {}}\r\n").unwrap();
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
            lines.next().unwrap().unwrap();
            client.write_all(b"{\"return\": {}}\r\n").unwrap();
            commands.push(lines.next().unwrap().unwrap());
            write!(client, "{{{result}}}\r\n").unwrap();
        }
        commands
    });
    guest.pause().unwrap();
    let refused = guest.resume().unwrap_err();
    assert!(refused.to_string().contains("not now"), "{refused}");
    let commands = qemu.join().unwrap();
    assert_eq!(commands, [r#"{"execute":"stop"}"#, r#"{"execute":"cont"}"#]);
    guest.stop().unwrap();
}
