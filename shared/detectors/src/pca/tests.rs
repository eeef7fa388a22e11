use burn::tensor::Device;
use proptest::prelude::*;

use super::*;
use crate::conformance::{self, agree, conformance_tests, fitted, gpu, scores, slanted};

/// Every kind of score, with a residual and without.
fn models(x: &Matrix) -> Vec<PrincipalComponents> {
    let reconstruction = Pca { score: PcaScore::Reconstruction, ..Pca::default() };
    let all = Pca { variance: 1.0, ..Pca::default() };
    [Pca::default(), all, reconstruction].iter().map(|params| fitted(params, x)).collect()
}

conformance_tests!(Pca, models);

#[test]
fn contributions_add_up_to_the_score() {
    conformance::contributions_add_up_to_the_score(models);
}

/// No other value of a feature, the other features being as they are, has a smaller score.
#[test]
fn the_expected_value_scores_least() {
    let x = slanted(400, 5, 20, 3);
    let model = fitted(&Pca::default(), &x);
    let detector = model.on_device(&Device::flex());
    let row = x.first_rows(1);
    let explanation = &detector.explain(&row, &detector.score(&row)).unwrap()[0];
    for feature in 0..5 {
        let with = |value: f32| {
            let mut altered = row.values().to_vec();
            altered[feature] = value;
            detector.score(&Matrix::from_values(5, altered)).values[0]
        };
        let expected = explanation.expected[feature];
        assert!(with(expected) < with(expected - 0.1) && with(expected) < with(expected + 0.1), "feature {feature}");
    }
}

#[test]
fn a_device_scores_as_the_cpu_does() {
    let x = slanted(3000, 5, 20, 4);
    let device = gpu();
    for model in models(&x) {
        let here = model.on_cpu().score(&x);
        agree(&here, &model.on_gpu(&Device::flex()).score(&x), 1e-4);
        let Some(device) = &device else { continue };
        let there = model.on_gpu(device).score(&x);
        agree(&here, &there, 1e-4);
        assert_eq!(model.on_gpu(device).score(&x.first_rows(3)), there[..3]);
    }
}

/// But not by the residual: what they share is a component.
#[test]
fn the_rows_beside_the_line_are_found() {
    let x = slanted(1000, 6, 50, 5);
    let [components, all, _] = models(&x).try_into().unwrap();
    for model in [components, all] {
        let scores = scores(&model, &x);
        let mut sorted = scores.clone();
        sorted.sort_by(f32::total_cmp);
        assert!(scores.iter().step_by(50).filter(|&&score| score >= sorted[970]).count() == 20);
    }
}

/// With whitening 1 and all components, the score is the squared Mahalanobis distance: its mean over the training rows
/// is the number of features. With whitening 0 it is the squared distance from the mean.
#[test]
fn whitening_leads_from_the_euclidean_to_the_mahalanobis_distance() {
    let x = slanted(2000, 4, 30, 6);
    let mahalanobis = fitted(&Pca { whitening: 1.0, variance: 1.0, ..Pca::default() }, &x);
    let mean = scores(&mahalanobis, &x).iter().sum::<f32>() / 2000.0;
    assert!((mean - 4.0).abs() < 1e-3, "{mean}");
    let euclidean = fitted(&Pca { whitening: 0.0, ..Pca::default() }, &x);
    let plain = |row: &[f32]| row.iter().zip(euclidean.mean.values()).map(|(x, m)| (x - m) * (x - m)).sum();
    agree(&scores(&euclidean, &x), &x.rows().map(plain).collect::<Vec<f32>>(), 1e-4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn components_are_orthogonal_and_each_an_eigenvector(n in 2usize..30, p in 1usize..12, seed: u64) {
        let x = slanted(n, p, 7, seed);
        let values = float64(&x, &(0..n).collect::<Vec<_>>());
        let rows = Rows { values: &values, n_features: p };
        let spectrum = Spectrum::of(rows).unwrap();
        let covariance = crate::dense::Moments::of(rows, &(0..n).collect::<Vec<_>>()).covariance;
        prop_assert!(spectrum.variances.is_sorted_by(|a, b| a >= b));
        let total: f64 = (0..p).map(|i| covariance[(i, i)]).sum();
        prop_assert!((spectrum.variances.iter().sum::<f64>() - total).abs() < 1e-9 * (1.0 + total));
        let real = spectrum.variances.iter().take_while(|&&variance| variance > 1e-9 * total).count();
        let components: Vec<&[f64]> = spectrum.components.chunks_exact(p).take(real).collect();
        for (index, a) in components.iter().enumerate() {
            for row in 0..p {
                let product: f64 = (0..p).map(|column| covariance[(row, column)] * a[column]).sum();
                prop_assert!((product - spectrum.variances[index] * a[row]).abs() < 1e-6 * (1.0 + total));
            }
            for (other, b) in components.iter().enumerate() {
                let product: f64 = a.iter().zip(*b).map(|(a, b)| a * b).sum();
                prop_assert!((product - f64::from(index == other)).abs() < 1e-5, "{} {}: {}", index, other, product);
            }
        }
    }
}

#[test]
fn few_rows_of_many_features_are_learned_from() {
    let x = slanted(40, 1500, 9, 7);
    for model in models(&x) {
        assert!(model.component_weights.values().len() < 40);
        assert!(scores(&model, &x).iter().all(|score| score.is_finite() && *score >= 0.0));
    }
}

#[test]
fn a_direction_that_no_training_row_took_counts() {
    let rows = (0..200)
        .flat_map(|i| {
            let t = (i % 20) as f32 - 9.5;
            [t, 2.0 * t, 0.0]
        })
        .collect();
    let x = Matrix::from_values(3, rows);
    for model in models(&x) {
        let pair = scores(&model, &Matrix::from_values(3, vec![1.0, 2.0, 0.0, 1.0, 2.0, 3.0]));
        assert!(pair[1] > 10.0 * pair[0] + 1.0, "{pair:?}");
    }
}

#[test]
fn bad_parameters_are_named() {
    let refused = |params: Pca| params.check().unwrap_err();
    for variance in [0.0, 1.5, f64::NAN] {
        assert_eq!(refused(Pca { variance, ..Pca::default() }), "variance must be above 0 and at most 1");
    }
    assert_eq!(refused(Pca { whitening: -0.1, ..Pca::default() }), "whitening must be between 0 and 1");
}

#[test]
fn damaged_models_are_refused() {
    let good = fitted(&Pca::default(), &slanted(300, 5, 20, 1));
    assert_eq!(good.check(5), Ok(()));
    assert!(good.check(4).is_err());
    let damage: [fn(&mut PrincipalComponents); 6] = [
        |m| m.mean = Array::new([4], vec![0.0; 4]),
        |m| m.components = Array::new([1, 4], vec![0.0; 4]),
        |m| m.components = Array::new([6, 5], vec![0.0; 30]),
        |m| m.component_weights = Array::new([0, 1], vec![]),
        |m| m.residual_weight = f32::NAN,
        |m| {
            m.mean.take();
        },
    ];
    for spoil in damage {
        let mut model = good.clone();
        spoil(&mut model);
        assert!(model.check(5).is_err(), "{model:?}");
    }
}
