//! Gaussian mixtures of small samples: how much rarer a row is than those where the history is densest.
//!
//! 1. Each mixture is fitted to a few rows of the history, drawn without replacement, by expectation-maximization (Dempster,
//!    Laird and Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", JRSS B 1977). Within a component,
//!    features are independent.
//! 2. The least likely share of its rows is left out, and it is fitted anew (the trimmed likelihood of Neykov, Filzmoser,
//!    Dimova and Neytchev, "Robust fitting of mixtures using the trimmed likelihood estimator", CSDA 2007, in one step). So
//!    scattered anomalies of its own history shape no component. A component of less than 2% of the rows that are left goes
//!    too: it may be a few anomalies that are alike.
//! 3. A row's score is `log p_max - log p`, in nats and at least 0, on average over all mixtures. `p_max` is a mixture's largest
//!    density at the centre of a component: a score of 7 is a density a thousand times smaller than that.
//!
//! How many components a mixture has is drawn for each (Emmott et al., "A Meta-Analysis of the Anomaly Detection Problem", 2015,
//! average mixtures of several sizes for the same reason): no number suits all data, and the mean of many is steady.

mod mixture;
mod score;

use burn::tensor::Device;
use clustering::matrix::Matrix;
use rand::RngExt;
use rand::seq::index;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Array, ArrayMut, Context, Fit, FitError, Learned, Score};
use crate::random::Stream;
use mixture::Mixture;

/// Most mixtures.
const MAX_MIXTURES: usize = 1_000;

/// Most components of a mixture.
const MAX_COMPONENTS: usize = 256;

/// Largest sample.
const MAX_SAMPLE: usize = 1 << 16;

/// Most values of the means of all mixtures, or of their deviations.
const MAX_VALUES: usize = 1 << 24;

/// Rows a component has at least, on average.
const ROWS_A_COMPONENT: usize = 8;

/// Fewest rows that say anything of a distribution.
const MIN_ROWS: usize = 8;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianMixture {
    /// How many mixtures: from 1 to 1,000.
    pub n_mixtures: usize,
    /// Most components of a mixture, from 1 to 256; each mixture has a number of its own, from 1 to this.
    pub n_components: usize,
    /// Rows that each mixture is fitted to, from 8 to 65,536; half of the history where it is shorter than two samples.
    pub sample: usize,
    /// The share of a sample's rows that is left out, as the least likely ones: from 0 to 0.9.
    pub trim: f64,
    /// What is added to every variance, of scaled features: above 0, up to 1. Less than this is no difference.
    pub reg_covar: f64,
}

impl Default for GaussianMixture {
    fn default() -> Self {
        Self { n_mixtures: 50, n_components: 16, sample: 256, trim: 0.5, reg_covar: 0.001 }
    }
}

impl Fit for GaussianMixture {
    type Learned = GaussianMixtures;

    fn check(&self) -> Result<(), String> {
        if !(1..=MAX_MIXTURES).contains(&self.n_mixtures) {
            return Err(format!("n_mixtures must be between 1 and {MAX_MIXTURES}"));
        }
        if !(1..=MAX_COMPONENTS).contains(&self.n_components) {
            return Err(format!("n_components must be between 1 and {MAX_COMPONENTS}"));
        }
        if !(MIN_ROWS..=MAX_SAMPLE).contains(&self.sample) {
            return Err(format!("sample must be between {MIN_ROWS} and {MAX_SAMPLE}"));
        }
        if !(0.0..=0.9).contains(&self.trim) {
            return Err("trim must be between 0 and 0.9".into());
        }
        if !(1e-6..=1.0).contains(&self.reg_covar) {
            return Err("reg_covar must be between 0.000001 and 1".into());
        }
        Ok(())
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<GaussianMixtures, FitError> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        if n_samples < MIN_ROWS {
            return Err(FitError::TooFewRows { n_samples, needed: MIN_ROWS, why: "a distribution".into() });
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        if self.n_mixtures * self.n_components * n_features > MAX_VALUES {
            let why = format!("n_mixtures times n_components times the features must be at most {MAX_VALUES}");
            return Err(FitError::TooLarge { n_samples, n_features, why });
        }
        // With more than half of them, samples would be alike.
        let rows = self.sample.min(n_samples / 2).max(MIN_ROWS);
        let fit = |number: usize| {
            let mut rng = Stream::Mixture.nth(context.seed, number);
            let drawn = index::sample(&mut rng, n_samples, rows);
            let sample = drawn.into_iter().flat_map(|row| x.row(row)).map(|&value| f64::from(value)).collect();
            let n_components = rng.random_range(1..=self.n_components);
            let mixture = Mixture::fit_trimmed(sample, n_features, n_components, self, &mut rng);
            (context.on_step)();
            mixture
        };
        let mixtures: Vec<Mixture> = (0..self.n_mixtures).into_par_iter().map(fit).collect();
        Ok(GaussianMixtures::of(&mixtures, n_features))
    }

    fn n_steps(&self) -> u64 {
        self.n_mixtures as u64
    }
}

/// Mixtures, the components of all of them one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianMixtures {
    /// How many components each mixture has: `(n_mixtures)`.
    n_components: Vec<usize>,
    /// The share of each component in its mixture: `(sum of n_components)`.
    weights: Array<f32>,
    /// `(sum of n_components, n_features)`
    means: Array<f32>,
    /// Standard deviations: `(sum of n_components, n_features)`.
    deviations: Array<f32>,
}

