use proptest::prelude::*;

use super::super::neighborhood::tests::{
    assert_close, assert_same_scores_alone_and_loaded, fit, others, rows, twenty_rows,
};
use super::*;
use crate::conformance::{gpu, scores, training_scores};

fn knn(k: usize, method: KnnMethod) -> Knn {
    Knn { k, method, ..Knn::default() }
}

/// scikit-learn 1.9, `NearestNeighbors(n_neighbors=3).fit(x).kneighbors()`, whose last column and mean PyOD's `KNN` takes.
#[test]
fn training_scores_are_those_of_pyod() {
    let x = twenty_rows();
    let largest = [
        2.7300413, 1.767767, 1.5662456, 1.0606601, 1.118034, 1.3975425, 1.3520817, 1.0606601, 1.3975425, 1.152_443,
        1.2311072, 1.5258194, 2.281036, 1.3462912, 1.3975425, 0.8385255, 1.3462912, 1.0606601, 1.0606601, 21.07279,
    ];
    let mean = [
        2.4793794, 1.4205437, 1.4777424, 0.35355338, 0.8505083, 0.8594796, 1.1699011, 0.9739036, 0.9549982, 0.8929436,
        1.0842613, 1.160793, 1.8207979, 1.133374, 0.9961675, 0.7395926, 0.75026655, 0.35355338, 0.35355338, 21.07279,
    ];
    assert_close(&training_scores(&fit(&knn(3, KnnMethod::Largest), &x, 1).unwrap(), &x), &largest);
    assert_close(&training_scores(&fit(&knn(3, KnnMethod::Mean), &x, 1).unwrap(), &x), &mean);
}

#[test]
fn new_rows_have_all_training_rows_as_neighbors() {
    let model = fit(&knn(3, KnnMethod::Largest), &twenty_rows(), 1).unwrap();
    let x = Matrix::from_values(2, vec![1.0, 1.0, 50.0, 0.0, 3.3, 2.2]);
    assert_close(&scores(&model, &x), &[std::f32::consts::SQRT_2, 43.80158, 1.0920165]);
}

/// With one neighbour, what is known to the bit is as usual as can be.
#[test]
fn a_new_row_that_equals_a_training_row_is_as_near_as_can_be() {
    let x = twenty_rows();
    let model = fit(&knn(1, KnnMethod::Largest), &x, 1).unwrap();
    assert_eq!(scores(&model, &x), [0.0; 20]);
    // Row 19 is alone, and row 3 is there three times.
    let of_training = training_scores(&model, &x);
    assert!(of_training[19] > 10.0, "{of_training:?}");
    assert_eq!([3, 17, 18].map(|row: usize| of_training[row]), [0.0; 3]);
}

#[test]
fn a_sample_keeps_the_places_of_its_rows() {
    let x = Matrix::from_values(1, (0..100).map(|row| (row * row) as f32).collect());
    let model = fit(&Knn { k: 1, max_rows: 20, ..Knn::default() }, &x, 1).unwrap();
    assert_eq!(model.check(1), Ok(()));
    assert_same_scores_alone_and_loaded(&model, &x);
    let kept: Vec<usize> = model.places.as_ref().unwrap().values().iter().map(|place| *place as usize).collect();
    let (new, of_training) = (scores(&model, &x), training_scores(&model, &x));
    for row in 0..100 {
        assert_eq!(new[row] == 0.0, kept.contains(&row), "{row}");
        assert!(of_training[row] > 0.0, "{row}");
    }
    let names: Vec<&str> = model.clone().arrays().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["reference", "places"]);
}

#[test]
fn damaged_models_are_refused() {
    let model = fit(&Knn::default(), &twenty_rows(), 1).unwrap();
    assert_eq!(model.check(2), Ok(()));
    assert!(model.check(3).is_err());
    assert!(KnnModel { k: 20, ..model.clone() }.check(2).is_err());
    assert!(KnnModel { k: 0, ..model.clone() }.check(2).is_err());
    let mut empty = model.clone();
    let values = empty.reference.take();
    assert!(empty.check(2).is_err());
    let mut values = values;
    values[7] = f32::NAN;
    empty.reference.fill(values).unwrap();
    assert!(empty.check(2).is_err());
    assert!(KnnModel { reference: Array::default(), ..model }.check(2).is_err());
}

