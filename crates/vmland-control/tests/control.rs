// SPDX-License-Identifier: GPL-2.0-only
//! The control socket: clients that behave, and clients that do not, over real sockets.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;
use vmland_control::client::{Error, ask_over};
use vmland_control::server::{CLIENTS_MAX, IDLE, Server};
use vmland_control::trace::{LONGEST_NS, Tracing};
use vmland_control::{
    By, ErrorKind, LINE_MAX, Mode, Planned, Refused, Reloaded, Request, Running, Scheduler, Shown,
    Value, Why, answer,
};
use vmland_identity::Vmm;
use vmland_settings::{Caller, Config, EffectiveSettings, RULES_MAX, Settings, Sources, VmFacts};

const TURN: Duration = Duration::from_millis(5);

fn vm(id: u32, name: &str) -> Running {
    Running {
        id,
        pid: 100 + id as i32,
        facts: VmFacts {
            name: name.into(),
            uuid: None,
            vmm: Vmm::Qemu,
            cgroup: None,
            uid: Some(64055),
            vcpus: 2,
        },
        owns_cgroup: false,
    }
}

struct Behind;

impl Scheduler for Behind {
    /// VM 1 is a gang.
    fn planned(&self, id: u32) -> Planned {
        Planned {
            mode: if id == 1 { Mode::Gang } else { Mode::Free },
            ..Planned::default()
        }
    }

    /// 2 ns are traced already, and 3 ns fail.
    fn trace(&self, ns: u64) -> Result<Option<Tracing>, String> {
        match ns {
            2 => Ok(None),
            3 => Err("no ring".into()),
            _ => Ok(Some(Tracing {
                ring: 5,
                bytes: 4_096,
                lost: ns,
            })),
        }
    }
}

fn effective() -> EffectiveSettings {
    let sources = Sources {
        file: "/nowhere/config.toml".into(),
        flags: vec!["web-*:weight=200".into()],
        ..Sources::default()
    };
    let (config, _) = Config::load(&sources).expect("right");
    let defaults = Settings {
        weight: Some(100),
        ..Settings::default()
    };
    EffectiveSettings::new(config, sources, defaults)
}

/// A scheduler's side of the socket, in a thread, until it is dropped.
struct Host {
    new: std::sync::mpsc::Sender<UnixStream>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Server>>,
}

impl Host {
    fn start() -> Self {
        Self::with(effective(), vec![vm(1, "web-1"), vm(2, "db")])
    }

    fn with(mut now: EffectiveSettings, vms: Vec<Running>) -> Self {
        let (new, clients) = std::sync::mpsc::channel();
        let ends = Arc::new(AtomicBool::new(false));
        let thread = spawn({
            let ends = ends.clone();
            move || {
                let vms: Vec<_> = vms.iter().collect();
                let mut server = Server::default();
                while !ends.load(Ordering::Relaxed) {
                    for client in clients.try_iter() {
                        server.admit(client);
                    }
                    server.turn(&[], TURN, |line| {
                        answer(line, &mut now, &vms, &Behind).line.into_bytes()
                    });
                }
                server
            }
        });
        let thread = Some(thread);
        Self { new, ends, thread }
    }

    fn connect(&self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        self.new.send(theirs).expect("it runs");
        let limit = Some(Duration::from_secs(5));
        ours.set_read_timeout(limit).expect("a time-out");
        ours.set_write_timeout(limit).expect("a time-out");
        ours
    }

    /// Asks on a connection of its own, which has to be answered whatever others do.
    fn is_well(&self) {
        let start = Instant::now();
        let shown: Shown = ask_over(self.connect(), &show("db")).expect("an answer");
        assert_eq!(shown.name, "db");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
    }

