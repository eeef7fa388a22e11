//! The fused kernels as an extension of burn's CPU backend.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::cpu::{self, Rows};
use super::{Assignment, CandidateDistances, Descent, TreeLinks};

/// Tensors of an [`Assignment`]; sums, counts and inertia are float64.
#[derive(ExtensionType)]
pub struct AssignmentTensors<B: Backend> {
    /// `(n_samples)`
    pub labels: IntTensor<B>,
    /// `(n_samples)`
    pub squared_distances: FloatTensor<B>,
    /// `(n_clusters, n_features)`
    pub sums: FloatTensor<B>,
    /// `(n_clusters)`
    pub counts: FloatTensor<B>,
    /// `(1)`
    pub inertia: FloatTensor<B>,
}

/// The operations of this module, on the backend's own tensors.
#[backend_extension(Flex)]
pub trait ClusterOps: Backend {
    /// See [`super::assign_and_accumulate`].
    fn cluster_assign(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> AssignmentTensors<Self>;

    /// See [`super::nearest`]: labels `(n_samples)` and squared distances `(n_samples)`.
    fn cluster_nearest(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>);

    /// See [`super::candidate_distances`]: distances `(n_candidates, n_samples)` and potentials `(n_candidates)`.
    fn cluster_candidates(
        x: FloatTensor<Self>,
        closest: FloatTensor<Self>,
        candidates: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`super::descend`]: leaves `(n_samples)` and squared distances `(n_samples)`.
    fn cluster_descend(
        x: FloatTensor<Self>,
        centers: FloatTensor<Self>,
        links: TreeLinks,
    ) -> (IntTensor<Self>, FloatTensor<Self>);
}

impl ClusterOps for Flex {
    fn cluster_assign(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> AssignmentTensors<Self> {
        let (x, centroids) = (x.to_contiguous(), centroids.to_contiguous());
        let output = cpu::assign(rows(&x), rows(&centroids));
        let n_clusters = output.counts.len();
        let n_features = output.sums.len() / n_clusters.max(1);
        AssignmentTensors {
            labels: from_vec(output.labels),
            squared_distances: from_vec(output.squared_distances),
            sums: FloatTensor::<Self>::from_data(TensorData::new(output.sums, [n_clusters, n_features])),
            counts: from_vec(output.counts),
            inertia: from_vec(vec![output.inertia]),
        }
    }

    fn cluster_nearest(x: FloatTensor<Self>, centroids: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (x, centroids) = (x.to_contiguous(), centroids.to_contiguous());
        let (labels, distances) = cpu::nearest(rows(&x), rows(&centroids));
        (from_vec(labels), from_vec(distances))
    }

    fn cluster_candidates(
        x: FloatTensor<Self>,
        closest: FloatTensor<Self>,
        candidates: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, closest, candidates) = (x.to_contiguous(), closest.to_contiguous(), candidates.to_contiguous());
        let (distances, potentials) = cpu::candidates(rows(&x), floats(&closest), rows(&candidates));
        let shape = [potentials.len(), x.shape()[0]];
        (FloatTensor::<Self>::from_data(TensorData::new(distances, shape)), from_vec(potentials))
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

pub(super) fn assign_and_accumulate(x: &Tensor<2>, centroids: &Tensor<2>) -> Assignment {
    let output = Dispatch::cluster_assign(x.clone().into_dispatch(), centroids.clone().into_dispatch());
    Assignment {
        labels: Tensor::<1, Int>::from_dispatch(output.labels),
        squared_distances: Tensor::<1>::from_dispatch(output.squared_distances),
        sums: host(Tensor::<2>::from_dispatch(output.sums)),
        counts: host(Tensor::<1>::from_dispatch(output.counts)),
        inertia: host(Tensor::<1>::from_dispatch(output.inertia)).iter().sum(),
    }
}

pub(super) fn nearest(x: &Tensor<2>, centroids: &Tensor<2>) -> (Tensor<1, Int>, Tensor<1>) {
    let (labels, distances) = Dispatch::cluster_nearest(x.clone().into_dispatch(), centroids.clone().into_dispatch());
    (Tensor::from_dispatch(labels), Tensor::from_dispatch(distances))
}

pub(super) fn candidate_distances(x: &Tensor<2>, closest: &Tensor<1>, candidates: &Tensor<2>) -> CandidateDistances {
    let (distances, potentials) = Dispatch::cluster_candidates(
        x.clone().into_dispatch(),
        closest.clone().into_dispatch(),
        candidates.clone().into_dispatch(),
    );
    CandidateDistances {
        closest: Tensor::from_dispatch(distances),
        potentials: host(Tensor::<1>::from_dispatch(potentials)),
    }
}

pub(super) fn descend(x: &Tensor<2>, centers: &Tensor<2>, links: &TreeLinks) -> Descent {
    let (nodes, distances) =
        Dispatch::cluster_descend(x.clone().into_dispatch(), centers.clone().into_dispatch(), links.clone());
    Descent { nodes: Tensor::from_dispatch(nodes), squared_distances: Tensor::from_dispatch(distances) }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
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
