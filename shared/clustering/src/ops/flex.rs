//! The fused CPU kernels as an extension of burn's CPU backend.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, TensorData};

use super::TreeLinks;
use super::cpu::{self, BoxTree, Rows};
use super::extension::{AssignmentTensors, ClusterOps, NeighborOps};

impl ClusterOps for Flex {
    fn cluster_assign(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> AssignmentTensors<Self> {
        let (x, centroids) = (x.to_contiguous(), centroids.to_contiguous());
        let output = cpu::assign(rows(&x), rows(&centroids));
        let mut totals = output.sums;
        totals.push(output.inertia);
        totals.extend(output.counts);
        AssignmentTensors {
            labels: from_vec(output.labels),
            squared_distances: from_vec(output.squared_distances),
            totals: one_part(totals),
            centered: false,
        }
    }

    fn cluster_nearest(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (x, centroids) = (x.to_contiguous(), centroids.to_contiguous());
        let (labels, distances) = cpu::nearest(rows(&x), rows(&centroids));
        (from_vec(labels), from_vec(distances))
    }

    fn cluster_descend(
        x: FloatTensor<Self>,
        centers: FloatTensor<Self>,
        links: TreeLinks,
    ) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (x, centers) = (x.to_contiguous(), centers.to_contiguous());
        let (nodes, distances) = cpu::descend(rows(&x), rows(&centers), &links.left, &links.right);
        (from_vec(nodes), from_vec(distances))
    }
}

impl NeighborOps for Flex {
    fn nearest_neighbors(
        x: FloatTensor<Self>,
        reference: FloatTensor<Self>,
        k: usize,
    ) -> (FloatTensor<Self>, IntTensor<Self>) {
        let (x, reference) = (x.to_contiguous(), reference.to_contiguous());
        let shape = [x.shape()[0], k];
        let (distances, indices) = cpu::neighbors(rows(&x), &BoxTree::new(rows(&reference)), k);
        (
            FloatTensor::<Self>::from_data(TensorData::new(distances, shape)),
            IntTensor::<Self>::from_data(TensorData::new(indices, shape)),
        )
    }
}

type FlexTensor = FloatTensor<Flex>;

fn rows(tensor: &FlexTensor) -> Rows<'_> {
    Rows { values: floats(tensor), n_features: tensor.shape()[1] }
}

fn floats(tensor: &FlexTensor) -> &[f32] {
    debug_assert_eq!(tensor.dtype(), DType::F32);
    tensor.as_slice::<f32>().expect("a contiguous tensor has one slice")
}

fn from_vec<E: burn::tensor::Element>(values: Vec<E>) -> FlexTensor {
    let shape = [values.len()];
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// Totals in one part: `(1, values)`.
fn one_part(values: Vec<f64>) -> FlexTensor {
    let shape = [1, values.len()];
    FlexTensor::from_data(TensorData::new(values, shape))
}
