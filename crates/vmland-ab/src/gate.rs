// SPDX-License-Identifier: GPL-2.0-only
//! Conditions that a comparison has to meet, for programs that act on it: `work>=1.0,p99<=1.1`.
//!
//! A condition bounds a metric's ratio to the reference, and is judged by the 95 % confidence
//! interval of that ratio:
//!
//! | interval | outcome |
//! | --- | --- |
//! | all of it within the bound | met |
//! | all of it beyond the bound | broken |
//! | on both sides | open: more or longer windows may tell |
//!
//! So chance alone seldom meets or breaks a gate. A gate that is to let pass what is as good as
//! the reference leaves room: `work>=0.97`, not `work>=1.0`.

use std::fmt;
use std::str::FromStr;

use vmland_base::suggest;

use crate::comparison::{ArmResult, Ratio};
use crate::record::{Metric, Record};
use crate::report::ratio_cells;

/// Conditions, all of which are to be met.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate(Vec<Condition>);

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    /// An id, or words of ids: `work` stands for `work_lock` and `work_tlb`.
    metric: String,
    bound: Bound,
    /// To the reference; above 0.
    ratio: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast,
    AtMost,
}

/// In the order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Met,
    Open,
    Broken,
}

/// What became of a condition, for one metric of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub arm: String,
    /// The metric's id, and the bound.
    pub condition: String,
    pub outcome: Outcome,
    /// None where nothing could be compared.
    pub ratio: Option<Ratio>,
}

impl Gate {
    /// Do all conditions name metrics that are compared?
    ///
    /// # Errors
    ///
    /// Which does not, and what it could name.
    pub fn check(&self, metrics: &[&Metric]) -> Result<(), String> {
        let compared = || metrics.iter().filter(|metric| !metric.of_vms_only);
        let ids = || compared().map(|metric| metric.id.as_str());
        for Condition { metric, .. } in &self.0 {
            if ids().any(|id| is_named(id, metric)) {
                continue;
            }
            let is_of_vms = metrics.iter().any(|it| it.of_vms_only && it.id == *metric);
            let why = match suggest::nearest(metric, ids()) {
                _ if is_of_vms => "schedulers are not compared by it".into(),
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("it could name {}", suggest::either(ids())),
            };
            return Err(format!("\"{metric}\" is no metric of the host: {why}"));
        }
        Ok(())
    }

    /// Judges every arm but the reference and those that are no schedulers. A comparison that was
    /// interrupted meets no condition: it was to go on.
    pub fn judge(&self, record: &Record, is_scheduler: impl Fn(&str) -> bool) -> Vec<Judgement> {
        let mut judgements = vec![];
        let arms = record.arms.iter().enumerate().skip(1);
        for (arm, about) in arms.filter(|(_, arm)| is_scheduler(&arm.name)) {
            for condition in &self.0 {
                let ids = named(record, &condition.metric);
                judgements.extend(ids.into_iter().map(|id| {
                    let ratio = ratio(record, id, arm);
                    let outcome = ratio.map_or(Outcome::Open, |ratio| condition.outcome(ratio));
                    Judgement {
                        arm: about.name.clone(),
                        condition: format!("{id}{}{}", condition.bound, condition.ratio),
                        outcome: match outcome {
                            Outcome::Met if record.interrupted => Outcome::Open,
                            outcome => outcome,
                        },
                        ratio,
                    }
                }));
            }
        }
        judgements
    }
}

/// The worst of all; open if nothing was judged.
pub fn outcome(judgements: &[Judgement]) -> Outcome {
    let outcomes = judgements.iter().map(|judgement| judgement.outcome);
    outcomes.max().unwrap_or(Outcome::Open)
}

/// The ids that a condition's word stands for: itself, if there is such an id. The word itself
/// where none was measured.
fn named<'a>(record: &'a Record, word: &'a str) -> Vec<&'a str> {
    let ids = || record.compared().map(|metric| metric.id.as_str());
    if ids().any(|id| id == word) {
        return vec![word];
    }
    let found: Vec<_> = ids().filter(|id| is_named(id, word)).collect();
    if found.is_empty() { vec![word] } else { found }
}

/// Is `word` the id, or some words of it? Words of an id are joined by underscores.
fn is_named(id: &str, word: &str) -> bool {
    format!("_{id}_").contains(&format!("_{word}_"))
}

