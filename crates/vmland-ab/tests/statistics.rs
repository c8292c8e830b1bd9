// SPDX-License-Identifier: GPL-2.0-only
//! The statistics of a comparison: answers that are known, promises that are kept
//! on thousands of simulated runs, and records that are odd.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use fastrand::Rng;
use proptest::prelude::*;
use vmland_ab::comparison::{ALPHA, Comparison, Verdict, Versus};
use vmland_ab::record::{Arm, Better, Metric, Record, Window};
use vmland_ab::statistics::rank_sum::RankSum;
use vmland_ab::statistics::{compare, fewest_windows, holm, summary};

/// What the values of a window are drawn from.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// By coefficient of variation; mean 1.
    Normal(f64),
    /// By coefficient of variation; median 1.
    LogNormal(f64),
    /// As guests that wait for locks: 3 of 10 windows are three times slower.
    Bimodal,
}

impl Load {
    fn value(self, rng: &mut Rng) -> f64 {
        match self {
            Load::Normal(cv) => (1.0 + cv * normal(rng)).max(1e-3),
            Load::LogNormal(cv) => ((1.0 + cv * cv).ln().sqrt() * normal(rng)).exp(),
            Load::Bimodal => {
                let fast = Load::LogNormal(0.1).value(rng);
                if rng.f64() < 0.7 { fast } else { fast / 3.0 }
            }
        }
    }

    fn values(self, windows: usize, rng: &mut Rng) -> Vec<f64> {
        (0..windows).map(|_| self.value(rng)).collect()
    }
}

/// By Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (TAU * rng.f64()).cos()
}

/// A record of these values, by metric, arm and window.
fn record(metrics: &[(Better, Vec<Vec<f64>>)]) -> Record {
    let arms = metrics.iter().map(|(_, arms)| arms.len()).max();
    let arms = 0..arms.unwrap_or(0);
    let name = |index: usize| format!("metric {index}");
    let mut record = Record::default();
    for (index, (better, samples)) in metrics.iter().enumerate() {
        record.metrics.push(Metric {
            name: name(index),
            unit: "1/s".into(),
            better: *better,
            about: String::new(),
            of_vms_only: false,
        });
        let rounds = samples.iter().map(Vec::len).max().unwrap_or(0);
        for (round, arm) in (0..rounds).flat_map(|round| arms.clone().map(move |a| (round, a))) {
            if let Some(&value) = samples.get(arm).and_then(|values| values.get(round)) {
                record.windows.push(Window {
                    round,
                    arm,
                    values: BTreeMap::from([(name(index), value)]),
                    ..Window::default()
                });
            }
        }
    }
    record.arms = arms
        .map(|arm| Arm {
            name: format!("arm {arm}"),
            command: None,
        })
        .collect();
    record
}

fn compare_two(better: Better, reference: Vec<f64>, arm: Vec<f64>) -> Versus {
    let record = record(&[(better, vec![reference, arm])]);
    compare(&record)[0].arms[1].versus.expect("enough windows")
}

fn rank_sum(reference: &[f64], arm: &[f64]) -> RankSum {
    RankSum::new(reference, arm).expect("enough windows")
}

fn verdicts(comparisons: &[Comparison]) -> impl Iterator<Item = Verdict> {
    let arms = comparisons.iter().flat_map(|comparison| &comparison.arms);
    arms.filter_map(|arm| Some(arm.versus?.verdict))
}

fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-9
}

// What is known.

#[test]
fn quartiles_are_of_type_7() {
    let of = |values: &[f64]| summary(values).map(|s| (s.windows, s.q1, s.median, s.q3));
    assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]), Some((4, 1.75, 2.5, 3.25)));
    assert_eq!(
        of(&[50.0, 10.0, 40.0, 20.0, 30.0]),
        Some((5, 20.0, 30.0, 40.0))
    );
    assert_eq!(of(&[7.0]), Some((1, 7.0, 7.0, 7.0)));
    assert_eq!(of(&[]), None);
    let ends = summary(&[3.0, -1.0, 2.0]).map(|s| (s.min, s.max));
    assert_eq!(ends, Some((-1.0, 3.0)));
}

