//! Lloyd's algorithm for many runs over the same points: one pass over the points serves them all.
//!
//! A round is a launch of [`assign_runs_kernel`] for each block of points, which sums the points of every run that goes on,
//! the two launches of the reduction in [`super::merge`], which adds the cubes' sums up, and one of [`move_kernel`], which
//! moves the centroids and says which runs are done. Cubes of the same points run side by side, so that all but one of them find the points in the cache. What is computed
//! for a run does not depend on the others.

use cubecl::prelude::*;
use cubecl::server::{Handle, ServerError};

use super::compensated::{One, Total, merge_units};
use super::merge::{COLUMNS, merge_counts, merge_sums};
use super::nearest::{Search, SharedCentroids};
use super::shape::TileShape;
use super::sums::{Clusters, CubeSums, NO_CLUSTER, partial_row};
use super::{buffer, floats};

/// Fields of a run in the table of a batch.
pub(super) const FIELDS: usize = 6;
pub(super) const FIRST: usize = 0;
pub(super) const N_CLUSTERS: usize = 1;
pub(super) const COPIES: usize = 2;
pub(super) const OWNERS_PER_COPY: usize = 3;
pub(super) const LEAF: usize = 4;
const TOLERANCE: usize = 5;

/// What a run's state says.
const RUNNING: u32 = 0;
const DONE: u32 = 1;
const HAS_EMPTY_CLUSTER: u32 = 2;

/// A run as it is when a batch begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunStart<'a> {
    /// `(n_clusters, n_features)`, row-major.
    pub centroids: &'a [f32],
    /// Rounds so far.
    pub n_iter: usize,
    /// The leaf whose points it clusters, where points have leaves.
    pub leaf: i32,
    /// The squared shift of all its centroids at which it has converged.
    pub tolerance: f32,
}

/// Points on the device: a block of them.
#[derive(Debug, Clone)]
pub(crate) struct DeviceBlock {
    /// Index of its first point.
    pub first: usize,
    /// `(n_samples, n_features)`, contiguous float32.
    pub x: Handle,
    /// The leaf each point is in, int32; `None` where every run sees every point.
    pub leaves: Option<Handle>,
    pub n_samples: usize,
}

/// How a run came out of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It may go on.
    Running,
    /// It has converged, or has had its rounds.
    Done,
    /// A cluster has no points; the centroids are those before the round that found it out.
    HasEmptyCluster,
}

/// A run after some rounds.
#[derive(Debug, Clone)]
pub(crate) struct RunState {
    /// `(n_clusters, n_features)`, row-major.
    pub centroids: Vec<f32>,
    /// Rounds so far.
    pub n_iter: usize,
    pub outcome: Outcome,
}

/// Runs that share their passes.
pub(crate) struct RunBatch {
    client: Client,
    shape: TileShape,
    n_clusters: Vec<usize>,
    n_total: usize,
    n_rows: usize,
    table: Handle,
    state: Handle,
    centroids: Handle,
    partial_sums: Handle,
    partial_counts: Handle,
    sums: Handle,
    counts: Handle,
    no_leaves: Handle,
}

/// Bytes of partial sums a batch may take, where the device allows a buffer that large.
const BATCH_BYTES: u64 = 256 << 20;

impl RunBatch {
    /// Clusters of all runs together that a batch of `n_rows` cubes along the points has room for.
    pub fn most_clusters(client: &Client, shape: TileShape, n_rows: usize) -> usize {
        let properties = client.properties();
        let bytes = properties.memory.max_page_size.min(BATCH_BYTES) as usize;
        let most_cubes = properties.hardware.max_cube_count.0 as usize;
        let by_memory = bytes / (2 * size_of::<f32>() * n_rows * shape.n_features());
        by_memory.min(most_cubes * COLUMNS / shape.n_features()).min(most_cubes)
    }

