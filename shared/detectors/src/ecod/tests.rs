use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn fit(max_values: usize, x: &Matrix) -> Result<Tails, FitError> {
    let device = Device::flex();
    Ecod { max_values }.fit(x, &Context { device: &device, seed: 7, max_state_bytes: None, on_step: &|| {} })
}

fn learned(max_values: usize, x: &Matrix) -> Tails {
    let tails = fit(max_values, x).unwrap();
    tails.check(x.n_features()).unwrap();
    tails
}

fn scores(tails: &Tails, x: &Matrix) -> Vec<f32> {
    tails.on_device(&Device::flex()).score(x).values
}

fn score_of(tails: &Tails, row: &[f32]) -> f32 {
    scores(tails, &Matrix::from_values(row.len(), row.to_vec()))[0]
}

/// The score as it is defined, counted anew for every value.
fn naive_score(train: &Matrix, row: &[f32]) -> f64 {
    let n = train.n_samples() as f64;
    let part = |(feature, x): (usize, &f32)| {
        let left = train.rows().filter(|row| row[feature] <= *x).count() as f64;
        let right = train.rows().filter(|row| row[feature] >= *x).count() as f64;
        -(left.min(right) / n).max(1.0 / (n + 1.0)).ln()
    };
    row.iter().enumerate().map(part).sum()
}

fn rows() -> impl Strategy<Value = Matrix> {
    (1usize..20, 2usize..60).prop_flat_map(|(d, n)| {
        let values = proptest::collection::vec(prop_oneof![(-3i32..4).prop_map(|v| v as f32), -1e3f32..1e3], n * d);
        values.prop_map(move |values| Matrix::from_values(d, values))
    })
}

/// Squares of uniform numbers of both signs: dense in the middle.
fn dense_column(n_samples: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut value = |_| {
        let uniform = rng.random::<f32>() * 2.0 - 1.0;
        uniform * uniform * uniform
    };
    (0..n_samples).map(&mut value).collect()
}

proptest! {
    #[test]
    fn a_score_is_the_sum_of_the_smaller_tails(x in rows(), others in rows()) {
        let Ok(tails) = fit(1000, &x) else { return Ok(()) };
        prop_assert_eq!(tails.check(x.n_features()), Ok(()));
        let cut: Vec<f32> = others.values().iter().copied().cycle().take(x.n_features() * 7).collect();
        let others = Matrix::from_values(x.n_features(), cut);
        for rows in [&x, &others] {
            for (row, score) in rows.rows().zip(scores(&tails, rows)) {
                let naive = naive_score(&x, row);
                prop_assert!((f64::from(score) - naive).abs() <= 1e-5 * naive.max(1.0), "{} {}", score, naive);
                prop_assert_eq!(score_of(&tails, row), score);
            }
        }
    }

    #[test]
    fn an_explanation_adds_up(x in rows()) {
        let Ok(tails) = fit(1000, &x) else { return Ok(()) };
        let detector = tails.on_device(&Device::flex());
        let scores = detector.score(&x);
        let explanations = detector.explain(&x, &scores).unwrap();
        prop_assert_eq!(explanations.len(), x.n_samples());
        for (explanation, score) in explanations.iter().zip(&scores.values) {
            let sum = explanation.contributions.iter().copied().map(f64::from).sum::<f64>() as f32;
            prop_assert_eq!(sum, *score);
            prop_assert!(!explanation.is_approximate);
            prop_assert_eq!(&explanation.expected, &tails.medians);
        }
    }

    #[test]
    fn of_too_many_values_those_are_kept_that_divide_the_tails(seed in any::<u64>(), n in 200usize..3000, max_values in 16usize..200) {
        let x = Matrix::from_values(1, dense_column(n, seed));
        let thinned = learned(max_values, &x);
        prop_assert!(thinned.n_values[0] <= max_values);
        let exact = learned(n, &x);
        let step = 4.0 * (n as f32).ln() / max_values as f32;
        let mut new = dense_column(500, seed ^ 1);
        new.extend_from_slice(x.values());
        let new = Matrix::from_values(1, new);
        for (a, b) in scores(&thinned, &new).iter().zip(scores(&exact, &new)) {
            prop_assert!((a - b).abs() <= step, "{} {} {}", a, b, step);
        }
        // The outermost values are all there.
        for extreme in [f32::min, f32::max].map(|of| x.values().iter().copied().reduce(of).unwrap()) {
            let n_equal = x.values().iter().filter(|value| **value == extreme).count();
            prop_assert_eq!(score_of(&thinned, &[extreme]), (n as f64 / n_equal as f64).ln() as f32);
        }
    }
}

#[test]
fn the_authors_own_implementation_says_the_same() {
    let values = [0, 1, 1, 1, 2, 3, 2, 5, 3, 2, 4, 2, 5, 9, 20, 1].map(|value: u8| f32::from(value));
    let x = Matrix::from_values(2, values.to_vec());
    let of_pyod = [3.06027, 2.36712, 1.67398, 2.07944, 1.16315, 1.45083, 3.46574, 3.06027];
    for (score, expected) in scores(&learned(16, &x), &x).iter().zip(of_pyod) {
        assert!((score - expected).abs() < 1e-5, "{score} {expected}");
    }
}

#[test]
fn what_lies_outside_is_a_little_more_than_what_lies_at_the_end() {
    let x = Matrix::from_values(1, vec![1.0, 2.0, 2.0, 3.0]);
    let tails = learned(16, &x);
    let ln = |value: f32| value.ln();
    let expected = [ln(5.0), ln(4.0), ln(4.0), ln(4.0 / 3.0), ln(4.0), ln(4.0), ln(5.0)];
    for (x, expected) in [f32::MIN, 1.0, 1.5, 2.0, 2.5, 3.0, f32::MAX].into_iter().zip(expected) {
        assert!((score_of(&tails, &[x]) - expected).abs() < 1e-6, "{x}");
    }
    assert_eq!(tails.medians, [2.0]);
    assert_eq!(learned(16, &Matrix::from_values(1, vec![8.0, 1.0, 4.0, 2.0])).medians, [3.0]);
    assert!(scores(&tails, &Matrix::from_values(1, vec![])).is_empty());
}

