//! k-means and bisecting k-means over tensors, for every number of clusters up to a largest one.

mod bisecting;
mod cpu;
mod device;
mod elbow;
mod fit;
mod lloyd;
mod members;
mod pace;
mod points;
mod run;
mod seeding;
mod sweep;
mod totals;

use thiserror::Error;

use members::Members;

pub use bisecting::{BisectingTree, TreeNode, fit_tree};
pub use elbow::elbow;
pub use fit::{KMeansFit, fit_from, fit_from_unlabelled};
pub use points::Points;
pub use sweep::{fit_k, fit_sweep};

impl From<std::io::Error> for KMeansError {
    fn from(error: std::io::Error) -> Self {
        Self::Rows(error.to_string())
    }
}

/// Most clusters of a run: a point's label is kept in 16 bits.
pub const MOST_CLUSTERS: usize = 1 << 16;

/// How k-means is run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeansParams {
    /// Restarts from different seedings, of which the one with the smallest inertia is kept.
    pub n_init: usize,
    /// Most iterations of one restart.
    pub max_iter: usize,
    /// A restart has converged when the squared shift of all centroids is at most this times the mean variance
    /// of the features.
    pub tol: f64,
    /// Seed of all randomness.
    pub seed: u64,
    /// Most bytes to remember of the points between rounds: runs wait for each other when there is less than all of them
    /// would take, six bytes a point and run. One run is made in any case.
    pub max_state_bytes: Option<usize>,
}

/// Why clusters cannot be found.
#[derive(Debug, Error, PartialEq)]
pub enum KMeansError {
    /// Fewer points than clusters.
    #[error(
        "{n_samples} rows cannot make {n_clusters} clusters: lower k to at most {n_samples}, or train on more data"
    )]
    TooFewRows {
        /// Points.
        n_samples: usize,
        /// Clusters asked for.
        n_clusters: usize,
    },
    /// More clusters than labels can tell apart.
    #[error("{n_clusters} clusters are too many: lower k to at most {MOST_CLUSTERS}")]
    TooManyClusters {
        /// Clusters asked for.
        n_clusters: usize,
    },
    /// Every point is the same.
    #[error("all {n_samples} rows have the same features: there is nothing to tell apart, so train on other data")]
    AllEqual {
        /// Points.
        n_samples: usize,
    },
    /// A value that cannot be computed with.
    #[error("row {row} has a feature that is not a number between -1e18 and 1e18, whose squares float32 can hold")]
    NotFinite {
        /// Index of the row, from 0.
        row: usize,
    },
    /// Rows in a file that cannot be read.
    #[error("{0}")]
    Rows(String),
}

#[cfg(test)]
mod tests;
