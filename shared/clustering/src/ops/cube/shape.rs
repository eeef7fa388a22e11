//! How the work is cut up for a device: what its hardware says, and nothing assumed.

use cubecl::client::Client;
use cubecl::prelude::*;

use super::merge::COLUMNS as LEAST_UNITS;

/// Additions to one float32 before it is folded into a compensated total. Equal numbers added m times lose at most
/// `m / 2` roundings of 2^-24 each, so 256 of them stay within 8e-6 whatever the data.
pub(super) const LONGEST_CHAIN: usize = 256;

/// Features up to which a point's row is unrolled into registers.
const REGISTER_FEATURES: usize = 64;

/// Floats of a unit's points in registers, at most: every centroid that is read from shared memory serves all of them, and
/// what a point costs is that reading rather than the arithmetic.
const ROW_FLOATS: usize = 128;

/// Floats of a unit's points from which on a cube has half as many units, so that the registers of a multiprocessor hold
/// more than one cube.
const MANY_ROW_FLOATS: usize = 64;

/// Points from which a unit takes several at a time: below that, more units are worth more than shared loads.
const MANY_POINTS: usize = 1 << 18;

/// Features from which on labels come from dot products, see [`super::screen`]: below that, keeping the second best costs
/// what is saved.
const DOT_FEATURES: usize = 16;

/// Products of points, features and clusters that a launch computes, at most: so few that a slow GPU's driver does not take
/// it for hung.
const WORK_A_LAUNCH: usize = 1 << 38;

/// Most cubes along the points: enough to fill the largest GPUs at once, few enough for the second reduction.
const MOST_ROWS: usize = 512;

/// Buffers of the largest kernel.
const BINDINGS: usize = 7;

/// Bytes of partial sums, which every adapter's limit on a binding allows: WebGPU guarantees twice as many.
pub(super) const PARTIAL_BYTES: usize = 64 << 20;

/// Floats of shared memory where there is plenty: for centroids, and for the table of sums and counts. More would keep
/// cubes from sharing a multiprocessor.
const FEW_CENTROIDS: [usize; 2] = [1024, 6144];
const MANY_CENTROIDS: [usize; 2] = [4096, 8192];

/// Features of a slice, see [`Slice`]: a read of so many neighbours wastes no memory traffic.
const SLICE_FEATURES: usize = 16;

/// What a kernel is compiled for. The number of features and the device's limits go in, and of the number of clusters only
/// whether there are many, so that a sweep over it compiles once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TileShape {
    /// Units in a cube, a power of two.
    pub units: usize,
    /// Points a unit takes at a time.
    pub points: usize,
    /// Centroids a unit compares them with at a time.
    pub centroids: usize,
    /// Features in a vector.
    pub vector_size: usize,
    /// Vectors in a point.
    pub vectors: usize,
    /// Whether loops over the features are unrolled.
    pub unrolled: bool,
    /// Whether labels, where nothing but them is wanted, come from dot products.
    pub dots: bool,
    /// Centroids in a block of shared memory.
    pub block: usize,
    /// Numbers of shared memory for sums and counts.
    pub table: usize,
    /// Whether sums are taken slice by slice, because shared memory has no room for those of all clusters.
    pub sliced: bool,
}

/// How the units of a cube share out the clusters to evaluate, of which there may be copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryLayout {
    /// Copies of the clusters, each for its own points: a power of two.
    pub copies: usize,
    /// Units a copy, each for its own clusters: a power of two.
    pub owners_per_copy: usize,
}

/// A table of sums in shared memory: some features of each of its entries, and how many points an entry has.
///
/// A slot of `lanes` units adds one point at a time, a unit a feature. Every slot has entries of its own, so that no two
/// units ever add to the same number, whatever the clusters of their points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TableShape {
    /// Units in a cube.
    pub units: usize,
    /// Features of a point.
    pub n_features: usize,
    /// Those of them that the table has.
    pub width: usize,
    /// Clusters, all copies together.
    pub entries: usize,
}

