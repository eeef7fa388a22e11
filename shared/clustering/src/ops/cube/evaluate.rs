//! What the clusters of many runs are like, in one pass over the points: how many points each has, their squared
//! distances' sum, and which point is farthest.

use cubecl::prelude::*;
use cubecl::server::{Handle, ServerError};

use super::batch::{COPIES, DeviceBlock, FIELDS, FIRST, LEAF, N_CLUSTERS, OWNERS_PER_COPY};
use super::compensated::{One, Total};
use super::labels::label_tile;
use super::nearest::{Search, SharedCentroids};
use super::screen::Screen;
use super::shape::TileShape;
use super::sums::NO_CLUSTER;
use super::{buffer, floats};

/// Bytes of partial results a batch may take, where the device allows a buffer that large.
const BATCH_BYTES: u64 = 256 << 20;

/// Units of a cube of the reduction.
const COLUMNS: usize = 32;

/// Centroids and what goes with them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clustering<'a> {
    /// `(n_clusters, n_features)`, row-major.
    pub centroids: &'a [f32],
    /// The leaf whose points it clusters, where points have leaves.
    pub leaf: i32,
}

/// A cluster's points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClusterPoints {
    pub count: u32,
    /// Sum of their squared distances to the centroid.
    pub inertia: f64,
    /// Index and squared distance of the farthest, the first on a tie; without meaning where there is none.
    pub farthest: (usize, f32),
}

/// Clusterings that are evaluated together.
pub(crate) struct EvaluationBatch {
    client: Client,
    shape: TileShape,
    n_clusters: Vec<usize>,
    n_total: usize,
    n_rows: usize,
    table: Handle,
    centroids: Handle,
    /// `(n_rows, 3, n_total)`: inertia, what its roundings lost, and the farthest point's squared distance.
    floats: Handle,
    /// `(n_rows, 2, n_total)`: counts, and the farthest point's index.
    ints: Handle,
    no_leaves: Handle,
}

impl EvaluationBatch {
    /// Clusters of all clusterings together that a batch of `n_rows` cubes along the points has room for.
    pub fn most_clusters(client: &Client, n_rows: usize) -> usize {
        let properties = client.properties();
        let bytes = properties.memory.max_page_size.min(BATCH_BYTES) as usize;
        (bytes / (3 * size_of::<f32>() * n_rows)).min(properties.hardware.max_cube_count.0 as usize)
    }

