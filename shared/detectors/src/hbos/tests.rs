use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn fit(params: &Hbos, x: &Matrix) -> Result<Histograms, FitError> {
    let device = Device::flex();
    params.fit(x, &Context { device: &device, seed: 7, max_state_bytes: None, on_step: &|| {} })
}

fn learned(params: &Hbos, x: &Matrix) -> Histograms {
    let histograms = fit(params, x).unwrap();
    histograms.check(x.n_features()).unwrap();
    histograms
}

fn bins(n_bins: usize) -> Hbos {
    Hbos { n_bins: Some(n_bins), ..Hbos::default() }
}

fn scores(histograms: &Histograms, x: &Matrix) -> Vec<f32> {
    histograms.on_device(&Device::flex()).score(x).values
}

fn score_of(histograms: &Histograms, row: &[f32]) -> f32 {
    scores(histograms, &Matrix::from_values(row.len(), row.to_vec()))[0]
}

fn rows() -> impl Strategy<Value = Matrix> {
    (1usize..20, 2usize..60).prop_flat_map(|(d, n)| {
        let values = proptest::collection::vec(prop_oneof![(-3i32..4).prop_map(|v| v as f32), -1e3f32..1e3], n * d);
        values.prop_map(move |values| Matrix::from_values(d, values))
    })
}

/// Sums of four uniform numbers.
fn normal_column(n_samples: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut value = |_| (0..4).map(|_| rng.random::<f32>() - 0.5).sum::<f32>();
    (0..n_samples).map(&mut value).collect()
}

