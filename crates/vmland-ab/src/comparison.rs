// SPDX-License-Identifier: GPL-2.0-only
//! What a comparison of schedulers has found, as data.

use serde::{Deserialize, Serialize};

/// How often a run may claim a difference where there is none, in any of its
/// tests; and how often an interval may miss.
pub const ALPHA: f64 = 0.05;

/// One metric, all arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub metric: String,
    /// In the order of the record's arms.
    pub arms: Vec<ArmResult>,
}

/// One metric, one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmResult {
    /// None if no window of the arm has a value.
    pub summary: Option<Summary>,
    /// Against the reference; none for the reference itself, and where the two have so few values that
    /// no outcome could be significant (fewer than four each).
    pub versus: Option<Versus>,
}

/// The values of an arm, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many have a value.
    pub windows: usize,
    pub median: f64,
    /// First quartile, of type 7 of Hyndman and Fan (1996): linear between the values, of which the
    /// first is the 0 % and the last the 100 % quantile.
    pub q1: f64,
    /// Third quartile, alike.
    pub q3: f64,
    pub min: f64,
    pub max: f64,
}

/// An arm against the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versus {
    /// None where a value is negative, and where zeros make an end of the interval 0 or infinite: so
    /// always if half of either's values are 0.
    pub ratio: Option<Ratio>,
    /// Of the rank-sum test, two-sided; within (0, 1].
    pub p: f64,
    /// The same after Holm's correction over all arms and all metrics of the run that should go one way; or,
    /// for the others, over those. 1 where no outcome could be significant, as for a metric that is always 0;
    /// such a test does not count for the correction of the others.
    pub p_corrected: f64,
    pub verdict: Verdict,
    /// The smallest change that this run would have shown with a probability of 80 %, either way, as a
    /// ratio of 1 or more. It is held against the strictest level of the correction. None where the ratio
    /// is none, and where not even complete separation would have reached that level.
    pub detectable: Option<f64>,
}

/// What the arm multiplies the reference by: the median of all quotients of one of its values and one of
/// the reference's (Hodges and Lehmann), not the quotient of the medians; [`rank_sum`](crate::statistics::rank_sum) says why. The two
/// are close where the arms differ by a factor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Above 0.
    pub estimate: f64,
    /// Lower end of the 95 % confidence interval, not corrected for the number of tests; above 0.
    pub low: f64,
    /// Its upper end; finite.
    pub high: f64,
}

/// What may be claimed: a difference that is significant at 5 % after correction, and whose ratio, if it
/// has one, excludes 1 on the same side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Better,
    Worse,
    /// A difference was shown, in a metric where neither way is better.
    Different,
    /// None was shown, which does not mean that there is none.
    NoDifferenceShown,
}
