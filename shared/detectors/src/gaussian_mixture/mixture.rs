//! A mixture of Gaussians whose features are independent within a component.

use std::f64::consts::TAU;

use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::{GaussianMixture, MIN_ROWS, ROWS_A_COMPONENT};

/// Rounds of expectation and maximization; components of a few dozen rows have settled by then.
const ROUNDS: usize = 15;

/// Less than this share of a row is none: it keeps a component without rows from a division by 0.
const NO_SHARE: f64 = 1e-9;

/// A component with a smaller share of the rows is left out in the end.
const MIN_WEIGHT: f64 = 0.02;

/// Components, with all that a density is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mixture {
    pub n_features: usize,
    /// `(n_components)`, adding up to 1.
    pub weights: Vec<f64>,
    /// `(n_components, n_features)`
    pub means: Vec<f64>,
    /// `(n_components, n_features)`
    pub variances: Vec<f64>,
}

impl Mixture {
    pub(super) fn n_components(&self) -> usize {
        self.weights.len()
    }

    /// Of the rows `(n_rows, n_features)` that are left when the least likely ones are out.
    pub(super) fn fit_trimmed(
        rows: Vec<f64>,
        n_features: usize,
        n_components: usize,
        params: &GaussianMixture,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let whole = Self::fit(&rows, n_features, n_components, params.reg_covar, rng);
        let n_rows = rows.len() / n_features;
        let n_out = ((n_rows as f64 * params.trim) as usize).min(n_rows - n_rows.min(MIN_ROWS));
        if n_out == 0 {
            return whole.without_the_smallest();
        }
        let density = Density::of(&whole);
        let mut logs = vec![0.0; whole.n_components()];
        let mut by_likelihood: Vec<(f64, &[f64])> =
            rows.chunks_exact(n_features).map(|row| (density.log_at(row, &mut logs), row)).collect();
        // Equal ones in the order in which they were drawn.
        by_likelihood.sort_by(|a, b| b.0.total_cmp(&a.0));
        by_likelihood.truncate(n_rows - n_out);
        let kept: Vec<f64> = by_likelihood.into_iter().flat_map(|(_, row)| row).copied().collect();
        Self::fit(&kept, n_features, n_components, params.reg_covar, rng).without_the_smallest()
    }

    /// Without components that hardly any row belongs to. The largest one stays in any case.
    fn without_the_smallest(self) -> Self {
        let least = self.weights.iter().copied().fold(0.0, f64::max).min(MIN_WEIGHT);
        let kept: Vec<usize> = (0..self.n_components()).filter(|&component| self.weights[component] >= least).collect();
        let d = self.n_features;
        let rows =
            |values: &[f64]| kept.iter().flat_map(|&i| &values[i * d..(i + 1) * d]).copied().collect::<Vec<f64>>();
        let all: f64 = kept.iter().map(|&component| self.weights[component]).sum();
        Self {
            n_features: d,
            weights: kept.iter().map(|&component| self.weights[component] / all).collect(),
            means: rows(&self.means),
            variances: rows(&self.variances),
        }
    }

    /// Expectation-maximization from components around rows that are drawn, each as wide as all rows together.
    fn fit(rows: &[f64], n_features: usize, n_components: usize, reg_covar: f64, rng: &mut ChaCha8Rng) -> Self {
        let n_rows = rows.len() / n_features;
        let n_components = n_components.min(n_rows / ROWS_A_COMPONENT).max(1);
        let centers = index::sample(rng, n_rows, n_components);
        let row = |index: usize| &rows[index * n_features..(index + 1) * n_features];
        let spread = variances_of(rows, n_features, reg_covar);
        let mut mixture = Self {
            n_features,
            weights: vec![1.0 / n_components as f64; n_components],
            means: centers.iter().flat_map(row).copied().collect(),
            variances: spread.repeat(n_components),
        };
        let mut shares = vec![0.0; n_rows * n_components]; // (n_rows, n_components)
        for _ in 0..ROUNDS {
            let density = Density::of(&mixture);
            for (row, shares) in rows.chunks_exact(n_features).zip(shares.chunks_exact_mut(n_components)) {
                density.shares_at(row, shares);
            }
            mixture.maximize(rows, &shares, reg_covar);
        }
        mixture
    }

