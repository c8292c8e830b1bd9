// SPDX-License-Identifier: GPL-2.0-only
//! From counters read at both ends of a window to one value for each metric.

use std::collections::BTreeMap;

use crate::record::{Better, Metric};

/// Totals by name. They only grow; one that cannot be read is missing.
pub type Counters = BTreeMap<String, f64>;

/// Values by [`Metric::id`].
pub type Values = BTreeMap<String, f64>;

/// Everything as it was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Seconds since the comparison began.
    pub at_s: f64,
    /// The host's own; what only VMs count is not in it.
    pub host: Counters,
    /// Each VM's, by its name. One that has ended, or whose counters cannot all be read,
    /// is missing.
    pub vms: BTreeMap<String, Counters>,
}

/// How a metric comes from counters.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Growth of a counter per second, times a factor.
    Rate(String, f64),
    /// Growth of the first counter per growth of the second, times a factor.
    Quotient(String, String, f64),
    /// Growth of a counter per second of a clock: the second counter, in seconds, which was
    /// read together with the first. The host's is the sum of its VMs'.
    Clocked(String, String),
    /// A VM's part of the growth of all VMs, in percent.
    Share(String),
    /// Not from counters: the host gives the value with the window.
    Given,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    pub metric: Metric,
    pub source: Source,
}

/// A [`Measure`] as a program defines it, each text by its name.
pub struct Definition<'a> {
    pub id: &'a str,
    pub title: &'a str,
    pub unit: &'a str,
    pub better: Better,
    /// One sentence: what it is and where it comes from.
    pub about: &'a str,
    pub source: Source,
}

impl From<Definition<'_>> for Measure {
    fn from(definition: Definition) -> Self {
        Self {
            metric: Metric {
                id: definition.id.into(),
                title: definition.title.into(),
                unit: definition.unit.into(),
                better: definition.better,
                about: definition.about.into(),
                of_vms_only: matches!(definition.source, Source::Share(_)),
            },
            source: definition.source,
        }
    }
}

/// What a window between two samples was worth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worth {
    pub host: Values,
    /// Of the VMs that were there at both ends.
    pub vms: BTreeMap<String, Values>,
    /// VMs that were there when it began, and not when it ended. How much they did meanwhile
    /// is not known; the host's values are those of the others.
    pub left_out: Vec<String>,
}

/// The values of the window between two samples. Where the host has no counter of its own, its
/// value is the sum of the VMs that were there at both ends.
pub fn worth(measures: &[Measure], before: &Sample, after: &Sample) -> Worth {
    let seconds = after.at_s - before.at_s;
    let vms: BTreeMap<&String, Growth> = after
        .vms
        .iter()
        .filter_map(|(name, now)| Some((name, Growth::between(before.vms.get(name)?, now))))
        .collect();
    let host = Growth::between(&before.host, &after.host);

    let of_vm = |vm: &Growth, source: &Source| match source {
        Source::Share(counter) => {
            Some(100.0 * vm.of(counter)? / together(vms.values(), |vm| vm.get(counter))?)
        }
        source => one(source, seconds, &|counter| vm.of(counter)),
    };
    let of_host = |source: &Source| match source {
        Source::Share(_) => None,
        Source::Clocked(counter, _) if !host.has(counter) => together(vms.values(), |vm| {
            vm.has(counter)
                .then(|| one(source, seconds, &|counter| vm.of(counter)))
        }),
        source => one(source, seconds, &|counter| {
            if host.has(counter) {
                host.of(counter)
            } else {
                together(vms.values(), |vm| vm.get(counter))
            }
        }),
    };
    let all = |value: &dyn Fn(&Source) -> Option<f64>| -> Values {
        measures
            .iter()
            .filter_map(|m| Some((m.metric.id.clone(), value(&m.source)?)))
            .filter(|(_, value)| value.is_finite())
            .collect()
    };
    Worth {
        host: all(&of_host),
        vms: vms
            .iter()
            .map(|(&name, vm)| (name.clone(), all(&|source| of_vm(vm, source))))
            .collect(),
        left_out: before
            .vms
            .keys()
            .filter(|&name| !after.vms.contains_key(name))
            .cloned()
            .collect(),
    }
}

