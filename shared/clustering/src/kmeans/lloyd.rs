//! Lloyd's algorithm (Lloyd 1982), from sets of starting centroids to their local optima, many at once.
//!
//! 1. Assign every point to its nearest centroid.
//! 2. Move every centroid to the mean of its points; an empty cluster takes the point that is farthest from its
//!    centroid.
//! 3. Stop when the centroids moved by no more than the tolerance, or after `max_iter` rounds.
//!
//! A pass over the points serves every run that has not stopped. What comes out of a run does not depend on which
//! others run beside it.

use super::run::{Limits, Run, Start};
use super::{KMeansError, MOST_CLUSTERS, Members, Points, cpu, device};
use crate::matrix::Matrix;

/// Runs Lloyd's algorithm from each start. `on_run` is called as runs stop, from any thread.
pub(super) fn lloyd(
    points: &Points,
    starts: Vec<Start<'_>>,
    limits: Limits,
    on_run: &(dyn Fn() + Sync),
) -> Result<Vec<Run>, KMeansError> {
    let n_clusters = starts.iter().map(|start| start.centroids.n_samples()).max().unwrap_or(0);
    if n_clusters > MOST_CLUSTERS {
        return Err(KMeansError::TooManyClusters { n_clusters });
    }
    if points.on_cpu() {
        cpu::lloyd(points, starts, limits, on_run)
    } else {
        device::lloyd(points, starts, limits, on_run)
    }
}

/// The label of each member, chunk by chunk.
pub(super) fn labels(points: &Points, centroids: &Matrix, members: &Members) -> Result<Vec<Vec<u16>>, KMeansError> {
    if points.on_cpu() { cpu::labels(points, centroids, members) } else { device::labels(points, centroids, members) }
}
