//! The labels of points, and nothing else: of a tile, for the kernels that do something with them, and of all points, in 32
//! bits each where they stay on the device, and in 16 where they are read.

use cubecl::prelude::*;
use cubecl::server::{Handle, ServerError};

use super::batch::{DeviceBlock, FIELDS, FIRST, LEAF, N_CLUSTERS, RUNNING, STATE};
use super::nearest::{Search, SharedCentroids};
use super::screen::Screen;
use super::shape::TileShape;
use super::sums::NO_CLUSTER;
use super::{buffer, floats};

/// Centroids on the device that label block after block.
pub(crate) struct Labeller {
    client: Client,
    shape: TileShape,
    n_clusters: usize,
    centroids: Handle,
    table: Handle,
    no_leaves: Handle,
}

impl Labeller {
    /// Of `centroids` `(n_clusters, n_features)`, row-major, at most 65,536.
    pub fn new(client: &Client, shape: TileShape, centroids: &[f32]) -> Self {
        let n_clusters = centroids.len() / shape.n_features();
        let mut table = [0u32; FIELDS];
        (table[N_CLUSTERS], table[STATE]) = (n_clusters as u32, RUNNING);
        Self {
            client: client.clone(),
            shape,
            n_clusters,
            centroids: client.create_from_slice(f32::as_bytes(centroids)),
            table: client.create_from_slice(u32::as_bytes(&table)),
            no_leaves: floats(client, 1),
        }
    }

    /// Calls `visit` with the label of each point of `block`. Waits for the device.
    ///
    /// # Errors
    /// What the device says when it has failed.
    pub fn label<T>(&self, block: &DeviceBlock, visit: impl FnOnce(&[u16]) -> T) -> Result<T, ServerError> {
        let labels = floats(&self.client, block.n_samples.div_ceil(2));
        let (centroids, table) = ((&self.centroids, self.n_clusters), (&self.table, 1, 0));
        label_points(&self.client, self.shape, block, centroids, table, &labels, &self.no_leaves, true);
        let read = self.client.read_one(labels)?;
        Ok(visit(&u16::from_bytes(&read)[..block.n_samples]))
    }
}

/// Labels the points of `block` for run `run` of a table of `n_runs`, unless it is done: into `labels` `(n_samples)` of 32 bits,
/// or of 16 where they are `packed`. `centroids` are those of all runs, and how many they are.
pub(super) fn label_points(
    client: &Client,
    shape: TileShape,
    block: &DeviceBlock,
    (centroids, n_centroids): (&Handle, usize),
    (table, n_runs, run): (&Handle, usize, usize),
    labels: &Handle,
    no_leaves: &Handle,
    packed: bool,
) {
    let (leaves, n_leaves) = block.leaves_or(no_leaves);
    let n_numbers = if packed { block.n_samples.div_ceil(2) } else { block.n_samples };
    // Whole tiles, which have an even number of points: two packed labels are a number.
    let whole_tiles = shape.points_a_launch(n_centroids).next_multiple_of(shape.tile());
    for start in (0..block.n_samples).step_by(whole_tiles) {
        let end = block.n_samples.min(start + whole_tiles);
        // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its points are below `end`, and
        // the run's clusters are among the centroids.
        unsafe {
            label_kernel::launch_unchecked(
                client,
                CubeCount::new_1d(shape.rows(end - start, 1) as u32),
                shape.cube_dim(),
                AddressType::from_len(block.n_samples * shape.n_features()),
                shape.vector_size,
                buffer(&block.x, block.n_samples * shape.vectors),
                buffer(leaves, n_leaves),
                buffer(centroids, n_centroids * shape.vectors),
                buffer(table, n_runs * FIELDS),
                buffer(labels, n_numbers),
                start,
                end,
                run,
                block.leaves.is_some(),
                packed,
                shape,
            );
        }
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn label_kernel<N: Size>(
    x: &[Vector<f32, N>],
    leaves: &[i32],
    centroids: &[Vector<f32, N>],
    table: &[u32],
    labels: &mut [u32],
    start: usize,
    end: usize,
    run: usize,
    #[comptime] with_leaves: bool,
    #[comptime] packed: bool,
    #[comptime] shape: TileShape,
) {
    if table[run * FIELDS + STATE] != RUNNING {
        terminate!();
    }
    let first = table[run * FIELDS + FIRST] as usize;
    let n_clusters = table[run * FIELDS + N_CLUSTERS] as usize;
    let leaf = table[run * FIELDS + LEAF] as i32;
    let mut shared_centroids = SharedCentroids::<N>::new(first, n_clusters, shape);
    let mut tile_labels = Shared::<[u32]>::new_slice(comptime!(shape.tile()));
    let mut search = Search::<N>::new(shape);
    let mut screen = Screen::new(shape.dots, shape);
    shared_centroids.start(centroids, shape);
    if shape.dots {
        screen.start::<N>(&mut shared_centroids, shape);
    }
    let mut tile = start + CUBE_POS_X as usize * comptime!(shape.tile());
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
            shape.dots,
            shape,
        );
        sync_cube();
        let mut unit = UNIT_POS as usize;
        if packed {
            while unit < comptime!(shape.tile() / 2) {
                let at = tile + 2 * unit;
                if at < end {
                    // What counts for no cluster is cut off at 16 bits.
                    let second = tile_labels[2 * unit + 1] & 0xffffu32;
                    labels[at / 2] = (tile_labels[2 * unit] & 0xffffu32) + second * 65536u32;
                }
                unit += shape.units;
            }
        } else {
            while unit < comptime!(shape.tile()) {
                if tile + unit < end {
                    labels[tile + unit] = tile_labels[unit];
                }
                unit += shape.units;
            }
        }
        sync_cube();
        tile += CUBE_COUNT_X as usize * comptime!(shape.tile());
    }
}

/// Labels the points of a tile that are the run's, and leaves the others without a cluster. By `dots` nothing else is known of
/// them afterwards, and otherwise their distances. All units must come here.
#[cube]
pub(super) fn label_tile<N: Size>(
    x: &[Vector<f32, N>],
    leaves: &[i32],
    centroids: &[Vector<f32, N>],
    search: &mut Search<N>,
    screen: &mut Screen,
    shared_centroids: &mut SharedCentroids<N>,
    tile_labels: &mut Shared<[u32]>,
    tile: usize,
    n_samples: usize,
    leaf: i32,
    #[comptime] with_leaves: bool,
    #[comptime] dots: bool,
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
    if dots {
        screen.label::<N>(search, shared_centroids, centroids, wanted, shape);
    } else {
        shared_centroids.search(search, centroids, wanted, shape);
    }
    #[unroll]
    for i in 0..shape.points {
        let at = UNIT_POS as usize + i * shape.units;
        if tile_labels[at] != NO_CLUSTER {
            tile_labels[at] = search.labels[i];
        }
    }
}
