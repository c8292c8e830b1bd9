// SPDX-License-Identifier: GPL-2.0-only
//! All metrics: their ids, titles and units, and the counters that they come from.
//!
//! An id is for programs: it is the key of all values and never changes. A title and a unit
//! are for people.

use std::collections::HashSet;

use vmland_ab::measure::{Definition, Measure, Source};
use vmland_ab::record::Better;
use vmland_guests::spec::Load;

use super::command::MetricCommand;
use super::errors::WrongUsage;
use super::exits::{PAUSE, REASONS};

/// Names of counters, each with its unit where it has one.
pub mod counter {
    /// Of a VM's vCPU threads.
    pub const CPU_NS: &str = "cpu_ns";
    pub const WAIT_NS: &str = "wait_ns";
    pub const EXITS: &str = "exits";
    pub const YIELDS_ASKED: &str = "yields_asked";
    pub const YIELDS_ACCEPTED: &str = "yields_accepted";
    /// Of the host.
    pub const CONTEXT_SWITCHES: &str = "context_switches";
    pub const PRESSURE_US: &str = "pressure_us";
    pub const SCHEDULER_NS: &str = "scheduler_ns";
    /// Of a guest that runs a load; see [`super::of_load`].
    pub const WORK: &str = "work";
    /// When the work was read.
    pub const WORK_AT_S: &str = "work_at_s";
}
use counter::*;

/// A rate of counted nanoseconds, as seconds per second: CPUs.
const NS_TO_CPUS: f64 = 1e-9;
/// A rate of counted microseconds, as a part of the time in percent.
const US_TO_PERCENT: f64 = 1e-4;
/// A part, in percent.
const PERCENT: f64 = 100.0;
/// Pause exits are given per so many units of work.
const UNITS: f64 = 1_000.0;

/// The values that no counter gives.
pub const WORKLOAD_TIME: &str = "workload_time";
pub const CPU_OFF_WEIGHT: &str = "cpu_off_weight";

/// The metrics of a host and its VMs, in the order in which they are shown; `exits` if VM
/// exits are counted there.
pub fn own(exits: bool) -> Vec<Measure> {
    let rate = |counter: &str, factor| Source::Rate(counter.into(), factor);
    let of_exits = [
        Definition {
            id: "pause_exits",
            title: "pause exits",
            unit: "1/s",
            better: Better::Lower,
            about: "Exits of vCPUs that spin (PAUSE).",
            source: rate(PAUSE, 1.0),
        },
        Definition {
            id: "vm_exits",
            title: "VM exits",
            unit: "1/s",
            better: Better::Neither,
            about: "Exits of vCPUs, for any reason.",
            source: rate(EXITS, 1.0),
        },
        Definition {
            id: "yields_asked",
            title: "yields asked",
            unit: "1/s",
            better: Better::Neither,
            about: "Calls of yield_to() by vCPUs.",
            source: rate(YIELDS_ASKED, 1.0),
        },
        Definition {
            id: "yields_accepted",
            title: "yields accepted",
            unit: "%",
            better: Better::Neither,
            about: "Calls of yield_to() by vCPUs that the scheduler accepted.",
            source: Source::Quotient(YIELDS_ACCEPTED.into(), YIELDS_ASKED.into(), PERCENT),
        },
    ];
    let of_host = [
        Definition {
            id: "vcpu_time",
            title: "vCPU time",
            unit: "CPUs",
            better: Better::Neither,
            about: "CPU time of vCPU threads (schedstat).",
            source: rate(CPU_NS, NS_TO_CPUS),
        },
        Definition {
            id: "vcpu_waiting",
            title: "vCPU waiting",
            unit: "CPUs",
            better: Better::Lower,
            about: "Time that vCPU threads were runnable and waited for a CPU (schedstat). KVM reports it to guests as steal time.",
            source: rate(WAIT_NS, NS_TO_CPUS),
        },
        Definition {
            id: "cpu_share",
            title: "CPU share",
            unit: "%",
            better: Better::Neither,
            about: "A VM's part of the CPU time of all VMs.",
            source: Source::Share(CPU_NS.into()),
        },
        Definition {
            id: "context_switches",
            title: "context switches",
            unit: "1/s",
            better: Better::Neither,
            about: "Context switches of the whole host (/proc/stat).",
            source: rate(CONTEXT_SWITCHES, 1.0),
        },
        Definition {
            id: "cpu_pressure",
            title: "CPU pressure",
            unit: "%",
            better: Better::Neither,
            about: "Time that some task of the host waited for a CPU (PSI, /proc/pressure/cpu).",
            source: rate(PRESSURE_US, US_TO_PERCENT),
        },
        Definition {
            id: "scheduler_cpu_time",
            title: "scheduler's CPU time",
            unit: "CPUs",
            better: Better::Neither,
            about: "CPU time of the scheduler's process, without its code in the kernel.",
            source: rate(SCHEDULER_NS, NS_TO_CPUS),
        },
    ];
    let of_exits = of_exits.into_iter().filter(|_| exits);
    of_exits.chain(of_host).map(Measure::from).collect()
}

