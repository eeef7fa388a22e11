//! Greedy k-means++ seeding (Arthur and Vassilvitskii 2007, section 4): each next centroid is drawn with a
//! probability proportional to the squared distance to the closest one so far, several candidates are drawn, and
//! the one that leaves the smallest sum of distances is kept.
//!
//! A step passes over the points once: it takes the last centroid into the distances and weighs the next candidates
//! in one go. Beyond 262,144 points, seeds come from a sample of as many, stratified by position.

use std::borrow::Cow;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{KMeansError, KMeansParams, Members, Points};
use crate::matrix::Matrix;
use crate::ops::cpu::{CHUNK, Packed, Rows, draw_in_chunk, seed_step};
use crate::random::{Purpose, generator};
use crate::sample::stratified;

/// Most points that seeds are drawn from.
const SAMPLE: usize = 1 << 18;

/// Starting centroids `(n_clusters, n_features)` for each of `n_init` restarts; the first k of them are a seeding for k
/// clusters, so one seeding serves a whole sweep.
pub(super) fn seedings(
    points: &Points,
    members: Option<&Members>,
    n_clusters: usize,
    params: &KMeansParams,
) -> Result<Vec<Matrix>, KMeansError> {
    let sample = sample(points, members, params.seed)?;
    let rows = Rows { values: &sample, n_features: points.n_features() };
    let restart = |restart: usize| {
        let chosen = greedy_kmeans_plus_plus(rows, n_clusters.min(rows.len()), params.seed, restart as u64);
        let values = chosen.iter().flat_map(|&index| rows.row(index).iter().copied()).collect();
        Matrix::from_values(rows.n_features, values)
    };
    Ok((0..params.n_init).into_par_iter().map(restart).collect())
}

/// The points to draw from, row by row.
fn sample<'a>(points: &'a Points, members: Option<&Members>, seed: u64) -> Result<Cow<'a, [f32]>, KMeansError> {
    let n_points = members.map_or(points.n_samples(), Members::len);
    let mut rng = generator(seed, Purpose::SeedSample as u16, 0);
    // Rising, so that the points are read from the front to the back.
    let positions = (n_points > SAMPLE).then(|| stratified(n_points, SAMPLE, &mut rng));
    let indices: Vec<usize> = match (members, positions) {
        (None, None) if points.rows().as_slice().is_some() => {
            return Ok(Cow::Borrowed(points.rows().as_slice().unwrap_or_default()));
        }
        (None, None) => (0..n_points).collect(),
        (None, Some(positions)) => positions,
        (Some(members), None) => members.indices().collect(),
        (Some(members), Some(positions)) => {
            let mut wanted = positions.into_iter().peekable();
            let is_wanted = |(position, _): &(usize, usize)| wanted.next_if_eq(position).is_some();
            members.indices().enumerate().filter(is_wanted).map(|(_, index)| index).collect()
        }
    };
    Ok(Cow::Owned(points.gather(&indices)?.into_values()))
}

/// Indices of `n_clusters` rows to start from.
fn greedy_kmeans_plus_plus(rows: Rows<'_>, n_clusters: usize, seed: u64, restart: u64) -> Vec<usize> {
    let mut rng = generator(seed, Purpose::Seeding as u16, restart);
    let n_candidates = 2 + (n_clusters as f64).ln() as usize;
    let mut chosen = vec![rng.random_range(0..rows.len())];
    let mut closest = Closest::new(rows, chosen[0]);
    while chosen.len() < n_clusters {
        let candidates: Vec<usize> = (0..n_candidates).map(|_| closest.draw(&mut rng)).collect();
        chosen.push(closest.choose(&candidates));
    }
    chosen
}

/// Each row's squared distance to the closest of the centroids so far.
struct Closest<'a> {
    rows: Rows<'a>,
    /// `(n_rows)`; the newest centroid is taken in a chunk at a time, when it is next looked at.
    distances: Vec<f32>,
    /// The newest centroid.
    newest: usize,
    /// Whether a chunk's distances know the newest centroid.
    current: Vec<bool>,
    /// The sum of each chunk's distances, the newest centroid included.
    sums: Vec<f64>,
}

impl<'a> Closest<'a> {
    fn new(rows: Rows<'a>, first: usize) -> Self {
        let mut distances = vec![f32::INFINITY; rows.len()];
        let center = packed(rows, &[first]);
        let chunks = distances.par_chunks_mut(CHUNK).enumerate();
        let sums = chunks.map(|(chunk, left)| seed_step(rows.chunk(chunk), left, &center, &mut [])).collect();
        Self { rows, distances, newest: first, current: vec![true; rows.n_chunks()], sums }
    }

    /// Draws a row with a probability proportional to its distance; any row when all distances are zero.
    fn draw(&mut self, rng: &mut ChaCha8Rng) -> usize {
        let total: f64 = self.sums.iter().sum();
        if total <= 0.0 {
            return rng.random_range(0..self.rows.len());
        }
        let mut target = rng.random::<f64>() * total;
        let last = self.sums.iter().rposition(|&sum| sum > 0.0).unwrap_or(0);
        let mut chunk = 0;
        while chunk < last && self.sums[chunk] <= target {
            target -= self.sums[chunk];
            chunk += 1;
        }
        let distances = &mut self.distances[chunk * CHUNK..((chunk + 1) * CHUNK).min(self.rows.len())];
        if !self.current[chunk] {
            seed_step(self.rows.chunk(chunk), distances, &packed(self.rows, &[self.newest]), &mut []);
            self.current[chunk] = true;
        }
        chunk * CHUNK + draw_in_chunk(distances, target)
    }

    /// Makes the candidate that leaves the smallest sum the newest centroid, and returns it.
    fn choose(&mut self, candidates: &[usize]) -> usize {
        let centers: Vec<usize> = std::iter::once(self.newest).chain(candidates.iter().copied()).collect();
        let centers = packed(self.rows, &centers);
        let (rows, n_candidates) = (self.rows, candidates.len());
        let weigh = |(chunk, left): (usize, &mut [f32])| {
            let mut potentials = vec![0.0; n_candidates];
            seed_step(rows.chunk(chunk), left, &centers, &mut potentials);
            potentials
        };
        let chunks: Vec<Vec<f64>> = self.distances.par_chunks_mut(CHUNK).enumerate().map(weigh).collect();
        let potential = |candidate: usize| chunks.iter().map(|potentials| potentials[candidate]).sum::<f64>();
        let potentials: Vec<f64> = (0..n_candidates).map(potential).collect();
        let best = (0..n_candidates).min_by(|&a, &b| potentials[a].total_cmp(&potentials[b])).unwrap_or(0);
        self.sums = chunks.iter().map(|potentials| potentials[best]).collect();
        self.newest = candidates[best];
        self.current.fill(false);
        self.newest
    }
}

fn packed(rows: Rows<'_>, indices: &[usize]) -> Packed {
    let values: Vec<f32> = indices.iter().flat_map(|&index| rows.row(index).iter().copied()).collect();
    Packed::new(Rows { values: &values, ..rows })
}
