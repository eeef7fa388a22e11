//! Rows on a device.

use burn::tensor::{Device, Tensor};
use clustering::matrix::{Matrix, host_values};

/// What `score` makes of blocks of `block` rows `(block, n_features) -> (block, 1)` on a device.
///
/// The last block is filled up with rows of 0: a device chooses how to multiply matrices by their shapes, and the order
/// of its sums with that, so a row that always is one of a block gets the same score in every batch.
pub(crate) fn in_blocks(x: &Matrix, device: &Device, block: usize, score: impl Fn(Tensor<2>) -> Tensor<2>) -> Vec<f32> {
    let n_features = x.n_features();
    let mut scores = Vec::with_capacity(x.n_samples().next_multiple_of(block));
    for rows in x.values().chunks(block * n_features) {
        let mut values = rows.to_vec();
        values.resize(block * n_features, 0.0);
        let rows = Matrix::from_values(n_features, values).into_tensor(device); // (block, n_features)
        scores.extend(host_values::<f32>(score(rows).into_data()));
    }
    scores.truncate(x.n_samples());
    scores
}
