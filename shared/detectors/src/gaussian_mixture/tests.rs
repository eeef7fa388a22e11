use std::f64::consts::TAU;

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::mixture::Density;
use super::*;
use crate::conformance::{conformance_tests, contributions_add_up_to_the_score, fitted, scores, slanted};

fn models(x: &Matrix) -> Vec<GaussianMixtures> {
    let small = GaussianMixture { n_mixtures: 3, n_components: 2, sample: 40, trim: 0.0, ..GaussianMixture::default() };
    vec![fitted(&GaussianMixture::default(), x), fitted(&small, x)]
}

conformance_tests!(GaussianMixture, models);

#[test]
fn contributions_add_up() {
    contributions_add_up_to_the_score(models);
}

/// A fifth of the history is scattered: trimmed, no component is wide enough for it.
#[test]
fn anomalies_of_the_history_shape_no_component() {
    let scattered: Vec<f32> = (0..600).map(|i| ((i * 7_919) % 1_013) as f32 / 17.0 - 30.0).collect();
    let x = Matrix::from_values(3, [slanted(800, 3, usize::MAX, 5).values(), &scattered].concat());
    // How much rarer the usual one of them is than 99 of 100 usual rows.
    let times = |trim: f64| {
        let scores = scores(&fitted(&GaussianMixture { trim, ..GaussianMixture::default() }, &x), &x);
        let (mut usual, mut odd) = (scores[..800].to_vec(), scores[800..].to_vec());
        usual.sort_by(f32::total_cmp);
        odd.sort_by(f32::total_cmp);
        odd[100] / usual[791]
    };
    let (trimmed, whole) = (times(0.5), times(0.0));
    assert!(trimmed > 3.0 * whole && whole > 1.0, "{trimmed} and {whole}");
}

/// What every hundredth row is, and exactly, is no component of its own.
#[test]
fn a_few_anomalies_that_are_alike_are_no_component() {
    let alike = [9.0f32, -9.0, 9.0].repeat(10);
    let x = Matrix::from_values(3, [slanted(1_000, 3, usize::MAX, 5).values(), &alike].concat());
    let found = scores(&fitted(&GaussianMixture::default(), &x), &x);
    let mut usual = found[1..1_000].to_vec();
    usual.sort_by(f32::total_cmp);
    assert!(found[1_000..].iter().all(|score| *score > usual[989]), "{} {}", found[1_000], usual[989]);
}

/// Components at two places: what lies between them is rare, though it is the mean of all rows.
#[test]
fn a_gap_between_two_groups_is_rare() {
    let around = |center: f32| (0..400).map(move |i| center + ((i * 37) % 101) as f32 / 101.0);
    let x = Matrix::from_values(1, around(-10.0).chain(around(10.0)).collect());
    let params = GaussianMixture { n_components: 8, ..GaussianMixture::default() };
    let found = scores(&fitted(&params, &x), &Matrix::from_values(1, vec![0.5, -9.5, 10.5, 40.0]));
    assert!(found[0] > 3.0 * found[1].max(found[2]), "{found:?}");
    assert!(found[3] > found[0], "{found:?}");
}

#[test]
fn a_score_is_how_much_rarer_a_row_is_in_nats() {
    let model = GaussianMixtures {
        n_components: vec![1, 2],
        weights: Array::new([3], vec![1.0, 0.25, 0.75]),
        means: Array::new([3, 1], vec![0.0, -50.0, 50.0]),
        deviations: Array::new([3, 1], vec![1.0, 2.0, 1.0]),
    };
    assert_eq!(model.check(1), Ok(()));
    let found = scores(&model, &Matrix::from_values(1, vec![50.0, 0.0, -50.0]));
    // At 50 the first is exp(1250) times rarer than at 0, and the second as dense as anywhere; at -50 the second is 6 times
    // rarer: a third of the weight on twice the width.
    let expected = [1250.0 / 2.0, 1250.0 / 2.0 - 0.0, (1250.0 + 6f32.ln()) / 2.0];
    assert!((found[0] - expected[0]).abs() < 1e-3 && (found[2] - expected[2]).abs() < 1e-3, "{found:?}");
    // Between its components, the second mixture has what little both have there.
    let (left, right) = (0.25 * (-312.5f64).exp() / 2.0, 0.75 * (-1250.0f64).exp());
    let between = -((left + right) / 0.75).ln();
    assert!((f64::from(found[1]) - between / 2.0).abs() < 1e-3, "{found:?} {between}");
}

#[test]
fn few_rows_are_enough_for_a_distribution() {
    assert_eq!(fitted(&GaussianMixture::default(), &slanted(8, 2, 3, 1)).check(2), Ok(()));
    let refused = GaussianMixture::default().fit(&slanted(7, 2, 3, 1), &crate::conformance::context(&Device::flex()));
    assert!(matches!(refused, Err(FitError::TooFewRows { n_samples: 7, needed: 8, .. })), "{refused:?}");
}

