//! One round of Lloyd's algorithm over a chunk of points, without the distances that cannot matter.
//!
//! Each point keeps the gap between its distances to the second nearest and to the nearest centroid: its slack. When
//! the centroids move, the gap shrinks by no more than its own centroid moved plus what any other moved, so the label
//! stands while slack is left: a bound in the manner of Hamerly (2010), whose two bounds a point are kept here as
//! their difference, which a round changes by one subtraction. Points whose slack has expired are scanned again.
//!
//! Labels are those of a full scan, rounding included: slack begins with a margin for the rounding of the distances,
//! and every movement is taken a little too long. Sums are kept up to date by the points that change sides.

use super::assign::{Evaluation, stride};
use super::lanes::{LANES, Lanes};
use super::scan::{self, rounding};
use super::screen::{Scan, Screen};
use super::tiles::Tiles;
use super::{Rows, multiversion};

/// Distances below this are lost in the smallest float32; a slack must be larger.
const TINY: f32 = 1e-20;

/// A chunk of which more than 2 in 3 points have to be scanned is scanned whole: in order they come faster, and those that had
/// slack left get more.
const WHOLE: (usize, usize) = (2, 3);

/// A point that changed sides.
#[derive(Debug, Clone, Copy)]
struct Change {
    row: u32,
    old: u16,
    new: u16,
}

/// Memory for rounds to work in.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Positions of points without slack, and their rows.
    expired: Vec<u16>,
    rows: Vec<u16>,
    changes: Vec<Change>,
}

/// What is remembered of a chunk's points: six bytes each.
#[derive(Debug, Default)]
pub(crate) struct LloydChunk {
    labels: Vec<u16>,
    slack: Vec<f32>,
}

/// What a round changed of the clusters' sums and counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SumDelta {
    sums: Vec<f64>,
    counts: Vec<i64>,
    n_features: usize,
}

impl SumDelta {
    fn none(n_clusters: usize, n_features: usize) -> Self {
        Self { sums: vec![0.0; n_clusters * stride(n_features)], counts: vec![0; n_clusters], n_features }
    }

    /// Adds the change to `sums` `(n_clusters, n_features)` and `counts` `(n_clusters)`.
    pub(crate) fn apply(&self, sums: &mut [f64], counts: &mut [i64]) {
        let delta = self.sums.chunks_exact(stride(self.n_features));
        for (sum, delta) in sums.chunks_exact_mut(self.n_features).zip(delta) {
            sum.iter_mut().zip(delta).for_each(|(sum, delta)| *sum += delta);
        }
        for (count, delta) in counts.iter_mut().zip(&self.counts) {
            *count += delta;
        }
    }
}

impl LloydChunk {
    /// The label of each point, in the order of `members` or of the rows.
    pub(crate) fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The labels, without the rest.
    pub(crate) fn into_labels(self) -> Vec<u16> {
        self.labels
    }

    /// The first round: every point is scanned, and all of them are the change. `members` names rows of `x`; without,
    /// it is all of them.
    pub(crate) fn start(x: Rows<'_>, members: Option<&[u16]>, screen: &Screen) -> (Self, SumDelta) {
        let n_points = members.map_or(x.len(), <[u16]>::len);
        let mut chunk = Self { labels: vec![0; n_points], slack: vec![0.0; n_points] };
        let mut delta = SumDelta::none(screen.n_clusters(), x.n_features);
        start_chunk(x, members, screen, &mut chunk, &mut delta);
        (chunk, delta)
    }

    /// A further round, after the centroids moved, by [`shift_table`]; none when no point changed sides.
    pub(crate) fn step(
        &mut self,
        x: Rows<'_>,
        members: Option<&[u16]>,
        screen: &Screen,
        max_shifts: &[f32],
        scratch: &mut Scratch,
    ) -> Option<SumDelta> {
        let Scratch { expired, rows, changes } = scratch;
        expired.clear();
        changes.clear();
        shrink_bounds(&self.labels, &mut self.slack, max_shifts, expired);
        if expired.is_empty() {
            return None;
        }
        if expired.len() * WHOLE.1 > self.labels.len() * WHOLE.0 {
            rescan(x, None, members, screen, self, changes);
        } else if let Some(members) = members {
            rows.clear();
            rows.extend(expired.iter().map(|&position| members[usize::from(position)]));
            rescan(x, Some(expired), Some(rows), screen, self, changes);
        } else {
            rescan(x, Some(expired), Some(expired), screen, self, changes);
        }
        if changes.is_empty() {
            return None;
        }
        let mut delta = SumDelta::none(screen.n_clusters(), x.n_features);
        move_points(x, changes, &mut delta);
        Some(delta)
    }
}

