//! k-means for every k of a range over the same points.

use rayon::prelude::*;

use super::init::{gather_matrix, greedy_kmeans_plus_plus};
use super::lloyd::lloyd;
use super::{KMeansFit, KMeansParams, Points};
use crate::matrix::Matrix;

/// The best run for each k of 1..=`max_k`, in order.
///
/// Every restart draws one seeding of `max_k` centroids, of which the first k start the run for k. After that, each
/// k is tried once more from the best centroids of k - 1 and the point farthest from them, so that inertia never
/// rises with k. `on_run` is called after every restart's run, from any thread.
pub fn fit_sweep(points: &Points, max_k: usize, params: &KMeansParams, on_run: &(dyn Fn() + Sync)) -> Vec<KMeansFit> {
    let restarts: Vec<u64> = (0..params.n_init as u64).collect();
    let seedings: Vec<Vec<usize>> =
        side_by_side(points, &restarts, |&restart| greedy_kmeans_plus_plus(points, max_k, params.seed, restart));
    let runs: Vec<(usize, usize)> =
        (1..=max_k).rev().flat_map(|k| (0..seeds_for(k, params)).map(move |r| (k, r))).collect();
    let fits = side_by_side(points, &runs, |&(k, restart)| {
        let fit = lloyd(points, gather_matrix(&points.matrix, &seedings[restart][..k]), params);
        on_run();
        (k, fit)
    });
    let mut best: Vec<Option<KMeansFit>> = vec![None; max_k];
    for (k, fit) in fits {
        let slot = &mut best[k - 1];
        if slot.as_ref().is_none_or(|best| fit.beats(best)) {
            *slot = Some(fit);
        }
    }
    refine(points, best.into_iter().flatten().collect(), params)
}

/// One centroid has one optimum, wherever it starts.
fn seeds_for(k: usize, params: &KMeansParams) -> usize {
    if k == 1 { 1 } else { params.n_init }
}

/// Tries each k once more from the solution for k - 1.
fn refine(points: &Points, mut best: Vec<KMeansFit>, params: &KMeansParams) -> Vec<KMeansFit> {
    for index in 1..best.len() {
        let fit = lloyd(points, with_farthest_point(points, &best[index - 1]), params);
        if fit.beats(&best[index]) {
            best[index] = fit;
        }
    }
    best
}

fn with_farthest_point(points: &Points, fit: &KMeansFit) -> Matrix {
    let distances = &fit.squared_distances;
    let farthest = (0..distances.len()).max_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(b.cmp(&a)));
    let mut values = fit.centroids.values().to_vec();
    values.extend_from_slice(points.matrix.row(farthest.unwrap_or(0)));
    Matrix::from_values(fit.centroids.n_features(), values)
}

/// Runs `work` on each item: on the CPU on all cores, on a GPU one after the other. Results keep their order.
fn side_by_side<T: Sync, R: Send>(points: &Points, items: &[T], work: impl Fn(&T) -> R + Send + Sync) -> Vec<R> {
    if points.on_cpu() { items.par_iter().map(work).collect() } else { items.iter().map(work).collect() }
}
