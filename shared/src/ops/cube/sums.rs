//! Sums and counts of every cluster's points: kept in shared memory, each number by one unit, so that neither atomics
//! nor sorting are needed and the order of additions is fixed.

use cubecl::prelude::*;

use super::compensated::Total;
use super::shape::{LONGEST_CHAIN, TileShape};

/// The label of a point that counts for no cluster.
pub(super) const NO_CLUSTER: u32 = u32::MAX;

/// How a cube's units share out the sums: see [`super::shape::Lanes`].
#[derive(CubeType, Clone, Copy)]
pub(super) struct Clusters {
    pub n_clusters: usize,
    pub slots: usize,
    pub owners: usize,
}

/// Where a cube's sums go: a row of the partial sums.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Place {
    /// First vector of the row's rounded sums.
    pub hi: usize,
    /// First vector of what the roundings lost.
    pub lo: usize,
    /// First of the row's counts.
    pub counts: usize,
}

/// A cube's running sums: `(slots, n_clusters, vectors)`, and how often each was added to.
#[derive(CubeType)]
pub(super) struct Running<N: Size> {
    sums: Shared<[Vector<f32, N>]>,
    hits: Shared<[u32]>,
}

/// Shared memory for running sums.
#[cube]
pub(super) fn running<N: Size>(#[comptime] shape: TileShape) -> Running<N> {
    Running::<N> {
        sums: Shared::new_slice(comptime!(if shape.spilled { 1 } else { shape.sum_vectors })),
        hits: Shared::new_slice(comptime!(if shape.spilled { 1 } else { shape.hits() })),
    }
}

#[cube]
impl<N: Size> Running<N> {
    /// Sets all sums to zero.
    pub fn clear(&mut self, clusters: &Clusters, #[comptime] shape: TileShape) {
        let entries = clusters.slots * clusters.n_clusters;
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

    /// Adds the points `from..to` of a tile to the sums of their labels.
    ///
    /// A unit owns one vector of the clusters `owner, owner + owners, ...` in its slot, and a slot takes every
    /// `slots`-th point. Neighbouring units read neighbouring vectors of `x`, which the cube has just read.
    pub fn add(
        &mut self,
        x: &[Vector<f32, N>],
        labels: &Shared<[u32]>,
        tile: usize,
        from: usize,
        to: usize,
        clusters: &Clusters,
        #[comptime] shape: TileShape,
    ) {
        let vector = UNIT_POS as usize % shape.vectors;
        let lane = UNIT_POS as usize / shape.vectors;
        let slot = lane % clusters.slots;
        let owner = lane / clusters.slots;
        if owner < clusters.owners {
            let mut point = from + slot;
            while point < to {
                let label = labels[point];
                if label != NO_CLUSTER && label as usize & (clusters.owners - 1) == owner {
                    let entry = slot * clusters.n_clusters + label as usize;
                    self.sums[entry * shape.vectors + vector] += x[(tile + point) * shape.vectors + vector];
                    if vector == 0 {
                        self.hits[entry] += 1u32;
                    }
                }
                point += clusters.slots;
            }
        }
    }

    /// Merges the slots, pairwise, and adds them to the cube's row of the partial sums, or begins it with them.
    pub fn flush(
        &mut self,
        sums: &mut [Vector<f32, N>],
        counts: &mut [u32],
        place: &Place,
        clusters: &Clusters,
        begin: bool,
        zero: u32,
        #[comptime] shape: TileShape,
    ) {
        sync_cube();
        let mut half = clusters.slots / 2;
        while half > 0 {
            let entries = half * clusters.n_clusters;
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
        let mut at = UNIT_POS as usize;
        while at < clusters.n_clusters * shape.vectors {
            let mut total = Total::<N>::new();
            if !begin {
                total.hi = sums[place.hi + at];
                total.lo = sums[place.lo + at];
            }
            total.add(self.sums[at], zero);
            sums[place.hi + at] = total.hi;
            sums[place.lo + at] = total.lo;
            at += shape.units;
        }
        let mut at = UNIT_POS as usize;
        while at < clusters.n_clusters {
            let mut count = self.hits[at];
            if !begin {
                count += counts[place.counts + at];
            }
            counts[place.counts + at] = count;
            at += shape.units;
        }
        sync_cube();
        self.clear(clusters, shape);
        sync_cube();
    }
}

/// Points of a tile after which running sums are flushed at the latest.
#[cube]
pub(super) fn longest_run(clusters: &Clusters, #[comptime] shape: TileShape) -> usize {
    let longest = clusters.slots * LONGEST_CHAIN;
    select(longest < comptime!(shape.tile()), longest, comptime!(shape.tile()))
}

/// Sets a cube's row of the partial sums to zero, each number by the unit that will add to it.
#[cube]
pub(super) fn clear_row<N: Size>(
    sums: &mut [Vector<f32, N>],
    counts: &mut [u32],
    place: &Place,
    clusters: &Clusters,
    #[comptime] shape: TileShape,
) {
    let vector = UNIT_POS as usize % shape.vectors;
    let owner = UNIT_POS as usize / shape.vectors;
    if owner < clusters.owners {
        let mut cluster = owner;
        while cluster < clusters.n_clusters {
            sums[place.hi + cluster * shape.vectors + vector] = Vector::new(0.0f32);
            sums[place.lo + cluster * shape.vectors + vector] = Vector::new(0.0f32);
            if vector == 0 {
                counts[place.counts + cluster] = 0u32;
            }
            cluster += clusters.owners;
        }
    }
}

/// As [`Running::add`], straight into the cube's row of the partial sums: for clusters that shared memory cannot hold.
#[cube]
pub(super) fn add_to_row<N: Size>(
    x: &[Vector<f32, N>],
    labels: &Shared<[u32]>,
    tile: usize,
    sums: &mut [Vector<f32, N>],
    counts: &mut [u32],
    place: &Place,
    clusters: &Clusters,
    zero: u32,
    #[comptime] shape: TileShape,
) {
    let vector = UNIT_POS as usize % shape.vectors;
    let owner = UNIT_POS as usize / shape.vectors;
    if owner < clusters.owners {
        for point in 0..comptime!(shape.tile()) {
            let label = labels[point];
            if label != NO_CLUSTER && label as usize & (clusters.owners - 1) == owner {
                let at = label as usize * shape.vectors + vector;
                let mut total = Total::<N> { hi: sums[place.hi + at], lo: sums[place.lo + at] };
                total.add(x[(tile + point) * shape.vectors + vector], zero);
                sums[place.hi + at] = total.hi;
                sums[place.lo + at] = total.lo;
                if vector == 0 {
                    counts[place.counts + label as usize] += 1u32;
                }
            }
        }
    }
}
