// SPDX-License-Identifier: GPL-2.0-only
//! A whole comparison as data: what was run, what was measured, what it tells.
//!
//! This is what `--export-json` writes, and what every other report is made of.
//! Times are in seconds since the comparison began unless a name says otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::comparison::Comparison;

/// One comparison, finished or interrupted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub about: About,
    pub settings: Settings,
    /// The schedulers; the first is the reference that the others are held against.
    pub arms: Vec<Arm>,
    /// In the order in which they are shown.
    pub metrics: Vec<Metric>,
    /// In the order of time, those that do not count among them.
    pub windows: Vec<Window>,
    pub switches: Vec<Switch>,
    /// What a reader should know: failures, warnings, what could not be measured.
    pub notes: Vec<Note>,
    /// It was stopped before its last window.
    pub interrupted: bool,
    /// One for each metric that is [`compared`](Record::compared), in their order.
    pub comparisons: Vec<Comparison>,
}

/// Where and how it was run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct About {
    /// The command line, word by word.
    pub command: Vec<String>,
    /// Of this program.
    pub version: String,
    /// As `uname -r` has it.
    pub kernel: String,
    /// The CPU's model name.
    pub machine: String,
    pub cpus: usize,
    pub memory_bytes: u64,
    /// RFC 3339, UTC.
    pub started: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    pub window_s: f64,
    /// After each switch, not counted.
    pub settle_s: f64,
    pub rounds: usize,
    pub seed: u64,
}

/// A scheduler that takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    pub name: String,
    /// What starts it, for a person to read; none for the stock scheduler.
    pub command: Option<String>,
}

/// Which way a metric should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    Higher,
    Lower,
    /// Shown for information: neither way is a success.
    Neither,
}

/// Something that each window has one value of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    /// Such as "1/s" or "CPUs".
    pub unit: String,
    pub better: Better,
    /// One sentence: what it is and where it comes from.
    pub about: String,
    /// VMs have it, the host has not; it is shown, but nothing is compared by it.
    #[serde(default)]
    pub of_vms_only: bool,
}

/// A span of time under one scheduler.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// From 0.
    pub round: usize,
    /// Index into [`Record::arms`].
    pub arm: usize,
    pub start_s: f64,
    pub end_s: f64,
    /// By name of the metric. One that could not be read is missing.
    pub values: BTreeMap<String, f64>,
    /// The same for each VM, by its name.
    pub vms: BTreeMap<String, BTreeMap<String, f64>>,
    /// Why it does not count.
    pub discarded: Option<String>,
}

/// An attempt to put an arm in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Switch {
    pub at_s: f64,
    /// Index into [`Record::arms`].
    pub arm: usize,
    /// From the command to its effect.
    pub took_s: f64,
    /// Why it did not work.
    pub failed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub at_s: f64,
    pub text: String,
}

impl Record {
    /// The windows that count, of one arm, in the order of time.
    pub fn counted(&self, arm: usize) -> impl Iterator<Item = &Window> {
        self.windows
            .iter()
            .filter(move |w| w.arm == arm && w.discarded.is_none())
    }

    /// What the arms are compared by.
    pub fn compared(&self) -> impl Iterator<Item = &Metric> {
        self.metrics.iter().filter(|metric| !metric.of_vms_only)
    }

    /// The values of a metric in the windows of an arm that count.
    pub fn values(&self, arm: usize, metric: &str) -> Vec<f64> {
        self.counted(arm)
            .filter_map(|w| w.values.get(metric).copied())
            .collect()
    }
}
