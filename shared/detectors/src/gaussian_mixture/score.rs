//! Scores by the densities of mixtures.

use clustering::matrix::Matrix;
use rayon::prelude::*;

use super::GaussianMixtures;
use super::mixture::Density;
use crate::{Explanation, Score, Scores};

/// Rows a task.
const CHUNK: usize = 256;

#[derive(Debug)]
pub(super) struct MixtureScores {
    /// Each mixture, and the logarithm of its density where it is largest.
    mixtures: Vec<(Density, f64)>,
    most_components: usize,
}

impl MixtureScores {
    /// Of mixtures that [`check`](crate::Learned::check) accepts.
    pub(super) fn new(model: &GaussianMixtures) -> Self {
        let mixtures: Vec<(Density, f64)> = model
            .mixtures()
            .map(|mixture| {
                let density = Density::of(&mixture);
                let log_peak = density.log_peak();
                (density, log_peak)
            })
            .collect();
        let most_components = mixtures.iter().map(|(density, _)| density.n_components()).max().unwrap_or(0);
        Self { mixtures, most_components }
    }

    fn mean(&self, sum: f64) -> f32 {
        (sum / self.mixtures.len() as f64).min(f64::from(f32::MAX)) as f32
    }

    /// A feature's part of a distance is its part of the score; what weights and widths of components add is divided in the same
    /// proportion. Expected are the centres of the components that a row belongs to, by its shares.
    fn explain_row(&self, row: &[f64], score: f32) -> Explanation {
        let (mut parts, mut expected) = (vec![0.0; row.len()], vec![0.0; row.len()]);
        let mut shares = vec![0.0; self.most_components];
        for (density, _) in &self.mixtures {
            let shares = &mut shares[..density.n_components()];
            density.shares_at(row, shares);
            for (component, &share) in shares.iter().enumerate() {
                for (feature, (mean, half_inverse)) in density.component(component).iter().enumerate() {
                    parts[feature] += share * (row[feature] - mean).powi(2) * half_inverse;
                    expected[feature] += share * mean / self.mixtures.len() as f64;
                }
            }
        }
        let total: f64 = parts.iter().sum();
        let factor = if total > 0.0 { f64::from(score) / total } else { 0.0 };
        Explanation {
            contributions: parts.iter().map(|part| (part * factor) as f32).collect(),
            expected: expected.iter().map(|&value| value as f32).collect(),
            is_approximate: false,
        }
    }
}

impl Score for MixtureScores {
    fn score(&self, x: &Matrix) -> Scores {
        let n_features = x.n_features();
        let mut scores = vec![0.0; x.n_samples()];
        let chunks = scores.par_chunks_mut(CHUNK).zip(x.values().par_chunks(CHUNK * n_features));
        chunks.for_each(|(scores, rows)| {
            let (mut row, mut logs) = (vec![0.0; n_features], vec![0.0; self.most_components]);
            for (score, values) in scores.iter_mut().zip(rows.chunks_exact(n_features)) {
                row.iter_mut().zip(values).for_each(|(wide, &value)| *wide = f64::from(value));
                let rarity = |(density, log_peak): &(Density, f64)| {
                    (log_peak - density.log_at(&row, &mut logs[..density.n_components()])).max(0.0)
                };
                *score = self.mean(self.mixtures.iter().map(rarity).sum());
            }
        });
        Scores::new(scores)
    }

    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let wide = |row: &[f32]| row.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        Some(x.rows().zip(&scores.values).map(|(row, &score)| self.explain_row(&wide(row), score)).collect())
    }
}
