//! Reference rows in boxes, for the search of nearest neighbours: what lies close together stands together.
//!
//! Rows are halved at the median of the feature that varies most, as in a k-d tree (Friedman, Bentley and Finkel 1977),
//! until a leaf holds 64 of them. Above the leaves there are boxes, sixteen in each larger one: as many as one register
//! compares with a row at a time.

use rayon::prelude::*;

use super::Rows;
use super::lanes::{Column, LANES};

/// Registers of rows in a leaf: as many sums go on side by side.
pub(super) const TILES: usize = 4;

/// Rows in a leaf.
pub(super) const LEAF: usize = TILES * LANES;

/// Rows that the feature to cut at is chosen by.
const SAMPLE: usize = 512;

/// Rows from which both halves are worth a task each.
const MANY_ROWS: usize = 4096;

/// The index of no row: that of lanes past the last one.
pub(super) const NO_ROW: i32 = i32::MAX;

/// The values of one feature in a leaf, or its low and high ends in 16 boxes.
type Columns<const N: usize> = [Column; N];

/// Reference rows, and the boxes that they lie in.
#[derive(Debug, Clone)]
pub(crate) struct BoxTree {
    n_features: usize,
    n_rows: usize,
    /// `(n_leaves, n_features)`; lanes past the last row are infinite, which is near to nothing.
    columns: Vec<Columns<TILES>>,
    /// Index of each row: `(n_leaves, 64)`, rising within a leaf.
    indices: Vec<i32>,
    /// Boxes around leaves, around groups of 16 of these, and so on until one group has all.
    levels: Vec<Level>,
}

/// Boxes of one size.
#[derive(Debug, Clone)]
struct Level {
    /// Low and high end of each group's boxes: `(n_groups, n_features)`. Boxes past the last one are as far away as can be.
    ends: Vec<Columns<2>>,
    /// The lowest index of a row in each box: `(n_groups, 16)`.
    first_indices: Vec<i32>,
}

impl BoxTree {
    /// Of `rows`, which are finite, at least one and fewer than 2³¹.
    pub(crate) fn new(rows: Rows<'_>) -> Self {
        let order = order(rows, LEAF);
        let mut columns = vec![[Column([f32::INFINITY; LANES]); TILES]; order.len().div_ceil(LEAF) * rows.n_features];
        columns.par_chunks_mut(rows.n_features).zip(order.par_chunks(LEAF)).for_each(|(columns, members)| {
            for (position, &index) in members.iter().enumerate() {
                for (column, &value) in columns.iter_mut().zip(rows.row(index as usize)) {
                    column[position / LANES].0[position % LANES] = value;
                }
            }
        });
        let mut indices: Vec<i32> = order.iter().map(|&index| index as i32).collect();
        indices.resize(order.len().next_multiple_of(LEAF), NO_ROW);
        let mut levels = vec![Level::around_leaves(rows, &order)];
        while levels[levels.len() - 1].n_groups(rows.n_features) > 1 {
            levels.push(levels[levels.len() - 1].around_groups(rows.n_features));
        }
        Self { n_features: rows.n_features, n_rows: order.len(), columns, indices, levels }
    }

    pub(crate) fn n_features(&self) -> usize {
        self.n_features
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// How many levels of boxes there are; the last one has one group.
    pub(super) fn n_levels(&self) -> usize {
        self.levels.len()
    }

    /// The values of a leaf, feature by feature, and the indices of its rows.
    #[inline(always)]
    pub(super) fn leaf(&self, leaf: usize) -> (&[Columns<TILES>], &[i32]) {
        let columns = &self.columns[leaf * self.n_features..(leaf + 1) * self.n_features];
        (columns, &self.indices[leaf * LEAF..(leaf + 1) * LEAF])
    }

    /// The ends of a group's boxes, feature by feature, and the lowest index in each.
    #[inline(always)]
    pub(super) fn group(&self, level: usize, group: usize) -> (&[Columns<2>], &[i32]) {
        let level = &self.levels[level];
        let ends = &level.ends[group * self.n_features..(group + 1) * self.n_features];
        (ends, &level.first_indices[group * LANES..(group + 1) * LANES])
    }
}

impl Level {
    fn empty(n_boxes: usize, n_features: usize) -> Self {
        let n_groups = n_boxes.div_ceil(LANES);
        let nothing = [Column([f32::INFINITY; LANES]), Column([f32::NEG_INFINITY; LANES])];
        Self { ends: vec![nothing; n_groups * n_features], first_indices: vec![NO_ROW; n_groups * LANES] }
    }

