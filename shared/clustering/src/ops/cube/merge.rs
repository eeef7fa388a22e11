//! The second reduction: partial sums of all cubes, added up column by column, compensated, in a fixed order.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::compensated::{One, Total};
use super::{buffer, floats};

/// Units of a cube of the reduction: columns side by side, and rows in groups.
pub(super) const COLUMNS: usize = 32;
const ROW_GROUPS: usize = 4;

/// Partial sums on the device, one row a cube.
pub(super) struct Partial {
    /// `(n_rows, 2, n_sums)`, float32: rounded sums and what the roundings lost.
    pub sums: Handle,
    /// `(n_rows, n_counts)`, uint32
    pub counts: Handle,
    /// `(n_rows, 2)`, float32
    pub inertia: Handle,
    n_rows: usize,
    n_sums: usize,
    n_counts: usize,
}

/// Sums over all rows, each in two float32 parts: what they add up to in float64 is the result.
pub(super) struct Merged {
    /// `(2, n_sums)`
    pub sums: Handle,
    /// `(2, n_counts)`
    pub counts: Handle,
    /// `(2, 1)`
    pub inertia: Handle,
}

impl Partial {
    /// Room for the partial sums of `n_rows` cubes.
    pub fn new(client: &Client, n_rows: usize, n_sums: usize, n_counts: usize) -> Self {
        Self {
            sums: floats(client, 2 * n_rows * n_sums),
            counts: floats(client, n_rows * n_counts),
            inertia: floats(client, 2 * n_rows),
            n_rows,
            n_sums,
            n_counts,
        }
    }

    /// Adds up the rows.
    pub fn merge(&self, client: &Client) -> Merged {
        let merged = Merged {
            sums: floats(client, 2 * self.n_sums),
            counts: floats(client, 2 * self.n_counts),
            inertia: floats(client, 2),
        };
        merge_sums(client, &self.sums, &merged.sums, self.n_rows, self.n_sums);
        merge_sums(client, &self.inertia, &merged.inertia, self.n_rows, 1);
        merge_counts(client, &self.counts, &merged.counts, self.n_rows, self.n_counts);
        merged
    }
}

/// Adds up `partial` `(n_rows, 2, n_columns)` into `merged` `(2, n_columns)`.
pub(super) fn merge_sums(client: &Client, partial: &Handle, merged: &Handle, n_rows: usize, n_columns: usize) {
    // SAFETY: the lengths are those of the buffers, and the kernel checks its column and its row.
    unsafe {
        merge_sums_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(n_columns.div_ceil(COLUMNS) as u32),
            CubeDim::new_2d(COLUMNS as u32, ROW_GROUPS as u32),
            buffer(partial, 2 * n_rows * n_columns),
            buffer(merged, 2 * n_columns),
            n_rows,
            n_columns,
            0,
        );
    }
}

/// Adds up `partial` `(n_rows, n_columns)` into `merged` `(2, n_columns)`.
pub(super) fn merge_counts(client: &Client, partial: &Handle, merged: &Handle, n_rows: usize, n_columns: usize) {
    // SAFETY: the lengths are those of the buffers, and the kernel checks its column and its row.
    unsafe {
        merge_counts_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(n_columns.div_ceil(COLUMNS) as u32),
            CubeDim::new_1d(COLUMNS as u32),
            buffer(partial, n_rows * n_columns),
            buffer(merged, 2 * n_columns),
            n_rows,
            n_columns,
        );
    }
}

#[cube(launch_unchecked)]
fn merge_sums_kernel(partial: &[f32], merged: &mut [f32], n_rows: usize, n_columns: usize, no_fold: u32) {
    let mut hi = Shared::<[Vector<f32, One>]>::new_slice(comptime!(COLUMNS * ROW_GROUPS));
    let mut lo = Shared::<[Vector<f32, One>]>::new_slice(comptime!(COLUMNS * ROW_GROUPS));
    let group = UNIT_POS_Y as usize;
    let column = CUBE_POS_X as usize * COLUMNS + UNIT_POS_X as usize;
    let mut total = Total::<One>::new();
    if column < n_columns {
        let mut row = group;
        while row < n_rows {
            let hi = partial[2 * row * n_columns + column];
            let lo = partial[(2 * row + 1) * n_columns + column];
            total.merge(Vector::new(hi), Vector::new(lo), no_fold);
            row += ROW_GROUPS;
        }
    }
    hi[UNIT_POS as usize] = total.hi;
    lo[UNIT_POS as usize] = total.lo;
    sync_cube();
    if group == 0 && column < n_columns {
        #[unroll]
        for other in 1..ROW_GROUPS {
            let at = UNIT_POS_X as usize + other * COLUMNS;
            total.merge(hi[at], lo[at], no_fold);
        }
        merged[column] = total.hi.extract(0usize);
        merged[n_columns + column] = total.lo.extract(0usize);
    }
}

/// Counts stay exact: the upper and the lower half of a sum's bits are floats each.
#[cube(launch_unchecked)]
fn merge_counts_kernel(partial: &[u32], merged: &mut [f32], n_rows: usize, n_columns: usize) {
    let column = CUBE_POS_X as usize * COLUMNS + UNIT_POS_X as usize;
    if column < n_columns {
        let mut sum = 0u32;
        for row in 0..n_rows {
            sum += partial[row * n_columns + column];
        }
        let low = sum & 0xffffu32;
        merged[column] = (sum - low) as f32;
        merged[n_columns + column] = low as f32;
    }
}