/// How much counters have grown. None if that is not known: the counter was read at one end
/// only, or it shrank, for it began anew and how far it got before is lost.
struct Growth(BTreeMap<String, Option<f64>>);

impl Growth {
    fn between(before: &Counters, after: &Counters) -> Self {
        let grown = |name: &String| -> Option<f64> {
            let grown = after.get(name)? - before.get(name)?;
            (grown >= 0.0).then_some(grown)
        };
        let names = before.keys().chain(after.keys());
        Self(names.map(|name| (name.clone(), grown(name))).collect())
    }

    /// Is there such a counter at all?
    fn has(&self, counter: &str) -> bool {
        self.0.contains_key(counter)
    }

    /// None if there is no such counter.
    fn get(&self, counter: &str) -> Option<Option<f64>> {
        self.0.get(counter).copied()
    }

    fn of(&self, counter: &str) -> Option<f64> {
        self.get(counter).flatten()
    }
}

/// The sum over the VMs that have a part. It is known if each part is known; none if no VM
/// has one.
fn together<'a>(
    vms: impl Iterator<Item = &'a Growth>,
    part: impl Fn(&Growth) -> Option<Option<f64>>,
) -> Option<f64> {
    vms.filter_map(part)
        .reduce(|sum, part| Some(sum? + part?))
        .flatten()
}

