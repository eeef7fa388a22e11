//! Sums and counts of every cluster's points: kept in shared memory, each number by one unit, so that neither atomics
//! nor sorting are needed and the order of additions is fixed.
//!
//! What is added up are the points' differences to their centroid, not the points: these are small where float32 is
//! coarse, cancel each other near convergence, and are 0 for points that equal their centroid.

use cubecl::prelude::*;

use super::compensated::Total;
use super::shape::{LONGEST_CHAIN, TileShape};

/// The label of a point that counts for no cluster.
pub(super) const NO_CLUSTER: u32 = u32::MAX;

/// The clusters that a cube sums, and how its units share them out: see [`super::shape::SumLayout`].
#[derive(CubeType, Clone, Copy)]
pub(super) struct Clusters {
    /// Index of the first one's centroid.
    pub first: usize,
    pub n_clusters: usize,
    pub copies: usize,
    pub owners_per_copy: usize,
}

/// Where a cube's sums go: a row of the partial sums.
#[derive(CubeType, Clone, Copy)]
pub(super) struct PartialRow {
    /// First vector of the row's rounded sums.
    pub hi: usize,
    /// First vector of what the roundings lost.
    pub lo: usize,
    /// First of the row's counts.
    pub counts: usize,
}

/// The `row`-th row of partial sums that have `n_total` clusters a row.
#[cube]
pub(super) fn partial_row(row: usize, n_total: usize, first: usize, #[comptime] shape: TileShape) -> PartialRow {
    PartialRow {
        hi: (2 * row * n_total + first) * shape.vectors,
        lo: ((2 * row + 1) * n_total + first) * shape.vectors,
        counts: row * n_total + first,
    }
}

/// A cube's running sums: `(copies, n_clusters, vectors)`, and how often each was added to.
#[derive(CubeType)]
pub(super) struct CubeSums<N: Size> {
    sums: Shared<[Vector<f32, N>]>,
    hits: Shared<[u32]>,
    clusters: Clusters,
    row: PartialRow,
    /// Points that were added since the last flush, at most.
    pending: usize,
    /// Whether the row holds nothing yet.
    begin: bool,
}

#[cube]
impl<N: Size> CubeSums<N> {
    /// Sums of nothing. A row that does not `begin` is added to.
    pub fn new(clusters: Clusters, row: PartialRow, begin: bool, #[comptime] shape: TileShape) -> Self {
        CubeSums::<N> {
            sums: Shared::new_slice(comptime!(if shape.spilled { 1 } else { shape.sum_vectors })),
            hits: Shared::new_slice(comptime!(if shape.spilled { 1 } else { shape.hits() })),
            clusters,
            row,
            pending: 0usize.runtime(),
            begin,
        }
    }

    /// Makes ready for the first tile.
    pub fn start(&mut self, sums: &mut [Vector<f32, N>], counts: &mut [u32], #[comptime] shape: TileShape) {
        if shape.spilled {
            if self.begin {
                self.clear_row(sums, counts, shape);
            }
        } else {
            self.clear(shape);
            sync_cube();
        }
    }

    /// Adds the points of a tile to the sums of their labels. All units must come here, and have written their labels.
    pub fn add_tile(
        &mut self,
        x: &[Vector<f32, N>],
        centroids: &[Vector<f32, N>],
        labels: &Shared<[u32]>,
        tile: usize,
        sums: &mut [Vector<f32, N>],
        counts: &mut [u32],
        no_fold: u32,
        #[comptime] shape: TileShape,
    ) {
        if shape.spilled {
            self.add_to_row(x, centroids, labels, tile, sums, counts, no_fold, shape);
        } else {
            let longest = self.clusters.copies * LONGEST_CHAIN;
            let run = select(longest < comptime!(shape.tile()), longest, comptime!(shape.tile()));
            for from in range_stepped(0, comptime!(shape.tile()), run) {
                if self.pending + run > longest {
                    self.flush(sums, counts, no_fold, shape);
                }
                self.add(x, centroids, labels, tile, from, from + run, shape);
                self.pending += run;
            }
        }
    }

    /// Writes what is not yet in the row.
    pub fn finish(
        &mut self,
        sums: &mut [Vector<f32, N>],
        counts: &mut [u32],
        no_fold: u32,
        #[comptime] shape: TileShape,
    ) {
        if !shape.spilled {
            self.flush(sums, counts, no_fold, shape);
        }
    }