#[test]
fn p_is_the_share_of_splits() {
    let low = [1.0, 2.0, 3.0, 4.0];
    // Of C(8, 4) = 70 splits the two that separate all.
    assert!(close(rank_sum(&low, &[5.0, 6.0, 7.0, 8.0]).p(), 2.0 / 70.0));
    // One pair in the wrong order: those two, and two with one such pair.
    let p = rank_sum(&[1.0, 2.0, 3.0, 5.0], &[4.0, 6.0, 7.0, 8.0]).p();
    assert!(close(p, 4.0 / 70.0));
    // Equal values: both 1s are in the same half in 2 * C(6, 2) splits.
    let p = rank_sum(&[0.0; 4], &[0.0, 0.0, 1.0, 1.0]).p();
    assert!(close(p, 30.0 / 70.0));
    // Unequal sizes: 2 of C(8, 2) = 28 are not significant, so no test is made.
    assert!(RankSum::new(&low[..2], &[5.0; 6]).is_none());
    // 2 of C(9, 2) = 36 are not either, 2 of C(9, 3) = 84 are.
    assert!(RankSum::new(&[1.0; 2], &[5.0; 7]).is_none());
    let p = rank_sum(&low[..3], &[5.0, 6.0, 7.0, 8.0, 9.0, 10.0]).p();
    assert!(close(p, 2.0 / 84.0));
}

#[test]
fn the_ratio_is_the_median_quotient_between_order_statistics() {
    // With four windows the interval holds all quotients: 16/8 to 128/1.
    let ratio = rank_sum(&[1.0, 2.0, 4.0, 8.0], &[16.0, 32.0, 64.0, 128.0]).ratio(ALPHA);
    let ratio = ratio.expect("positive values");
    assert!(close(ratio.estimate, 16.0));
    assert_eq!((ratio.low, ratio.high), (2.0, 128.0));
    // With five, two are left out at each end: of 2^1 (once), 2^2 (twice), ... 2^9.
    let powers = |from: i32| (from..from + 5).map(|e| 2_f64.powi(e)).collect::<Vec<_>>();
    let ratio = rank_sum(&powers(0), &powers(5)).ratio(ALPHA);
    let ratio = ratio.expect("positive values");
    assert!(close(ratio.estimate, 32.0));
    assert_eq!((ratio.low, ratio.high), (4.0, 256.0));
}

#[test]
fn holm_steps_down() {
    assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]);
    assert_eq!(holm(&[0.6, 0.9]), [1.0, 1.0]);
    assert_eq!(holm(&[0.04]), [0.04]);
    assert!(holm(&[]).is_empty());
}

#[test]
fn fewest_windows_are_just_enough() {
    // C(8, 4) = 70, C(10, 5) = 252, C(12, 6) = 924, C(14, 7) = 3432.
    let known = [
        (0, 4),
        (1, 4),
        (2, 5),
        (6, 5),
        (7, 6),
        (23, 6),
        (24, 7),
        (60, 7),
    ];
    for (tests, windows) in known {
        assert_eq!(fewest_windows(tests), windows, "{tests} tests");
    }
    for tests in [1, 2, 6, 7, 30] {
        let shown = |windows: u32| {
            let sample = |from: u32| (from..from + windows).map(f64::from).collect::<Vec<_>>();
            let metric = (Better::Higher, vec![sample(1), sample(1_001)]);
            let comparisons = compare(&record(&vec![metric; tests]));
            verdicts(&comparisons).any(|verdict| verdict == Verdict::Better)
        };
        let fewest = fewest_windows(tests) as u32;
        assert!(shown(fewest), "{tests} tests");
        assert!(!shown(fewest - 1), "{tests} tests");
    }
}

#[test]
fn verdicts_follow_what_is_better() {
    let low = vec![1.0, 2.0, 3.0, 4.0, 5.0];
    let high = scaled(&low, 10.0);
    let verdict = |better, reference: &Vec<f64>, arm: &Vec<f64>| {
        compare_two(better, reference.clone(), arm.clone()).verdict
    };
    assert_eq!(verdict(Better::Higher, &low, &high), Verdict::Better);
    assert_eq!(verdict(Better::Higher, &high, &low), Verdict::Worse);
    assert_eq!(verdict(Better::Lower, &low, &high), Verdict::Worse);
    assert_eq!(verdict(Better::Lower, &high, &low), Verdict::Better);
    assert_eq!(verdict(Better::Neither, &low, &high), Verdict::Different);
    assert_eq!(verdict(Better::Neither, &high, &low), Verdict::Different);
    let none = Verdict::NoDifferenceShown;
    assert_eq!(verdict(Better::Higher, &low, &low), none);
}