    /// Puts runs on the device, for `n_rows` cubes along the points.
    pub fn new(client: &Client, shape: TileShape, n_rows: usize, runs: &[RunStart<'_>]) -> Self {
        let n_features = shape.n_features();
        let n_clusters: Vec<usize> = runs.iter().map(|run| run.centroids.len() / n_features).collect();
        let mut table = Vec::with_capacity(runs.len() * FIELDS);
        let mut first = 0;
        for (run, &k) in runs.iter().zip(&n_clusters) {
            let layout = shape.layout(k);
            table.extend([first, k, layout.copies, layout.owners_per_copy].map(|field| field as u32));
            table.extend([run.leaf.cast_unsigned(), run.tolerance.to_bits()]);
            first += k;
        }
        let state: Vec<u32> = runs.iter().flat_map(|run| [RUNNING, run.n_iter as u32]).collect();
        let centroids: Vec<f32> = runs.iter().flat_map(|run| run.centroids).copied().collect();
        Self {
            client: client.clone(),
            shape,
            n_rows,
            table: client.create_from_slice(u32::as_bytes(&table)),
            state: client.create_from_slice(u32::as_bytes(&state)),
            centroids: client.create_from_slice(f32::as_bytes(&centroids)),
            partial_sums: floats(client, 2 * n_rows * first * n_features),
            partial_counts: floats(client, n_rows * first),
            sums: floats(client, 2 * first * n_features),
            counts: floats(client, 2 * first),
            no_leaves: floats(client, 1),
            n_total: first,
            n_clusters,
        }
    }

    /// Sums a block of the points, in a round's first pass or a later one, for every run that is not done.
    pub fn pass(&self, block: &DeviceBlock, is_first: bool) {
        let (shape, n_runs) = (self.shape, self.n_clusters.len());
        let (leaves, n_leaves) = match &block.leaves {
            Some(leaves) => (leaves, block.n_samples),
            None => (&self.no_leaves, 1),
        };
        // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its points are below
        // `n_samples`, its runs and rows are those of the grid, and the table's clusters are those of the runs.
        unsafe {
            assign_runs_kernel::launch_unchecked(
                &self.client,
                CubeCount::new_2d(n_runs as u32, self.n_rows as u32),
                shape.cube_dim(),
                AddressType::from_len(block.n_samples * shape.n_features()),
                shape.vector_size,
                buffer(&block.x, block.n_samples * shape.vectors),
                buffer(leaves, n_leaves),
                buffer(&self.centroids, self.n_total * shape.vectors),
                buffer(&self.table, n_runs * FIELDS),
                buffer(&self.state, 2 * n_runs),
                buffer(&self.partial_sums, 2 * self.n_rows * self.n_total * shape.vectors),
                buffer(&self.partial_counts, self.n_rows * self.n_total),
                block.n_samples,
                self.n_total,
                u32::from(is_first),
                0,
                block.leaves.is_some(),
                shape,
            );
        }
    }

    /// Ends a round, after the passes over all blocks: moves the centroids. A run is done after `max_iter` rounds.
    pub fn end_round(&self, max_iter: usize) {
        let n_sums = self.n_total * self.shape.n_features();
        merge_sums(&self.client, &self.partial_sums, &self.sums, self.n_rows, n_sums);
        merge_counts(&self.client, &self.partial_counts, &self.counts, self.n_rows, self.n_total);
        self.move_centroids(max_iter);
    }

    /// The runs as they are now. Waits for the device.
    ///
    /// # Errors
    /// What the device says when it has failed.
    pub fn read(&self) -> Result<Vec<RunState>, ServerError> {
        let read = self.client.read(vec![self.centroids.clone(), self.state.clone()])?;
        let (mut centroids, state) = (f32::from_bytes(&read[0]), u32::from_bytes(&read[1]));
        let mut states = Vec::with_capacity(self.n_clusters.len());
        for (&k, state) in self.n_clusters.iter().zip(state.chunks_exact(2)) {
            let (mine, others) = centroids.split_at(k * self.shape.n_features());
            let outcome = match state[0] {
                RUNNING => Outcome::Running,
                DONE => Outcome::Done,
                _ => Outcome::HasEmptyCluster,
            };
            states.push(RunState { centroids: mine.to_vec(), n_iter: state[1] as usize, outcome });
            centroids = others;
        }
        Ok(states)
    }

    fn move_centroids(&self, max_iter: usize) {
        let (n_runs, n_features) = (self.n_clusters.len(), self.shape.n_features());
        // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its runs are those of the
        // grid, and the table's clusters are those of the runs.
        unsafe {
            move_kernel::launch_unchecked(
                &self.client,
                CubeCount::new_1d(n_runs as u32),
                self.shape.cube_dim(),
                buffer(&self.sums, 2 * self.n_total * n_features),
                buffer(&self.counts, 2 * self.n_total),
                buffer(&self.table, n_runs * FIELDS),
                buffer(&self.centroids, self.n_total * n_features),
                buffer(&self.state, 2 * n_runs),
                self.n_total,
                n_features,
                u32::try_from(max_iter).unwrap_or(u32::MAX),
                0,
                self.shape.units,
            );
        }
    }
}

/// Sums the points of the clusters of run `CUBE_POS_X` into row `CUBE_POS_Y` of its partial sums.
#[cube(launch_unchecked, address_type = "dynamic")]
fn assign_runs_kernel<N: Size>(
    x: &[Vector<f32, N>],
    leaves: &[i32],
    centroids: &[Vector<f32, N>],
    table: &[u32],
    state: &[u32],
    sums: &mut [Vector<f32, N>],
    counts: &mut [u32],
    n_samples: usize,
    n_total: usize,
    begin: u32,
    no_fold: u32,
    #[comptime] with_leaves: bool,
    #[comptime] shape: TileShape,
) {
    let run = CUBE_POS_X as usize;
    if state[2 * run] != RUNNING {
        terminate!();
    }
    let row = CUBE_POS_Y as usize;
    let clusters = Clusters {
        first: table[run * FIELDS + FIRST] as usize,
        n_clusters: table[run * FIELDS + N_CLUSTERS] as usize,
        copies: table[run * FIELDS + COPIES] as usize,
        owners_per_copy: table[run * FIELDS + OWNERS_PER_COPY] as usize,
    };
    let leaf = table[run * FIELDS + LEAF] as i32;
    let mut shared_centroids = SharedCentroids::<N>::new(clusters.first, clusters.n_clusters, shape);
    let mut tile_labels = Shared::<[u32]>::new_slice(comptime!(shape.tile()));
    let mut search = Search::<N>::new(shape);
    let sums_row = partial_row(row, n_total, clusters.first, shape);
    let mut cube_sums = CubeSums::<N>::new(clusters, sums_row, begin == 1u32, shape);
    cube_sums.start(sums, counts, shape);
    shared_centroids.start(centroids, shape);

    let mut tile = row * comptime!(shape.tile());
    while tile < n_samples {
        label_tile::<N>(
            x,
            leaves,
            centroids,
            &mut search,
            &mut shared_centroids,
            &mut tile_labels,
            tile,
            n_samples,
            leaf,
            with_leaves,
            shape,
        );
        sync_cube();
        cube_sums.add_tile(x, centroids, &tile_labels, tile, sums, counts, no_fold, shape);
        sync_cube();
        tile += CUBE_COUNT_Y as usize * comptime!(shape.tile());
    }
    cube_sums.finish(sums, counts, no_fold, shape);
}

/// Labels the points of a tile that are the run's, and leaves the others without a cluster. All units must come here.
#[cube]
pub(super) fn label_tile<N: Size>(
    x: &[Vector<f32, N>],
    leaves: &[i32],
    centroids: &[Vector<f32, N>],
    search: &mut Search<N>,
    shared_centroids: &mut SharedCentroids<N>,
    tile_labels: &mut Shared<[u32]>,
    tile: usize,
    n_samples: usize,
    leaf: i32,
    #[comptime] with_leaves: bool,
    #[comptime] shape: TileShape,
) {
    // Whether any of the unit's points is the run's: the others need not be read.
    let mut wanted = false;
    #[unroll]
    for i in 0..shape.points {
        let at = UNIT_POS as usize + i * shape.units;
        let mut label = NO_CLUSTER.runtime();
        if tile + at < n_samples {
            if with_leaves {
                if leaves[tile + at] == leaf {
                    label = 0u32;
                    wanted = true;
                }
            } else {
                label = 0u32;
                wanted = true;
            }
        }
        tile_labels[at] = label;
    }
    if wanted {
        search.load(x, tile, n_samples, shape);
    }
    shared_centroids.search(search, centroids, wanted, shape);
    #[unroll]
    for i in 0..shape.points {
        let at = UNIT_POS as usize + i * shape.units;
        if tile_labels[at] != NO_CLUSTER {
            tile_labels[at] = search.labels[i];
        }
    }
}

/// Moves the centroids of run `CUBE_POS_X` to their points' means, unless a cluster has none.
#[cube(launch_unchecked)]
fn move_kernel(
    sums: &[f32],
    counts: &[f32],
    table: &[u32],
    centroids: &mut [f32],
    state: &mut [u32],
    n_total: usize,
    n_features: usize,
    max_iter: u32,
    no_fold: u32,
    #[comptime] units: usize,
) {
    let mut hi = Shared::<[Vector<f32, One>]>::new_slice(units);
    let mut lo = Shared::<[Vector<f32, One>]>::new_slice(units);
    let run = CUBE_POS_X as usize;
    let first = table[run * FIELDS + FIRST] as usize;
    let n_clusters = table[run * FIELDS + N_CLUSTERS] as usize;
    let tolerance = f32::reinterpret(table[run * FIELDS + TOLERANCE]);
    let runs = state[2 * run] == RUNNING;
    let n_iter = state[2 * run + 1] + 1;

    // Every unit must know, so it counts for itself.
    let mut empty = 0u32;
    for cluster in first..first + n_clusters {
        if counts[cluster] + counts[n_total + cluster] == 0.0f32 {
            empty += 1u32;
        }
    }
    let moves = runs && empty == 0u32;
    let mut shift = Total::<One>::new();
    if moves {
        let mut at = first * n_features + UNIT_POS as usize;
        while at < (first + n_clusters) * n_features {
            let count = counts[at / n_features] + counts[n_total + at / n_features];
            let old = centroids[at];
            let new = old + (sums[at] + sums[n_total * n_features + at]) / count;
            centroids[at] = new;
            shift.add(Vector::new((new - old) * (new - old)), no_fold);
            at += units;
        }
    }
    merge_units(&mut shift, &mut hi, &mut lo, no_fold, units);
    if UNIT_POS == 0 && runs {
        if moves {
            let ends = shift.hi.extract(0usize) <= tolerance || n_iter >= max_iter;
            state[2 * run] = select(ends, DONE, RUNNING);
            state[2 * run + 1] = n_iter;
        } else {
            state[2 * run] = HAS_EMPTY_CLUSTER.runtime();
        }
    }
}
