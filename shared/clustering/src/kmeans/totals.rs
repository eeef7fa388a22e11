//! What the next centroids are made of.

use crate::matrix::Matrix;

/// Sums of each cluster's points, `(n_clusters, n_features)` row by row, and how many there are, `(n_clusters)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Totals {
    pub sums: Vec<f64>,
    pub counts: Vec<i64>,
}

impl Totals {
    pub(super) fn zeros(centroids: &Matrix) -> Self {
        Self { sums: vec![0.0; centroids.values().len()], counts: vec![0; centroids.n_samples()] }
    }

    /// How many clusters have no point.
    pub(super) fn n_empty(&self) -> usize {
        self.counts.iter().filter(|&&count| count == 0).count()
    }

    /// The means, `(n_clusters, n_features)`. A cluster that is empty has none, and stays where it is: there are fewer
    /// distinct points than clusters.
    pub(super) fn means(&self, old: &Matrix) -> Matrix {
        let n_features = old.n_features();
        let mean = |cluster: usize| {
            let count = self.counts[cluster];
            let sums = &self.sums[cluster * n_features..(cluster + 1) * n_features];
            let old = old.row(cluster);
            (0..n_features).map(move |j| if count > 0 { (sums[j] / count as f64) as f32 } else { old[j] })
        };
        Matrix::from_values(n_features, (0..old.n_samples()).flat_map(mean).collect())
    }

    /// Whether these sums, which were kept up to date by differences, have lost what matters beside `fresh` ones of the same
    /// points: whether a mean is off by more than a millionth of how large it is and how far its points are from it, by
    /// the clusters' `inertia` `(n_clusters)`.
    pub(super) fn have_decayed(&self, fresh: &Self, inertia: &[f64]) -> bool {
        const NEGLIGIBLE: f64 = 1e-6;
        let n_features = self.sums.len() / self.counts.len().max(1);
        let length = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let has_decayed = |cluster: usize| {
            let count = fresh.counts[cluster].max(1) as f64;
            let range = cluster * n_features..(cluster + 1) * n_features;
            let (kept, fresh) = (&self.sums[range.clone()], &fresh.sums[range]);
            let error = length(&mut kept.iter().zip(fresh).map(|(kept, fresh)| (kept - fresh) / count));
            let size = length(&mut fresh.iter().map(|sum| sum / count)) + (inertia[cluster] / count).sqrt();
            error > NEGLIGIBLE * size
        };
        (0..self.counts.len()).any(has_decayed)
    }

    /// Gives each empty cluster the farthest point that can be moved, out of the cluster it was in.
    pub(super) fn fill_empty(&mut self, farthest: &Farthest) {
        let mut candidates = farthest.points.iter();
        for empty in (0..self.counts.len()).filter(|&cluster| self.counts[cluster] == 0).collect::<Vec<_>>() {
            let movable = |point: &&FarPoint| point.distance > 0.0 && self.counts[point.label] > 1;
            let Some(point) = candidates.find(movable) else { return };
            self.counts[point.label] -= 1;
            self.counts[empty] = 1;
            let n_features = point.row.len();
            for (j, &value) in point.row.iter().enumerate() {
                self.sums[point.label * n_features + j] -= f64::from(value);
                self.sums[empty * n_features + j] = f64::from(value);
            }
        }
    }
}

/// A point and how far it is from its centroid.
#[derive(Debug, Clone, PartialEq)]
struct FarPoint {
    label: usize,
    /// Squared.
    distance: f32,
    row: Vec<f32>,
}

/// The points that are farthest from their centroids, the farthest first; of equals, the first in order.
#[derive(Debug, Clone)]
pub(super) struct Farthest {
    points: Vec<FarPoint>,
    most: usize,
}

impl Farthest {
    /// As many as can be needed to fill the empty clusters: each cluster may once have a point that cannot be moved,
    /// because it is the last.
    pub(super) fn for_empty(totals: &Totals) -> Self {
        Self { points: Vec::new(), most: totals.n_empty() + totals.counts.len() }
    }

    /// Whether the next point in order, at this distance, is one of them so far.
    pub(super) fn wants(&self, distance: f32) -> bool {
        self.points.len() < self.most || self.points.last().is_some_and(|last| last.distance < distance)
    }

    /// These points and those of `later`, which come after them in order.
    pub(super) fn followed_by(mut self, later: Self) -> Self {
        later.points.into_iter().for_each(|FarPoint { label, distance, row }| self.offer(label, distance, &row));
        self
    }

    /// Looks at the next point in order.
    pub(super) fn offer(&mut self, label: usize, distance: f32, row: &[f32]) {
        if !self.wants(distance) {
            return;
        }
        let at = self.points.partition_point(|point| point.distance >= distance);
        self.points.insert(at, FarPoint { label, distance, row: row.to_vec() });
        self.points.truncate(self.most);
    }
}

/// The centroids' squared shift, all features of all centroids together.
pub(super) fn squared_shift(from: &Matrix, to: &Matrix) -> f64 {
    from.values().iter().zip(to.values()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}
