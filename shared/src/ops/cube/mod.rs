//! The fused GPU kernels, written with CubeCL: one source for WGSL, SPIR-V and CUDA.
//!
//! They are bound by memory, so each reads the points once. Centroids lie in shared memory and a point in registers;
//! distances are sums of squared differences, and a tie goes to the lowest index. Everything is added in a fixed order
//! without atomics, in pairs of float32 where many numbers come together: the same input gives the same bits on one
//! device.

mod assign;
mod compensated;
mod merge;
mod nearest;
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
use super::extension::{AssignmentTensors, ClusterOps};

/// Whether the kernels can run `n_clusters` clusters of points `(n_samples, n_features)` on `device`.
pub(super) fn can_assign(device: &CubeDevice, [n_samples, n_features]: [usize; 2], n_clusters: usize) -> bool {
    n_samples > 0 && TileShape::new(&device.client(), n_samples, n_features, n_clusters).is_some()
}

/// Whether [`ClusterOps::cluster_candidates`] can run.
pub(super) fn can_weigh(_: &CubeDevice, _: [usize; 2], _: usize) -> bool {
    false
}

/// Whether [`ClusterOps::cluster_descend`] can run.
pub(super) fn can_descend(_: &CubeDevice, _: [usize; 2], _: usize) -> bool {
    false
}

impl ClusterOps for CubeBackend {
    fn cluster_assign(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> AssignmentTensors<Self> {
        let (x, centroids) = (into_contiguous(x), into_contiguous(centroids));
        let ([n_samples, n_features], [n_clusters, _]) = (x.shape().dims(), centroids.shape().dims());
        let shape = TileShape::new(&x.client, n_samples, n_features, n_clusters)
            .expect("operations are only sent to devices that can run them");
        let (sample_shape, at) = (Shape::new([n_samples]), Place::of(&x));
        let dims = [n_samples, n_features, n_clusters];
        let output = assign::assign(&at.client, shape, x.handle, centroids.handle, dims);
        AssignmentTensors {
            labels: at.tensor(output.labels, sample_shape.clone(), DType::I32),
            squared_distances: at.tensor(output.squared_distances, sample_shape, DType::F32),
            sums: at.tensor(output.merged.sums, Shape::new([2, n_clusters, n_features]), DType::F32),
            counts: at.tensor(output.merged.counts, Shape::new([2, n_clusters]), DType::F32),
            inertia: at.tensor(output.merged.inertia, Shape::new([2]), DType::F32),
        }
    }

    fn cluster_candidates(
        _x: FloatTensor<Self>,
        _closest: FloatTensor<Self>,
        _candidates: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!()
    }

    fn cluster_descend(
        _x: FloatTensor<Self>,
        _centers: FloatTensor<Self>,
        _links: TreeLinks,
    ) -> (IntTensor<Self>, FloatTensor<Self>) {
        unreachable!()
    }
}

/// Where a tensor lies.
struct Place {
    client: Client,
    device: CubeDevice,
}

impl Place {
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
mod tests;
