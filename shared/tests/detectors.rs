//! What holds for every detector that is trained, whatever its algorithm: a row's score is its own, a model that was saved
//! is the one that was fitted, and a GPU finds what the CPU finds.
//!
//! `cargo test -p shared -p trainer --test detectors -- --nocapture` shows the largest differences.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::detector::Detector;
use shared::detectors::{Algorithm, AnyLearned, Context, Explanation, Scores, leave_one_feature_out};
use shared::device::{ChosenDevice, DeviceRequest, choose, choose_by_name};
use shared::matrix::{FeatureMatrix, Matrix};
use shared::model::{FORMAT_VERSION, Model, TrainingSummary};
use shared::pipeline::ThresholdPolicy;
use shared::scaler::{Scaler, Scaling};
use shared::threshold::{Calibration, Threshold};

const N_FEATURES: usize = 6;

/// Two clouds of normal rows, the one wide and the other narrow, with features that go together; every 40th row is odd. One
/// feature is constant, as some always is.
fn rows(n_samples: usize, seed: u64) -> Matrix {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut values = Vec::with_capacity(n_samples * N_FEATURES);
    for index in 0..n_samples {
        let (center, width) = if random.random_bool(0.3) { (4.0, 0.3) } else { (0.0, 1.0) };
        let mut noise = || (0..6).map(|_| random.random_range(-1.0..1.0f32)).sum::<f32>() / 1.4;
        let first = center + width * noise();
        let odd = if index % 40 == 7 { 6.0 * noise() } else { 0.0 };
        values.extend([first, first * 0.5 + 0.2 * noise() + odd, -center + noise(), noise() + odd, noise().exp(), 3.0]);
    }
    Matrix::from_values(N_FEATURES, values)
}

fn cpu() -> ChosenDevice {
    choose(DeviceRequest::Cpu).unwrap()
}

fn fit(algorithm: &Algorithm, x: &Matrix, device: &ChosenDevice) -> AnyLearned {
    let context = Context { device: &device.device, seed: 42, max_state_bytes: None, on_step: &|| {} };
    algorithm.fit(x, &context).unwrap()
}

fn all() -> impl Iterator<Item = Algorithm> {
    Algorithm::NAMES.iter().map(|name| Algorithm::by_name(name).unwrap())
}

fn score(learned: &AnyLearned, x: &Matrix, device: &ChosenDevice) -> Scores {
    let scores = learned.on_device(&device.device).score(x);
    assert_eq!(scores.values.len(), x.n_samples());
    assert!(scores.values.iter().all(|score| score.is_finite()), "{}", learned.algorithm());
    scores
}

/// The largest difference, relative to how far scores are apart.
fn largest_difference(a: &Scores, b: &Scores) -> f64 {
    let spread = a.values.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    let spread = f64::from(spread.1 - spread.0).max(1e-30);
    a.values.iter().zip(&b.values).map(|(a, b)| f64::from((a - b).abs()) / spread).fold(0.0, f64::max)
}

#[test]
fn a_row_has_the_same_score_alone_and_among_others() {
    let (x, new, device) = (rows(1500, 1), rows(300, 2), cpu());
    for algorithm in all() {
        let learned = fit(&algorithm, &x, &device);
        for rows in [&x.first_rows(300), &new] {
            let scorer = learned.on_device(&device.device);
            let together = scorer.score(rows);
            let alone = rows.rows().map(|row| scorer.score(&Matrix::from_values(N_FEATURES, row.to_vec())).values[0]);
            let alone = Scores { values: alone.collect(), clusters: None };
            println!(
                "{}: batch and one by one differ by {:e}",
                algorithm.name(),
                largest_difference(&together, &alone)
            );
            assert_eq!(together.values, alone.values, "{}", algorithm.name());
        }
    }
}

