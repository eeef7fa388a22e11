//! Lloyd's algorithm for many runs over the same points: one pass over the points serves them all.
//!
//! A round is a launch of [`assign_runs_kernel`] for each block of points, or for parts of it where that is much to compute,
//! which sums the points of every run that goes on, one of the reduction in [`super::merge`], which adds the cubes' sums up, and one of [`move_kernel`], which moves the
//! centroids and says which runs are done. Cubes of the same points run side by side, so that all but one of them find the
//! points in the cache. What is computed for a run does not depend on the others.
//!
//! A block is summed piece by piece, as if each piece were a block: results do not depend on how many pieces a block has.
//!
//! Where shared memory has no room for the sums of all clusters, a pass is two launches for each run: one labels the points
//! ([`super::labels`]), and one sums them slice by slice ([`super::slices`]).

use cubecl::prelude::*;
use cubecl::server::{Handle, ServerError};

use super::batch::{
    COPIES, DONE, DeviceBlock, FIELDS, FIRST, HAS_EMPTY_CLUSTER, LEAF, N_CLUSTERS, N_ITER, RUNNING, STATE, TOLERANCE,
};
use super::compensated::{One, Total, merge_units};
use super::labels::{label_points, label_tile};
use super::merge::Partial;
use super::nearest::{Search, SharedCentroids};
use super::screen::Screen;
use super::shape::{TableShape, TileShape};
use super::slices::{Labelled, sum_slices};
use super::sums::{CubeSums, Window, partial_row};
use super::{buffer, floats};

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
    /// What each run is, and how far it is: `(n_runs, FIELDS)`.
    table: Handle,
    centroids: Handle,
    partial: Partial,
    merged: Handle,
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
        (bytes / (size_of::<f32>() * n_rows * shape.numbers_a_row(1))).min(most_cubes)
    }

    /// Puts runs on the device, for `n_rows` cubes along the points.
    pub fn new(client: &Client, shape: TileShape, n_rows: usize, runs: &[RunStart<'_>]) -> Self {
        let n_features = shape.n_features();
        let n_clusters: Vec<usize> = runs.iter().map(|run| run.centroids.len() / n_features).collect();
        let mut table = Vec::with_capacity(runs.len() * FIELDS);
        let mut first = 0;
        for (run, &k) in runs.iter().zip(&n_clusters) {
            table.extend([first, k, shape.copies(k), 0].map(|field| field as u32));
            table.extend([run.leaf.cast_unsigned(), run.tolerance.to_bits(), RUNNING, run.n_iter as u32]);
            first += k;
        }
        let centroids: Vec<f32> = runs.iter().flat_map(|run| run.centroids).copied().collect();
        let partial = Partial::new(client, n_rows, first * n_features, first);
        Self {
            client: client.clone(),
            shape,
            table: client.create_from_slice(u32::as_bytes(&table)),
            centroids: client.create_from_slice(f32::as_bytes(&centroids)),
            merged: floats(client, 2 * partial.n_columns()),
            partial,
            no_leaves: floats(client, 1),
            n_clusters,
        }
    }

    /// Sums a block of the points, in a round's first pass or a later one, for every run that is not done.
    pub fn pass(&self, block: &DeviceBlock, is_first: bool) {
        if self.shape.sliced {
            self.pass_by_slices(block, is_first);
            return;
        }
        let whole_pieces = (self.shape.points_a_launch(self.n_total()) / block.piece).max(1) * block.piece;
        for start in (0..block.n_samples).step_by(whole_pieces) {
            let end = block.n_samples.min(start + whole_pieces);
            self.pass_over(block, start, end, is_first && start == 0);
        }
    }

    /// Sums the points `start..end` of a block, from the start of a piece to the end of one.
    fn pass_over(&self, block: &DeviceBlock, start: usize, end: usize, is_first: bool) {
        let (shape, n_runs) = (self.shape, self.n_clusters.len());
        let (leaves, n_leaves) = block.leaves_or(&self.no_leaves);
        // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its points are below
        // `end`, its runs and rows are those of the grid, and the table's clusters are those of the runs.
        unsafe {
            assign_runs_kernel::launch_unchecked(
                &self.client,
                CubeCount::new_2d(n_runs as u32, self.partial.n_rows as u32),
                shape.cube_dim(),
                AddressType::from_len(block.n_samples * shape.n_features()),
                shape.vector_size,
                buffer(&block.x, block.n_samples * shape.vectors),
                buffer(&block.x, block.n_samples * shape.n_features()),
                buffer(leaves, n_leaves),
                buffer(&self.centroids, self.n_total() * shape.vectors),
                buffer(&self.centroids, self.partial.n_pairs),
                buffer(&self.table, n_runs * FIELDS),
                buffer(&self.partial.handle, self.partial.len()),
                start,
                end,
                block.piece,
                self.n_total(),
                u32::from(is_first),
                0,
                block.leaves.is_some(),
                shape,
                shape.whole_table(),
            );
        }
    }

    fn pass_by_slices(&self, block: &DeviceBlock, is_first: bool) {
        let labels = floats(&self.client, block.n_samples);
        let mut first = 0;
        for (run, &n_clusters) in self.n_clusters.iter().enumerate() {
            let runs = (&self.table, self.n_clusters.len(), run);
            let centroids = (&self.centroids, self.n_total());
            label_points(&self.client, self.shape, block, centroids, runs, &labels, &self.no_leaves, false);
            let points = Labelled {
                x: &block.x,
                labels: &labels,
                n_samples: block.n_samples,
                piece: block.piece,
                centroids: &self.centroids,
                first,
                n_clusters,
            };
            sum_slices(&self.client, self.shape, &points, runs, &self.partial, is_first);
            first += n_clusters;
        }
    }

    /// Ends a round, after the passes over all blocks: moves the centroids. A run is done after `max_iter` rounds.
    pub fn end_round(&self, max_iter: usize) {
        self.partial.merge_into(&self.client, &self.merged, self.shape.units);
        self.move_centroids(max_iter);
    }

    /// The runs as they are now. Waits for the device.
    ///
    /// # Errors
    /// What the device says when it has failed.
    pub fn read(&self) -> Result<Vec<RunState>, ServerError> {
        let read = self.client.read(vec![self.centroids.clone(), self.table.clone()])?;
        let (mut centroids, table) = (f32::from_bytes(&read[0]), u32::from_bytes(&read[1]));
        let mut states = Vec::with_capacity(self.n_clusters.len());
        for (&k, run) in self.n_clusters.iter().zip(table.chunks_exact(FIELDS)) {
            let (mine, others) = centroids.split_at(k * self.shape.n_features());
            let outcome = match run[STATE] {
                RUNNING => Outcome::Running,
                DONE => Outcome::Done,
                _ => Outcome::HasEmptyCluster,
            };
            states.push(RunState { centroids: mine.to_vec(), n_iter: run[N_ITER] as usize, outcome });
            centroids = others;
        }
        Ok(states)
    }

    fn n_total(&self) -> usize {
        self.partial.n_counts
    }

    fn move_centroids(&self, max_iter: usize) {
        let n_runs = self.n_clusters.len();
        // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its runs are those of the
        // grid, and the table's clusters are those of the runs.
        unsafe {
            move_kernel::launch_unchecked(
                &self.client,
                CubeCount::new_1d(n_runs as u32),
                self.shape.cube_dim(),
                buffer(&self.merged, 2 * self.partial.n_columns()),
                buffer(&self.table, n_runs * FIELDS),
                buffer(&self.centroids, self.partial.n_pairs),
                self.n_total(),
                self.shape.n_features(),
                u32::try_from(max_iter).unwrap_or(u32::MAX),
                0,
                self.shape.units,
            );
        }
    }
}

