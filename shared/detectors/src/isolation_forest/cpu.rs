//! The way down all trees, on the CPU.
//!
//! Sixteen rows go down a tree side by side, for each step waits for memory and the next row's does not depend on it. A
//! tree's nodes are read by a whole block of rows while they are in the first-level cache; the rows of a block lie
//! feature by feature in groups of sixteen, so that a node knows where its values are.
//! Gathers of AVX-512 in place of the loads took twice the time (Zen 4).

use clustering::matrix::Matrix;
use rayon::prelude::*;

use super::Forest;

/// Rows that go down side by side.
const LANES: usize = 16;

/// Most rows a block.
const BLOCK_ROWS: usize = 256;

/// Values of a block: half the first-level cache, where the rows are not too wide.
const BLOCK_VALUES: usize = 4096;

/// Rows a task.
const CHUNK: usize = 2048;

/// A cut: values that are greater than the threshold go to the right.
#[derive(Debug, Clone, Copy)]
struct Cut {
    threshold: f32,
    /// Where the feature's values begin in a group of rows.
    offset: u32,
}

/// All trees, ready for traversal.
#[derive(Debug)]
pub(super) struct PackedForest {
    depth: usize,
    /// How many features a row has at least.
    n_features: usize,
    /// `(n_trees, 2^depth)`; the root is number 1, and what follows node `i` are `2i` and `2i + 1`.
    cuts: Vec<Cut>,
    /// `(n_trees, 2^depth)`.
    path_lengths: Vec<f32>,
}

impl PackedForest {
    /// # Panics
    /// When the forest is not one that [`check`](crate::Learned::check) accepts.
    pub(super) fn new(forest: &Forest) -> Self {
        let n_leaves = 1 << forest.depth();
        let mut widest = forest.features.values().iter().map(|&feature| usize::try_from(feature));
        let widest = widest.try_fold(0, |widest, feature| feature.map(|feature| widest.max(feature)));
        let widest = widest.expect("features are numbered from 0");
        let mut cuts = Vec::with_capacity(forest.n_trees() * n_leaves);
        for tree in 0..forest.n_trees() {
            let (features, thresholds) = (forest.features.row(tree), forest.thresholds.row(tree));
            cuts.push(Cut { threshold: 0.0, offset: 0 });
            let cut = |(&feature, &threshold): (&i32, &f32)| Cut { threshold, offset: feature as u32 * LANES as u32 };
            cuts.extend(features.iter().zip(thresholds).map(cut));
        }
        let path_lengths = forest.path_lengths.values().to_vec();
        assert!(cuts.len() == path_lengths.len() && cuts.len() == forest.n_trees() * n_leaves, "trees of one size");
        Self { depth: forest.depth(), n_features: widest + 1, cuts, path_lengths }
    }

    /// Sum of the path lengths of each row over all trees: `(n_samples)`.
    ///
    /// # Panics
    /// When the rows have not all features that the trees look at.
    pub(super) fn sums(&self, x: &Matrix) -> Vec<f32> {
        let n_features = x.n_features();
        assert!(n_features >= self.n_features, "rows have the features of the trees");
        let mut sums = vec![0.0; x.n_samples()];
        let chunks = sums.par_chunks_mut(CHUNK).zip(x.values().par_chunks(CHUNK * n_features));
        chunks.for_each(|(sums, rows)| self.add_chunk(sums, rows, n_features));
        sums
    }

    fn add_chunk(&self, sums: &mut [f32], rows: &[f32], n_features: usize) {
        let block_rows = (BLOCK_VALUES / n_features / LANES * LANES).clamp(LANES, BLOCK_ROWS);
        let mut block = vec![0.0; block_rows * n_features]; // (n_groups, n_features, LANES)
        let mut totals = [[0.0; LANES]; BLOCK_ROWS / LANES];
        for (sums, rows) in sums.chunks_mut(block_rows).zip(rows.chunks(block_rows * n_features)) {
            transpose(rows, n_features, &mut block);
            let n_groups = sums.len().div_ceil(LANES);
            let (block, totals) = (&block[..n_groups * LANES * n_features], &mut totals[..n_groups]);
            totals.fill([0.0; LANES]);
            self.add_block(block, n_features, totals);
            sums.iter_mut().zip(totals.iter().flatten()).for_each(|(sum, total)| *sum = *total);
        }
    }

    fn add_block(&self, block: &[f32], n_features: usize, totals: &mut [[f32; LANES]]) {
        let n_leaves = 1 << self.depth;
        let trees = self.cuts.chunks_exact(n_leaves).zip(self.path_lengths.chunks_exact(n_leaves));
        for (cuts, path_lengths) in trees {
            for (group, totals) in block.chunks_exact(n_features * LANES).zip(totals.iter_mut()) {
                // SAFETY: there are `2^depth` cuts, and each looks at a feature that the group's rows have: that was
                // asked by `new` and `sums`.
                let leaves = unsafe { descend(cuts, group, self.depth) };
                for (total, leaf) in totals.iter_mut().zip(leaves) {
                    *total += path_lengths[leaf & (n_leaves - 1)];
                }
            }
        }
    }
}

/// Leads a group of rows `(n_features, LANES)` down a tree, to the number of its leaf plus `2^depth`.
///
/// # Safety
/// There are `2^depth` cuts, and `offset + LANES` of each is at most the length of `group`.
#[inline(always)]
unsafe fn descend(cuts: &[Cut], group: &[f32], depth: usize) -> [usize; LANES] {
    let mut nodes = [1; LANES];
    for _ in 0..depth {
        for (lane, node) in nodes.iter_mut().enumerate() {
            // SAFETY: before level `l` a node is less than `2^(l + 1)`, and so less than `2^depth`; the rest is asked of
            // the caller.
            let (cut, value) = unsafe {
                let cut = cuts.get_unchecked(*node);
                (cut, group.get_unchecked(cut.offset as usize + lane))
            };
            *node = 2 * *node + usize::from(*value > cut.threshold);
        }
    }
    nodes
}

/// Lays rows `(n_rows, n_features)` feature by feature, in groups of [`LANES`]: `(n_groups, n_features, LANES)`.
fn transpose(rows: &[f32], n_features: usize, block: &mut [f32]) {
    let groups = rows.chunks(LANES * n_features).zip(block.chunks_exact_mut(LANES * n_features));
    for (rows, group) in groups {
        for (lane, row) in rows.chunks_exact(n_features).enumerate() {
            for (values, &value) in group.chunks_exact_mut(LANES).zip(row) {
                values[lane] = value;
            }
        }
    }
}