/// Rows that a detector did not learn from are new to it, whoever asks; where rows are compared with those of the fit, those of
/// the fit leave themselves out, also within an ensemble.
#[test]
fn only_rows_of_the_fit_leave_themselves_out() {
    let (x, device) = (rows(800, 1), cpu());
    let places: Vec<Option<usize>> = (0..800).map(Some).collect();
    for algorithm in all() {
        let scorer = fit(&algorithm, &x, &device).on_device(&device.device);
        let new = scorer.score(&x);
        assert_eq!(scorer.score_training(&x, &[None; 800]), new, "{}", algorithm.name());
        let of_fit = scorer.score_training(&x, &places);
        let compares = ["knn", "lesinn", "lof", "ensemble"].contains(&algorithm.name());
        assert_eq!(of_fit != new, compares, "{}", algorithm.name());
    }
}

fn model(algorithm: &Algorithm, learned: AnyLearned) -> Model {
    let features = FeatureMatrix::from_values(N_FEATURES, vec![0.0; N_FEATURES]);
    let policy = ThresholdPolicy::Quantile(0.99);
    Model {
        format_version: FORMAT_VERSION,
        pipeline: "any".into(),
        detector: algorithm.name().into(),
        parameters: algorithm.clone(),
        promoted: false,
        imported: None,
        features: (0..N_FEATURES).map(|index| format!("f{index}")).collect(),
        definition: None,
        scaler: Scaler::fit(Scaling::None, &features),
        typical: vec![0.0; N_FEATURES],
        usual: Vec::new(),
        learned,
        weights: None,
        threshold: Threshold { policy, value: 1.0, by_cluster: Vec::new() },
        calibration: Calibration::fit(&[]),
        calibration_by_cluster: Vec::new(),
        profile: None,
        training: TrainingSummary {
            rows: 1500,
            held_out: 0,
            seed: 42,
            device: "cpu".into(),
            anomalies: 0,
            data_fingerprint: String::new(),
        },
    }
}

#[test]
fn a_model_that_was_saved_is_the_one_that_was_fitted() {
    let (x, device, folder) = (rows(1500, 1), cpu(), tempfile::tempdir().unwrap());
    for algorithm in all() {
        let fresh = model(&algorithm, fit(&algorithm, &x, &device));
        let path = fresh.save(folder.path()).unwrap();
        let loaded = Model::read(&path).unwrap();
        assert!(loaded == fresh, "{}", algorithm.name());
        assert_eq!(loaded.version(), fresh.version());
        let (fresh, loaded) = (score(&fresh.learned, &x, &device), score(&loaded.learned, &x, &device));
        println!("{}: saved and fresh differ by {:e}", algorithm.name(), largest_difference(&fresh, &loaded));
        assert_eq!(fresh, loaded, "{}", algorithm.name());
        if let Some(weights) = weights_beside(&path) {
            refuses_other_weights(&path, &weights);
        }
    }
}

fn weights_beside(path: &Path) -> Option<std::path::PathBuf> {
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut weights: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|ending| ending == "safetensors")).collect();
    assert!(weights.len() <= 1, "{weights:?}");
    weights.pop()
}

/// Weights that were cut short, changed or lost are found out.
fn refuses_other_weights(model: &Path, weights: &Path) {
    let whole = std::fs::read(weights).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for bytes in [&whole[..whole.len() / 2], &changed] {
        std::fs::write(weights, bytes).unwrap();
        let error = Model::read(model).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("is not what was written"), "{error}");
    }
    std::fs::remove_file(weights).unwrap();
    let error = Model::read(model).unwrap_err().to_string();
    assert!(error.contains("is damaged") && error.contains("cannot be read"), "{error}");
}

#[test]
fn the_same_rows_and_seed_give_the_same_model() {
    let (x, device) = (rows(800, 1), cpu());
    for algorithm in all() {
        let models = [1, 2].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fit(&algorithm, &x, &device))
        });
        assert!(models[0] == models[1], "{}", algorithm.name());
    }
}

