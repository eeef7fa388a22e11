use std::sync::atomic::{AtomicU64, Ordering};

use crate::Score;
use crate::conformance::gpu;
use burn::tensor::Device;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Rows of `n_features` features that all follow from two hidden numbers, but for some noise.
fn related(n_samples: usize, n_features: usize, seed: u64) -> Matrix {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values = Vec::with_capacity(n_samples * n_features);
    for _ in 0..n_samples {
        let (a, b) = (rng.random::<f32>() * 4.0 - 2.0, rng.random::<f32>() * 2.0 - 1.0);
        values.extend((0..n_features).map(|f| {
            let angle = f as f32;
            a * angle.cos() + b * angle.sin() + (rng.random::<f32>() - 0.5) * 0.1
        }));
    }
    Matrix::from_values(n_features, values)
}

fn quick() -> Autoencoder {
    Autoencoder { hidden: vec![16, 8], bottleneck: 1.0, epochs: 3, batch: 32, ..Autoencoder::default() }
}

fn fit_on(device: &Device, params: &Autoencoder, x: &Matrix, seed: u64) -> Result<Reconstruction, FitError> {
    params.check().unwrap();
    params.fit(x, &Context { device, seed, max_state_bytes: None, on_step: &|| {} })
}

fn fit(params: &Autoencoder, x: &Matrix, seed: u64) -> Reconstruction {
    fit_on(&Device::flex(), params, x, seed).unwrap()
}

fn scorer(learned: &Reconstruction) -> Box<dyn Score> {
    learned.on_device(&Device::flex())
}

fn scores(learned: &Reconstruction, x: &Matrix) -> Vec<f32> {
    scorer(learned).score(x).values
}

/// Reconstruction and score in float64 and plain loops.
fn reference(learned: &Reconstruction, row: &[f32]) -> (Vec<f64>, f64) {
    let mut model = serde_json::to_value(learned).unwrap();
    let mut take = |name: &str| serde_json::from_value::<Vec<f64>>(model[name]["values"].take()).unwrap();
    let (center, scale, weights) = (take("center"), take("scale"), take("weights"));
    let clip = model["clip"].as_f64().unwrap();
    let standard = |((&x, c), s): ((&f32, &f64), &f64)| if *s == 0.0 { 0.0 } else { (f64::from(x) - c) / s };
    let inputs = row.iter().zip(&center).zip(&scale).map(standard);
    let mut values: Vec<f64> = inputs.map(|z| z.clamp(-clip, clip)).collect();
    let mut rest = weights.as_slice();
    for ends in learned.widths().windows(2) {
        let (weight, left) = rest.split_at(ends[0] * ends[1]);
        let (bias, left) = left.split_at(ends[1]);
        rest = left;
        let output = |j: usize| bias[j] + (0..ends[0]).map(|i| values[i] * weight[i * ends[1] + j]).sum::<f64>();
        values = (0..ends[1]).map(output).collect();
        if !rest.is_empty() {
            values.iter_mut().for_each(|value| *value = value.max(0.0));
        }
    }
    let expected: Vec<f64> = values.iter().zip(&scale).zip(&center).map(|((y, s), c)| y * s + c).collect();
    let score = row.iter().zip(&expected).map(|(&x, y)| (f64::from(x) - y).powi(2)).sum::<f64>() / row.len() as f64;
    (expected, score)
}