/// Exits by reason, measured where VM exits are counted: too many to be shown and compared.
pub fn details() -> Vec<Measure> {
    let reasons = REASONS.iter().filter(|reason| reason.id != PAUSE);
    reasons
        .map(|reason| {
            Measure::from(Definition {
                id: &format!("{}_exits", reason.id),
                title: &format!("{} exits", reason.title),
                unit: "1/s",
                better: Better::Neither,
                about: "",
                source: Source::Rate(reason.id.into(), 1.0),
            })
        })
        .collect()
}

/// The metric of a WORKLOAD.
pub fn of_workload() -> Measure {
    Measure::from(Definition {
        id: WORKLOAD_TIME,
        title: "workload's wall time",
        unit: "s",
        better: Better::Lower,
        about: "Mean time that a run of the workload took in a window.",
        source: Source::Given,
    })
}

/// The metric of `--metric`.
pub fn of_command(command: &MetricCommand) -> Measure {
    let better = match command.lower_is_better {
        true => Better::Lower,
        false => Better::Higher,
    };
    let (unit, source) = match command.level {
        true => ("", Source::Given),
        false => {
            let (counter, clock_s) = (command_counter(command), command_clock_s(command));
            ("1/s", Source::Quotient(counter, clock_s, 1.0))
        }
    };
    Measure::from(Definition {
        id: &command.id,
        title: &command.title,
        unit,
        better,
        about: &format!("What \"{}\" prints.", command.command),
        source,
    })
}

/// The counter of a command's readings. No counter of the host has a dot in its name.
pub fn command_counter(command: &MetricCommand) -> String {
    format!("command.{}", command.id)
}

/// The counter that holds when a command was read.
pub fn command_clock_s(command: &MetricCommand) -> String {
    format!("command_clock_s.{}", command.id)
}

/// The metrics of all guests that run a load.
pub fn of_load(load: Load) -> Vec<Measure> {
    let delays = |about: [&str; 2]| -> Vec<Measure> {
        let delay = |(delay, about): (Delay, &str)| {
            Measure::from(Definition {
                id: &delay.id(load),
                title: &delay.title(load),
                unit: "µs",
                better: Better::Lower,
                about,
                source: Source::Given,
            })
        };
        Delay::ALL.into_iter().zip(about).map(delay).collect()
    };
    match load {
        Load::Idle => vec![],
        Load::Lat => delays([
            "Lateness of wake-ups by the guest's clock: p99 of each second, then the median of the seconds.",
            "Lateness of the latest wake-up by the guest's clock.",
        ]),
        Load::Io => delays([
            "Time from a request to the guest's answer by the host's clock: p99.",
            "Time from a request to the guest's answer by the host's clock: the longest.",
        ]),
        _ => vec![
            Measure::from(Definition {
                id: &format!("work_{load}"),
                title: load.unit(),
                unit: "1/s",
                better: Better::Higher,
                about: &format!("Work that the guests with load {load} report, summed."),
                source: Source::Clocked(load_counter(WORK, load), load_counter(WORK_AT_S, load)),
            }),
            Measure::from(Definition {
                id: &format!("pause_exits_per_{UNITS}_units_{load}"),
                title: &format!("pause exits per {UNITS} {}", load.unit()),
                unit: "",
                better: Better::Lower,
                about: "Pause exits of the same guests.",
                source: Source::Quotient(
                    load_counter(PAUSE, load),
                    load_counter(WORK, load),
                    UNITS,
                ),
            }),
        ],
    }
}

/// The counter of the guests that run a load.
pub fn load_counter(counter: &str, load: Load) -> String {
    format!("{counter}.{load}")
}

/// How late a guest was in a window.
#[derive(Clone, Copy)]
pub enum Delay {
    P99,
    Max,
}

impl Delay {
    pub const ALL: [Self; 2] = [Self::P99, Self::Max];

