//! Sums and counts of every cluster's points: kept in shared memory, each number by one unit, so that neither atomics
//! nor sorting are needed and the order of additions is fixed.
//!
//! A slot of units, one for each feature, adds a point at a time, to a copy of the table that is its own: it need not look
//! at the points of other slots, and nothing depends on how many units the device runs in step. Entries are in the order
//! (cluster, copy, feature), so that the slots that run in step meet in different banks of the memory.
//!
//! What is added up are the points' differences to their centroid, not the points: these are small where float32 is
//! coarse, cancel each other near convergence, and are 0 for points that equal their centroid.

use cubecl::prelude::*;

use super::compensated::{One, Total};
use super::shape::{LONGEST_CHAIN, TableShape};

/// The label of a point that counts for no cluster.
pub(super) const NO_CLUSTER: u32 = u32::MAX;

/// What a cube sums.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Window {
    /// Index of the centroid with label 0.
    pub first: usize,
    /// The first label, and how many there are.
    pub low: u32,
    pub n_clusters: usize,
    /// The first feature, and how many there are: at most those of the table.
    pub feature: usize,
    pub n_features: usize,
    /// Copies of the table.
    pub copies: usize,
}

/// Where a cube's sums go: a row of the partial sums, see [`super::merge`].
#[derive(CubeType, Clone, Copy)]
pub(super) struct PartialRow {
    /// The rounded sum of the window's first cluster and feature.
    pub hi: usize,
    /// What the roundings of it lost.
    pub lo: usize,
    /// The count of the window's first cluster.
    pub counts: usize,
}

/// Row `row` of partial sums that have `n_pairs` sums and `n_counts` counts a row, for a window whose first cluster has the
/// index `first` and whose first feature is `feature`.
#[cube]
pub(super) fn partial_row(
    row: usize,
    n_pairs: usize,
    n_counts: usize,
    first: usize,
    feature: usize,
    #[comptime] table: TableShape,
) -> PartialRow {
    let start = row * (2 * n_pairs + n_counts);
    let column = first * table.n_features + feature;
    PartialRow { hi: start + column, lo: start + n_pairs + column, counts: start + 2 * n_pairs + first }
}

/// A cube's running sums, and how often each entry was added to.
#[derive(CubeType)]
pub(super) struct CubeSums {
    sums: Shared<[f32]>,
    hits: Shared<[u32]>,
    window: Window,
    row: PartialRow,
    /// Points that a slot has added since the last flush, at most.
    pending: usize,
    /// Whether the row holds nothing yet.
    begin: bool,
}

#[cube]
impl CubeSums {
    /// Sums of nothing. A row that does not `begin` is added to.
    pub fn new(window: Window, row: PartialRow, begin: bool, #[comptime] table: TableShape) -> Self {
        CubeSums {
            sums: Shared::new_slice(comptime!(table.floats())),
            hits: Shared::new_slice(comptime!(table.entries)),
            window,
            row,
            pending: 0usize.runtime(),
            begin,
        }
    }

    /// Makes ready for the first point. All units must come here.
    pub fn start(&mut self, #[comptime] table: TableShape) {
        let entries = self.window.copies * self.window.n_clusters;
        let mut at = UNIT_POS as usize;
        while at < entries * table.width {
            self.sums[at] = 0.0f32;
            at += table.units;
        }
        let mut at = UNIT_POS as usize;
        while at < entries {
            self.hits[at] = 0u32;
            at += table.units;
        }
        sync_cube();
    }

    /// Adds `count` points to the sums of their labels: those of `values` from index `point` on, with those of `labels`
    /// from index `label` on. All units must come here, and have written their labels.
    pub fn add_points(
        &mut self,
        values: &[f32],
        centers: &[f32],
        labels: &[u32],
        point: usize,
        label: usize,
        count: usize,
        partial: &mut [u32],
        no_fold: u32,
        #[comptime] table: TableShape,
    ) {
        let longest = self.window.copies * comptime!(LONGEST_CHAIN - 1);
        let run = select(longest < count, longest, count);
        // Points of a run that a slot adds, at most.
        let share = run / self.window.copies + 1;
        let mut from = 0usize.runtime();
        while from < count {
            if self.pending + share > LONGEST_CHAIN {
                self.flush(partial, no_fold, table);
            }
            let end = from + run;
            let to = select(end < count, end, count);
            self.add(values, centers, labels, point, label, from, to, table);
            self.pending += share;
            from += run;
        }
    }

