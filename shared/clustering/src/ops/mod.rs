//! The tensor operations that clustering and the search of neighbours are made of.
//!
//! Each operation has a plain reference in tensor operations, which runs on every device, and fused kernels that
//! read the points once: one for the CPU and one for GPUs. Tests hold them together.
//!
//! Work is cut up under four names. A *tile* is the points that are in registers at a time: 16 on the CPU, and one, two or
//! four a unit on a GPU. A *chunk* is what a thread of the CPU works on before it takes another. A *block* is what is read
//! from a file, or passed over in a launch on a device, at a time, and a *piece* of it is what is sent there, and summed, at a
//! time.

mod centers;
pub(crate) mod cpu;
pub(crate) mod cube;
mod extension;
mod flex;
mod neighbors;
pub mod reference;
mod sets;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Int, Tensor};

pub use centers::Centers;
pub use neighbors::{NeighborIndex, NeighborLists};
pub use sets::NeighborSets;

/// Each point's nearest centroid, and what the next centroids are made of.
#[derive(Debug)]
pub struct Assignment {
    /// Index of the nearest centroid, the lowest on a tie: `(n_samples)`.
    pub labels: Tensor<1, Int>,
    /// Squared Euclidean distance to it: `(n_samples)`.
    pub squared_distances: Tensor<1>,
    /// Sum of the points of each cluster: `(n_clusters, n_features)`, row-major.
    pub sums: Vec<f64>,
    /// How many points each cluster has: `(n_clusters)`.
    pub counts: Vec<f64>,
    /// Sum of the squared distances.
    pub inertia: f64,
}

/// The leaf that each point comes to, from the root to the nearer child.
#[derive(Debug)]
pub struct Descent {
    /// Index of the leaf's node: `(n_samples)`.
    pub nodes: Tensor<1, Int>,
    /// Squared distance to the leaf's centre: `(n_samples)`.
    pub squared_distances: Tensor<1>,
}

/// The rows of a reference set that each row is nearest to.
#[derive(Debug)]
pub struct Neighbors {
    /// Squared Euclidean distances, rising, at most [`f32::MAX`]: `(n_samples, k)`.
    pub squared_distances: Tensor<2>,
    /// Indices of the reference rows, the lowest first on a tie: `(n_samples, k)`.
    pub indices: Tensor<2, Int>,
}

/// A binary tree's links: node 0 is the root, and a leaf is its own child on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeLinks {
    /// Left child of each node.
    pub left: Vec<i32>,
    /// Right child of each node.
    pub right: Vec<i32>,
    /// How many steps lead to the deepest leaf.
    pub depth: usize,
}

/// Assigns each point to its nearest centroid.
///
/// `x` is `(n_samples, n_features)`, `centroids` `(n_clusters, n_features)`, both finite float32 on one device.
pub fn assign_and_accumulate(x: &Tensor<2>, centroids: &Tensor<2>) -> Assignment {
    if has_kernel(x, centroids) {
        extension::assign_and_accumulate(x, centroids)
    } else {
        reference::assign_and_accumulate(x, centroids)
    }
}

/// Each point's nearest centroid: its index, the lowest on a tie, and the squared distance to it; both `(n_samples)`.
///
/// As [`assign_and_accumulate`], without the sums.
pub fn nearest(x: &Tensor<2>, centroids: &Tensor<2>) -> (Tensor<1, Int>, Tensor<1>) {
    if has_kernel(x, centroids) {
        return extension::nearest(x, centroids);
    }
    let assignment = reference::assign_and_accumulate(x, centroids);
    (assignment.labels, assignment.squared_distances)
}

/// Leads each point of `x` down the tree whose nodes have `centers` `(n_nodes, n_features)`.
pub fn descend(x: &Tensor<2>, centers: &Tensor<2>, links: &TreeLinks) -> Descent {
    if has_kernel(x, centers) { extension::descend(x, centers, links) } else { reference::descend(x, centers, links) }
}

/// The `k` nearest rows of `reference` `(n_reference, n_features)` for each row of `x` `(n_samples, n_features)`, both
/// finite float32 on one device and with at least one row. A row that is in both is its own nearest.
///
/// Who searches the same rows more than once keeps them in a [`NeighborIndex`].
///
/// # Panics
/// When `k` is 0 or more than there are reference rows.
pub fn neighbors(x: &Tensor<2>, reference: &Tensor<2>, k: usize) -> Neighbors {
    let n_reference = reference.dims()[0];
    assert!((1..=n_reference).contains(&k), "{k} neighbours of {n_reference} rows");
    if neighbors::has_kernel(&x.device(), x.dims(), n_reference, k) {
        extension::neighbors(x, reference, k)
    } else {
        reference::neighbors(x, reference, k)
    }
}

/// Whether `device` is the CPU.
pub fn is_cpu(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// Whether the device of `x` has a fused kernel; a GPU says by its limits whether it can run it.
fn has_kernel(x: &Tensor<2>, centers: &Tensor<2>) -> bool {
    match x.device().as_dispatch() {
        DispatchDevice::Flex(_) => true,
        DispatchDevice::Cube(device) => cube::can_run(device, x.dims(), centers.dims()[0]),
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

#[cfg(test)]
mod tests;
