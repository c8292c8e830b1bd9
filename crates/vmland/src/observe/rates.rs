// SPDX-License-Identifier: GPL-2.0-only
//! What happened between two readings.
//!
//! 100 % is one CPU for all of the time; for [`VmRates::ready`], [`VmRates::throttled`] and
//! [`VmRates::poll_wasted`] it is every vCPU for all of the time, as a guest counts its steal time.

use vmland_control::stats::{Metrics, VmMetrics};
use vmland_identity::VmIdentity;

use super::reading::{Reading, Vcpu, Vm, VmKey};
use super::share::{Competitor, by_weight};

/// ns in a second, as a part of it in percent.
const PERCENT_OF_NS: f64 = 1e-7;

/// None in a field of [`VmRates`] or [`VcpuRates`]: it cannot be known here, or there was no time
/// between the readings.
#[derive(Clone, Debug)]
pub struct Rates {
    /// Of the later reading.
    pub unix_ms: u64,
    pub span_s: f64,
    pub host: HostRates,
    pub vms: Vec<VmRates>,
}

#[derive(Clone, Debug, Default)]
pub struct HostRates {
    pub cpus: usize,
    pub vms: usize,
    pub vcpus: usize,
    /// None: the kernel's own.
    pub scheduler: Option<String>,
    /// vCPUs that ran or waited, on average.
    pub runnable_vcpus: Option<f64>,
    pub pressure: Option<f64>,
    pub scheduler_cpu: Option<f64>,
    pub of_vmland: Option<VmlandRates>,
}

/// Per second, of all VMs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VmlandRates {
    pub yields_asked: f64,
    pub yields_honoured: f64,
    pub handoffs: f64,
    /// Of these, those whose target was the next to run there.
    pub handoffs_next: f64,
    /// Hand-offs to receivers of IPIs.
    pub receivers: f64,
    pub gang_turns: f64,
    pub preemptions: f64,
}