#[test]
fn no_verdict_where_the_interval_reaches_1() {
    // Significant, with the equal values taken into account; but three quotients are 2/2.
    let reference = vec![1.0, 1.0, 1.0, 1.0, 2.0];
    let versus = compare_two(Better::Higher, reference, vec![2.0, 2.0, 2.0, 3.0, 3.0]);
    assert!(close(versus.p, 8.0 / 252.0));
    assert_eq!(versus.ratio.expect("positive values").low, 1.0);
    assert_eq!(versus.verdict, Verdict::NoDifferenceShown);
}

#[test]
fn metrics_that_never_change_cost_the_others_nothing() {
    let low = vec![1.0, 2.0, 3.0, 4.0, 5.0];
    let differs = (Better::Higher, vec![low.clone(), scaled(&low, 10.0)]);
    let constant = (Better::Lower, vec![vec![0.0; 5]; 2]);
    let mut metrics = vec![constant; 20];
    metrics.insert(10, differs);
    let comparisons = compare(&record(&metrics));
    let versus = |metric: usize| comparisons[metric].arms[1].versus.expect("enough");
    assert_eq!(versus(10).verdict, Verdict::Better);
    assert_eq!(versus(10).p_corrected, versus(10).p);
    assert_eq!((versus(0).p, versus(0).p_corrected), (1.0, 1.0));
    assert_eq!(versus(20).verdict, Verdict::NoDifferenceShown);
}

#[test]
fn what_separation_cannot_show_is_not_detectable() {
    let mut rng = Rng::with_seed(1);
    let mut detectable = |windows: usize, tests: usize| {
        let mut sample = || Load::Normal(0.1).values(windows, &mut rng);
        let metrics: Vec<_> = (0..tests)
            .map(|_| (Better::Higher, vec![sample(), sample()]))
            .collect();
        let comparisons = compare(&record(&metrics));
        comparisons[0].arms[1].versus.expect("enough").detectable
    };
    assert!(detectable(5, 6).is_some_and(|ratio| ratio > 1.0));
    assert_eq!(detectable(5, 7), None);
    assert!(detectable(6, 7).is_some_and(|ratio| ratio > 1.0));
}

// What is promised. The generator is seeded, so these pass or fail for good.

/// How often the interval covers, of `runs` in which the arm is 1.3 times the reference.
fn coverage(runs: usize, windows: usize, reference: Load, arm: Load) -> f64 {
    let mut rng = Rng::with_seed(42);
    let covered = (0..runs).filter(|_| {
        let reference = reference.values(windows, &mut rng);
        let arm = scaled(&arm.values(windows, &mut rng), 1.3);
        let ratio = rank_sum(&reference, &arm).ratio(ALPHA);
        let ratio = ratio.expect("positive values");
        ratio.low <= 1.3 && 1.3 <= ratio.high
    });
    covered.count() as f64 / runs as f64
}

#[test]
fn intervals_cover_as_often_as_they_claim() {
    let loads = [
        Load::Normal(0.05),
        Load::Normal(0.3),
        Load::LogNormal(0.15),
        Load::LogNormal(0.3),
        Load::Bimodal,
    ];
    for (windows, runs) in [(5, 10_000), (8, 5_000), (16, 2_000)] {
        let mut sum = 0.0;
        for load in loads {
            let coverage = coverage(runs, windows, load, load);
            // Half a percent more, for the simulation's own error.
            assert!(
                (0.925..=0.975).contains(&coverage),
                "{load:?}, {windows} windows: {coverage}"
            );
            sum += coverage;
        }
        let mean = sum / loads.len() as f64;
        assert!((0.93..=0.97).contains(&mean), "{windows} windows: {mean}");
    }
}

/// What the documentation admits, at its worst.
#[test]
fn intervals_cover_nearly_as_often_where_one_arm_is_less_steady() {
    let coverage = coverage(5_000, 8, Load::LogNormal(0.3), Load::LogNormal(0.05));
    assert!((0.9..0.94).contains(&coverage), "{coverage}");
}