    fn stop(&mut self) -> Server {
        self.ends.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("it did not panic")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show(vm: &str) -> Request {
    Request::Show { vm: vm.into() }
}

fn value<'a>(shown: &'a Shown, key: &str) -> (&'a str, Option<&'a str>) {
    let setting = shown.settings.iter().find(|setting| setting.key == key);
    let setting = setting.expect("every key is shown");
    (&setting.value, setting.origin.as_deref())
}

/// With as many rules as there may be, of all of which the weight changes, and a VM for every
/// second of them. From the request to the answer; the limit is for a slow and busy machine.
#[test]
#[cfg(not(debug_assertions))]
fn a_reload_of_the_largest_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config.toml");
    let write = |weight: usize| {
        let rule = |i| format!("[[vm]]\nmatch = {{ name = \"vm-{i}\" }}\nweight = {weight}\n");
        let rules: String = (0..RULES_MAX).map(rule).collect();
        std::fs::write(&file, rules).expect("written");
    };
    write(1);
    let sources = Sources {
        file: file.clone(),
        must_exist: true,
        caller: Caller {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        },
        ..Sources::default()
    };
    let (config, _) = Config::load(&sources).expect("right");
    let name = |i: u32| format!("vm-{}", 2 * i);
    let vms = (0..5_000).map(|i| vm(i, &name(i))).collect();
    let host = Host::with(
        EffectiveSettings::new(config, sources, Settings::default()),
        vms,
    );
    let mut least = Duration::MAX;
    for weight in 2..7 {
        write(weight);
        let client = host.connect();
        let start = Instant::now();
        let reloaded: Reloaded = ask_over(client, &Request::Reload {}).expect("an answer");
        least = least.min(start.elapsed());
        assert_eq!(reloaded.rules, RULES_MAX);
        assert_eq!(reloaded.changes[0].to, weight.to_string());
        // A change for each VM, and a warning for each rule without one.
        let told = reloaded.changes.len() + reloaded.warnings.len();
        assert_eq!(told + reloaded.left_out, 10_000);
    }
    println!("a reload of {RULES_MAX} rules with 5000 VMs: {least:?}");
    assert!(least < Duration::from_secs(1), "{least:?}");
}

#[test]
fn set_show_unset_and_reload() {
    let host = Host::start();
    let ask = |request: &Request| -> Result<Shown, Error> { ask_over(host.connect(), request) };
    let shown = ask(&show("web-1")).expect("an answer");
    assert_eq!((shown.pid, shown.vcpus, shown.by), (101, 2, By::Name));
    assert_eq!(shown.config, "/nowhere/config.toml");
    let flag = "--vm 'web-*:weight=200'";
    assert_eq!(value(&shown, "weight"), ("200", Some(flag)));
    assert_eq!(value(&shown, "slice"), ("none", None));

    let set = |pairs: &[(&str, Value)]| Request::Set {
        vm: "web-1".into(),
        settings: pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.clone()))
            .collect(),
    };
    let text = |text: &str| Value::Text(text.into());
    let shown = ask(&set(&[
        ("weight", Value::Number(400.into())),
        ("slice", text("5ms")),
    ]));
    let shown = shown.expect("right");
    assert_eq!(value(&shown, "weight"), ("400", Some("vmland vm set")));
    assert_eq!(value(&shown, "slice"), ("5ms", Some("vmland vm set")));

    // All or nothing.
    let wrong = ask(&set(&[
        ("weight", text("1")),
        ("slcie", text("1ms")),
        ("latency", text("lo")),
    ]));
    let wrong = wrong.expect_err("wrong").to_string();
    assert!(wrong.contains("did you mean \"slice\"?"), "{wrong}");
    assert!(wrong.contains("did you mean \"low\"?"), "{wrong}");
    assert_eq!(
        value(&ask(&show("web-1")).expect("an answer"), "weight").0,
        "400"
    );
    let unknown = ask(&show("web1")).expect_err("unknown");
    assert!(
        unknown.to_string().contains("did you mean \"web-1\"?"),
        "{unknown}"
    );
    assert_eq!(unknown.exit_code(), 1);

    let reloaded: Reloaded = ask_over(host.connect(), &Request::Reload {}).expect("right");
    assert_eq!((reloaded.rules, reloaded.changes.len()), (1, 0));
    let unset = Request::Unset {
        vm: "web-1".into(),
        keys: Some(vec!["weight".into()]),
    };
    let shown = ask(&unset).expect("right");
    assert_eq!(value(&shown, "weight"), ("200", Some(flag)));
    assert_eq!(value(&shown, "slice").0, "5ms");
    let again = ask(&unset).expect("right");
    assert_eq!(again.warnings.len(), 1);
}

#[test]
fn a_trace_is_begun_and_ended() {
    let mut host = Host::start();
    let ask = |ns| ask_over::<Tracing>(host.connect(), &Request::Trace { ns });
    let tracing = ask(5_000_000_000).expect("an answer");
    assert_eq!((tracing.ring, tracing.bytes), (5, 4_096));
    assert_eq!(ask(0).expect("an answer").lost, 0);
    for (ns, kind, text) in [
        (2, ErrorKind::Busy, "a trace already"),
        (3, ErrorKind::Failed, "no ring"),
        (LONGEST_NS + 1, ErrorKind::Invalid, "at most"),
    ] {
        let Err(Error::Refused(refused)) = ask(ns) else {
            panic!("{ns}");
        };
        assert_eq!(refused.kind, kind);
        assert!(refused.message.contains(text), "{refused}");
    }
    host.stop();
}

