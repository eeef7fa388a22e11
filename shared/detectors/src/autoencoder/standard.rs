//! What goes into the network: every feature's bulk around 0, as wide as that of the others, and nothing far out.

use clustering::matrix::Matrix;
use clustering::sample::stratified;
use evaluation::statistics::{deviation, mean};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Values of rows are held within these bounds, so that their squares are float32.
pub(super) const LIMIT: f32 = 1e18;

/// Rows that quartiles come from.
const SAMPLE: usize = 1 << 16;

/// The interquartile range of a normal distribution whose standard deviation is 1.
const NORMAL_RANGE: f64 = 1.348_979_500_392_163_5;

/// Where each feature's values lie, and how far apart.
///
/// Median and interquartile range, as standard deviation of a normal distribution: a few outliers would make a standard
/// deviation so large that the common rows all look alike to the network. Where a quarter of the values or more are the
/// same on both sides of the median, mean and standard deviation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standard {
    /// `(n_features)`
    pub(super) center: Vec<f32>,
    /// 0 where all rows have the same value, or as good as that: `(n_features)`.
    pub(super) scale: Vec<f32>,
}

impl Standard {
    /// Learns from all rows, or from one of each of 65,536 strata where there are more.
    pub(super) fn fit(x: &Matrix, rng: &mut ChaCha8Rng) -> Self {
        let rows = stratified(x.n_samples(), SAMPLE, rng);
        let column = |feature: usize| {
            let values = rows.iter().map(|&row| f64::from(x.row(row)[feature].clamp(-LIMIT, LIMIT)));
            center_and_scale(values.collect())
        };
        let (center, scale) = (0..x.n_features()).into_par_iter().map(column).unzip();
        Self { center, scale }
    }

    /// Puts a row into `standardised`, within `clip` on both sides of 0.
    pub(super) fn transform(&self, row: &[f32], clip: f32, standardised: &mut Vec<f32>) {
        let values = row.iter().zip(self.center.iter().zip(&self.scale));
        standardised.extend(values.map(|(&value, (&center, &scale))| {
            if scale == 0.0 { 0.0 } else { ((value.clamp(-LIMIT, LIMIT) - center) / scale).clamp(-clip, clip) }
        }));
    }
}

fn center_and_scale(mut column: Vec<f64>) -> (f32, f32) {
    column.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| column[((column.len() - 1) as f64 * share).round() as usize];
    let range = at(0.75) - at(0.25);
    let (center, scale) = if range > 0.0 {
        (at(0.5), range / NORMAL_RANGE)
    } else {
        let mean = mean(column.iter().copied());
        (mean, deviation(&column, mean))
    };
    // Less than float32 can tell apart is nothing.
    let is_varying = scale > center.abs() * f64::from(f32::EPSILON) && scale as f32 > 1.0 / LIMIT;
    (center as f32, if is_varying { scale as f32 } else { 0.0 })
}
