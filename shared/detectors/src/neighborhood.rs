//! What detectors by nearest neighbours have in common: reference rows, and how a row of the fit is not its own neighbour.

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

/// Rows that are kept of those of the fit.
#[derive(Debug, PartialEq)]
pub(super) struct Reference {
    /// `(n_reference, n_features)`
    pub rows: Array<f32>,
    /// The places that they had in the fit, rising: `(n_reference)`; none where all rows were kept.
    pub places: Option<Array<i32>>,
}

/// Rows that are compared with all that come to be scored, ready to be searched.
///
/// A new row that is equal to a reference row has that one as a neighbour at distance 0. A row of the fit has itself among
/// the reference rows and leaves itself out: itself and no other row, however many are equal to it.
#[derive(Debug)]
pub(super) struct Neighborhood {
    index: NeighborIndex,
    k: usize,
    n_reference: usize,
    /// As in [`Reference`].
    places: Option<Array<i32>>,
}

/// The neighbours of some rows.
#[derive(Debug)]
pub(super) struct Neighbors {
    k: usize,
    /// Euclidean distances, rising: `(n_samples, k)`.
    distances: Vec<f32>,
    /// Indices of the reference rows: `(n_samples, k)`.
    indices: Vec<i32>,
}

impl Neighborhood {
    /// Of `rows` `(n_reference, n_features)`, more than `k`, with their `places` in the fit as in [`Reference`].
    pub(super) fn new(rows: &Array<f32>, places: Option<&Array<i32>>, k: usize, device: &Device) -> Self {
        let n_reference = rows.shape()[0];
        let rows = Matrix::from_values(rows.shape()[1], rows.values().to_vec());
        Self { index: NeighborIndex::new(&rows, k + 1, device), k, n_reference, places: places.cloned() }
    }

    /// The `k` nearest reference rows of new rows.
    pub(super) fn of(&self, x: &Matrix) -> Neighbors {
        self.nearest(x, std::iter::repeat(None))
    }

    /// The `k` nearest other reference rows of rows that had these `places` in the fit.
    pub(super) fn of_training(&self, x: &Matrix, places: &[Option<usize>]) -> Neighbors {
        self.nearest(x, places.iter().map(|place| place.and_then(|place| self.index_of(place))))
    }

    /// The index among the reference rows of the row that had this place in the fit.
    fn index_of(&self, place: usize) -> Option<i32> {
        let place = i32::try_from(place).ok()?;
        match &self.places {
            Some(places) => places.values().binary_search(&place).ok().and_then(|index| i32::try_from(index).ok()),
            None => usize::try_from(place).is_ok_and(|index| index < self.n_reference).then_some(place),
        }
    }

    /// The nearest reference rows without the rows themselves, which have these indices among them.
    fn nearest(&self, x: &Matrix, own: impl Iterator<Item = Option<i32>>) -> Neighbors {
        let found = self.index.search(x);
        let n_neighbors = x.n_samples() * self.k;
        let (mut distances, mut indices) = (Vec::with_capacity(n_neighbors), Vec::with_capacity(n_neighbors));
        let rows = found.squared_distances.chunks_exact(self.k + 1).zip(found.indices.chunks_exact(self.k + 1));
        for ((squared_distances, row_indices), own) in rows.zip(own) {
            // One more than is needed was found. It is also the one to leave out where so many others are equal to a row that
            // the row itself was not found: then all that were found are equally near.
            let own = own.and_then(|own| row_indices.iter().position(|&index| index == own)).unwrap_or(self.k);
            distances.extend(without(squared_distances, own).map(|squared| squared.sqrt()));
            indices.extend(without(row_indices, own));
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

/// All values but the one at `index`.
fn without<T: Copy>(values: &[T], index: usize) -> impl Iterator<Item = T> {
    values[..index].iter().chain(&values[index + 1..]).copied()
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
pub(super) fn reference(x: &Matrix, k: usize, max_rows: usize, context: &Context<'_>) -> Result<Reference, FitError> {
    let (n_samples, n_features) = (x.n_samples(), x.n_features());
    if n_samples <= k {
        return Err(FitError::TooFewRows { n_samples, needed: k + 1, why: format!("k = {k} neighbours") });
    }
    if x.is_constant() {
        return Err(FitError::AllEqual { n_samples });
    }
    if n_samples <= max_rows {
        let rows = Array::new([n_samples, n_features], x.values().to_vec());
        return Ok(Reference { rows, places: None });
    }
    let sample = stratified(n_samples, max_rows, &mut Stream::ReferenceRows.of(context.seed));
    let values = sample.iter().flat_map(|&index| x.row(index)).copied().collect();
    let places = sample.into_iter().map(place).collect();
    let (rows, places) = (Array::new([max_rows, n_features], values), Array::new([max_rows], places));
    Ok(Reference { rows, places: Some(places) })
}

/// The place of a row in the fit as a model holds it. No history has as many rows as int32 has numbers; if one had, the rows
/// beyond would be taken for new ones.
pub(super) fn place(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(-1)
}

/// Checks rows that were read from a file, with their places in the fit.
pub(super) fn check_reference(
    reference: &Array<f32>,
    places: Option<&Array<i32>>,
    k: usize,
    n_features: usize,
) -> Result<(), String> {
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
    if places.is_some_and(|places| !places.has_shape(&[n_reference])) {
        return Err(format!("it has not one place in the fit for each of {n_reference} reference rows"));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