#[test]
fn why_is_what_holds_and_what_the_planner_thinks() {
    let host = Host::start();
    let ask = |vm: &str| -> Result<Why, Error> {
        ask_over(host.connect(), &Request::Why { vm: vm.into() })
    };
    let why = ask("web-1").expect("an answer");
    assert_eq!((why.shown.id, why.planned), (1, Behind.planned(1)));
    assert_eq!(value(&why.shown, "weight").0, "200");
    let why = ask("db").expect("an answer");
    assert_eq!((why.shown.id, why.planned), (2, Behind.planned(2)));

    let unknown = ask("web1").expect_err("unknown");
    assert_eq!(unknown.exit_code(), 1);
    let says = unknown.to_string();
    assert!(says.contains("did you mean \"web-1\"?"), "{says}");
    let twins = Host::with(effective(), vec![vm(1, "db"), vm(2, "db")]);
    let request = Request::Why { vm: "db".into() };
    let ambiguous = ask_over::<Why>(twins.connect(), &request).expect_err("two VMs");
    let says = ambiguous.to_string();
    assert!(says.contains("2 VMs are called"), "{says}");
}

/// Two VMs of one name, of which the UUID means one.
#[test]
fn what_is_set_by_uuid_is_for_that_vm() {
    const UUID: &str = "8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11";
    let mut twin = vm(3, "db");
    twin.facts.uuid = Some(UUID.into());
    let host = Host::with(effective(), vec![vm(2, "db"), twin]);
    let ask = |request: &Request| -> Result<Shown, Error> { ask_over(host.connect(), request) };

    let ambiguous = ask(&show("db")).expect_err("two VMs");
    assert!(ambiguous.to_string().contains(UUID), "{ambiguous}");
    let shown = ask(&Request::Set {
        vm: UUID.to_uppercase(),
        settings: [("weight".into(), Value::Number(7.into()))].into(),
    });
    let shown = shown.expect("right");
    assert_eq!((shown.id, shown.by), (3, By::Uuid));
    assert_eq!(value(&shown, "weight"), ("7", Some("vmland vm set")));
    let unset = |key: &str| Request::Unset {
        vm: UUID.into(),
        keys: Some(vec![key.into()]),
    };
    let wrong = ask(&unset("wieght")).expect_err("no such key");
    assert_eq!(wrong.exit_code(), 64);
    let shown = ask(&unset("weight")).expect("right");
    assert_eq!(value(&shown, "weight"), ("100", None));
    assert!(shown.warnings.is_empty());
}

#[test]
fn a_reload_of_a_wrong_configuration_is_refused_with_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config.toml");
    let sources = Sources {
        file: file.clone(),
        caller: Caller {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        },
        ..Sources::default()
    };
    let (config, _) = Config::load(&sources).expect("no file is no rules");
    let now = EffectiveSettings::new(config, sources, Settings::default());
    let host = Host::with(now, vec![vm(1, "a")]);
    let reload = || ask_over::<Reloaded>(host.connect(), &Request::Reload {});

    std::fs::write(&file, "[[vm]]\nmatch.name = \"a\"\nweight = 0\n".repeat(60)).expect("written");
    let wrong = reload().expect_err("a weight is 1 at least");
    assert_eq!(wrong.exit_code(), 64);
    let message = wrong.to_string();
    assert_eq!(message.lines().count(), 51, "{message}");
    assert!(
        message.contains("config.toml:3:10: weight = 0"),
        "{message}"
    );
    assert!(message.ends_with("and 10 more"), "{message}");

    std::fs::write(&file, "[[vm]]\nmatch.name = \"a\"\nweight = 9\n").expect("written");
    let reloaded = reload().expect("right");
    let [change] = &reloaded.changes[..] else {
        panic!("{reloaded:?}");
    };
    let of = [&change.vm, &change.key, &change.from, &change.to];
    assert_eq!(of, ["a", "weight", "none", "9"]);
}

#[test]
fn several_requests_on_a_connection_and_a_closed_end() {
    let host = Host::start();
    let mut stream = host.connect();
    let line = show("db").line();
    write!(stream, "{line}\nnonsense\r\n\n{line}\nhalf a li").expect("written");
    stream.shutdown(Shutdown::Write).expect("half closed");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("answers");
    let answers: Vec<serde_json::Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let ok: Vec<_> = answers
        .iter()
        .map(|answer| answer["ok"]["name"] == "db")
        .collect();
    assert_eq!(ok, [true, false, false, true]);
    assert!(answers.iter().all(|answer| answer["version"] == 1));
    assert_eq!(answers[1]["error"]["kind"], "malformed");
}