#[test]
fn parameters_have_defaults_and_bounds() {
    assert_eq!(Autoencoder::default().check(), Ok(()));
    assert_eq!(serde_json::from_str::<Autoencoder>("{}").unwrap(), Autoencoder::default());
    assert!(serde_json::from_str::<Autoencoder>(r#"{"epoch": 3}"#).is_err());
    let refused = |change: &dyn Fn(&mut Autoencoder), name: &str| {
        let mut params = Autoencoder::default();
        change(&mut params);
        let problem = params.check().unwrap_err();
        assert!(problem.starts_with(name), "{problem}");
    };
    refused(&|p| p.hidden = vec![], "hidden");
    refused(&|p| p.hidden = vec![8; 9], "hidden");
    refused(&|p| p.hidden = vec![8, 0], "hidden");
    refused(&|p| p.hidden = vec![MAX_WIDTH + 1], "hidden");
    refused(&|p| p.bottleneck = 0.0, "bottleneck");
    refused(&|p| p.bottleneck = f64::NAN, "bottleneck");
    refused(&|p| p.epochs = 0, "epochs");
    refused(&|p| p.epochs = 10_001, "epochs");
    refused(&|p| p.batch = 0, "batch");
    refused(&|p| p.batch = MAX_BATCH + 1, "batch");
    refused(&|p| p.learning_rate = 0.0, "learning_rate");
    refused(&|p| p.learning_rate = f64::NAN, "learning_rate");
    refused(&|p| p.patience = 0, "patience");
    refused(&|p| p.dropout = 0.95, "dropout");
    refused(&|p| p.dropout = -0.1, "dropout");
    refused(&|p| p.weight_decay = 2.0, "weight_decay");
    refused(&|p| p.clip = f64::INFINITY, "clip");
}

#[test]
fn layers_are_no_wider_than_the_features_allow() {
    let params = Autoencoder::default();
    assert_eq!(params.widths(1), [1, 2, 2, 2, 1]);
    assert_eq!(params.widths(9), [9, 6, 3, 6, 9]);
    assert_eq!(params.widths(1500), [1500, 64, 32, 64, 1500]);
    let fixed = Autoencoder { bottleneck: 1000.0, hidden: vec![5, 4, 3], ..params };
    assert_eq!(fixed.widths(3), [3, 5, 4, 3, 4, 5, 3]);
}

#[test]
fn scores_and_explanations_are_those_of_plain_arithmetic() {
    for (n_features, hidden) in [(1, vec![3]), (5, vec![16, 8]), (33, vec![7]), (70, vec![40, 20, 10])] {
        let x = related(300, n_features, 1);
        let learned = fit(&Autoencoder { hidden, ..quick() }, &x, 5);
        learned.check(n_features).unwrap();
        let scorer = scorer(&learned);
        let scores = scorer.score(&x);
        let explanations = scorer.explain(&x, &scores).unwrap();
        for ((row, &score), explanation) in x.rows().zip(&scores.values).zip(explanations) {
            let (expected, plain) = reference(&learned, row);
            assert!((f64::from(score) - plain).abs() <= 1e-4 * plain + 1e-7, "{score} {plain}");
            for (value, plain) in explanation.expected.iter().zip(&expected) {
                assert!((f64::from(*value) - plain).abs() <= 1e-4 * plain.abs() + 1e-5, "{value} {plain}");
            }
            let sum: f32 = explanation.contributions.iter().sum();
            assert!((sum - score).abs() <= 1e-4 * score + 1e-9, "{sum} {score}");
            assert!(!explanation.is_approximate);
        }
    }
}

#[test]
fn what_does_not_follow_the_others_scores_high() {
    let n_features = 8;
    let mut values = related(2000, n_features, 2).into_values();
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    // Every twentieth row has the values of the others, but not their relation.
    for row in values.chunks_exact_mut(n_features).step_by(20) {
        row.iter_mut().for_each(|value| *value = rng.random::<f32>() * 4.0 - 2.0);
    }
    let x = Matrix::from_values(n_features, values);
    let scores = scores(&fit(&Autoencoder::default(), &x, 1), &x);
    let (mut odd, mut others) = (Vec::new(), Vec::new());
    scores.iter().enumerate().for_each(|(i, &s)| if i % 20 == 0 { odd.push(s) } else { others.push(s) });
    let above = odd.iter().map(|odd| others.iter().filter(|&other| odd > other).count()).sum::<usize>();
    let auc = above as f64 / (odd.len() * others.len()) as f64;
    assert!(auc > 0.9, "{auc}");
}

#[test]
fn what_lies_far_out_neither_spoils_training_nor_hides() {
    let clean = related(600, 6, 3);
    let mut values = clean.values().to_vec();
    let far = [1e18, -1e18, 3e5, f32::MAX, f32::MIN, 1e10];
    for (row, value) in far.into_iter().enumerate() {
        values[row * 60 + row] = value;
    }
    let spoilt = Matrix::from_values(6, values);
    let (from_clean, from_spoilt) = (fit(&quick(), &clean, 1), fit(&quick(), &spoilt, 1));
    let mean = |learned| scores(learned, &clean).iter().map(|&score| f64::from(score)).sum::<f64>();
    assert!(mean(&from_spoilt) < 1.5 * mean(&from_clean));
    let of_spoilt = scores(&from_spoilt, &spoilt);
    assert!(of_spoilt.iter().all(|score| score.is_finite()), "{of_spoilt:?}");
    let least_far = (0..far.len()).map(|row| of_spoilt[row * 10]).fold(f32::INFINITY, f32::min);
    let is_far = |index: usize| index.is_multiple_of(10) && index / 10 < far.len();
    assert!(of_spoilt.iter().enumerate().all(|(index, &score)| is_far(index) || score < least_far));
    let scorer = scorer(&from_spoilt);
    let explanations = scorer.explain(&spoilt, &scorer.score(&spoilt)).unwrap();
    assert!(explanations.iter().flat_map(|e| e.contributions.iter().chain(&e.expected)).all(|value| value.is_finite()));
}

#[test]
fn a_feature_that_never_varied_is_expected_to_be_what_it_was() {
    let mut values = related(200, 4, 4).into_values();
    values.iter_mut().skip(2).step_by(4).for_each(|value| *value = 7.5);
    let learned = fit(&quick(), &Matrix::from_values(4, values.clone()), 1);
    values[2] = 9.5;
    let row = Matrix::from_values(4, values[..4].to_vec());
    let scorer = scorer(&learned);
    let explanation = scorer.explain(&row, &scorer.score(&row)).unwrap().remove(0);
    assert_eq!((explanation.expected[2], explanation.contributions[2]), (7.5, 1.0));
}

#[test]
fn training_makes_errors_smaller_and_ends_when_it_does_no_more() {
    let x = related(1000, 10, 5);
    let mean = |params: &Autoencoder| {
        let learned = fit(params, &x, 1);
        scores(&learned, &x).iter().map(|&score| f64::from(score)).sum::<f64>()
    };
    let short = Autoencoder { epochs: 1, dropout: 0.0, ..quick() };
    let long = Autoencoder { epochs: 40, dropout: 0.0, ..quick() };
    assert!(mean(&long) < 0.3 * mean(&short), "{} {}", mean(&long), mean(&short));
    let steps = AtomicU64::new(0);
    let count = || {
        steps.fetch_add(1, Ordering::Relaxed);
    };
    let patient = Autoencoder { epochs: 500, patience: 1, ..quick() };
    let device = Device::flex();
    patient.fit(&x, &Context { device: &device, seed: 1, max_state_bytes: None, on_step: &count }).unwrap();
    assert_eq!(steps.into_inner(), patient.n_steps());
}

#[test]
fn training_that_diverges_says_so() {
    let params = Autoencoder { learning_rate: 1.0, epochs: 2, dropout: 0.0, hidden: vec![512, 256, 512], ..quick() };
    let params = Autoencoder { bottleneck: 1000.0, ..params };
    let error = fit_on(&Device::flex(), &params, &related(300, 5, 6), 1).unwrap_err();
    assert!(error.to_string().ends_with("lower its learning_rate of 1"), "{error}");
}

#[test]
fn rows_that_nothing_can_be_learned_from_are_refused() {
    let cpu = Device::flex();
    let few = fit_on(&cpu, &quick(), &related(9, 3, 1), 1).unwrap_err();
    assert_eq!(few.to_string(), "9 rows are too few: an autoencoder needs at least 10");
    let equal = fit_on(&cpu, &quick(), &Matrix::from_values(2, [1.0, 2.0].repeat(50)), 1).unwrap_err();
    assert_eq!(equal, FitError::AllEqual { n_samples: 50 });
    let wide = Autoencoder { hidden: vec![MAX_WIDTH, MAX_WIDTH], bottleneck: 1000.0, ..quick() };
    let error = fit_on(&cpu, &wide, &related(20, 20, 1), 1).unwrap_err();
    assert!(matches!(error, FitError::TooLarge { .. }), "{error}");
    assert!(fit_on(&cpu, &quick(), &related(10, 3, 1), 1).is_ok());
}

#[test]
fn the_seed_decides_and_neither_threads_nor_what_else_is_going_on() {
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    // Products of matrices that are large enough for all threads, and small ones.
    let cases = [
        (related(700, 9, 7), quick()),
        (related(600, 300, 7), Autoencoder { hidden: vec![256, 8], batch: 256, epochs: 2, bottleneck: 1.0, ..quick() }),
    ];
    for (x, params) in cases {
        let alone = pool(1).install(|| fit(&params, &x, 3));
        let of_alone = pool(1).install(|| scores(&alone, &x));
        let (shared_x, shared_params) = (&x, &params);
        let together = std::thread::scope(|scope| {
            let start = |seed| scope.spawn(move || pool(3).install(|| fit(shared_params, shared_x, seed)));
            let threads = [3, 4, 3].map(start);
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(together[0] == alone && together[2] == alone);
        assert!(together[1] != alone);
        assert_eq!(pool(4).install(|| scores(&together[0], &x)), of_alone);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // One epoch teaches a network of a single feature so little that its fit may be refused, as with seed 0.
    #[test]
    fn a_score_does_not_depend_on_the_batch(n_features in 2usize..90, n_samples in 1usize..300, seed in 0u64..9) {
        let learned = fit(&Autoencoder { epochs: 1, ..quick() }, &related(40, n_features, seed), seed);
        let x = related(n_samples, n_features, seed + 1);
        let scorer = scorer(&learned);
        let together = scorer.score(&x);
        let explained = scorer.explain(&x, &together).unwrap();
        for index in [0, n_samples / 2, n_samples - 1] {
            let row = Matrix::from_values(n_features, x.row(index).to_vec());
            let alone = scorer.score(&row);
            prop_assert_eq!(alone.values[0].to_bits(), together.values[index].to_bits());
            prop_assert_eq!(&scorer.explain(&row, &alone).unwrap()[0], &explained[index]);
        }
    }

    #[test]
    fn every_row_comes_once_in_a_pass(n_samples in 10usize..500, draw in 1usize..40, seed in 0u64..99) {
        let (held_out, mut order) = order::Order::hold_out(n_samples, Stream::NetworkOrder.of(seed));
        prop_assert_eq!(held_out.len(), n_samples.div_ceil(10));
        let draw = draw.min(order.len());
        for _ in 0..3 {
            let mut seen = held_out.clone();
            for _ in 0..order.len() / draw {
                seen.extend_from_slice(order.draw(draw));
            }
            let n_seen = seen.len();
            seen.sort_unstable();
            seen.dedup();
            prop_assert!(seen.len() == n_seen && seen.iter().all(|&row| (row as usize) < n_samples));
            prop_assert!(n_samples - n_seen < draw);
        }
    }
}

#[test]
fn what_was_saved_and_loaded_is_what_was_learned() {
    let x = related(100, 5, 8);
    let mut learned = fit(&quick(), &x, 1);
    let text = serde_json::to_string(&learned).unwrap();
    let loaded: Reconstruction = serde_json::from_str(&text).unwrap();
    assert_eq!(loaded, learned);
    assert_eq!(loaded.check(5), Ok(()));
    assert_eq!(scores(&loaded, &x), scores(&learned, &x));
    let fresh = learned.clone();
    for (_, array) in learned.arrays() {
        let crate::ArrayMut::F32(array) = array else { panic!("float32") };
        let values = array.take();
        array.fill(values).unwrap();
    }
    assert_eq!(learned, fresh);
}

#[test]
fn damaged_models_are_refused() {
    let learned = fit(&quick(), &related(100, 5, 8), 1);
    assert_eq!(learned.check(5), Ok(()));
    assert!(learned.check(4).is_err());
    let good = serde_json::to_value(&learned).unwrap();
    let refused = |change: &dyn Fn(&mut serde_json::Value), part: &str| {
        let mut damaged = good.clone();
        change(&mut damaged);
        let damaged: Reconstruction = serde_json::from_value(damaged).unwrap();
        let problem = damaged.check(5).unwrap_err();
        assert!(problem.contains(part), "{problem}");
    };
    refused(&|model| model["widths"] = serde_json::json!([5, 5]), "lead from");
    refused(&|model| model["widths"] = serde_json::json!([]), "lead from");
    refused(&|model| model["widths"][0] = 4.into(), "lead from");
    refused(&|model| model["widths"][1] = 0.into(), "wide");
    refused(&|model| model["widths"][1] = u64::MAX.into(), "wide");
    refused(&|model| model["widths"][1] = 15.into(), "as many weights");
    refused(&|model| model["weights"]["values"] = serde_json::json!([]), "as many weights");
    refused(&|model| model["weights"]["values"][3] = 1e30.into(), "so large");
    refused(&|model| model["weights"]["values"][3] = 1e300.into(), "not all finite");
    refused(&|model| model["clip"] = (-1.0).into(), "bound");
    refused(&|model| model["center"]["values"][1] = 1e19.into(), "centre");
    refused(&|model| model["center"]["shape"][0] = 4.into(), "features wide");
    refused(&|model| model["scale"]["values"][1] = (-1.0).into(), "scale");
    refused(&|model| model["scale"]["values"][1] = 1e-30.into(), "scale");
}

#[test]
fn a_gpu_trains_and_scores_as_the_cpu_does() {
    let Some(device) = gpu() else { return };
    let x = related(60, 4, 9);
    let params = Autoencoder { hidden: vec![6, 3], epochs: 2, ..quick() };
    let (on_gpu, on_cpu) = (fit_on(&device, &params, &x, 1).unwrap(), fit(&params, &x, 1));
    assert_eq!(fit_on(&device, &params, &x, 1).unwrap(), on_gpu);
    let close = |a: &[f32], b: &[f32], tolerance: f32| {
        a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() <= tolerance * b.abs().max(0.01), "{a} {b}"));
    };
    let of_cpu = scores(&on_cpu, &x);
    close(&scores(&on_gpu, &x), &of_cpu, 1e-2);
    let scorer = on_cpu.on_device(&device);
    close(&scorer.score(&x).values, &of_cpu, 1e-4);
    let alone = Matrix::from_values(4, x.row(7).to_vec());
    assert_eq!(scorer.score(&alone).values[0].to_bits(), scorer.score(&x).values[7].to_bits());
}
