//! A run of Lloyd's algorithm: how it begins, how it is made, and what comes out.

use super::Members;
use crate::matrix::Matrix;
use crate::ops::cpu::Evaluation;

/// Where a run begins, and over which points.
#[derive(Debug, Clone)]
pub(super) struct Start<'a> {
    /// `(n_clusters, n_features)`
    pub centroids: Matrix,
    /// The points; without, all of them.
    pub members: Option<&'a Members>,
    /// The squared shift of all centroids at which the run has converged.
    pub tolerance: f64,
    /// Whether the labels are wanted in the end.
    pub keep_labels: bool,
}

/// A run that has stopped.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    /// `(n_clusters, n_features)`
    pub centroids: Matrix,
    /// Rounds until it stopped.
    pub n_iter: usize,
    /// What its clusters are like.
    pub clusters: Evaluation,
    /// The label of each of its points, chunk by chunk, when they were wanted.
    pub labels: Vec<Vec<u16>>,
}

/// How runs are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most rounds of a run.
    pub max_iter: usize,
    /// Most bytes to remember of the points between rounds.
    pub max_state_bytes: Option<usize>,
}
