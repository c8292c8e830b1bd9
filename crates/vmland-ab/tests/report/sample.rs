// SPDX-License-Identifier: GPL-2.0-only
//! Made-up comparisons, the same in every run.

use std::collections::BTreeMap;

use vmland_ab::comparison::{ArmResult, Comparison, Ratio, Summary, Verdict, Versus};
use vmland_ab::record::{About, Arm, Better, Metric, Note, Record, Settings, Switch, Window};

const ROUNDS: usize = 12;
const WINDOW_S: f64 = 8.0;
const SETTLE_S: f64 = 2.0;

pub const WORK: &str = "guests' work";
pub const WAITING: &str = "waiting";
pub const EXITS: &str = "pause exits";
pub const SHARE: &str = "largest VM's share";

/// One number that can be checked by eye: two arms, two windows that count and
/// one that does not, one metric, one VM.
pub fn small() -> Record {
    let window = |arm: usize, start_s: f64, value: f64, discarded: Option<&str>| Window {
        arm,
        start_s,
        end_s: start_s + 8.0,
        values: BTreeMap::from([(WORK.into(), value)]),
        vms: BTreeMap::from([(
            "web, \"1\"".into(),
            BTreeMap::from([(WORK.into(), value / 2.0), ("balloon".into(), 0.25)]),
        )]),
        discarded: discarded.map(str::to_owned),
        ..Window::default()
    };
    Record {
        about: About {
            command: ["vmland", "ab", "--arm", "new=scx_new -s 5"]
                .map(str::to_owned)
                .into(),
            version: "0.1.0".into(),
            kernel: "7.3.4".into(),
            machine: "Example CPU".into(),
            cpus: 2,
            memory_bytes: 4 << 30,
            started: "2026-05-01T10:00:00Z".into(),
        },
        settings: Settings {
            window_s: 8.0,
            settle_s: 2.0,
            rounds: 1,
            seed: 7,
        },
        arms: vec![arm("EEVDF", None), arm("new", Some("scx_new -s 5"))],
        metrics: vec![metric(WORK, "1/s", Better::Higher)],
        windows: vec![
            window(0, 2.0, 12_038.0, None),
            window(1, 12.0, 19_634.0, None),
            window(1, 22.0, 400.0, Some("a guest was stopped")),
        ],
        switches: vec![Switch {
            at_s: 10.0,
            arm: 1,
            took_s: 0.35,
            failed: None,
        }],
        notes: vec![Note {
            at_s: 65.0,
            text: "the host swapped".into(),
        }],
        interrupted: false,
        comparisons: vec![Comparison {
            metric: WORK.into(),
            arms: vec![
                ArmResult {
                    summary: Some(summary(&mut [12_038.0])),
                    versus: None,
                },
                ArmResult {
                    summary: Some(summary(&mut [19_634.0])),
                    versus: Some(Versus {
                        ratio: Some(Ratio {
                            estimate: 1.631,
                            low: 1.204,
                            high: 2.1,
                        }),
                        p: 0.01,
                        p_corrected: 0.034,
                        verdict: Verdict::Better,
                        detectable: Some(1.08),
                    }),
                },
            ],
        }],
    }
}

