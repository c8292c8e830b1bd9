// SPDX-License-Identifier: GPL-2.0-only
//! What its weight gives a VM.

/// A VM that competes with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Competitor {
    pub weight: u64,
    /// CPU time that it had or waited for, in ns.
    pub demand_ns: u64,
}

/// What each is given of `total_ns`: by weight, and what some do not demand goes to the others,
/// by weight again (weighted max-min fairness).
pub fn by_weight(total_ns: u64, all: &[Competitor]) -> Vec<u64> {
    let mut given = vec![0; all.len()];
    let mut left_ns = total_ns as f64;
    let mut left_weight: f64 = all.iter().map(|it| weight(*it)).sum();
    // Who demands least for its weight is satisfied first.
    let mut order: Vec<usize> = (0..all.len()).collect();
    let for_weight = |i: &usize| all[*i].demand_ns as f64 / weight(all[*i]);
    order.sort_by(|a, b| for_weight(a).total_cmp(&for_weight(b)));
    for i in order {
        let part = left_ns * weight(all[i]) / left_weight;
        let ns = part.min(all[i].demand_ns as f64);
        left_ns -= ns;
        left_weight -= weight(all[i]);
        given[i] = ns.round() as u64;
    }
    given
}

/// One that has not run yet has none.
fn weight(it: Competitor) -> f64 {
    it.weight.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given<const N: usize>(total_ns: u64, all: [(u64, u64); N]) -> Vec<u64> {
        by_weight(
            total_ns,
            &all.map(|(weight, demand_ns)| Competitor { weight, demand_ns }),
        )
    }

    #[test]
    fn by_weight_among_those_who_demand_more() {
        assert_eq!(given(200, [(100, 200), (100, 200)]), [100, 100]);
        assert_eq!(given(200, [(300, 200), (100, 200)]), [150, 50]);
        // One demands little, and the others get the rest.
        assert_eq!(
            given(300, [(100, 200), (100, 20), (300, 300)]),
            [70, 20, 210]
        );
    }

    #[test]
    fn nobody_is_given_more_than_it_demands() {
        assert_eq!(given(500, [(100, 100), (1, 200)]), [100, 200]);
        assert_eq!(given(0, [(100, 100)]), [0]);
        assert_eq!(given(10, [(0, 10), (0, 10)]), [5, 5]);
        assert!(given(10, []).is_empty());
    }
}
