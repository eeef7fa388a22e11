//! Products of rows with a matrix on the CPU.

use clustering::matrix::Matrix;
use rayon::prelude::*;

/// Columns that are computed together.
const LANES: usize = 16;

/// Rows that are computed together.
const ROWS: usize = 4;

/// Rows of a chunk: they share one pass over the matrix.
const CHUNK: usize = 64;

/// A matrix `(n_features, n_columns)`, 16 columns at a time: block by block, feature by feature.
///
/// It is a matrix of weights to multiply rows with, or its columns are points to measure distances to.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    n_features: usize,
    n_columns: usize,
    /// `(n_columns rounded up / 16, n_features)`; the columns that fill up the last block are 0.
    blocks: Vec<[f32; LANES]>,
}

impl Packed {
    /// The matrix whose entries `entry(feature, column)` are.
    pub fn new(n_features: usize, n_columns: usize, entry: impl Fn(usize, usize) -> f32) -> Self {
        let value = |feature, column| if column < n_columns { entry(feature, column) } else { 0.0 };
        let block = |index: usize| {
            let (first, feature) = (index / n_features * LANES, index % n_features);
            std::array::from_fn(|lane| value(feature, first + lane))
        };
        let blocks = (0..n_columns.div_ceil(LANES) * n_features).map(block).collect();
        Self { n_features, n_columns, blocks }
    }

    /// Columns of an output's row: those of the matrix, rounded up.
    pub fn width(&self) -> usize {
        self.n_columns.next_multiple_of(LANES)
    }

    /// The products of `rows` `(n_rows, n_features)` with the matrix: `(n_rows, width)`.
    pub fn products(&self, rows: &[f32]) -> Vec<f32> {
        self.sums(rows, false)
    }

    /// The squared Euclidean distances of `rows` `(n_rows, n_features)` to the matrix's columns: `(n_rows, width)`.
    /// Taken from the differences, so that they are right for points far from the origin too.
    pub fn squared_distances(&self, rows: &[f32]) -> Vec<f32> {
        self.sums(rows, true)
    }

    fn sums(&self, rows: &[f32], are_distances: bool) -> Vec<f32> {
        let mut sums = vec![0.0; rows.len() / self.n_features * self.width()];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has these instructions.
            unsafe { sums_avx2(self, rows, are_distances, &mut sums) };
            return sums;
        }
        sums_of::<{ cfg!(target_arch = "aarch64") }>(self, rows, are_distances, &mut sums);
        sums
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn sums_avx2(matrix: &Packed, rows: &[f32], are_distances: bool, sums: &mut [f32]) {
    sums_of::<true>(matrix, rows, are_distances, sums);
}

/// `FUSED` where the processor has fused multiply-add.
#[inline(always)]
fn sums_of<const FUSED: bool>(matrix: &Packed, rows: &[f32], are_distances: bool, sums: &mut [f32]) {
    if are_distances {
        sums_by(matrix, rows, sums, |sum, value, weight| {
            let difference = value - weight;
            multiply_add::<FUSED>(difference, difference, sum)
        });
    } else {
        sums_by(matrix, rows, sums, |sum, value, weight| multiply_add::<FUSED>(value, weight, sum));
    }
}

#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, sum: f32) -> f32 {
    if FUSED { a.mul_add(b, sum) } else { sum + a * b }
}

/// Adds up `add(sum, value, weight)` over the features: groups of four rows, and what is left one by one.
#[inline(always)]
fn sums_by(matrix: &Packed, rows: &[f32], sums: &mut [f32], add: impl Fn(f32, f32, f32) -> f32 + Copy) {
    let (n_features, width) = (matrix.n_features, matrix.width());
    for (index, block) in matrix.blocks.chunks_exact(n_features).enumerate() {
        let grouped = rows.len() / (ROWS * n_features) * ROWS;
        let (groups, rest) = rows.split_at(grouped * n_features);
        let (sums, rest_sums) = sums.split_at_mut(grouped * width);
        for (rows, sums) in groups.chunks_exact(ROWS * n_features).zip(sums.chunks_exact_mut(ROWS * width)) {
            group::<ROWS>(block, rows, sums, index * LANES, add);
        }
        for (row, sums) in rest.chunks_exact(n_features).zip(rest_sums.chunks_exact_mut(width)) {
            group::<1>(block, row, sums, index * LANES, add);
        }
    }
}

#[inline(always)]
fn group<const N: usize>(
    block: &[[f32; LANES]],
    rows: &[f32],
    sums: &mut [f32],
    first: usize,
    add: impl Fn(f32, f32, f32) -> f32,
) {
    let (n_features, width) = (block.len(), sums.len() / N);
    let rows: [&[f32]; N] = std::array::from_fn(|row| &rows[row * n_features..(row + 1) * n_features]);
    let mut totals = [[0.0; LANES]; N];
    for (feature, weights) in block.iter().enumerate() {
        for (total, row) in totals.iter_mut().zip(rows) {
            for lane in 0..LANES {
                total[lane] = add(total[lane], row[feature], weights[lane]);
            }
        }
    }
    for (row, total) in totals.iter().enumerate() {
        sums[row * width + first..][..LANES].copy_from_slice(total);
    }
}

/// What `map` makes of each chunk of rows `(n_rows, n_features)`, 64 at a time and in parallel, one after the other.
pub(crate) fn map_chunks<T: Send>(x: &Matrix, map: impl Fn(&[f32]) -> Vec<T> + Send + Sync) -> Vec<T> {
    x.values().par_chunks(CHUNK * x.n_features()).flat_map_iter(map).collect()
}
