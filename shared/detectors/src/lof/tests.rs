use proptest::prelude::*;

use super::super::neighborhood::tests::{
    assert_close, assert_same_scores_alone_and_loaded, fit, others, rows, twenty_rows,
};
use super::*;
use crate::conformance::{gpu, scores, training_scores};

fn lof(k: usize) -> Lof {
    Lof { k, ..Lof::default() }
}

/// scikit-learn 1.9, `-LocalOutlierFactor(n_neighbors=3).fit(x).negative_outlier_factor_`.
#[test]
fn training_scores_are_those_of_scikit_learn() {
    let x = twenty_rows();
    let expected = [
        1.4818317, 1.3125259, 1.1178303, 0.968_088, 1.0442268, 1.0380837, 1.0061315, 1.0551811, 0.8607951, 1.0538831,
        1.1574031, 0.94187397, 1.1998959, 0.9678592, 1.0545721, 1.1465796, 0.9881371, 0.968_088, 0.968_088, 19.867617,
    ];
    assert_close(&training_scores(&fit(&lof(3), &x, 1).unwrap(), &x), &expected);
}

/// The same with `novelty=True` and `-score_samples(x)`.
#[test]
fn scores_of_new_rows_are_those_of_scikit_learn() {
    let model = fit(&lof(3), &twenty_rows(), 1).unwrap();
    let x = Matrix::from_values(2, vec![1.0, 1.0, 50.0, 0.0, 3.3, 2.2]);
    assert_close(&scores(&model, &x), &[1.0536145, 22.959923, 0.98469515]);
}

/// A row with many copies in the history is as dense as they are, and no less so for being new.
#[test]
fn a_new_row_that_equals_training_rows_counts_all_of_them() {
    let x = Matrix::from_values(1, vec![0.0, 0.0, 0.0, 4.0, 5.0, 7.0, 11.0]);
    let model = fit(&lof(3), &x, 1).unwrap();
    // As a new row, 0 has its three copies as neighbours; as a row of the history, the two others and 4.
    let (new, of_training) = (scores(&model, &x), training_scores(&model, &x));
    assert_close(&[new[0], of_training[0]], &[1.0, 0.974_359]);
    // 11 has itself as a neighbour, or 4.
    assert_close(&[new[6], of_training[6]], &[1.1233974, 1.2259615]);
}

/// scikit-learn, which warns of duplicates, has 1e10 for the last row: here equal rows are ten times as dense as it is.
#[test]
fn duplicates_have_a_score_of_1_and_what_is_beside_them_a_larger_one() {
    let rows = [[1.0, 2.0].repeat(8), [4.0, 0.0].repeat(5), vec![4.0, 1.0]].concat();
    let x = Matrix::from_values(2, rows);
    let model = fit(&lof(3), &x, 1).unwrap();
    assert_eq!(model.check(2), Ok(()));
    assert_close(&training_scores(&model, &x), &[vec![1.0; 13], vec![10.0]].concat());
    let without_bound = LofModel { smallest_mean: f32::NAN, ..model };
    assert!(without_bound.check(2).is_err());
}

#[test]
fn damaged_models_are_refused() {
    let model = fit(&lof(3), &twenty_rows(), 1).unwrap();
    assert_eq!(model.check(2), Ok(()));
    assert!(model.check(3).is_err());
    assert!(LofModel { k: 20, ..model.clone() }.check(2).is_err());
    let with = |name: &str, value: f32| {
        let mut damaged = model.clone();
        for (array, values) in damaged.arrays() {
            if let (true, ArrayMut::F32(values)) = (array == name, values) {
                let mut changed = values.take();
                changed[5] = value;
                values.fill(changed).unwrap();
            }
        }
        damaged.check(2)
    };
    assert_eq!(with("reference", 7.0), Ok(()));
    assert!(with("reference", f32::INFINITY).is_err());
    for value in [-1.0, f32::NAN, f32::MAX] {
        assert!(with("k_distances", value).is_err(), "{value}");
        assert!(with("densities", value).is_err(), "{value}");
    }
    assert!(with("densities", 0.0).is_err());
    let short = LofModel { densities: Array::new([1], vec![1.0]), ..model };
    assert!(short.check(2).is_err());
}

