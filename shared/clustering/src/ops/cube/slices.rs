//! Sums of labelled points where shared memory has no room for those of all clusters: a cube takes some clusters and some
//! features of them.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::batch::{FIELDS, RUNNING, STATE};
use super::buffer;
use super::merge::Partial;
use super::shape::{TableShape, TileShape};
use super::sums::{CubeSums, Window, partial_row};

/// Points that have labels.
pub(super) struct Labelled<'a> {
    /// `(n_samples, n_features)`, contiguous float32.
    pub x: &'a Handle,
    /// `(n_samples)`, 32 bits; above `n_clusters` where a point counts for none.
    pub labels: &'a Handle,
    pub n_samples: usize,
    /// Points of a piece, see [`super::batch::DeviceBlock`].
    pub piece: usize,
    /// `(any, n_features)`
    pub centroids: &'a Handle,
    /// Index of the centroid with label 0.
    pub first: usize,
    pub n_clusters: usize,
}

/// Adds points to the rows of `partial`, or begins them, unless run `run` of a table of `n_runs` is done.
pub(super) fn sum_slices(
    client: &Client,
    shape: TileShape,
    points: &Labelled<'_>,
    (table, n_runs, run): (&Handle, usize, usize),
    partial: &Partial,
    is_first: bool,
) {
    let slice = shape.slice(points.n_clusters);
    let n_centers = partial.n_counts * shape.n_features();
    // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its points are below `n_samples`,
    // its rows are those of the grid, and its clusters and features are below those that there are.
    unsafe {
        sum_slices_kernel::launch_unchecked(
            client,
            CubeCount::new_2d((slice.n_feature_slices * slice.n_cluster_slices) as u32, partial.n_rows as u32),
            shape.cube_dim(),
            AddressType::from_len(points.n_samples * shape.n_features()),
            buffer(points.x, points.n_samples * shape.n_features()),
            buffer(points.centroids, n_centers),
            buffer(points.labels, points.n_samples),
            buffer(table, n_runs * FIELDS),
            buffer(&partial.handle, partial.len()),
            points.n_samples,
            points.piece,
            run,
            points.first,
            points.n_clusters,
            slice.n_clusters,
            slice.n_feature_slices,
            slice.copies,
            partial.n_pairs,
            partial.n_counts,
            u32::from(is_first),
            0,
            shape.tile(),
            shape.slice_table(),
        );
    }
}

/// Sums slice `CUBE_POS_X` of the points into row `CUBE_POS_Y`.
#[cube(launch_unchecked, address_type = "dynamic")]
fn sum_slices_kernel(
    values: &[f32],
    centers: &[f32],
    labels: &[u32],
    table: &[u32],
    partial: &mut [u32],
    n_samples: usize,
    piece: usize,
    run: usize,
    first: usize,
    n_clusters: usize,
    slice_clusters: usize,
    n_feature_slices: usize,
    copies: usize,
    n_pairs: usize,
    n_counts: usize,
    begin: u32,
    no_fold: u32,
    #[comptime] tile_points: usize,
    #[comptime] sums_shape: TableShape,
) {
    if table[run * FIELDS + STATE] != RUNNING {
        terminate!();
    }
    let row = CUBE_POS_Y as usize;
    let low = CUBE_POS_X as usize / n_feature_slices * slice_clusters;
    let feature = CUBE_POS_X as usize % n_feature_slices * sums_shape.width;
    let clusters_left = n_clusters - low;
    let features_left = sums_shape.n_features - feature;
    let window = Window {
        first,
        low: low as u32,
        n_clusters: select(clusters_left < slice_clusters, clusters_left, slice_clusters),
        feature,
        n_features: select(features_left < sums_shape.width, features_left, comptime!(sums_shape.width).runtime()),
        copies,
    };
    let sums_row = partial_row(row, n_pairs, n_counts, first + low, feature, sums_shape);
    let mut cube_sums = CubeSums::new(window, sums_row, begin == 1u32, sums_shape);
    cube_sums.start(sums_shape);

    let mut piece_start = 0usize.runtime();
    while piece_start < n_samples {
        let left = n_samples - piece_start;
        let piece_end = piece_start + select(left < piece, left, piece);
        let mut tile = piece_start + row * tile_points;
        while tile < piece_end {
            let rest = piece_end - tile;
            let count = select(rest < tile_points, rest, comptime!(tile_points).runtime());
            cube_sums.add_points(values, centers, labels, tile, tile, count, partial, no_fold, sums_shape);
            tile += CUBE_COUNT_Y as usize * tile_points;
        }
        cube_sums.finish(partial, no_fold, sums_shape);
        piece_start += piece;
    }
}
