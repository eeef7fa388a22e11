//! Assignment of points to their nearest centroids, with the sums that the next centroids are made of, in one pass
//! over the points.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::compensated::{One, Total, merge_units};
use super::merge::{Merged, Partial};
use super::nearest::{Search, load_block};
use super::shape::{LONGEST_CHAIN, TileShape};
use super::sums::{Clusters, NO_CLUSTER, Place, add_to_row, clear_row, longest_run, running};
use super::{buffer, floats};

/// Cubes walk over tiles; each writes its row of the partial sums, which [`super::merge`] adds up.
#[cube(launch_unchecked, address_type = "dynamic")]
fn assign_kernel<N: Size>(
    x: &[Vector<f32, N>],
    centroids: &[Vector<f32, N>],
    labels: &mut [i32],
    squared_distances: &mut [f32],
    sums: &mut [Vector<f32, N>],
    counts: &mut [u32],
    inertia: &mut [f32],
    n_samples: usize,
    n_clusters: usize,
    slots: usize,
    owners: usize,
    zero: u32,
    #[comptime] shape: TileShape,
) {
    let clusters = Clusters { n_clusters, slots, owners };
    let row = CUBE_POS_X as usize;
    let place = Place {
        hi: 2 * row * n_clusters * shape.vectors,
        lo: (2 * row + 1) * n_clusters * shape.vectors,
        counts: row * n_clusters,
    };
    let mut block = Shared::<[Vector<f32, N>]>::new_slice(comptime!(shape.block * shape.vectors));
    let mut tile_labels = Shared::<[u32]>::new_slice(comptime!(shape.tile()));
    let mut search = Search::<N>::new(shape);
    let mut running = running::<N>(shape);
    if shape.spilled {
        clear_row::<N>(sums, counts, &place, &clusters, shape);
    } else {
        running.clear(&clusters, shape);
    }
    let mut cube_inertia = Total::<One>::new();
    let mut begin = true;
    let mut pending = 0usize;
    let one_block = n_clusters <= shape.block;
    if one_block {
        load_block::<N>(&mut block, centroids, 0, n_clusters, shape);
    }
    sync_cube();

    let mut tile = row * comptime!(shape.tile());
    while tile < n_samples {
        search.load(x, tile, n_samples, shape);
        if one_block {
            search.compare(&block, 0, n_clusters, shape);
        } else {
            for first in range_stepped(0, n_clusters, shape.block) {
                let left = n_clusters - first;
                let count = select(left < shape.block, left, shape.block);
                load_block::<N>(&mut block, centroids, first, count, shape);
                sync_cube();
                search.compare(&block, first, count, shape);
                sync_cube();
            }
        }
        #[unroll]
        for i in 0..shape.points {
            let at = UNIT_POS as usize + i * shape.units;
            let mut label = NO_CLUSTER.runtime();
            if tile + at < n_samples {
                label = search.labels[i];
                labels[tile + at] = label as i32;
                squared_distances[tile + at] = search.squared_distances[i];
                cube_inertia.add(Vector::new(search.squared_distances[i]), zero);
            }
            tile_labels[at] = label;
        }
        sync_cube();
        if shape.spilled {
            add_to_row::<N>(x, &tile_labels, tile, sums, counts, &place, &clusters, zero, shape);
        } else {
            let run = longest_run(&clusters, shape);
            for from in range_stepped(0, comptime!(shape.tile()), run) {
                if pending + run > clusters.slots * LONGEST_CHAIN {
                    running.flush(sums, counts, &place, &clusters, begin, zero, shape);
                    begin = false;
                    pending = 0usize;
                }
                running.add(x, &tile_labels, tile, from, from + run, &clusters, shape);
                pending += run;
            }
        }
        sync_cube();
        tile += CUBE_COUNT_X as usize * comptime!(shape.tile());
    }
    if !shape.spilled {
        running.flush(sums, counts, &place, &clusters, begin, zero, shape);
    }
    let mut hi = Shared::<[Vector<f32, One>]>::new_slice(shape.units);
    let mut lo = Shared::<[Vector<f32, One>]>::new_slice(shape.units);
    merge_units(&mut cube_inertia, &mut hi, &mut lo, zero, shape.units);
    if UNIT_POS == 0 {
        inertia[2 * row] = cube_inertia.hi.extract(0usize);
        inertia[2 * row + 1] = cube_inertia.lo.extract(0usize);
    }
}

/// What [`assign`] leaves on the device.
pub(super) struct Assigned {
    /// `(n_samples)`, int32
    pub labels: Handle,
    /// `(n_samples)`, float32
    pub squared_distances: Handle,
    /// Sums, counts and inertia.
    pub merged: Merged,
}

/// Launches the kernel and the reduction over points `x` `(n_samples, n_features)` and `centroids`
/// `(n_clusters, n_features)`, both contiguous float32.
pub(super) fn assign(
    client: &Client,
    shape: TileShape,
    x: Handle,
    centroids: Handle,
    [n_samples, n_features, n_clusters]: [usize; 3],
) -> Assigned {
    let lanes = shape.lanes(n_clusters);
    let n_rows = shape.rows(n_samples);
    let partial = Partial::new(client, n_rows, n_clusters * n_features, n_clusters);
    let (labels, squared_distances) = (floats(client, n_samples), floats(client, n_samples));
    // SAFETY: the lengths are those of the buffers, and the kernel stays within them: rows are those of the grid,
    // points are below `n_samples` and labels below `n_clusters`.
    unsafe {
        assign_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(n_rows as u32),
            shape.cube_dim(),
            AddressType::from_len(n_samples * n_features),
            shape.vector_size,
            buffer(&x, n_samples * shape.vectors),
            buffer(&centroids, n_clusters * shape.vectors),
            buffer(&labels, n_samples),
            buffer(&squared_distances, n_samples),
            buffer(&partial.sums, 2 * n_rows * n_clusters * shape.vectors),
            buffer(&partial.counts, n_rows * n_clusters),
            buffer(&partial.inertia, 2 * n_rows),
            n_samples,
            n_clusters,
            lanes.slots,
            lanes.owners,
            0,
            shape,
        );
    }
    Assigned { labels, squared_distances, merged: partial.merge(client) }
}