#[derive(Clone, Debug)]
pub struct VmRates {
    pub key: VmKey,
    pub identity: VmIdentity,
    pub vcpus: Vec<VcpuRates>,
    pub cpu: Option<f64>,
    /// What its weight gives it, and no more than it demanded.
    pub due: Option<f64>,
    pub ready: Option<f64>,
    /// Mean wait for a CPU, in ms.
    pub wait_ms: Option<f64>,
    /// What 99 % of its waits did not exceed, in ms.
    pub wait_p99_ms: Option<f64>,
    pub runs: Option<f64>,
    pub pause_exits: Option<f64>,
    pub yields_asked: Option<f64>,
    pub yields_honoured: Option<f64>,
    pub ipis: Option<f64>,
    pub receivers: Option<f64>,
    pub throttled: Option<f64>,
    /// The part of `cpu` that was out of turn.
    pub boosted: Option<f64>,
    pub process_cpu: Option<f64>,
    pub poll_wasted: Option<f64>,
    pub exits: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VcpuRates {
    pub id: i32,
    pub tid: i32,
    pub cpu: Option<f64>,
    pub ready: Option<f64>,
    pub wait_ms: Option<f64>,
    pub runs: Option<f64>,
}

impl Rates {
    pub fn between(first: &Reading, last: &Reading) -> Self {
        let mut vms: Vec<_> = { &last.vms }
            .iter()
            .map(|(key, vm)| VmRates::between(*key, first.vms.get(key), vm))
            .collect();
        set_due(last, &mut vms);
        Self {
            unix_ms: last.unix_ms,
            span_s: span(first, last).unwrap_or_default(),
            host: HostRates::between(first, last, &vms),
            vms,
        }
    }
}

fn span(first: &Reading, last: &Reading) -> Option<f64> {
    seconds(first.at_ns, last.at_ns)
}

/// None if there is nothing between them.
fn seconds(from_ns: u64, to_ns: u64) -> Option<f64> {
    (to_ns > from_ns).then(|| (to_ns - from_ns) as f64 * 1e-9)
}

/// A counter that was set back has grown from 0.
fn grown(from: u64, to: u64) -> u64 {
    to.checked_sub(from).unwrap_or(to)
}

impl HostRates {
    fn between(first: &Reading, last: &Reading, vms: &[VmRates]) -> Self {
        let span = span(first, last);
        let percent = |from: Option<u64>, to: Option<u64>| {
            Some(grown(from?, to?) as f64 * PERCENT_OF_NS / span?)
        };
        let (a, b) = (&first.host, &last.host);
        Self {
            cpus: b.cpus,
            vms: vms.len(),
            vcpus: vms.iter().map(|vm| vm.vcpus.len()).sum(),
            scheduler: b.scheduler.clone(),
            runnable_vcpus: span.map(|_| vms.iter().fold(0.0, |sum, vm| sum + vm.runnable())),
            pressure: percent(a.pressure_ns, b.pressure_ns),
            scheduler_cpu: percent(a.scheduler_cpu_ns, b.scheduler_cpu_ns),
            of_vmland: { a.counters.as_ref().zip(b.counters.as_ref()).zip(span) }
                .map(|((from, to), span)| VmlandRates::between(from, to, span)),
        }
    }
}

impl VmlandRates {
    fn between(from: &Metrics, to: &Metrics, span: f64) -> Self {
        let rate = |f: fn(&Metrics) -> u64| grown(f(from), f(to)) as f64 / span;
        Self {
            yields_asked: rate(|m| m.yield_asked),
            yields_honoured: rate(|m| m.yield_honoured + m.yield_in_turn + m.yield_receiver),
            handoffs: rate(|m| m.handoff_shared + m.handoff_pinned),
            handoffs_next: rate(|m| m.handoff_next),
            receivers: rate(Metrics::receivers_first),
            gang_turns: rate(|m| m.gang_turns),
            preemptions: rate(|m| m.preempt),
        }
    }
}

impl VmRates {
    /// What was not there before has no rates yet: its totals are of an unknown time.
    fn between(key: VmKey, first: Option<&Vm>, last: &Vm) -> Self {
        let span = first.and_then(|first| seconds(first.at_ns, last.at_ns));
        let before = |id: &i32, now: &Vcpu| {
            let before = first?.vcpus.get(id)?;
            (before.tid == now.tid).then_some(before)
        };
        let threads: Vec<_> = { &last.vcpus }
            .iter()
            .map(|(id, now)| {
                (
                    *id,
                    now.tid,
                    before(id, now).map(|it| Threads::between(it, now)),
                )
            })
            .collect();
        let vcpu = |(id, tid, threads): &(i32, i32, Option<Threads>)| VcpuRates {
            id: *id,
            tid: *tid,
            cpu: threads.and_then(|it| it.cpu(span)),
            ready: threads.and_then(|it| it.ready(span)),
            wait_ms: threads.and_then(Threads::wait_ms),
            runs: threads.and_then(|it| it.runs(span)),
        };
        let sum = threads
            .iter()
            .filter_map(|(.., it)| *it)
            .reduce(Threads::plus);

        let counters = first.and_then(|first| {
            let (from, to) = (first.counters.as_ref()?, last.counters.as_ref()?);
            (from.vm_id == to.vm_id).then_some((&from.of_vm, &to.of_vm))
        });
        let counted = |f: fn(&VmMetrics) -> u64| counters.map(|(from, to)| grown(f(from), f(to)));
        let rate = |count: Option<u64>| Some(count? as f64 / span?);
        let percent = |ns: Option<u64>| Some(rate(ns)? * PERCENT_OF_NS);
        let of_vcpus = |ns: Option<u64>| {
            let nr = last.vcpus.len();
            (nr > 0).then(|| Some(percent(ns)? / nr as f64))?
        };
        let total = |f: fn(&Vm) -> Option<u64>| Some(grown(f(first?)?, f(last)?));
        Self {
            key,
            identity: last.identity.clone(),
            vcpus: threads.iter().map(vcpu).collect(),
            cpu: sum.and_then(|it| it.cpu(span)),
            due: None,
            ready: sum.and_then(|it| it.ready(span)),
            wait_ms: sum.and_then(Threads::wait_ms),
            wait_p99_ms: counters
                .and_then(|(from, to)| Some(to.waits.since(&from.waits).quantile_ns(0.99)? * 1e-6)),
            runs: sum.and_then(|it| it.runs(span)),
            pause_exits: rate(counted(|vm| vm.pause_exits)),
            yields_asked: rate(counted(|vm| vm.yields_asked)),
            yields_honoured: rate(counted(|vm| vm.yields_honoured)),
            ipis: rate(counted(|vm| vm.ipis)),
            receivers: rate(counted(|vm| vm.receivers)),
            throttled: of_vcpus(counted(|vm| vm.throttled_ns)),
            boosted: percent(counted(|vm| vm.boosted_ns)),
            process_cpu: percent(total(|vm| vm.process_cpu_ns)),
            poll_wasted: of_vcpus(total(|vm| vm.poll_wasted_ns)),
            exits: rate(total(|vm| vm.exits)),
        }
    }

    /// How many of its vCPUs ran or waited, on average.
    fn runnable(&self) -> f64 {
        let of_vcpu = |it: &VcpuRates| it.cpu.unwrap_or(0.0) + it.ready.unwrap_or(0.0);
        self.vcpus.iter().map(of_vcpu).fold(0.0, |a, b| a + b) / 100.0
    }
}

/// What threads did between two readings.
#[derive(Clone, Copy)]
struct Threads {
    nr: u32,
    cpu_ns: u64,
    ready_ns: u64,
    runs: u64,
}

impl Threads {
    fn between(from: &Vcpu, to: &Vcpu) -> Self {
        Self {
            nr: 1,
            cpu_ns: grown(from.cpu_ns, to.cpu_ns),
            ready_ns: grown(from.ready_ns, to.ready_ns),
            runs: grown(from.runs, to.runs),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            nr: self.nr + other.nr,
            cpu_ns: self.cpu_ns + other.cpu_ns,
            ready_ns: self.ready_ns + other.ready_ns,
            runs: self.runs + other.runs,
        }
    }