/// A whole run with names that would do harm if they were not escaped, an arm
/// with two modes, discarded windows and failed switches.
pub fn large() -> Record {
    let mut chance = Chance(7);
    let arms = vec![
        arm("EEVDF", None),
        arm("scx_vmland", Some("scx_vmland --slice-us 5000")),
        arm("\"R&D\" <b>'s</b>", Some("./scx_rustland -s '<b>' && true")),
    ];
    let metrics = vec![
        metric(WORK, "1/s", Better::Higher),
        metric(EXITS, "1/s", Better::Lower),
        metric(WAITING, "CPUs", Better::Lower),
        metric(SHARE, "%", Better::Neither),
    ];
    let mut record = Record {
        about: About {
            command: [
                "vmland",
                "ab",
                "--arm",
                "scx_vmland --slice-us 5000",
                "--arm",
                "\"R&D\" <b>'s</b>=./scx_rustland -s '<b>' && true",
                "--rounds",
                "12",
            ]
            .map(str::to_owned)
            .into(),
            machine: "Example CPU 9000 @ 3.20GHz".into(),
            memory_bytes: 67_200_000_000,
            cpus: 16,
            ..small().about
        },
        settings: Settings {
            window_s: WINDOW_S,
            settle_s: SETTLE_S,
            rounds: ROUNDS,
            seed: 7,
        },
        arms,
        metrics,
        ..Record::default()
    };
    let mut now_s = 0.0;
    for round in 0..ROUNDS {
        for turn in 0..3 {
            let arm = (turn + round) % 3;
            let took_s = 0.2 + 0.6 * chance.next();
            let failed = (round == 5 && arm == 2).then(|| {
                "exit code 70: the kernel rejected\n\u{1b}[31mit\u{1b}[0m <script>alert(2)</script>"
                    .to_owned()
            });
            let worked = failed.is_none();
            record.switches.push(Switch {
                at_s: now_s,
                arm,
                took_s,
                failed,
            });
            now_s += took_s;
            if !worked {
                continue;
            }
            let start_s = now_s + SETTLE_S;
            now_s = start_s + WINDOW_S;
            record.windows.push(Window {
                round,
                arm,
                start_s,
                end_s: now_s,
                values: values(arm, &mut chance),
                vms: ["db & <web>", "<script>alert(1)</script>"]
                    .map(|vm| (vm.to_owned(), values(arm, &mut chance)))
                    .into(),
                discarded: (round == 3 && arm != 0).then(|| "a VM was started".to_owned()),
            });
        }
    }
    record.notes.push(Note {
        at_s: 0.0,
        text: "the CPUs' frequency is not fixed; differences below 5 % may be due to that".into(),
    });
    record.comparisons = record
        .metrics
        .iter()
        .map(|metric| compare(&record, metric))
        .collect();
    record
}

fn arm(name: &str, command: Option<&str>) -> Arm {
    Arm {
        name: name.into(),
        command: command.map(str::to_owned),
    }
}

fn metric(name: &str, unit: &str, better: Better) -> Metric {
    Metric {
        name: name.into(),
        unit: unit.into(),
        better,
        about: format!("What {name} is, and where the number comes from."),
        of_vms_only: false,
    }
}

/// EEVDF has two modes, as on guests that wait for locks.
fn values(arm: usize, chance: &mut Chance) -> BTreeMap<String, f64> {
    let slow = arm == 0 && chance.next() < 0.6;
    let work = match arm {
        _ if slow => 8_300.0,
        0 => 24_500.0,
        1 => 19_600.0,
        _ => 12_800.0,
    };
    let work = work * (0.85 + 0.3 * chance.next());
    BTreeMap::from([
        (WORK.into(), work),
        (EXITS.into(), 1_234_567.0 / work * (1.0 + chance.next())),
        (
            WAITING.into(),
            1.9 + 0.1 * chance.next() + if arm == 1 { 0.05 } else { 0.0 },
        ),
        (SHARE.into(), 50.0 + chance.next()),
    ])
}

/// All of it is made up, the ratios from the medians: no report computes any of it.
fn compare(record: &Record, metric: &Metric) -> Comparison {
    let summaries: Vec<Summary> = (0..record.arms.len())
        .map(|arm| summary(&mut record.values(arm, &metric.name)))
        .collect();
    let reference = summaries[0].median;
    let arms = summaries.into_iter().enumerate().map(|(arm, s)| {
        let estimate = s.median / reference;
        let (p_corrected, verdict) = match (metric.name.as_str(), arm) {
            (WORK, 1) => (0.012, Verdict::Better),
            (EXITS, 1) => (0.000_4, Verdict::Better),
            (EXITS, 2) => (0.049, Verdict::Better),
            (WAITING, 1) => (0.033, Verdict::Worse),
            (SHARE, 2) => (0.021, Verdict::Different),
            _ => (0.61, Verdict::NoDifferenceShown),
        };
        ArmResult {
            summary: Some(s),
            versus: (arm > 0).then_some(Versus {
                ratio: Some(Ratio {
                    estimate,
                    low: estimate * 0.87,
                    high: estimate * 1.16,
                }),
                p: p_corrected / 4.0,
                p_corrected,
                verdict,
                detectable: Some(if metric.name == WORK { 2.4 } else { 1.08 }),
            }),
        }
    });
    Comparison {
        metric: metric.name.clone(),
        arms: arms.collect(),
    }
}

fn summary(values: &mut [f64]) -> Summary {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values[((values.len() - 1) as f64 * part).round() as usize];
    Summary {
        windows: values.len(),
        median: at(0.5),
        q1: at(0.25),
        q3: at(0.75),
        min: at(0.0),
        max: at(1.0),
    }
}

/// Numbers from 0 to 1 that look random: a linear congruential generator.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1 << 24) as f64
    }
}
