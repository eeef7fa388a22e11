//! Assignment of points to their nearest centroids, with the sums that the next centroids are made of, in one pass
//! over the points.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::batch::{FIELDS, RUNNING, STATE};
use super::compensated::{One, Total, merge_units};
use super::merge::Partial;
use super::nearest::{Search, SharedCentroids};
use super::shape::{TableShape, TileShape};
use super::slices::{Labelled, sum_slices};
use super::sums::{CubeSums, NO_CLUSTER, Window, partial_row};
use super::{buffer, floats};

/// Cubes walk over tiles; each writes its row of the partial sums, which [`super::merge`] adds up. `values` and `centers` are
/// the numbers of `x` and `centroids` one by one.
#[cube(launch_unchecked, address_type = "dynamic")]
fn assign_kernel<N: Size>(
    x: &[Vector<f32, N>],
    values: &[f32],
    centroids: &[Vector<f32, N>],
    centers: &[f32],
    labels: &mut [i32],
    squared_distances: &mut [f32],
    partial: &mut [u32],
    n_samples: usize,
    n_clusters: usize,
    copies: usize,
    no_fold: u32,
    #[comptime] shape: TileShape,
    #[comptime] sums_shape: TableShape,
) {
    let row = CUBE_POS_X as usize;
    let first = 0usize.runtime();
    let window = Window {
        first,
        low: 0u32.runtime(),
        n_clusters,
        feature: 0usize.runtime(),
        n_features: comptime!(shape.n_features()).runtime(),
        copies,
    };
    let mut shared_centroids = SharedCentroids::<N>::new(first, n_clusters, shape);
    let mut tile_labels = Shared::<[u32]>::new_slice(comptime!(shape.tile()));
    let mut search = Search::<N>::new(shape);
    // The inertia is a sum behind those of the clusters.
    let n_pairs = n_clusters * comptime!(shape.n_features()) + 1;
    let sums_row = partial_row(row, n_pairs, n_clusters, first, 0usize.runtime(), sums_shape);
    let mut cube_sums = CubeSums::new(window, sums_row, true.runtime(), sums_shape);
    let mut cube_inertia = Total::<One>::new();
    if !shape.sliced {
        cube_sums.start(sums_shape);
    }
    shared_centroids.start(centroids, shape);

    let mut tile = row * comptime!(shape.tile());
    while tile < n_samples {
        search.load(x, tile, n_samples, shape);
        shared_centroids.search(&mut search, centroids, true, shape);
        #[unroll]
        for i in 0..shape.points {
            let at = UNIT_POS as usize + i * shape.units;
            let mut label = NO_CLUSTER.runtime();
            if tile + at < n_samples {
                label = search.labels[i];
                labels[tile + at] = label as i32;
                squared_distances[tile + at] = search.squared_distances[i];
                cube_inertia.add(Vector::new(search.squared_distances[i]), no_fold);
            }
            tile_labels[at] = label;
        }
        sync_cube();
        if !shape.sliced {
            let count = comptime!(shape.tile()).runtime();
            let from = 0usize.runtime();
            cube_sums.add_points(values, centers, &tile_labels, tile, from, count, partial, no_fold, sums_shape);
            sync_cube();
        }
        tile += CUBE_COUNT_X as usize * comptime!(shape.tile());
    }
    if !shape.sliced {
        cube_sums.finish(partial, no_fold, sums_shape);
    }
    let mut hi = Shared::<[Vector<f32, One>]>::new_slice(shape.units);
    let mut lo = Shared::<[Vector<f32, One>]>::new_slice(shape.units);
    merge_units(&mut cube_inertia, &mut hi, &mut lo, no_fold, shape.units);
    if UNIT_POS == 0 {
        let at = row * (2 * n_pairs + n_clusters) + n_pairs - 1;
        partial[at] = u32::reinterpret(cube_inertia.hi.extract(0usize));
        partial[at + n_pairs] = u32::reinterpret(cube_inertia.lo.extract(0usize));
    }
}

