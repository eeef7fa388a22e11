//! What candidates for a next centroid would leave of the points' distances, all candidates in one pass.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::compensated::{One, Total, merge_units};
use super::merge::merge_sums;
use super::nearest::{Search, load_block};
use super::shape::TileShape;
use super::{buffer, floats};

/// Candidates a launch weighs at once: their totals lie in registers.
const MOST_CANDIDATES: usize = 8;

/// Writes the rows `first..first + count` of `output` `(n_candidates, n_samples)` and of the cubes' partial
/// `potentials` `(n_rows, 2, n_candidates)`.
#[cube(launch_unchecked, address_type = "dynamic")]
fn weigh_kernel<N: Size>(
    x: &[Vector<f32, N>],
    closest: &[f32],
    candidates: &[Vector<f32, N>],
    output: &mut [f32],
    potentials: &mut [f32],
    n_samples: usize,
    n_candidates: usize,
    first: usize,
    zero: u32,
    #[comptime] count: usize,
    #[comptime] shape: TileShape,
) {
    let mut block = Shared::<[Vector<f32, N>]>::new_slice(comptime!(count * shape.vectors));
    let mut search = Search::<N>::new(shape);
    let mut hi = Array::<Vector<f32, One>>::new(count);
    let mut lo = Array::<Vector<f32, One>>::new(count);
    #[unroll]
    for c in 0..count {
        hi[c] = Vector::new(0.0f32);
        lo[c] = Vector::new(0.0f32);
    }
    load_block::<N>(&mut block, candidates, first, count, shape);
    sync_cube();

    let mut tile = CUBE_POS_X as usize * comptime!(shape.tile());
    while tile < n_samples {
        search.load(x, tile, n_samples, shape);
        let point = tile + UNIT_POS as usize;
        if point < n_samples {
            let nearest = closest[point];
            #[unroll]
            for c in 0..count {
                let distance = search.squared_distance(&block, c, shape);
                let left = select(distance < nearest, distance, nearest);
                output[(first + c) * n_samples + point] = left;
                let mut total = Total::<One> { hi: hi[c], lo: lo[c] };
                total.add(Vector::new(left), zero);
                hi[c] = total.hi;
                lo[c] = total.lo;
            }
        }
        tile += CUBE_COUNT_X as usize * comptime!(shape.tile());
    }

    let mut unit_hi = Shared::<[Vector<f32, One>]>::new_slice(shape.units);
    let mut unit_lo = Shared::<[Vector<f32, One>]>::new_slice(shape.units);
    #[unroll]
    for c in 0..count {
        let mut total = Total::<One> { hi: hi[c], lo: lo[c] };
        merge_units(&mut total, &mut unit_hi, &mut unit_lo, zero, shape.units);
        if UNIT_POS == 0 {
            let row = 2 * CUBE_POS_X as usize;
            potentials[row * n_candidates + first + c] = total.hi.extract(0usize);
            potentials[(row + 1) * n_candidates + first + c] = total.lo.extract(0usize);
        }
        sync_cube();
    }
}

/// Distances `(n_candidates, n_samples)` and potentials `(2, n_candidates)` of `candidates` for points `x`
/// `(n_samples, n_features)` whose distances so far are `closest` `(n_samples)`; all contiguous float32.
pub(super) fn weigh(
    client: &Client,
    shape: TileShape,
    [x, closest, candidates]: [Handle; 3],
    [n_samples, n_features, n_candidates]: [usize; 3],
) -> (Handle, Handle) {
    let shape = shape.one_point();
    let n_rows = shape.rows(n_samples, 1);
    let output = floats(client, n_candidates * n_samples);
    let partial = floats(client, 2 * n_rows * n_candidates);
    let at_once = MOST_CANDIDATES.min(shape.block);
    for first in (0..n_candidates).step_by(at_once) {
        // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its points are below
        // `n_samples`, its candidates below `n_candidates`, and its rows are those of the grid.
        unsafe {
            weigh_kernel::launch_unchecked(
                client,
                CubeCount::new_1d(n_rows as u32),
                shape.cube_dim(),
                AddressType::from_len((n_samples * n_features).max(n_candidates * n_samples)),
                shape.vector_size,
                buffer(&x, n_samples * shape.vectors),
                buffer(&closest, n_samples),
                buffer(&candidates, n_candidates * shape.vectors),
                buffer(&output, n_candidates * n_samples),
                buffer(&partial, 2 * n_rows * n_candidates),
                n_samples,
                n_candidates,
                first,
                0,
                at_once.min(n_candidates - first),
                shape,
            );
        }
    }
    let potentials = floats(client, 2 * n_candidates);
    merge_sums(client, &partial, &potentials, n_rows, n_candidates);
    (output, potentials)
}
