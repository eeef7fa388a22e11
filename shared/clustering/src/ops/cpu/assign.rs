//! Every point's nearest centroid, and what is summed over the points of each cluster.

use rayon::prelude::*;

use super::lanes::Lanes;
use super::scan::{self, Packed};
use super::screen::{Scan, Screen};
use super::tiles::Tiles;
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
    let screen = Screen::for_distances(centroids, x.len());
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
                assign_chunk(chunk, &screen, labels, distances, part_sums, part_counts, part_inertia);
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
    let screen = Screen::for_distances(centroids, x.len());
    let (mut labels, mut distances) = (vec![0i32; x.len()], vec![0f32; x.len()]);
    let chunks = labels.par_chunks_mut(CHUNK).zip(distances.par_chunks_mut(CHUNK)).enumerate();
    chunks.for_each(|(index, (labels, distances))| nearest_chunk(x.chunk(index), &screen, labels, distances));
    (labels, distances)
}

/// The label of each row of a chunk that `members` names.
pub(crate) fn labels(x: Rows<'_>, members: &[u16], centroids: &Packed) -> Vec<u16> {
    let mut labels = vec![0; members.len()];
    label_chunk(x, members, centroids, &mut labels);
    labels
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

multiversion!(fn assign_chunk(x: Rows<'_>, screen: &Screen, labels: &mut [i32], distances: &mut [f32], sums: &mut [f64], counts: &mut [f64], inertia: &mut f64) = assign_body);
multiversion!(fn nearest_chunk(x: Rows<'_>, screen: &Screen, labels: &mut [i32], distances: &mut [f32]) = nearest_body);
multiversion!(fn label_chunk(x: Rows<'_>, members: &[u16], centroids: &Packed, labels: &mut [u16]) = label_body);

#[inline(always)]
unsafe fn assign_body<V: Lanes>(
    x: Rows<'_>,
    screen: &Screen,
    labels: &mut [i32],
    distances: &mut [f32],
    sums: &mut [f64],
    counts: &mut [f64],
    inertia: &mut f64,
) {
    let (d, stride) = (x.n_features, stride(x.n_features));
    let mut scan = Scan::<false>::new(x, None, labels.len(), screen);
    // SAFETY: there is a label for each row, and labels are below the number of clusters, for which there are sums.
    unsafe {
        while let Some(n_tiles) = scan.next::<V>() {
            for which in 0..n_tiles {
                let (tile, nearest) = scan.found(which);
                for lane in 0..tile.len {
                    let (position, label) = (tile.start + lane, nearest.labels[lane] as usize);
                    *labels.get_unchecked_mut(position) = label as i32;
                    *distances.get_unchecked_mut(position) = nearest.best[lane];
                    *counts.get_unchecked_mut(label) += 1.0;
                    *inertia += f64::from(nearest.best[lane]);
                    V::add_row(sums.as_mut_ptr().add(label * stride), x.values.as_ptr().add(position * d), d, 1.0);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn nearest_body<V: Lanes>(x: Rows<'_>, screen: &Screen, labels: &mut [i32], distances: &mut [f32]) {
    let mut scan = Scan::<false>::new(x, None, labels.len(), screen);
    unsafe {
        while let Some(n_tiles) = scan.next::<V>() {
            for which in 0..n_tiles {
                let (tile, nearest) = scan.found(which);
                let range = tile.start..tile.start + tile.len;
                labels[range.clone()].copy_from_slice(&nearest.labels[..tile.len]);
                distances[range].copy_from_slice(&nearest.best[..tile.len]);
            }
        }
    }
}

#[inline(always)]
unsafe fn label_body<V: Lanes>(x: Rows<'_>, members: &[u16], centroids: &Packed, labels: &mut [u16]) {
    let mut tiles = Tiles::new(x, Some(members), labels.len());
    unsafe {
        while let Some(tile) = tiles.next::<V>() {
            let nearest = scan::nearest::<V, false>(tiles.tile(), centroids, 0.0);
            let labels = labels[tile.start..tile.start + tile.len].iter_mut();
            labels.zip(&nearest.labels).for_each(|(label, nearest)| *label = *nearest as u16);
        }
    }
}