/// Of an arm to the reference. Where both were always 0, they are alike.
fn ratio(record: &Record, id: &str, arm: usize) -> Option<Ratio> {
    let comparison = record.comparisons.iter().find(|it| it.metric == id)?;
    let arms = &comparison.arms;
    let result = arms.get(arm)?;
    let is_zero = |of: &ArmResult| of.summary.is_some_and(|it| it.min == 0.0 && it.max == 0.0);
    if is_zero(result) && arms.first().is_some_and(is_zero) {
        return Some(Ratio {
            estimate: 1.0,
            low: 1.0,
            high: 1.0,
        });
    }
    result.versus?.ratio
}

impl Condition {
    fn outcome(&self, Ratio { low, high, .. }: Ratio) -> Outcome {
        let is_within = |ratio| match self.bound {
            Bound::AtLeast => ratio >= self.ratio,
            Bound::AtMost => ratio <= self.ratio,
        };
        match (is_within(low), is_within(high)) {
            (true, true) => Outcome::Met,
            (false, false) => Outcome::Broken,
            _ => Outcome::Open,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
        })
    }
}

/// `scx_vmland, work_lock>=1: met, 1.23 [1.10..1.31]`.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Met => "met",
            Outcome::Open => "open",
            Outcome::Broken => "broken",
        };
        write!(f, "{}, {}: {outcome}, ", self.arm, self.condition)?;
        match self.ratio {
            Some(ratio) => {
                let (estimate, interval) = ratio_cells(Some(ratio));
                write!(f, "{estimate} {interval}")
            }
            None => f.write_str("not compared"),
        }
    }
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(condition)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn condition(text: &str) -> Result<Condition, String> {
    let text = text.trim();
    let split = |operator, bound| Some((text.split_once(operator)?, bound));
    let ((metric, ratio), bound) = split(">=", Bound::AtLeast)
        .or_else(|| split("<=", Bound::AtMost))
        .ok_or_else(|| {
            format!("\"{text}\": expected METRIC>=RATIO or METRIC<=RATIO, such as work>=0.97")
        })?;
    let (metric, ratio) = (metric.trim(), ratio.trim());
    if metric.is_empty() {
        return Err(format!(
            "\"{text}\": it needs a metric's name before {bound}"
        ));
    }
    match ratio.parse() {
        Ok(ratio) if f64::is_finite(ratio) && ratio > 0.0 => Ok(Condition {
            metric: metric.into(),
            bound,
            ratio,
        }),
        _ => Err(format!(
            "\"{text}\": expected a ratio to the reference, above 0, such as 0.97 for 3 % less"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::{Comparison, Summary, Verdict, Versus};
    use crate::record::{Arm, Better};

    fn metric(id: &str) -> Metric {
        Metric {
            id: id.into(),
            title: id.into(),
            unit: String::new(),
            better: Better::Higher,
            about: String::new(),
            of_vms_only: id == "cpu_share",
        }
    }

    /// Of an arm in which all values are `value`.
    fn result(value: f64, versus: Option<(f64, f64)>) -> ArmResult {
        let summary = Summary {
            windows: 8,
            median: value,
            q1: value,
            q3: value,
            min: value,
            max: value,
        };
        let versus = versus.map(|(low, high)| Versus {
            ratio: (high > 0.0).then_some(Ratio {
                estimate: f64::midpoint(low, high),
                low,
                high,
            }),
            p: 0.5,
            p_corrected: 1.0,
            verdict: Verdict::NoDifferenceShown,
            detectable: None,
        });
        ArmResult {
            summary: Some(summary),
            versus,
        }
    }

    /// Of two arms beside the reference: metrics, with the interval of each.
    fn record(metrics: &[(&str, [(f64, f64); 2])]) -> Record {
        let arm = |name: &str| Arm {
            name: name.into(),
            command: None,
        };
        let comparison = |(id, intervals): &(&str, [(f64, f64); 2])| Comparison {
            metric: (*id).into(),
            arms: [result(7.0, None)]
                .into_iter()
                .chain(intervals.map(|interval| result(7.0, Some(interval))))
                .collect(),
        };
        Record {
            arms: ["eevdf", "scx_vmland", "solo"].map(arm).into(),
            metrics: metrics.iter().map(|(id, _)| metric(id)).collect(),
            comparisons: metrics.iter().map(comparison).collect(),
            ..Record::default()
        }
    }

    fn judge(gate: &str, record: &Record) -> Vec<Judgement> {
        let gate: Gate = gate.parse().unwrap();
        gate.judge(record, |name| name != "solo")
    }

    fn outcomes(gate: &str, record: &Record) -> Vec<Outcome> {
        judge(gate, record).iter().map(|it| it.outcome).collect()
    }

    const SOLO: (f64, f64) = (0.1, 9.0);

    #[test]
    fn a_gate_is_judged_by_the_interval() {
        use Outcome::{Broken, Met, Open};
        let record = record(&[("work", [(1.0, 1.2), SOLO]), ("p99", [(0.9, 1.2), SOLO])]);
        for (gate, expected) in [
            ("work>=1", Met),
            ("work>=1.1", Open),
            ("work>=1.21", Broken),
            ("work<=1.2", Met),
            ("work<=1.1", Open),
            ("work<=0.99", Broken),
        ] {
            assert_eq!(outcomes(gate, &record), [expected], "{gate}");
        }
        let judged = judge("work >= 1.0 , p99<=1.1", &record);
        assert_eq!(outcome(&judged), Open);
        assert_eq!(
            judged[0].to_string(),
            "scx_vmland, work>=1: met, 1.10 [1.00..1.20]"
        );
        assert_eq!(outcome(&judge("p99<=1.1,work<=0.5", &record)), Broken);
    }

    #[test]
    fn words_of_ids_stand_for_all_of_them() {
        let intervals = [(1.1, 1.2), SOLO];
        let ids = ["work_lock", "work_tlb", "workload_time", "wakeup_p99"];
        let record = record(&ids.map(|id| (id, intervals)));
        let conditions = |gate| {
            let judged = judge(gate, &record).into_iter();
            judged.map(|it| it.condition).collect::<Vec<_>>()
        };
        assert_eq!(conditions("work>=1"), ["work_lock>=1", "work_tlb>=1"]);
        assert_eq!(conditions("work_tlb>=1"), ["work_tlb>=1"]);
        assert_eq!(conditions("p99<=1.1"), ["wakeup_p99<=1.1"]);
    }

    #[test]
    fn what_was_not_compared_is_open() {
        let mut all = record(&[("work", [(0.0, 0.0), SOLO])]);
        assert_eq!(outcomes("work>=0.5,exits<=2", &all), [Outcome::Open; 2]);
        let text = judge("exits<=2", &all)[0].to_string();
        assert_eq!(text, "scx_vmland, exits<=2: open, not compared");
        assert_eq!(outcome(&[]), Outcome::Open);

        // Nothing of it, with either.
        all.comparisons[0].arms[0] = result(0.0, None);
        all.comparisons[0].arms[1] = result(0.0, Some((0.0, 0.0)));
        assert_eq!(
            outcomes("work>=1,work<=0.9", &all),
            [Outcome::Met, Outcome::Broken]
        );
    }

    #[test]
    fn an_interrupted_comparison_meets_nothing() {
        let mut all = record(&[("work", [(1.1, 1.2), SOLO])]);
        all.interrupted = true;
        assert_eq!(
            outcomes("work>=1,work<=1", &all),
            [Outcome::Open, Outcome::Broken]
        );
    }

    #[test]
    fn names_are_checked() {
        let metrics = ["work_lock", "pause_exits", "cpu_share"].map(metric);
        let check = |gate: &str| gate.parse::<Gate>().unwrap().check(&metrics.each_ref());
        assert_eq!(check("work>=1,pause_exits<=0.5"), Ok(()));
        for (gate, expected) in [
            ("pause_exit<=1", "did you mean \"pause_exits\"?"),
            ("work>=1,x<=1", "\"x\" is no metric"),
            ("x<=1", "it could name \"work_lock\" or \"pause_exits\""),
            ("cpu_share<=1", "schedulers are not compared by it"),
        ] {
            let why = check(gate).unwrap_err();
            assert!(why.contains(expected), "{gate}: {why}");
        }
    }

    #[test]
    fn what_is_no_gate_says_what_to_do() {
        for (text, expected) in [
            ("", "expected METRIC>=RATIO"),
            ("work", "\"work\": expected METRIC>=RATIO or METRIC<=RATIO"),
            ("work>1", "expected METRIC>=RATIO"),
            ("work>=1,", "\"\": expected"),
            (">=1", "needs a metric's name"),
            ("work>=", "above 0, such as 0.97"),
            ("work>=10%", "a ratio"),
            ("work>=0", "above 0"),
            ("work>=-1", "above 0"),
            ("work<=inf", "above 0"),
            ("work>=NaN", "above 0"),
        ] {
            let why = text.parse::<Gate>().unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }
}