    fn n_groups(&self, n_features: usize) -> usize {
        self.ends.len() / n_features
    }

    fn around_leaves(rows: Rows<'_>, order: &[u32]) -> Self {
        let mut level = Self::empty(order.len().div_ceil(LEAF), rows.n_features);
        for (leaf, members) in order.chunks(LEAF).enumerate() {
            for &index in members {
                let row = rows.row(index as usize);
                level.widen(leaf, rows.n_features, index as i32, |feature| (row[feature], row[feature]));
            }
        }
        level
    }

    fn around_groups(&self, n_features: usize) -> Self {
        let n_boxes = self.n_groups(n_features);
        let mut level = Self::empty(n_boxes, n_features);
        for (group, ends) in self.ends.chunks_exact(n_features).enumerate() {
            for lane in 0..LANES {
                let first_index = self.first_indices[group * LANES + lane];
                level.widen(group, n_features, first_index, |feature| {
                    let [low, high] = &ends[feature];
                    (low.0[lane], high.0[lane])
                });
            }
        }
        level
    }

    /// Makes a box hold what reaches from the first to the second of `ends` of each feature, too.
    fn widen(&mut self, index: usize, n_features: usize, first_index: i32, ends: impl Fn(usize) -> (f32, f32)) {
        let (group, lane) = (index / LANES, index % LANES);
        for (feature, [low, high]) in self.ends[group * n_features..(group + 1) * n_features].iter_mut().enumerate() {
            let (from, to) = ends(feature);
            low.0[lane] = low.0[lane].min(from);
            high.0[lane] = high.0[lane].max(to);
        }
        self.first_indices[index] = self.first_indices[index].min(first_index);
    }
}

/// The indices of all rows, those that lie close together beside each other: `leaf` at a time, and rising among these.
pub(super) fn order(rows: Rows<'_>, leaf: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    split(rows, &mut order, leaf);
    order
}

fn split(rows: Rows<'_>, order: &mut [u32], leaf: usize) {
    let n_leaves = order.len().div_ceil(leaf);
    if n_leaves <= 1 {
        order.sort_unstable();
        return;
    }
    let feature = widest_feature(rows, order);
    let value = |index: &u32| rows.values[*index as usize * rows.n_features + feature];
    // A power of two on the left, so that 16 leaves that begin at a multiple of 16 are the two halves of halves. Equal
    // values are told apart by the index: where rows are equal, the lowest indices share boxes, and all others are passed
    // over once these were seen.
    let middle = leaf << (n_leaves - 1).ilog2();
    order.select_nth_unstable_by(middle, |a, b| value(a).total_cmp(&value(b)).then(a.cmp(b)));
    let is_large = order.len() >= MANY_ROWS;
    let (left, right) = order.split_at_mut(middle);
    if is_large {
        rayon::join(|| split(rows, left, leaf), || split(rows, right, leaf));
    } else {
        split(rows, left, leaf);
        split(rows, right, leaf);
    }
}

/// The feature with the largest variance, the first on a tie, as far as a sample tells.
fn widest_feature(rows: Rows<'_>, order: &[u32]) -> usize {
    let (mut sums, mut squares) = (vec![0f64; rows.n_features], vec![0f64; rows.n_features]);
    let origin = rows.row(order[0] as usize);
    let mut count = 0.0;
    for &index in order.iter().step_by(order.len().div_ceil(SAMPLE)) {
        for (feature, (value, origin)) in rows.row(index as usize).iter().zip(origin).enumerate() {
            let difference = f64::from(*value) - f64::from(*origin);
            sums[feature] += difference;
            squares[feature] += difference * difference;
        }
        count += 1.0;
    }
    let variance = |feature: usize| squares[feature] - sums[feature] * sums[feature] / count;
    (0..rows.n_features).rev().max_by(|&a, &b| variance(a).total_cmp(&variance(b))).unwrap_or(0)
}
