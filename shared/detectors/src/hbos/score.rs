//! Scores by a look into each feature's table.

use clustering::matrix::Matrix;
use rayon::prelude::*;

use super::Histograms;
use super::histogram::Histogram;
use crate::{Explanation, Score, Scores};

/// Rows a task.
const CHUNK: usize = 2048;

#[derive(Debug)]
pub(super) struct HistogramScores {
    tolerance: f64,
    features: Vec<Histogram>,
    modes: Vec<f32>,
}

impl HistogramScores {
    /// Of histograms that [`check`](crate::Learned::check) accepts.
    pub(super) fn new(histograms: &Histograms) -> Self {
        let features: Vec<Histogram> = histograms.features().collect();
        let modes = features.iter().map(Histogram::mode).collect();
        Self { tolerance: histograms.tolerance, features, modes }
    }

    /// What each value adds to a row's score.
    fn parts(&self, row: &[f32]) -> impl Iterator<Item = f32> {
        row.iter().zip(&self.features).map(|(&value, feature)| feature.surprise_of(value, self.tolerance))
    }
}

impl Score for HistogramScores {
    fn score(&self, x: &Matrix) -> Scores {
        let n_features = x.n_features();
        let mut scores = vec![0.0; x.n_samples()];
        let chunks = scores.par_chunks_mut(CHUNK).zip(x.values().par_chunks(CHUNK * n_features));
        chunks.for_each(|(scores, rows)| {
            for (score, row) in scores.iter_mut().zip(rows.chunks_exact(n_features)) {
                *score = self.parts(row).map(f64::from).sum::<f64>() as f32;
            }
        });
        Scores::new(scores)
    }

    fn explain(&self, x: &Matrix, _scores: &Scores) -> Option<Vec<Explanation>> {
        let explain = |row: &[f32]| Explanation {
            contributions: self.parts(row).collect(),
            expected: self.modes.clone(),
            is_approximate: false,
        };
        Some(x.rows().map(explain).collect())
    }
}
