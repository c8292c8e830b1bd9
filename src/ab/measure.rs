// SPDX-License-Identifier: GPL-2.0-only
//! From counters read at both ends of a window to one value for each metric.

use std::collections::BTreeMap;

use super::record::Metric;

/// Totals by name. They only grow; one that cannot be read is missing.
pub type Counters = BTreeMap<String, f64>;

/// A metric's values.
pub type Values = BTreeMap<String, f64>;

/// Everything as it was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Seconds since the comparison began.
    pub at_s: f64,
    pub host: Counters,
    /// The same for each VM, by its name.
    pub vms: BTreeMap<String, Counters>,
}

/// How a metric comes from counters.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Growth of a counter per second, times a factor.
    Rate(String, f64),
    /// Growth of the first counter per growth of the second, times a factor.
    Quotient(String, String, f64),
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

/// What a window between two samples was worth: the host's values, and each VM's.
/// A VM that was not there at both ends has none.
pub fn values(
    measures: &[Measure],
    before: &Sample,
    after: &Sample,
) -> (Values, BTreeMap<String, Values>) {
    let seconds = after.at_s - before.at_s;
    let grown: BTreeMap<&String, Counters> = after
        .vms
        .iter()
        .filter_map(|(name, now)| Some((name, growth(before.vms.get(name)?, now))))
        .collect();
    let together = |counter: &str| -> f64 { grown.values().filter_map(|g| g.get(counter)).sum() };

    let host = growth(&before.host, &after.host);
    let of = |grown: &Counters| -> Values {
        measures
            .iter()
            .filter_map(|m| {
                let value = one(&m.source, grown, seconds, &together)?;
                value.is_finite().then(|| (m.metric.name.clone(), value))
            })
            .collect()
    };
    let mut of_host = of(&host);
    for m in measures {
        if matches!(m.source, Source::Share(_)) {
            of_host.remove(&m.metric.name);
        }
    }
    let of_vms = grown.iter().map(|(&name, g)| (name.clone(), of(g)));
    (of_host, of_vms.collect())
}

/// A total that shrank began anew with what it counts: how far it got before is not known.
fn growth(before: &Counters, after: &Counters) -> Counters {
    after
        .iter()
        .filter_map(|(name, now)| Some((name.clone(), now - before.get(name)?)))
        .filter(|(_, grown)| *grown >= 0.0)
        .collect()
}

/// None where a counter is missing or nothing was there to divide by.
fn one(
    source: &Source,
    grown: &Counters,
    seconds: f64,
    together: &dyn Fn(&str) -> f64,
) -> Option<f64> {
    match source {
        Source::Rate(counter, factor) => Some(grown.get(counter)? / seconds * factor),
        Source::Quotient(counter, by, factor) => {
            Some(grown.get(counter)? / grown.get(by)? * factor)
        }
        Source::Share(counter) => Some(100.0 * grown.get(counter)? / together(counter)),
        Source::Given => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Better;
    use super::*;

    fn measure(name: &str, source: Source) -> Measure {
        Measure {
            metric: Metric {
                name: name.into(),
                unit: String::new(),
                better: Better::Neither,
                about: String::new(),
                of_vms_only: false,
            },
            source,
        }
    }

    fn counters(pairs: &[(&str, f64)]) -> Counters {
        pairs.iter().map(|&(k, v)| (k.into(), v)).collect()
    }

    fn measures() -> Vec<Measure> {
        vec![
            measure("work", Source::Rate("work".into(), 1.0)),
            measure(
                "exits per work",
                Source::Quotient("exits".into(), "work".into(), 1.0),
            ),
            measure("share", Source::Share("cpu".into())),
            measure("wall", Source::Given),
        ]
    }

    #[test]
    fn rates_quotients_and_shares() {
        let before = Sample {
            at_s: 10.0,
            host: counters(&[("work", 100.0), ("exits", 5.0)]),
            vms: BTreeMap::from([
                ("a".into(), counters(&[("cpu", 1.0), ("work", 0.0)])),
                ("b".into(), counters(&[("cpu", 1.0)])),
                ("gone".into(), counters(&[("cpu", 1.0)])),
            ]),
        };
        let after = Sample {
            at_s: 14.0,
            host: counters(&[("work", 300.0), ("exits", 55.0), ("new", 1.0)]),
            vms: BTreeMap::from([
                ("a".into(), counters(&[("cpu", 4.0), ("work", 8.0)])),
                ("b".into(), counters(&[("cpu", 2.0)])),
                ("new".into(), counters(&[("cpu", 50.0)])),
            ]),
        };
        let (host, vms) = values(&measures(), &before, &after);
        assert_eq!(host, counters(&[("work", 50.0), ("exits per work", 0.25)]));
        assert_eq!(vms.len(), 2);
        assert_eq!(vms["a"], counters(&[("share", 75.0), ("work", 2.0)]));
        assert_eq!(vms["b"], counters(&[("share", 25.0)]));
    }

    #[test]
    fn a_total_that_began_anew_is_no_value() {
        let sample = |at_s, work| Sample {
            at_s,
            host: counters(&[("work", work), ("exits", work / 2.0)]),
            vms: BTreeMap::from([("a".into(), counters(&[("cpu", work)]))]),
        };
        let (host, vms) = values(&measures(), &sample(0.0, 50.0), &sample(1.0, 20.0));
        assert!(host.is_empty(), "{host:?}");
        assert!(vms["a"].is_empty(), "{vms:?}");
    }

    #[test]
    fn nothing_is_no_value() {
        let still = Sample {
            at_s: 1.0,
            host: counters(&[("work", 1.0), ("exits", 1.0)]),
            vms: BTreeMap::new(),
        };
        let later = Sample {
            at_s: 2.0,
            ..still.clone()
        };
        let (host, _) = values(&measures(), &still, &later);
        // 0 / 0 is no number; no work at all is one.
        assert_eq!(host, counters(&[("work", 0.0)]));
    }
}
