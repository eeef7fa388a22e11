//! How far sums over many rows are from float64, where a total in float32 would long have stopped growing.

use burn::tensor::Device;
use clustering::kmeans::{KMeansParams, Points, fit_from};
use clustering::matrix::Matrix;
use clustering::ops;

use crate::data::{first_rows, overlapping};
use crate::reference::{self, Outcome, widen};
use crate::{Failure, Options};

/// Largest relative difference of a centroid's coordinate.
const CENTROIDS_WITHIN: f64 = 1e-5;

/// Largest relative difference of inertia.
const INERTIA_WITHIN: f64 = 1e-6;

/// Compares one pass, and a short fit, with the reference.
pub fn run(options: &Options, device: &Device) -> Result<bool, Failure> {
    let Options { n_samples, n_features, n_clusters, max_iter, seed, .. } = *options;
    println!("{n_samples} rows of {n_features} features, {n_clusters} clusters, seed {seed}");
    let matrix = overlapping(n_samples, n_features, seed);
    let start = first_rows(&matrix, n_clusters);
    let expected_pass = reference::pass(&matrix, &widen(&start));
    let pass_agrees = agree("one pass", &pass(&matrix, &start, device), &expected_pass);
    let expected_fit = reference::fit(&matrix, &widen(&start), max_iter);
    let fit = fit(matrix, start, max_iter, device)?;
    Ok(agree(&format!("a fit of {max_iter} iterations"), &fit, &expected_fit) && pass_agrees)
}

/// One pass over the points: the means of the clusters that `start` makes, and the inertia of `start`.
fn pass(matrix: &Matrix, start: &Matrix, device: &Device) -> Outcome {
    let assignment = ops::assign_and_accumulate(&matrix.to_tensor(device), &start.to_tensor(device));
    let centroids = reference::means(&assignment.sums, &assignment.counts, &widen(start));
    Outcome { centroids, inertia: assignment.inertia }
}

fn fit(matrix: Matrix, start: Matrix, max_iter: usize, device: &Device) -> Result<Outcome, Failure> {
    let points = Points::new(matrix, start.n_samples(), device)?;
    let params = KMeansParams { n_init: 1, max_iter, tol: 0.0, seed: 0, max_state_bytes: None };
    let (fit, _labels) = fit_from(&points, start, &params)?;
    Ok(Outcome { centroids: widen(&fit.centroids), inertia: fit.inertia })
}

/// Prints the largest differences, and tells whether they are within bounds.
fn agree(what: &str, ours: &Outcome, expected: &Outcome) -> bool {
    let (centroids, inertia) = ours.differences(expected);
    println!("{what}: beside float64, centroids differ by at most {centroids:.1e}, inertia by {inertia:.1e}");
    centroids <= CENTROIDS_WITHIN && inertia <= INERTIA_WITHIN
}
