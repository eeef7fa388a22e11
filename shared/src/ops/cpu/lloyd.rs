//! One round of Lloyd's algorithm over a chunk of points, without the distances that cannot matter.
//!
//! Each point keeps the gap between its distances to the second nearest and to the nearest centroid: its slack. When
//! the centroids move, the gap shrinks by no more than its own centroid moved plus what any other moved, so the label
//! stands while slack is left: a bound in the manner of Hamerly (2010), whose two bounds a point are kept here as
//! their difference, which a round changes by one subtraction. Points whose slack is spent are scanned again.
//!
//! Labels are those of a full scan, rounding included: slack begins with a margin for the rounding of the distances,
//! and every movement is taken a little too long. Sums are kept up to date by the points that change sides.

use super::assign::{each_block, stride, without_padding};
use super::lanes::{LANES, Lanes};
use super::scan::{Nearest, Packed};
use super::{Rows, multiversion};

/// Distances below this are lost in the smallest float32; a slack must be larger.
const TINY: f32 = 1e-20;

/// What is remembered of a chunk's points: six bytes each.
#[derive(Debug, Default)]
pub(crate) struct LloydChunk {
    labels: Vec<u16>,
    slack: Vec<f32>,
}

/// What a round changed of the clusters' sums and counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moved {
    sums: Vec<f64>,
    counts: Vec<i64>,
    n_features: usize,
}

impl Moved {
    fn none(n_clusters: usize, n_features: usize) -> Self {
        Self { sums: vec![0.0; n_clusters * stride(n_features)], counts: vec![0; n_clusters], n_features }
    }

    /// Adds the change to `sums` `(n_clusters, n_features)` and `counts` `(n_clusters)`.
    pub(crate) fn apply(&self, sums: &mut [f64], counts: &mut [i64]) {
        for (sum, moved) in sums.iter_mut().zip(without_padding(&self.sums, self.n_features)) {
            *sum += moved;
        }
        for (count, moved) in counts.iter_mut().zip(&self.counts) {
            *count += moved;
        }
    }
}

impl LloydChunk {
    /// The label of each point, in the order of `members` or of the rows.
    pub(crate) fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The first round: every point is scanned, and all of them are the change. `members` names rows of `x`; without,
    /// it is all of them.
    pub(crate) fn start(x: Rows<'_>, members: Option<&[u16]>, centroids: &Packed) -> (Self, Moved) {
        let n_points = members.map_or(x.len(), <[u16]>::len);
        let mut chunk = Self { labels: vec![0; n_points], slack: vec![0.0; n_points] };
        let mut moved = Moved::none(centroids.n_clusters(), x.n_features);
        start_chunk(x, members, centroids, &mut chunk, &mut moved);
        (chunk, moved)
    }

    /// A further round, after the centroids moved as `drift` says; none when no point changed sides. `spent` is memory
    /// to work in.
    pub(crate) fn step(
        &mut self,
        x: Rows<'_>,
        members: Option<&[u16]>,
        centroids: &Packed,
        drift: &[f32],
        spent: &mut Vec<u16>,
    ) -> Option<Moved> {
        spent.clear();
        spend(&self.labels, &mut self.slack, drift, spent);
        if spent.is_empty() {
            return None;
        }
        let mut moved = None;
        rescan(x, members, centroids, self, spent, &mut moved);
        moved
    }
}

/// By how much each cluster's points may lose slack when the centroids move: how far their own moved and how far any
/// other did. At least 32 values, as [`Lanes::spend`] wants them.
pub(crate) fn drift_table(from: Rows<'_>, to: Rows<'_>) -> Vec<f32> {
    let distance = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    let shift = |cluster: usize| from.row(cluster).iter().zip(to.row(cluster)).map(distance).sum::<f64>().sqrt();
    let shifts: Vec<f64> = (0..from.len()).map(shift).collect();
    let longest = |skip: Option<usize>| {
        let others = shifts.iter().enumerate().filter(|(cluster, _)| Some(*cluster) != skip);
        others.map(|(_, shift)| *shift).fold(0.0, f64::max)
    };
    let first = longest(None);
    let first_cluster = shifts.iter().position(|&shift| shift == first);
    let second = longest(first_cluster);
    let inflation = 1.0 + f64::from(2.0 * rounding(from.n_features) + 4.0 * f32::EPSILON);
    let drift = |cluster: usize| {
        let other = if Some(cluster) == first_cluster { second } else { first };
        ((shifts[cluster] + other) * inflation) as f32
    };
    let mut table: Vec<f32> = (0..from.len()).map(drift).collect();
    table.resize(table.len().max(2 * LANES), 0.0);
    table
}