/// What a training value adds, by a count of the values that share its bin.
fn naive_part(column: &[f64], x: f64, n_bins: usize, alpha: f64) -> f64 {
    let (min, max) = column.iter().fold((f64::MAX, f64::MIN), |(min, max), &v| (min.min(v), max.max(v)));
    if min == max {
        return 0.0;
    }
    let n = column.len() as f64;
    let mean = column.iter().sum::<f64>() / n;
    let deviation = (column.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
    let width = (max - min) / n_bins as f64;
    let bin = |v: f64| (((v - min) / width) as usize).min(n_bins - 1);
    let density = |of: usize| column.iter().filter(|&&v| bin(v) == of).count() as f64 / n / width * deviation;
    let densest = (0..n_bins).map(density).fold(0.0, f64::max);
    ((densest + alpha) / (density(bin(x)) + alpha)).log2()
}

proptest! {
    #[test]
    fn a_score_is_the_sum_of_what_each_bin_says(x in rows(), n_bins in 2usize..30, alpha in 0.01f64..1.0) {
        let Ok(histograms) = fit(&Hbos { alpha, ..bins(n_bins) }, &x) else { return Ok(()) };
        prop_assert_eq!(histograms.check(x.n_features()), Ok(()));
        let columns: Vec<Vec<f64>> =
            (0..x.n_features()).map(|feature| x.rows().map(|row| f64::from(row[feature])).collect()).collect();
        for (row, score) in x.rows().zip(scores(&histograms, &x)) {
            let naive: f64 =
                row.iter().zip(&columns).map(|(&x, column)| naive_part(column, f64::from(x), n_bins, alpha)).sum();
            prop_assert!((f64::from(score) - naive).abs() <= 1e-5 * naive.max(1.0), "{} {}", score, naive);
            prop_assert_eq!(score_of(&histograms, row), score);
        }
    }

    #[test]
    fn an_explanation_adds_up_and_what_was_expected_adds_nothing(x in rows()) {
        let Ok(histograms) = fit(&Hbos::default(), &x) else { return Ok(()) };
        let detector = histograms.on_device(&Device::flex());
        let scores = detector.score(&x);
        let explanations = detector.explain(&x, &scores).unwrap();
        prop_assert_eq!(explanations.len(), x.n_samples());
        for (explanation, score) in explanations.iter().zip(&scores.values) {
            let sum = explanation.contributions.iter().copied().map(f64::from).sum::<f64>() as f32;
            prop_assert_eq!(sum, *score);
            prop_assert!(!explanation.is_approximate);
            prop_assert_eq!(score_of(&histograms, &explanation.expected), 0.0);
        }
    }

    #[test]
    fn the_scale_of_a_feature_does_not_matter(x in rows(), exponent in -20i32..20) {
        let Ok(histograms) = fit(&Hbos::default(), &x) else { return Ok(()) };
        // A constant feature has no scale of its own.
        if (0..x.n_features()).any(|feature| x.rows().all(|row| row[feature] == x.row(0)[feature])) {
            return Ok(());
        }
        let factor = 2.0f32.powi(exponent);
        let scaled = Matrix::from_values(x.n_features(), x.values().iter().map(|value| value * factor).collect());
        prop_assert_eq!(scores(&learned(&Hbos::default(), &scaled), &scaled), scores(&histograms, &x));
    }
}

#[test]
fn pyod_says_the_same_but_for_a_constant() {
    // No value lies on the edge between two bins. PyOD was given standardized features.
    let values = [0, 1, 1, 1, 2, 3, 2, 5, 3, 2, 4, 2, 5, 9, 20, 1].map(|value: u8| f32::from(value));
    let x = Matrix::from_values(2, values.to_vec());
    let of_pyod = [0.0, 0.0, 0.0, 1.90518, 0.0, 0.0, 1.90518, 2.06217];
    for (score, expected) in scores(&learned(&bins(3), &x), &x).iter().zip(of_pyod) {
        assert!((score - expected).abs() < 1e-4, "{score} {expected}");
    }
}

#[test]
fn what_lies_outside_has_the_smallest_density_there_can_be() {
    // Two bins, of which none is empty.
    let x = Matrix::from_values(1, vec![0.0, 1.0, 1.0, 2.0, 3.0, 4.0]);
    let histograms = learned(&Hbos { n_bins: Some(2), alpha: 0.1, tolerance: 0.5 }, &x);
    let [first, last] = [score_of(&histograms, &[0.0]), score_of(&histograms, &[4.0])];
    assert_eq!([first, last], [0.0; 2]);
    // Bins are 2 wide.
    assert_eq!([-0.99, 4.99].map(|value| score_of(&histograms, &[value])), [first, last]);
    let unseen = histograms.unseen[0];
    assert!(unseen > 2.0, "{unseen}");
    assert_eq!([-1.01, 5.01, f32::MIN, f32::MAX].map(|value| score_of(&histograms, &[value])), [unseen; 4]);
    assert!(scores(&histograms, &Matrix::from_values(1, vec![])).is_empty());
}

#[test]
fn more_rows_and_heavier_tails_have_more_bins_within_bounds() {
    let n_bins = |column: Vec<f32>| learned(&Hbos::default(), &Matrix::from_values(1, column)).n_bins[0];
    assert_eq!(n_bins(vec![1.0, 2.0, 3.0]), 5);
    let (few, some, many) =
        (n_bins(normal_column(100, 1)), n_bins(normal_column(2_000, 1)), n_bins(normal_column(100_000, 1)));
    assert!((6..14).contains(&few) && few < some, "{few} {some}");
    assert!((16..26).contains(&some) && (16..26).contains(&many), "{some} {many}: no narrower for more rows");
    let mut heavy = normal_column(1000, 1);
    heavy.push(20.0);
    assert!((60..100).contains(&n_bins(heavy.clone())));
    heavy.push(1e30);
    assert_eq!(n_bins(heavy), 100);
    // More than half of the rows have one value.
    let mut values = vec![0.0; 900];
    values.extend(normal_column(100, 1));
    assert!((20..200).contains(&n_bins(values)));
}

/// In narrow bins, rows that are alike are denser than much of what is usual.
#[test]
fn anomalies_that_are_alike_do_not_look_usual_among_many_rows() {
    let mut column = normal_column(100_000, 1);
    column.extend([3.5; 2_000]);
    let x = Matrix::from_values(1, column);
    let found = scores(&learned(&Hbos::default(), &x), &x);
    let alike = found[100_000];
    let above = found[..100_000].iter().filter(|score| **score >= alike).count();
    assert!(above < 8_000, "{above} of 100,000 are as surprising");
    let narrow = scores(&learned(&bins(1_000), &x), &x);
    let above = narrow[..100_000].iter().filter(|score| **score >= narrow[100_000]).count();
    assert!(above > 90_000, "{above}: in 1,000 bins, they are the most usual of all");
}

#[test]
fn the_greatest_numbers_and_constants_are_no_trouble() {
    let columns = |i: usize| {
        [if i.is_multiple_of(2) { f32::MIN } else { f32::MAX }, 3.0, i as f32 * 1e-45, 1e30, i as f32 * 1e30]
    };
    let x = Matrix::from_values(5, (0..100).flat_map(columns).collect());
    for params in [Hbos::default(), bins(2), bins(65_536), Hbos { alpha: 1e-6, ..bins(65_536) }] {
        let histograms = learned(&params, &x);
        assert!(scores(&histograms, &x).iter().all(|score| score.is_finite() && *score >= 0.0));
        assert_eq!(score_of(&histograms, x.row(0)), score_of(&histograms, &[f32::MIN, 3.2, 0.0, 1e30, 0.0]));
        assert!(score_of(&histograms, &[f32::MIN, 9.0, 0.0, 1e30, 0.0]) > score_of(&histograms, x.row(0)) + 1.0);
        assert!(score_of(&histograms, &[f32::MIN, 3.0, 0.0, -1e30, 0.0]) > score_of(&histograms, x.row(0)) + 1.0);
    }
}

#[test]
fn histograms_that_were_saved_are_the_same() {
    let x = Matrix::from_values(2, normal_column(1000, 3));
    let histograms = learned(&Hbos::default(), &x);
    let mut read: Histograms = serde_json::from_str(&serde_json::to_string(&histograms).unwrap()).unwrap();
    assert_eq!(read, histograms);
    assert_eq!(scores(&read, &x), scores(&histograms, &x));
    assert_eq!(read.arrays().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["surprise"]);
    read.surprise.take();
    assert!(read.check(2).unwrap_err().contains("every bin"));
}

#[test]
fn damaged_histograms_are_refused() {
    let x = Matrix::from_values(2, normal_column(100, 3));
    let histograms = learned(&bins(10), &x);
    let refused = |change: &dyn Fn(&mut Histograms), why: &str| {
        let mut damaged = histograms.clone();
        change(&mut damaged);
        let error = damaged.check(2).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    let with = |array: &Array<f32>, value: f32| {
        let mut values = array.values().to_vec();
        values[11] = value;
        Array::new(array.shape(), values)
    };
    refused(&|damaged| damaged.tolerance = f64::NAN, "tolerance");
    refused(&|damaged| damaged.n_bins = vec![20, 0], "no bins");
    refused(&|damaged| damaged.n_bins = vec![usize::MAX, 21], "no bins");
    refused(&|damaged| damaged.n_bins = vec![10, 11], "every bin");
    refused(&|damaged| damaged.starts[0] = f64::INFINITY, "where float32");
    refused(&|damaged| damaged.widths[1] = 0.0, "where float32");
    refused(&|damaged| damaged.widths[1] = f64::NAN, "where float32");
    refused(&|damaged| damaged.widths.truncate(1), "2 features");
    refused(&|damaged| damaged.unseen[1] = f32::NAN, "adds to a score");
    refused(&|damaged| damaged.surprise = with(&damaged.surprise, f32::INFINITY), "adds to a score");
    refused(&|damaged| damaged.surprise = with(&damaged.surprise, -1.0), "adds to a score");
    assert!(histograms.check(3).unwrap_err().contains("3 features"));
}

#[test]
fn parameters_are_checked() {
    let default = Hbos::default();
    assert_eq!(default.check(), Ok(()));
    assert_eq!(bins(2).check(), Ok(()));
    for n_bins in [0, 1, 65_537] {
        assert_eq!(bins(n_bins).check(), Err("n_bins must be between 2 and 65536".into()));
    }
    for alpha in [0.0, -1.0, 1.1, f64::NAN] {
        let error = Hbos { alpha, ..default.clone() }.check().unwrap_err();
        assert_eq!(error, "alpha must be between 0.000001 and 1");
    }
    for tolerance in [-0.1, 1.1, f64::NAN] {
        assert_eq!(Hbos { tolerance, ..default.clone() }.check(), Err("tolerance must be between 0 and 1".into()));
    }
    assert!(serde_json::from_str::<Hbos>(r#"{"bins": 3}"#).is_err());
    assert_eq!(serde_json::from_str::<Hbos>(r#"{"n_bins": 10}"#).unwrap(), bins(10));
    assert_eq!(serde_json::to_string(&default).unwrap(), r#"{"alpha":0.1,"tolerance":0.5}"#);
}

#[test]
fn rows_that_nothing_can_be_learned_from_are_refused() {
    let refused = |n: usize| fit(&Hbos::default(), &Matrix::from_values(2, vec![1.0; 2 * n])).unwrap_err();
    assert!(matches!(refused(1), FitError::TooFewRows { n_samples: 1, needed: 2, .. }));
    assert!(matches!(refused(0), FitError::TooFewRows { n_samples: 0, .. }));
    assert_eq!(refused(3), FitError::AllEqual { n_samples: 3 });
}