    /// Adds the points `from..to` of a tile.
    ///
    /// A unit owns one vector of the clusters `owner, owner + owners_per_copy, ...` in its copy, and a copy takes every
    /// `copies`-th point. Neighbouring units read neighbouring vectors of `x`, which the cube has just read.
    fn add(
        &mut self,
        x: &[Vector<f32, N>],
        centroids: &[Vector<f32, N>],
        labels: &Shared<[u32]>,
        tile: usize,
        from: usize,
        to: usize,
        #[comptime] shape: TileShape,
    ) {
        let vector = UNIT_POS as usize % shape.vectors;
        let worker = UNIT_POS as usize / shape.vectors;
        let copy = worker % self.clusters.copies;
        let owner = worker / self.clusters.copies;
        if owner < self.clusters.owners_per_copy {
            let mut point = from + copy;
            while point < to {
                let label = labels[point];
                if label != NO_CLUSTER && label as usize & (self.clusters.owners_per_copy - 1) == owner {
                    let center = centroids[(self.clusters.first + label as usize) * shape.vectors + vector];
                    let entry = copy * self.clusters.n_clusters + label as usize;
                    self.sums[entry * shape.vectors + vector] += x[(tile + point) * shape.vectors + vector] - center;
                    if vector == 0 {
                        self.hits[entry] += 1u32;
                    }
                }
                point += self.clusters.copies;
            }
        }
    }

    /// Merges the copies, pairwise, and adds them to the row.
    fn flush(&mut self, sums: &mut [Vector<f32, N>], counts: &mut [u32], no_fold: u32, #[comptime] shape: TileShape) {
        sync_cube();
        self.merge_copies(shape);
        let mut at = UNIT_POS as usize;
        while at < self.clusters.n_clusters * shape.vectors {
            let mut total = Total::<N>::new();
            if !self.begin {
                total.hi = sums[self.row.hi + at];
                total.lo = sums[self.row.lo + at];
            }
            total.add(self.sums[at], no_fold);
            sums[self.row.hi + at] = total.hi;
            sums[self.row.lo + at] = total.lo;
            at += shape.units;
        }
        let mut at = UNIT_POS as usize;
        while at < self.clusters.n_clusters {
            let mut count = self.hits[at];
            if !self.begin {
                count += counts[self.row.counts + at];
            }
            counts[self.row.counts + at] = count;
            at += shape.units;
        }
        sync_cube();
        self.clear(shape);
        sync_cube();
        self.begin = false;
        self.pending = 0usize;
    }

    fn merge_copies(&mut self, #[comptime] shape: TileShape) {
        let mut half = self.clusters.copies / 2;
        while half > 0 {
            let entries = half * self.clusters.n_clusters;
            let mut at = UNIT_POS as usize;
            while at < entries * shape.vectors {
                let other = self.sums[entries * shape.vectors + at];
                self.sums[at] += other;
                at += shape.units;
            }
            let mut at = UNIT_POS as usize;
            while at < entries {
                let other = self.hits[entries + at];
                self.hits[at] += other;
                at += shape.units;
            }
            half /= 2;
            sync_cube();
        }
    }

    fn clear(&mut self, #[comptime] shape: TileShape) {
        let entries = self.clusters.copies * self.clusters.n_clusters;
        let mut at = UNIT_POS as usize;
        while at < entries * shape.vectors {
            self.sums[at] = Vector::new(0.0f32);
            at += shape.units;
        }
        let mut at = UNIT_POS as usize;
        while at < entries {
            self.hits[at] = 0u32;
            at += shape.units;
        }
    }

    /// Sets the row to no_fold, each number by the unit that will add to it.
    fn clear_row(&mut self, sums: &mut [Vector<f32, N>], counts: &mut [u32], #[comptime] shape: TileShape) {
        let vector = UNIT_POS as usize % shape.vectors;
        let mut cluster = UNIT_POS as usize / shape.vectors;
        if cluster < self.clusters.owners_per_copy {
            while cluster < self.clusters.n_clusters {
                sums[self.row.hi + cluster * shape.vectors + vector] = Vector::new(0.0f32);
                sums[self.row.lo + cluster * shape.vectors + vector] = Vector::new(0.0f32);
                if vector == 0 {
                    counts[self.row.counts + cluster] = 0u32;
                }
                cluster += self.clusters.owners_per_copy;
            }
        }
    }

    /// Adds a tile straight to the row: for clusters that shared memory cannot hold.
    fn add_to_row(
        &mut self,
        x: &[Vector<f32, N>],
        centroids: &[Vector<f32, N>],
        labels: &Shared<[u32]>,
        tile: usize,
        sums: &mut [Vector<f32, N>],
        counts: &mut [u32],
        no_fold: u32,
        #[comptime] shape: TileShape,
    ) {
        let vector = UNIT_POS as usize % shape.vectors;
        let owner = UNIT_POS as usize / shape.vectors;
        if owner < self.clusters.owners_per_copy {
            for point in 0..comptime!(shape.tile()) {
                let label = labels[point];
                if label != NO_CLUSTER && label as usize & (self.clusters.owners_per_copy - 1) == owner {
                    let center = centroids[(self.clusters.first + label as usize) * shape.vectors + vector];
                    let at = label as usize * shape.vectors + vector;
                    let mut total = Total::<N> { hi: sums[self.row.hi + at], lo: sums[self.row.lo + at] };
                    total.add(x[(tile + point) * shape.vectors + vector] - center, no_fold);
                    sums[self.row.hi + at] = total.hi;
                    sums[self.row.lo + at] = total.lo;
                    if vector == 0 {
                        counts[self.row.counts + label as usize] += 1u32;
                    }
                }
            }
        }
    }
}