/// Clusters and features whose sums a cube takes where shared memory has no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// Clusters of a slice; the last one may have fewer.
    pub n_clusters: usize,
    /// Copies of the table.
    pub copies: usize,
    /// Slices of the clusters.
    pub n_cluster_slices: usize,
    /// Slices of the features.
    pub n_feature_slices: usize,
}

impl TileShape {
    /// The shape for points of `n_features` and up to `n_clusters` clusters; `None` when the device is too small.
    pub fn new(client: &Client, n_samples: usize, n_features: usize, n_clusters: usize) -> Option<Self> {
        let hardware = &client.properties().hardware;
        let vector_size =
            [4, 2, 1].into_iter().find(|&size| n_features.is_multiple_of(size) && size <= hardware.max_vector_size)?;
        let unrolled = n_features <= REGISTER_FEATURES;
        let many = n_samples >= MANY_POINTS && unrolled;
        let points = if many { power_of_two_up_to((ROW_FLOATS / n_features).min(4)) } else { 1 };
        let most_units = if points * n_features > MANY_ROW_FLOATS { 128 } else { 256 };
        let units =
            power_of_two_up_to(hardware.max_units_per_cube.min(hardware.max_cube_dim.0).min(most_units) as usize);
        let [most_centroids, most_sums] =
            if n_clusters * (n_features + 1) <= FEW_CENTROIDS[0] { FEW_CENTROIDS } else { MANY_CENTROIDS };
        // Labels of a tile and two floats a unit to sum the inertia; a third of the rest for centroids, each with a number
        // beside it.
        let floats = (hardware.max_shared_memory_size / 4).checked_sub(units * points + 2 * units)?;
        let block = most_centroids.min(floats / 3) / (n_features + 1);
        let table = most_sums.min(floats - block * (n_features + 1));
        let shape = Self {
            units,
            points,
            centroids: 4 / points,
            vector_size,
            vectors: n_features / vector_size,
            unrolled,
            dots: n_features >= DOT_FEATURES,
            block,
            table,
            sliced: n_clusters > table / (n_features + 1),
        };
        let fits = block > 0
            && table > 2 * SLICE_FEATURES
            && units >= LEAST_UNITS
            && hardware.max_bindings as usize >= BINDINGS;
        fits.then_some(shape)
    }

    /// The same with one point a unit, for kernels that hold other things in registers.
    pub fn one_point(self) -> Self {
        Self { points: 1, ..self }
    }

    /// Features of a point.
    pub fn n_features(&self) -> usize {
        self.vectors * self.vector_size
    }

    /// Points in a tile.
    pub fn tile(&self) -> usize {
        self.units * self.points
    }

    /// The table of the sums of all features.
    pub(super) fn whole_table(&self) -> TableShape {
        let n_features = self.n_features();
        // A kernel that takes no sums has no use for a table.
        let entries = if self.sliced { 1 } else { self.table / (n_features + 1) };
        TableShape { units: self.units, n_features, width: n_features, entries }
    }

    /// The table of the sums of a slice.
    pub(super) fn slice_table(&self) -> TableShape {
        let n_features = self.n_features();
        let width = SLICE_FEATURES.min(n_features);
        TableShape { units: self.units, n_features, width, entries: self.table / (width + 1) }
    }

    /// Copies of the table of the sums of `n_clusters`: as many as there are slots of units, or as there is room for.
    pub fn copies(&self, n_clusters: usize) -> usize {
        self.whole_table().copies(n_clusters)
    }

    /// How the sums of `n_clusters` are cut into slices, as even as can be.
    pub(super) fn slice(&self, n_clusters: usize) -> Slice {
        let table = self.slice_table();
        let n_cluster_slices = n_clusters.div_ceil(table.entries);
        let in_a_slice = n_clusters.div_ceil(n_cluster_slices);
        Slice {
            n_clusters: in_a_slice,
            copies: table.copies(in_a_slice),
            n_cluster_slices: n_clusters.div_ceil(in_a_slice),
            n_feature_slices: self.n_features().div_ceil(table.width),
        }
    }

