// SPDX-License-Identifier: GPL-2.0-only
//! What a VM did between two readings.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use vmland_control::Shown;
use vmland_control::stats::{Metrics, VmMetrics};

use super::limits::{Limit, Quota, cap, quotas};
use crate::client::{Client, schedstat};
use crate::observe::share::{Competitor, by_weight};

/// Totals.
pub struct Reading {
    metrics: Metrics,
    /// How long the vCPUs of each VM were ready to run and had no CPU.
    run_delay_ns: BTreeMap<u32, u64>,
    /// Of the VM that is looked at.
    quotas: Vec<Quota>,
}

/// Between two readings. Times of vCPUs are sums over all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    pub span_ns: u64,
    pub cpu_ns: u64,
    /// What its weight gives it of the CPU time that all VMs had: no more than it demanded.
    pub due_ns: u64,
    /// Ready to run, and no CPU; not throttled.
    pub waited_ns: u64,
    pub throttled_ns: u64,
    pub pause_exits: u64,
    /// Those that are seen, one for each receiver.
    pub ipis: u64,
    /// Hand-offs to receivers of IPIs.
    pub receivers: u64,
    pub yields_asked: u64,
    pub yields_honoured: u64,
    pub limits: Vec<Limit>,
}

impl Reading {
    pub fn new(client: &mut Client, root: &Path, shown: &Shown) -> Result<Self> {
        let metrics = client.metrics()?;
        let delay = |vm: &VmMetrics| {
            let of_thread = |tid: &i32| schedstat(vm.tgid, *tid).map_or(0, |stat| stat.run_delay);
            vm.vcpus.values().map(of_thread).sum()
        };
        Ok(Self {
            run_delay_ns: { metrics.vms.iter() }
                .map(|(id, vm)| (*id, delay(vm)))
                .collect(),
            metrics,
            quotas: { &shown.cgroup }
                .as_ref()
                .map_or(vec![], |cgroup| quotas(root, cgroup)),
        })
    }
}

impl Measured {
    /// None: the VM has ended.
    pub fn between(first: &Reading, last: &Reading, shown: &Shown) -> Option<Self> {
        let all: Vec<_> = { last.metrics.vms.keys() }
            .filter_map(|id| Some((*id, Self::of_vm(first, last, *id)?)))
            .collect();
        let competitor = |(id, it): &(u32, Self)| Competitor {
            weight: last.metrics.vms[id].weight,
            demand_ns: it.cpu_ns + it.waited_ns,
        };
        let total_ns = all.iter().map(|(_, it)| it.cpu_ns).sum();
        let due = by_weight(total_ns, &all.iter().map(competitor).collect::<Vec<_>>());
        let at = all.iter().position(|(id, _)| *id == shown.id)?;
        let mut this = all[at].1.clone();
        this.due_ns = due[at];
        this.limits = limits(first, last, cap(shown), &this);
        Some(this)
    }

    fn of_vm(first: &Reading, last: &Reading, id: u32) -> Option<Self> {
        let none = VmMetrics::default();
        let before = first.metrics.vms.get(&id).unwrap_or(&none);
        let after = last.metrics.vms.get(&id)?;
        let d = |f: fn(&VmMetrics) -> u64| f(after).saturating_sub(f(before));
        let delay_ns = |reading: &Reading| reading.run_delay_ns.get(&id).copied().unwrap_or(0);
        let throttled_ns = d(|vm| vm.throttled_ns);
        let delayed_ns = delay_ns(last).saturating_sub(delay_ns(first));
        Some(Self {
            span_ns: last.metrics.at_ns.saturating_sub(first.metrics.at_ns),
            cpu_ns: d(|vm| vm.cpu_ns),
            waited_ns: delayed_ns.saturating_sub(throttled_ns),
            throttled_ns,
            pause_exits: d(|vm| vm.pause_exits),
            ipis: d(|vm| vm.ipis),
            receivers: d(|vm| vm.receivers),
            yields_asked: d(|vm| vm.yields_asked),
            yields_honoured: d(|vm| vm.yields_honoured),
            ..Self::default()
        })
    }

    /// CPUs, or vCPUs, for a time in this span.
    pub fn on_average(&self, ns: u64) -> f64 {
        ns as f64 / self.span_ns.max(1) as f64
    }
}

fn limits(first: &Reading, last: &Reading, cap: Option<f64>, vm: &Measured) -> Vec<Limit> {
    let cap = cap.map(|cpus| Limit {
        name: "its cap".into(),
        cpus,
        used_cpus: vm.on_average(vm.cpu_ns),
    });
    let quota = |now: &Quota| {
        let before = first.quotas.iter().find(|it| it.cgroup == now.cgroup)?;
        let used_ns = now.usage_ns.saturating_sub(before.usage_ns);
        Some(Limit {
            name: format!("cpu.max of {}", now.cgroup),
            cpus: now.cpus,
            used_cpus: vm.on_average(used_ns),
        })
    };
    let quotas = last.quotas.iter().filter_map(quota);
    cap.into_iter().chain(quotas).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::why::explain::tests::shown;

    fn reading(at_ns: u64, vms: &[(u32, u64, u64)], throttled_ns: u64, usage_ns: u64) -> Reading {
        let vm = |cpu_ns| VmMetrics {
            cpu_ns,
            weight: 100,
            throttled_ns,
            pause_exits: cpu_ns / 1_000,
            ..VmMetrics::default()
        };
        Reading {
            metrics: Metrics {
                at_ns,
                vms: vms
                    .iter()
                    .map(|(id, cpu_ns, _)| (*id, vm(*cpu_ns)))
                    .collect(),
                ..Metrics::default()
            },
            run_delay_ns: vms.iter().map(|(id, _, delay)| (*id, *delay)).collect(),
            quotas: vec![Quota {
                cgroup: "/machine".into(),
                cpus: 1.0,
                usage_ns,
            }],
        }
    }

    #[test]
    fn differences_and_what_is_due() {
        const MS: u64 = 1_000_000;
        let first = reading(0, &[(3, 500 * MS, 0), (4, 0, 0)], 0, 0);
        let vms = [(3, 700 * MS, 350 * MS), (4, 300 * MS, 200 * MS)];
        let last = reading(500 * MS, &vms, 50 * MS, 400 * MS);
        let shown = shown(&[("cap", "0.8", Some("--vm"))]);
        let now = Measured::between(&first, &last, &shown).expect("it runs");
        let limit = |name: &str, cpus, used_cpus| Limit {
            name: name.into(),
            cpus,
            used_cpus,
        };
        let expected = Measured {
            span_ns: 500 * MS,
            cpu_ns: 200 * MS,
            // Both demand more than half of 500 ms.
            due_ns: 250 * MS,
            waited_ns: 300 * MS,
            throttled_ns: 50 * MS,
            pause_exits: 200_000,
            limits: vec![
                limit("its cap", 0.8, 0.4),
                limit("cpu.max of /machine", 1.0, 0.8),
            ],
            ..Measured::default()
        };
        assert_eq!(now, expected);

        let ended = reading(500 * MS, &[(4, 0, 0)], 0, 0);
        assert_eq!(Measured::between(&first, &ended, &shown), None);
    }
}
