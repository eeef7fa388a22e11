//! Scores by samples.

use std::slice::ChunksExact;

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
    /// `(n_samples, sample)`, where they are known.
    places: Option<Array<i32>>,
    sets: NeighborSets,
}

impl SampleScore {
    pub(super) fn new(model: &Samples) -> Self {
        let (sample, n_features) = (model.rows.shape()[1], model.rows.shape()[2]);
        let sets = NeighborSets::new(model.rows.values(), sample, n_features, model.k);
        Self { k: model.k, rows: model.rows.clone(), places: model.places.clone(), sets }
    }

    fn n_samples(&self) -> usize {
        self.rows.shape()[0]
    }

    /// The rows of each sample: `(sample, n_features)`.
    fn samples(&self) -> ChunksExact<'_, f32> {
        self.rows.values().chunks_exact(self.rows.shape()[1] * self.rows.shape()[2])
    }

    /// The places in the fit of the rows of all samples, each with the index of the sample, rising.
    fn homes(&self) -> Vec<(i32, usize)> {
        let Some(places) = &self.places else { return Vec::new() };
        let samples = places.values().chunks_exact(places.shape()[1]).enumerate();
        let mut homes: Vec<(i32, usize)> =
            samples.flat_map(|(sample, places)| places.iter().map(move |&place| (place, sample))).collect();
        homes.sort_unstable();
        homes
    }

    /// The mean of distances of which this is the sum.
    fn mean(&self, sum: f64) -> f32 {
        (sum / self.n_samples() as f64).min(f64::from(f32::MAX)) as f32
    }

    /// Where the distances come from that are in a row's score: of each distance, a feature has the share that it has in the
    /// square.
    fn explain_row(&self, row: &[f32], score: f32) -> Explanation {
        let (mut contributions, mut expected) = (vec![0f64; row.len()], vec![0f64; row.len()]);
        for sample in self.samples() {
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
        Scores::new(self.sets.sums_of_distances(x).into_iter().map(|sum| self.mean(sum)).collect())
    }

    /// In the few samples that a row is in, the neighbour after its `k`-th nearest counts in that one's place.
    fn score_training(&self, x: &Matrix, places: &[Option<usize>]) -> Scores {
        let (homes, samples) = (self.homes(), self.samples().collect::<Vec<&[f32]>>());
        let mut sums = self.sets.sums_of_distances(x);
        let rows = sums.par_iter_mut().zip(x.values().par_chunks_exact(x.n_features())).zip(places);
        rows.for_each(|((sum, row), place)| {
            let Some(place) = place.and_then(|place| i32::try_from(place).ok()) else { return };
            let first = homes.partition_point(|(home, _)| *home < place);
            let own = homes[first..].iter().take_while(|(home, _)| *home == place);
            *sum += own.map(|(_, sample)| step_to_next(row, samples[*sample], self.k)).sum::<f64>();
        });
        Scores::new(sums.into_iter().map(|sum| self.mean(sum)).collect())
    }

    fn explain(&self, x: &Matrix, scores: &Scores) -> Option<Vec<Explanation>> {
        let rows = x.values().par_chunks_exact(x.n_features()).zip(&scores.values);
        Some(rows.map(|(row, &score)| self.explain_row(row, score)).collect())
    }
}

/// The `k`-th nearest row of a sample.
fn neighbor<'a>(row: &[f32], sample: &'a [f32], k: usize) -> &'a [f32] {
    let mut nearest: Vec<(f64, &[f32])> =
        sample.chunks_exact(row.len()).map(|other| (squared_distance(row, other), other)).collect();
    nearest.select_nth_unstable_by(k - 1, |a, b| a.0.total_cmp(&b.0)).1.1
}

/// How much further away the next one is than the `k`-th nearest row of a sample.
fn step_to_next(row: &[f32], sample: &[f32], k: usize) -> f64 {
    let distance = |other: &[f32]| squared_distance(row, other).min(f64::from(f32::MAX)).sqrt();
    let mut distances: Vec<f64> = sample.chunks_exact(row.len()).map(distance).collect();
    let (before, &mut next, _) = distances.select_nth_unstable_by(k, f64::total_cmp);
    next - before.iter().copied().fold(0.0, f64::max)
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