/// What [`assign`] leaves on the device.
pub(super) struct Assigned {
    /// `(n_samples)`, int32
    pub labels: Handle,
    /// `(n_samples)`, float32
    pub squared_distances: Handle,
    /// `(2, n_clusters * n_features + 1 + n_clusters)`, float32: sums, inertia and counts, in two parts.
    pub totals: Handle,
}

/// Launches the kernel and the reduction over points `x` `(n_samples, n_features)` and `centroids`
/// `(n_clusters, n_features)`, both contiguous float32.
pub(super) fn assign(
    client: &Client,
    shape: TileShape,
    x: &Handle,
    centroids: &Handle,
    [n_samples, n_features, n_clusters]: [usize; 3],
) -> Assigned {
    let n_rows = shape.rows(n_samples, n_clusters);
    let partial = Partial::new(client, n_rows, n_clusters * n_features + 1, n_clusters);
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
            buffer(x, n_samples * shape.vectors),
            buffer(x, n_samples * n_features),
            buffer(centroids, n_clusters * shape.vectors),
            buffer(centroids, n_clusters * n_features),
            buffer(&labels, n_samples),
            buffer(&squared_distances, n_samples),
            buffer(&partial.handle, partial.len()),
            n_samples,
            n_clusters,
            shape.copies(n_clusters),
            0,
            shape,
            shape.whole_table(),
        );
    }
    if shape.sliced {
        let mut table = [0u32; FIELDS];
        table[STATE] = RUNNING;
        let table = client.create_from_slice(u32::as_bytes(&table));
        let points = Labelled { x, labels: &labels, n_samples, piece: n_samples, centroids, first: 0, n_clusters };
        sum_slices(client, shape, &points, (&table, 1, 0), &partial, true);
    }
    let totals = floats(client, 2 * partial.n_columns());
    partial.merge_into(client, &totals, shape.units);
    Assigned { labels, squared_distances, totals }
}

/// As [`assign_kernel`], without the sums.
#[cube(launch_unchecked, address_type = "dynamic")]
fn nearest_kernel<N: Size>(
    x: &[Vector<f32, N>],
    centroids: &[Vector<f32, N>],
    labels: &mut [i32],
    squared_distances: &mut [f32],
    n_samples: usize,
    n_clusters: usize,
    #[comptime] shape: TileShape,
) {
    let mut shared_centroids = SharedCentroids::<N>::new(0usize.runtime(), n_clusters, shape);
    let mut search = Search::<N>::new(shape);
    shared_centroids.start(centroids, shape);
    let mut tile = CUBE_POS_X as usize * comptime!(shape.tile());
    while tile < n_samples {
        search.load(x, tile, n_samples, shape);
        shared_centroids.search(&mut search, centroids, true, shape);
        #[unroll]
        for i in 0..shape.points {
            let point = tile + UNIT_POS as usize + i * shape.units;
            if point < n_samples {
                labels[point] = search.labels[i] as i32;
                squared_distances[point] = search.squared_distances[i];
            }
        }
        tile += CUBE_COUNT_X as usize * comptime!(shape.tile());
    }
}

/// Labels `(n_samples)`, int32, and squared distances `(n_samples)` of points `x` `(n_samples, n_features)` and
/// `centroids` `(n_clusters, n_features)`, both contiguous float32.
pub(super) fn nearest(
    client: &Client,
    shape: TileShape,
    x: Handle,
    centroids: Handle,
    [n_samples, n_features, n_clusters]: [usize; 3],
) -> (Handle, Handle) {
    let (labels, squared_distances) = (floats(client, n_samples), floats(client, n_samples));
    // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its points are below `n_samples`.
    unsafe {
        nearest_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(shape.rows(n_samples, 1) as u32),
            shape.cube_dim(),
            AddressType::from_len(n_samples * n_features),
            shape.vector_size,
            buffer(&x, n_samples * shape.vectors),
            buffer(&centroids, n_clusters * shape.vectors),
            buffer(&labels, n_samples),
            buffer(&squared_distances, n_samples),
            n_samples,
            n_clusters,
            shape,
        );
    }
    (labels, squared_distances)
}
