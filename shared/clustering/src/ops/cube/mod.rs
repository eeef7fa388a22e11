//! The fused GPU kernels, written with CubeCL: one source for WGSL, SPIR-V and CUDA.
//!
//! Each reads the points once, or twice where there are more sums than shared memory has room for. Centroids lie in shared
//! memory and points in registers; distances are sums of squared differences, and a tie goes to the lowest index. Dot
//! products find labels only where they must find the same ones ([`screen`]), and no product of matrices is asked of a
//! library, which may compute it in fewer bits. Everything is added in a fixed order without atomics, in pairs of float32
//! where many numbers come together: the same input gives the same bits on one device.
//!
//! Units of a cube meet at barriers of the whole cube and nowhere else: how many of them the hardware runs in step, and
//! whether it says so, is no matter.

// A kernel has an argument for each of its buffers.
#![allow(clippy::too_many_arguments)]

mod assign;
pub(crate) mod batch;
mod capacity;
mod compensated;
mod descend;
pub(crate) mod evaluate;
pub(crate) mod labels;
mod merge;
mod nearest;
mod neighbors;
pub(crate) mod runs;
mod screen;
pub(crate) mod shape;
mod slices;
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

/// Whether `bytes` of points may stay on `device` between passes: half of its memory, so that what passes need and other
/// programs have room beside them. Where nothing says how much it has, as many as it lets a single buffer take.
pub(crate) fn has_room(device: &CubeDevice, bytes: u64) -> bool {
    let client = device.client();
    let properties = client.properties();
    match properties.memory.max_memory() {
        Some(memory) => bytes <= memory / 2,
        None => {
            bytes <= properties.memory.max_page_size
                || capacity::of(properties).is_some_and(|memory| bytes <= memory / 2)
        }
    }
}

/// Bytes that a kernel of `device` can read from one buffer.
pub(crate) fn largest_buffer(device: &CubeDevice) -> u64 {
    device.client().properties().memory.max_page_size
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
    // Whether there is room does not depend on how many centres there are: no sums are kept here, and reference rows come
    // block by block.
    k <= neighbors::MOST_NEIGHBORS && n_reference <= i32::MAX as usize && can_run(device, [n_samples, n_features], 1)
}

impl ClusterOps for CubeBackend {
    fn cluster_assign(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> AssignmentTensors<Self> {
        let (x, centroids) = (into_contiguous(x), into_contiguous(centroids));
        let ([n_samples, n_features], [n_clusters, _]) = (x.shape().dims(), centroids.shape().dims());
        let shape = shape_for(&x, n_clusters);
        let (sample_shape, factory) = (Shape::new([n_samples]), TensorFactory::of(&x));
        let dims = [n_samples, n_features, n_clusters];
        let output = assign::assign(&factory.client, shape, &x.handle, &centroids.handle, dims);
        let n_totals = n_clusters * n_features + 1 + n_clusters;
        AssignmentTensors {
            labels: factory.tensor(output.labels, sample_shape.clone(), DType::I32),
            squared_distances: factory.tensor(output.squared_distances, sample_shape, DType::F32),
            totals: factory.tensor(output.totals, Shape::new([2, n_totals]), DType::F32),
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
        let (shape, factory) = (shape_for(&x, n_reference), TensorFactory::of(&x));
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
mod pass_tests;
#[cfg(test)]
pub(crate) mod tests;
