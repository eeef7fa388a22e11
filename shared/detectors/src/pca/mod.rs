//! Principal components (Shyu, Chen, Sarinnapakorn and Chang, "A novel anomaly detection scheme based on principal
//! component classifier", 2003): a row is anomalous when it is far out along a component, or far from all of them.
//!
//! 1. The covariance's eigenvectors, the principal components, are sorted by their eigenvalues, the variances along
//!    them.
//! 2. The first ones that explain a share of the variance are kept; what a row has beside them is its residual.
//! 3. The score adds up the squared coordinates along the kept components and the squared residual, each divided by a
//!    power of its variance, [`whitening`](Pca::whitening): with 1 it is the squared Mahalanobis distance of
//!    probabilistic principal components (Tipping and Bishop 1999), which looks at the smallest components most; with 0
//!    the squared Euclidean distance from the mean, which looks at the largest. Or the score is the residual alone.

mod model;
mod spectrum;

use clustering::matrix::Matrix;
use clustering::sample::stratified;
use serde::{Deserialize, Serialize};

use super::dense::{Rows, float64};
use super::random::Stream;
use super::{Array, Context, Fit, FitError, Learned};

pub use model::PrincipalComponents;
use spectrum::Spectrum;

/// Multiplications that the covariance may take: with more rows, it is that of a sample.
const MAX_PRODUCTS: usize = 40_000_000_000;

/// Most rows of a fit.
const MAX_ROWS: usize = 1 << 20;

/// Most rows where there are more features than that: the eigenvectors are then those of the rows' Gram matrix.
const MAX_GRAM_ROWS: usize = 2048;

/// The smallest variance of a component that is kept, as a share of the mean one. Below it are rounding and directions
/// in which training rows do not differ; rows that do are measured by this variance.
const SMALLEST_VARIANCE: f64 = 1e-3;

/// Anomalies by principal components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pca {
    /// What the score is made of.
    pub score: PcaScore,
    /// Share of the variance that the kept components explain, in (0, 1].
    pub variance: f64,
    /// The power of its variance that divides a component's squared coordinate, in 0 to 1; it is of no account for
    /// [`PcaScore::Reconstruction`].
    pub whitening: f64,
}

/// What the score of [`Pca`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PcaScore {
    /// The squared coordinates along the components, and the squared residual, each by its variance.
    #[default]
    Components,
    /// The squared residual: what is left of the row when it is reconstructed from the kept components. There are fewer
    /// of these than features, even where they explain all.
    Reconstruction,
}

impl Default for Pca {
    fn default() -> Self {
        Self { score: PcaScore::Components, variance: 0.95, whitening: 0.5 }
    }
}

impl Fit for Pca {
    type Learned = PrincipalComponents;

    fn check(&self) -> Result<(), String> {
        if !(self.variance > 0.0 && self.variance <= 1.0) {
            return Err("variance must be above 0 and at most 1".to_owned());
        }
        if !(0.0..=1.0).contains(&self.whitening) {
            return Err("whitening must be between 0 and 1".to_owned());
        }
        Ok(())
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<PrincipalComponents, FitError> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        if n_samples < 2 {
            return Err(FitError::TooFewRows { n_samples, needed: 2, why: "a variance".to_owned() });
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        let values =
            float64(x, &stratified(n_samples, most_rows(n_features), &mut Stream::ComponentRows.of(context.seed)));
        let spectrum = Spectrum::of(Rows { values: &values, n_features })?;
        let model = self.weigh(&spectrum);
        model.check(n_features).map_err(|problem| FitError::Numeric(format!("principal components: {problem}")))?;
        (context.on_step)();
        Ok(model)
    }
}

/// Most rows that are looked at.
fn most_rows(n_features: usize) -> usize {
    if n_features > MAX_GRAM_ROWS {
        return MAX_GRAM_ROWS;
    }
    (MAX_PRODUCTS / (n_features * n_features)).min(MAX_ROWS)
}

impl Pca {
    /// The kept components, each with its weight.
    fn weigh(&self, spectrum: &Spectrum) -> PrincipalComponents {
        let n_features = spectrum.mean.len();
        let total: f64 = spectrum.variances.iter().sum();
        let smallest = SMALLEST_VARIANCE * total / n_features as f64;
        let kept = self.n_kept(&spectrum.variances, total, smallest);
        let (major, minor) = spectrum.variances.split_at(kept);
        let n_minor = (n_features - kept).max(1) as f64;
        let noise = (minor.iter().sum::<f64>() / n_minor).max(smallest);
        let (component_weights, residual_weight) = match self.score {
            PcaScore::Reconstruction => (vec![0.0; kept], 1.0),
            PcaScore::Components => {
                let weight = |variance: f64| variance.powf(-self.whitening) as f32;
                (major.iter().map(|&variance| weight(variance)).collect(), weight(noise))
            }
        };
        let components = spectrum.components[..kept * n_features].iter().map(|&value| value as f32).collect();
        PrincipalComponents {
            score: self.score,
            mean: Array::new([n_features], spectrum.mean.iter().map(|&value| value as f32).collect::<Vec<_>>()),
            components: Array::new([kept, n_features], components),
            component_weights: Array::new([kept], component_weights),
            residual_weight,
        }
    }

    fn n_kept(&self, variances: &[f64], total: f64, smallest: f64) -> usize {
        let mut explained = 0.0;
        // A hair's breadth below the share, which rounding may take.
        let short = |variance: &&f64| {
            let is_short = explained < (self.variance - 1e-12) * total;
            explained += **variance;
            is_short && **variance > smallest
        };
        let kept = variances.iter().take_while(short).count();
        match self.score {
            PcaScore::Components => kept,
            PcaScore::Reconstruction => kept.min(variances.len() - 1),
        }
    }
}

#[cfg(test)]
mod tests;