#[test]
fn equal_arms_rarely_raise_a_false_alarm() {
    let mut rng = Rng::with_seed(3);
    let mut loads = vec![Load::Bimodal; 2];
    loads.extend([0.05, 0.1, 0.2, 0.3].map(Load::Normal));
    loads.extend([0.05, 0.1, 0.2, 0.3].map(Load::LogNormal));
    let runs = 1_000;
    let alarms = (0..runs).filter(|_| {
        let metric = |load: &Load| {
            let arms = (0..3).map(|_| load.values(8, &mut rng)).collect();
            (Better::Higher, arms)
        };
        let metrics: Vec<_> = loads.iter().map(metric).collect();
        verdicts(&compare(&record(&metrics))).any(|v| v != Verdict::NoDifferenceShown)
    });
    let rate = alarms.count() as f64 / f64::from(runs);
    // Not much rarer either, or nothing would ever be shown.
    assert!((0.01..=0.05).contains(&rate), "{rate}");
}

#[test]
fn a_tenth_is_shown_with_eight_windows() {
    let mut rng = Rng::with_seed(4);
    let load = Load::Normal(0.05);
    let shown = (0..1_000).filter(|_| {
        let reference = load.values(8, &mut rng);
        let arm = scaled(&load.values(8, &mut rng), 1.1);
        compare_two(Better::Higher, reference, arm).verdict == Verdict::Better
    });
    let power = shown.count() as f64 / 1_000.0;
    assert!(power >= 0.8, "{power}");
}

/// Its typical logarithm is within a quarter of the one that has the power of 80 %.
#[test]
fn detectable_is_about_right() {
    let cases = [
        (5, 1, Load::Normal(0.05)),
        (5, 6, Load::LogNormal(0.3)),
        (8, 1, Load::LogNormal(0.15)),
        (8, 10, Load::Normal(0.05)),
        (16, 10, Load::LogNormal(0.3)),
        (16, 60, Load::Normal(0.3)),
    ];
    for (windows, tests, load) in cases {
        let level = ALPHA / f64::from(tests);
        let mut rng = Rng::with_seed(5);
        let mut run = |ratio: f64| {
            let reference = load.values(windows, &mut rng);
            rank_sum(&reference, &scaled(&load.values(windows, &mut rng), ratio))
        };
        let mut typical: Vec<f64> = (0..501)
            .map(|_| run(1.0).detectable(level).expect("enough windows"))
            .collect();
        typical.sort_by(f64::total_cmp);
        let log = typical[250].ln();
        let mut power = |log: f64| {
            let shown = (0..500).filter(|_| run(log.exp()).p() <= level);
            shown.count() as f64 / 500.0
        };
        let (less, more) = (power(log / 1.25), power(log / 0.75));
        assert!(
            less < 0.8 && more > 0.8,
            "{load:?}, {windows} windows, {tests} tests: {less}, {more}"
        );
    }
}

#[test]
fn a_large_comparison_is_quick() {
    let mut rng = Rng::with_seed(6);
    let mut metric = || {
        let arms = (0..3).map(|_| Load::Bimodal.values(20, &mut rng)).collect();
        (Better::Higher, arms)
    };
    let record = record(&(0..30).map(|_| metric()).collect::<Vec<_>>());
    let start = Instant::now();
    let comparisons = compare(&record);
    assert_eq!(verdicts(&comparisons).count(), 60);
    // Unoptimized and on a busy machine; optimized it takes a hundredth of a second.
    let most = if cfg!(debug_assertions) { 10 } else { 1 };
    assert!(start.elapsed() < Duration::from_secs(most));
    assert_eq!(compare(&record), comparisons);
}

// What is odd.

#[test]
fn empty_records_have_no_answers() {
    assert!(compare(&Record::default()).is_empty());
    let mut no_windows = record(&[(Better::Higher, vec![vec![], vec![]])]);
    let comparisons = compare(&no_windows);
    assert_eq!(comparisons[0].arms.len(), 2);
    assert!(
        comparisons[0]
            .arms
            .iter()
            .all(|arm| arm.summary.is_none() && arm.versus.is_none())
    );
    no_windows.arms.clear();
    assert!(compare(&no_windows)[0].arms.is_empty());
}

#[test]
fn few_windows_have_a_summary_but_no_verdict() {
    for windows in [1, 3] {
        let sample = |from: f64| (0..windows).map(|i| from + f64::from(i)).collect();
        let comparisons = compare(&record(&[(Better::Higher, vec![sample(1.0), sample(9.0)])]));
        let arm = &comparisons[0].arms[1];
        assert_eq!(arm.summary.expect("a value").min, 9.0);
        assert_eq!(arm.versus, None);
    }
}

