//! What the training was like, number by number: what a stream is compared with, to tell when it is no longer like it.

use detectors::drift::{FEATURE_SHARES, Reference, SCORE_SHARES};
use serde::{Deserialize, Serialize};

/// The distributions of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Of the scores: of the entities that were held out, or of all where none were.
    pub scores: Reference,
    /// Of each feature, of all entities: `(n_features)`.
    pub features: Vec<Reference>,
}

impl Profile {
    /// The distribution of a feature with these values.
    pub fn of_feature(values: Vec<f64>) -> Reference {
        Reference::fit(values, &FEATURE_SHARES)
    }

    /// The distribution of these scores.
    pub fn of_scores(scores: impl Iterator<Item = f32>) -> Reference {
        Reference::fit(scores.map(f64::from).collect(), &SCORE_SHARES)
    }

    pub(super) fn check(&self, n_features: usize) -> Result<(), String> {
        if self.features.len() != n_features {
            return Err(format!("its distributions are not of {n_features} features"));
        }
        std::iter::once(&self.scores).chain(&self.features).try_for_each(Reference::check)
    }
}
