//! k-means for every k of a range over the same points.

use rayon::prelude::*;

use super::init::{gather_matrix, greedy_kmeans_plus_plus};
use super::lloyd::lloyd;
use super::{KMeansFit, KMeansParams, Points};
use crate::matrix::Matrix;
use crate::ops::simd::squared_distance;

/// Pairs of clusters that are merged on trial.
const MERGES: usize = 8;

/// Clusters whose farthest point is added on trial.
const ADDITIONS: usize = 6;

/// How often every k learns from its neighbours.
const ROUNDS: usize = 2;

/// The best run for each k of 1..=`max_k`, in order.
///
/// Every restart draws one seeding of `max_k` centroids, of which the first k start the run for k. After that, each
/// k is tried again from its neighbours: from k + 1 with two clusters merged, and from k - 1 with a far point added,
/// so that a cluster may move to where it pays more, and inertia never rises with k. `on_run` is called after every restart's run, from any thread.
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
    let mut best: Vec<KMeansFit> = best.into_iter().flatten().collect();
    for _ in 0..ROUNDS {
        improve_from_above(points, &mut best, params);
        improve_from_below(points, &mut best, params);
    }
    best
}

/// One centroid has one optimum, wherever it starts.
fn seeds_for(k: usize, params: &KMeansParams) -> usize {
    if k == 1 { 1 } else { params.n_init }
}

/// Tries each k from the solution for k + 1, with two of its clusters merged.
fn improve_from_above(points: &Points, best: &mut [KMeansFit], params: &KMeansParams) {
    for index in (1..best.len().saturating_sub(1)).rev() {
        let starts = cheapest_merges(&best[index + 1]);
        for fit in side_by_side(points, &starts, |start| lloyd(points, start.clone(), params)) {
            if fit.beats(&best[index]) {
                best[index] = fit;
            }
        }
    }
}

/// Tries each k from the solution for k - 1, with a far point added.
fn improve_from_below(points: &Points, best: &mut [KMeansFit], params: &KMeansParams) {
    for index in 1..best.len() {
        let starts = far_additions(points, &best[index - 1]);
        for fit in side_by_side(points, &starts, |start| lloyd(points, start.clone(), params)) {
            if fit.beats(&best[index]) {
                best[index] = fit;
            }
        }
    }
}

/// The centroids with one pair replaced by its mean, for the pairs that cost the least inertia (Ward 1963).
fn cheapest_merges(fit: &KMeansFit) -> Vec<Matrix> {
    let k = fit.centroids.n_samples();
    let pairs = (0..k).flat_map(|a| (a + 1..k).map(move |b| (a, b)));
    let mut costs: Vec<(f64, (usize, usize))> = pairs.map(|(a, b)| (merge_cost(fit, a, b), (a, b))).collect();
    costs.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)));
    costs.into_iter().take(MERGES).map(|(_, (a, b))| merged(fit, a, b)).collect()
}

fn merge_cost(fit: &KMeansFit, a: usize, b: usize) -> f64 {
    let (size_a, size_b) = (fit.counts[a] as f64, fit.counts[b] as f64);
    let weight = size_a * size_b / (size_a + size_b).max(1.0);
    weight * f64::from(squared_distance(fit.centroids.row(a), fit.centroids.row(b)))
}

fn merged(fit: &KMeansFit, a: usize, b: usize) -> Matrix {
    let (size_a, size_b) = (fit.counts[a] as f64, fit.counts[b] as f64);
    let share = if size_a + size_b > 0.0 { size_a / (size_a + size_b) } else { 0.5 };
    let mean = |(x, y): (&f32, &f32)| (f64::from(*x) * share + f64::from(*y) * (1.0 - share)) as f32;
    let (row_a, row_b) = (fit.centroids.row(a), fit.centroids.row(b));
    let others = (0..fit.centroids.n_samples()).filter(|&cluster| cluster != a && cluster != b);
    let mut values: Vec<f32> = others.flat_map(|cluster| fit.centroids.row(cluster).iter().copied()).collect();
    values.extend(row_a.iter().zip(row_b).map(mean));
    Matrix::from_values(fit.centroids.n_features(), values)
}

/// The centroids with one point added: the farthest of each cluster, for the clusters with the most inertia.
fn far_additions(points: &Points, fit: &KMeansFit) -> Vec<Matrix> {
    let mut clusters = vec![(0.0f64, 0usize, f32::NEG_INFINITY); fit.counts.len()];
    for (point, (&label, &distance)) in fit.labels.iter().zip(&fit.squared_distances).enumerate() {
        let (inertia, farthest, largest) = &mut clusters[label as usize];
        *inertia += f64::from(distance);
        if distance > *largest {
            (*farthest, *largest) = (point, distance);
        }
    }
    // A stable sort: of equals, the cluster with the lower index comes first.
    clusters.sort_by(|a, b| b.0.total_cmp(&a.0));
    let with = |&(_, point, _): &(f64, usize, f32)| {
        let mut values = fit.centroids.values().to_vec();
        values.extend_from_slice(points.matrix.row(point));
        Matrix::from_values(fit.centroids.n_features(), values)
    };
    clusters.iter().filter(|(inertia, ..)| *inertia > 0.0).take(ADDITIONS).map(with).collect()
}

/// Runs `work` on each item: on the CPU on all cores, on a GPU one after the other. Results keep their order.
fn side_by_side<T: Sync, R: Send>(points: &Points, items: &[T], work: impl Fn(&T) -> R + Send + Sync) -> Vec<R> {
    if points.on_cpu() { items.par_iter().map(work).collect() } else { items.iter().map(work).collect() }
}