#[test]
fn a_line_without_end_is_refused() {
    let host = Host::start();
    let mut stream = host.connect();
    let line = show(&"x".repeat(LINE_MAX - 200)).line();
    writeln!(stream, "{line}").expect("written");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut told = String::new();
    reader.read_line(&mut told).expect("an answer");
    assert!(told.contains("unknown-vm"), "{told}");

    // The other side may have gone before all is written.
    let _ = stream.write_all(&vec![b'x'; LINE_MAX + 5000]);
    told.clear();
    let _ = reader.read_line(&mut told);
    assert!(told.contains("at most 16384 bytes"), "{told}");
    host.is_well();
}

/// Requests without an end, whose answers nobody reads, fill the sockets and no more.
#[test]
fn who_never_reads_harms_nobody() {
    let mut host = Host::start();
    let mut deaf = host.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(300)))
        .expect("a time-out");
    let lines = format!("{}\n", show("db").line()).repeat(100);
    let start = Instant::now();
    let full = loop {
        match deaf.write(lines.as_bytes()) {
            Ok(taken) => assert!(
                taken > 0 && start.elapsed() < Duration::from_secs(20),
                "never full"
            ),
            Err(e) => break e.kind(),
        }
    };
    assert_eq!(full, io::ErrorKind::WouldBlock);
    host.is_well();
    drop(deaf);
    host.is_well();
    assert!(host.stop().clients() <= 1);
}

#[test]
fn however_many_connect_the_next_is_served() {
    let mut host = Host::start();
    let silent: Vec<_> = (0..5 * CLIENTS_MAX).map(|_| host.connect()).collect();
    let mut half: Vec<_> = (0..CLIENTS_MAX).map(|_| host.connect()).collect();
    for stream in &mut half {
        let _ = stream.write_all(b"{\"version\":1,\"requ");
    }
    host.is_well();
    drop(silent);
    host.is_well();
    drop(half);
    std::thread::sleep(4 * TURN);
    assert_eq!(host.stop().clients(), 0);
}

/// A byte now and then is no request.
#[test]
fn who_sends_no_whole_line_goes() {
    let mut host = Host::start();
    let mut slow = host.connect();
    let start = Instant::now();
    while slow.write_all(b" ").is_ok() {
        assert!(start.elapsed() < 2 * IDLE, "it is still there");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(start.elapsed() > IDLE / 2);
    host.is_well();
    assert!(host.stop().clients() <= 1);
}

fn any_piece() -> impl Strategy<Value = Vec<u8>> {
    let line = |line: String| format!("{line}\n").into_bytes();
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        Just(b"\n".to_vec()),
        Just(vec![b'x'; LINE_MAX / 2]),
        Just(line(show("db").line())),
        Just(line(Request::Reload {}.line())),
        "\\{\"version\":[01],\"request\":\"(show|set|unset)\",\"vm\":\"(db|web)\"(,\"settings\":\\{\"weight\":[0-9]{1,6}\\})?\\}?\n".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is sent, in whatever pieces: each line gets one answer, which is one, until
    /// one is too long; and others are served.
    #[test]
    fn whatever_is_sent(pieces in prop::collection::vec(any_piece(), 0..12), reads in any::<bool>()) {
        let mut host = Host::start();
        let stream = host.connect();
        let sent: Vec<u8> = pieces.concat();
        let writer = spawn({
            let mut stream = stream.try_clone().expect("a socket");
            move || {
                for piece in pieces {
                    if stream.write_all(&piece).is_err() {
                        return;
                    }
                }
                let _ = stream.shutdown(Shutdown::Write);
            }
        });
        if reads {
            let mut answers = vec![];
            // Reset by a server that has had enough.
            let _ = (&stream).read_to_end(&mut answers);
            let answers: Vec<_> = answers.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            let mut lines: Vec<_> = sent.split(|byte| *byte == b'\n').collect();
            let rest = lines.pop().unwrap_or_default();
            let long = lines.iter().chain([&rest]).position(|line| line.len() > LINE_MAX);
            match long {
                None => prop_assert_eq!(answers.len(), lines.len()),
                // The last may be lost where the connection is reset.
                Some(n) => prop_assert!((n..=n + 1).contains(&answers.len())),
            }
            for answer in answers {
                let answer: serde_json::Value = serde_json::from_slice(answer).expect("JSON");
                prop_assert_eq!(&answer["version"], &json!(1));
                prop_assert!(answer["ok"].is_object() != answer["error"].is_object());
                if answer["error"].is_object() {
                    let refused: Refused = serde_json::from_value(answer["error"].clone()).expect("a refusal");
                    prop_assert!(!refused.message.is_empty());
                }
            }
        }
        host.is_well();
        drop(stream);
        let _ = writer.join();
        host.stop();
    }
}
