// SPDX-License-Identifier: GPL-2.0-only
//! The presentation model: what every report shows of a comparison, cell by cell.

use std::collections::{BTreeMap, BTreeSet};

use super::format::{self, NONE};
use super::{escape, summary};
use crate::comparison::{ArmResult, Ratio, Summary, Verdict, Versus};
use crate::record::{Arm, Metric, Record};
use crate::statistics;

/// A comparison as it is shown. Its texts are escaped, except for characters that are special
/// to one format.
pub struct Model<'a> {
    /// The data, with its texts as they are: for formats that programs read.
    pub record: &'a Record,
    pub(super) title: String,
    /// What was compared, and what came out.
    pub(super) sentences: Vec<String>,
    pub(super) arms: Vec<Arm>,
    /// The metrics that the arms are compared by.
    pub(super) metrics: Vec<MetricTable>,
    /// None where no VM was measured.
    pub(super) vms: Option<VmTable>,
    /// In the order of time.
    pub(super) events: Vec<Event>,
    /// The windows and switches, counted.
    pub(super) time_line: String,
    /// Names and values: the machine and the settings.
    pub(super) facts: Vec<(&'static str, String)>,
    /// As a shell would take it.
    pub(super) command: String,
}

/// A metric, with a row for each arm.
pub struct MetricTable {
    /// Title and unit.
    pub heading: String,
    /// Which way the metric should go.
    pub better: &'static str,
    pub about: String,
    pub rows: Vec<ArmRow>,
}

/// An arm in the table of a metric.
pub struct ArmRow {
    pub arm: String,
    pub summary: Option<Summary>,
    pub median: String,
    pub quartiles: String,
    /// The windows that have a value, in the order of time.
    pub dots: Vec<Dot>,
    /// None where nothing was compared.
    pub versus: Option<VersusCells>,
    /// The verdict in words, or why there is none.
    pub outcome: String,
}

/// The value of a window.
#[derive(Clone, Copy)]
pub struct Dot {
    /// Which window of the arm it is, from 0.
    pub index: usize,
    /// Finite.
    pub value: f64,
    pub discarded: bool,
}

/// An arm against the reference.
pub struct VersusCells {
    /// [`Ratio::estimate`](crate::comparison::Ratio::estimate).
    pub ratio: String,
    pub interval: String,
    /// Corrected.
    pub p: String,
    pub verdict: Verdict,
}

/// What each VM got from each arm.
pub struct VmTable {
    /// Titles with units.
    pub columns: Vec<String>,
    /// By VM; of each VM the arms that it was measured under.
    pub rows: Vec<VmRow>,
}

pub struct VmRow {
    pub vm: String,
    /// Index into [`Model::arms`].
    pub arm: usize,
    /// Median of the windows that count, in the order of the columns.
    pub medians: Vec<String>,
}

/// Something that happened during the run.
pub struct Event {
    /// `1:05`, since the comparison began.
    pub at: String,
    pub text: String,
}

impl<'a> Model<'a> {
    pub fn new(record: &'a Record) -> Self {
        let shown = &escape::record(record);
        Self {
            record,
            title: summary::title(shown),
            sentences: summary::sentences(shown),
            arms: shown.arms.clone(),
            metrics: shown
                .compared()
                .map(|metric| MetricTable::new(shown, metric))
                .collect(),
            vms: VmTable::new(shown),
            events: events(shown),
            time_line: summary::time_line(shown),
            facts: facts(shown),
            command: format::command(&shown.about.command),
        }
    }
}

impl MetricTable {
    fn new(record: &Record, metric: &Metric) -> Self {
        let comparison = record.comparisons.iter().find(|c| c.metric == metric.id);
        let rows = record.arms.iter().enumerate().map(|(i, arm)| {
            let result = comparison.and_then(|c| c.arms.get(i));
            let summary = result.and_then(|r| r.summary);
            let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.into());
            ArmRow {
                arm: arm.name.clone(),
                summary,
                median: or_none(summary.map(|s| format::number(s.median))),
                quartiles: or_none(summary.map(|s| format::range(s.q1, s.q3))),
                dots: dots(record, i, metric),
                versus: result.and_then(|r| r.versus.as_ref()).map(VersusCells::new),
                outcome: outcome(i, result),
            }
        });
        Self {
            heading: format::with_unit(metric),
            better: format::better(metric.better),
            about: metric.about.clone(),
            rows: rows.collect(),
        }
    }

    /// Lowest and highest value of the windows that count; none if there is no value.
    pub fn extent(&self) -> Option<(f64, f64)> {
        self.rows
            .iter()
            .flat_map(ArmRow::values)
            .fold(None, |extent, v| match extent {
                None => Some((v, v)),
                Some((low, high)) => Some((v.min(low), v.max(high))),
            })
    }
}