/// None where a counter is missing; no number where nothing was there to divide by.
fn one(source: &Source, seconds: f64, grown: &dyn Fn(&str) -> Option<f64>) -> Option<f64> {
    match source {
        Source::Rate(counter, factor) => Some(grown(counter)? / seconds * factor),
        Source::Quotient(counter, by, factor) => Some(grown(counter)? / grown(by)? * factor),
        Source::Clocked(counter, clock) => match (grown(counter)?, grown(clock)?) {
            // A VM without a new reading of its clock did no work either.
            (0.0, _) => Some(0.0),
            (work, clock_s) => Some(work / clock_s),
        },
        Source::Share(_) | Source::Given => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(id: &str, source: Source) -> Measure {
        Measure::from(Definition {
            id,
            title: "",
            unit: "",
            better: Better::Neither,
            about: "",
            source,
        })
    }

    fn counters(pairs: &[(&str, f64)]) -> Counters {
        pairs.iter().map(|&(k, v)| (k.into(), v)).collect()
    }

    fn measures() -> Vec<Measure> {
        vec![
            measure("work", Source::Rate("work".into(), 1.0)),
            measure(
                "exits_per_work",
                Source::Quotient("exits".into(), "work".into(), 1.0),
            ),
            measure("share", Source::Share("cpu".into())),
            measure("wall", Source::Given),
        ]
    }

    fn sample(at_s: f64, host: &[(&str, f64)], vms: &[(&str, &[(&str, f64)])]) -> Sample {
        let vms = vms.iter();
        Sample {
            at_s,
            host: counters(host),
            vms: vms.map(|&(name, vm)| (name.into(), counters(vm))).collect(),
        }
    }

    #[test]
    fn rates_quotients_and_shares() {
        let before = sample(
            10.0,
            &[("work", 100.0), ("exits", 5.0)],
            &[
                ("a", &[("cpu", 1.0), ("work", 0.0)]),
                ("b", &[("cpu", 1.0)]),
            ],
        );
        let after = sample(
            14.0,
            &[("work", 300.0), ("exits", 55.0), ("new", 1.0)],
            &[
                ("a", &[("cpu", 4.0), ("work", 8.0)]),
                ("b", &[("cpu", 2.0)]),
            ],
        );
        let worth = worth(&measures(), &before, &after);
        let host = counters(&[("work", 50.0), ("exits_per_work", 0.25)]);
        assert_eq!(worth.host, host);
        assert_eq!(worth.vms.len(), 2);
        assert_eq!(worth.vms["a"], counters(&[("share", 75.0), ("work", 2.0)]));
        assert_eq!(worth.vms["b"], counters(&[("share", 25.0)]));
        assert!(worth.left_out.is_empty());
    }

    #[test]
    fn what_the_host_does_not_count_is_what_its_vms_did_together() {
        let vm = |work, exits, clock| [("work", work), ("exits", exits), ("clock", clock)];
        let before = sample(
            0.0,
            &[],
            &[("a", &vm(0.0, 0.0, 0.0)), ("b", &vm(7.0, 0.0, 0.0))],
        );
        let after = sample(
            4.0,
            &[],
            &[("a", &vm(8.0, 3.0, 4.0)), ("b", &vm(19.0, 2.0, 2.0))],
        );
        let clocked = measure("clocked", Source::Clocked("work".into(), "clock".into()));
        let worth = worth(&[measures(), vec![clocked]].concat(), &before, &after);
        // Clocks do not add up: each VM's work goes by its own.
        let host = [("work", 5.0), ("exits_per_work", 0.25), ("clocked", 8.0)];
        assert_eq!(worth.host, counters(&host));
        assert_eq!(worth.vms["b"]["clocked"], 6.0);
    }

    #[test]
    fn no_work_is_no_work_whatever_the_clock() {
        let vm = [("work", 5.0), ("clock", 1.0)];
        let still = |at_s| sample(at_s, &[], &[("a", &vm)]);
        let clocked = [measure(
            "clocked",
            Source::Clocked("work".into(), "clock".into()),
        )];
        let worth = worth(&clocked, &still(0.0), &still(1.0));
        assert_eq!(worth.host, counters(&[("clocked", 0.0)]));
    }

    #[test]
    fn a_vm_that_ends_within_a_window_is_left_out_of_it() {
        let vm = |cpu, work| [("cpu", cpu), ("work", work)];
        let before = sample(
            0.0,
            &[],
            &[("a", &vm(10.0, 100.0)), ("ended", &vm(500.0, 900.0))],
        );
        let after = sample(
            2.0,
            &[],
            &[("a", &vm(12.0, 140.0)), ("new", &vm(50.0, 10.0))],
        );
        let worth = worth(&measures(), &before, &after);
        assert_eq!(worth.left_out, ["ended"]);
        // Neither 40 - 900 nor (40 + 0) of a host with two VMs: one VM's 40 in 2 s.
        assert_eq!(worth.host, counters(&[("work", 20.0)]));
        let a = counters(&[("work", 20.0), ("share", 100.0)]);
        assert_eq!(worth.vms, BTreeMap::from([("a".into(), a)]));
    }

    #[test]
    fn without_a_vm_left_nothing_is_known_of_vms() {
        let before = sample(0.0, &[("exits", 1.0)], &[("ended", &[("work", 3.0)])]);
        let after = sample(1.0, &[("exits", 2.0)], &[]);
        let worth = worth(&measures(), &before, &after);
        assert_eq!((worth.host, worth.vms), Default::default());
        assert_eq!(worth.left_out, ["ended"]);
    }

    #[test]
    fn a_total_that_began_anew_is_no_value() {
        let sample = |at_s, work| {
            let a = [("cpu", work)];
            let b = [("cpu", at_s)];
            sample(
                at_s,
                &[("work", work), ("exits", work / 2.0)],
                &[("a", &a), ("b", &b)],
            )
        };
        let cpu = measure("cpu", Source::Rate("cpu".into(), 1.0));
        let measures = [measures(), vec![cpu]].concat();
        let worth = worth(&measures, &sample(0.0, 50.0), &sample(1.0, 20.0));
        // Nor is a sum that it belongs to.
        assert_eq!(worth.host, Values::new());
        assert_eq!(worth.vms["a"], Values::new());
        assert_eq!(worth.vms["b"], counters(&[("cpu", 1.0)]));
    }

    #[test]
    fn nothing_is_no_value() {
        let host = [("work", 1.0), ("exits", 1.0)];
        let still = |at_s| sample(at_s, &host, &[]);
        let worth = worth(&measures(), &still(1.0), &still(2.0));
        // 0 / 0 is no number; no work at all is one.
        assert_eq!(worth.host, counters(&[("work", 0.0)]));
    }
}
