//! Lloyd's algorithm (Lloyd 1982), from one set of starting centroids to its local optimum.
//!
//! 1. Assign every point to its nearest centroid.
//! 2. Move every centroid to the mean of its points; an empty cluster takes the point that is farthest from its
//!    centroid.
//! 3. Stop when the centroids moved by no more than the tolerance, or after `max_iter` rounds.
//! 4. Assign once more, so that labels and inertia match the centroids that are returned.

use burn::tensor::Tensor;

use super::{KMeansParams, Points};
use crate::matrix::Matrix;
use crate::ops::{self, Assignment};

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeansFit {
    /// `(n_clusters, n_features)`
    pub centroids: Matrix,
    /// Index of each point's nearest centroid: `(n_samples)`.
    pub labels: Vec<i32>,
    /// Squared distance to it: `(n_samples)`.
    pub squared_distances: Vec<f32>,
    /// How many points each cluster has.
    pub counts: Vec<u64>,
    /// Sum of the squared distances.
    pub inertia: f64,
    /// Rounds until it stopped.
    pub n_iter: usize,
}

impl KMeansFit {
    /// Whether this run is better than `other` by more than rounding.
    pub(super) fn beats(&self, other: &Self) -> bool {
        self.inertia < other.inertia * (1.0 - 1e-6)
    }
}

/// Runs Lloyd's algorithm from `centroids`.
pub(super) fn lloyd(points: &Points, mut centroids: Matrix, params: &KMeansParams) -> KMeansFit {
    let device = points.tensor.device();
    let tolerance = params.tol * points.mean_variance;
    let mut n_iter = 0;
    while n_iter < params.max_iter {
        n_iter += 1;
        let assignment = ops::assign_and_accumulate(&points.tensor, &centroids.to_tensor(&device));
        let next = means(points, &centroids, assignment);
        let shift = squared_shift(&centroids, &next);
        centroids = next;
        if shift <= tolerance {
            break;
        }
    }
    let last = ops::assign_and_accumulate(&points.tensor, &centroids.to_tensor(&device));
    KMeansFit {
        centroids,
        counts: last.counts.iter().map(|&count| count as u64).collect(),
        inertia: last.inertia,
        labels: last.labels.into_data().iter::<i32>().collect(),
        squared_distances: last.squared_distances.into_data().iter::<f32>().collect(),
        n_iter,
    }
}

/// Each point's nearest of `centroids`, `(n_samples)`, and the squared distance to it, `(n_samples)`.
pub fn predict(x: &Tensor<2>, centroids: &Tensor<2>) -> (Vec<i32>, Vec<f32>) {
    let assignment = ops::assign_and_accumulate(x, centroids);
    let labels = assignment.labels.into_data().iter::<i32>().collect();
    (labels, assignment.squared_distances.into_data().iter::<f32>().collect())
}

/// The mean of each cluster's points, `(n_clusters, n_features)`.
fn means(points: &Points, centroids: &Matrix, mut assignment: Assignment) -> Matrix {
    if assignment.counts.contains(&0.0) {
        reseed_empty(points, &mut assignment);
    }
    let n_features = centroids.n_features();
    let mean = |cluster: usize| {
        let count = assignment.counts[cluster];
        let sums = &assignment.sums[cluster * n_features..(cluster + 1) * n_features];
        let old = centroids.row(cluster);
        // Still empty: there are fewer distinct points than clusters, and the centroid may stay where it is.
        (0..n_features).map(move |j| if count > 0.0 { (sums[j] / count) as f32 } else { old[j] })
    };
    Matrix::from_values(n_features, (0..centroids.n_samples()).flat_map(mean).collect())
}

/// Gives each empty cluster the point that is farthest from its centroid, taken out of the cluster it was in.
fn reseed_empty(points: &Points, assignment: &mut Assignment) {
    let labels: Vec<i32> = assignment.labels.to_data().iter::<i32>().collect();
    let distances: Vec<f32> = assignment.squared_distances.to_data().iter::<f32>().collect();
    let mut farthest: Vec<usize> = (0..labels.len()).collect();
    farthest.sort_by(|&a, &b| distances[b].total_cmp(&distances[a]).then(a.cmp(&b)));
    let n_features = points.matrix.n_features();
    let mut candidates = farthest.into_iter();
    for empty in (0..assignment.counts.len()).filter(|&cluster| assignment.counts[cluster] == 0.0).collect::<Vec<_>>() {
        let movable = |&point: &usize| distances[point] > 0.0 && assignment.counts[labels[point] as usize] > 1.0;
        let Some(point) = candidates.find(movable) else { return };
        let from = labels[point] as usize;
        assignment.counts[from] -= 1.0;
        assignment.counts[empty] = 1.0;
        for (j, &value) in points.matrix.row(point).iter().enumerate() {
            assignment.sums[from * n_features + j] -= f64::from(value);
            assignment.sums[empty * n_features + j] = f64::from(value);
        }
    }
}

fn squared_shift(from: &Matrix, to: &Matrix) -> f64 {
    from.values().iter().zip(to.values()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}