/// A bound, four times too large, on the relative error of a distance whose square was summed over the features.
fn rounding(n_features: usize) -> f32 {
    (n_features + 8) as f32 * f32::EPSILON
}

multiversion!(fn start_chunk(x: Rows<'_>, members: Option<&[u16]>, centroids: &Packed, chunk: &mut LloydChunk, moved: &mut Moved) = start_body);
multiversion!(fn spend(labels: &[u16], slack: &mut [f32], drift: &[f32], spent: &mut Vec<u16>) = spend_body);
multiversion!(fn rescan(x: Rows<'_>, members: Option<&[u16]>, centroids: &Packed, chunk: &mut LloydChunk, spent: &[u16], moved: &mut Option<Moved>) = rescan_body);

#[inline(always)]
unsafe fn start_body<V: Lanes>(
    x: Rows<'_>,
    members: Option<&[u16]>,
    centroids: &Packed,
    chunk: &mut LloydChunk,
    moved: &mut Moved,
) {
    let stride = stride(x.n_features);
    let row = |position: usize| members.map_or(position, |members| usize::from(members[position]));
    unsafe {
        each_block::<V, true>(x, chunk.labels.len(), row, centroids, |start, lanes, nearest| {
            let slack = slack(nearest, x.n_features);
            chunk.slack[start..start + lanes].copy_from_slice(&slack[..lanes]);
            for lane in 0..lanes {
                let label = nearest.labels[lane] as usize;
                chunk.labels[start + lane] = label as u16;
                moved.counts[label] += 1;
                V::add_row(&mut moved.sums[label * stride..(label + 1) * stride], x.row(row(start + lane)), 1.0);
            }
        });
    }
}

#[inline(always)]
unsafe fn spend_body<V: Lanes>(labels: &[u16], slack: &mut [f32], drift: &[f32], spent: &mut Vec<u16>) {
    unsafe { V::spend(labels, slack, drift, spent) }
}

#[inline(always)]
unsafe fn rescan_body<V: Lanes>(
    x: Rows<'_>,
    members: Option<&[u16]>,
    centroids: &Packed,
    chunk: &mut LloydChunk,
    spent: &[u16],
    moved: &mut Option<Moved>,
) {
    let stride = stride(x.n_features);
    let LloydChunk { labels, slack: slacks } = chunk;
    let position = |at: usize| usize::from(spent[at]);
    let row = |at: usize| members.map_or(position(at), |members| usize::from(members[position(at)]));
    unsafe {
        each_block::<V, true>(x, spent.len(), row, centroids, |start, lanes, nearest| {
            let slack = slack(nearest, x.n_features);
            for lane in 0..lanes {
                let position = position(start + lane);
                slacks[position] = slack[lane];
                let (old, new) = (usize::from(labels[position]), nearest.labels[lane] as usize);
                if old != new {
                    labels[position] = new as u16;
                    let moved = moved.get_or_insert_with(|| Moved::none(centroids.n_clusters(), x.n_features));
                    let point = x.row(row(start + lane));
                    moved.counts[old] -= 1;
                    moved.counts[new] += 1;
                    V::add_row(&mut moved.sums[old * stride..(old + 1) * stride], point, -1.0);
                    V::add_row(&mut moved.sums[new * stride..(new + 1) * stride], point, 1.0);
                }
            }
        });
    }
}

/// How much the gap of each point may shrink before its label can be wrong.
#[inline(always)]
fn slack(nearest: &Nearest, n_features: usize) -> [f32; LANES] {
    let margin = 2.0 * rounding(n_features);
    std::array::from_fn(|lane| {
        let (best, second) = (nearest.best[lane].sqrt(), nearest.second[lane].sqrt());
        second * (1.0 - margin) - best * (1.0 + margin) - TINY
    })
}
