//! The detectors that are compared.

use shared::detectors::{Context, FitError, Score};
use shared::matrix::Matrix;
use shared::pipeline::DetectorSpec;

/// Learns from scaled rows.
pub type FitContender = Box<dyn Fn(&Matrix, &Context<'_>) -> Result<ReadyDetector, FitError> + Send + Sync>;

/// A detector that takes part.
pub struct Contender {
    /// What it is called, how features are scaled for it and how its threshold is set.
    pub spec: DetectorSpec,
    /// How it learns.
    pub fit: FitContender,
}

/// What was learned, ready to score.
pub struct ReadyDetector {
    /// Bytes of what was learned, as a model file holds it.
    pub bytes: u64,
    /// How many clusters there are, where the detector looks for some.
    pub n_clusters: Option<usize>,
    /// The detector.
    pub detector: Box<dyn Score>,
}
