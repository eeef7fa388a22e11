//! The operations in plain tensor operations: they run on every device, and the kernels are tested against them.
//!
//! Distances are sums of squared differences, feature by feature: the expansion `|x|² - 2xc + |c|²` is faster on
//! a GPU but loses the small distances of large values in float32.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{Assignment, Descent, Neighbors, TreeLinks};
use crate::matrix::host_values;

/// Points a pass, so that the `(n_samples, n_clusters)` matrix of a pass stays small.
const POINTS_A_PASS: usize = 1 << 18;

/// Distances to reference rows a pass.
const DISTANCES_A_PASS: usize = 1 << 22;

/// As [`super::assign_and_accumulate`].
pub fn assign_and_accumulate(x: &Tensor<2>, centroids: &Tensor<2>) -> Assignment {
    let [n_clusters, n_features] = centroids.dims();
    let mut sums = vec![0.0; n_clusters * n_features];
    let mut counts = vec![0.0; n_clusters];
    let mut inertia = 0.0;
    let (mut labels, mut squared_distances) = (Vec::new(), Vec::new());
    for chunk in chunks(x) {
        let distances = pairwise_squared_distances(&chunk, centroids); // (chunk, n_clusters)
        let (nearest, index) = distances.min_dim_with_indices(1); // (chunk, 1), (chunk, 1)
        // Products with the one-hot labels sum by cluster without scatter, whose float atomics GPUs may lack, and without a
        // product of matrices, which some compute in TF32.
        let one_hot = index.clone().equal(cluster_numbers(n_clusters, &x.device())).float(); // (chunk, n_clusters)
        let of_feature = |feature: usize| {
            let column = chunk.clone().narrow(1, feature, 1); // (chunk, 1)
            (one_hot.clone() * column).sum_dim(0) // (1, n_clusters)
        };
        let by_feature = Tensor::cat((0..n_features).map(of_feature).collect(), 0); // (n_features, n_clusters)
        add(&mut sums, by_feature.transpose()); // (n_clusters, n_features)
        add(&mut counts, one_hot.sum_dim(0)); // (1, n_clusters)
        inertia += host(nearest.clone()).iter().sum::<f64>();
        labels.push(index.squeeze_dim::<1>(1)); // (chunk)
        squared_distances.push(nearest.squeeze_dim::<1>(1)); // (chunk)
    }
    Assignment {
        labels: Tensor::cat(labels, 0),
        squared_distances: Tensor::cat(squared_distances, 0),
        sums,
        counts,
        inertia,
    }
}

/// As [`super::descend`].
pub fn descend(x: &Tensor<2>, centers: &Tensor<2>, links: &TreeLinks) -> Descent {
    let device = x.device();
    let (left, right) = (indices(&links.left, &device), indices(&links.right, &device)); // (n_nodes)
    let distances = pairwise_squared_distances(x, centers); // (n_samples, n_nodes)
    let mut nodes = Tensor::<1, Int>::zeros([x.dims()[0]], &device); // (n_samples)
    let to = |nodes: &Tensor<1, Int>| distances.clone().gather(1, nodes.clone().unsqueeze_dim(1)); // (n_samples, 1)
    for _ in 0..links.depth {
        let (l, r) = (left.clone().select(0, nodes.clone()), right.clone().select(0, nodes)); // (n_samples)
        let goes_right = to(&r).lower(to(&l)).squeeze_dim::<1>(1); // (n_samples)
        nodes = l.mask_where(goes_right, r); // (n_samples)
    }
    let squared_distances = to(&nodes).squeeze_dim::<1>(1); // (n_samples)
    Descent { nodes, squared_distances }
}

/// As [`super::neighbors`]: the nearest row is taken out again and again.
pub fn neighbors(x: &Tensor<2>, reference: &Tensor<2>, k: usize) -> Neighbors {
    let ([n_samples, _], [n_reference, _]) = (x.dims(), reference.dims());
    let numbers = cluster_numbers(n_reference, &x.device()); // (1, n_reference)
    let rows_a_pass = (DISTANCES_A_PASS / n_reference).max(1);
    let (mut squared_distances, mut indices) = (Vec::new(), Vec::new());
    for start in (0..n_samples).step_by(rows_a_pass) {
        let chunk = x.clone().narrow(0, start, rows_a_pass.min(n_samples - start)); // (chunk, n_features)
        // Beyond float32 all are equally far away, and nearer than what was taken out.
        let mut distances = pairwise_squared_distances(&chunk, reference).clamp_max(f32::MAX); // (chunk, n_reference)
        let (mut chunk_distances, mut chunk_indices) = (Vec::new(), Vec::new());
        for _ in 0..k {
            let (nearest, index) = distances.clone().min_dim_with_indices(1); // (chunk, 1), (chunk, 1)
            distances = distances.mask_fill(index.clone().equal(numbers.clone()), f32::INFINITY); // (chunk, n_reference)
            chunk_distances.push(nearest);
            chunk_indices.push(index);
        }
        squared_distances.push(Tensor::cat(chunk_distances, 1)); // (chunk, k)
        indices.push(Tensor::cat(chunk_indices, 1)); // (chunk, k)
    }
    Neighbors { squared_distances: Tensor::cat(squared_distances, 0), indices: Tensor::cat(indices, 0) }
}

/// Squared distances `(n_samples, n_centers)`.
fn pairwise_squared_distances(x: &Tensor<2>, centers: &Tensor<2>) -> Tensor<2> {
    let [_, n_features] = x.dims();
    let by_feature = |feature: usize| {
        let column = x.clone().narrow(1, feature, 1); // (n_samples, 1)
        let row = centers.clone().narrow(1, feature, 1).transpose(); // (1, n_centers)
        let difference = column - row; // (n_samples, n_centers)
        difference.clone() * difference
    };
    (1..n_features).fold(by_feature(0), |sum, feature| sum + by_feature(feature))
}

fn chunks(x: &Tensor<2>) -> impl Iterator<Item = Tensor<2>> + '_ {
    let [n_samples, _] = x.dims();
    (0..n_samples)
        .step_by(POINTS_A_PASS)
        .map(move |start| x.clone().narrow(0, start, POINTS_A_PASS.min(n_samples - start)))
}

fn cluster_numbers(n_clusters: usize, device: &Device) -> Tensor<2, Int> {
    Tensor::<1, Int>::arange(0..n_clusters as i64, device).unsqueeze_dim(0) // (1, n_clusters)
}

fn indices(values: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn add(total: &mut [f64], part: Tensor<2>) {
    for (total, part) in total.iter_mut().zip(host(part)) {
        *total += part;
    }
}

fn host(tensor: Tensor<2>) -> Vec<f64> {
    host_values(tensor.into_data())
}