    fn cpu(self, span: Option<f64>) -> Option<f64> {
        Some(self.cpu_ns as f64 * PERCENT_OF_NS / span?)
    }

    /// Of a thread, on average.
    fn ready(self, span: Option<f64>) -> Option<f64> {
        Some(self.ready_ns as f64 * PERCENT_OF_NS / span? / f64::from(self.nr))
    }

    fn wait_ms(self) -> Option<f64> {
        (self.runs > 0).then(|| self.ready_ns as f64 * 1e-6 / self.runs as f64)
    }

    fn runs(self, span: Option<f64>) -> Option<f64> {
        Some(self.runs as f64 / span?)
    }
}

/// What the weights of VMs give them of the CPU time that they had together. A VM that scx_vmland
/// does not know takes no part.
fn set_due(last: &Reading, vms: &mut [VmRates]) {
    let competitor = |vm: &VmRates| {
        let weight = last.vms[&vm.key].counters.as_ref()?.of_vm.weight;
        // A throttled vCPU is ready, too, and demands nothing.
        let ready = vm.ready? - vm.throttled?.min(vm.ready?);
        let demand = vm.cpu? + ready * vm.vcpus.len() as f64;
        Some(Competitor {
            weight,
            demand_ns: to_ns(demand),
        })
    };
    let all: Vec<_> = vms.iter().map(competitor).collect();
    let total: f64 = { vms.iter().zip(&all) }
        .filter_map(|(vm, it)| it.and(vm.cpu))
        .sum();
    let competitors: Vec<_> = all.iter().copied().flatten().collect();
    let mut given = by_weight(to_ns(total), &competitors).into_iter();
    for (vm, _) in vms.iter_mut().zip(&all).filter(|(_, it)| it.is_some()) {
        vm.due = given.next().map(|ns| ns as f64 * PERCENT_OF_NS);
    }
}

/// Of a second.
fn to_ns(percent: f64) -> u64 {
    (percent / PERCENT_OF_NS).round() as u64
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::observe::reading::{Counters, Host};
    use vmland_control::histogram::Histogram;
    use vmland_identity::Vmm;

    const MS: u64 = 1_000_000;

    pub fn key(pid: i32) -> VmKey {
        VmKey { pid, nth: 0 }
    }

    fn vcpu(tid: i32, cpu_ms: u64, ready_ms: u64) -> Vcpu {
        Vcpu {
            tid,
            cpu_ns: cpu_ms * MS,
            ready_ns: ready_ms * MS,
            runs: cpu_ms / 10,
        }
    }

    /// Two vCPUs, the second of which has had half as much.
    fn vm(pid: i32, name: &str, at_ms: u64, cpu_ms: u64, ready_ms: u64) -> Vm {
        Vm {
            at_ns: at_ms * MS,
            identity: VmIdentity {
                name: name.into(),
                vmm: Vmm::Qemu,
                uuid: None,
                cgroup: None,
                uid: None,
            },
            vcpus: [
                (0, vcpu(pid + 1, cpu_ms, ready_ms)),
                (1, vcpu(pid + 2, cpu_ms / 2, ready_ms)),
            ]
            .into(),
            process_cpu_ns: Some(2 * cpu_ms * MS),
            counters: None,
            exits: None,
            poll_wasted_ns: None,
        }
    }

    fn reading(at_ms: u64, vms: Vec<Vm>) -> Reading {
        let pid = |vm: &Vm| vm.vcpus[&0].tid - 1;
        Reading {
            unix_ms: 1_000_000 + at_ms,
            at_ns: at_ms * MS,
            host: Host {
                cpus: 2,
                pressure_ns: Some(at_ms * MS / 4),
                ..Host::default()
            },
            vms: vms.into_iter().map(|vm| (key(pid(&vm)), vm)).collect(),
        }
    }

    fn counted(mut vm: Vm, weight: u64, pause_exits: u64) -> Vm {
        let of_vm = VmMetrics {
            weight,
            pause_exits,
            throttled_ns: pause_exits * MS,
            // Of 16.8 to 21.0 ms.
            waits: Histogram {
                sum_ns: pause_exits * 18 * MS,
                buckets: [(60, pause_exits)].into(),
            },
            ..VmMetrics::default()
        };
        vm.counters = Some(Counters { vm_id: 3, of_vm });
        vm
    }

    /// Two VMs on two CPUs, one of which has three times the weight; a second apart.
    fn readings() -> [Reading; 2] {
        let first = vec![
            counted(vm(10, "web-1", 0, 0, 0), 300, 0),
            counted(vm(20, "db-1", 100, 100, 0), 100, 50),
        ];
        let last = vec![
            counted(vm(10, "web-1", 1_000, 800, 300), 300, 0),
            counted(vm(20, "db-1", 1_100, 500, 800), 100, 150),
        ];
        [(0, first, 0), (1_000, last, 10)].map(|(at_ms, vms, cpu_ms)| {
            let mut reading = reading(at_ms, vms);
            reading.host.scheduler = Some("vmland".into());
            reading.host.scheduler_cpu_ns = Some(cpu_ms * MS);
            reading.host.counters = Some(Metrics {
                yield_asked: cpu_ms * 10,
                yield_honoured: cpu_ms * 9,
                handoff_shared: cpu_ms * 8,
                handoff_next: cpu_ms * 8,
                ..Metrics::default()
            });
            reading
        })
    }

    pub fn two_vms() -> Reading {
        let [_, last] = readings();
        last
    }

    pub fn of_two_vms() -> Rates {
        let [first, last] = readings();
        Rates::between(&first, &last)
    }

    fn near(value: Option<f64>, expected: f64) {
        let value = value.expect("it is known");
        assert!((value - expected).abs() < 1e-3, "{value}, not {expected}");
    }

    #[test]
    fn of_a_vm() {
        let rates = of_two_vms();
        let [web, db] = &rates.vms[..] else {
            panic!("{:?}", rates.vms);
        };
        near(web.cpu, 120.0);
        near(web.ready, 30.0);
        near(web.runs, 120.0);
        near(web.wait_ms, 5.0);
        near(web.process_cpu, 160.0);
        near(web.vcpus[1].cpu, 40.0);
        near(web.vcpus[1].ready, 30.0);
        near(web.vcpus[0].wait_ms, 3.75);
        near(db.pause_exits, 100.0);
        near(db.throttled, 5.0);
        near(db.wait_p99_ms, 16.777_216 + 0.99 * 4.194_304);
        assert_eq!(web.wait_p99_ms, None);
        assert_eq!((db.exits, db.poll_wasted), (None, None));
    }

    #[test]
    fn entitlement_is_by_weight_and_demand() {
        let rates = of_two_vms();
        // They had 180 % together; three quarters of it are less than the first demanded.
        near(rates.vms[0].due, 135.0);
        near(rates.vms[1].due, 45.0);
    }

    #[test]
    fn of_the_host() {
        let host = of_two_vms().host;
        assert_eq!((host.cpus, host.vms, host.vcpus), (2, 2, 4));
        near(host.runnable_vcpus, 1.8 + 0.6 + 1.6);
        near(host.pressure, 25.0);
        near(host.scheduler_cpu, 1.0);
        let of_vmland = host.of_vmland.expect("it is known");
        near(Some(of_vmland.yields_asked), 100.0);
        near(Some(of_vmland.yields_honoured), 90.0);
    }

    #[test]
    fn what_has_just_come_has_no_rates() {
        let first = reading(0, vec![vm(10, "a", 0, 0, 0)]);
        let mut old = vm(10, "a", 1_000, 500, 0);
        old.vcpus.insert(1, vcpu(99, 4_000, 4_000));
        old.vcpus.insert(2, vcpu(98, 4_000, 4_000));
        let last = reading(1_000, vec![old, vm(20, "b", 1_000, 9_000, 9_000)]);
        let rates = Rates::between(&first, &last);
        let [a, b] = &rates.vms[..] else {
            panic!("{:?}", rates.vms);
        };
        near(a.cpu, 50.0);
        assert_eq!(a.vcpus[1].cpu, None);
        assert_eq!((b.cpu, b.vcpus[0].cpu, b.process_cpu), (None, None, None));
        near(rates.host.runnable_vcpus, 0.5);
        let same = Rates::between(&last, &last);
        assert_eq!((same.vms[0].cpu, same.host.pressure), (None, None));
    }

    #[test]
    fn another_scheduler_counts_anew() {
        let before = vm(10, "a", 0, 0, 0);
        let after = vm(10, "a", 1_000, 100, 0);
        let other = |vm_id| {
            let mut vm = counted(after.clone(), 100, 500);
            vm.counters.as_mut().expect("it is set").vm_id = vm_id;
            reading(1_000, vec![vm])
        };
        for first in [before.clone(), counted(before, 100, 400)] {
            let rates = Rates::between(&reading(0, vec![first]), &other(4));
            assert_eq!(rates.vms[0].pause_exits, None);
            near(rates.vms[0].cpu, 15.0);
        }
    }
}