#[test]
fn parameters_without_a_meaning_are_refused() {
    let refused = |params: GaussianMixture| params.check().unwrap_err();
    let usual = GaussianMixture::default();
    assert_eq!(refused(GaussianMixture { n_mixtures: 0, ..usual.clone() }), "n_mixtures must be between 1 and 1000");
    assert_eq!(
        refused(GaussianMixture { n_components: 300, ..usual.clone() }),
        "n_components must be between 1 and 256"
    );
    assert_eq!(refused(GaussianMixture { sample: 7, ..usual.clone() }), "sample must be between 8 and 65536");
    assert_eq!(refused(GaussianMixture { trim: f64::NAN, ..usual.clone() }), "trim must be between 0 and 0.9");
    let expected = "reg_covar must be between 0.000001 and 1";
    assert_eq!(refused(GaussianMixture { reg_covar: 0.0, ..usual.clone() }), expected);
    let wide =
        Matrix::from_values(1_200, vec![1.0; 1_200 * 9].into_iter().enumerate().map(|(i, _)| i as f32).collect());
    let too_many = GaussianMixture { n_mixtures: 1_000, n_components: 256, ..usual };
    let refused = too_many.fit(&wide, &crate::conformance::context(&Device::flex()));
    assert!(matches!(refused, Err(FitError::TooLarge { .. })), "{refused:?}");
}

#[test]
fn damaged_models_are_refused() {
    let model = fitted(&GaussianMixture::default(), &slanted(300, 2, 20, 1));
    assert_eq!(model.check(2), Ok(()));
    assert!(model.check(3).is_err());
    assert!(GaussianMixtures { n_components: Vec::new(), ..model.clone() }.check(2).is_err());
    let first_weight = |weight: f32| {
        let mut weights = model.weights.values().to_vec();
        let of_first = model.n_components[0];
        weights[..of_first].fill(weight);
        GaussianMixtures { weights: Array::new(model.weights.shape(), weights), ..model.clone() }
    };
    assert!(first_weight(f32::NAN).check(2).is_err());
    assert!(first_weight(0.0).check(2).is_err());
    let with = |value: f32| {
        let mut values = model.deviations.values().to_vec();
        values[1] = value;
        GaussianMixtures { deviations: Array::new(model.deviations.shape(), values), ..model.clone() }
    };
    assert!(with(0.0).check(2).is_err() && with(f32::INFINITY).check(2).is_err() && with(f32::NAN).check(2).is_err());
    let mut means = model.means.values().to_vec();
    means[0] = f32::NAN;
    assert!(GaussianMixtures { means: Array::new(model.means.shape(), means), ..model.clone() }.check(2).is_err());
}

fn mixtures() -> impl Strategy<Value = Mixture> {
    (1usize..5, 1usize..4).prop_flat_map(|(n_components, n_features)| {
        let values = move |range| proptest::collection::vec(range, n_components * n_features);
        (proptest::collection::vec(0.01f64..1.0, n_components), values(-5.0f64..5.0), values(0.05f64..4.0)).prop_map(
            move |(weights, means, variances)| {
                let total: f64 = weights.iter().sum();
                Mixture { n_features, weights: weights.iter().map(|weight| weight / total).collect(), means, variances }
            },
        )
    })
}

proptest! {
    #[test]
    fn a_density_is_that_of_the_definition(mixture in mixtures(), place in proptest::collection::vec(-6.0f64..6.0, 3)) {
        let row = &place[..mixture.n_features];
        let of_component = |component: usize| {
            let of_feature = |feature: usize| {
                let (mean, variance) = (mixture.means[component * row.len() + feature], mixture.variances[component * row.len() + feature]);
                (-(row[feature] - mean).powi(2) / (2.0 * variance)).exp() / (TAU * variance).sqrt()
            };
            mixture.weights[component] * (0..row.len()).map(of_feature).product::<f64>()
        };
        let parts: Vec<f64> = (0..mixture.n_components()).map(of_component).collect();
        let expected: f64 = parts.iter().sum();
        prop_assume!(expected > 1e-200);
        let mut logs = vec![0.0; mixture.n_components()];
        let density = Density::of(&mixture);
        prop_assert!((density.log_at(row, &mut logs) - expected.ln()).abs() < 1e-9);
        density.shares_at(row, &mut logs);
        for (share, part) in logs.iter().zip(&parts) {
            prop_assert!((share - part / expected).abs() < 1e-9);
        }
    }

    /// What expectation-maximization promises: no round makes the rows less likely, but for what `reg_covar` takes.
    #[test]
    fn rows_are_more_likely_than_under_one_gaussian(seed in 0u64..500, n_components in 2usize..6) {
        let x = slanted(200, 2, 4, seed);
        let rows: Vec<f64> = x.values().iter().map(|&value| f64::from(value)).collect();
        let params = GaussianMixture { trim: 0.0, reg_covar: 1e-6, ..GaussianMixture::default() };
        let fit = |n_components: usize| {
            let mixture = Mixture::fit_trimmed(rows.clone(), 2, n_components, &params, &mut ChaCha8Rng::seed_from_u64(seed));
            let (density, mut logs) = (Density::of(&mixture), vec![0.0; mixture.n_components()]);
            prop_assert!((mixture.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            Ok(rows.chunks_exact(2).map(|row| density.log_at(row, &mut logs)).sum::<f64>())
        };
        let (one, several) = (fit(1)?, fit(n_components)?);
        prop_assert!(several > one - 1e-6, "{} and {}", several, one);
    }
}
