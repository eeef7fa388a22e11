//! So many rows that a total in float32 would have stopped growing: it has no room for 1 beside 2^24.

#[path = "../examples/kmeans-bench/data.rs"]
mod data;
#[path = "../examples/kmeans-bench/reference.rs"]
mod reference;

use burn::tensor::Device;
use clustering::kmeans::{KMeansParams, Points, fit_from};
use data::{first_rows, overlapping};
use reference::{Outcome, widen};

/// 400 MB of rows; `kmeans-bench accuracy` compares more features, and a single pass.
#[test]
fn fifty_million_rows_fit_as_in_float64() {
    let (n_clusters, max_iter) = (4, 2);
    let matrix = overlapping(50_000_000, 2, 42);
    let start = first_rows(&matrix, n_clusters);
    let expected = reference::fit(&matrix, &widen(&start), max_iter);
    let points = Points::new(matrix, n_clusters, &Device::flex()).unwrap();
    let params = KMeansParams { n_init: 1, max_iter, tol: 0.0, seed: 0, max_state_bytes: None };
    let (fit, _labels) = fit_from(&points, start, &params).unwrap();
    let ours = Outcome { centroids: widen(&fit.centroids), inertia: fit.inertia };
    let (centroids, inertia) = ours.differences(&expected);
    assert!(centroids <= 1e-5 && inertia <= 1e-6, "centroids differ by {centroids:e}, inertia by {inertia:e}");
    assert_eq!(fit.counts.iter().sum::<u64>(), 50_000_000);
}