#[test]
fn a_gpu_finds_what_the_cpu_finds() {
    let Some(gpu) = requirements::gpu(choose_by_name) else { return };
    let (x, new, device) = (rows(1200, 1), rows(300, 2), cpu());
    for algorithm in all() {
        let learned = fit(&algorithm, &x, &device);
        let (on_cpu, on_gpu) = (score(&learned, &new, &device), score(&learned, &new, &gpu));
        let difference = largest_difference(&on_cpu, &on_gpu);
        println!("{}: CPU and GPU differ by {difference:e}", algorithm.name());
        assert!(difference < 1e-4, "{}: {difference:e}", algorithm.name());
        assert_eq!(on_cpu.clusters, on_gpu.clusters, "{}", algorithm.name());
    }
}

/// Rows of two clouds as far from each other as this: the squares of their values are far larger than the distances within.
const FAR: f32 = 74.0;

/// Products of float32 keep their digits on every device. Tensor cores would round each factor to eleven bits, and what is left of
/// the distances between such rows is noise.
#[test]
fn a_gpu_scores_clouds_that_are_far_apart_as_the_cpu_does() {
    let Some(gpu) = requirements::gpu(choose_by_name) else { return };
    let (x, new, device) = (far_clouds(600, 1), far_clouds(200, 2), cpu());
    // An ensemble goes by the ranks of its members' scores, and a rank is a whole step.
    for algorithm in all().filter(|algorithm| algorithm.name() != "ensemble") {
        let learned = fit(&algorithm, &x, &device);
        let (on_cpu, on_gpu) = (score(&learned, &new, &device), score(&learned, &new, &gpu));
        let (name, difference) = (algorithm.name(), largest_difference(&on_cpu, &on_gpu));
        println!("{name}: on clouds that are far apart, CPU and GPU differ by {difference:e}");
        let rounding = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * a.abs().max(1.0);
        let is_rounding = on_cpu.values.iter().zip(&on_gpu.values).all(rounding);
        assert!(difference < 1e-4 || is_rounding, "{name}: {difference:e}");
        assert_eq!(on_cpu.clusters, on_gpu.clusters, "{name}");
    }
}

/// As [`rows`], every second one in a cloud far from the other's; the constant feature stays as it is.
fn far_clouds(n_samples: usize, seed: u64) -> Matrix {
    let mut values = rows(n_samples, seed).into_values();
    for (index, row) in values.chunks_exact_mut(N_FEATURES).enumerate() {
        let shift = if index.is_multiple_of(2) { FAR } else { -FAR };
        row[..N_FEATURES - 1].iter_mut().for_each(|value| *value += shift);
    }
    Matrix::from_values(N_FEATURES, values)
}

/// Odd rows have to look odd, or something is upside down.
#[test]
fn odd_rows_have_higher_scores() {
    let (x, device) = (rows(1500, 1), cpu());
    for algorithm in all() {
        let scores = score(&fit(&algorithm, &x, &device), &x, &device).values;
        let (odd, normal): (Vec<_>, Vec<_>) = scores.iter().enumerate().partition(|(index, _)| index % 40 == 7);
        let beaten = |odd: f32| normal.iter().filter(|(_, score)| **score < odd).count() as f64;
        let auc = odd.iter().map(|(_, score)| beaten(**score)).sum::<f64>() / (odd.len() * normal.len()) as f64;
        println!("{}: ROC AUC {auc:.3}", algorithm.name());
        assert!(auc > 0.7, "{}: {auc}", algorithm.name());
    }
}

