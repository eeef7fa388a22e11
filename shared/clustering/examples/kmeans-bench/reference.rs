//! Lloyd's algorithm in float64, in plain loops that share nothing with the engine.

use clustering::matrix::Matrix;
use rayon::prelude::*;

/// Rows that one thread adds up at a time.
const ROWS_A_CHUNK: usize = 1 << 16;

/// Centroids `(n_clusters, n_features)`, row-major, and a sum of squared distances.
pub struct Outcome {
    /// `(n_clusters, n_features)`
    pub centroids: Vec<f64>,
    /// Sum of the squared distances.
    pub inertia: f64,
}

impl Outcome {
    /// The largest relative difference of a centroid's coordinate, and that of inertia, to those of `expected`.
    pub fn differences(&self, expected: &Self) -> (f64, f64) {
        let coordinates = self.centroids.iter().zip(&expected.centroids);
        // A difference that is not a number counts as the largest.
        let larger = |a: f64, b: f64| if a >= b { a } else { b };
        let centroids = coordinates.map(|(a, b)| relative_difference(*a, *b)).fold(0.0, larger);
        (centroids, relative_difference(self.inertia, expected.inertia))
    }
}

fn relative_difference(a: f64, b: f64) -> f64 {
    if a == b { 0.0 } else { (a - b).abs() / b.abs() }
}

/// `max_iter` passes, each from the means of the one before, and the inertia at their end.
pub fn fit(matrix: &Matrix, start: &[f64], max_iter: usize) -> Outcome {
    let centroids = (0..max_iter).fold(start.to_vec(), |centroids, _| pass(matrix, &centroids).centroids);
    let inertia = pass(matrix, &centroids).inertia;
    Outcome { centroids, inertia }
}

/// The means of the clusters that `centroids` make, and the inertia of `centroids`.
pub fn pass(matrix: &Matrix, centroids: &[f64]) -> Outcome {
    let n_features = matrix.n_features();
    let nothing = || (vec![0.0; centroids.len()], vec![0.0; centroids.len() / n_features], 0.0);
    let chunks = matrix.values().par_chunks(ROWS_A_CHUNK * n_features);
    let (sums, counts, inertia) = chunks
        .fold(nothing, |mut sums, rows| {
            rows.chunks_exact(n_features).for_each(|row| add(row, centroids, &mut sums));
            sums
        })
        .reduce(nothing, merge);
    Outcome { centroids: means(&sums, &counts, centroids), inertia }
}

/// The mean of each cluster; one without points stays where it is.
pub fn means(sums: &[f64], counts: &[f64], centroids: &[f64]) -> Vec<f64> {
    let n_features = sums.len() / counts.len();
    let mean = |(index, sum): (usize, &f64)| {
        let count = counts[index / n_features];
        if count > 0.0 { sum / count } else { centroids[index] }
    };
    sums.iter().enumerate().map(mean).collect()
}

/// The values of `matrix`, row by row.
pub fn widen(matrix: &Matrix) -> Vec<f64> {
    matrix.values().iter().map(|value| f64::from(*value)).collect()
}

/// Sums `(n_clusters, n_features)`, counts `(n_clusters)` and inertia.
type Sums = (Vec<f64>, Vec<f64>, f64);

fn add(row: &[f32], centroids: &[f64], (sums, counts, inertia): &mut Sums) {
    let mut nearest = (f64::INFINITY, 0);
    for (cluster, centroid) in centroids.chunks_exact(row.len()).enumerate() {
        let squared_distance = row.iter().zip(centroid).map(|(x, c)| (f64::from(*x) - c).powi(2)).sum();
        if squared_distance < nearest.0 {
            nearest = (squared_distance, cluster);
        }
    }
    let (squared_distance, cluster) = nearest;
    let own = &mut sums[cluster * row.len()..(cluster + 1) * row.len()];
    own.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    counts[cluster] += 1.0;
    *inertia += squared_distance;
}

fn merge(mut a: Sums, b: Sums) -> Sums {
    a.0.iter_mut().zip(&b.0).for_each(|(a, b)| *a += b);
    a.1.iter_mut().zip(&b.1).for_each(|(a, b)| *a += b);
    (a.0, a.1, a.2 + b.2)
}