    /// Puts clusterings on the device, for `n_rows` cubes along the points.
    pub fn new(client: &Client, shape: TileShape, n_rows: usize, clusterings: &[Clustering<'_>]) -> Self {
        let n_clusters: Vec<usize> = clusterings.iter().map(|one| one.centroids.len() / shape.n_features()).collect();
        let mut table = Vec::with_capacity(clusterings.len() * FIELDS);
        let mut first = 0;
        for (one, &k) in clusterings.iter().zip(&n_clusters) {
            let layout = shape.layout_of_entries(k);
            table.extend([first, k, layout.copies, layout.owners_per_copy].map(|field| field as u32));
            table.extend([one.leaf.cast_unsigned(), 0, 0, 0]);
            first += k;
        }
        let centroids: Vec<f32> = clusterings.iter().flat_map(|one| one.centroids).copied().collect();
        Self {
            client: client.clone(),
            shape,
            n_rows,
            table: client.create_from_slice(u32::as_bytes(&table)),
            centroids: client.create_from_slice(f32::as_bytes(&centroids)),
            floats: floats(client, 3 * n_rows * first),
            ints: floats(client, 2 * n_rows * first),
            no_leaves: floats(client, 1),
            n_total: first,
            n_clusters,
        }
    }

    /// Takes in a block of the points, the first one or a later one, piece by piece.
    pub fn pass(&self, block: &DeviceBlock, is_first: bool) {
        for start in (0..block.n_samples).step_by(block.piece) {
            let end = block.n_samples.min(start + block.piece);
            self.pass_over(block, start, end, is_first && start == 0);
        }
    }

    /// Takes in the points `start..end` of a block.
    fn pass_over(&self, block: &DeviceBlock, start: usize, end: usize, is_first: bool) {
        let (shape, n_models) = (self.shape, self.n_clusters.len());
        let (leaves, n_leaves) = block.leaves_or(&self.no_leaves);
        // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its points are below
        // `end`, its runs and rows are those of the grid, and the table's clusters are those of the runs.
        unsafe {
            evaluate_kernel::launch_unchecked(
                &self.client,
                CubeCount::new_2d(n_models as u32, self.n_rows as u32),
                shape.cube_dim(),
                AddressType::from_len(block.n_samples * shape.n_features()),
                shape.vector_size,
                buffer(&block.x, block.n_samples * shape.vectors),
                buffer(leaves, n_leaves),
                buffer(&self.centroids, self.n_total * shape.vectors),
                buffer(&self.table, n_models * FIELDS),
                buffer(&self.floats, 3 * self.n_rows * self.n_total),
                buffer(&self.ints, 2 * self.n_rows * self.n_total),
                start,
                end,
                block.first as u32,
                self.n_total,
                u32::from(is_first),
                0,
                block.leaves.is_some(),
                shape,
            );
        }
    }

    /// The clusters of each clustering, after the passes over all chunks. Waits for the device.
    ///
    /// # Errors
    /// What the device says when it has failed.
    pub fn read(&self) -> Result<Vec<Vec<ClusterPoints>>, ServerError> {
        let (merged_floats, merged_ints) =
            (floats(&self.client, 3 * self.n_total), floats(&self.client, 2 * self.n_total));
        // SAFETY: the lengths are those of the buffers, and the kernel checks its column and its row.
        unsafe {
            merge_clusters_kernel::launch_unchecked(
                &self.client,
                CubeCount::new_1d(self.n_total.div_ceil(COLUMNS) as u32),
                CubeDim::new_1d(COLUMNS as u32),
                buffer(&self.floats, 3 * self.n_rows * self.n_total),
                buffer(&self.ints, 2 * self.n_rows * self.n_total),
                buffer(&merged_floats, 3 * self.n_total),
                buffer(&merged_ints, 2 * self.n_total),
                self.n_rows,
                self.n_total,
                0,
            );
        }
        let read = self.client.read(vec![merged_floats, merged_ints])?;
        let (floats, ints, n) = (f32::from_bytes(&read[0]), u32::from_bytes(&read[1]), self.n_total);
        let cluster = |at: usize| ClusterPoints {
            count: ints[at],
            inertia: f64::from(floats[at]) + f64::from(floats[n + at]),
            farthest: (ints[n + at] as usize, floats[2 * n + at]),
        };
        let mut first = 0;
        let clusters = |&k: &usize| {
            first += k;
            (first - k..first).map(cluster).collect()
        };
        Ok(self.n_clusters.iter().map(clusters).collect())
    }
}

/// Evaluates the clusters of run `CUBE_POS_X` into row `CUBE_POS_Y` of the partial results.
///
/// A unit owns the clusters `owner, owner + owners_per_copy, ...` of a copy, and a copy takes every `copies`-th point of a tile.
#[cube(launch_unchecked, address_type = "dynamic")]
fn evaluate_kernel<N: Size>(
    x: &[Vector<f32, N>],
    leaves: &[i32],
    centroids: &[Vector<f32, N>],
    table: &[u32],
    floats: &mut [f32],
    ints: &mut [u32],
    start: usize,
    end: usize,
    first_sample: u32,
    n_total: usize,
    is_first: u32,
    no_fold: u32,
    #[comptime] with_leaves: bool,
    #[comptime] shape: TileShape,
) {
    let run = CUBE_POS_X as usize;
    let row = CUBE_POS_Y as usize;
    let first = table[run * FIELDS + FIRST] as usize;
    let n_clusters = table[run * FIELDS + N_CLUSTERS] as usize;
    let copies = table[run * FIELDS + COPIES] as usize;
    let owners_per_copy = table[run * FIELDS + OWNERS_PER_COPY] as usize;
    let leaf = table[run * FIELDS + LEAF] as i32;

    let mut shared_centroids = SharedCentroids::<N>::new(first, n_clusters, shape);
    let mut search = Search::<N>::new(shape);
    let mut screen = Screen::new(false, shape);
    let mut tile_labels = Shared::<[u32]>::new_slice(comptime!(shape.tile()));
    let mut tile_distances = Shared::<[f32]>::new_slice(comptime!(shape.tile()));
    let mut clusters = Evaluations::new(shape);
    clusters.clear(copies * n_clusters, shape);
    shared_centroids.start(centroids, shape);

    let copy = UNIT_POS as usize % copies;
    let owner = UNIT_POS as usize / copies;
    let mut tile = start + row * comptime!(shape.tile());
    while tile < end {
        label_tile::<N>(
            x,
            leaves,
            centroids,
            &mut search,
            &mut screen,
            &mut shared_centroids,
            &mut tile_labels,
            tile,
            end,
            leaf,
            with_leaves,
            false,
            shape,
        );
        #[unroll]
        for i in 0..shape.points {
            tile_distances[UNIT_POS as usize + i * shape.units] = search.squared_distances[i];
        }
        sync_cube();
        if owner < owners_per_copy {
            let mut point = copy;
            while point < comptime!(shape.tile()) {
                let label = tile_labels[point];
                if label != NO_CLUSTER && label as usize & (owners_per_copy - 1) == owner {
                    let index = first_sample + (tile + point) as u32;
                    clusters.add(copy * n_clusters + label as usize, index, tile_distances[point], no_fold);
                }
                point += copies;
            }
        }
        sync_cube();
        tile += CUBE_COUNT_Y as usize * comptime!(shape.tile());
    }

    let mut cluster = UNIT_POS as usize;
    while cluster < n_clusters {
        let mut total = Evaluated::new();
        for copy in 0..copies {
            clusters.merge_into(&mut total, copy * n_clusters + cluster, no_fold);
        }
        if is_first == 0u32 {
            total.merge_row(&*floats, &*ints, row, n_total, first + cluster, no_fold);
        }
        total.write(floats, ints, row, n_total, first + cluster);
        cluster += shape.units;
    }
}

/// Merges the rows of the partial results, cluster by cluster.
#[cube(launch_unchecked)]
fn merge_clusters_kernel(
    floats: &[f32],
    ints: &[u32],
    merged_floats: &mut [f32],
    merged_ints: &mut [u32],
    n_rows: usize,
    n_total: usize,
    no_fold: u32,
) {
    let cluster = CUBE_POS_X as usize * COLUMNS + UNIT_POS_X as usize;
    if cluster < n_total {
        let mut total = Evaluated::new();
        for row in 0..n_rows {
            total.merge_row(floats, ints, row, n_total, cluster, no_fold);
        }
        total.write(merged_floats, merged_ints, 0usize.runtime(), n_total, cluster);
    }
}

/// One cluster's points, so far.
#[derive(CubeType)]
struct Evaluated {
    inertia: Total<One>,
    count: u32,
    distance: f32,
    index: u32,
}

#[cube]
impl Evaluated {
    fn new() -> Self {
        Evaluated {
            inertia: Total::<One>::new(),
            count: 0u32.runtime(),
            distance: (-1.0f32).runtime(),
            index: 0u32.runtime(),
        }
    }

