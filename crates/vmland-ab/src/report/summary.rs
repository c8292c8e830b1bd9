// SPDX-License-Identifier: GPL-2.0-only
//! A comparison in a few sentences.

use super::words::{count, list, span};
use crate::comparison::Verdict;
use crate::record::Record;

/// How the figures are to be read, for who does not know the words.
pub const HOW_TO_READ: &str = "\
Every scheduler had many short windows of time, in turn, and each window gives one value of each \
metric. The ratio tells what a scheduler multiplies the reference by: every window of the one is \
divided by every window of the other, and the ratio is the median of these quotients (Hodges and \
Lehmann’s estimate), which is seldom exactly the quotient of the two medians. Of a hundred \
comparisons like this one, about 95 have the true ratio within their 95 % interval. The p-value says how often \
chance alone would make a difference at least this large between schedulers that are alike; it \
is corrected for the number of comparisons shown (Holm’s method), so that one in many is not \
found just because there are many. “No difference shown” does not mean that there is none: a \
change smaller than the one given would probably have gone unnoticed, and a longer run may show \
it.";

/// `EEVDF and scx_vmland compared`.
pub fn title(record: &Record) -> String {
    if record.arms.is_empty() {
        return "Nothing compared".into();
    }
    format!("{} compared", list(&arm_names(record)))
}

/// What was compared, where, and for how long; then what came out, a sentence
/// for each arm but the reference.
pub fn sentences(record: &Record) -> Vec<String> {
    let mut sentences = vec![setting(record)];
    if record.interrupted {
        sentences.push("It was stopped before its last window.".into());
    }
    sentences.extend((1..record.arms.len()).map(|arm| outcome(record, arm)));
    sentences
}

fn arm_names(record: &Record) -> Vec<&str> {
    record.arms.iter().map(|arm| arm.name.as_str()).collect()
}

fn setting(record: &Record) -> String {
    let names = arm_names(record);
    let what = match names.as_slice() {
        [] => return "No scheduler took part.".into(),
        [only] => format!("{only} was measured"),
        [reference, others @ ..] => {
            let was = if others.len() == 1 { "was" } else { "were" };
            format!("{} {was} compared with {reference}", list(others))
        }
    };
    let about = &record.about;
    let settings = &record.settings;
    let discarded = record
        .windows
        .iter()
        .filter(|w| w.discarded.is_some())
        .count();
    let counted = record.windows.len() - discarded;
    format!(
        "{what} on {machine} ({cpus}, Linux {kernel}), in {rounds} of {window} a scheduler; {counted} \
         counted, {discarded} discarded.",
        machine = about.machine,
        cpus = count(about.cpus, "CPU"),
        kernel = about.kernel,
        rounds = count(settings.rounds, "round"),
        window = span(settings.window_s),
        counted = count(counted, "window"),
    )
}

/// Which metrics went which way.
fn outcome(record: &Record, arm: usize) -> String {
    let of = |wanted: Verdict| -> Vec<&str> {
        record
            .comparisons
            .iter()
            .filter(|c| {
                c.arms
                    .get(arm)
                    .and_then(|result| result.versus)
                    .is_some_and(|versus| versus.verdict == wanted)
            })
            .map(|c| c.metric.as_str())
            .collect()
    };
    let mut found: Vec<String> = [
        ("better", Verdict::Better),
        ("worse", Verdict::Worse),
        ("different", Verdict::Different),
    ]
    .into_iter()
    .filter_map(|(word, verdict)| {
        let metrics = of(verdict);
        (!metrics.is_empty()).then(|| format!("{word} in {}", list(&metrics)))
    })
    .collect();
    let alike = of(Verdict::NoDifferenceShown).len();
    if alike > 0 {
        let metrics = count(alike, "metric");
        found.push(format!("without a difference shown in {metrics}"));
    }
    let name = &record.arms[arm].name;
    if found.is_empty() {
        format!("{name} could not be compared: it has too few windows.")
    } else {
        format!("{name} was {}.", found.join("; "))
    }
}
