//! Every point's nearest centroid, and what is summed over the points of each cluster.

use rayon::prelude::*;

use super::lanes::{LANES, Lanes};
use super::scan::{self, Nearest, Packed, Tile};
use super::{CHUNK, Rows, multiversion};

/// Chunks whose sums are held at a time before they are merged.
const WAVE: usize = 1024;

/// Result of [`assign`] over all points; shapes as in [`crate::ops::Assignment`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AssignOutput {
    pub labels: Vec<i32>,
    pub squared_distances: Vec<f32>,
    pub sums: Vec<f64>,
    pub counts: Vec<f64>,
    pub inertia: f64,
}

/// What clusters are like, without a value a point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Evaluation {
    /// How many points each cluster has.
    pub counts: Vec<u64>,
    /// Sum of their squared distances to the centroid.
    pub inertia: Vec<f64>,
    /// The farthest point of each cluster, the first on a tie: its index and its squared distance.
    pub farthest: Vec<(usize, f32)>,
}

impl Evaluation {
    pub(crate) fn empty(n_clusters: usize) -> Self {
        Self {
            counts: vec![0; n_clusters],
            inertia: vec![0.0; n_clusters],
            farthest: vec![(usize::MAX, f32::NEG_INFINITY); n_clusters],
        }
    }

    /// Adds the next point in order.
    #[inline(always)]
    pub(crate) fn add(&mut self, index: usize, label: usize, distance: f32) {
        self.counts[label] += 1;
        self.inertia[label] += f64::from(distance);
        if distance > self.farthest[label].1 {
            self.farthest[label] = (index, distance);
        }
    }

    /// Adds a later chunk, whose first row is row `first_row`.
    pub(crate) fn merge(&mut self, later: &Self, first_row: usize) {
        for cluster in 0..self.counts.len() {
            self.counts[cluster] += later.counts[cluster];
            self.inertia[cluster] += later.inertia[cluster];
            let (index, distance) = later.farthest[cluster];
            if distance > self.farthest[cluster].1 {
                self.farthest[cluster] = (first_row + index, distance);
            }
        }
    }
}

/// Assigns all points and sums each cluster's.
pub(crate) fn assign(x: Rows<'_>, centroids: Rows<'_>) -> AssignOutput {
    let (n_clusters, stride) = (centroids.len(), stride(x.n_features));
    let packed = Packed::new(centroids);
    let mut labels = vec![0i32; x.len()];
    let mut squared_distances = vec![0f32; x.len()];
    let (mut sums, mut counts, mut inertia) = (vec![0.0; n_clusters * stride], vec![0.0; n_clusters], 0.0);
    let waves = labels.chunks_mut(WAVE * CHUNK).zip(squared_distances.chunks_mut(WAVE * CHUNK));
    for (wave, (labels, distances)) in waves.enumerate() {
        let chunks = labels.par_chunks_mut(CHUNK).zip(distances.par_chunks_mut(CHUNK)).enumerate();
        let parts: Vec<_> = chunks
            .map(|(index, (labels, distances))| {
                let mut part = (vec![0.0; sums.len()], vec![0.0; n_clusters], 0.0);
                let (part_sums, part_counts, part_inertia) = (&mut part.0, &mut part.1, &mut part.2);
                let chunk = x.chunk(wave * WAVE + index);
                assign_chunk(chunk, &packed, labels, distances, part_sums, part_counts, part_inertia);
                part
            })
            .collect();
        for (part_sums, part_counts, part_inertia) in parts {
            add(&mut sums, &part_sums);
            add(&mut counts, &part_counts);
            inertia += part_inertia;
        }
    }
    AssignOutput { labels, squared_distances, sums: without_padding(&sums, x.n_features), counts, inertia }
}

/// Each point's nearest centroid and the squared distance to it.
pub(crate) fn nearest(x: Rows<'_>, centroids: Rows<'_>) -> (Vec<i32>, Vec<f32>) {
    let packed = Packed::new(centroids);
    let (mut labels, mut distances) = (vec![0i32; x.len()], vec![0f32; x.len()]);
    let chunks = labels.par_chunks_mut(CHUNK).zip(distances.par_chunks_mut(CHUNK)).enumerate();
    chunks.for_each(|(index, (labels, distances))| nearest_chunk(x.chunk(index), &packed, labels, distances));
    (labels, distances)
}

/// Evaluates centroids over one chunk, or over those of its rows that `members` names: what the
/// clusters are like, and each point's label. Farthest points are named by their row in the chunk.
pub(crate) fn evaluate(x: Rows<'_>, members: Option<&[u16]>, centroids: &Packed) -> (Evaluation, Vec<u16>) {
    let mut evaluation = Evaluation::empty(centroids.n_clusters());
    let mut labels = vec![0; members.map_or(x.len(), <[u16]>::len)];
    evaluate_chunk(x, members, centroids, &mut evaluation, &mut labels);
    (evaluation, labels)
}

