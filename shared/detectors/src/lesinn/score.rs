//! Scores by samples.

use burn::tensor::Device;
use clustering::matrix::Matrix;

use super::Samples;
use crate::neighborhood::Neighborhood;
use crate::{Array, Explanation, Score, Scores};

/// The samples on a device, each ready to be searched.
#[derive(Debug)]
pub(super) struct SampleScore {
    k: usize,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    neighborhood: Neighborhood,
    /// `(sample, n_features)`
    rows: Array<f32>,
}

impl SampleScore {
    pub(super) fn new(model: &Samples, device: &Device) -> Self {
        let (rows, n_features) = (model.rows.shape()[1], model.rows.shape()[2]);
        let samples = model.rows.values().chunks_exact(rows * n_features).map(|values| {
            let rows = Array::new([rows, n_features], values.to_vec());
            Sample { neighborhood: Neighborhood::new(&rows, model.k, device), rows }
        });
        Self { k: model.k, samples: samples.collect() }
    }

    /// For each sample, how far each row's `k`-th neighbour is, and which row of the sample that is.
    fn neighbors<'a>(&'a self, x: &'a Matrix) -> impl Iterator<Item = (&'a Sample, Vec<(f32, usize)>)> {
        self.samples.iter().map(|sample| {
            let found = sample.neighborhood.of(x);
            let last = found.rows().map(|(distances, indices)| (distances[self.k - 1], indices[self.k - 1] as usize));
            (sample, last.collect())
        })
    }

    fn mean(&self, sum: f64) -> f32 {
        (sum / self.samples.len() as f64).min(f64::from(f32::MAX)) as f32
    }
}

impl Score for SampleScore {
    fn score(&self, x: &Matrix) -> Scores {
        let mut sums = vec![0f64; x.n_samples()];
        for (_, neighbors) in self.neighbors(x) {
            sums.iter_mut().zip(neighbors).for_each(|(sum, (distance, _))| *sum += f64::from(distance));
        }
        Scores::new(sums.into_iter().map(|sum| self.mean(sum)).collect())
    }

    /// Of each distance, a feature has the share that it has in the square.
    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let n_features = x.n_features();
        let mut contributions = vec![0f64; x.values().len()];
        let mut expected = vec![0f64; x.values().len()];
        for (sample, neighbors) in self.neighbors(x) {
            for (row, (_, neighbor)) in neighbors.into_iter().enumerate() {
                let at = row * n_features..(row + 1) * n_features;
                let parts = contributions[at.clone()].iter_mut().zip(&mut expected[at]);
                add_shares(x.row(row), sample.rows.row(neighbor), parts);
            }
        }
        let rows = contributions.chunks_exact(n_features).zip(expected.chunks_exact(n_features));
        let explained = rows.zip(&scores.values).map(|((contributions, expected), &score)| {
            // To the score as it is, which is rounded to float32.
            let total: f64 = contributions.iter().sum();
            let factor = if total > 0.0 { f64::from(score) / total } else { 0.0 };
            Explanation {
                contributions: contributions.iter().map(|part| (part * factor) as f32).collect(),
                expected: expected.iter().map(|sum| (sum / self.samples.len() as f64) as f32).collect(),
                is_approximate: false,
            }
        });
        Some(explained.collect())
    }
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