    /// Writes what is not yet in the row, and begins anew. All units must come here.
    pub fn finish(&mut self, partial: &mut [u32], no_fold: u32, #[comptime] table: TableShape) {
        if self.begin || self.pending > 0 {
            self.flush(partial, no_fold, table);
        }
    }

    /// Adds the points `from..to`: a slot takes every `copies`-th, in order.
    fn add(
        &mut self,
        values: &[f32],
        centers: &[f32],
        labels: &[u32],
        point: usize,
        label: usize,
        from: usize,
        to: usize,
        #[comptime] table: TableShape,
    ) {
        let lane = UNIT_POS as usize % comptime!(table.lanes());
        let slot = UNIT_POS as usize / comptime!(table.lanes());
        if slot < self.window.copies {
            let mut at = from + slot;
            while at < to {
                let found = labels[label + at];
                // Whatever is below the window wraps around and is far above it, as is what counts for no cluster.
                let cluster = found - self.window.low;
                if cluster < self.window.n_clusters as u32 {
                    let entry = cluster as usize * self.window.copies + slot;
                    let value = (point + at) * table.n_features + self.window.feature;
                    let center = (self.window.first + found as usize) * table.n_features + self.window.feature;
                    if comptime!(table.has_a_lane_for_each()) {
                        if lane < self.window.n_features {
                            self.sums[entry * table.width + lane] += values[value + lane] - centers[center + lane];
                        }
                    } else {
                        let mut feature = lane;
                        while feature < self.window.n_features {
                            let difference = values[value + feature] - centers[center + feature];
                            self.sums[entry * table.width + feature] += difference;
                            feature += comptime!(table.lanes());
                        }
                    }
                    if lane == 0 {
                        self.hits[entry] += 1u32;
                    }
                }
                at += self.window.copies;
            }
        }
    }

    /// Adds the copies to the row, one after the other, and clears them.
    fn flush(&mut self, partial: &mut [u32], no_fold: u32, #[comptime] table: TableShape) {
        sync_cube();
        let mut at = UNIT_POS as usize;
        while at < self.window.n_clusters * table.width {
            let cluster = at / table.width;
            let feature = at % table.width;
            if feature < self.window.n_features {
                let column = cluster * table.n_features + feature;
                let mut total = Total::<One>::new();
                if !self.begin {
                    total.hi = Vector::new(f32::reinterpret(partial[self.row.hi + column]));
                    total.lo = Vector::new(f32::reinterpret(partial[self.row.lo + column]));
                }
                for copy in 0..self.window.copies {
                    let entry = (cluster * self.window.copies + copy) * table.width + feature;
                    total.add(Vector::new(self.sums[entry]), no_fold);
                    self.sums[entry] = 0.0f32;
                }
                partial[self.row.hi + column] = u32::reinterpret(total.hi.extract(0usize));
                partial[self.row.lo + column] = u32::reinterpret(total.lo.extract(0usize));
            }
            at += table.units;
        }
        let mut cluster = UNIT_POS as usize;
        while cluster < self.window.n_clusters {
            let mut count = 0u32;
            if !self.begin {
                count = partial[self.row.counts + cluster];
            }
            for copy in 0..self.window.copies {
                let entry = cluster * self.window.copies + copy;
                count += self.hits[entry];
                self.hits[entry] = 0u32;
            }
            // One slice of the features says how many points there are.
            if self.window.feature == 0 {
                partial[self.row.counts + cluster] = count;
            }
            cluster += table.units;
        }
        sync_cube();
        self.begin = false;
        self.pending = 0usize;
    }
}