/// The sums and counts of each cluster, for points whose labels are known.
pub(crate) fn sum_labels(x: Rows<'_>, members: Option<&[u16]>, n_clusters: usize, labels: &[u16]) -> SumDelta {
    let mut delta = SumDelta::none(n_clusters, x.n_features);
    sum_chunk(x, members, labels, &mut delta);
    delta
}

/// The count, the inertia and the farthest point of each cluster, for points whose labels are known.
pub(crate) fn evaluate_labels(x: Rows<'_>, members: Option<&[u16]>, centroids: Rows<'_>, labels: &[u16]) -> Evaluation {
    let mut evaluation = Evaluation::empty(centroids.len());
    inspect(x, members, centroids, labels, &mut evaluation);
    evaluation
}

/// By how much each cluster's points may lose slack when the centroids move: how far their own moved and how far any
/// other did. At least 32 values, as [`Lanes::shrink_bounds`] wants them.
pub(crate) fn shift_table(from: Rows<'_>, to: Rows<'_>) -> Vec<f32> {
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
    let max_shift = |cluster: usize| {
        let other = if Some(cluster) == first_cluster { second } else { first };
        ((shifts[cluster] + other) * inflation) as f32
    };
    let mut table: Vec<f32> = (0..from.len()).map(max_shift).collect();
    table.resize(table.len().max(2 * LANES), 0.0);
    table
}

