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
