//! Probabilities on rows, and where they come from.

use std::fmt::Debug;

use clustering::matrix::Matrix;
use rayon::prelude::*;

use super::{Platt, sigmoid};
use crate::dense::finite;
use crate::{Explanation, Score, Scores};

/// Rows a task.
const CHUNK: usize = 256;

/// What computes log-odds, which are those of a base and parts of the features.
pub(crate) trait LogOdds: Debug + Send + Sync {
    /// The log-odds of a row, before they are calibrated.
    fn log_odds(&self, row: &[f32]) -> f64;

    /// What each feature of a row adds to the [`base`](Self::base): `(n_features)`, which is written to `parts`. All together they
    /// are the log-odds.
    fn parts(&self, row: &[f32], parts: &mut [f64]);

    /// The log-odds of a row of which nothing is known.
    fn base(&self) -> f64;

    /// Scaled values that would have been normal: `(n_features)`.
    fn expected(&self) -> Vec<f32>;
}

/// Scores that are probabilities.
#[derive(Debug)]
pub(crate) struct Probabilities<M> {
    pub model: M,
    pub calibration: Platt,
}

impl<M: LogOdds> Probabilities<M> {
    /// The calibrated log-odds of a row.
    pub fn log_odds(&self, row: &[f32]) -> f64 {
        self.calibration.log_odds(self.model.log_odds(row))
    }

    /// The calibrated base, and what each feature of a row adds to it: together the calibrated log-odds.
    pub fn explained(&self, row: &[f32]) -> (f64, Vec<f64>) {
        let mut parts = vec![0.0; row.len()];
        self.model.parts(row, &mut parts);
        parts.iter_mut().for_each(|part| *part = self.calibration.part(*part));
        (self.calibration.log_odds(self.model.base()), parts)
    }
}

impl<M: LogOdds> Score for Probabilities<M> {
    fn score(&self, x: &Matrix) -> Scores {
        let n_features = x.n_features();
        let mut scores = vec![0.0; x.n_samples()];
        let chunks = scores.par_chunks_mut(CHUNK).zip(x.values().par_chunks(CHUNK * n_features));
        chunks.for_each(|(scores, rows)| {
            let rows = rows.chunks_exact(n_features);
            scores.iter_mut().zip(rows).for_each(|(score, row)| *score = sigmoid(self.log_odds(row)) as f32);
        });
        Scores::new(scores)
    }

    /// The parts add up to the log-odds, less those of a row of which nothing is known.
    fn explain(&self, x: &Matrix, _scores: &Scores) -> Option<Vec<Explanation>> {
        let expected = self.model.expected();
        let explained = |row: &[f32]| Explanation {
            contributions: self.explained(row).1.into_iter().map(|part| finite(part as f32)).collect(),
            expected: expected.clone(),
            is_approximate: false,
        };
        Some(x.rows().map(explained).collect())
    }
}