impl ArmRow {
    /// Of the windows that count.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        let counted = self.dots.iter().filter(|dot| !dot.discarded);
        counted.map(|dot| dot.value)
    }
}

impl VersusCells {
    fn new(versus: &Versus) -> Self {
        let (ratio, interval) = ratio_cells(versus.ratio);
        Self {
            ratio,
            interval,
            p: format::probability(versus.p_corrected),
            verdict: versus.verdict,
        }
    }
}

/// The estimate and its interval.
pub fn ratio_cells(ratio: Option<Ratio>) -> (String, String) {
    match ratio {
        Some(ratio) => (
            format::number(ratio.estimate),
            format!("[{}]", format::range(ratio.low, ratio.high)),
        ),
        None => (NONE.into(), NONE.into()),
    }
}

fn dots(record: &Record, arm: usize, metric: &Metric) -> Vec<Dot> {
    let windows = record.windows.iter().filter(|w| w.arm == arm).enumerate();
    windows
        .filter_map(|(index, window)| {
            let value = *window.values.get(&metric.id)?;
            let discarded = window.discarded.is_some();
            value.is_finite().then_some(Dot {
                index,
                value,
                discarded,
            })
        })
        .collect()
}

fn outcome(arm: usize, result: Option<&ArmResult>) -> String {
    match result {
        Some(ArmResult {
            versus: Some(versus),
            ..
        }) => format::verdict(versus),
        None | Some(ArmResult { summary: None, .. }) => "not measured".into(),
        Some(_) if arm == 0 => "reference".into(),
        Some(_) => "too few windows".into(),
    }
}

impl VmTable {
    fn new(record: &Record) -> Option<Self> {
        let mut measured = BTreeSet::new();
        let mut values: BTreeMap<(&str, usize), BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
        for arm in 0..record.arms.len() {
            for (vm, of_vm) in record.counted(arm).flat_map(|w| &w.vms) {
                for (metric, &value) in of_vm {
                    measured.insert(metric.as_str());
                    values
                        .entry((vm, arm))
                        .or_default()
                        .entry(metric)
                        .or_default()
                        .push(value);
                }
            }
        }
        if values.is_empty() {
            return None;
        }
        // The record also has values of VMs that are not shown.
        let metrics: Vec<&Metric> = record
            .metrics
            .iter()
            .filter(|metric| measured.contains(metric.id.as_str()))
            .collect();
        let rows = values.into_iter().map(|((vm, arm), mut of_vm)| VmRow {
            vm: vm.into(),
            arm,
            medians: metrics
                .iter()
                .map(|metric| match of_vm.remove(metric.id.as_str()) {
                    Some(values) => format::number(median(values)),
                    None => NONE.into(),
                })
                .collect(),
        });
        Some(Self {
            rows: rows.collect(),
            columns: metrics.into_iter().map(format::with_unit).collect(),
        })
    }
}

/// Middle of the finite values, or of the middle two; NaN of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    statistics::summary(&values).map_or(f64::NAN, |s| s.median)
}

/// Notes, discarded windows and failed switches, in the order of time.
fn events(record: &Record) -> Vec<Event> {
    let arm = |i: usize| record.arms.get(i).map_or(NONE, |arm| &arm.name);
    let mut events: Vec<(f64, String)> = Vec::new();
    for note in &record.notes {
        events.push((note.at_s, note.text.clone()));
    }
    for switch in &record.switches {
        if let Some(why) = &switch.failed {
            let (arm, span) = (arm(switch.arm), format::span(switch.took_s));
            let text = format!("switch to {arm} failed after {span}: {why}");
            events.push((switch.at_s, text));
        }
    }
    for window in &record.windows {
        if let Some(why) = &window.discarded {
            let (arm, round) = (arm(window.arm), window.round + 1);
            let text = format!("window of {arm} in round {round} discarded: {why}");
            events.push((window.start_s, text));
        }
    }
    events.sort_by(|a, b| a.0.total_cmp(&b.0));
    events
        .into_iter()
        .map(|(at_s, text)| Event {
            at: format::clock(at_s),
            text,
        })
        .collect()
}

fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let about = &record.about;
    let settings = &record.settings;
    vec![
        ("Machine", about.machine.clone()),
        ("CPUs", about.cpus.to_string()),
        ("Memory", format::bytes(about.memory_bytes)),
        ("Kernel", about.kernel.clone()),
        ("scx_vmland", about.version.clone()),
        ("Started", about.started.clone()),
        ("Rounds", settings.rounds.to_string()),
        ("Window", format::span(settings.window_s)),
        ("Settling", format::span(settings.settle_s)),
        ("Seed", settings.seed.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_what_can_be_ordered() {
        assert_eq!(median(vec![3.0, 1.0, f64::NAN, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }
}