#[test]
fn a_score_grows_on_the_way_out() {
    let x = Matrix::from_values(1, dense_column(20_000, 3));
    let tails = learned(100, &x);
    let way = Matrix::from_values(1, (0..5000).map(|step| tails.medians[0] + step as f32 * 3e-4).collect());
    let scores = scores(&tails, &way);
    assert!(scores.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6));
}

#[test]
fn between_the_values_that_are_kept_the_score_is_interpolated() {
    let x = Matrix::from_values(1, dense_column(20_000, 3));
    let (thinned, exact) = (learned(100, &x), learned(20_000, &x));
    let new = Matrix::from_values(1, dense_column(5000, 4));
    let errors: Vec<f32> =
        scores(&thinned, &new).iter().zip(scores(&exact, &new)).map(|(a, b)| (a - b).abs()).collect();
    let mean = errors.iter().sum::<f32>() / 5000.0;
    assert!(mean < 0.03, "{mean}");
}

#[test]
fn the_greatest_numbers_and_constants_are_no_trouble() {
    let rows: Vec<f32> =
        (0..100).flat_map(|i| [(f32::MAX / 51.0) * (i as f32 - 50.0), 3.0, i as f32 * 1e-45]).collect();
    let x = Matrix::from_values(3, rows);
    let tails = learned(16, &x);
    assert!(scores(&tails, &x).iter().all(|score| score.is_finite() && *score >= 0.0));
    assert_eq!(tails.n_values[1], 1);
    assert!(score_of(&tails, &[0.0, 4.0, 0.0]) > score_of(&tails, &[0.0, 3.0, 0.0]) + 4.0);
    let signs = learned(16, &Matrix::from_values(1, vec![-0.0, 0.0, 1.0]));
    assert_eq!((signs.values.values(), signs.up_to.values()), (&[-0.0, 1.0][..], &[2, 3][..]));
    let median = learned(16, &Matrix::from_values(1, vec![f32::MAX, f32::MAX, f32::MIN])).medians;
    assert_eq!(median, [f32::MAX]);
}

#[test]
fn distributions_that_were_saved_are_the_same() {
    let x = Matrix::from_values(2, dense_column(1000, 3));
    let tails = learned(64, &x);
    let mut read: Tails = serde_json::from_str(&serde_json::to_string(&tails).unwrap()).unwrap();
    assert_eq!(read, tails);
    assert_eq!(scores(&read, &x), scores(&tails, &x));
    assert_eq!(read.arrays().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["values", "below", "up_to"]);
    read.values.take();
    assert!(read.check(2).unwrap_err().contains("values with their counts"));
}

#[test]
fn damaged_distributions_are_refused() {
    let x = Matrix::from_values(2, dense_column(40, 3));
    let tails = learned(64, &x);
    let refused = |change: &dyn Fn(&mut Tails), why: &str| {
        let mut damaged = tails.clone();
        change(&mut damaged);
        let error = damaged.check(2).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    fn with<T: super::super::Element>(array: &Array<T>, index: usize, value: T) -> Array<T> {
        let mut values = array.values().to_vec();
        values[index] = value;
        Array::new(array.shape(), values)
    }
    refused(&|damaged| damaged.n_samples = 0, "rows");
    refused(&|damaged| damaged.n_samples = 1 << 40, "rows");
    refused(&|damaged| damaged.n_samples = 19, "does not rise");
    refused(&|damaged| damaged.medians[0] = f32::NAN, "median");
    refused(&|damaged| damaged.n_values[0] += 1, "values with their counts");
    refused(&|damaged| damaged.n_values = vec![40, 0], "does not rise");
    refused(&|damaged| damaged.n_values = vec![usize::MAX, 2], "too many");
    refused(&|damaged| damaged.values = with(&damaged.values, 5, f32::INFINITY), "does not rise");
    refused(&|damaged| damaged.values = with(&damaged.values, 5, -2.0), "does not rise");
    refused(&|damaged| damaged.below = with(&damaged.below, 0, 1), "does not rise");
    refused(&|damaged| damaged.below = with(&damaged.below, 5, 1), "does not rise");
    refused(&|damaged| damaged.up_to = with(&damaged.up_to, 19, 21), "does not rise");
    assert!(tails.check(3).unwrap_err().contains("3 features"));
}

#[test]
fn parameters_are_checked() {
    assert_eq!(Ecod::default().check(), Ok(()));
    for max_values in [0, 15, (1 << 20) + 1] {
        assert_eq!(Ecod { max_values }.check(), Err("max_values must be between 16 and 1048576".into()));
    }
    assert!(serde_json::from_str::<Ecod>(r#"{"max_rows": 3}"#).is_err());
    assert_eq!(serde_json::from_str::<Ecod>("{}").unwrap(), Ecod::default());
}

#[test]
fn rows_that_nothing_can_be_learned_from_are_refused() {
    let refused = |n: usize| fit(16, &Matrix::from_values(2, vec![1.0; 2 * n])).unwrap_err();
    assert!(matches!(refused(1), FitError::TooFewRows { n_samples: 1, needed: 2, .. }));
    assert!(matches!(refused(0), FitError::TooFewRows { n_samples: 0, .. }));
    assert_eq!(refused(3), FitError::AllEqual { n_samples: 3 });
}