/// Values that a cluster's sum takes: whole registers of eight float64.
pub(super) fn stride(n_features: usize) -> usize {
    n_features.next_multiple_of(8)
}

/// The sums `(n_clusters, n_features)` without what fills up the registers.
pub(super) fn without_padding(sums: &[f64], n_features: usize) -> Vec<f64> {
    sums.chunks_exact(stride(n_features)).flat_map(|sum| &sum[..n_features]).copied().collect()
}

fn add(total: &mut [f64], part: &[f64]) {
    total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
}

multiversion!(fn assign_chunk(x: Rows<'_>, centroids: &Packed, labels: &mut [i32], distances: &mut [f32], sums: &mut [f64], counts: &mut [f64], inertia: &mut f64) = assign_body);
multiversion!(fn nearest_chunk(x: Rows<'_>, centroids: &Packed, labels: &mut [i32], distances: &mut [f32]) = nearest_body);
multiversion!(fn evaluate_chunk(x: Rows<'_>, members: Option<&[u16]>, centroids: &Packed, evaluation: &mut Evaluation, labels: &mut [u16]) = evaluate_body);

#[inline(always)]
unsafe fn assign_body<V: Lanes>(
    x: Rows<'_>,
    centroids: &Packed,
    labels: &mut [i32],
    distances: &mut [f32],
    sums: &mut [f64],
    counts: &mut [f64],
    inertia: &mut f64,
) {
    let stride = stride(x.n_features);
    unsafe {
        each_block::<V, false>(
            x,
            x.len(),
            |row| row,
            centroids,
            |start, lanes, nearest| {
                labels[start..start + lanes].copy_from_slice(&nearest.labels[..lanes]);
                distances[start..start + lanes].copy_from_slice(&nearest.best[..lanes]);
                for lane in 0..lanes {
                    let label = nearest.labels[lane] as usize;
                    counts[label] += 1.0;
                    *inertia += f64::from(nearest.best[lane]);
                    V::add_row(&mut sums[label * stride..(label + 1) * stride], x.row(start + lane), 1.0);
                }
            },
        );
    }
}

#[inline(always)]
unsafe fn nearest_body<V: Lanes>(x: Rows<'_>, centroids: &Packed, labels: &mut [i32], distances: &mut [f32]) {
    unsafe {
        each_block::<V, false>(
            x,
            x.len(),
            |row| row,
            centroids,
            |start, lanes, nearest| {
                labels[start..start + lanes].copy_from_slice(&nearest.labels[..lanes]);
                distances[start..start + lanes].copy_from_slice(&nearest.best[..lanes]);
            },
        );
    }
}

#[inline(always)]
unsafe fn evaluate_body<V: Lanes>(
    x: Rows<'_>,
    members: Option<&[u16]>,
    centroids: &Packed,
    evaluation: &mut Evaluation,
    labels: &mut [u16],
) {
    let row = |position: usize| members.map_or(position, |members| usize::from(members[position]));
    unsafe {
        each_block::<V, false>(x, labels.len(), row, centroids, |start, lanes, nearest| {
            for lane in 0..lanes {
                let (label, distance) = (nearest.labels[lane] as usize, nearest.best[lane]);
                labels[start + lane] = label as u16;
                evaluation.add(row(start + lane), label, distance);
            }
        });
    }
}

/// Scans `n_points` points, 16 at a time: the point at a position is row `row(position)` of `x`. `visit` gets the first
/// position of a block, how many points it has, and what was found.
///
/// # Safety
/// As for [`Lanes`]; the rows are rows of `x`.
#[inline(always)]
pub(super) unsafe fn each_block<V: Lanes, const SECOND: bool>(
    x: Rows<'_>,
    n_points: usize,
    row: impl Fn(usize) -> usize,
    centroids: &Packed,
    mut visit: impl FnMut(usize, usize, &Nearest),
) {
    unsafe {
        each_tile::<V>(x, n_points, row, |start, lanes, tile| {
            visit(start, lanes, &scan::nearest::<V, SECOND>(tile, centroids));
        });
    }
}

/// Transposes `n_points` points, 16 at a time, as [`each_block`] does, and leaves the rest to `visit`.
///
/// # Safety
/// As for [`each_block`].
#[inline(always)]
pub(super) unsafe fn each_tile<V: Lanes>(
    x: Rows<'_>,
    n_points: usize,
    row: impl Fn(usize) -> usize,
    mut visit: impl FnMut(usize, usize, &Tile),
) {
    let mut tile = Tile::new(x.n_features);
    for start in (0..n_points).step_by(LANES) {
        let lanes = LANES.min(n_points - start);
        // Lanes without a point repeat the last one.
        let offset = |lane: usize| row(start + lane.min(lanes - 1)) * x.n_features;
        let offsets: [usize; LANES] = std::array::from_fn(offset);
        unsafe { tile.load::<V>(x.values, &offsets) };
        visit(start, lanes, &tile);
    }
}
