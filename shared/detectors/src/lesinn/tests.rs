use proptest::prelude::*;

use super::*;
use crate::conformance::{
    conformance_tests, contributions_add_up_to_the_score, fitted, scores, slanted, training_scores,
};

fn models(x: &Matrix) -> Vec<Samples> {
    let small = Lesinn { k: 1, n_samples: 7, sample: 8 };
    vec![fitted(&Lesinn::default(), x), fitted(&small, x)]
}

conformance_tests!(Lesinn, models);

#[test]
fn contributions_add_up() {
    contributions_add_up_to_the_score(models);
}

/// Among all rows, each of many that are alike has others of them as neighbours.
#[test]
fn anomalies_that_are_alike_do_not_hide_each_other() {
    let alike = [40.0f32, -40.0, 40.0, -40.0, 40.0];
    let usual = slanted(4_000, 5, usize::MAX, 5);
    let values = [usual.values(), &alike.repeat(40)].concat();
    let x = Matrix::from_values(5, values);
    let found = training_scores(&fitted(&Lesinn::default(), &x), &x);
    let largest = found[1..4_000].iter().copied().fold(0.0, f32::max);
    assert!(found[4_000..].iter().all(|score| *score > 2.0 * largest), "{largest}");
    let neighbors = training_scores(&fitted(&crate::knn::Knn::default(), &x), &x);
    assert!(neighbors[4_000..].iter().all(|score| *score == 0.0), "which `knn` does not see");
}

#[test]
fn few_rows_are_enough_where_they_are_more_than_the_neighbors() {
    let x = slanted(6, 2, 3, 1);
    assert_eq!(fitted(&Lesinn::default(), &x).check(2), Ok(()));
    let refused = Lesinn::default().fit(&slanted(5, 2, 3, 1), &crate::conformance::context(&Device::flex()));
    assert!(matches!(refused, Err(FitError::TooFewRows { n_samples: 5, needed: 6, .. })), "{refused:?}");
}

#[test]
fn parameters_without_a_meaning_are_refused() {
    let refused = |params: Lesinn| params.check().unwrap_err();
    let usual = Lesinn::default();
    assert_eq!(refused(Lesinn { k: 0, ..usual.clone() }), "k must be between 1 and 1000");
    assert_eq!(refused(Lesinn { n_samples: 0, ..usual.clone() }), "n_samples must be between 1 and 10000");
    let expected = "sample must be larger than k, which is 5, and at most 65536";
    assert_eq!(refused(Lesinn { sample: 5, ..usual.clone() }), expected);
    assert_eq!(
        refused(Lesinn { n_samples: 10_000, sample: 60_000, ..usual }),
        "n_samples times sample must be at most 4194304"
    );
}

#[test]
fn damaged_models_are_refused() {
    let model = fitted(&Lesinn::default(), &slanted(300, 2, 20, 1));
    assert_eq!(model.check(2), Ok(()));
    assert!(model.check(3).is_err());
    assert!(Samples { k: 0, ..model.clone() }.check(2).is_err());
    assert!(Samples { k: 150, ..model.clone() }.check(2).is_err());
    assert!(Samples { rows: Array::default(), ..model.clone() }.check(2).is_err());
    assert!(Samples { places: Some(Array::default()), ..model.clone() }.check(2).is_err());
    assert_eq!(Samples { places: None, ..model.clone() }.check(2), Ok(()), "as in models of earlier builds");
    let mut values = model.rows.values().to_vec();
    values[3] = f32::NAN;
    assert!(Samples { rows: Array::new(model.rows.shape(), values), ..model }.check(2).is_err());
}

proptest! {
    /// With samples of half of the rows, the score is what a search by hand finds in each; a row of the fit leaves itself out.
    #[test]
    fn scores_are_those_of_the_definition(
        values in proptest::collection::vec(-100.0f32..100.0, 24..80),
        k in 1usize..4,
        n_samples in 1usize..6,
    ) {
        let x = Matrix::from_values(2, values[..values.len() / 2 * 2].to_vec());
        prop_assume!(!x.is_constant());
        let model = fitted(&Lesinn { k, n_samples, sample: 64 }, &x);
        let sample = model.rows.shape()[1];
        prop_assert_eq!(sample, (x.n_samples() / 2).max(k + 1));
        let (new, of_training) = (scores(&model, &x), training_scores(&model, &x));
        let places = model.places.as_ref().unwrap().values();
        for (index, row) in x.rows().enumerate() {
            let distance = |other: &[f32]| {
                row.iter().zip(other).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>().sqrt()
            };
            let mean = |left_out: Option<usize>| {
                let of_sample = |(rows, places): (&[f32], &[i32])| {
                    let others = rows.chunks_exact(2).zip(places);
                    let others = others.filter(|(_, place)| Some(**place as usize) != left_out);
                    let mut distances: Vec<f64> = others.map(|(other, _)| distance(other)).collect();
                    distances.sort_by(f64::total_cmp);
                    distances[k - 1]
                };
                let samples = model.rows.values().chunks_exact(sample * 2).zip(places.chunks_exact(sample));
                samples.map(of_sample).sum::<f64>() / n_samples as f64
            };
            for (found, expected) in [(new[index], mean(None)), (of_training[index], mean(Some(index)))] {
                prop_assert!((f64::from(found) - expected).abs() <= 1e-5 * (1.0 + expected), "{} {}", found, expected);
            }
        }
    }
}
