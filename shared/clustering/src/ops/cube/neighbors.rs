//! The nearest neighbours of every row: a unit a row, reference rows in shared memory, block after block.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::nearest::{Search, load_block};
use super::shape::TileShape;
use super::{buffer, floats};

/// Most neighbours that a unit keeps in its registers.
pub(super) const MOST_NEIGHBORS: usize = 64;

/// Reference rows that a unit compares its row with at a time.
const GROUP: usize = 4;

/// Index of no row.
const NO_ROW: u32 = u32::MAX;

/// A row's nearest so far, in order: `(k)` each.
#[derive(CubeType)]
struct NearestRows {
    squared_distances: Array<f32>,
    indices: Array<u32>,
}

#[cube]
impl NearestRows {
    fn new(#[comptime] k: usize) -> Self {
        NearestRows { squared_distances: Array::new(k), indices: Array::new(k) }
    }

    fn clear(&mut self, #[comptime] k: usize) {
        #[unroll]
        for slot in 0..k {
            self.squared_distances[slot] = 0.0f32;
            self.indices[slot] = NO_ROW.runtime();
        }
    }

    /// Takes a row in if it is nearer than the last; rows come in the order of their indices.
    ///
    /// Everything moves up by a select a slot: slots that are found by a number could not be registers.
    fn offer(&mut self, squared_distance: f32, index: u32, #[comptime] k: usize) {
        let last = comptime!(k - 1);
        if squared_distance < self.squared_distances[last] || self.indices[last] == NO_ROW {
            let mut distance = squared_distance;
            let mut row = index;
            // Where the row is put in, all behind it move: they are in order among themselves, whatever their ties.
            let mut is_before = false.runtime();
            #[unroll]
            for slot in 0..k {
                let (old_distance, old_row) = (self.squared_distances[slot], self.indices[slot]);
                is_before = is_before || distance < old_distance || old_row == NO_ROW;
                self.squared_distances[slot] = select(is_before, distance, old_distance);
                self.indices[slot] = select(is_before, row, old_row);
                distance = select(is_before, old_distance, distance);
                row = select(is_before, old_row, row);
            }
        }
    }

    /// Compares the unit's row with `count` rows of `block`, of which the first has the index `first`.
    fn compare<N: Size>(
        &mut self,
        search: &Search<N>,
        block: &Shared<[Vector<f32, N>]>,
        first: usize,
        count: usize,
        largest: f32,
        #[comptime] k: usize,
        #[comptime] shape: TileShape,
    ) {
        let mut distances = Array::<f32>::new(GROUP);
        for start in range_stepped(0, count, GROUP) {
            #[unroll]
            for c in 0..GROUP {
                distances[c] = 0.0f32;
            }
            #[unroll(shape.unrolled)]
            for v in 0..shape.vectors {
                #[unroll]
                for c in 0..GROUP {
                    let row = select(start + c < count, start + c, count - 1);
                    let difference = search.rows[v] - block[row * shape.vectors + v];
                    #[unroll]
                    for lane in 0..shape.vector_size {
                        let part = difference.extract(lane);
                        distances[c] = fma(part, part, distances[c]);
                    }
                }
            }
            #[unroll]
            for c in 0..GROUP {
                if start + c < count {
                    let distance = select(distances[c] < largest, distances[c], largest);
                    self.offer(distance, (first + start + c) as u32, k);
                }
            }
        }
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn neighbors_kernel<N: Size>(
    x: &[Vector<f32, N>],
    reference: &[Vector<f32, N>],
    squared_distances: &mut [f32],
    indices: &mut [i32],
    n_samples: usize,
    n_reference: usize,
    largest: f32,
    #[comptime] k: usize,
    #[comptime] shape: TileShape,
) {
    let mut block = Shared::<[Vector<f32, N>]>::new_slice(comptime!(shape.block * shape.vectors));
    let mut search = Search::<N>::new(shape);
    let mut nearest = NearestRows::new(k);
    let mut tile = CUBE_POS_X as usize * comptime!(shape.tile());
    while tile < n_samples {
        search.load(x, tile, n_samples, shape);
        nearest.clear(k);
        for first in range_stepped(0, n_reference, shape.block) {
            let left = n_reference - first;
            let count = select(left < shape.block, left, shape.block);
            load_block::<N>(&mut block, reference, first, count, shape);
            sync_cube();
            nearest.compare::<N>(&search, &block, first, count, largest, k, shape);
            sync_cube();
        }
        let point = tile + UNIT_POS as usize;
        if point < n_samples {
            #[unroll]
            for slot in 0..k {
                squared_distances[point * k + slot] = nearest.squared_distances[slot];
                indices[point * k + slot] = nearest.indices[slot] as i32;
            }
        }
        tile += CUBE_COUNT_X as usize * comptime!(shape.tile());
    }
}

/// Squared distances and indices `(n_samples, k)` of the rows of `reference` `(n_reference, n_features)` that are
/// nearest to those of `x` `(n_samples, n_features)`; both contiguous float32.
pub(super) fn neighbors(
    client: &Client,
    shape: TileShape,
    [x, reference]: [Handle; 2],
    [n_samples, n_features, n_reference]: [usize; 3],
    k: usize,
) -> (Handle, Handle) {
    let shape = shape.one_point();
    let (squared_distances, indices) = (floats(client, n_samples * k), floats(client, n_samples * k));
    let longest = (n_samples * n_features.max(k)).max(n_reference * n_features);
    // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its points are below `n_samples`,
    // its reference rows below `n_reference`, and its slots below `k`.
    unsafe {
        neighbors_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(shape.rows(n_samples, 1) as u32),
            shape.cube_dim(),
            AddressType::from_len(longest),
            shape.vector_size,
            buffer(&x, n_samples * shape.vectors),
            buffer(&reference, n_reference * shape.vectors),
            buffer(&squared_distances, n_samples * k),
            buffer(&indices, n_samples * k),
            n_samples,
            n_reference,
            f32::MAX,
            k,
            shape,
        );
    }
    (squared_distances, indices)
}
