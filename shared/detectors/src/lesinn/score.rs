//! Scores by samples.

use clustering::matrix::Matrix;
use clustering::ops::NeighborSets;
use rayon::prelude::*;

use super::Samples;
use crate::{Array, Explanation, Score, Scores};

/// The samples, ready to be searched.
#[derive(Debug)]
pub(super) struct SampleScore {
    k: usize,
    /// `(n_samples, sample, n_features)`
    rows: Array<f32>,
    sets: NeighborSets,
}

impl SampleScore {
    pub(super) fn new(model: &Samples) -> Self {
        let (sample, n_features) = (model.rows.shape()[1], model.rows.shape()[2]);
        let sets = NeighborSets::new(model.rows.values(), sample, n_features, model.k);
        Self { k: model.k, rows: model.rows.clone(), sets }
    }

    fn n_samples(&self) -> usize {
        self.rows.shape()[0]
    }

    /// Where the distances come from that are in a row's score: of each distance, a feature has the share that it has in the
    /// square.
    fn explain_row(&self, row: &[f32], score: f32) -> Explanation {
        let (mut contributions, mut expected) = (vec![0f64; row.len()], vec![0f64; row.len()]);
        for sample in self.rows.values().chunks_exact(self.rows.shape()[1] * row.len()) {
            add_shares(row, neighbor(row, sample, self.k), contributions.iter_mut().zip(&mut expected));
        }
        // To the score as it is, which is rounded to float32.
        let total: f64 = contributions.iter().sum();
        let factor = if total > 0.0 { f64::from(score) / total } else { 0.0 };
        Explanation {
            contributions: contributions.iter().map(|part| (part * factor) as f32).collect(),
            expected: expected.iter().map(|sum| (sum / self.n_samples() as f64) as f32).collect(),
            is_approximate: false,
        }
    }
}

impl Score for SampleScore {
    fn score(&self, x: &Matrix) -> Scores {
        let mean = |sum: f64| (sum / self.n_samples() as f64).min(f64::from(f32::MAX)) as f32;
        Scores::new(self.sets.sums_of_distances(x).into_iter().map(mean).collect())
    }

    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let rows = x.values().par_chunks_exact(x.n_features()).zip(&scores.values);
        Some(rows.map(|(row, &score)| self.explain_row(row, score)).collect())
    }
}

/// The `k`-th nearest row of a sample, or the one after it where the nearest is the row itself.
fn neighbor<'a>(row: &[f32], sample: &'a [f32], k: usize) -> &'a [f32] {
    let mut nearest: Vec<(f64, &[f32])> =
        sample.chunks_exact(row.len()).map(|other| (squared_distance(row, other), other)).collect();
    // What is nearer comes before, in no order; the first of all is found among it.
    let (before, &mut (_, last), _) = nearest.select_nth_unstable_by(k, |a, b| a.0.total_cmp(&b.0));
    if before.iter().any(|(distance, _)| *distance == 0.0) {
        return last;
    }
    before.iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or(last, |(_, row)| row)
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

/// Adds each feature's part of the distance between two rows, and the neighbour's values.
fn add_shares<'a>(row: &[f32], neighbor: &[f32], parts: impl Iterator<Item = (&'a mut f64, &'a mut f64)>) {
    let square = |(x, y): (&f32, &f32)| (f64::from(*x) - f64::from(*y)).powi(2);
    let distance = row.iter().zip(neighbor).map(square).sum::<f64>().sqrt();
    for ((contribution, expected), pair) in parts.zip(row.iter().zip(neighbor)) {
        *contribution += if distance > 0.0 { square(pair) / distance } else { 0.0 };
        *expected += f64::from(*pair.1);
    }
}
