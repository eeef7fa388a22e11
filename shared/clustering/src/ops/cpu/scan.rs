//! The inner loop: 16 points against every centroid.
//!
//! A tile of 16 rows is transposed, so that one feature of all 16 lies in one register; four centroids are compared
//! with it at a time, which keeps four chains of additions going. Distances are sums of squared differences from the
//! first feature to the last: the expansion `|x|² - 2xc + |c|²` loses the small distances of large values. Where it
//! settles which centroid is nearest nevertheless, [`screen`](super::screen) uses it.

use super::Rows;
use super::lanes::{Column, LANES, Lanes};

/// Centroids compared at a time.
pub(super) const GROUP: usize = 4;

/// Centroids as the scan reads them: groups of four, feature by feature, the last filled up with infinities, which are
/// nearest to nothing.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    values: Vec<[f32; GROUP]>,
    n_clusters: usize,
    n_features: usize,
}

impl Packed {
    /// How many centroids.
    pub(crate) fn n_clusters(&self) -> usize {
        self.n_clusters
    }

    /// How many features each has.
    pub(super) fn n_features(&self) -> usize {
        self.n_features
    }

    pub(crate) fn new(centroids: Rows<'_>) -> Self {
        let n_features = centroids.n_features;
        let mut values = vec![[f32::INFINITY; GROUP]; centroids.len().div_ceil(GROUP) * n_features];
        for index in 0..centroids.len() {
            for (feature, &value) in centroids.row(index).iter().enumerate() {
                values[index / GROUP * n_features + feature][index % GROUP] = value;
            }
        }
        Self { values, n_clusters: centroids.len(), n_features }
    }
}

/// Up to 16 points, transposed: `n_features` columns.
#[derive(Clone)]
pub(super) struct Tile {
    pub columns: Vec<Column>,
}

impl Tile {
    pub(super) fn new(n_features: usize) -> Self {
        Self { columns: vec![Column([0.0; LANES]); n_features] }
    }

    /// Takes the rows that begin at `offsets` of `values`.
    ///
    /// # Safety
    /// As for [`Lanes`]; whole rows of as many features as the tile has lie at the offsets.
    #[inline(always)]
    pub(super) unsafe fn load<V: Lanes>(&mut self, values: &[f32], offsets: &[usize; LANES]) {
        let n_features = self.columns.len();
        if n_features < 4 {
            for (lane, &offset) in offsets.iter().enumerate() {
                for (column, value) in self.columns.iter_mut().zip(&values[offset..]) {
                    column.0[lane] = *value;
                }
            }
            return;
        }
        for feature in (0..n_features).step_by(4) {
            // The last four overlap with those before where the number is no multiple of four.
            let feature = feature.min(n_features - 4);
            let columns = self.columns[feature..].first_chunk_mut::<4>();
            if let Some(columns) = columns {
                unsafe { V::transpose4(values, offsets, feature, columns) };
            }
        }
    }
}

/// The nearest centroid of 16 points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nearest {
    /// Its index, the lowest on a tie.
    pub labels: [i32; LANES],
    /// The squared distance to it.
    pub best: [f32; LANES],
    /// How much nearer it is than any other, when that was asked for: the difference of the distances, each taken
    /// unfavourably by a relative `margin`; infinite when there is no other.
    pub gap: [f32; LANES],
}

impl Nearest {
    /// Of no points.
    pub(super) const NONE: Self = Self { labels: [0; LANES], best: [0.0; LANES], gap: [0.0; LANES] };
}

/// Finds the nearest centroid of each point of a tile, and how much nearer it is than the next one when `GAP`.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn nearest<V: Lanes, const GAP: bool>(tile: &Tile, centroids: &Packed, margin: f32) -> Nearest {
    unsafe {
        let (mut best, mut second) = (V::splat(f32::INFINITY), V::splat(f32::INFINITY));
        let mut labels = V::splat_int(0);
        for (group, centroids) in centroids.values.chunks_exact(tile.columns.len()).enumerate() {
            let distances = group_distances::<V>(tile, centroids);
            for (index, distance) in distances.into_iter().enumerate() {
                let id = V::splat_int((group * GROUP + index) as i32);
                labels = V::label_if_less(distance, best, id, labels);
                if GAP {
                    second = V::min(second, V::max(best, distance));
                }
                best = V::min(distance, best);
            }
        }
        let gap = if GAP { V::gap(second, 1.0 - margin, best, 1.0 + margin) } else { [0.0; LANES] };
        Nearest { labels: V::ints(labels), best: V::floats(best), gap }
    }
}

/// The `N` smallest squared distances of each point of a tile to these rows, rising.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn smallest<V: Lanes, const N: usize>(tile: &Tile, rows: &Packed) -> [[f32; LANES]; N] {
    unsafe {
        let mut smallest = [V::splat(f32::INFINITY); N];
        for rows in rows.values.chunks_exact(tile.columns.len()) {
            for mut distance in group_distances::<V>(tile, rows) {
                for kept in &mut smallest {
                    let larger = V::max(*kept, distance);
                    *kept = V::min(*kept, distance);
                    distance = larger;
                }
            }
        }
        let mut output = [[0.0; LANES]; N];
        for (output, kept) in output.iter_mut().zip(smallest) {
            *output = V::floats(kept);
        }
        output
    }
}

/// The squared distances of a tile's points to four centroids.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn group_distances<V: Lanes>(tile: &Tile, centroids: &[[f32; GROUP]]) -> [V::Floats; GROUP] {
    unsafe {
        let mut sums = [V::splat(0.0); GROUP];
        for (column, centers) in tile.columns.iter().zip(centroids) {
            let x = V::load(column);
            for (sum, center) in sums.iter_mut().zip(centers) {
                *sum = V::add_squared_difference(*sum, x, V::splat(*center));
            }
        }
        sums
    }
}

/// The squared distance of each point of a tile to the point in the same lane of another.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn between<V: Lanes>(a: &Tile, b: &Tile) -> [f32; LANES] {
    unsafe {
        let mut sum = V::splat(0.0);
        for (a, b) in a.columns.iter().zip(&b.columns) {
            sum = V::add_squared_difference(sum, V::load(a), V::load(b));
        }
        V::floats(sum)
    }
}

/// The squared distances of a tile's points to the centroids, a row of 16 for each of the first `n_centroids`.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
pub(super) unsafe fn distances<V: Lanes>(tile: &Tile, centroids: &Packed, output: &mut [[f32; LANES]]) {
    let groups = centroids.values.chunks_exact(centroids.n_features);
    for (centroids, output) in groups.zip(output.chunks_mut(GROUP)) {
        let distances = unsafe { group_distances::<V>(tile, centroids) };
        for (output, distances) in output.iter_mut().zip(distances) {
            *output = unsafe { V::floats(distances) };
        }
    }
}

/// A bound, four times too large, on the relative error of a distance whose square was summed over the features.
pub(super) fn rounding(n_features: usize) -> f32 {
    (n_features + 8) as f32 * f32::EPSILON
}

/// Squared Euclidean distance, summed from the first feature to the last, to the same bits as the kernels' own.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let fused = super::fused();
    a.iter().zip(b).fold(0.0, |sum, (a, b)| {
        let difference = a - b;
        if fused { difference.mul_add(difference, sum) } else { sum + difference * difference }
    })
}
