//! The fused kernels as an extension of burn's backends: one trait, which [`super::flex`] implements for the CPU and
//! [`super::cube`] for GPUs.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::{Int, Tensor};

use super::{Assignment, Descent, Neighbors, TreeLinks};
use crate::matrix::host_values;

/// Tensors of an [`Assignment`].
///
/// Totals come in parts, which add up in float64: the CPU has one part in float64, a GPU two in float32, of which the
/// second holds what the roundings of the first lost.
#[derive(ExtensionType)]
pub struct AssignmentTensors<B: Backend> {
    /// `(n_samples)`
    pub labels: IntTensor<B>,
    /// `(n_samples)`
    pub squared_distances: FloatTensor<B>,
    /// `(n_parts, n_clusters * n_features + 1 + n_clusters)`: sums, row by row, inertia, and counts.
    pub totals: FloatTensor<B>,
    /// Whether the sums are those of the points' differences to their centroids.
    pub centered: bool,
}

/// The operations of this module, on the backend's own tensors.
#[backend_extension(Cube, Flex)]
pub trait ClusterOps: Backend {
    /// See [`super::assign_and_accumulate`].
    fn cluster_assign(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> AssignmentTensors<Self>;

    /// See [`super::nearest`]: labels `(n_samples)` and squared distances `(n_samples)`.
    fn cluster_nearest(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>);

    /// See [`super::descend`]: leaves `(n_samples)` and squared distances `(n_samples)`.
    fn cluster_descend(
        x: FloatTensor<Self>,
        centers: FloatTensor<Self>,
        links: TreeLinks,
    ) -> (IntTensor<Self>, FloatTensor<Self>);
}

/// The search of neighbours, on the backend's own tensors.
#[backend_extension(Cube, Flex)]
pub trait NeighborOps: Backend {
    /// See [`super::neighbors`]: squared distances `(n_samples, k)` and indices `(n_samples, k)`.
    fn nearest_neighbors(
        x: FloatTensor<Self>,
        reference: FloatTensor<Self>,
        k: usize,
    ) -> (FloatTensor<Self>, IntTensor<Self>);
}

pub(super) fn assign_and_accumulate(x: &Tensor<2>, centroids: &Tensor<2>) -> Assignment {
    let output = Dispatch::cluster_assign(x.clone().into_dispatch(), centroids.clone().into_dispatch());
    let [n_clusters, n_features] = centroids.dims();
    let n_sums = n_clusters * n_features;
    let mut sums = totals(Tensor::<2>::from_dispatch(output.totals));
    let counts = sums.split_off(n_sums + 1);
    let inertia = sums[n_sums];
    sums.truncate(n_sums);
    if output.centered {
        add_centroids(&mut sums, &counts, centroids);
    }
    Assignment {
        labels: Tensor::<1, Int>::from_dispatch(output.labels),
        squared_distances: Tensor::<1>::from_dispatch(output.squared_distances),
        sums,
        counts,
        inertia,
    }
}

pub(super) fn nearest(x: &Tensor<2>, centroids: &Tensor<2>) -> (Tensor<1, Int>, Tensor<1>) {
    let (labels, distances) = Dispatch::cluster_nearest(x.clone().into_dispatch(), centroids.clone().into_dispatch());
    (Tensor::from_dispatch(labels), Tensor::from_dispatch(distances))
}

pub(super) fn descend(x: &Tensor<2>, centers: &Tensor<2>, links: &TreeLinks) -> Descent {
    let (nodes, distances) =
        Dispatch::cluster_descend(x.clone().into_dispatch(), centers.clone().into_dispatch(), links.clone());
    Descent { nodes: Tensor::from_dispatch(nodes), squared_distances: Tensor::from_dispatch(distances) }
}

pub(super) fn neighbors(x: &Tensor<2>, reference: &Tensor<2>, k: usize) -> Neighbors {
    let (distances, indices) =
        Dispatch::nearest_neighbors(x.clone().into_dispatch(), reference.clone().into_dispatch(), k);
    Neighbors { squared_distances: Tensor::from_dispatch(distances), indices: Tensor::from_dispatch(indices) }
}

/// Makes sums of points out of sums of their differences to the centroids.
fn add_centroids(sums: &mut [f64], counts: &[f64], centroids: &Tensor<2>) {
    let [_, n_features] = centroids.dims();
    for (index, (sum, center)) in sums.iter_mut().zip(host_values::<f64>(centroids.to_data())).enumerate() {
        *sum += counts[index / n_features] * center;
    }
}

/// The parts of totals `(n_parts, n_totals)`, added up: `(n_totals)`.
fn totals(parts: Tensor<2>) -> Vec<f64> {
    let [_, len] = parts.dims();
    let values: Vec<f64> = host_values(parts.into_data());
    (0..len).map(|index| values.iter().skip(index).step_by(len).sum()).collect()
}