/// Sums the points of the clusters of run `CUBE_POS_X` into row `CUBE_POS_Y` of its partial sums. `values` and `centers` are
/// the numbers of `x` and `centroids` one by one.
#[cube(launch_unchecked, address_type = "dynamic")]
fn assign_runs_kernel<N: Size>(
    x: &[Vector<f32, N>],
    values: &[f32],
    leaves: &[i32],
    centroids: &[Vector<f32, N>],
    centers: &[f32],
    table: &[u32],
    partial: &mut [u32],
    start: usize,
    end: usize,
    piece: usize,
    n_total: usize,
    begin: u32,
    no_fold: u32,
    #[comptime] with_leaves: bool,
    #[comptime] shape: TileShape,
    #[comptime] sums_shape: TableShape,
) {
    let run = CUBE_POS_X as usize;
    if table[run * FIELDS + STATE] != RUNNING {
        terminate!();
    }
    let row = CUBE_POS_Y as usize;
    let first = table[run * FIELDS + FIRST] as usize;
    let n_clusters = table[run * FIELDS + N_CLUSTERS] as usize;
    let leaf = table[run * FIELDS + LEAF] as i32;
    let window = Window {
        first,
        low: 0u32.runtime(),
        n_clusters,
        feature: 0usize.runtime(),
        n_features: comptime!(shape.n_features()).runtime(),
        copies: table[run * FIELDS + COPIES] as usize,
    };
    let mut shared_centroids = SharedCentroids::<N>::new(first, n_clusters, shape);
    let mut tile_labels = Shared::<[u32]>::new_slice(comptime!(shape.tile()));
    let mut search = Search::<N>::new(shape);
    let mut screen = Screen::new(shape.dots, shape);
    let n_pairs = n_total * comptime!(shape.n_features());
    let sums_row = partial_row(row, n_pairs, n_total, first, 0usize.runtime(), sums_shape);
    let mut cube_sums = CubeSums::new(window, sums_row, begin == 1u32, sums_shape);
    cube_sums.start(sums_shape);
    shared_centroids.start(centroids, shape);
    if shape.dots {
        screen.start::<N>(&mut shared_centroids, shape);
    }

    let mut piece_start = start;
    while piece_start < end {
        let left = end - piece_start;
        let piece_end = piece_start + select(left < piece, left, piece);
        let mut tile = piece_start + row * comptime!(shape.tile());
        while tile < piece_end {
            label_tile::<N>(
                x,
                leaves,
                centroids,
                &mut search,
                &mut screen,
                &mut shared_centroids,
                &mut tile_labels,
                tile,
                piece_end,
                leaf,
                with_leaves,
                shape.dots,
                shape,
            );
            sync_cube();
            let count = comptime!(shape.tile()).runtime();
            let from = 0usize.runtime();
            cube_sums.add_points(values, centers, &tile_labels, tile, from, count, partial, no_fold, sums_shape);
            sync_cube();
            tile += CUBE_COUNT_Y as usize * comptime!(shape.tile());
        }
        cube_sums.finish(partial, no_fold, sums_shape);
        piece_start += piece;
    }
}

