//! Dense arithmetic that several detectors are made of: products of rows with a matrix, on the CPU and on a device, and
//! means and covariances.
//!
//! Every result of a row is computed by the same operations in the same order whatever other rows there are, so a row's
//! score does not depend on its batch, nor on the number of threads.

mod blocks;
mod moments;
mod packed;

use clustering::matrix::Matrix;

pub(crate) use blocks::in_blocks;
pub(crate) use moments::{Moments, Rows, centered};
pub(crate) use packed::{Packed, map_chunks};

/// The nearest finite float32 of a score: sums of huge values overflow, and what overflowed both ways is NaN.
pub(crate) fn finite(score: f32) -> f32 {
    if score.is_nan() { f32::MAX } else { score.clamp(f32::MIN, f32::MAX) }
}

/// The values of these rows, row by row.
pub(crate) fn float64(x: &Matrix, indices: &[usize]) -> Vec<f64> {
    indices.iter().flat_map(|&index| x.row(index).iter().map(|&value| f64::from(value))).collect()
}

#[cfg(test)]
mod tests;
