//! Scaling: from features in their own units to numbers that may stand beside each other in a distance.
//!
//! Every method centres, also `none`: distances do not change, and float32 keeps the digits that matter when
//! totals of tens of thousands stand beside prices of a few cents.

use serde::{Deserialize, Serialize};

use crate::matrix::{FeatureMatrix, Matrix};

/// How features are scaled before distances are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// Centred, in the features' own units.
    None,
    /// Mean 0, standard deviation 1.
    Standard,
    /// Median 0, interquartile range 1.
    Robust,
}

/// Scaled values are held within these bounds, so that no sum of 64 squares leaves float32.
const LIMIT: f64 = 1e18;

/// `(x - center) / scale`, feature by feature, in float64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaler {
    /// How `center` and `scale` were found.
    pub method: Scaling,
    /// What is subtracted, a value a feature.
    pub center: Vec<f64>,
    /// What is divided by, a value a feature, above 0.
    pub scale: Vec<f64>,
}

impl Scaler {
    /// Learns centre and scale from the rows of `features`.
    pub fn fit(method: Scaling, features: &FeatureMatrix) -> Self {
        let (center, scale) =
            (0..features.n_features()).map(|index| fit_column(method, features.column(index).collect())).unzip();
        Self { method, center, scale }
    }

    /// Scales rows.
    ///
    /// # Panics
    /// When the number of features is not the one the scaler was fitted on.
    pub fn transform(&self, features: &FeatureMatrix) -> Matrix {
        assert_eq!(features.n_features(), self.center.len(), "the features that the scaler was fitted on");
        Matrix::from_values(features.n_features(), features.rows().flat_map(|row| self.transform_row(row)).collect())
    }

    /// Scales a row: `(n_features)`.
    pub fn transform_row(&self, row: &[f64]) -> impl Iterator<Item = f32> {
        let parameters = self.center.iter().zip(&self.scale);
        row.iter().zip(parameters).map(|(x, (center, scale))| ((x - center) / scale).clamp(-LIMIT, LIMIT) as f32)
    }

    /// A scaled row back in the features' own units.
    pub fn inverse(&self, row: &[f32]) -> Vec<f64> {
        let parameters = self.center.iter().zip(&self.scale);
        row.iter().zip(parameters).map(|(x, (center, scale))| f64::from(*x) * scale + center).collect()
    }
}

fn fit_column(method: Scaling, mut column: Vec<f64>) -> (f64, f64) {
    let (mean, deviation) = mean_and_deviation(&column);
    match method {
        Scaling::None => (mean, 1.0),
        Scaling::Standard => (mean, above_zero(deviation, 1.0)),
        Scaling::Robust => {
            column.sort_by(f64::total_cmp);
            let range = quantile(&column, 0.75) - quantile(&column, 0.25);
            // Half of the values may be equal although the others differ: then the deviation is all there is.
            (quantile(&column, 0.5), above_zero(range, above_zero(deviation, 1.0)))
        }
    }
}

fn above_zero(value: f64, otherwise: f64) -> f64 {
    if value > 0.0 && value.is_finite() { value } else { otherwise }
}

/// Mean and population standard deviation, in two passes.
fn mean_and_deviation(column: &[f64]) -> (f64, f64) {
    let n = column.len().max(1) as f64;
    let mean = column.iter().sum::<f64>() / n;
    let variance = column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// The linearly interpolated quantile of sorted values, as NumPy's default has it.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = q * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> FeatureMatrix {
        FeatureMatrix::from_values(1, values.to_vec())
    }

    #[test]
    fn each_method_has_its_centre_and_scale() {
        let data = column(&[1.0, 2.0, 3.0, 4.0, 10.0]);
        let of = |method| {
            let scaler = Scaler::fit(method, &data);
            (scaler.center[0], scaler.scale[0])
        };
        assert_eq!(of(Scaling::None), (4.0, 1.0));
        assert_eq!(of(Scaling::Robust), (3.0, 2.0));
        assert_eq!(of(Scaling::Standard), (4.0, 10.0_f64.sqrt()));
    }

    #[test]
    fn a_constant_feature_scales_to_zero() {
        for method in [Scaling::None, Scaling::Standard, Scaling::Robust] {
            let data = column(&[7.5; 4]);
            assert_eq!(Scaler::fit(method, &data).transform(&data).values(), [0.0; 4]);
        }
    }

    #[test]
    fn centring_keeps_the_digits_of_large_values() {
        let data = column(&[1e9, 1e9 + 1.0, 1e9 + 2.0]);
        let scaled = Scaler::fit(Scaling::None, &data).transform(&data);
        assert_eq!(scaled.values(), [-1.0, 0.0, 1.0]);
    }

    #[test]
    fn the_inverse_gives_the_features_back() {
        let data = column(&[1.0, 5.0, 12.0]);
        let scaler = Scaler::fit(Scaling::Robust, &data);
        let scaled = scaler.transform(&data);
        for (row, expected) in scaled.rows().zip(data.rows()) {
            assert!((scaler.inverse(row)[0] - expected[0]).abs() < 1e-5);
        }
    }

    #[test]
    fn huge_values_stay_finite() {
        let data = column(&[0.0, 1.0, 2.0, 1e300]);
        let scaled = Scaler::fit(Scaling::Robust, &data).transform(&data);
        assert!(scaled.values().iter().all(|x| (x * x * 64.0).is_finite()));
    }
}
