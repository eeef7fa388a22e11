//! The fused GPU kernels, written with CubeCL: one source for WGSL, SPIR-V and CUDA.
//!
//! They are bound by memory, so each reads the points once. Centroids lie in shared memory and a point in registers;
//! distances are sums of squared differences, and a tie goes to the lowest index. Everything is added in a fixed order
//! without atomics, in pairs of float32 where many numbers come together: the same input gives the same bits on one
//! device.

// A kernel has an argument for each of its buffers.
#![allow(clippy::too_many_arguments)]

mod assign;
mod compensated;
mod descend;
pub(crate) mod evaluate;
mod merge;
mod nearest;
mod neighbors;
pub(crate) mod runs;
pub(crate) mod shape;
mod sums;

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::server::Handle;

use self::shape::TileShape;
use super::TreeLinks;
use super::extension::{AssignmentTensors, ClusterOps, NeighborOps};

/// Bytes of points that may stay on `device` between passes: half of its memory, so that what passes need and other
/// programs have room beside them. Where it does not say how much it has, as many as it lets a single buffer take.
pub(crate) fn room(device: &CubeDevice) -> u64 {
    let client = device.client();
    let memory = &client.properties().memory;
    memory.max_memory().map_or(memory.max_page_size, |bytes| bytes / 2)
}

/// Whether the kernels can run on points `(n_samples, n_features)` and `n_centers` on `device`.
pub(super) fn can_run(device: &CubeDevice, [n_samples, n_features]: [usize; 2], n_centers: usize) -> bool {
    // Positions and counts of points are numbers of 32 bits, and a loop goes past the last point before it ends.
    (1..=i32::MAX as usize).contains(&n_samples)
        && TileShape::new(&device.client(), n_samples, n_features, n_centers).is_some()
}

/// Whether the `k` nearest of `n_reference` rows of points `(n_samples, n_features)` can be searched on `device`.
pub(super) fn can_search(
    device: &CubeDevice,
    [n_samples, n_features]: [usize; 2],
    n_reference: usize,
    k: usize,
) -> bool {
    // One centre: no sums are kept here, and reference rows come block by block.
    k <= neighbors::MOST_NEIGHBORS && n_reference <= i32::MAX as usize && can_run(device, [n_samples, n_features], 1)
}

impl ClusterOps for CubeBackend {
    fn cluster_assign(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> AssignmentTensors<Self> {
        let (x, centroids) = (into_contiguous(x), into_contiguous(centroids));
        let ([n_samples, n_features], [n_clusters, _]) = (x.shape().dims(), centroids.shape().dims());
        let shape = shape_for(&x, n_clusters);
        let (sample_shape, factory) = (Shape::new([n_samples]), TensorFactory::of(&x));
        let dims = [n_samples, n_features, n_clusters];
        let output = assign::assign(&factory.client, shape, x.handle, centroids.handle, dims);
        AssignmentTensors {
            labels: factory.tensor(output.labels, sample_shape.clone(), DType::I32),
            squared_distances: factory.tensor(output.squared_distances, sample_shape, DType::F32),
            sums: factory.tensor(output.merged.sums, Shape::new([2, n_clusters, n_features]), DType::F32),
            counts: factory.tensor(output.merged.counts, Shape::new([2, n_clusters]), DType::F32),
            inertia: factory.tensor(output.merged.inertia, Shape::new([2]), DType::F32),
            centered: true,
        }
    }

    fn cluster_nearest(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (x, centroids) = (into_contiguous(x), into_contiguous(centroids));
        let ([n_samples, n_features], [n_clusters, _]) = (x.shape().dims(), centroids.shape().dims());
        let (shape, factory) = (shape_for(&x, n_clusters), TensorFactory::of(&x));
        let dims = [n_samples, n_features, n_clusters];
        let (labels, distances) = assign::nearest(&factory.client, shape, x.handle, centroids.handle, dims);
        let shape = Shape::new([n_samples]);
        (factory.tensor(labels, shape.clone(), DType::I32), factory.tensor(distances, shape, DType::F32))
    }

    fn cluster_descend(
        x: FloatTensor<Self>,
        centers: FloatTensor<Self>,
        links: TreeLinks,
    ) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (x, centers) = (into_contiguous(x), into_contiguous(centers));
        let [n_samples, n_features] = x.shape().dims();
        let (shape, factory) = (shape_for(&x, links.left.len()), TensorFactory::of(&x));
        let (nodes, distances) =
            descend::descend(&factory.client, shape, [x.handle, centers.handle], &links, [n_samples, n_features]);
        let shape = Shape::new([n_samples]);
        (factory.tensor(nodes, shape.clone(), DType::I32), factory.tensor(distances, shape, DType::F32))
    }
}

impl NeighborOps for CubeBackend {
    fn nearest_neighbors(
        x: FloatTensor<Self>,
        reference: FloatTensor<Self>,
        k: usize,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        let (x, reference) = (into_contiguous(x), into_contiguous(reference));
        let ([n_samples, n_features], [n_reference, _]) = (x.shape().dims(), reference.shape().dims());
        let (shape, factory) = (shape_for(&x, 1), TensorFactory::of(&x));
        let dims = [n_samples, n_features, n_reference];
        let (distances, indices) = neighbors::neighbors(&factory.client, shape, [x.handle, reference.handle], dims, k);
        let shape = Shape::new([n_samples, k]);
        (factory.tensor(distances, shape.clone(), DType::F32), factory.tensor(indices, shape, DType::I32))
    }
}

/// The shape for points `x`; [`can_run`] has said that there is one.
fn shape_for(x: &CubeTensor, n_centers: usize) -> TileShape {
    let [n_samples, n_features] = x.shape().dims();
    TileShape::new(&x.client, n_samples, n_features, n_centers)
        .expect("operations are only sent to devices that can run them")
}

/// Makes tensors where another one lies.
struct TensorFactory {
    client: Client,
    device: CubeDevice,
}

impl TensorFactory {
    fn of(tensor: &CubeTensor) -> Self {
        Self { client: tensor.client.clone(), device: tensor.device.clone() }
    }

    fn tensor(&self, handle: Handle, shape: Shape, dtype: DType) -> CubeTensor {
        CubeTensor::new_contiguous(self.client.clone(), self.device.clone(), shape, handle, dtype)
    }
}

/// Room for `len` numbers of 32 bits.
fn floats(client: &Client, len: usize) -> Handle {
    client.empty(len * size_of::<f32>())
}

/// The `len` elements of a buffer as a kernel's argument.
///
/// # Safety
/// The buffer must hold that many.
unsafe fn buffer(handle: &Handle, len: usize) -> BufferArg {
    // SAFETY: as the caller promises.
    unsafe { BufferArg::from_raw_parts(handle.clone(), len) }
}

#[cfg(test)]
pub(crate) mod tests;