/// Moves the centroids of run `CUBE_POS_X` to their points' means, unless a cluster has none. `merged` is what
/// [`super::merge`] leaves.
#[cube(launch_unchecked)]
fn move_kernel(
    merged: &[f32],
    table: &mut [u32],
    centroids: &mut [f32],
    n_total: usize,
    n_features: usize,
    max_iter: u32,
    no_fold: u32,
    #[comptime] units: usize,
) {
    let mut hi = Shared::<[Vector<f32, One>]>::new_slice(units);
    let mut lo = Shared::<[Vector<f32, One>]>::new_slice(units);
    let mut empties = Shared::<[u32]>::new_slice(units);
    let unit = UNIT_POS as usize;
    let run = CUBE_POS_X as usize;
    let first = table[run * FIELDS + FIRST] as usize;
    let n_clusters = table[run * FIELDS + N_CLUSTERS] as usize;
    let tolerance = f32::reinterpret(table[run * FIELDS + TOLERANCE]);
    let runs = table[run * FIELDS + STATE] == RUNNING;
    let n_iter = table[run * FIELDS + N_ITER] + 1;
    // Where the counts begin, and how far the second part is from the first.
    let counts = n_total * n_features;
    let part = counts + n_total;

    let mut empty = 0u32;
    let mut cluster = first + unit;
    while cluster < first + n_clusters {
        if merged[counts + cluster] + merged[part + counts + cluster] == 0.0f32 {
            empty += 1u32;
        }
        cluster += units;
    }
    empties[unit] = empty;
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if unit < half {
            let other = empties[unit + half];
            empties[unit] += other;
        }
        half /= 2;
        sync_cube();
    }
    let moves = runs && empties[0usize] == 0u32;
    let mut shift = Total::<One>::new();
    if moves {
        let mut at = first * n_features + unit;
        while at < (first + n_clusters) * n_features {
            let cluster = counts + at / n_features;
            let count = merged[cluster] + merged[part + cluster];
            let old = centroids[at];
            let new = old + (merged[at] + merged[part + at]) / count;
            centroids[at] = new;
            shift.add(Vector::new((new - old) * (new - old)), no_fold);
            at += units;
        }
    }
    merge_units(&mut shift, &mut hi, &mut lo, no_fold, units);
    if UNIT_POS == 0 && runs {
        if moves {
            let ends = shift.hi.extract(0usize) <= tolerance || n_iter >= max_iter;
            table[run * FIELDS + STATE] = select(ends, DONE, RUNNING);
            table[run * FIELDS + N_ITER] = n_iter;
        } else {
            table[run * FIELDS + STATE] = HAS_EMPTY_CLUSTER.runtime();
        }
    }
}
