// SPDX-License-Identifier: GPL-2.0-only
//! A reading as OpenMetrics text. What is not known has no sample.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::families::{
    BOUNDS_NS, HISTOGRAMS_OF_VMS, HistogramFamily, Kind, OF_HOST, OF_VMS, Series,
};
use crate::observe::reading::{Reading, Vm};

/// The name in `vmland_scheduler_info` where no sched_ext scheduler is attached.
const STOCK: &str = "kernel";

pub fn text(reading: Reading) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(reading)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a String takes all");
    text
}

#[derive(Debug)]
struct Snapshot(Reading);

/// A label, or none if its name is empty, and a value.
type Sample<'a> = (&'a str, &'a str, u64);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(reading) = self;
        let name = reading.host.scheduler.as_deref().unwrap_or(STOCK);
        let help = "The attached sched_ext scheduler, or \"kernel\"";
        let mut info =
            encoder.encode_descriptor("vmland_scheduler", help, None, MetricType::Info)?;
        info.encode_info(&[("name", name)])?;

        for family in &OF_HOST {
            let series = family.series.iter();
            let sample = |(value, of): &Series| Some((family.label, *value, of(&reading.host)?));
            let samples = series.filter_map(sample).collect();
            write(&mut encoder, family.name, family.kind, family.help, samples)?;
        }
        for family in &OF_VMS {
            let vms = reading.vms.values();
            let samples = vms
                .filter_map(|vm| Some(("domain", vm.identity.name.as_str(), (family.value)(vm)?)))
                .collect();
            write(&mut encoder, family.name, family.kind, family.help, samples)?;
        }
        for family in &HISTOGRAMS_OF_VMS {
            write_histogram(&mut encoder, family, reading)?;
        }
        Ok(())
    }
}

fn write_histogram(
    encoder: &mut DescriptorEncoder<'_>,
    family: &HistogramFamily,
    reading: &Reading,
) -> fmt::Result {
    let value = |vm: &'_ Vm| (family.value)(vm).is_some();
    if !reading.vms.values().any(value) {
        return Ok(());
    }
    let unit = Some(&Unit::Seconds);
    let mut of_all =
        encoder.encode_descriptor(family.name, family.help, unit, MetricType::Histogram)?;
    for vm in reading.vms.values() {
        let Some(histogram) = (family.value)(vm) else {
            continue;
        };
        let bounds = BOUNDS_NS.map(|ns| ns as f64 * 1e-9).into_iter();
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(histogram.between(&BOUNDS_NS)).collect();
        of_all
            .encode_family(&[("domain", vm.identity.name.as_str())])?
            .encode_histogram::<NoLabelSet>(
                histogram.sum_ns as f64 * 1e-9,
                histogram.count(),
                &buckets,
                None,
            )?;
    }
    Ok(())
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    kind: Kind,
    help: &str,
    samples: Vec<Sample<'_>>,
) -> fmt::Result {
    if samples.is_empty() {
        return Ok(());
    }
    let unit = (kind == Kind::Time).then_some(Unit::Seconds);
    let metric_type = match kind {
        Kind::Gauge => MetricType::Gauge,
        Kind::Count | Kind::Time => MetricType::Counter,
    };
    let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), metric_type)?;
    for (label, of, value) in samples {
        if label.is_empty() {
            write_value(&mut family, kind, value)?;
        } else {
            write_value(&mut family.encode_family(&[(label, of)])?, kind, value)?;
        }
    }
    Ok(())
}

fn write_value(encoder: &mut MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Gauge => encoder.encode_gauge(&value),
        Kind::Count => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        Kind::Time => encoder.encode_counter::<NoLabelSet, _, u64>(&(value as f64 * 1e-9), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::rates::tests::two_vms;

    #[test]
    fn names_units_and_labels() {
        let mut reading = two_vms();
        let evil = "a\"} 1\n\\";
        reading.vms.values_mut().next().expect("one").identity.name = evil.into();
        let text = text(reading);
        for line in [
            "# TYPE vmland_vm_cpu_seconds counter",
            "# UNIT vmland_vm_cpu_seconds seconds",
            "vmland_scheduler_info{name=\"vmland\"} 1",
            "vmland_cpus 2",
            "vmland_scheduler_cpu_seconds_total 0.01",
            "vmland_yields_total{result=\"honoured\"} 90",
            "vmland_vm_cpu_seconds_total{domain=\"db-1\"} 0.75",
            "vmland_vm_ready_seconds_total{domain=\"db-1\"} 1.6",
            "vmland_vm_pause_exits_total{domain=\"db-1\"} 150",
            "# TYPE vmland_vm_wait_seconds histogram",
            "# UNIT vmland_vm_wait_seconds seconds",
            "vmland_vm_wait_seconds_sum{domain=\"db-1\"} 2.7",
            "vmland_vm_wait_seconds_count{domain=\"db-1\"} 150",
            // A wait of 16.8 to 21.0 ms.
            "vmland_vm_wait_seconds_bucket{le=\"0.016777216\",domain=\"db-1\"} 0",
            "vmland_vm_wait_seconds_bucket{le=\"0.067108864\",domain=\"db-1\"} 150",
            "vmland_vm_wait_seconds_bucket{le=\"+Inf\",domain=\"db-1\"} 150",
            "vmland_vm_wakeup_latency_seconds_count{domain=\"db-1\"} 0",
            "vmland_vm_vcpus{domain=\"a\\\"} 1\\n\\\\\"} 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|it| it == line), "no {line} in:\n{text}");
        }
        // Labels have a bound: so many lines for each VM.
        let of_db = |it: &&str| it.contains("wait_seconds") && it.contains("\"db-1\"");
        assert_eq!(text.lines().filter(of_db).count(), BOUNDS_NS.len() + 3);
        // Nothing is known of KVM.
        assert!(!text.contains("vmland_vm_exits") && text.ends_with("# EOF\n"));
    }

    #[test]
    fn without_a_scheduler_or_a_vm() {
        let mut reading = two_vms();
        reading.host.scheduler = None;
        reading.host.counters = None;
        reading.vms.clear();
        let text = text(reading);
        assert!(text.contains("vmland_scheduler_info{name=\"kernel\"} 1"));
        assert!(!text.contains("vmland_yields") && !text.contains("domain"));
    }
}
