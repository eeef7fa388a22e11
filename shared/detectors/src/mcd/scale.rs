//! Features brought to one scale, which anomalies do not stretch.

use crate::dense::Rows;

/// The spread of a normal distribution in units of its median absolute deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;

/// Centre and spread of each feature.
#[derive(Debug)]
pub(super) struct Scale {
    /// The median: `(n_features)`.
    pub center: Vec<f64>,
    /// The median absolute deviation, consistent for normal features; the standard deviation where most values are the
    /// same; 1 where all are: `(n_features)`.
    pub spread: Vec<f64>,
}

impl Scale {
    /// Of rows, at least one.
    pub fn of(rows: Rows<'_>) -> Self {
        let (center, spread) = (0..rows.n_features).map(|feature| of_feature(rows, feature)).unzip();
        Self { center, spread }
    }

    /// Scales rows in place.
    pub fn apply(&self, values: &mut [f64]) {
        for row in values.chunks_exact_mut(self.center.len()) {
            for ((value, center), spread) in row.iter_mut().zip(&self.center).zip(&self.spread) {
                *value = (*value - center) / spread;
            }
        }
    }
}

fn of_feature(rows: Rows<'_>, feature: usize) -> (f64, f64) {
    let mut values: Vec<f64> = rows.values.iter().skip(feature).step_by(rows.n_features).copied().collect();
    let center = median(&mut values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    let deviation = (squares / values.len() as f64).sqrt();
    values.iter_mut().for_each(|value| *value = (*value - center).abs());
    let robust = MAD_TO_DEVIATION * median(&mut values);
    let spread = if robust > 0.0 { robust } else { deviation };
    (center, if spread > 0.0 { spread } else { 1.0 })
}

/// The upper of the values in the middle.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}
