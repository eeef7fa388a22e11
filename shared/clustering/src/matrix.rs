//! Two row-major matrices: features as they are computed, and features as the device sees them.

use burn::tensor::{Device, Element, Tensor, TensorData};
use ndarray::ArrayView2;

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