multiversion!(fn start_chunk(x: Rows<'_>, members: Option<&[u16]>, screen: &Screen, chunk: &mut LloydChunk, delta: &mut SumDelta) = start_body);
multiversion!(fn shrink_bounds(labels: &[u16], slack: &mut [f32], max_shifts: &[f32], expired: &mut Vec<u16>) = shrink_body);
multiversion!(fn rescan(x: Rows<'_>, positions: Option<&[u16]>, rows: Option<&[u16]>, screen: &Screen, chunk: &mut LloydChunk, changes: &mut Vec<Change>) = rescan_body);
multiversion!(fn move_points(x: Rows<'_>, changes: &[Change], delta: &mut SumDelta) = move_body);
multiversion!(fn sum_chunk(x: Rows<'_>, members: Option<&[u16]>, labels: &[u16], delta: &mut SumDelta) = sum_body);
multiversion!(fn inspect(x: Rows<'_>, members: Option<&[u16]>, centroids: Rows<'_>, labels: &[u16], evaluation: &mut Evaluation) = inspect_body);

#[inline(always)]
unsafe fn start_body<V: Lanes>(
    x: Rows<'_>,
    members: Option<&[u16]>,
    screen: &Screen,
    chunk: &mut LloydChunk,
    delta: &mut SumDelta,
) {
    let (d, stride) = (x.n_features, stride(x.n_features));
    let mut scan = Scan::<true>::new(x, members, chunk.labels.len(), screen);
    // SAFETY: there is a label and a slack for each point, and labels are below the number of clusters, for which `delta`
    // has room.
    unsafe {
        while let Some(n_tiles) = scan.next::<V>() {
            for which in 0..n_tiles {
                let (tile, nearest) = scan.found(which);
                let labels = chunk.labels[tile.start..tile.start + tile.len].iter_mut().zip(&nearest.labels);
                labels.for_each(|(label, nearest)| *label = *nearest as u16);
                let slacks = chunk.slack[tile.start..tile.start + tile.len].iter_mut().zip(&nearest.gap);
                slacks.for_each(|(slack, gap)| *slack = slack_of(*gap));
                for lane in 0..tile.len {
                    let label = nearest.labels[lane] as usize;
                    *delta.counts.get_unchecked_mut(label) += 1;
                    let point = x.values.as_ptr().add(tile.rows[lane] * d);
                    V::add_row(delta.sums.as_mut_ptr().add(label * stride), point, d, 1.0);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn shrink_body<V: Lanes>(labels: &[u16], slack: &mut [f32], max_shifts: &[f32], expired: &mut Vec<u16>) {
    unsafe { V::shrink_bounds(labels, slack, max_shifts, expired) }
}

#[inline(always)]
unsafe fn rescan_body<V: Lanes>(
    x: Rows<'_>,
    positions: Option<&[u16]>,
    rows: Option<&[u16]>,
    screen: &Screen,
    chunk: &mut LloydChunk,
    changes: &mut Vec<Change>,
) {
    let LloydChunk { labels, slack: slacks } = chunk;
    let n_points = positions.map_or(labels.len(), <[u16]>::len);
    let mut scan = Scan::<true>::new(x, rows, n_points, screen);
    changes.clear();
    changes.reserve(n_points);
    let (found, mut n_changes) = (changes.as_mut_ptr(), 0);
    // SAFETY: positions are those of the chunk's state. There is room for a change of every point, and as many as are counted
    // were written.
    unsafe {
        while let Some(n_tiles) = scan.next::<V>() {
            for which in 0..n_tiles {
                let (tile, nearest) = scan.found(which);
                for lane in 0..tile.len {
                    let position = match positions {
                        Some(positions) => usize::from(*positions.get_unchecked(tile.start + lane)),
                        None => tile.start + lane,
                    };
                    *slacks.get_unchecked_mut(position) = slack_of(nearest.gap[lane]);
                    let label = labels.get_unchecked_mut(position);
                    let (old, new) = (*label, nearest.labels[lane] as u16);
                    *label = new;
                    // Written in any case, and counted if it is one: which points change sides follows no pattern.
                    found.add(n_changes).write(Change { row: tile.rows[lane] as u32, old, new });
                    n_changes += usize::from(old != new);
                }
            }
        }
        changes.set_len(n_changes);
    }
}

#[inline(always)]
unsafe fn move_body<V: Lanes>(x: Rows<'_>, changes: &[Change], delta: &mut SumDelta) {
    let (d, stride) = (x.n_features, stride(x.n_features));
    for &Change { row, old, new } in changes {
        let (old, new) = (usize::from(old), usize::from(new));
        delta.counts[old] -= 1;
        delta.counts[new] += 1;
        let point = x.row(row as usize).as_ptr();
        let sums = delta.sums.as_mut_ptr();
        // SAFETY: the row has `d` values, and `delta` has room for the sums of every cluster that it counts.
        unsafe {
            V::add_row(sums.add(old * stride), point, d, -1.0);
            V::add_row(sums.add(new * stride), point, d, 1.0);
        }
    }
}

#[inline(always)]
unsafe fn sum_body<V: Lanes>(x: Rows<'_>, members: Option<&[u16]>, labels: &[u16], delta: &mut SumDelta) {
    let (d, stride) = (x.n_features, stride(x.n_features));
    for (position, &label) in labels.iter().enumerate() {
        let row = x.row(members.map_or(position, |members| usize::from(members[position])));
        let label = usize::from(label);
        delta.counts[label] += 1;
        let sum = &mut delta.sums[label * stride..(label + 1) * stride];
        // SAFETY: the row has `d` values, and the sum has room for as many, filled up to whole registers.
        unsafe { V::add_row(sum.as_mut_ptr(), row.as_ptr(), d, 1.0) };
    }
}

#[inline(always)]
unsafe fn inspect_body<V: Lanes>(
    x: Rows<'_>,
    members: Option<&[u16]>,
    centroids: Rows<'_>,
    labels: &[u16],
    evaluation: &mut Evaluation,
) {
    let mut tiles = Tiles::new(x, members, labels.len());
    let mut centers = Tiles::new(centroids, Some(labels), labels.len());
    unsafe {
        while let Some(tile) = tiles.next::<V>() {
            let Some(center) = centers.next::<V>() else { return };
            let distances = scan::between::<V>(tiles.tile(), centers.tile());
            for (lane, &distance) in distances.iter().enumerate().take(tile.len) {
                // A label is a row of `centroids`, for which the evaluation has room: `Tiles` looked.
                let label = center.rows[lane];
                *evaluation.counts.get_unchecked_mut(label) += 1;
                *evaluation.inertia.get_unchecked_mut(label) += f64::from(distance);
                let farthest = evaluation.farthest.get_unchecked_mut(label);
                if distance > farthest.1 {
                    *farthest = (tile.rows[lane], distance);
                }
            }
        }
    }
}

/// How much the gap of a point may shrink before its label can be wrong.
#[inline(always)]
fn slack_of(gap: f32) -> f32 {
    gap - TINY
}