#[test]
fn parameters_read_as_a_pipeline_file_has_them() {
    let read = |text: &str| serde_json::from_str::<Lof>(text);
    assert_eq!(read("{}").unwrap(), Lof { k: 50, max_rows: 65_536 });
    assert_eq!(read(r#"{"k": 9}"#).unwrap().k, 9);
    assert!(read(r#"{"neighbours": 3}"#).is_err());
}

#[test]
fn distances_beyond_float32_have_finite_scores() {
    let x = Matrix::from_values(1, vec![0.0, 0.0, 0.0, 0.0, 1.0, 3.0, f32::MAX, -f32::MAX, 2.0]);
    let model = fit(&lof(2), &x, 1).unwrap();
    assert_eq!(model.check(1), Ok(()));
    assert!(scores(&model, &x).iter().all(|score| score.is_finite()));
}

#[test]
fn a_gpu_learns_and_scores_as_the_cpu_does() {
    let Some(gpu) = gpu() else { return };
    let values = (0..700 * 3).map(|i| ((i * 7919) % 101) as f32 - 50.0).collect();
    let x = Matrix::from_values(3, values);
    let model = fit(&lof(20), &x, 1).unwrap();
    let on_gpu = Context { device: &gpu, seed: 1, max_state_bytes: None, on_step: &|| {} };
    assert!(lof(20).fit(&x, &on_gpu).as_ref() == Ok(&model), "another model");
    assert_eq!(model.on_device(&gpu).score(&x), model.on_device(&Device::flex()).score(&x));
}

/// The paper's definition, in float64.
fn by_definition(x: &Matrix, k: usize) -> Vec<f64> {
    let others = others(x, k);
    let k_distance = |row: usize| others[row][k - 1].0;
    let mean = |row: usize| {
        let reachability = others[row].iter().map(|&(distance, other)| distance.max(k_distance(other)));
        reachability.sum::<f64>() / k as f64
    };
    let mut means: Vec<f64> = (0..x.n_samples()).map(mean).filter(|&mean| mean > 0.0).collect();
    let smallest = 0.1 * median(&mut means);
    let density = |row: usize| 1.0 / (mean(row) + 1e-10).max(smallest);
    let factor = |row: usize| {
        let of_others = others[row].iter().map(|&(_, other)| density(other)).sum::<f64>();
        of_others / k as f64 / density(row)
    };
    (0..x.n_samples()).map(factor).collect()
}

proptest! {
    #[test]
    fn training_scores_are_those_of_the_definition(
        values in proptest::collection::vec((0i32..1000).prop_map(|value| value as f32), 180),
        k in 1usize..7,
    ) {
        // Squares of whole numbers are exact, so that ties are equal on both sides.
        let x = Matrix::from_values(3, values);
        for (found, expected) in training_scores(&fit(&lof(k), &x, 1).unwrap(), &x).iter().zip(by_definition(&x, k)) {
            prop_assert!((f64::from(*found) - expected).abs() <= 1e-5 * expected, "{} {}", found, expected);
        }
    }

    #[test]
    fn a_row_has_the_same_score_alone_as_in_a_batch_and_after_loading(x in rows(), k in 1usize..7) {
        let model = fit(&lof(k), &x, 1).unwrap();
        assert_same_scores_alone_and_loaded(&model, &x);
    }

    /// However many rows are equal, what lies among the others is not measured by them.
    #[test]
    fn equal_rows_do_not_raise_the_scores_of_others_beyond_measure(
        steps in proptest::collection::vec(0.5f32..1.5, 40..80), equal in 8usize..200, k in 1usize..7, at in 0usize..40,
    ) {
        let mut values: Vec<f32> = steps.iter().scan(0.0, |sum, step| { *sum += step; Some(*sum) }).collect();
        values.extend(std::iter::repeat_n(values[at], equal));
        let x = Matrix::from_values(1, values);
        let highest = training_scores(&fit(&lof(k), &x, 1).unwrap(), &x).into_iter().fold(0.0, f32::max);
        prop_assert!(highest < 60.0, "{}", highest);
    }

    #[test]
    fn equal_rows_have_equal_scores(x in rows(), k in 1usize..7) {
        let found = training_scores(&fit(&lof(k), &x, 1).unwrap(), &x);
        for a in 0..x.n_samples() {
            for b in 0..a {
                prop_assert!(x.row(a) != x.row(b) || found[a] == found[b]);
            }
        }
    }
}