    /// Takes in other points.
    fn merge(
        &mut self,
        hi: Vector<f32, One>,
        lo: Vector<f32, One>,
        count: u32,
        distance: f32,
        index: u32,
        no_fold: u32,
    ) {
        self.inertia.merge(hi, lo, no_fold);
        self.count += count;
        if distance > self.distance || (distance == self.distance && index < self.index) {
            self.distance = distance;
            self.index = index;
        }
    }

    /// Takes in what row `row` says of a cluster.
    fn merge_row(&mut self, floats: &[f32], ints: &[u32], row: usize, n_total: usize, cluster: usize, no_fold: u32) {
        let (f, i) = (3 * row * n_total + cluster, 2 * row * n_total + cluster);
        let (hi, lo) = (Vector::new(floats[f]), Vector::new(floats[f + n_total]));
        self.merge(hi, lo, ints[i], floats[f + 2 * n_total], ints[i + n_total], no_fold);
    }

    /// Writes it as what row `row` says of a cluster.
    fn write(&self, floats: &mut [f32], ints: &mut [u32], row: usize, n_total: usize, cluster: usize) {
        let (f, i) = (3 * row * n_total + cluster, 2 * row * n_total + cluster);
        floats[f] = self.inertia.hi.extract(0usize);
        floats[f + n_total] = self.inertia.lo.extract(0usize);
        floats[f + 2 * n_total] = self.distance;
        ints[i] = self.count;
        ints[i + n_total] = self.index;
    }
}

/// A cube's clusters: `(copies, n_clusters)`.
#[derive(CubeType)]
struct Evaluations {
    hi: Shared<[Vector<f32, One>]>,
    lo: Shared<[Vector<f32, One>]>,
    counts: Shared<[u32]>,
    distances: Shared<[f32]>,
    indices: Shared<[u32]>,
}

#[cube]
impl Evaluations {
    fn new(#[comptime] shape: TileShape) -> Self {
        Evaluations {
            hi: Shared::new_slice(comptime!(shape.entries())),
            lo: Shared::new_slice(comptime!(shape.entries())),
            counts: Shared::new_slice(comptime!(shape.entries())),
            distances: Shared::new_slice(comptime!(shape.entries())),
            indices: Shared::new_slice(comptime!(shape.entries())),
        }
    }

    fn clear(&mut self, entries: usize, #[comptime] shape: TileShape) {
        let mut at = UNIT_POS as usize;
        while at < entries {
            self.hi[at] = Vector::new(0.0f32);
            self.lo[at] = Vector::new(0.0f32);
            self.counts[at] = 0u32;
            self.distances[at] = -1.0f32;
            self.indices[at] = 0u32;
            at += shape.units;
        }
    }

    /// Adds the next point in order.
    fn add(&mut self, entry: usize, index: u32, distance: f32, no_fold: u32) {
        let mut total = Total::<One> { hi: self.hi[entry], lo: self.lo[entry] };
        total.add(Vector::new(distance), no_fold);
        self.hi[entry] = total.hi;
        self.lo[entry] = total.lo;
        self.counts[entry] += 1u32;
        if distance > self.distances[entry] {
            self.distances[entry] = distance;
            self.indices[entry] = index;
        }
    }

    fn merge_into(&self, total: &mut Evaluated, entry: usize, no_fold: u32) {
        let (hi, lo) = (self.hi[entry], self.lo[entry]);
        total.merge(hi, lo, self.counts[entry], self.distances[entry], self.indices[entry], no_fold);
    }
}