#[test]
fn missing_and_discarded_values_do_not_count() {
    let nan = f64::NAN;
    let reference = vec![1.0, nan, 2.0, 3.0, 4.0, f64::INFINITY];
    let mut record = record(&[(
        Better::Higher,
        vec![reference, vec![6.0, 5.0, 8.0, 7.0, 1.0]],
    )]);
    let last = record.windows.iter_mut().rfind(|window| window.arm == 1);
    last.expect("a window").discarded = Some("the host was asleep".into());
    let arms = &compare(&record)[0].arms;
    assert_eq!(arms[0].summary.expect("values").windows, 4);
    assert_eq!(arms[1].summary.expect("values").windows, 4);
    assert!(close(arms[1].versus.expect("enough").p, 2.0 / 70.0));
}

#[test]
fn the_reference_alone_is_compared_with_nobody() {
    let comparisons = compare(&record(&[(Better::Lower, vec![vec![1.0; 5]])]));
    assert_eq!(comparisons[0].arms.len(), 1);
    assert_eq!(comparisons[0].arms[0].versus, None);
}

#[test]
fn where_the_reference_is_zero_the_test_decides() {
    let some = vec![1.0, 2.0, 3.0, 4.0, 5.0];
    let versus = compare_two(Better::Lower, vec![0.0; 5], some.clone());
    assert_eq!((versus.ratio, versus.detectable), (None, None));
    assert_eq!(versus.verdict, Verdict::Worse);
    let versus = compare_two(Better::Lower, some, vec![0.0; 5]);
    assert_eq!((versus.ratio, versus.verdict), (None, Verdict::Better));
}

#[test]
fn a_single_zero_hides_no_ratio() {
    let some: Vec<f64> = (10..18).map(f64::from).collect();
    let mut with_zero = scaled(&some, 2.0);
    with_zero[0] = -0.0;
    let above = compare_two(Better::Higher, some.clone(), with_zero.clone());
    let below = compare_two(Better::Higher, with_zero, some);
    let (above, below) = (above.ratio.expect("a ratio"), below.ratio.expect("a ratio"));
    assert!((1.9..2.2).contains(&above.estimate));
    assert!(close(above.estimate, 1.0 / below.estimate));
}

#[test]
fn zeros_in_both_arms_widen_the_interval() {
    let mut reference: Vec<f64> = (10..18).map(f64::from).collect();
    let arm_without = scaled(&reference, 2.0);
    let without = rank_sum(&reference, &arm_without)
        .ratio(ALPHA)
        .expect("a ratio");
    let mut arm = arm_without;
    (reference[7], arm[7]) = (0.0, 0.0);
    let with = rank_sum(&reference, &arm).ratio(ALPHA).expect("a ratio");
    assert!(with.low <= without.low && with.high >= without.high);
}

#[test]
fn negative_values_have_no_ratio() {
    let values = vec![-2.0, -1.0, 1.0, 2.0, 3.0];
    let more: Vec<f64> = values.iter().map(|value| value + 10.0).collect();
    let versus = compare_two(Better::Higher, values, more);
    assert_eq!(versus.ratio, None);
    assert_eq!(versus.verdict, Verdict::Better);
}

#[test]
fn results_survive_json() {
    let mut rng = Rng::with_seed(8);
    let mut sample = || Load::Bimodal.values(6, &mut rng);
    let zeros = vec![0.0; 6];
    let metrics = [
        (Better::Higher, vec![sample(), sample()]),
        (Better::Lower, vec![zeros.clone(), sample()]),
        (Better::Neither, vec![zeros.clone(), zeros]),
    ];
    let comparisons = compare(&record(&metrics));
    let text = serde_json::to_string(&comparisons).expect("plain data");
    // An infinity or a NaN would be written as null, and not be read.
    let read: Vec<Comparison> = serde_json::from_str(&text).expect("our own text");
    assert!(verdicts(&read).eq(verdicts(&comparisons)));
}

// What holds for all values.

/// Small integers, so that some are equal, and no two are nearly so.
fn sample(windows: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((1..60_u32).prop_map(f64::from), windows)
}