#[test]
fn explanations_add_up_or_say_that_they_are_approximate() {
    let (x, device) = (rows(1500, 1), cpu());
    let rows = x.first_rows(200);
    let typical = vec![0.0; N_FEATURES];
    for algorithm in all() {
        let scorer = fit(&algorithm, &x, &device).on_device(&device.device);
        let scores = scorer.score(&rows);
        let check = |explanations: Vec<Explanation>, is_approximate: bool| {
            assert_eq!(explanations.len(), 200, "{}", algorithm.name());
            for (explanation, &score) in explanations.iter().zip(&scores.values) {
                assert_eq!(explanation.contributions.len(), N_FEATURES);
                assert!(explanation.contributions.iter().chain(&explanation.expected).all(|value| value.is_finite()));
                assert_eq!(explanation.is_approximate, is_approximate, "{}", algorithm.name());
                let total: f32 = explanation.contributions.iter().sum();
                let adds_up = (total - score).abs() <= 1e-3 * score.abs().max(1e-2);
                assert!(is_approximate || adds_up, "{}: {total} is not {score}", algorithm.name());
            }
        };
        match scorer.explain(&rows, &scores) {
            Some(explanations) if explanations.iter().all(|it| !it.is_approximate) => check(explanations, false),
            Some(explanations) => check(explanations, true),
            None => check(leave_one_feature_out(&*scorer, &rows, &scores, &typical), true),
        }
    }
}

/// The places of the numbers in some JSON, as pointers.
fn numbers_in(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Number(_) => found.push(at.to_owned()),
        serde_json::Value::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| numbers_in(value, &format!("{at}/{index}"), found));
        }
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, value)| numbers_in(value, &format!("{at}/{key}"), found));
        }
        _ => {}
    }
}

/// Whatever number a model file has in the place of another, the model is refused, or all that is said by it is finite.
#[test]
fn a_model_with_another_number_is_refused_or_has_finite_scores() {
    let (x, device, folder) = (rows(400, 1), cpu(), tempfile::tempdir().unwrap());
    let features =
        |rows: &Matrix| FeatureMatrix::from_values(N_FEATURES, rows.values().iter().map(|x| f64::from(*x)).collect());
    let odd = FeatureMatrix::from_values(N_FEATURES, vec![1e300, -1e300, 1e18, f64::MAX, 0.0, f64::MIN]);
    let (usual, mut refused, mut read) = (features(&x.first_rows(20)), 0, 0);
    for algorithm in all() {
        let learned = fit(&algorithm, &x, &device);
        let scores = score(&learned, &x, &device).values;
        let whole = Model { calibration: Calibration::fit(&scores), ..model(&algorithm, learned) };
        let path = whole.save(folder.path()).unwrap();
        let written: serde_json::Value = serde_json::from_str(&whole.files().json).unwrap();
        let mut places = Vec::new();
        numbers_in(&written, "", &mut places);
        // The first numbers, and some of the many that are alike.
        let step = (places.len() / 60).max(1);
        let places = places.iter().take(40).chain(places.iter().skip(40).step_by(step));
        for place in places {
            for number in
                ["0", "-1", "1e38", "-1e38", "3.4e38", "1e300", "1e-300", "18446744073709551615", "2147483648"]
            {
                let mut other = written.clone();
                *other.pointer_mut(place).unwrap() = serde_json::from_str(number).unwrap();
                std::fs::write(&path, serde_json::to_vec(&other).unwrap()).unwrap();
                let Ok(model) = Model::read(&path) else {
                    refused += 1;
                    continue;
                };
                read += 1;
                let what = format!("{}{place} = {number}", algorithm.name());
                let detector = Detector::new(model, &device.device);
                for features in [&usual, &odd] {
                    let batch = detector.score(features);
                    let indices: Vec<usize> = (0..features.n_samples()).collect();
                    for said in detector.explain(&batch, &indices) {
                        let p_value = detector.model().p_value(said.score, said.cluster);
                        assert!(
                            said.score.is_finite() && p_value > 0.0 && p_value <= 1.0,
                            "{what}: {said:?} {p_value}"
                        );
                        assert!(
                            said.shares.iter().chain(&said.expected).all(|value| value.is_finite()),
                            "{what}: {said:?}"
                        );
                    }
                }
            }
        }
    }
    assert!(refused > 1000 && read > 1000, "{refused} {read}");
}
