// SPDX-License-Identifier: GPL-2.0-only
//! The columns: one table for the screen, the text, JSON and CSV.

use crate::observe::rates::{VcpuRates, VmRates};

pub struct Column {
    /// The key in JSON and CSV, with its unit. It never changes.
    pub id: &'static str,
    pub title: &'static str,
    /// Of title and values, in characters.
    pub width: usize,
    pub decimals: usize,
    /// One line for people.
    pub about: &'static str,
    pub source: Source,
    pub of_vm: fn(&VmRates) -> Option<f64>,
    /// None: it is known of whole VMs only.
    pub of_vcpu: Option<fn(&VcpuRates) -> Option<f64>>,
}

/// Where a column's numbers come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `/proc/PID/task/TID/schedstat`, or `/proc/PID/stat` for the whole process.
    Proc,
    /// KVM's debugfs, for root.
    Kvm,
    /// scx_vmland's statistics.
    Scheduler,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Proc => "/proc",
            Source::Kvm => "KVM",
            Source::Scheduler => "scx_vmland",
        }
    }
}

const fn of_vm(
    id: &'static str,
    title: &'static str,
    width: usize,
    decimals: usize,
    source: Source,
    of_vm: fn(&VmRates) -> Option<f64>,
    about: &'static str,
) -> Column {
    Column {
        id,
        title,
        width,
        decimals,
        about,
        source,
        of_vm,
        of_vcpu: None,
    }
}

impl Column {
    const fn and_of_vcpu(self, of_vcpu: fn(&VcpuRates) -> Option<f64>) -> Self {
        Self {
            of_vcpu: Some(of_vcpu),
            ..self
        }
    }
}

use Source::{Kvm, Proc, Scheduler};

/// The most telling first: a narrow screen has the first of them.
#[rustfmt::skip]
pub const COLUMNS: [Column; 16] = [
    of_vm("cpu_percent", "CPU%", 6, 1, Proc, |vm| vm.cpu,
        "CPU time of its vCPUs; 100 is one CPU").and_of_vcpu(|it| it.cpu),
    of_vm("due_percent", "DUE%", 6, 1, Scheduler, |vm| vm.due,
        "entitlement: what its weight gives it, if it demands it"),
    of_vm("ready_percent", "READY%", 6, 1, Proc, |vm| vm.ready,
        "its vCPUs were ready to run, without a CPU: steal time").and_of_vcpu(|it| it.ready),
    of_vm("wait_ms", "WAITms", 7, 2, Proc, |vm| vm.wait_ms,
        "mean wait for a CPU, each time that a vCPU got one").and_of_vcpu(|it| it.wait_ms),
    of_vm("wait_p99_ms", "P99ms", 7, 2, Scheduler, |vm| vm.wait_p99_ms,
        "99 % of the waits for a CPU were not longer"),
    of_vm("pause_exits_per_s", "PAUSE/s", 7, 0, Scheduler, |vm| vm.pause_exits,
        "pause exits: a vCPU spun"),
    of_vm("yields_asked_per_s", "YIELD/s", 7, 0, Scheduler, |vm| vm.yields_asked,
        "directed yields that KVM asked for"),
    of_vm("yields_honoured_per_s", "HONRD/s", 7, 0, Scheduler, |vm| vm.yields_honoured,
        "directed yields that were honoured"),
    of_vm("receivers_per_s", "RECVR/s", 7, 0, Scheduler, |vm| vm.receivers,
        "hand-offs to receivers of IPIs"),
    of_vm("ipis_per_s", "IPI/s", 7, 0, Scheduler, |vm| vm.ipis,
        "IPIs that are seen, one for each receiver"),
    of_vm("throttled_percent", "THROT%", 6, 1, Scheduler, |vm| vm.throttled,
        "its vCPUs were throttled by a quota or cap; part of READY%"),
    of_vm("process_percent", "PROC%", 6, 1, Proc, |vm| vm.process_cpu,
        "CPU time of the whole process, to 10 ms; 100 is one CPU"),
    of_vm("boosted_percent", "BOOST%", 6, 1, Scheduler, |vm| vm.boosted,
        "CPU time of its vCPUs that was out of turn; part of CPU%"),
    of_vm("poll_wasted_percent", "POLL%", 6, 1, Kvm, |vm| vm.poll_wasted,
        "its vCPUs polled for a wake-up in vain"),
    of_vm("runs_per_s", "RUN/s", 7, 0, Proc, |vm| vm.runs,
        "times that a vCPU got a CPU").and_of_vcpu(|it| it.runs),
    of_vm("exits_per_s", "EXIT/s", 7, 0, Kvm, |vm| vm.exits,
        "VM exits, for any reason"),
];

/// For a column that [`named`] does not find.
pub const SORT_BY_NAME: &str = "name";

/// The place of a column, by its id or title.
pub fn named(text: &str) -> Option<usize> {
    let is_named = |column: &Column| column.id == text || column.title.eq_ignore_ascii_case(text);
    COLUMNS.iter().position(is_named)
}

/// As wide as the column, and no wider: what does not fit is in thousands or millions.
pub fn cell(column: &Column, value: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".into();
    };
    let forms = [
        format!("{value:.*}", column.decimals),
        format!("{value:.0}"),
        format!("{:.0}k", value / 1e3),
        format!("{:.0}M", value / 1e6),
    ];
    let fits = |text: &&String| text.len() <= column.width;
    forms.iter().find(fits).unwrap_or(&forms[3]).clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_has_a_name_of_its_own_that_fits() {
        let ids: HashSet<_> = COLUMNS.iter().map(|it| it.id).collect();
        let titles: HashSet<_> = COLUMNS.iter().map(|it| it.title).collect();
        assert_eq!((ids.len(), titles.len()), (COLUMNS.len(), COLUMNS.len()));
        for (at, column) in COLUMNS.iter().enumerate() {
            assert!(column.title.len() <= column.width, "{}", column.id);
            assert_eq!(
                (named(column.id), named(column.title)),
                (Some(at), Some(at))
            );
        }
        assert_eq!(named(SORT_BY_NAME), None);
    }

    #[test]
    fn values_fit() {
        let [cpu, pause] = ["cpu_percent", "pause_exits_per_s"];
        let cell = |id, value| cell(&COLUMNS[named(id).expect("a column")], value);
        assert_eq!(cell(cpu, Some(99.96)), "100.0");
        assert_eq!(cell(cpu, Some(51_200.04)), "51200");
        assert_eq!(cell(pause, Some(9_999_999.0)), "9999999");
        assert_eq!(cell(pause, Some(12_345_678.0)), "12346k");
        assert_eq!(cell(pause, Some(1e12)), "1000000M");
        assert_eq!(cell(pause, None), "–");
    }
}
