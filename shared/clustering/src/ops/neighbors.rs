//! Rows that are searched for neighbours again and again: put in order once, or kept on a GPU.

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

use super::cpu::{self, BoxTree};
use super::{cube, extension, is_cpu};
use crate::matrix::{Matrix, host_values};

/// Distances that a GPU computes in one go, in features: so few that its driver does not take it for hung.
const FEATURES_A_LAUNCH: usize = 1 << 38;

/// Rows that a GPU is worth sending in one go.
const ROWS_A_LAUNCH: std::ops::RangeInclusive<usize> = 1 << 12..=1 << 20;

/// The neighbours of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct NeighborLists {
    /// Squared Euclidean distances, rising, at most [`f32::MAX`]: `(n_samples, k)`.
    pub squared_distances: Vec<f32>,
    /// Indices of the reference rows, the lowest first on a tie: `(n_samples, k)`.
    pub indices: Vec<i32>,
}

/// Reference rows, made ready for [`neighbors`](super::neighbors) of many batches.
#[derive(Debug)]
pub struct NeighborIndex {
    k: usize,
    n_features: usize,
    storage: Storage,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an index has one of it")]
enum Storage {
    Cpu(Box<BoxTree>),
    /// `(n_reference, n_features)`
    Device(Tensor<2>),
}

impl NeighborIndex {
    /// Of `reference` `(n_reference, n_features)`, finite, to be searched for `k` neighbours on `device`; on the CPU where
    /// the device has no kernel for that.
    ///
    /// # Panics
    /// When `k` is 0 or more than there are rows.
    pub fn new(reference: &Matrix, k: usize, device: &Device) -> Self {
        let (n_reference, n_features) = (reference.n_samples(), reference.n_features());
        assert!((1..=n_reference).contains(&k), "{k} neighbours of {n_reference} rows");
        let storage = if !is_cpu(device) && has_kernel(device, [*ROWS_A_LAUNCH.end(), n_features], n_reference, k) {
            Storage::Device(reference.to_tensor(device))
        } else {
            Storage::Cpu(Box::new(BoxTree::new(reference.into())))
        };
        Self { k, n_features, storage }
    }

    /// How many neighbours are searched.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The nearest reference rows of each row of `x` `(n_samples, n_features)`, which is finite.
    ///
    /// # Panics
    /// When the rows have not as many features as the reference rows.
    pub fn search(&self, x: &Matrix) -> NeighborLists {
        assert_eq!(x.n_features(), self.n_features, "rows of as many features as the reference rows");
        match &self.storage {
            Storage::Cpu(tree) => {
                let (squared_distances, indices) = cpu::neighbors(x.into(), tree, self.k);
                NeighborLists { squared_distances, indices }
            }
            Storage::Device(reference) => self.search_on_device(x, reference),
        }
    }

    fn search_on_device(&self, x: &Matrix, reference: &Tensor<2>) -> NeighborLists {
        let [n_reference, n_features] = reference.dims();
        let rows_a_launch =
            (FEATURES_A_LAUNCH / (n_reference * n_features)).clamp(*ROWS_A_LAUNCH.start(), *ROWS_A_LAUNCH.end());
        let mut lists = NeighborLists { squared_distances: Vec::new(), indices: Vec::new() };
        for values in x.values().chunks(rows_a_launch * n_features) {
            let x = Matrix::from_values(n_features, values.to_vec()).into_tensor(&reference.device());
            let found = extension::neighbors(&x, reference, self.k);
            lists.squared_distances.extend(host_values::<f32>(found.squared_distances.into_data()));
            lists.indices.extend(host_values::<i32>(found.indices.into_data()));
        }
        lists
    }
}

/// Whether `device` has a kernel for this search.
pub(super) fn has_kernel(device: &Device, x: [usize; 2], n_reference: usize, k: usize) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => true,
        DispatchDevice::Cube(device) => cube::can_search(device, x, n_reference, k),
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

#[cfg(test)]
mod tests;
