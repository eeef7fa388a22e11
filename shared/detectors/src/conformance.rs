//! What every detector has to pass, and the rows for it.

use burn::tensor::Device;
use clustering::device::choose_by_name;
use clustering::matrix::Matrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Context, Fit, FitError, Learned, Scores};

/// The GPU that tests run on, or the software adapter; nothing where both are missing and tests may be skipped.
pub(super) fn gpu() -> Option<Device> {
    requirements::gpu(choose_by_name).map(|chosen| chosen.device)
}

/// Where every detector has to pass: on the CPU, and on the GPU that was named for tests.
fn devices() -> Vec<Device> {
    let named = requirements::named_gpu(choose_by_name).map(|chosen| chosen.device);
    std::iter::once(Device::flex()).chain(named).collect()
}

pub(super) fn context(device: &Device) -> Context<'_> {
    Context { device, seed: 7, max_state_bytes: None, on_step: &|| () }
}

pub(super) fn fitted<F: Fit>(params: &F, x: &Matrix) -> F::Learned {
    params.check().unwrap();
    params.fit(x, &context(&Device::flex())).unwrap()
}

/// Normal rows along a slanted line, and every `one_in`-th far from it.
pub(super) fn slanted(n: usize, p: usize, one_in: usize, seed: u64) -> Matrix {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = move || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
    let row = |index: usize| {
        let common = normal();
        let shift = if index.is_multiple_of(one_in) { 8.0 } else { 0.0 };
        (0..p).map(|column| common + 0.5 * normal() + if column == 0 { shift } else { 0.0 }).collect::<Vec<f32>>()
    };
    Matrix::from_values(p, (0..n).flat_map(row).collect())
}

pub(super) fn scores(model: &impl Learned, x: &Matrix) -> Vec<f32> {
    model.on_device(&Device::flex()).score(x).values
}

/// Scores of the rows that were fitted on, each without itself.
pub(super) fn training_scores(model: &impl Learned, x: &Matrix) -> Vec<f32> {
    let places: Vec<Option<usize>> = (0..x.n_samples()).map(Some).collect();
    model.on_device(&Device::flex()).score_training(x, &places).values
}

pub(super) fn agree(here: &[f32], there: &[f32], tolerance: f32) {
    assert_eq!(here.len(), there.len());
    for (index, (here, there)) in here.iter().zip(there).enumerate() {
        assert!((here - there).abs() <= tolerance * (1.0 + here.abs()), "row {index}: {here} and {there}");
    }
}

pub(super) fn a_rows_score_does_not_depend_on_its_batch<L: Learned>(models: fn(&Matrix) -> Vec<L>) {
    let x = slanted(300, 5, 20, 1);
    let devices = devices();
    for model in models(&x) {
        for detector in devices.iter().map(|device| model.on_device(device)) {
            let single = x.rows().map(|row| detector.score(&Matrix::from_values(5, row.to_vec())).values[0]);
            assert_eq!(detector.score(&x).values, single.collect::<Vec<f32>>());
        }
    }
}

pub(super) fn a_saved_model_is_the_model<L: Learned>(models: fn(&Matrix) -> Vec<L>) {
    for model in models(&slanted(300, 5, 20, 1)) {
        let text = serde_json::to_string(&model).unwrap();
        assert_eq!(serde_json::from_str::<L>(&text).unwrap(), model);
    }
}

pub(super) fn parameters_round_trip_and_unknown_ones_are_refused<F: Fit>() {
    let text = serde_json::to_string(&F::default()).unwrap();
    assert_eq!(serde_json::from_str::<F>(&text).unwrap(), F::default());
    assert_eq!(serde_json::from_str::<F>("{}").unwrap(), F::default());
    assert!(serde_json::from_str::<F>(r#"{"contamination": 0.1}"#).is_err());
}

pub(super) fn a_fit_does_not_depend_on_the_threads<L: Learned>(models: fn(&Matrix) -> Vec<L>) {
    let x = slanted(3000, 4, 20, 2);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| models(&x))
    };
    assert_eq!(with(1), with(3));
}

pub(super) fn rows_that_are_all_equal_are_refused<F: Fit>() {
    let x = Matrix::from_values(2, [1.0, 2.0].repeat(50));
    let refused = F::default().fit(&x, &context(&Device::flex()));
    assert_eq!(refused.unwrap_err(), FitError::AllEqual { n_samples: 50 });
}

pub(super) fn huge_rows_have_finite_scores<L: Learned>(models: fn(&Matrix) -> Vec<L>) {
    let devices = devices();
    for model in models(&slanted(300, 5, 20, 1)) {
        for detector in devices.iter().map(|device| model.on_device(device)) {
            for value in [f32::MAX, f32::MIN, 1e30] {
                let row = Matrix::from_values(5, vec![value, -value, 0.0, value, -value]);
                let scored = detector.score(&row);
                assert!(scored.values[0].is_finite());
                let explained = detector.explain(&row, &scored).unwrap_or_default();
                let mut values = explained.iter().flat_map(|e| e.contributions.iter().chain(&e.expected));
                assert!(values.all(|value| value.is_finite()));
            }
        }
    }
}

/// Of models whose explanations are exact.
pub(super) fn contributions_add_up_to_the_score<L: Learned>(models: fn(&Matrix) -> Vec<L>) {
    let x = slanted(400, 5, 20, 3);
    for model in models(&x) {
        let scores = Scores::new(scores(&model, &x));
        let explained = model.on_device(&Device::flex()).explain(&x, &scores).unwrap();
        for (explanation, score) in explained.iter().zip(&scores.values) {
            assert!(!explanation.is_approximate);
            assert!((explanation.contributions.iter().sum::<f32>() - score).abs() <= 1e-3 * (1.0 + score));
        }
    }
}

/// A test for each of what every detector has to pass, of parameters and of the models that a function fits to rows.
macro_rules! conformance_tests {
    ($params:ty, $models:path) => {
        #[test]
        fn a_rows_score_does_not_depend_on_its_batch() {
            crate::conformance::a_rows_score_does_not_depend_on_its_batch($models);
        }

        #[test]
        fn a_saved_model_is_the_model() {
            crate::conformance::a_saved_model_is_the_model($models);
        }

        #[test]
        fn parameters_round_trip_and_unknown_ones_are_refused() {
            crate::conformance::parameters_round_trip_and_unknown_ones_are_refused::<$params>();
        }

        #[test]
        fn a_fit_does_not_depend_on_the_threads() {
            crate::conformance::a_fit_does_not_depend_on_the_threads($models);
        }

        #[test]
        fn rows_that_are_all_equal_are_refused() {
            crate::conformance::rows_that_are_all_equal_are_refused::<$params>();
        }

        #[test]
        fn huge_rows_have_finite_scores() {
            crate::conformance::huge_rows_have_finite_scores($models);
        }
    };
}

pub(super) use conformance_tests;
