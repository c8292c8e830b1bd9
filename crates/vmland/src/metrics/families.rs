// SPDX-License-Identifier: GPL-2.0-only
//! What is exported, and what it is called.
//!
//! Names follow https://prometheus.io/docs/practices/naming/. The exposition adds the unit and,
//! for counters, `_total`: `vmland_vm_cpu` becomes `vmland_vm_cpu_seconds_total`. The only label
//! whose values others choose is `domain`, the name of a VM, as libvirt's exporter calls it.

use crate::observe::reading::{Counters, Host, Vm};
use vmland_control::histogram::Histogram;
use vmland_control::stats::{Metrics, VmMetrics};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Count,
    /// A counter of ns, exported in seconds.
    Time,
    Gauge,
}

pub struct VmFamily {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    pub value: fn(&Vm) -> Option<u64>,
}

/// How long something took, in seconds.
pub struct HistogramFamily {
    pub name: &'static str,
    pub help: &'static str,
    pub value: fn(&Vm) -> Option<&Histogram>,
}

/// Upper bounds of the exported buckets, in ns: every second power of two, from 1 us to 17 s. All
/// are bounds of the scheduler's own buckets, so no wait is in the wrong one.
pub const BOUNDS_NS: [u64; 13] = {
    let mut bounds = [1 << 10; 13];
    let mut i = 1;
    while i < bounds.len() {
        bounds[i] = bounds[i - 1] << 2;
        i += 1;
    }
    bounds
};

pub struct HostFamily {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// Its name; empty if there is none.
    pub label: &'static str,
    pub series: &'static [Series],
}

/// A value of the label, and the number.
pub type Series = (&'static str, fn(&Host) -> Option<u64>);

const fn of_vm(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&Vm) -> Option<u64>,
) -> VmFamily {
    VmFamily {
        name,
        kind,
        help,
        value,
    }
}

fn counted(vm: &Vm, value: fn(&VmMetrics) -> u64) -> Option<u64> {
    vm.counters
        .as_ref()
        .map(|Counters { of_vm, .. }| value(of_vm))
}

#[rustfmt::skip]
pub const OF_VMS: [VmFamily; 15] = [
    of_vm("vmland_vm_vcpus", Kind::Gauge, "vCPUs that have a thread",
        |vm| Some(vm.vcpus.len() as u64)),
    of_vm("vmland_vm_cpu", Kind::Time, "CPU time of the vCPU threads",
        |vm| Some(vm.vcpus.values().map(|it| it.cpu_ns).sum())),
    of_vm("vmland_vm_ready", Kind::Time, "Time that vCPU threads were ready to run and had no CPU, which guests see as steal time",
        |vm| Some(vm.vcpus.values().map(|it| it.ready_ns).sum())),
    of_vm("vmland_vm_runs", Kind::Count, "Times that a vCPU thread got a CPU",
        |vm| Some(vm.vcpus.values().map(|it| it.runs).sum())),
    of_vm("vmland_vm_process_cpu", Kind::Time, "CPU time of the whole process",
        |vm| vm.process_cpu_ns),
    of_vm("vmland_vm_poll_wasted", Kind::Time, "Time that vCPUs polled for a wake-up in vain",
        |vm| vm.poll_wasted_ns),
    of_vm("vmland_vm_exits", Kind::Count, "VM exits",
        |vm| vm.exits),
    of_vm("vmland_vm_weight", Kind::Gauge, "Weight by which the VM competes, cgroups included; only ratios mean anything",
        |vm| counted(vm, |it| it.weight)),
    of_vm("vmland_vm_pause_exits", Kind::Count, "Pause exits: times that a vCPU spun",
        |vm| counted(vm, |it| it.pause_exits)),
    of_vm("vmland_vm_ipis", Kind::Count, "IPIs that the scheduler sees, one for each receiver",
        |vm| counted(vm, |it| it.ipis)),
    of_vm("vmland_vm_receivers", Kind::Count, "Hand-offs to the receivers of IPIs",
        |vm| counted(vm, |it| it.receivers)),
    of_vm("vmland_vm_yields_asked", Kind::Count, "Directed yields that KVM asked for",
        |vm| counted(vm, |it| it.yields_asked)),
    of_vm("vmland_vm_yields_honoured", Kind::Count, "Directed yields that were honoured",
        |vm| counted(vm, |it| it.yields_honoured)),
    of_vm("vmland_vm_throttled", Kind::Time, "Time that vCPUs were throttled by a quota or a cap, a part of the time ready",
        |vm| counted(vm, |it| it.throttled_ns)),
    of_vm("vmland_vm_boosted", Kind::Time, "CPU time of the vCPU threads out of turn",
        |vm| counted(vm, |it| it.boosted_ns)),
];