    /// Takes the weights, means and variances of rows that belong to each component by these shares.
    fn maximize(&mut self, rows: &[f64], shares: &[f64], reg_covar: f64) {
        let (d, n_components) = (self.n_features, self.n_components());
        let mut totals = vec![NO_SHARE; n_components];
        self.means.fill(0.0);
        self.variances.fill(0.0);
        let pairs = || rows.chunks_exact(d).zip(shares.chunks_exact(n_components));
        for (row, shares) in pairs() {
            for (component, share) in shares.iter().enumerate() {
                totals[component] += share;
                let means = &mut self.means[component * d..(component + 1) * d];
                means.iter_mut().zip(row).for_each(|(mean, value)| *mean += share * value);
            }
        }
        for (means, total) in self.means.chunks_exact_mut(d).zip(&totals) {
            means.iter_mut().for_each(|mean| *mean /= total);
        }
        // From the means, and not as a difference of two sums: values may lie far from 0.
        for (row, shares) in pairs() {
            for (component, share) in shares.iter().enumerate() {
                let at = component * d..(component + 1) * d;
                let parts = self.variances[at.clone()].iter_mut().zip(&self.means[at]).zip(row);
                parts.for_each(|((variance, mean), value)| *variance += share * (value - mean).powi(2));
            }
        }
        for (variances, total) in self.variances.chunks_exact_mut(d).zip(&totals) {
            variances.iter_mut().for_each(|variance| *variance = *variance / total + reg_covar);
        }
        let all: f64 = totals.iter().sum();
        self.weights = totals.into_iter().map(|total| total / all).collect();
    }
}

/// Each feature's variance in rows, and `reg_covar`: `(n_features)`.
fn variances_of(rows: &[f64], n_features: usize, reg_covar: f64) -> Vec<f64> {
    let n_rows = (rows.len() / n_features) as f64;
    let variance = |feature: usize| {
        let values = || rows.iter().skip(feature).step_by(n_features);
        let mean = values().sum::<f64>() / n_rows;
        values().map(|value| (value - mean).powi(2)).sum::<f64>() / n_rows + reg_covar
    };
    (0..n_features).map(variance).collect()
}

/// The density of a mixture.
#[derive(Debug, Clone)]
pub(super) struct Density {
    n_features: usize,
    /// The logarithm of each component's density at its centre, times its weight: `(n_components)`.
    log_peaks: Vec<f64>,
    /// Mean and half of the inverse variance: `(n_components, n_features)`.
    places: Vec<(f64, f64)>,
}

impl Density {
    pub(super) fn of(mixture: &Mixture) -> Self {
        let d = mixture.n_features;
        let log_peak = |(variances, weight): (&[f64], &f64)| {
            weight.ln() - 0.5 * variances.iter().map(|variance| (TAU * variance).ln()).sum::<f64>()
        };
        Self {
            n_features: d,
            log_peaks: mixture.variances.chunks_exact(d).zip(&mixture.weights).map(log_peak).collect(),
            places: mixture
                .means
                .iter()
                .zip(&mixture.variances)
                .map(|(mean, variance)| (*mean, 0.5 / variance))
                .collect(),
        }
    }

    pub(super) fn n_components(&self) -> usize {
        self.log_peaks.len()
    }

    /// The mean and half of the inverse variance of each feature of a component.
    pub(super) fn component(&self, component: usize) -> &[(f64, f64)] {
        &self.places[component * self.n_features..(component + 1) * self.n_features]
    }

    /// The logarithm of the density at a row; leaves that of each component in `logs` `(n_components)`.
    pub(super) fn log_at(&self, row: &[f64], logs: &mut [f64]) -> f64 {
        let mut largest = f64::NEG_INFINITY;
        let components = self.places.chunks_exact(self.n_features).zip(&self.log_peaks);
        for ((places, log_peak), log) in components.zip(&mut *logs) {
            let distance: f64 =
                row.iter().zip(places).map(|(value, (mean, half_inverse))| (value - mean).powi(2) * half_inverse).sum();
            *log = log_peak - distance;
            largest = largest.max(*log);
        }
        largest + logs.iter().map(|log| (log - largest).exp()).sum::<f64>().ln()
    }

    /// To what share a row belongs to each component: `(n_components)`, adding up to 1.
    pub(super) fn shares_at(&self, row: &[f64], shares: &mut [f64]) {
        let log = self.log_at(row, shares);
        shares.iter_mut().for_each(|share| *share = (*share - log).exp());
    }

    /// The logarithm of the largest density at the centre of a component.
    pub(super) fn log_peak(&self) -> f64 {
        let mut logs = vec![0.0; self.n_components()];
        let center = |component| self.component(component).iter().map(|(mean, _)| *mean).collect::<Vec<f64>>();
        (0..self.n_components()).map(|component| self.log_at(&center(component), &mut logs)).fold(f64::MIN, f64::max)
    }
}
