// SPDX-License-Identifier: GPL-2.0-only
//! The order of the windows.
//!
//! Williams' design (E. J. Williams, *Experimental designs balanced for the
//! estimation of residual effects of treatments*, 1949): every arm has every
//! place in a round equally often, and follows every other arm equally often, so
//! that neither a drift of the host nor the after-effects of another arm favour
//! any arm. For two arms that is ABBA. The balance is complete after as many
//! rounds as there are arms, or twice as many where their number is odd.

use fastrand::Rng;

/// For each round, the arms (from 0) in their order. The same seed gives the same plan.
pub fn plan(arms: usize, rounds: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut rng = Rng::with_seed(seed);
    let mut rows = design(arms);
    let mut plan = Vec::with_capacity(rounds);
    while plan.len() < rounds {
        rng.shuffle(&mut rows);
        plan.extend(rows.iter().take(rounds - plan.len()).cloned());
    }
    plan
}

/// The rounds after which all is balanced.
fn design(arms: usize) -> Vec<Vec<usize>> {
    // 0, 1, n-1, 2, n-2 ...: the steps between neighbours are all different.
    let first: Vec<usize> = (0..arms)
        .map(|place| {
            if place % 2 == 1 {
                place.div_ceil(2)
            } else {
                (arms - place / 2) % arms
            }
        })
        .collect();
    let mut rows: Vec<Vec<usize>> = (0..arms.max(1))
        .map(|shift| first.iter().map(|arm| (arm + shift) % arms).collect())
        .collect();
    if arms % 2 == 1 && arms > 1 {
        let mirrored: Vec<_> = rows
            .iter()
            .map(|row| row.iter().rev().copied().collect())
            .collect();
        rows.extend::<Vec<Vec<usize>>>(mirrored);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn two_arms_are_counterbalanced() {
        for seed in 0..20 {
            for pair in plan(2, 8, seed).chunks(2) {
                assert!(
                    pair == [[0, 1], [1, 0]] || pair == [[1, 0], [0, 1]],
                    "{pair:?}"
                );
            }
        }
    }

    #[test]
    fn every_arm_has_every_place_and_follows_every_other_equally_often() {
        for arms in 2..=7 {
            let rounds = if arms % 2 == 0 { arms } else { 2 * arms };
            let mut places = HashMap::new();
            let mut pairs = HashMap::new();
            for row in plan(arms, rounds, 7) {
                for (place, &arm) in row.iter().enumerate() {
                    *places.entry((arm, place)).or_insert(0) += 1;
                }
                for pair in row.windows(2) {
                    *pairs.entry((pair[0], pair[1])).or_insert(0) += 1;
                }
            }
            assert_eq!(places.len(), arms * arms);
            assert_eq!(pairs.len(), arms * (arms - 1));
            assert!(places.values().all(|&n| n == rounds / arms), "{places:?}");
            assert!(pairs.values().all(|&n| n == rounds / arms), "{pairs:?}");
        }
    }

    #[test]
    fn any_number_of_rounds_and_the_seed_decides() {
        assert_eq!(plan(3, 4, 1), plan(3, 4, 1));
        assert!((0..20).any(|seed| plan(3, 4, seed) != plan(3, 4, 1)));
        assert_eq!(plan(2, 5, 3).len(), 5);
        assert_eq!(plan(1, 2, 0), [[0], [0]]);
        assert!(plan(2, 0, 0).is_empty());
    }
}
