//! k-means and bisecting k-means over tensors, for every number of clusters up to a largest one.

mod bisecting;
mod device;
mod elbow;
mod init;
mod lloyd;
mod sweep;

use burn::tensor::{Device, Tensor};
use thiserror::Error;

use crate::matrix::Matrix;

pub use bisecting::{BisectingTree, TreeNode, fit_tree};
pub use elbow::elbow;
pub use lloyd::{KMeansFit, predict};
pub use sweep::fit_sweep;

/// How k-means is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeansParams {
    /// Restarts from different seedings, of which the one with the smallest inertia is kept.
    pub n_init: usize,
    /// Most iterations of one restart.
    pub max_iter: usize,
    /// A restart has converged when the squared shift of all centroids is at most this times the mean variance
    /// of the features.
    pub tol: f64,
    /// Seed of all randomness.
    pub seed: u64,
}

/// Why clusters cannot be found.
#[derive(Debug, Error, PartialEq)]
pub enum KMeansError {
    /// Fewer points than clusters.
    #[error(
        "{n_samples} rows cannot make {n_clusters} clusters: lower k to at most {n_samples}, or train on more data"
    )]
    TooFewRows {
        /// Points.
        n_samples: usize,
        /// Clusters asked for.
        n_clusters: usize,
    },
    /// Every point is the same.
    #[error("all {n_samples} rows have the same features: there is nothing to tell apart, so train on other data")]
    AllEqual {
        /// Points.
        n_samples: usize,
    },
    /// A value that is not finite.
    #[error("row {row} has a feature that is not a finite number")]
    NotFinite {
        /// Index of the row, from 0.
        row: usize,
    },
}

/// Points that were checked and lie on a device.
#[derive(Debug, Clone)]
pub struct Points {
    /// On the host, `(n_samples, n_features)`.
    pub matrix: Matrix,
    /// On the device, `(n_samples, n_features)`.
    pub tensor: Tensor<2>,
    /// Mean of the features' variances.
    pub mean_variance: f64,
}

impl Points {
    /// Checks the rows and puts them on `device`.
    ///
    /// # Errors
    /// [`KMeansError`] when there are fewer rows than `n_clusters`, or a value is not finite, or all rows are equal.
    pub fn new(matrix: Matrix, n_clusters: usize, device: &Device) -> Result<Self, KMeansError> {
        let n_samples = matrix.n_samples();
        if n_samples < n_clusters {
            return Err(KMeansError::TooFewRows { n_samples, n_clusters });
        }
        if let Some(row) = matrix.rows().position(|row| row.iter().any(|value| !value.is_finite())) {
            return Err(KMeansError::NotFinite { row });
        }
        if n_clusters > 1 && matrix.rows().all(|row| row == matrix.row(0)) {
            return Err(KMeansError::AllEqual { n_samples });
        }
        let (tensor, mean_variance) = (matrix.to_tensor(device), mean_variance(&matrix));
        Ok(Self { matrix, tensor, mean_variance })
    }

    /// How many points.
    pub fn n_samples(&self) -> usize {
        self.matrix.n_samples()
    }

    /// Whether the points lie on the CPU backend, where restarts may run side by side.
    pub(crate) fn on_cpu(&self) -> bool {
        matches!(self.tensor.device().as_dispatch(), burn::backend::DispatchDevice::Flex(_))
    }
}

fn mean_variance(matrix: &Matrix) -> f64 {
    let (n, d) = (matrix.n_samples() as f64, matrix.n_features());
    let mut mean = vec![0.0; d];
    for row in matrix.rows() {
        mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x) / n);
    }
    let squares = |row: &[f32]| row.iter().zip(&mean).map(|(x, mean)| (f64::from(*x) - mean).powi(2)).sum::<f64>();
    matrix.rows().map(squares).sum::<f64>() / n / d as f64
}

#[cfg(test)]
mod tests;
