//! Features brought to one scale, which anomalies do not stretch.

use evaluation::statistics::{MAD_TO_DEVIATION, deviation, distances_from, middle};

use crate::dense::Rows;

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
    // The upper of two values in the middle: one that there was.
    let upper = |values: &mut [f64]| middle(values).map_or(0.0, |(_, upper)| upper);
    let center = upper(&mut values);
    let deviation = deviation(&values, center);
    distances_from(center, &mut values);
    let robust = MAD_TO_DEVIATION * upper(&mut values);
    let spread = if robust > 0.0 { robust } else { deviation };
    (center, if spread > 0.0 { spread } else { 1.0 })
}
