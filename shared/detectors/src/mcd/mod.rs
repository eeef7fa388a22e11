//! The minimum covariance determinant (Rousseeuw 1984): the Mahalanobis distance from the centre of those rows, at
//! least half of all, whose covariance has the smallest determinant, so that anomalies in training do not hide
//! themselves.
//!
//! 1. `search` finds these rows with FastMCD (Rousseeuw and Van Driessen, "A fast algorithm for the minimum
//!    covariance determinant estimator", 1999).
//! 2. Their covariance is multiplied so that it is consistent for normal rows: so that the median squared distance is
//!    that of the chi-squared distribution.
//! 3. Mean and covariance are taken again of all rows within its 97.5 % quantile (section 4.1), which is more
//!    efficient; what is missing beyond that quantile is made up for (Croux and Haesbroeck 1999).
//!
//! Constant and collinear features, of all rows or of the chosen half, would leave a covariance without an inverse: all
//! covariances are shrunk towards the identity of robustly scaled features, as in the minimum regularized covariance
//! determinant (Boudt, Rousseeuw, Vanduffel and Verdonck 2020), which lets the search's steps be what they are.

mod chi_squared;
mod model;
mod scale;
mod search;
mod shape;

use clustering::matrix::Matrix;
use clustering::sample::stratified;
use faer::Mat;
use serde::{Deserialize, Serialize};

use super::dense::{Moments, Rows, float64};
use super::random::Stream;
use super::{Array, Context, Fit, FitError, Learned};

pub use model::RobustCovariance;
use scale::Scale;
use shape::Shape;

/// Most features: the search's time grows with their third power, and takes a minute with so many.
pub const MAX_FEATURES: usize = 512;

/// Most rows of a fit; with more, it is of a sample.
const MAX_ROWS: usize = 1 << 18;

/// Multiplications that one covariance of all rows may take, which bounds the rows where there are many features.
const MAX_PRODUCTS: usize = 10_000_000_000;

/// Rows further out than this quantile of the chi-squared distribution are left out of the final covariance.
const KEPT_QUANTILE: f64 = 0.975;

/// Anomalies by a robust Mahalanobis distance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mcd {
    /// Share of the rows whose covariance has the smallest determinant, in 0.5 to 1; without it it is that of
    /// `(n_samples + n_features + 1) / 2` rows, which withstands most anomalies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_fraction: Option<f64>,
    /// Random starts of the search.
    pub n_init: usize,
    /// Most concentration steps from a start that has been chosen; they usually end by themselves.
    pub max_iter: usize,
    /// Share of the identity in every covariance, in (0, 1): the smallest variance that is told from none, where 1 is a
    /// feature's own.
    pub shrinkage: f64,
}

impl Default for Mcd {
    fn default() -> Self {
        Self { support_fraction: None, n_init: 500, max_iter: 100, shrinkage: 1e-3 }
    }
}

impl Fit for Mcd {
    type Learned = RobustCovariance;

    fn check(&self) -> Result<(), String> {
        if self.support_fraction.is_some_and(|share| !(0.5..=1.0).contains(&share)) {
            return Err("support_fraction must be between 0.5 and 1".to_owned());
        }
        if !(1..=100_000).contains(&self.n_init) {
            return Err("n_init must be between 1 and 100000".to_owned());
        }
        if !(1..=10_000).contains(&self.max_iter) {
            return Err("max_iter must be between 1 and 10000".to_owned());
        }
        if !(1e-9..1.0).contains(&self.shrinkage) {
            return Err("shrinkage must be at least 1e-9 and below 1".to_owned());
        }
        Ok(())
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<RobustCovariance, FitError> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        if n_features > MAX_FEATURES {
            let why = format!(
                "mcd's time grows with the third power of the features, so it takes at most {MAX_FEATURES}; use pca"
            );
            return Err(FitError::TooLarge { n_samples, n_features, why });
        }
        if n_samples < 2 * n_features.max(2) {
            let why = format!("a covariance of {n_features} features that half of the rows have");
            return Err(FitError::TooFewRows { n_samples, needed: 2 * n_features.max(2), why });
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        let most = (MAX_PRODUCTS / (n_features * n_features)).min(MAX_ROWS);
        let mut values = float64(x, &stratified(n_samples, most, &mut Stream::CovarianceRows.of(context.seed)));
        let scale = Scale::of(Rows { values: &values, n_features });
        scale.apply(&mut values);
        let rows = Rows { values: &values, n_features };
        let raw = search::smallest_determinant(rows, self, context.seed)?;
        let shape = self.reweighted(rows, &raw)?;
        let model = learned(&shape, &scale);
        model.check(n_features).map_err(|problem| FitError::Numeric(format!("robust covariance: {problem}")))?;
        (context.on_step)();
        Ok(model)
    }
}

impl Mcd {
    /// How many of `n_samples` rows the smallest determinant is of.
    fn n_support(&self, n_samples: usize, n_features: usize) -> usize {
        let least = (n_samples + n_features + 1).div_ceil(2);
        let wanted = self.support_fraction.map_or(least, |share| (share * n_samples as f64).ceil() as usize);
        wanted.clamp(2, n_samples)
    }

    /// Mean and covariance of the rows that are not far out.
    fn reweighted(&self, rows: Rows<'_>, raw: &Shape) -> Result<Shape, FitError> {
        let n_features = rows.n_features;
        let all: Vec<usize> = (0..rows.len()).collect();
        let distances = raw.squared_distances(rows, &all);
        let mut sorted = distances.clone();
        let middle = sorted.len() / 2;
        let (_, &mut median, _) = sorted.select_nth_unstable_by(middle, f64::total_cmp);
        let quantile = chi_squared::quantile(n_features, KEPT_QUANTILE);
        // More than half of the rows may be the same: then only these are kept.
        let most = median * quantile / chi_squared::quantile(n_features, 0.5);
        let kept: Vec<usize> = all.into_iter().filter(|&index| distances[index] <= most).collect();
        let missing = KEPT_QUANTILE / chi_squared::cdf(n_features + 2, quantile);
        let mut moments = Moments::of(rows, &kept);
        moments.covariance *= faer::Scale(missing);
        Shape::new(moments, self.shrinkage)
    }
}

/// What scores rows as they are: `(x - mean)` times the factor has the squared length of the distance.
fn learned(shape: &Shape, scale: &Scale) -> RobustCovariance {
    let n_features = scale.center.len();
    let whitening: Mat<f64> = shape.whitening(); // (n_features, n_features)
    let location = (0..n_features).map(|index| (scale.center[index] + scale.spread[index] * shape.mean[index]) as f32);
    let entry = |index: usize| {
        let (feature, column) = (index / n_features, index % n_features);
        (whitening[(column, feature)] / scale.spread[feature]) as f32
    };
    RobustCovariance {
        location: Array::new([n_features], location.collect::<Vec<_>>()),
        factor: Array::new([n_features, n_features], (0..n_features * n_features).map(entry).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests;
