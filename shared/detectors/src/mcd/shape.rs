//! A centre and a covariance, and how far rows are from it.

use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Mat, MatMut, Par, Side};
use rayon::prelude::*;

use crate::FitError;
use crate::dense::{Moments, Rows, centered};

/// Rows whose distances are taken together.
const CHUNK: usize = 512;

/// Mean and covariance K, shrunk so that it has an inverse.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// `(n_features)`
    pub mean: Vec<f64>,
    /// The Cholesky factor L of K = L Lᵀ: `(n_features, n_features)`.
    lower: Mat<f64>,
    /// The logarithm of K's determinant.
    pub log_determinant: f64,
}

impl Shape {
    /// With the covariance S, K = (1 - shrinkage) S + shrinkage I.
    pub fn new(moments: Moments, shrinkage: f64) -> Result<Self, FitError> {
        let n_features = moments.mean.len();
        let mut shrunk = moments.covariance * faer::Scale(1.0 - shrinkage);
        (0..n_features).for_each(|index| shrunk[(index, index)] += shrinkage);
        let failed = |_| FitError::Numeric("the covariance cannot be inverted; raise mcd's shrinkage".to_owned());
        let lower = shrunk.llt(Side::Lower).map_err(failed)?.L().to_owned();
        let log_determinant = (0..n_features).map(|index| 2.0 * lower[(index, index)].ln()).sum();
        Ok(Self { mean: moments.mean, lower, log_determinant })
    }

    /// The squared Mahalanobis distances of the rows with these indices.
    pub fn squared_distances(&self, rows: Rows<'_>, indices: &[usize]) -> Vec<f64> {
        let chunk = |indices: &[usize]| {
            let mut whitened = centered(rows, indices, &self.mean); // (n_features, n_rows), column-major
            let columns = MatMut::from_column_major_slice_mut(&mut whitened, rows.n_features, indices.len());
            solve_lower_triangular_in_place(self.lower.as_ref(), columns, Par::Seq);
            let square = |row: &[f64]| row.iter().map(|value| value * value).sum();
            whitened.chunks_exact(rows.n_features).map(square).collect::<Vec<f64>>()
        };
        if indices.len() <= CHUNK { chunk(indices) } else { indices.par_chunks(CHUNK).flat_map_iter(chunk).collect() }
    }

    /// L⁻¹, which turns K into the identity.
    pub fn whitening(&self) -> Mat<f64> {
        let n_features = self.mean.len();
        let mut inverse = Mat::identity(n_features, n_features);
        solve_lower_triangular_in_place(self.lower.as_ref(), inverse.as_mut(), Par::Seq);
        inverse
    }
}
