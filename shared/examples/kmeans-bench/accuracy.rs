//! How far sums over many rows are from float64, where a total in float32 would long have stopped growing.

use burn::tensor::Device;
use rayon::prelude::*;
use shared::kmeans::{KMeansParams, Points, fit_from};
use shared::matrix::Matrix;
use shared::ops;

use crate::data::{first_rows, overlapping};
use crate::{Failure, Options};

/// Largest relative difference of a centroid's coordinate.
const CENTROIDS_WITHIN: f64 = 1e-5;

/// Largest relative difference of inertia.
const INERTIA_WITHIN: f64 = 1e-6;

/// Rows that one thread adds up at a time.
const ROWS_A_CHUNK: usize = 1 << 16;

/// Centroids `(n_clusters, n_features)`, row-major, and a sum of squared distances.
struct Outcome {
    centroids: Vec<f64>,
    inertia: f64,
}

/// Compares one pass, and a short fit, with plain loops in float64 that share nothing with them.
pub fn run(options: &Options, device: &Device) -> Result<bool, Failure> {
    let Options { n_samples, n_features, n_clusters, max_iter, seed, .. } = *options;
    println!("{n_samples} rows of {n_features} features, {n_clusters} clusters, seed {seed}");
    let matrix = overlapping(n_samples, n_features, seed);
    let start = first_rows(&matrix, n_clusters);
    let points = Points::new(matrix, n_clusters, device)?;
    let pass_agrees =
        agree("one pass", &pass(&points, &start, device), &reference_pass(&points.matrix, &widen(&start)));
    let fit = fit(&points, &start, max_iter);
    let fit_agrees =
        agree(&format!("a fit of {max_iter} iterations"), &fit, &reference_fit(&points.matrix, &start, max_iter));
    Ok(pass_agrees && fit_agrees)
}

/// One pass over the points: the means of the clusters that `start` makes, and the inertia of `start`.
fn pass(points: &Points, start: &Matrix, device: &Device) -> Outcome {
    let assignment = ops::assign_and_accumulate(&points.tensor, &start.to_tensor(device));
    Outcome { centroids: means(&assignment.sums, &assignment.counts, &widen(start)), inertia: assignment.inertia }
}

fn fit(points: &Points, start: &Matrix, max_iter: usize) -> Outcome {
    let params = KMeansParams { n_init: 1, max_iter, tol: 0.0, seed: 0 };
    let fit = fit_from(points, start.clone(), &params);
    Outcome { centroids: widen(&fit.centroids), inertia: fit.inertia }
}

fn reference_fit(matrix: &Matrix, start: &Matrix, max_iter: usize) -> Outcome {
    let step = |centroids: Vec<f64>, _| reference_pass(matrix, &centroids).centroids;
    let centroids = (0..max_iter).fold(widen(start), step);
    let inertia = reference_pass(matrix, &centroids).inertia;
    Outcome { centroids, inertia }
}

/// The sums of one pass in float64, one row after the other.
fn reference_pass(matrix: &Matrix, centroids: &[f64]) -> Outcome {
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

/// The mean of each cluster; one without points stays where it is.
fn means(sums: &[f64], counts: &[f64], centroids: &[f64]) -> Vec<f64> {
    let n_features = sums.len() / counts.len();
    let mean = |(index, sum): (usize, &f64)| {
        let count = counts[index / n_features];
        if count > 0.0 { sum / count } else { centroids[index] }
    };
    sums.iter().enumerate().map(mean).collect()
}

/// Prints the largest differences, and tells whether they are within bounds.
fn agree(what: &str, ours: &Outcome, expected: &Outcome) -> bool {
    let differences = ours.centroids.iter().zip(&expected.centroids).map(|(a, b)| relative_difference(*a, *b));
    let centroids = differences.fold(0.0, |a: f64, b| if a >= b { a } else { b });
    let inertia = relative_difference(ours.inertia, expected.inertia);
    println!("{what}: beside float64, centroids differ by at most {centroids:.1e}, inertia by {inertia:.1e}");
    // A difference that is not a number is out of bounds too.
    centroids <= CENTROIDS_WITHIN && inertia <= INERTIA_WITHIN
}

fn relative_difference(a: f64, b: f64) -> f64 {
    if a == b { 0.0 } else { (a - b).abs() / b.abs() }
}

fn widen(matrix: &Matrix) -> Vec<f64> {
    matrix.values().iter().map(|value| f64::from(*value)).collect()
}
