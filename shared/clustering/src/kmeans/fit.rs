//! Clusters as they come out of a run.

use burn::tensor::Device;

use super::lloyd::lloyd;
use super::run::{Limits, Run, Start};
use super::{KMeansError, KMeansParams, Points};
use crate::matrix::Matrix;
use crate::ops::Centers;

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeansFit {
    /// `(n_clusters, n_features)`
    pub centroids: Matrix,
    /// How many points each cluster has.
    pub counts: Vec<u64>,
    /// Sum of the squared distances to the nearest centroid.
    pub inertia: f64,
    /// Each cluster's part of it.
    pub cluster_inertia: Vec<f64>,
    /// Index of each cluster's farthest point; of an empty cluster, no point's.
    pub farthest: Vec<usize>,
    /// Rounds until it stopped.
    pub n_iter: usize,
}

impl KMeansFit {
    /// The cluster of each row of `x` `(n_samples, n_features)`, and the squared distance to its centroid; both `(n_samples)`.
    pub fn predict(&self, x: &Matrix, device: &Device) -> (Vec<i32>, Vec<f32>) {
        Centers::new(self.centroids.clone(), device).nearest(x)
    }

    /// Whether this run is better than `other` by more than rounding.
    pub(super) fn beats(&self, other: &Self) -> bool {
        self.inertia < other.inertia * (1.0 - 1e-6)
    }
}

/// Keeps a run if it is better than the best so far.
pub(super) fn keep(best: &mut Option<KMeansFit>, fit: KMeansFit) {
    if best.as_ref().is_none_or(|best| fit.beats(best)) {
        *best = Some(fit);
    }
}

/// Runs Lloyd's algorithm from each start, and looks at the clusters that come out. `on_run` is called as runs stop.
pub(super) fn fits(
    points: &Points,
    starts: Vec<Start<'_>>,
    params: &KMeansParams,
    on_run: &(dyn Fn() + Sync),
) -> Result<Vec<KMeansFit>, KMeansError> {
    Ok(lloyd(points, starts, limits(params), on_run)?.into_iter().map(|run| fit_of(run).0).collect())
}

fn fit_of(run: Run) -> (KMeansFit, Vec<u16>) {
    let Run { centroids, n_iter, clusters, labels } = run;
    let fit = KMeansFit {
        centroids,
        counts: clusters.counts,
        inertia: clusters.inertia.iter().sum(),
        cluster_inertia: clusters.inertia,
        farthest: clusters.farthest.into_iter().map(|(index, _)| index).collect(),
        n_iter,
    };
    (fit, labels.concat())
}

/// One run of Lloyd's algorithm over all points from `start` `(n_clusters, n_features)`: the clusters, and the label of
/// each point `(n_samples)`.
///
/// # Errors
/// [`KMeansError`] when points in a file cannot be read, or the device fails.
pub fn fit_from(points: &Points, start: Matrix, params: &KMeansParams) -> Result<(KMeansFit, Vec<u16>), KMeansError> {
    run_from(points, start, params, true)
}

/// As [`fit_from`], for those who do not ask for the labels: they need not be read back from a device.
///
/// # Errors
/// As [`fit_from`].
pub fn fit_from_unlabelled(points: &Points, start: Matrix, params: &KMeansParams) -> Result<KMeansFit, KMeansError> {
    Ok(run_from(points, start, params, false)?.0)
}

fn run_from(
    points: &Points,
    start: Matrix,
    params: &KMeansParams,
    keep_labels: bool,
) -> Result<(KMeansFit, Vec<u16>), KMeansError> {
    let tolerance = params.tol * points.mean_variance();
    let start = Start { centroids: start, members: None, tolerance, keep_labels };
    Ok(fit_of(lloyd(points, vec![start], limits(params), &|| {})?.swap_remove(0)))
}

fn limits(params: &KMeansParams) -> Limits {
    Limits { max_iter: params.max_iter, max_state_bytes: params.max_state_bytes }
}
