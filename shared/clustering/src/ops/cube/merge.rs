//! The second reduction: partial sums and counts of all cubes, added up column by column, compensated, in a fixed order.
//!
//! A row of the partial sums is what one cube has found, in numbers of 32 bits: `n_pairs` rounded sums, what the roundings
//! of each lost, and `n_counts` counts. Both come out in two float32 parts, which add up in float64:
//! `(2, n_pairs + n_counts)`.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::compensated::{One, Total};
use super::{buffer, floats};

/// Columns that a cube takes side by side: as many as a read of memory brings along.
pub(super) const COLUMNS: usize = 8;

/// Partial sums on the device, one row a cube.
pub(super) struct Partial {
    pub handle: Handle,
    pub n_rows: usize,
    pub n_pairs: usize,
    pub n_counts: usize,
}

impl Partial {
    /// Room for the partial sums of `n_rows` cubes.
    pub fn new(client: &Client, n_rows: usize, n_pairs: usize, n_counts: usize) -> Self {
        let handle = floats(client, n_rows * (2 * n_pairs + n_counts));
        Self { handle, n_rows, n_pairs, n_counts }
    }

    /// Numbers of all rows.
    pub fn len(&self) -> usize {
        self.n_rows * (2 * self.n_pairs + self.n_counts)
    }

    /// Numbers of a part of what [`merge_into`](Self::merge_into) leaves.
    pub fn n_columns(&self) -> usize {
        self.n_pairs + self.n_counts
    }

    /// Adds up the rows into `merged` `(2, n_columns)`, with cubes of `units`, a power of two.
    pub fn merge_into(&self, client: &Client, merged: &Handle, units: usize) {
        let row_groups = (units / COLUMNS).max(1);
        let most_cubes = client.properties().hardware.max_cube_count.0 as usize;
        // SAFETY: the lengths are those of the buffers, and the kernel checks its column and its row.
        unsafe {
            merge_kernel::launch_unchecked(
                client,
                CubeCount::new_1d(self.n_columns().div_ceil(COLUMNS).min(most_cubes) as u32),
                CubeDim::new_2d(COLUMNS as u32, row_groups as u32),
                buffer(&self.handle, self.len()),
                buffer(merged, 2 * self.n_columns()),
                self.n_rows,
                self.n_pairs,
                self.n_counts,
                0,
                row_groups,
            );
        }
    }
}

/// A group of units takes every `row_groups`-th row, and the groups are added up pairwise.
///
/// Counts stay exact: the upper and the lower half of a sum's bits are floats each.
#[cube(launch_unchecked)]
fn merge_kernel(
    partial: &[u32],
    merged: &mut [f32],
    n_rows: usize,
    n_pairs: usize,
    n_counts: usize,
    no_fold: u32,
    #[comptime] row_groups: usize,
) {
    let mut hi = Shared::<[Vector<f32, One>]>::new_slice(comptime!(COLUMNS * row_groups));
    let mut lo = Shared::<[Vector<f32, One>]>::new_slice(comptime!(COLUMNS * row_groups));
    let mut counts = Shared::<[u32]>::new_slice(comptime!(COLUMNS * row_groups));
    let group = UNIT_POS_Y as usize;
    let unit = UNIT_POS as usize;
    let n_columns = n_pairs + n_counts;
    let mut first = CUBE_POS_X as usize * COLUMNS;
    while first < n_columns {
        let column = first + UNIT_POS_X as usize;
        let mut total = Total::<One>::new();
        let mut count = 0u32;
        if column < n_columns {
            let mut row = group;
            while row < n_rows {
                let start = row * (n_pairs + n_columns);
                if column < n_pairs {
                    let hi = f32::reinterpret(partial[start + column]);
                    let lo = f32::reinterpret(partial[start + n_pairs + column]);
                    total.merge(Vector::new(hi), Vector::new(lo), no_fold);
                } else {
                    count += partial[start + n_pairs + column];
                }
                row += row_groups;
            }
        }
        hi[unit] = total.hi;
        lo[unit] = total.lo;
        counts[unit] = count;
        sync_cube();
        let mut half = comptime!(row_groups / 2).runtime();
        while half > 0 {
            if group < half {
                let other = unit + half * COLUMNS;
                total.merge(hi[other], lo[other], no_fold);
                count += counts[other];
                hi[unit] = total.hi;
                lo[unit] = total.lo;
                counts[unit] = count;
            }
            half /= 2;
            sync_cube();
        }
        if group == 0 && column < n_columns {
            if column < n_pairs {
                merged[column] = total.hi.extract(0usize);
                merged[n_columns + column] = total.lo.extract(0usize);
            } else {
                let low = count & 0xffffu32;
                merged[column] = (count - low) as f32;
                merged[n_columns + column] = low as f32;
            }
        }
        first += CUBE_COUNT_X as usize * COLUMNS;
    }
}
