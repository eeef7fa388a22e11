//! The way down all trees at once in tensor operations: they run on every device.

use burn::tensor::{Device, Int, Tensor, TensorData};
use clustering::matrix::{Matrix, host_values};

use super::Forest;

/// Most pairs of a row and a tree a pass: what a pass holds is a few times as many values of four bytes.
const PAIRS: usize = 1 << 22;

/// All trees on a device, one after the other. A tree has `2^depth` places for its nodes: number 1 is the root, and what
/// follows node `i` are `2i` and `2i + 1`.
#[derive(Debug)]
pub(super) struct TensorForest {
    depth: usize,
    device: Device,
    /// Where each tree begins: `(1, n_trees)`.
    starts: Tensor<2, Int>,
    /// `(n_trees * 2^depth)`.
    features: Tensor<1, Int>,
    /// `(n_trees * 2^depth)`.
    thresholds: Tensor<1>,
    /// `(n_trees * 2^depth)`.
    path_lengths: Tensor<1>,
}

impl TensorForest {
    /// Of a forest that [`check`](crate::Learned::check) accepts.
    pub(super) fn new(forest: &Forest, device: &Device) -> Self {
        let (n_trees, depth) = (forest.n_trees(), forest.depth());
        let (mut features, mut thresholds) = (Vec::new(), Vec::new());
        for tree in 0..n_trees {
            features.push(0);
            features.extend_from_slice(forest.features.row(tree));
            thresholds.push(0.0);
            thresholds.extend_from_slice(forest.thresholds.row(tree));
        }
        let starts: Vec<i32> = (0..n_trees as i32).map(|tree| tree << depth).collect();
        let len = [n_trees << depth];
        Self {
            depth,
            device: device.clone(),
            starts: Tensor::from_data(TensorData::new(starts, [1, n_trees]), device),
            features: Tensor::from_data(TensorData::new(features, len), device),
            thresholds: Tensor::from_data(TensorData::new(thresholds, len), device),
            path_lengths: Tensor::from_data(TensorData::new(forest.path_lengths.values().to_vec(), len), device),
        }
    }

    /// Sum of the path lengths of each row over all trees: `(n_samples)`.
    pub(super) fn sums(&self, x: &Matrix) -> Vec<f32> {
        let [_, n_trees] = self.starts.dims();
        let n_rows = (PAIRS / n_trees).max(1);
        let mut sums = Vec::with_capacity(x.n_samples());
        for rows in x.values().chunks(n_rows * x.n_features()) {
            let rows = Matrix::from_values(x.n_features(), rows.to_vec()).into_tensor(&self.device);
            sums.extend(host_values::<f32>(self.sums_of(&rows).into_data()));
        }
        sums
    }

    /// The sums of rows `(n_rows, n_features)`: `(n_rows, 1)`.
    fn sums_of(&self, x: &Tensor<2>) -> Tensor<2> {
        let shape = [x.dims()[0], self.starts.dims()[1]];
        let starts = self.starts.clone();
        let mut nodes = starts.clone().add_scalar(1).repeat_dim(0, shape[0]); // (n_rows, n_trees)
        for _ in 0..self.depth {
            let flat = nodes.clone().reshape([shape[0] * shape[1]]); // (n_rows * n_trees)
            let features = self.features.clone().select(0, flat.clone()).reshape(shape); // (n_rows, n_trees)
            let thresholds = self.thresholds.clone().select(0, flat).reshape(shape); // (n_rows, n_trees)
            let goes_right = x.clone().gather(1, features).greater(thresholds).int(); // (n_rows, n_trees)
            // Within its tree a node's number is doubled: s + 2 (i - s) + right.
            nodes = nodes.mul_scalar(2) - starts.clone() + goes_right; // (n_rows, n_trees)
        }
        let leaves = nodes.sub_scalar(1i64 << self.depth).reshape([shape[0] * shape[1]]); // (n_rows * n_trees)
        self.path_lengths.clone().select(0, leaves).reshape(shape).sum_dim(1) // (n_rows, 1)
    }
}