#[test]
fn parameters_read_as_a_pipeline_file_has_them() {
    let read = |text: &str| serde_json::from_str::<Knn>(text);
    assert_eq!(read("{}").unwrap(), Knn { k: 10, method: KnnMethod::Largest, max_rows: 65_536 });
    assert_eq!(read(r#"{"k": 9, "method": "mean", "max_rows": 100}"#).unwrap().method, KnnMethod::Mean);
    assert!(read(r#"{"neighbours": 3}"#).is_err());
}

#[test]
fn distances_beyond_float32_have_finite_scores_and_explanations() {
    let x = Matrix::from_values(1, vec![0.0, 1.0, 3.0, f32::MAX, -f32::MAX, 2.0]);
    for method in [KnnMethod::Largest, KnnMethod::Mean] {
        let score = fit(&knn(3, method), &x, 1).unwrap().on_device(&Device::flex());
        let scores = score.score(&x);
        assert!(scores.values.iter().all(|score| score.is_finite()));
        for explanation in score.explain(&x, &scores).unwrap() {
            assert!(explanation.contributions.iter().chain(&explanation.expected).all(|value| value.is_finite()));
        }
    }
}

#[test]
fn a_gpu_gives_the_scores_that_the_cpu_gives() {
    let Some(gpu) = gpu() else { return };
    let values = (0..900 * 3).map(|i| ((i * 7919) % 101) as f32 - 50.0).collect();
    let x = Matrix::from_values(3, values);
    let model = fit(&Knn::default(), &x, 1).unwrap();
    assert_eq!(model.on_device(&gpu).score(&x), model.on_device(&Device::flex()).score(&x));
}

proptest! {
    #[test]
    fn training_scores_are_those_of_the_definition(x in rows(), k in 1usize..7) {
        let mean = fit(&knn(k, KnnMethod::Mean), &x, 1).unwrap();
        let largest = fit(&knn(k, KnnMethod::Largest), &x, 1).unwrap();
        let found = training_scores(&mean, &x).into_iter().zip(training_scores(&largest, &x));
        for ((mean, largest), others) in found.zip(others(&x, k)) {
            let expected = others.iter().map(|(distance, _)| distance).sum::<f64>() / k as f64;
            prop_assert!((f64::from(mean) - expected).abs() <= 1e-6 * expected);
            let expected = others[k - 1].0;
            prop_assert!((f64::from(largest) - expected).abs() <= 1e-6 * expected);
        }
    }

    #[test]
    fn a_row_has_the_same_score_alone_as_in_a_batch_and_after_loading(x in rows(), k in 1usize..7) {
        let model = fit(&knn(k, KnnMethod::Mean), &x, 1).unwrap();
        assert_same_scores_alone_and_loaded(&model, &x);
    }

    #[test]
    fn contributions_add_up_to_the_score(x in rows(), k in 1usize..7, is_mean in any::<bool>()) {
        let method = if is_mean { KnnMethod::Mean } else { KnnMethod::Largest };
        let score = fit(&knn(k, method), &x, 1).unwrap().on_device(&Device::flex());
        let scores = score.score(&x);
        let explanations = score.explain(&x, &scores).unwrap();
        for (index, explanation) in explanations.iter().enumerate() {
            prop_assert!(!explanation.is_approximate);
            let total: f32 = explanation.contributions.iter().sum();
            prop_assert!((total - scores.values[index]).abs() <= 1e-5 * scores.values[index]);
            // What was expected is as far away as the score says.
            if !is_mean {
                let square = |(x, y): (&f32, &f32)| (x - y).powi(2);
                let distance = x.row(index).iter().zip(&explanation.expected).map(square).sum::<f32>().sqrt();
                prop_assert!((distance - scores.values[index]).abs() <= 1e-5 * scores.values[index]);
            }
        }
    }
}
