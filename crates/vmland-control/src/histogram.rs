// SPDX-License-Identifier: GPL-2.0-only
//! Histograms of waits, in the buckets of `bpf/waits/waits.bpf.h`: four for each power of two from
//! about 1 us up, and four up to there. The last has no upper bound.

use std::collections::BTreeMap;
use std::ops::Range;

use scx_stats_derive::{Stats, stat_doc};
use serde::{Deserialize, Serialize};

/// The first buckets are `1 << SHIFT` ns wide.
pub const SHIFT: u32 = 8;
/// There are `1 << BITS` of one width.
pub const BITS: u32 = 2;
pub const BUCKETS: u32 = 109;

/// What a bucket takes, in ns. Of the last, and of what is beyond, the end means nothing.
pub fn range_ns(bucket: u32) -> Range<u64> {
    let start = |bucket: u32| {
        let above = (bucket >> BITS).saturating_sub(1);
        u64::from(bucket - (above << BITS)) << above << SHIFT
    };
    let bucket = bucket.min(BUCKETS - 1);
    start(bucket)..start(bucket + 1)
}

/// How long something took, each time.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Stats)]
pub struct Histogram {
    #[stat(desc = "Sum (ns)")]
    pub sum_ns: u64,
    #[stat(desc = "How often, by bucket: four for each power of two (vmland-control, range_ns())")]
    pub buckets: BTreeMap<u32, u64>,
}

impl Histogram {
    /// `counts`: of the buckets, from the first up.
    pub fn new(sum_ns: u64, counts: &[u64]) -> Self {
        let buckets = (0..).zip(counts.iter().copied());
        Self {
            sum_ns,
            buckets: buckets.filter(|(_, count)| *count > 0).collect(),
        }
    }

    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// What was added since `before`, a state of the same histogram.
    pub fn since(&self, before: &Self) -> Self {
        let was = |bucket: &u32| before.buckets.get(bucket).copied().unwrap_or(0);
        let grown = |(bucket, now): (&u32, &u64)| {
            let grown = now.saturating_sub(was(bucket));
            (grown > 0).then_some((*bucket, grown))
        };
        Self {
            sum_ns: self.sum_ns.saturating_sub(before.sum_ns),
            buckets: self.buckets.iter().filter_map(grown).collect(),
        }
    }

    pub fn plus(mut self, other: &Self) -> Self {
        self.sum_ns += other.sum_ns;
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self
    }

    /// A part `q` of all took at most this long, in ns; within a bucket, as if they were spread
    /// evenly. It is wrong by a quarter at most, above 1 us. None if there was nothing.
    pub fn quantile_ns(&self, q: f64) -> Option<f64> {
        let rank = (q.clamp(0.0, 1.0) * self.count() as f64).max(1.0);
        let mut below = 0.0;
        for (bucket, count) in &self.buckets {
            let count = *count as f64;
            if below + count >= rank {
                let Range { start, end } = range_ns(*bucket);
                let part = (rank - below) / count;
                return Some(start as f64 + (end - start) as f64 * part);
            }
            below += count;
        }
        None
    }

    /// How many took less than each of these bounds and not less than the one before, and how many
    /// no less than the last. The bounds are those of buckets, rising.
    pub fn between(&self, bounds_ns: &[u64]) -> Vec<u64> {
        let mut counts = vec![0; bounds_ns.len() + 1];
        for (bucket, count) in &self.buckets {
            let start = range_ns(*bucket).start;
            counts[bounds_ns.partition_point(|bound| *bound <= start)] += count;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(waits_ns: &[u64]) -> Histogram {
        let bucket = |ns| (0..BUCKETS).rfind(|it| range_ns(*it).start <= ns);
        let mut counts = [0; BUCKETS as usize];
        for ns in waits_ns {
            counts[bucket(*ns).expect("the first begins at 0") as usize] += 1;
        }
        Histogram::new(waits_ns.iter().sum(), &counts)
    }

    #[test]
    fn buckets_follow_each_other() {
        assert_eq!(range_ns(0), 0..256);
        assert_eq!(range_ns(3), 768..1_024);
        assert_eq!(range_ns(4), 1_024..1_280);
        assert_eq!(range_ns(8), 2_048..2_560);
        assert_eq!(range_ns(BUCKETS - 1).start, 1 << 36);
        for bucket in 1..BUCKETS {
            let (before, this) = (range_ns(bucket - 1), range_ns(bucket));
            assert_eq!(before.end, this.start);
            // A quarter, but below 1 us.
            assert!(this.start < 1_024 || this.end - this.start <= this.start / 4);
        }
        assert_eq!(range_ns(u32::MAX), range_ns(BUCKETS - 1));
    }

    #[test]
    fn an_empty_one_has_no_quantile() {
        assert_eq!(Histogram::default().quantile_ns(0.99), None);
        assert_eq!(Histogram::default().between(&[1_024]), [0, 0]);
    }

    #[test]
    fn what_was_added() {
        let before = of(&[100, 5_000]);
        let after = of(&[100, 5_000, 5_000, 9_000]);
        let added = after.since(&before);
        assert_eq!((added.sum_ns, added.count()), (14_000, 2));
        assert_eq!(before.plus(&added), after);
        assert_eq!(after.since(&after), Histogram::default());
    }

    #[test]
    fn coarser() {
        let waits = of(&[0, 1_023, 1_024, 4_095, 4_096, 1 << 40]);
        assert_eq!(waits.between(&[1_024, 4_096]), [2, 2, 2]);
    }

    proptest! {
        /// The quantile of what was counted, and that of the waits themselves.
        #[test]
        fn a_quantile_is_right_within_a_bucket(
            mut waits in prop::collection::vec(0_u64..1 << 36, 1..300),
            percent in 1_u32..=100,
        ) {
            waits.sort_unstable();
            let rank = (f64::from(percent) / 100.0 * waits.len() as f64).max(1.0);
            let exact = waits[rank.ceil() as usize - 1] as f64;
            let found = of(&waits).quantile_ns(f64::from(percent) / 100.0).expect("there are some");
            prop_assert!((found - exact).abs() <= (exact / 4.0).max(256.0), "{found}, not {exact}");
        }
    }
}
