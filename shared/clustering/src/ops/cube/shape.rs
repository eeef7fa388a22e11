//! How the work is cut up for a device: what its hardware says, and nothing assumed.

use cubecl::client::Client;
use cubecl::prelude::*;

use super::merge::COLUMNS;

/// Additions to one float32 before it is folded into a compensated total. Equal numbers added m times lose at most
/// `m / 2` roundings of 2^-24 each, so 256 of them stay within 8e-6 whatever the data.
pub(super) const LONGEST_CHAIN: usize = 256;

/// Features up to which a point's row is unrolled into registers.
const REGISTER_FEATURES: usize = 32;

/// Points from which a unit takes four at a time: below that, more units are worth more than shared loads.
const MANY_POINTS: usize = 1 << 18;

/// Most cubes along the points: enough to fill the largest GPUs at once, few enough for the second reduction.
const MOST_ROWS: usize = 512;

/// Buffers of the largest kernel.
const BINDINGS: usize = 7;

/// Bytes of partial sums, which every adapter's limit on a binding allows: WebGPU guarantees twice as many.
pub(super) const PARTIAL_BYTES: usize = 64 << 20;

/// Floats of shared memory for centroids and for sums where there is plenty: more would keep cubes from sharing a
/// multiprocessor.
const CENTROID_FLOATS: usize = 2048;
const SUM_FLOATS: usize = 4096;

/// What a kernel is compiled for. Only the number of features and the device's limits go in, and not the number of
/// clusters, so that a sweep over it compiles once.
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
    /// Centroids in a block of shared memory.
    pub block: usize,
    /// Vectors of shared memory for sums.
    pub sum_vectors: usize,
    /// Whether sums are kept in global memory, because one cluster set does not fit into shared memory.
    pub spilled: bool,
}

/// How the units of a cube share out the table of the sums of `n_clusters` clusters, of which there may be copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SumLayout {
    /// Copies of the table of sums, each for its own points: a power of two.
    pub copies: usize,
    /// Units a copy and vector, each for its own clusters: a power of two.
    pub owners_per_copy: usize,
}

impl TileShape {
    /// The shape for points of `n_features` and up to `n_clusters` clusters; `None` when the device is too small.
    pub fn new(client: &Client, n_samples: usize, n_features: usize, n_clusters: usize) -> Option<Self> {
        let hardware = &client.properties().hardware;
        let vector_size =
            [4, 2, 1].into_iter().find(|&size| n_features.is_multiple_of(size) && size <= hardware.max_vector_size)?;
        let unrolled = n_features <= REGISTER_FEATURES;
        let many = n_samples >= MANY_POINTS && n_features <= REGISTER_FEATURES / 2;
        let units = power_of_two_up_to(hardware.max_units_per_cube.min(hardware.max_cube_dim.0).min(256) as usize);
        let (points, centroids) = if many { (4, 1) } else { (1, 4) };
        // Labels of a tile and two floats a unit to sum the inertia; a third of the rest for centroids.
        let floats = (hardware.max_shared_memory_size / 4).checked_sub(units * points + 2 * units)?;
        let block = CENTROID_FLOATS.min(floats / 3) / n_features;
        let hits_and_sums = floats - block * n_features;
        let sum_floats = power_of_two_up_to(SUM_FLOATS.min(hits_and_sums * n_features / (n_features + 1)));
        let shape = Self {
            units,
            points,
            centroids,
            vector_size,
            vectors: n_features / vector_size,
            unrolled,
            block,
            sum_vectors: sum_floats / vector_size,
            spilled: n_clusters * n_features > sum_floats,
        };
        let most_columns = hardware.max_cube_count.0 as usize * COLUMNS;
        let fits = block > 0
            // A cube must own every vector of a point at once.
            && shape.vectors <= units
            && hardware.max_bindings as usize >= BINDINGS
            && n_clusters * n_features <= most_columns;
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

    /// Clusters that the counts beside the sums have room for, all copies together.
    pub fn hits(&self) -> usize {
        self.sum_vectors / self.vectors
    }

    /// Clusters, all copies together, that shared memory has room to evaluate: five numbers each, in the place of the
    /// sums, beside a distance for each point of a tile.
    pub fn entries(&self) -> usize {
        let floats = self.sum_vectors * self.vector_size + 2 * self.units;
        power_of_two_up_to(floats.saturating_sub(self.tile()) / 5)
    }

    /// How `n_clusters` clusters, at most [`entries`](Self::entries), are shared out to be evaluated.
    pub fn layout_of_entries(&self, n_clusters: usize) -> SumLayout {
        let copies = power_of_two_up_to(self.units.min(self.entries() / n_clusters));
        SumLayout { copies, owners_per_copy: self.units / copies }
    }

    /// Cubes along `n_samples` points, so many that their partial sums of `n_clusters` fit into a buffer. It depends on
    /// nothing else, so that a run's sums do not depend on what runs beside it.
    pub fn rows(&self, n_samples: usize, n_clusters: usize) -> usize {
        let a_row = 2 * size_of::<f32>() * n_clusters * self.n_features();
        let most = (PARTIAL_BYTES / a_row).min(MOST_ROWS);
        n_samples.div_ceil(self.tile()).min(most).max(1)
    }

    /// The units of a cube, as a launch wants them.
    pub fn cube_dim(&self) -> CubeDim {
        CubeDim::new_1d(self.units as u32)
    }

    /// How the sums of `n_clusters` clusters are shared out.
    pub fn layout(&self, n_clusters: usize) -> SumLayout {
        let workers = self.units / self.vectors;
        let copies = if self.spilled { 1 } else { workers.min(self.hits() / n_clusters) };
        let copies = power_of_two_up_to(copies);
        SumLayout { copies, owners_per_copy: power_of_two_up_to(workers / copies) }
    }
}

fn power_of_two_up_to(limit: usize) -> usize {
    if limit == 0 { 0 } else { 1 << limit.ilog2() }
}
