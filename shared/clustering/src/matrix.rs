//! Two row-major matrices: features as they are computed, and features as the device sees them.

use burn::tensor::{Device, Element, Tensor, TensorData};
use ndarray::ArrayView2;
use rayon::prelude::*;

/// Bytes of columns that are copied at a time, if they are more than two.
const COLUMN_BYTES: usize = 64 << 20;

/// Features of entities in their own units, `(n_samples, n_features)`, float64, row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureMatrix {
    n_features: usize,
    values: Vec<f64>,
}

impl FeatureMatrix {
    /// No row yet.
    pub fn new(n_features: usize) -> Self {
        Self { n_features, values: Vec::new() }
    }

    /// A matrix of the rows that `values` holds one after the other.
    ///
    /// # Panics
    /// When `values` does not hold whole rows.
    pub fn from_values(n_features: usize, values: Vec<f64>) -> Self {
        assert!(n_features > 0 && values.len().is_multiple_of(n_features), "whole rows of {n_features} features");
        Self { n_features, values }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When the row has another length than the others.
    pub fn push(&mut self, row: &[f64]) {
        assert_eq!(row.len(), self.n_features, "a row has one value a feature");
        self.values.extend_from_slice(row);
    }

    /// How many rows.
    pub fn n_samples(&self) -> usize {
        self.values.len().checked_div(self.n_features).unwrap_or(0)
    }

    /// How many columns.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.n_features)
    }

    /// The values of one column.
    pub fn column(&self, index: usize) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().skip(index).step_by(self.n_features).copied()
    }

    /// What `learn` makes of a copy of each column's values, in the order of the columns. It is called on several threads, but
    /// for columns that are large together on two at most: each has a copy in memory.
    pub fn map_columns<T: Send>(&self, learn: impl Fn(Vec<f64>) -> T + Sync) -> Vec<T> {
        let column_bytes = self.n_samples() * size_of::<f64>();
        let at_a_time = (COLUMN_BYTES / column_bytes.max(1)).max(2);
        let mut learned = Vec::with_capacity(self.n_features);
        for first in (0..self.n_features).step_by(at_a_time) {
            let group = first..(first + at_a_time).min(self.n_features);
            learned.par_extend(group.into_par_iter().map(|index| learn(self.column(index).collect())));
        }
        learned
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// All values, row by row, without a copy.
    pub fn into_values(self) -> Vec<f64> {
        self.values
    }
}

/// Rows `(n_samples, n_features)`, of at least one feature.
impl From<ArrayView2<'_, f64>> for FeatureMatrix {
    fn from(rows: ArrayView2<'_, f64>) -> Self {
        Self::from_values(rows.ncols(), rows.iter().copied().collect())
    }
}

/// Scaled features, `(n_samples, n_features)`, float32, row-major: what the device computes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    n_features: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// A matrix of the rows that `values` holds one after the other.
    ///
    /// # Panics
    /// When `values` does not hold whole rows.
    pub fn from_values(n_features: usize, values: Vec<f32>) -> Self {
        assert!(n_features > 0 && values.len().is_multiple_of(n_features), "whole rows of {n_features} features");
        Self { n_features, values }
    }

    /// How many rows.
    pub fn n_samples(&self) -> usize {
        self.values.len() / self.n_features
    }

    /// How many columns.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.n_features)
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.n_features..(index + 1) * self.n_features]
    }

    /// Whether every row is the first one.
    pub fn is_constant(&self) -> bool {
        self.rows().all(|row| row == self.row(0))
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, row by row, without a copy.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// The first `n_rows` rows.
    pub fn first_rows(&self, n_rows: usize) -> Self {
        Self { n_features: self.n_features, values: self.values[..n_rows * self.n_features].to_vec() }
    }

    /// The matrix on `device`: `(n_samples, n_features)`, contiguous.
    pub fn to_tensor(&self, device: &Device) -> Tensor<2> {
        self.clone().into_tensor(device)
    }

    /// As [`to_tensor`](Self::to_tensor), without a copy on the host.
    pub fn into_tensor(self, device: &Device) -> Tensor<2> {
        let (shape, len) = ([self.n_samples(), self.n_features], self.values.len());
        // As one long row: CUDA pads the rows of a matrix, by more than half where there are 5 features, and kernels
        // that want them without gaps would have to copy it first.
        let values = Tensor::<1>::from_data(TensorData::new(self.values, [len]), device); // (n_samples * n_features)
        values.reshape(shape) // (n_samples, n_features)
    }
}

/// Rows `(n_samples, n_features)`, of at least one feature.
impl From<ArrayView2<'_, f32>> for Matrix {
    fn from(rows: ArrayView2<'_, f32>) -> Self {
        Self::from_values(rows.ncols(), rows.iter().copied().collect())
    }
}

/// The values that were read back from a device, row by row: without a copy where they are of this type already.
pub fn host_values<E: Element>(data: TensorData) -> Vec<E> {
    data.convert::<E>().try_into_vec().expect("they were converted to this type")
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn every_column_is_learned_from_once_and_in_order() {
        for (n_samples, n_features) in [(0, 3), (1, 1), (3, 40), (3_000_000, 3)] {
            let values: Vec<f64> = (0..n_samples * n_features).map(|i| (i % 1013) as f64).collect();
            let matrix = FeatureMatrix::from_values(n_features, values);
            let expected: Vec<(usize, f64)> =
                (0..n_features).map(|index| (n_samples, matrix.column(index).sum())).collect();
            assert_eq!(matrix.map_columns(|column| (column.len(), column.iter().sum::<f64>())), expected);
        }
    }

    #[test]
    fn rows_of_a_view_are_rows_however_they_lie_in_memory() {
        let rows = Array2::from_shape_fn((3, 2), |(row, feature)| (10 * row + feature) as f32);
        let expected = Matrix::from_values(2, vec![0.0, 1.0, 10.0, 11.0, 20.0, 21.0]);
        assert_eq!(Matrix::from(rows.view()), expected);
        let columns = Array2::from_shape_fn((2, 3), |(feature, row)| (10 * row + feature) as f32);
        assert_eq!(Matrix::from(columns.t()), expected);
        let wide = rows.mapv(f64::from);
        assert_eq!(FeatureMatrix::from(wide.view()).values(), [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]);
    }
}
