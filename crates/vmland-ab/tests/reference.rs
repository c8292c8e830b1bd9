// SPDX-License-Identifier: GPL-2.0-only
//! The statistics of a comparison against those of R.
//!
//! `tests/fixtures/reference.json` holds samples and what R computed
//! from them; `reference.R` beside it wrote the file and says which function of R
//! stands for which of ours.

use serde::Deserialize;
use vmland_ab::comparison::ALPHA;
use vmland_ab::statistics::rank_sum::RankSum;
use vmland_ab::statistics::{holm, summary};

/// R adds up and takes logarithms in another order.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
    holm: Vec<Holm>,
    quartiles: Vec<Quartiles>,
}

#[derive(Deserialize)]
struct Case {
    kind: String,
    reference: Vec<f64>,
    arm: Vec<f64>,
    /// The least p that samples of these sizes can have.
    least_p: f64,
    p: f64,
    /// Estimate and both ends of the 95 % interval; none where values are equal.
    ratio: Option<[f64; 3]>,
}

#[derive(Deserialize)]
struct Holm {
    p: Vec<f64>,
    corrected: Vec<f64>,
}

#[derive(Deserialize)]
struct Quartiles {
    values: Vec<f64>,
    quartiles: Vec<f64>,
}

fn reference() -> Reference {
    let text = include_str!("fixtures/reference.json");
    serde_json::from_str(text).expect("the form that reference.R writes")
}

fn assert_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let off = (ours / theirs - 1.0).abs();
        assert!(off < TOLERANCE, "{what}: {ours}, but {theirs} from R");
    }
}

#[test]
fn p_and_ratio_are_those_of_r() {
    let cases = reference().cases;
    for kind in ["untied", "tied", "large"] {
        assert!(cases.iter().any(|case| case.kind == kind), "no {kind} case");
    }
    for case in cases {
        let Case { reference, arm, .. } = &case;
        let what = format!("{} {reference:?} {arm:?}", case.kind);
        let test = RankSum::new(reference, arm);
        // Where no outcome could be significant we make no test.
        assert_eq!(test.is_some(), case.least_p <= ALPHA, "{what}");
        let Some(test) = test else { continue };
        assert_close(&[test.p()], &[case.p], &what);
        if let Some(theirs) = case.ratio {
            let ours = test.ratio(ALPHA).expect("positive values");
            assert_close(&[ours.estimate, ours.low, ours.high], &theirs, &what);
        }
    }
}

#[test]
fn correction_is_that_of_r() {
    for Holm { p, corrected } in reference().holm {
        assert_close(&holm(&p), &corrected, &format!("{p:?}"));
    }
}

#[test]
fn quartiles_are_those_of_r() {
    for Quartiles { values, quartiles } in reference().quartiles {
        let ours = summary(&values).expect("a value");
        let ours = [ours.q1, ours.median, ours.q3];
        assert_close(&ours, &quartiles, &format!("{values:?}"));
    }
}