impl GaussianMixtures {
    fn of(mixtures: &[Mixture], n_features: usize) -> Self {
        let components: usize = mixtures.iter().map(Mixture::n_components).sum();
        let values = |of: fn(&Mixture) -> &[f64]| mixtures.iter().flat_map(of).map(|&value| value as f32).collect();
        Self {
            n_components: mixtures.iter().map(Mixture::n_components).collect(),
            weights: Array::new([components], values(|mixture| &mixture.weights)),
            means: Array::new([components, n_features], values(|mixture| &mixture.means)),
            deviations: Array::new(
                [components, n_features],
                mixtures.iter().flat_map(|mixture| &mixture.variances).map(|variance| variance.sqrt() as f32).collect(),
            ),
        }
    }

    /// The mixtures, as they are computed with.
    fn mixtures(&self) -> impl Iterator<Item = Mixture> {
        let n_features = self.means.shape()[1];
        let mut first = 0;
        self.n_components.iter().map(move |&n_components| {
            let components = first..first + n_components;
            first = components.end;
            let values = components.start * n_features..components.end * n_features;
            let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
            Mixture {
                n_features,
                weights: wide(&self.weights.values()[components]),
                means: wide(&self.means.values()[values.clone()]),
                variances: wide(&self.deviations.values()[values]).iter().map(|deviation| deviation.powi(2)).collect(),
            }
        })
    }
}

impl Learned for GaussianMixtures {
    fn check(&self, n_features: usize) -> Result<(), String> {
        let are_counts = self.n_components.iter().all(|count| (1..=MAX_COMPONENTS).contains(count));
        if !(1..=MAX_MIXTURES).contains(&self.n_components.len()) || !are_counts {
            return Err(format!(
                "it has no mixtures, more than {MAX_MIXTURES}, or one of more than {MAX_COMPONENTS} components"
            ));
        }
        let components: usize = self.n_components.iter().sum();
        let has_shapes = self.weights.has_shape(&[components])
            && self.means.has_shape(&[components, n_features])
            && self.deviations.has_shape(&[components, n_features]);
        if !has_shapes {
            return Err(format!("its components are not {components} of {n_features} features"));
        }
        if !self.weights.values().iter().all(|weight| (0.0..=1.0).contains(weight)) {
            return Err("the share of a component is not between 0 and 1".into());
        }
        let mut first = 0;
        for &count in &self.n_components {
            if self.weights.values()[first..first + count].iter().all(|&weight| weight == 0.0) {
                return Err("a mixture has components of no weight only".into());
            }
            first += count;
        }
        if !self.means.values().chunks_exact(n_features).all(crate::scaler::are_scaled) {
            return Err("the centre of a component is not where scaled rows can be".into());
        }
        // The smallest `reg_covar`, and the largest spread of scaled values.
        if !self.deviations.values().iter().all(|deviation| (9e-4..=1e19).contains(deviation)) {
            return Err("the deviation of a component is not between 0.0009 and 1e19".into());
        }
        Ok(())
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        vec![("means", ArrayMut::F32(&mut self.means)), ("deviations", ArrayMut::F32(&mut self.deviations))]
    }

    /// A few hundred components are less work than the way of the rows to a GPU, so every device scores on the CPU.
    fn on_device(&self, _device: &Device) -> Box<dyn Score> {
        Box::new(score::MixtureScores::new(self))
    }
}

#[cfg(test)]
mod tests;
