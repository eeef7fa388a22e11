//! k-means for every k of a range over the same points, and for one k.

use super::fit::{KMeansFit, fits, keep};
use super::run::Start;
use super::seeding::seedings;
use super::{KMeansError, KMeansParams, Points};
use crate::matrix::Matrix;
use crate::ops::cpu::squared_distance;

/// Pairs of clusters that are merged on trial.
const MERGES: usize = 8;

/// Clusters whose farthest point is added on trial.
const ADDITIONS: usize = 6;

/// How often every k learns from its neighbours.
const ROUNDS: usize = 2;

/// The best run for each k of 1..=`max_k`, in order.
///
/// Every restart draws one seeding of `max_k` centroids, of which the first k start the run for k; all these runs share
/// their passes over the points. After that, each k is tried again from its neighbours: from k + 1 with two clusters
/// merged, and from k - 1 with a far point added, so that a cluster may move to where it pays more, and inertia never
/// rises with k. `on_run` is called after every restart's run, from any thread.
///
/// # Errors
/// [`KMeansError`] when points in a file cannot be read, or the device fails.
pub fn fit_sweep(
    points: &Points,
    max_k: usize,
    params: &KMeansParams,
    on_run: &(dyn Fn() + Sync),
) -> Result<Vec<KMeansFit>, KMeansError> {
    let seedings = seedings(points, None, max_k, params)?;
    let runs: Vec<(usize, usize)> =
        (1..=max_k).rev().flat_map(|k| (0..seeds_for(k, params)).map(move |restart| (k, restart))).collect();
    let starts = runs.iter().map(|&(k, restart)| whole(points, seedings[restart].first_rows(k), params)).collect();
    let mut best: Vec<Option<KMeansFit>> = vec![None; max_k];
    for (&(k, _), fit) in runs.iter().zip(fits(points, starts, params, on_run)?) {
        keep(&mut best[k - 1], fit);
    }
    let mut best: Vec<KMeansFit> = best.into_iter().flatten().collect();
    for _ in 0..ROUNDS {
        for index in (1..best.len().saturating_sub(1)).rev() {
            let starts = cheapest_merges(&best[index + 1]);
            improve(points, &mut best[index], starts, params)?;
        }
        for index in 1..best.len() {
            let starts = far_additions(points, &best[index - 1])?;
            improve(points, &mut best[index], starts, params)?;
        }
    }
    Ok(best)
}

/// The best of `n_init` runs for `k` alone, from as many seedings of k-means++: what k-means is elsewhere, too, at the cost of
/// these runs. They share their passes over the points. `on_run` is called after each, from any thread.
///
/// # Errors
/// [`KMeansError`] when points in a file cannot be read, or the device fails.
pub fn fit_k(
    points: &Points,
    k: usize,
    params: &KMeansParams,
    on_run: &(dyn Fn() + Sync),
) -> Result<KMeansFit, KMeansError> {
    let params = &KMeansParams { n_init: seeds_for(k, params), ..*params };
    let seedings = seedings(points, None, k, params)?;
    let starts = seedings.into_iter().map(|centroids| whole(points, centroids, params)).collect();
    Ok(best_of(fits(points, starts, params, on_run)?))
}

/// The best of some runs, at least one.
fn best_of(mut fits: Vec<KMeansFit>) -> KMeansFit {
    let first = fits.remove(0);
    fits.into_iter().fold(first, |best, fit| if fit.beats(&best) { fit } else { best })
}

/// A run over all points.
fn whole(points: &Points, centroids: Matrix, params: &KMeansParams) -> Start<'static> {
    Start { centroids, members: None, tolerance: params.tol * points.mean_variance(), keep_labels: false }
}

/// One centroid has one optimum, wherever it starts.
fn seeds_for(k: usize, params: &KMeansParams) -> usize {
    if k == 1 { 1 } else { params.n_init }
}

/// Tries a k from other starts.
fn improve(
    points: &Points,
    best: &mut KMeansFit,
    starts: Vec<Matrix>,
    params: &KMeansParams,
) -> Result<(), KMeansError> {
    let starts = starts.into_iter().map(|centroids| whole(points, centroids, params)).collect();
    for fit in fits(points, starts, params, &|| {})? {
        if fit.beats(best) {
            *best = fit;
        }
    }
    Ok(())
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
fn far_additions(points: &Points, fit: &KMeansFit) -> Result<Vec<Matrix>, KMeansError> {
    let mut clusters: Vec<usize> =
        (0..fit.counts.len()).filter(|&cluster| fit.cluster_inertia[cluster] > 0.0).collect();
    // A stable sort: of equals, the cluster with the lower index comes first.
    clusters.sort_by(|&a, &b| fit.cluster_inertia[b].total_cmp(&fit.cluster_inertia[a]));
    clusters.truncate(ADDITIONS);
    let farthest: Vec<usize> = clusters.into_iter().map(|cluster| fit.farthest[cluster]).collect();
    let with = |row: &[f32]| {
        let mut values = fit.centroids.values().to_vec();
        values.extend_from_slice(row);
        Matrix::from_values(fit.centroids.n_features(), values)
    };
    Ok(points.gather(&farthest)?.rows().map(with).collect())
}
