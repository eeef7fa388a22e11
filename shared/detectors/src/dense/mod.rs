//! Dense arithmetic that several detectors are made of: products of rows with a matrix, on the CPU and on a device, and
//! means and covariances.
//!
//! Every result of a row is computed by the same operations in the same order whatever other rows there are, so a row's
//! score does not depend on its batch, nor on the number of threads.

mod blocks;
mod moments;
mod packed;
mod sample;

use clustering::matrix::Matrix;

pub(crate) use blocks::in_blocks;
pub(crate) use moments::{Moments, Rows, centered};
pub(crate) use packed::{Packed, map_chunks};
pub(crate) use sample::{float64, sample_rows};

/// The nearest finite float32 of a score: sums of huge values overflow, and what overflowed both ways is no number.
pub(crate) fn finite(score: f32) -> f32 {
    if score.is_nan() { f32::MAX } else { score.clamp(f32::MIN, f32::MAX) }
}

/// Whether every row is the first one.
pub(crate) fn are_all_equal(x: &Matrix) -> bool {
    let first = x.row(0);
    x.rows().all(|row| row == first)
}

#[cfg(test)]
mod tests;
