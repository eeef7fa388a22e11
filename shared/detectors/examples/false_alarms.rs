//! An Isolation Forest whose false alarms are as rare as one asks for.
//!
//! ```text
//! cargo run -p detectors --example false_alarms
//! ```

use std::error::Error;

use clustering::device::Device;
use clustering::matrix::FeatureMatrix;
use detectors::isolation_forest::IsolationForest;
use detectors::scaler::{Scaler, Scaling};
use detectors::threshold::{Calibration, Threshold, ThresholdPolicy};
use detectors::{Context, Fit, Learned, Score};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A detector that was trained, with a threshold.
pub struct Trained {
    scaler: Scaler,
    scorer: Box<dyn Score>,
    threshold: Threshold,
    calibration: Calibration,
}

/// Rows around 0, `(n_samples, 3)`, of features that go together.
pub fn normal_rows(n_samples: usize, seed: u64) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut noise = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    let common: Vec<f64> = (0..n_samples).map(|_| noise()).collect();
    Array2::from_shape_fn((n_samples, 3), |(row, feature)| common[row] * (feature + 1) as f64 + noise())
}

/// Trains on one part of the rows `(n_samples, n_features)` and sets the threshold on the other: a normal row to come is
/// reported with at most the probability `rate`.
///
/// # Errors
/// When there are too few rows to learn from, or to set the threshold by.
pub fn train(rows: ArrayView2<'_, f64>, held_out: ArrayView2<'_, f64>, rate: f64) -> Result<Trained, Box<dyn Error>> {
    let features = FeatureMatrix::from(rows);
    let scaler = Scaler::fit(Scaling::Robust, &features);
    let context = Context { device: &Device::flex(), seed: 42, max_state_bytes: None, on_step: &|| {} };
    let forest = IsolationForest::default().fit(&scaler.transform(&features), &context)?;
    let scorer = forest.on_device(&Device::flex());
    let scores = scorer.score(&scaler.transform(&FeatureMatrix::from(held_out))).values;
    let policy = ThresholdPolicy::FalseAlarmRate(rate);
    let (threshold, calibration) = (Threshold::fit(policy, &scores)?, Calibration::fit_for(policy, &scores));
    Ok(Trained { scaler, scorer, threshold, calibration })
}

impl Trained {
    /// The p-value of each row `(n_samples, n_features)`, and whether it is reported.
    pub fn judge(&self, rows: ArrayView2<'_, f64>) -> Vec<(f64, bool)> {
        let scores = self.scorer.score(&self.scaler.transform(&FeatureMatrix::from(rows))).values;
        let judge = |&score: &f32| (self.calibration.p_value(score), self.threshold.is_exceeded(score, None));
        scores.iter().map(judge).collect()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let trained = train(normal_rows(2_000, 1).view(), normal_rows(2_000, 2).view(), 0.01)?;
    let odd = Array2::from_elem((1, 3), 9.0);
    let rows = concatenate(Axis(0), &[normal_rows(5, 3).view(), odd.view()])?;
    for (row, (p_value, is_reported)) in rows.rows().into_iter().zip(trained.judge(rows.view())) {
        println!("{row:6.2}  p = {p_value:.4}{}", if is_reported { "  anomaly" } else { "" });
    }
    Ok(())
}
