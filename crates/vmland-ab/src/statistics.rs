// SPDX-License-Identifier: GPL-2.0-only
//! What the windows of a comparison tell, and what they cannot.
//!
//! Each arm is held against the reference, metric by metric:
//!
//! | question | answer |
//! | --- | --- |
//! | does the arm matter? | rank-sum test, two-sided, exact ([`rank_sum`]) |
//! | how much? | [`Ratio`], with an interval of 95 % that agrees with the test |
//! | is it luck, among so many tests? | [`holm`]'s correction over all that should go one way |
//! | could it have been seen? | [`Versus::detectable`], [`fewest_windows`] |
//!
//! Nothing here is random: the same windows give the same answer. The windows of
//! an arm are taken as alike, though the plan shuffles the arms within rounds: a
//! host that drifts from round to round makes the answers more careful, not less,
//! and a test within rounds could show nothing at all with five of them.

pub mod rank_sum;

use std::cmp::Ordering;

use crate::comparison::{ALPHA, ArmResult, Comparison, Ratio, Summary, Verdict, Versus};
use crate::record::{Better, Record};
use rank_sum::RankSum;

/// Compares all arms in all metrics of the record, in their order. Values that are
/// not finite count as missing.
pub fn compare(record: &Record) -> Vec<Comparison> {
    let samples: Vec<Vec<Vec<f64>>> = record
        .compared()
        .map(|metric| {
            let mut sample = |arm| {
                let mut values = record.values(arm, &metric.name);
                values.retain(|value| value.is_finite());
                values
            };
            (0..record.arms.len()).map(&mut sample).collect()
        })
        .collect();
    let tests: Vec<Vec<Option<RankSum>>> = samples.iter().map(|arms| against_first(arms)).collect();

    let mut goals = Family::default();
    let mut information = Family::default();
    for (metric, tests) in record.compared().zip(&tests) {
        let family = match metric.better {
            Better::Neither => &mut information,
            _ => &mut goals,
        };
        family.extend(tests.iter().flatten());
    }
    let mut goals = goals.correct();
    let mut information = information.correct();

    let mut comparisons = Vec::with_capacity(record.metrics.len());
    for ((metric, samples), tests) in record.compared().zip(samples).zip(tests) {
        let family = match metric.better {
            Better::Neither => &mut information,
            _ => &mut goals,
        };
        let arms = samples.iter().zip(tests).map(|(sample, test)| ArmResult {
            summary: summary(sample),
            versus: test.and_then(|test| {
                let p_corrected = if test.can_show() {
                    family.corrected.next()?
                } else {
                    1.0
                };
                let ratio = test.ratio(ALPHA);
                Some(Versus {
                    ratio,
                    p: test.p(),
                    p_corrected,
                    verdict: verdict(metric.better, p_corrected, test.direction(), ratio),
                    detectable: test.detectable(family.strictest),
                })
            }),
        });
        comparisons.push(Comparison {
            metric: metric.name.clone(),
            arms: arms.collect(),
        });
    }
    comparisons
}

/// Tests that are corrected together: those of all metrics that should go one
/// way, and those of all others, which are there for information and must not
/// take away from what can be shown.
#[derive(Default)]
struct Family(Vec<f64>);

struct Corrected {
    corrected: std::vec::IntoIter<f64>,
    /// What the least p-value is held against.
    strictest: f64,
}

impl Family {
    fn extend<'a>(&mut self, tests: impl Iterator<Item = &'a RankSum>) {
        self.0
            .extend(tests.filter(|t| t.can_show()).map(RankSum::p));
    }

    /// In the order in which the tests came.
    fn correct(self) -> Corrected {
        Corrected {
            strictest: ALPHA / self.0.len().max(1) as f64,
            corrected: holm(&self.0).into_iter(),
        }
    }
}

/// One for each arm: none for the first, and where there are too few values.
fn against_first(arms: &[Vec<f64>]) -> Vec<Option<RankSum>> {
    let against = |(index, arm): (usize, &Vec<f64>)| match index {
        0 => None,
        _ => RankSum::new(&arms[0], arm),
    };
    arms.iter().enumerate().map(against).collect()
}

fn verdict(better: Better, p: f64, direction: Ordering, ratio: Option<Ratio>) -> Verdict {
    let agrees = ratio.is_none_or(|ratio| match direction {
        Ordering::Less => ratio.high < 1.0,
        Ordering::Equal => false,
        Ordering::Greater => ratio.low > 1.0,
    });
    if p > ALPHA || !agrees {
        return Verdict::NoDifferenceShown;
    }
    match (better, direction) {
        (Better::Neither, _) => Verdict::Different,
        (Better::Higher, Ordering::Greater) | (Better::Lower, Ordering::Less) => Verdict::Better,
        _ => Verdict::Worse,
    }
}

/// None of no values. They must be finite.
pub fn summary(values: &[f64]) -> Option<Summary> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (&min, &max) = (sorted.first()?, sorted.last()?);
    let quantile = |q: f64| {
        let place = q * (sorted.len() - 1) as f64;
        let (below, above) = (
            sorted[place.floor() as usize],
            sorted[place.ceil() as usize],
        );
        below + place.fract() * (above - below)
    };
    Some(Summary {
        windows: sorted.len(),
        median: quantile(0.5),
        q1: quantile(0.25),
        q3: quantile(0.75),
        min,
        max,
    })
}

/// Holm's correction (1979): p-values, in the same order, that may each be held
/// against a level which the whole family is to keep.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![0.0; p.len()];
    let mut least = 0.0_f64;
    for (smaller, index) in order.into_iter().enumerate() {
        least = least.max(p[index] * (p.len() - smaller) as f64).min(1.0);
        corrected[index] = least;
    }
    corrected
}

/// The fewest windows an arm with which a run of so many tests, that is metrics by
/// arms other than the reference, can show a difference in any one of them: with
/// the arms completely separated, p is 2 over the number of splits.
pub fn fewest_windows(tests: usize) -> usize {
    let mut windows = 0;
    let mut splits = 1.0;
    while 2.0 / splits * tests.max(1) as f64 > ALPHA {
        windows += 1;
        splits *= 4.0 - 2.0 / windows as f64;
    }
    windows
}
