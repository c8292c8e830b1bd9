// SPDX-License-Identifier: GPL-2.0-only
//! What is measured, by the names that people know, and which counters it comes from.

use std::collections::HashSet;

use vmland_ab::measure::{Measure, Source};
use vmland_ab::record::{Better, Metric};

use super::WrongUsage;
use super::command::MetricCommand;
use super::exits::{PAUSE, REASONS};

/// What comes from a host and its VMs, in the order in which it is shown; `exits` if VM
/// exits are counted there.
pub fn own(exits: bool) -> Vec<Measure> {
    let mut measures = Vec::new();
    let mut add = |name: &str, unit: &str, better, source, about: &str| {
        measures.push(measure(name, unit, better, source, about));
    };
    use Better::*;
    if exits {
        add(
            "pause exits",
            "1/s",
            Lower,
            Source::Rate(PAUSE.into(), 1.0),
            "Times a spinning vCPU made its CPU leave the guest.",
        );
        add(
            "VM exits",
            "1/s",
            Neither,
            Source::Rate("exits".into(), 1.0),
            "Times a vCPU left its guest, for whatever reason.",
        );
        add(
            "yields asked",
            "1/s",
            Neither,
            Source::Rate("yields asked".into(), 1.0),
            "Calls of yield_to() by vCPUs.",
        );
        add(
            "yields accepted",
            "%",
            Neither,
            Source::Quotient("yields accepted".into(), "yields asked".into(), 100.0),
            "Calls of yield_to() by vCPUs that the scheduler took.",
        );
    }
    add(
        "vCPU time",
        "CPUs",
        Neither,
        Source::Rate("cpu_ns".into(), 1e-9),
        "CPU time of vCPU threads (schedstat).",
    );
    add(
        "vCPU waiting",
        "CPUs",
        Lower,
        Source::Rate("wait_ns".into(), 1e-9),
        "Time that vCPU threads were ready to run and had no CPU (schedstat): what KVM tells guests as steal time.",
    );
    add(
        "CPU share",
        "%",
        Neither,
        Source::Share("cpu_ns".into()),
        "A VM's part of the CPU time of all VMs.",
    );
    add(
        "context switches",
        "1/s",
        Neither,
        Source::Rate("ctxt".into(), 1.0),
        "On the whole host (/proc/stat).",
    );
    add(
        "CPU pressure",
        "%",
        Neither,
        Source::Rate("pressure_us".into(), 1e-4),
        "Time that some task of the host waited for a CPU (PSI, /proc/pressure/cpu).",
    );
    add(
        "scheduler's CPU time",
        "CPUs",
        Neither,
        Source::Rate("scheduler_ns".into(), 1e-9),
        "CPU time of the scheduler's process; what runs in the kernel is not in it.",
    );
    measures
}

/// Measured where VM exits are counted, but too much to be shown and compared: exits by reason.
pub fn details() -> Vec<Measure> {
    REASONS
        .iter()
        .filter(|reason| reason.name != PAUSE)
        .map(|reason| {
            measure(
                &format!("{} exits", reason.name),
                "1/s",
                Better::Neither,
                Source::Rate(reason.name.into(), 1.0),
                "",
            )
        })
        .collect()
}

pub fn measure(name: &str, unit: &str, better: Better, source: Source, about: &str) -> Measure {
    Measure {
        metric: Metric {
            name: name.into(),
            unit: unit.into(),
            better,
            about: about.into(),
            of_vms_only: matches!(source, Source::Share(_)),
        },
        source,
    }
}

pub fn of_command(command: &MetricCommand) -> Measure {
    let better = if command.lower_is_better {
        Better::Lower
    } else {
        Better::Higher
    };
    let (unit, source) = if command.level {
        ("", Source::Given)
    } else {
        let (counter, clock) = (counter(command), clock(command));
        ("1/s", Source::Quotient(counter, clock, 1.0))
    };
    let about = format!("What \"{}\" prints.", command.command);
    measure(&command.name, unit, better, source, &about)
}

/// What a command's readings are kept under, whatever its metric is called: a name that no
/// counter of the host's has.
pub fn counter(command: &MetricCommand) -> String {
    format!("metric {}", command.name)
}

/// The counter that holds when a command was read.
pub fn clock(command: &MetricCommand) -> String {
    format!("clock of metric {}", command.name)
}

/// Values go by the names of their metrics: each command needs one of its own. Names that
/// are measured on other hosts only are taken as well, so that a command line works on all.
pub fn check_names(commands: &[MetricCommand], given: &[Measure]) -> Result<(), WrongUsage> {
    let own: Vec<Measure> = [own(true), details(), given.to_vec()].concat();
    let mut names = HashSet::new();
    for MetricCommand { name, .. } in commands {
        if own.iter().any(|measure| &measure.metric.name == name) {
            return Err(WrongUsage(format!(
                "--metric: vmland itself measures what it calls \"{name}\": give yours another name"
            )));
        }
        if !names.insert(name) {
            return Err(WrongUsage(format!(
                "--metric: two metrics are called \"{name}\": give one of them another name"
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
        let given = [measure("laps", "1/s", Better::Higher, Source::Given, "")];
        check_names(&commands, &given).map_err(|e| e.to_string())
    }

    #[test]
    fn own_names_are_told_apart() {
        let all = [own(true), details()].concat();
        let names: HashSet<_> = all.iter().map(|m| &m.metric.name).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn a_metric_with_a_name_of_its_own() {
        assert_eq!(check(&["requests=x", "errors-=y"]), Ok(()));
        // The names of counters are nobody's business.
        assert_eq!(check(&["pause=x", "ctxt=x", "cpu_ns@=x"]), Ok(()));
    }

    #[test]
    fn a_metric_with_a_name_that_is_taken() {
        for taken in ["CPU share=x", "pause exits-=x", "halt exits=x", "laps@=x"] {
            let why = check(&["ok=x", taken]).unwrap_err();
            let name = taken.trim_end_matches("=x").trim_end_matches(['-', '@']);
            assert!(why.contains(&format!("\"{name}\"")), "{why}");
        }
        let why = check(&["x=a", "x@-=b"]).unwrap_err();
        assert!(why.contains("two metrics are called \"x\""), "{why}");
    }

    #[test]
    fn readings_of_commands_are_kept_apart_from_all_counters() {
        let parse = |text| MetricCommand::parse(text).unwrap();
        let (pause, odd) = (parse("pause=x"), parse("of metric pause=x"));
        let kept = [counter(&pause), clock(&pause), counter(&odd), clock(&odd)];
        let different: HashSet<_> = kept.iter().collect();
        assert_eq!(different.len(), kept.len());
        assert!(!different.contains(&PAUSE.to_string()));
    }
}