    pub fn id(self, load: Load) -> String {
        match load {
            Load::Io => format!("round_trip_{}", self.as_str()),
            _ => format!("wakeup_{}", self.as_str()),
        }
    }

    fn title(self, load: Load) -> String {
        match load {
            Load::Io => format!("{load}: round trip {}", self.as_str()),
            _ => format!("{load}: wake-up {}", self.as_str()),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::P99 => "p99",
            Self::Max => "max",
        }
    }
}

/// The metric of guests that have weights.
pub fn of_weights() -> Measure {
    Measure::from(Definition {
        id: CPU_OFF_WEIGHT,
        title: "CPU time off weight",
        unit: "%",
        better: Better::Lower,
        about: "Difference between a guest's part of all guests' CPU time and its part of their weights, \
                relative to the latter: the largest of all guests.",
        source: Source::Given,
    })
}

/// Each command needs an id and a title of its own. Those that are measured on other hosts
/// only are refused as well, so that a command line works on all hosts.
pub fn check_names(commands: &[MetricCommand], given: &[Measure]) -> Result<(), WrongUsage> {
    let own: Vec<Measure> = [own(true), details(), given.to_vec()].concat();
    let mut ids = HashSet::new();
    for MetricCommand { id, title, .. } in commands {
        if own
            .iter()
            .any(|m| m.metric.id == *id || m.metric.title == *title)
        {
            return Err(WrongUsage(format!(
                "--metric: vmland measures \"{title}\" itself: give your metric another name"
            )));
        }
        if !ids.insert(id) {
            return Err(WrongUsage(format!(
                "--metric: two metrics are called \"{title}\" (both have the id {id}): give one of them another name"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(metrics: &[&str]) -> Result<(), String> {
        let parse = |text: &&str| MetricCommand::parse(text).unwrap();
        let commands: Vec<_> = metrics.iter().map(parse).collect();
        let laps = Definition {
            id: "laps",
            title: "laps",
            unit: "1/s",
            better: Better::Higher,
            about: "",
            source: Source::Given,
        };
        let given = [Measure::from(laps)];
        check_names(&commands, &given).map_err(|e| e.to_string())
    }

    #[test]
    fn own_names_are_told_apart() {
        let of_loads = Load::ALL.into_iter().flat_map(of_load);
        let others = of_loads.chain([of_workload(), of_weights()]).collect();
        let all = [own(true), details(), others].concat();
        let ids: HashSet<_> = all.iter().map(|m| &m.metric.id).collect();
        let titles: HashSet<_> = all.iter().map(|m| &m.metric.title).collect();
        assert_eq!((ids.len(), titles.len()), (all.len(), all.len()));
    }

    #[test]
    fn ids_are_words_for_programs() {
        let of_loads = Load::ALL.into_iter().flat_map(of_load);
        let all = [own(true), details(), of_loads.collect()].concat();
        for Measure { metric, .. } in all {
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(metric.id.chars().all(is_word), "{}", metric.id);
        }
    }

    #[test]
    fn a_metric_with_a_name_of_its_own() {
        assert_eq!(check(&["requests=x", "errors-=y"]), Ok(()));
        // Names of counters are not taken.
        assert_eq!(check(&["pause=x", "ctxt=x", "cpu_ns@=x"]), Ok(()));
    }

    #[test]
    fn a_metric_with_a_name_that_is_taken() {
        for taken in ["CPU share=x", "pause exits-=x", "halt exits=x", "laps@=x"] {
            let why = check(&["ok=x", taken]).unwrap_err();
            let name = taken.trim_end_matches("=x").trim_end_matches(['-', '@']);
            assert!(why.contains(&format!("\"{name}\"")), "{why}");
        }
        for same in [["x=a", "x@-=b"], ["x=a", "X!=b"]] {
            let why = check(&same).unwrap_err();
            let title = &same[1][..1];
            let expected = format!("two metrics are called \"{title}");
            assert!(why.contains(&expected), "{why}");
        }
    }

    #[test]
    fn readings_of_commands_are_kept_apart_from_all_counters() {
        let parse = |text| MetricCommand::parse(text).unwrap();
        let (pause, odd) = (parse("pause=x"), parse("of metric pause=x"));
        let kept = [&pause, &odd].map(|it| [command_counter(it), command_clock_s(it)]);
        let kept = kept.concat();
        let different: HashSet<_> = kept.iter().collect();
        assert_eq!(different.len(), kept.len());
        assert!(!different.contains(&PAUSE.to_string()));
    }
}