    /// Clusters, all copies together, that shared memory has room to evaluate: five numbers each, in the place of the
    /// sums, beside a distance for each point of a tile.
    pub fn entries(&self) -> usize {
        power_of_two_up_to((self.table + 2 * self.units).saturating_sub(self.tile()) / 5)
    }

    /// How `n_clusters` clusters, at most [`entries`](Self::entries), are shared out to be evaluated.
    pub fn layout_of_entries(&self, n_clusters: usize) -> EntryLayout {
        let copies = power_of_two_up_to(self.units.min(self.entries() / n_clusters));
        EntryLayout { copies, owners_per_copy: self.units / copies }
    }

    /// Cubes along `n_samples` points, so many that their partial sums of `n_clusters` fit into a buffer. It depends on
    /// nothing else, so that a run's sums do not depend on what runs beside it.
    pub fn rows(&self, n_samples: usize, n_clusters: usize) -> usize {
        let most = (PARTIAL_BYTES / size_of::<f32>() / self.numbers_a_row(n_clusters)).min(MOST_ROWS);
        n_samples.div_ceil(self.tile()).min(most).max(1)
    }

    /// Points that a launch may compare with `n_clusters` clusters, at least one.
    pub fn points_a_launch(&self, n_clusters: usize) -> usize {
        (WORK_A_LAUNCH / (n_clusters * self.n_features())).max(1)
    }

    /// Numbers in a row of partial sums of `n_clusters`: two for each sum, and the counts.
    pub fn numbers_a_row(&self, n_clusters: usize) -> usize {
        n_clusters * (2 * self.n_features() + 1)
    }

    /// The units of a cube, as a launch wants them.
    pub fn cube_dim(&self) -> CubeDim {
        CubeDim::new_1d(self.units as u32)
    }
}

impl TableShape {
    /// Units that add a point together.
    pub fn lanes(&self) -> usize {
        self.width.min(self.units)
    }

    /// Whether each of them has a single feature.
    pub fn has_a_lane_for_each(&self) -> bool {
        self.width <= self.units
    }

    /// Floats of the table.
    pub fn floats(&self) -> usize {
        self.entries * self.width
    }

    /// Copies of a table of `n_clusters`, at least one.
    pub fn copies(&self, n_clusters: usize) -> usize {
        (self.units / self.lanes()).min(self.entries / n_clusters).max(1)
    }
}

fn power_of_two_up_to(limit: usize) -> usize {
    if limit == 0 { 0 } else { 1 << limit.ilog2() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(units: usize, n_features: usize, width: usize, entries: usize) -> TableShape {
        TableShape { units, n_features, width, entries }
    }

    #[test]
    fn every_copy_has_a_slot_of_units_and_its_own_entries() {
        for (units, width, entries, n_clusters) in
            [(256, 8, 682, 20), (256, 5, 900, 1), (128, 30, 220, 100), (64, 200, 30, 3), (32, 300, 20, 20)]
        {
            let table = table(units, width, width, entries);
            let copies = table.copies(n_clusters);
            assert!(copies >= 1 && copies * table.lanes() <= units && copies * n_clusters <= entries, "{table:?}");
        }
    }

    #[test]
    fn slices_cover_all_clusters_and_features_and_each_fits() {
        for (n_features, n_clusters, table) in [(64, 256, 7000), (8, 65_536, 5000), (130, 300, 4000), (1, 3000, 2000)] {
            let shape = TileShape {
                units: 256,
                points: 1,
                centroids: 4,
                vector_size: 1,
                vectors: n_features,
                unrolled: false,
                dots: false,
                block: 1,
                table,
                sliced: true,
            };
            let (slice, of_slice) = (shape.slice(n_clusters), shape.slice_table());
            assert!(slice.n_cluster_slices * slice.n_clusters >= n_clusters);
            assert!((slice.n_cluster_slices - 1) * slice.n_clusters < n_clusters, "no slice is empty");
            assert!(slice.n_feature_slices * of_slice.width >= n_features);
            assert!(slice.copies * slice.n_clusters <= of_slice.entries);
            assert!(of_slice.floats() + of_slice.entries <= table);
        }
    }
}
