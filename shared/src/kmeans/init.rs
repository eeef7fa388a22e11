//! Greedy k-means++ seeding (Arthur and Vassilvitskii 2007, section 4): each next centroid is drawn with a
//! probability proportional to the squared distance to the closest one so far, several candidates are drawn, and
//! the one that leaves the smallest sum of distances is kept.

use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Points;
use crate::matrix::Matrix;
use crate::ops;

/// Indices of `n_clusters` points to start from; the first k of them are a seeding for k clusters.
///
/// The number of candidates a step follows from the largest k, so one seeding serves a whole sweep.
pub(super) fn greedy_kmeans_plus_plus(points: &Points, n_clusters: usize, seed: u64, restart: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // One stream of the generator a restart: restarts do not depend on each other's draws.
    rng.set_stream(restart);
    let n_candidates = 2 + (n_clusters as f64).ln() as usize;
    let n_samples = points.n_samples();
    let mut chosen = vec![rng.random_range(0..n_samples)];
    let mut closest = distances_to(points, chosen[0]); // (n_samples)
    while chosen.len() < n_clusters {
        let candidates = draw(&host(&closest), n_candidates, &mut rng);
        let centers = gather(points, &candidates); // (n_candidates, n_features)
        let result = ops::candidate_distances(&points.tensor, &closest, &centers);
        let best = smallest(&result.potentials);
        closest = result.closest.narrow(0, best, 1).squeeze_dim::<1>(0); // (n_samples)
        chosen.push(candidates[best]);
    }
    chosen
}

/// The points at `indices` as a tensor `(indices, n_features)`.
pub(super) fn gather(points: &Points, indices: &[usize]) -> Tensor<2> {
    gather_matrix(&points.matrix, indices).to_tensor(&points.tensor.device())
}

/// The rows at `indices`.
pub(super) fn gather_matrix(matrix: &Matrix, indices: &[usize]) -> Matrix {
    let values = indices.iter().flat_map(|&index| matrix.row(index).iter().copied()).collect();
    Matrix::from_values(matrix.n_features(), values)
}

fn distances_to(points: &Points, index: usize) -> Tensor<1> {
    let device = points.tensor.device();
    let infinite = TensorData::new(vec![f32::INFINITY; points.n_samples()], [points.n_samples()]);
    let closest = Tensor::<1>::from_data(infinite, &device);
    let result = ops::candidate_distances(&points.tensor, &closest, &gather(points, &[index]));
    result.closest.squeeze_dim::<1>(0) // (n_samples)
}

/// Draws indices with probability proportional to `weights`; any index when all weights are zero.
fn draw(weights: &[f32], count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let cumulative: Vec<f64> = weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += f64::from(*weight);
            Some(*sum)
        })
        .collect();
    let total = cumulative.last().copied().unwrap_or(0.0);
    let one = |_| {
        if total <= 0.0 {
            return rng.random_range(0..weights.len());
        }
        let at = rng.random::<f64>() * total;
        cumulative.partition_point(|&sum| sum <= at).min(weights.len() - 1)
    };
    (0..count).map(one).collect()
}

fn smallest(potentials: &[f64]) -> usize {
    (0..potentials.len()).min_by(|&a, &b| potentials[a].total_cmp(&potentials[b])).unwrap_or(0)
}

fn host(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}