/// p by its definition: all splits, one after the other.
fn p_of_all_splits(reference: &[f64], arm: &[f64]) -> f64 {
    let values = [reference, arm].concat();
    let twice_rank = |v: &f64| {
        let below = values.iter().filter(|other| *other < v).count();
        let equal = values.iter().filter(|other| *other == v).count();
        2 * below + equal + 1
    };
    let ranks: Vec<usize> = values.iter().map(twice_rank).collect();
    let expected = arm.len() * (values.len() + 1);
    let distance = |split: u32| {
        let of_arm = (0..ranks.len()).filter(|i| split >> i & 1 == 1);
        of_arm.map(|i| ranks[i]).sum::<usize>().abs_diff(expected)
    };
    let seen = distance(((1 << arm.len()) - 1) << reference.len());
    let splits = (0..1_u32 << values.len()).filter(|s| s.count_ones() as usize == arm.len());
    let (all, far) = splits.fold((0, 0), |(all, far), split| {
        (all + 1, far + u32::from(distance(split) >= seen))
    });
    f64::from(far) / f64::from(all)
}

proptest! {
    #[test]
    fn p_is_what_all_splits_say(a in sample(3..6), b in sample(5..7)) {
        if let Some(test) = RankSum::new(&a, &b) {
            prop_assert!(close(test.p(), p_of_all_splits(&a, &b)));
        } else {
            prop_assert!(a.len() * b.len() < 18, "{} and {}", a.len(), b.len());
        }
    }

    #[test]
    fn p_is_a_probability(a in sample(4..20), b in sample(4..30)) {
        let versus = compare_two(Better::Higher, a, b);
        prop_assert!(versus.p > 0.0 && versus.p <= versus.p_corrected);
        prop_assert!(versus.p_corrected <= 1.0);
    }

    #[test]
    fn units_do_not_matter(a in sample(4..12), b in sample(4..12), factor in 1e-6..1e6_f64) {
        let plain = compare_two(Better::Lower, a.clone(), b.clone());
        let other = compare_two(Better::Lower, scaled(&a, factor), scaled(&b, factor));
        prop_assert_eq!(plain.p, other.p);
        prop_assert!(close(plain.ratio.unwrap().estimate, other.ratio.unwrap().estimate));
        prop_assert!(close(plain.detectable.unwrap(), other.detectable.unwrap()));
    }

    #[test]
    fn the_ratio_follows_the_arm(a in sample(4..12), b in sample(4..12), factor in 0.1..10_f64) {
        let ratio = |a: &[f64], b: &[f64]| rank_sum(a, b).ratio(ALPHA).unwrap();
        let (plain, more) = (ratio(&a, &b), ratio(&a, &scaled(&b, factor)));
        prop_assert!(close(more.estimate, plain.estimate * factor));
        prop_assert!(close(more.low, plain.low * factor));
        prop_assert!(close(more.high, plain.high * factor));
    }

    #[test]
    fn arms_may_change_places(a in sample(4..12), b in sample(4..12)) {
        let there = compare_two(Better::Higher, a.clone(), b.clone());
        let back = compare_two(Better::Lower, b, a);
        prop_assert!(close(there.p, back.p));
        prop_assert_eq!(there.verdict, back.verdict);
        let (there, back) = (there.ratio.unwrap(), back.ratio.unwrap());
        prop_assert!(close(there.estimate * back.estimate, 1.0));
        prop_assert!(close(there.low * back.high, 1.0));
        prop_assert!(close(there.high * back.low, 1.0));
    }

    /// Without equal values the two say the same.
    #[test]
    fn the_interval_agrees_with_the_test(
        values in Just((1..31).map(f64::from).collect::<Vec<_>>()).prop_shuffle(),
        windows in 4..16_usize,
    ) {
        let test = rank_sum(&values[..windows], &values[windows..2 * windows]);
        let ratio = test.ratio(ALPHA).unwrap();
        prop_assert!(ratio.low <= ratio.estimate && ratio.estimate <= ratio.high);
        prop_assert_eq!(test.p() <= ALPHA, ratio.low > 1.0 || ratio.high < 1.0);
    }

    #[test]
    fn holm_neither_lowers_nor_reorders(p in prop::collection::vec(1e-6..1_f64, 0..20)) {
        let corrected = holm(&p);
        for (i, j) in (0..p.len()).flat_map(|i| (0..p.len()).map(move |j| (i, j))) {
            prop_assert!(corrected[i] >= p[i] && corrected[i] <= 1.0);
            prop_assert!(p[i] > p[j] || corrected[i] <= corrected[j]);
        }
    }
}
