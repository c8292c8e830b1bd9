// SPDX-License-Identifier: GPL-2.0-only
//! What a guest writes to its console, line by line, and `vmland bench` reads.
//!
//! Whatever it writes, what is taken for a report is one, and no second is worse than the whole.

use vmland_guests::report::{Latency, Report, parse, summary};

pub fn run(data: &[u8]) {
    let mut seconds = vec![];
    for line in data.split_inclusive(|&byte| byte == b'\n') {
        let Some(report) = parse(line) else { continue };
        assert_eq!(parse(written(&report).as_bytes()), Some(report));
        if let Report::WakeUps { lateness, .. } = report {
            seconds.push(lateness);
        }
    }
    if let Some(all) = summary(&seconds) {
        assert!(
            seconds
                .iter()
                .all(|second| second.samples == 0 || second.max_us <= all.max_us)
        );
    }
}

fn written(report: &Report) -> String {
    match *report {
        Report::Work { guest_ms, work } => format!("P {guest_ms} {work}\r\n"),
        Report::WakeUps { guest_ms, lateness } => {
            let Latency {
                samples,
                p50_us,
                p99_us,
                max_us,
            } = lateness;
            format!("L {guest_ms} {samples} {p50_us} {p99_us} {max_us}\r\n")
        }
        Report::Steal { guest_ms, steal_ms } => format!("S {guest_ms} {steal_ms}\r\n"),
        Report::Failed { status } => format!("F {status}\r\n"),
        Report::Answer => "R\r\n".into(),
    }
}
