use burn::tensor::Device;

use super::*;
use crate::conformance::{self, agree, conformance_tests, context, fitted, gpu, scores, slanted};

fn models(x: &Matrix) -> Vec<RobustCovariance> {
    vec![fitted(&Mcd { n_init: 40, ..Mcd::default() }, x)]
}

conformance_tests!(Mcd, models);

#[test]
fn contributions_add_up_to_the_score() {
    conformance::contributions_add_up_to_the_score(models);
}

/// No other value of a feature, the other features being as they are, has a smaller score.
#[test]
fn the_expected_value_scores_least() {
    let x = slanted(400, 5, 20, 3);
    let model = models(&x).remove(0);
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
    let model = models(&x).remove(0);
    let here = model.on_cpu().score(&x);
    agree(&here, &model.on_gpu(&Device::flex()).score(&x), 1e-3);
    let Some(device) = gpu() else { return };
    let there = model.on_gpu(&device).score(&x);
    agree(&here, &there, 1e-3);
    assert_eq!(model.on_gpu(&device).score(&x.first_rows(3)), there[..3]);
}

/// The definition: of all subsets of h rows, the one whose covariance has the smallest determinant.
#[test]
fn the_search_finds_the_smallest_determinant_of_all_subsets() {
    let x = slanted(14, 2, 5, 8);
    let values = float64(&x, &(0..14).collect::<Vec<_>>());
    let rows = Rows { values: &values, n_features: 2 };
    let params = Mcd { shrinkage: 1e-6, ..Mcd::default() };
    let n_support = params.n_support(14, 2);
    let subsets = (0u32..1 << 14).filter(|subset| subset.count_ones() as usize == n_support);
    let smallest = subsets.map(|subset| {
        let indices: Vec<usize> = (0..14).filter(|index| subset >> index & 1 == 1).collect();
        Shape::new(Moments::of(rows, &indices), 1e-6).unwrap().log_determinant
    });
    let smallest = smallest.fold(f64::INFINITY, f64::min);
    let found = search::smallest_determinant(rows, &params, 1).unwrap();
    assert!((found.log_determinant - smallest).abs() < 1e-9, "{} {smallest}", found.log_determinant);
}

#[test]
fn a_third_of_anomalies_in_one_place_do_not_move_the_centre() {
    let mut x = slanted(900, 3, usize::MAX, 9).into_values();
    x.chunks_exact_mut(3).take(300).for_each(|row| row[0] += 30.0);
    let x = Matrix::from_values(3, x);
    let model = models(&x).remove(0);
    assert!(model.location.values().iter().all(|value| value.abs() < 0.3), "{:?}", model.location);
    let scores = scores(&model, &x);
    assert!(scores[..300].iter().all(|&score| score > 100.0));
}

#[test]
fn normal_rows_have_chi_squared_distances() {
    let model = models(&slanted(6000, 4, usize::MAX, 10)).remove(0);
    let mut scores = scores(&model, &slanted(6000, 4, usize::MAX, 11));
    scores.sort_by(f32::total_cmp);
    for probability in [0.25, 0.5, 0.9] {
        let (found, exact) =
            (f64::from(scores[(6000.0 * probability) as usize]), chi_squared::quantile(4, probability));
        assert!((found / exact - 1.0).abs() < 0.12, "{probability}: {found} {exact}");
    }
}

#[test]
fn constant_and_collinear_features_and_equal_halves_are_learned_from() {
    let constant = slanted(400, 2, 20, 12).rows().flat_map(|row| [row[0], 3.0, row[1], row[0] - row[1]]).collect();
    let equal = (0..400).flat_map(|i| if i % 3 == 0 { [i as f32, 1.0, -1.0, 2.0] } else { [0.0; 4] }).collect();
    for values in [constant, equal] {
        let x = Matrix::from_values(4, values);
        let model = models(&x).remove(0);
        assert!(scores(&model, &x).iter().all(|score| score.is_finite()));
        let beside = scores(&model, &Matrix::from_values(4, vec![0.0, 9.0, 9.0, 9.0]))[0];
        assert!(beside > 100.0, "{beside}");
    }
}

#[test]
fn the_chi_squared_distribution_is_that_of_the_tables() {
    let tables = [
        (1, 0.5, 0.454_936_4),
        (1, 0.975, 5.023_886),
        (5, 0.5, 4.351_46),
        (10, 0.975, 20.483_18),
        (100, 0.95, 124.342_1),
    ];
    for (degrees, probability, value) in tables {
        assert!((chi_squared::quantile(degrees, probability) - value).abs() < 2e-4, "{degrees} {probability}");
        assert!((chi_squared::cdf(degrees, value) - probability).abs() < 1e-6);
    }
}

#[test]
fn too_few_rows_and_too_many_features_are_refused() {
    let fit = |n, p| Mcd::default().fit(&slanted(n, p, 5, 1), &context(&Device::flex())).unwrap_err().to_string();
    assert_eq!(
        fit(9, 5),
        "9 rows are too few: a covariance of 5 features that half of the rows have needs at least 10"
    );
    assert!(fit(2, 600).contains("at most 512; use pca"));
}

#[test]
fn bad_parameters_are_named() {
    let refused = |params: Mcd| params.check().unwrap_err();
    for share in [0.4, 1.1, f64::NAN] {
        let params = Mcd { support_fraction: Some(share), ..Mcd::default() };
        assert_eq!(refused(params), "support_fraction must be between 0.5 and 1");
    }
    assert_eq!(refused(Mcd { n_init: 0, ..Mcd::default() }), "n_init must be between 1 and 100000");
    assert_eq!(refused(Mcd { max_iter: 0, ..Mcd::default() }), "max_iter must be between 1 and 10000");
    assert_eq!(refused(Mcd { shrinkage: 0.0, ..Mcd::default() }), "shrinkage must be at least 1e-9 and below 1");
}

#[test]
fn damaged_models_are_refused() {
    let good = models(&slanted(300, 5, 20, 1)).remove(0);
    assert_eq!(good.check(5), Ok(()));
    assert!(good.check(4).is_err());
    let damage: [fn(&mut RobustCovariance); 4] = [
        |m| m.location = Array::new([4], vec![0.0; 4]),
        |m| m.factor = Array::new([5, 4], vec![0.0; 20]),
        |m| m.factor = Array::new([5, 5], vec![f32::NAN; 25]),
        |m| {
            m.factor.take();
        },
    ];
    for spoil in damage {
        let mut model = good.clone();
        spoil(&mut model);
        assert!(model.check(5).is_err(), "{model:?}");
    }
}