#[rustfmt::skip]
pub const HISTOGRAMS_OF_VMS: [HistogramFamily; 2] = [
    HistogramFamily {
        name: "vmland_vm_wait",
        help: "How long a vCPU was ready to run until it ran, each time",
        value: |vm| Some(&vm.counters.as_ref()?.of_vm.waits),
    },
    HistogramFamily {
        name: "vmland_vm_wakeup_latency",
        help: "How long a vCPU was ready to run until it ran, each time that it was woken",
        value: |vm| Some(&vm.counters.as_ref()?.of_vm.wakeups),
    },
];

const fn of_host(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    label: &'static str,
    series: &'static [Series],
) -> HostFamily {
    HostFamily {
        name,
        kind,
        help,
        label,
        series,
    }
}

fn total(host: &Host, value: fn(&Metrics) -> u64) -> Option<u64> {
    host.counters.as_ref().map(value)
}

#[rustfmt::skip]
pub const OF_HOST: [HostFamily; 13] = [
    of_host("vmland_cpus", Kind::Gauge, "CPUs online", "", &[
        ("", |host| Some(host.cpus as u64)),
    ]),
    of_host("vmland_scheduler_cpu", Kind::Time, "CPU time of scx_vmland's process", "", &[
        ("", |host| host.scheduler_cpu_ns),
    ]),
    of_host("vmland_yields", Kind::Count, "Directed yields that KVM asked for, by what became of them", "result", &[
        ("honoured", |host| total(host, |it| it.yield_honoured)),
        ("honoured_in_turn", |host| total(host, |it| it.yield_in_turn)),
        ("honoured_for_receiver", |host| total(host, |it| it.yield_receiver)),
        ("not_vcpu", |host| total(host, |it| it.yield_not_vcpu)),
        ("other_vm", |host| total(host, |it| it.yield_other_vm)),
        ("ignored", |host| total(host, |it| it.yield_ignored)),
        ("throttled", |host| total(host, |it| it.yield_throttled)),
        ("gang", |host| total(host, |it| it.yield_gang)),
        ("woken", |host| total(host, |it| it.yield_woken)),
    ]),
    of_host("vmland_handoffs", Kind::Count, "Hand-offs, by where the target was", "target", &[
        ("shared_queue", |host| total(host, |it| it.handoff_shared)),
        ("other_queue", |host| total(host, |it| it.dispatch_beyond)),
        ("cpu_queue", |host| total(host, |it| it.handoff_pinned)),
        ("remote", |host| total(host, |it| it.handoff_remote)),
        ("served", |host| total(host, |it| it.handoff_served)),
        ("lost", |host| total(host, |it| it.handoff_lost)),
    ]),
    of_host("vmland_handoffs_next", Kind::Count, "Hand-offs whose target was the next task to run on the CPU", "", &[
        ("", |host| total(host, |it| it.handoff_next)),
    ]),
    of_host("vmland_receivers_first", Kind::Count, "Hand-offs to the receivers of IPIs, by what the sender did", "sender", &[
        ("yielded", |host| total(host, |it| it.yield_receiver)),
        ("spun", |host| total(host, |it| it.spin_receiver)),
        ("left", |host| total(host, |it| it.left_receiver)),
    ]),
    of_host("vmland_dispatches", Kind::Count, "Tasks that got a CPU, by where they came from", "source", &[
        ("idle_cpu", |host| total(host, |it| it.dispatch_idle)),
        ("shared_queue", |host| total(host, |it| it.dispatch_shared)),
        ("other_queue", |host| total(host, |it| it.dispatch_beyond)),
        ("cpu_queue", |host| total(host, |it| it.dispatch_pinned)),
        ("kept", |host| total(host, |it| it.dispatch_kept)),
    ]),
    of_host("vmland_preemptions", Kind::Count, "Running tasks preempted by a waking one", "", &[
        ("", |host| total(host, |it| it.preempt)),
    ]),
    of_host("vmland_gang_turns", Kind::Count, "Turns of gangs", "", &[
        ("", |host| total(host, |it| it.gang_turns)),
    ]),
    of_host("vmland_throttles", Kind::Count, "Tasks throttled by a quota or a cap", "", &[
        ("", |host| total(host, |it| it.throttled)),
    ]),
    of_host("vmland_rescues", Kind::Count, "Tasks put first as they had waited for more than 10 s", "", &[
        ("", |host| total(host, |it| it.rescued)),
    ]),
    of_host("vmland_limits_reached", Kind::Count, "Times that there was no room, by what for", "limit", &[
        ("vms", |host| total(host, |it| it.vms_full)),
        ("cgroups", |host| total(host, |it| it.cgroups_full)),
        ("planner_ring", |host| total(host, |it| it.evidence_lost)),
    ]),
    of_host("vmland_page_faults", Kind::Count, "Page faults of scx_vmland since it attached, which should be none", "", &[
        ("", |host| total(host, |it| it.page_faults)),
    ]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::fs::read_to_string;
    use vmland_control::histogram;

    /// As Prometheus stores them.
    fn stored() -> HashSet<String> {
        let stored = |name: &str, kind| match kind {
            Kind::Count => format!("{name}_total"),
            Kind::Time => format!("{name}_seconds_total"),
            Kind::Gauge => name.to_owned(),
        };
        let of_vms = OF_VMS.iter().map(|it| stored(it.name, it.kind));
        let of_host = OF_HOST.iter().map(|it| stored(it.name, it.kind));
        let parts = |it: &HistogramFamily| {
            ["bucket", "sum", "count"].map(|part| format!("{}_seconds_{part}", it.name))
        };
        of_vms
            .chain(of_host)
            .chain(HISTOGRAMS_OF_VMS.iter().flat_map(parts))
            .chain(["vmland_scheduler_info".to_owned()])
            .collect()
    }

    #[test]
    fn each_has_a_name_of_its_own() {
        let histograms = 3 * HISTOGRAMS_OF_VMS.len();
        assert_eq!(
            stored().len(),
            OF_VMS.len() + OF_HOST.len() + histograms + 1
        );
    }

    #[test]
    fn exported_bounds_are_those_of_buckets() {
        let starts: HashSet<_> = (0..histogram::BUCKETS)
            .map(|it| histogram::range_ns(it).start)
            .collect();
        for bound in BOUNDS_NS {
            assert!(starts.contains(&bound), "{bound}");
        }
        assert_eq!(BOUNDS_NS[12], 1 << 34);
    }

    #[test]
    fn rules_and_dashboard_use_what_is_exported() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/prometheus");
        let stored = stored();
        for (file, at_least) in [("vmland.rules.yml", 6), ("vmland.dashboard.json", 12)] {
            let text = read_to_string(format!("{dir}/{file}")).expect("it is there");
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            let words = text.split(|c| !is_of_name(c));
            let used: HashSet<_> = words.filter(|it| it.starts_with("vmland_")).collect();
            assert!(used.len() >= at_least, "{file}: {used:?}");
            for name in used {
                assert!(stored.contains(name), "{file}: {name}");
            }
        }
        let dashboard = read_to_string(format!("{dir}/vmland.dashboard.json"));
        let dashboard = serde_json::from_str::<serde_json::Value>(&dashboard.expect("it is there"));
        assert!(dashboard.expect("JSON")["panels"].is_array());
    }
}
