//! Rows on a device.

use burn::tensor::{Device, Tensor};
use clustering::matrix::{Matrix, host_values};
use clustering::ops::is_cpu;
use rayon::prelude::*;

/// What `compute` makes of all rows, in blocks of `block` rows: `(block, n_features) -> (block, width)`. The result is
/// `(n_samples, width)`, row by row. On the CPU blocks are computed on several threads.
///
/// The last block is filled up with rows of 0: a device chooses how to multiply matrices by their shapes, and the order
/// of its sums with that, so a row that always is one of a block gets the same score in every batch.
pub(crate) fn in_blocks(
    x: &Matrix,
    device: &Device,
    block: usize,
    compute: impl Fn(Tensor<2>) -> Tensor<2> + Sync,
) -> Vec<f32> {
    let n_features = x.n_features();
    let len = block * n_features;
    let of_block = |rows: &[f32]| {
        let mut values = Vec::with_capacity(len);
        values.extend_from_slice(rows);
        values.resize(len, 0.0);
        let result = compute(Matrix::from_values(n_features, values).into_tensor(device)); // (block, width)
        let [_, width] = result.dims();
        let mut values: Vec<f32> = host_values(result.into_data());
        values.truncate(rows.len() / n_features * width);
        values
    };
    if is_cpu(device) {
        return x.values().par_chunks(len).map(of_block).collect::<Vec<_>>().concat();
    }
    x.values().chunks(len).flat_map(of_block).collect()
}
