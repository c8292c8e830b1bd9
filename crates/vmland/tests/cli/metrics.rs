// SPDX-License-Identifier: GPL-2.0-only
//! `vmland metrics` as scrapers meet it, and clients that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An exporter, ended when dropped.
struct Exporter {
    child: Child,
    address: String,
}

impl Exporter {
    fn start(address: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vmland"))
            .args(["metrics", address])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stderr = child.stderr.take().expect("a pipe");
        BufReader::new(stderr).read_line(&mut line).expect("a line");
        let on = line.trim().strip_prefix("vmland: metrics are on ");
        let address = on.unwrap_or_else(|| panic!("{line}")).to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let address = self.address.strip_prefix("http://").expect("TCP");
        let address = address.strip_suffix("/metrics").expect("the metrics");
        let stream = TcpStream::connect(address).expect("it listens");
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).expect("a time-out");
        stream.set_write_timeout(limit).expect("a time-out");
        stream
    }

    fn scrape(&self) -> String {
        ask(self.connect(), b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All of the response, or what came of it.
fn ask(mut stream: impl Read + Write, request: &[u8]) -> String {
    let mut response = vec![];
    // It fails where the exporter has closed the connection before it read all.
    let _ = stream.write_all(request);
    let _ = stream.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}

fn assert_metrics(response: &str) {
    let is_whole = response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("# EOF\n");
    assert!(
        is_whole && response.contains("\nvmland_cpus "),
        "{response}"
    );
}

#[test]
fn a_port_is_of_the_loopback_interface() {
    let exporter = Exporter::start("0");
    assert!(exporter.address.starts_with("http://127.0.0.1:"));
    assert_metrics(&exporter.scrape());
    let other = ask(exporter.connect(), b"GET / HTTP/1.1\r\n\r\n");
    assert!(other.starts_with("HTTP/1.1 404"), "{other}");
}

#[test]
fn a_unix_socket() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("metrics");
    let _exporter = Exporter::start(path.to_str().expect("UTF-8"));
    let stream = UnixStream::connect(path).expect("it listens");
    assert_metrics(&ask(stream, b"GET /metrics HTTP/1.0\r\n\r\n"));
}

#[test]
fn an_address_that_is_taken_is_said_so() {
    let exporter = Exporter::start("0");
    let port = exporter
        .address
        .rsplit(':')
        .next()
        .and_then(|it| it.strip_suffix("/metrics"));
    let out = super::vmland(&["metrics", port.expect("a port")]);
    assert_eq!(out.status.code(), Some(1));
    let message = super::text(&out.stderr);
    assert!(
        message.contains("cannot listen on http://127.0.0.1:"),
        "{message}"
    );
    assert_eq!(
        super::vmland(&["metrics", "nowhere"]).status.code(),
        Some(64)
    );
}

#[test]
fn clients_that_misbehave_keep_nobody_else_waiting() {
    let exporter = Exporter::start("0");
    // Many that say nothing, half of something, or never read the response.
    let mut idle: Vec<_> = (0..100).map(|_| exporter.connect()).collect();
    for stream in &mut idle[..40] {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ");
    }
    for stream in &mut idle[40..70] {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
    }
    let start = Instant::now();
    assert_metrics(&exporter.scrape());
    // 0.01 s, unless the machine is busy.
    assert!(start.elapsed() < Duration::from_secs(5));

    // One that sends without end is cut off.
    let huge = vec![b'a'; 8 << 20];
    let refused = ask(exporter.connect(), &huge);
    assert!(
        refused.is_empty() || refused.starts_with("HTTP/1.1 431"),
        "{refused}"
    );
    assert_metrics(&exporter.scrape());

    // Its memory does not grow with them.
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.child.id()));
    let status = status.expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = peak
        .and_then(|it| it.split_whitespace().next()?.parse().ok())
        .expect("a number");
    assert!(kib < 64 << 10, "{kib} KiB");
    let files = std::fs::read_dir(format!("/proc/{}/fd", exporter.child.id()));
    // stdio, the listener, eight clients.
    assert!(files.expect("it runs").count() < 16);
}

#[test]
fn one_that_sends_nothing_goes_in_time() {
    let exporter = Exporter::start("0");
    let start = Instant::now();
    let response = ask(exporter.connect(), b"GET /metrics HTTP/1.1\r\n");
    assert_eq!(response, "");
    let took = start.elapsed();
    assert!((9..20).contains(&took.as_secs()), "{took:?}");
}
