//! What detectors by nearest neighbours have in common: reference rows, and how a row is not its own neighbour.

use burn::tensor::Device;
use clustering::matrix::Matrix;
use clustering::ops::NeighborIndex;
use clustering::sample::stratified;

use super::random::Stream;
use super::{Array, Context, FitError};

/// Most neighbours that can be asked for.
const MOST_NEIGHBORS: usize = 1000;

/// Most rows that can be kept.
const MOST_ROWS: usize = 1 << 24;

/// Rows that are compared with all that come to be scored, ready to be searched.
///
/// A row that is scored has itself among its neighbours when it was trained on. So one reference row at a distance of
/// exactly 0 is taken for the row itself, and left out; of several, the second and all others count. Scores of training
/// rows are then those of a search that leaves each row out itself, whether they are scored in training or alone and
/// years later, for a score depends on the row and on nothing else. A new row that is equal to a training row has that
/// row's score.
#[derive(Debug)]
pub(super) struct Neighborhood {
    index: NeighborIndex,
    k: usize,
}

/// The neighbours of some rows, without themselves.
#[derive(Debug)]
pub(super) struct Neighbors {
    k: usize,
    /// Euclidean distances, rising: `(n_samples, k)`.
    distances: Vec<f32>,
    /// Indices of the reference rows: `(n_samples, k)`.
    indices: Vec<i32>,
}

impl Neighborhood {
    /// Of `reference` `(n_reference, n_features)`, with more than `k` rows.
    pub(super) fn new(reference: &Array<f32>, k: usize, device: &Device) -> Self {
        let reference = Matrix::from_values(reference.shape()[1], reference.values().to_vec());
        Self { index: NeighborIndex::new(&reference, k + 1, device), k }
    }

    /// The `k` nearest of the other rows.
    pub(super) fn of(&self, x: &Matrix) -> Neighbors {
        let found = self.index.search(x);
        let (mut distances, mut indices) = (Vec::with_capacity(x.n_samples() * self.k), Vec::new());
        indices.reserve(x.n_samples() * self.k);
        let rows = found.squared_distances.chunks_exact(self.k + 1).zip(found.indices.chunks_exact(self.k + 1));
        for (squared_distances, row_indices) in rows {
            let skipped = usize::from(squared_distances[0] == 0.0);
            distances.extend(squared_distances[skipped..skipped + self.k].iter().map(|squared| squared.sqrt()));
            indices.extend_from_slice(&row_indices[skipped..skipped + self.k]);
        }
        Neighbors { k: self.k, distances, indices }
    }
}

impl Neighbors {
    /// Whether every neighbour is one of `n_reference` rows: where no distance is a number, the search finds none.
    pub(super) fn are_rows_of(&self, n_reference: usize) -> bool {
        self.indices.iter().all(|&index| usize::try_from(index).is_ok_and(|index| index < n_reference))
    }

    /// The distances and the indices of each row's neighbours: `(k)`, `(k)`.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = (&[f32], &[i32])> {
        self.distances.chunks_exact(self.k).zip(self.indices.chunks_exact(self.k))
    }
}

/// Checks parameters.
pub(super) fn check_parameters(k: usize, max_rows: usize) -> Result<(), String> {
    if !(1..=MOST_NEIGHBORS).contains(&k) {
        return Err(format!("k must be between 1 and {MOST_NEIGHBORS}"));
    }
    if max_rows <= k || max_rows > MOST_ROWS {
        return Err(format!("max_rows must be larger than k, which is {k}, and at most {MOST_ROWS}"));
    }
    Ok(())
}

/// The rows that are kept of `x`: all of them or, of more than `max_rows`, a sample of as many, stratified by position.
///
/// # Errors
/// When there are not more than `k`, or all are equal.
pub(super) fn reference(x: &Matrix, k: usize, max_rows: usize, context: &Context<'_>) -> Result<Array<f32>, FitError> {
    let (n_samples, n_features) = (x.n_samples(), x.n_features());
    if n_samples <= k {
        return Err(FitError::TooFewRows { n_samples, needed: k + 1, why: format!("k = {k} neighbours") });
    }
    if x.is_constant() {
        return Err(FitError::AllEqual { n_samples });
    }
    if n_samples <= max_rows {
        return Ok(Array::new([n_samples, n_features], x.values().to_vec()));
    }
    let sample = stratified(n_samples, max_rows, &mut Stream::ReferenceRows.of(context.seed));
    let values = sample.into_iter().flat_map(|index| x.row(index)).copied().collect();
    Ok(Array::new([max_rows, n_features], values))
}

/// Checks rows that were read from a file.
pub(super) fn check_reference(reference: &Array<f32>, k: usize, n_features: usize) -> Result<(), String> {
    let n_reference = reference.shape().first().copied().unwrap_or_default();
    if !(1..=MOST_NEIGHBORS).contains(&k) || n_reference <= k || n_reference > MOST_ROWS {
        return Err(format!("it has {n_reference} reference rows for k = {k} neighbours"));
    }
    if !reference.has_shape(&[n_reference, n_features]) {
        return Err(format!("its reference rows are not {n_reference} rows of {n_features} features"));
    }
    if !reference.is_finite() {
        return Err("its reference rows are not finite".to_owned());
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
