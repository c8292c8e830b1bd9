// SPDX-License-Identifier: GPL-2.0-only
//! What the tables of every report show, cell by cell.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{self, NONE};
use crate::comparison::{ArmResult, Summary, Verdict};
use crate::record::{Metric, Record};
use crate::statistics;

/// One arm's line in the table of a metric.
pub struct ResultRow<'a> {
    pub arm: &'a str,
    pub summary: Option<Summary>,
    pub median: String,
    pub quartiles: String,
    /// Of the windows that count.
    pub values: Vec<f64>,
    /// [`Ratio::estimate`](statistics::Ratio::estimate), to the reference.
    pub ratio: String,
    pub interval: String,
    /// Corrected.
    pub p: String,
    pub words: String,
    /// None where nothing was compared.
    pub verdict: Option<Verdict>,
}

/// A line for each arm.
pub fn results<'a>(record: &'a Record, metric: &Metric) -> Vec<ResultRow<'a>> {
    let comparison = record.comparisons.iter().find(|c| c.metric == metric.name);
    record
        .arms
        .iter()
        .enumerate()
        .map(|(i, arm)| {
            let result = comparison.and_then(|c| c.arms.get(i));
            let summary = result.and_then(|r| r.summary);
            let versus = result.and_then(|r| r.versus);
            let ratio = versus.and_then(|v| v.ratio);
            let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.into());
            ResultRow {
                arm: &arm.name,
                summary,
                median: or_none(summary.map(|s| words::number(s.median))),
                quartiles: or_none(summary.map(|s| words::range(s.q1, s.q3))),
                values: finite(record.values(i, &metric.name)),
                ratio: or_none(ratio.map(|r| words::number(r.estimate))),
                interval: or_none(ratio.map(|r| format!("[{}]", words::range(r.low, r.high)))),
                p: or_none(versus.map(|v| words::probability(v.p_corrected))),
                words: in_words(i, result),
                verdict: versus.map(|v| v.verdict),
            }
        })
        .collect()
}

fn in_words(arm: usize, result: Option<&ArmResult>) -> String {
    match result {
        Some(ArmResult {
            versus: Some(versus),
            ..
        }) => words::verdict(versus),
        None | Some(ArmResult { summary: None, .. }) => "not measured".into(),
        Some(_) if arm == 0 => "reference".into(),
        Some(_) => "too few windows".into(),
    }
}

/// Lowest and highest of all arms; none if there is no value.
pub fn extent(rows: &[ResultRow]) -> Option<(f64, f64)> {
    rows.iter()
        .flat_map(|row| &row.values)
        .fold(None, |extent, &v| match extent {
            None => Some((v, v)),
            Some((low, high)) => Some((v.min(low), v.max(high))),
        })
}

/// What each VM got from each arm.
pub struct VmTable<'a> {
    /// Names with units.
    pub columns: Vec<String>,
    pub rows: Vec<VmRow<'a>>,
}

pub struct VmRow<'a> {
    pub vm: &'a str,
    pub arm: &'a str,
    /// Median of the windows that count, in the order of the columns.
    pub medians: Vec<String>,
}

/// None where no VM was measured. A line for each VM and arm that met.
pub fn vms(record: &Record) -> Option<VmTable<'_>> {
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
    // Of what a VM has, the record may hold more than is to be shown.
    let columns: Vec<(&str, String)> = record
        .metrics
        .iter()
        .filter(|metric| measured.contains(metric.name.as_str()))
        .map(|metric| (metric.name.as_str(), words::with_unit(metric)))
        .collect();

    let rows = values
        .into_iter()
        .map(|((vm, arm), mut of_vm)| VmRow {
            vm,
            arm: &record.arms[arm].name,
            medians: columns
                .iter()
                .map(|(name, _)| match of_vm.remove(name) {
                    Some(values) => words::number(median(values)),
                    None => NONE.into(),
                })
                .collect(),
        })
        .collect();
    Some(VmTable {
        columns: columns.into_iter().map(|(_, shown)| shown).collect(),
        rows,
    })
}

/// Middle of some values, or of the middle two; NaN of none.
fn median(values: Vec<f64>) -> f64 {
    statistics::summary(&finite(values)).map_or(f64::NAN, |s| s.median)
}

fn finite(mut values: Vec<f64>) -> Vec<f64> {
    values.retain(|v| v.is_finite());
    values
}

/// Something that happened on the way.
pub struct Event {
    /// `1:05`, since the comparison began.
    pub at: String,
    pub text: String,
}

/// Notes, discarded windows and failed switches, in the order of time.
pub fn events(record: &Record) -> Vec<Event> {
    let arm = |i: usize| record.arms.get(i).map_or(NONE, |arm| &arm.name);
    let mut events: Vec<(f64, String)> = Vec::new();
    for note in &record.notes {
        events.push((note.at_s, note.text.clone()));
    }
    for switch in &record.switches {
        if let Some(why) = &switch.failed {
            let (arm, span) = (arm(switch.arm), words::span(switch.took_s));
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
            at: words::clock(at_s),
            text,
        })
        .collect()
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
