// SPDX-License-Identifier: GPL-2.0-only
//! What a guest writes to its console, line by line: the reports of
//! `load.c`, and the guest kernel's messages between them and within
//! them.
//!
//! A report is taken only in its exact form. So one that a message has torn is
//! lost, and nothing else is taken for one.

/// One report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// `P`: how far the load has got.
    Work {
        /// The guest's monotonic clock, in ms.
        guest_ms: u64,
        /// Units done since the load began.
        work: u64,
    },
    /// `L`: how late the wake-ups of the last second were.
    WakeUps {
        /// The guest's monotonic clock, in ms.
        guest_ms: u64,
        lateness: Latency,
    },
    /// `S`: how long the host kept the guest's CPUs waiting.
    Steal {
        /// The guest's monotonic clock, in ms.
        guest_ms: u64,
        /// Of all its CPUs, since it booted, in ms.
        steal_ms: u64,
    },
    /// `F`: the program of the load `run` has failed, and the load has ended.
    Failed {
        /// As a shell has it: 128 and the signal's number, if it was killed.
        status: u64,
    },
    /// `R`: the answer to a request.
    Answer,
}

/// A distribution of delays, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    pub samples: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

/// Reads one line of the console, with its end. None if it is no report.
pub fn parse(line: &[u8]) -> Option<Report> {
    let line = str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    if line == "R" {
        return Some(Report::Answer);
    }
    let (kind, fields) = line.split_once(' ')?;
    let fields: Vec<u64> = fields.split(' ').map(number).collect::<Option<_>>()?;
    match (kind, &fields[..]) {
        ("P", &[guest_ms, work]) => Some(Report::Work { guest_ms, work }),
        ("S", &[guest_ms, steal_ms]) => Some(Report::Steal { guest_ms, steal_ms }),
        ("F", &[status]) => Some(Report::Failed { status }),
        ("L", &[guest_ms, samples, p50_us, p99_us, max_us]) => Some(Report::WakeUps {
            guest_ms,
            lateness: Latency {
                samples,
                p50_us,
                p99_us,
                max_us,
            },
        }),
        _ => None,
    }
}

/// Digits only: `str::parse` would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    text.parse().ok()
}

/// Several distributions, one for each second, as one: all samples, the greatest
/// of all, and of the percentiles the median over the seconds, since that of all
/// samples cannot be told. None if there are no samples.
pub fn summary(seconds: &[Latency]) -> Option<Latency> {
    let seconds: Vec<_> = seconds.iter().filter(|l| l.samples > 0).collect();
    let median = |of: fn(&Latency) -> u64| {
        let mut values: Vec<_> = seconds.iter().map(|l| of(l)).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    Some(Latency {
        samples: (seconds.iter()).fold(0, |sum, l| sum.saturating_add(l.samples)),
        p50_us: median(|l| l.p50_us)?,
        p99_us: median(|l| l.p99_us)?,
        max_us: seconds.iter().map(|l| l.max_us).max()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn latency([samples, p50_us, p99_us, max_us]: [u64; 4]) -> Latency {
        Latency {
            samples,
            p50_us,
            p99_us,
            max_us,
        }
    }

    #[test]
    fn exact_forms() {
        let work = Report::Work {
            guest_ms: 1200,
            work: 34,
        };
        assert_eq!(parse(b"P 1200 34\r\n"), Some(work));
        let wake_ups = Report::WakeUps {
            guest_ms: 1200,
            lateness: latency([500, 60, 1900, 2000]),
        };
        assert_eq!(parse(b"L 1200 500 60 1900 2000\r\n"), Some(wake_ups));
        let steal = Report::Steal {
            guest_ms: 9_000,
            steal_ms: 250,
        };
        assert_eq!(parse(b"S 9000 250\r\n"), Some(steal));
        assert_eq!(parse(b"F 139\r\n"), Some(Report::Failed { status: 139 }));
        assert_eq!(parse(b"R\r\n"), Some(Report::Answer));
    }

    #[test]
    fn anything_else() {
        for line in [
            &b""[..],
            b"\r\n",
            b"R",
            b"R\n",
            b"R \r\n",
            b"F\r\n",
            b"F 1 2\r\n",
            b"?R\r\n",
            b"P 1200 34",
            b"P 1200 34\n",
            b"P 1200 34\r",
            b"P 1200 34 \r\n",
            b"P  1200 34\r\n",
            b" P 1200 34\r\n",
            b"P 1200 +34\r\n",
            b"P 1200 -34\r\n",
            b"P 1200 \r\n",
            b"P 1200\r\n",
            b"P 1200 34 5\r\n",
            b"P 1200 18446744073709551616\r\n",
            b"P 12[    1.2] random: ready\r\n",
            b"L 1200 500 60 1900\r\n",
            b"L 1200 500 60 1900 2000 1\r\n",
            b"Q 1200 34\r\n",
            b"P 1200 \xff\r\n",
        ] {
            assert_eq!(parse(line), None, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn seconds_as_one() {
        let seconds = [
            [10, 50, 90, 95],
            [0, 0, 0, 0],
            [20, 60, 70, 99],
            [5, 1, 80, 80],
        ];
        let one = summary(&seconds.map(latency));
        assert_eq!(one, Some(latency([35, 50, 80, 99])));
        assert_eq!(summary(&[Latency::default()]), None);
        assert_eq!(summary(&[]), None);
    }

    proptest! {
        /// A kernel message within a report, at any place, with a line of its own
        /// after it or not: what is taken is the report or nothing.
        #[test]
        fn torn_lines(
            guest_ms: u64,
            work: u64,
            at in 0usize..50,
            message in "\\[ {1,4}[0-9]{1,3}\\.[0-9]{6}\\] [ -~]{0,30}(\r\n)?",
        ) {
            let report = format!("P {guest_ms} {work}\r\n");
            let at = at.min(report.len());
            let torn = [&report[..at], &message, &report[at..]].concat();
            let whole = Report::Work { guest_ms, work };
            for line in torn.split_inclusive('\n') {
                if let Some(taken) = parse(line.as_bytes()) {
                    prop_assert_eq!(taken, whole, "{:?}", torn);
                }
            }
        }

        #[test]
        fn garbage(line: Vec<u8>) {
            // Without a letter of ours at its beginning it is nothing.
            if !line.first().is_some_and(|b| b"FPLR".contains(b)) {
                prop_assert_eq!(parse(&line), None);
            } else {
                parse(&line);
            }
        }
    }
}
