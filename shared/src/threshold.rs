//! From training scores to a threshold, and from a score to a p-value.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::pipeline::ThresholdPolicy;

/// Fewer training scores than the policy needs.
#[derive(Debug, Error, PartialEq)]
#[error(
    "threshold top = {top} needs at least {top} training rows, but there are {n_samples}: use threshold = {{ quantile = {quantile} }}"
)]
pub struct TooFewScores {
    top: usize,
    n_samples: usize,
    quantile: f64,
}

/// From which score on an entity is anomalous: when its score is strictly greater than `value`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// How it was found.
    pub policy: ThresholdPolicy,
    /// The score.
    pub value: f32,
}

impl Threshold {
    /// Finds the threshold among the training scores, which are finite.
    ///
    /// # Errors
    /// [`TooFewScores`] when `top` asks for more scores than there are.
    pub fn fit(policy: ThresholdPolicy, scores: &[f32]) -> Result<Self, TooFewScores> {
        let mut sorted = scores.to_vec();
        sorted.sort_by(f32::total_cmp);
        let n = sorted.len();
        let value = match policy {
            ThresholdPolicy::Top(top) if top > n => {
                return Err(TooFewScores { top, n_samples: n, quantile: 0.99 });
            }
            ThresholdPolicy::Top(top) => sorted[n - top],
            // The smallest score that at least this share does not exceed.
            ThresholdPolicy::Quantile(q) => sorted[((q * n as f64).ceil() as usize).clamp(1, n.max(1)) - 1],
        };
        Ok(Self { policy, value })
    }

    /// Whether a score is anomalous.
    pub fn is_exceeded(&self, score: f32) -> bool {
        score > self.value
    }
}

/// The training scores in short: enough of their upper tail to turn a score into a p-value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// How many training scores there were.
    pub n_samples: usize,
    /// How many training scores are at least as large as the score beside it, falling.
    pub at_least: Vec<usize>,
    /// Scores, rising.
    pub scores: Vec<f32>,
}

impl Calibration {
    /// Keeps ranks 1, 2, 3 ... near the top and ever wider steps below, about 8% apart.
    pub fn fit(scores: &[f32]) -> Self {
        let mut falling = scores.to_vec();
        falling.sort_by(|a, b| b.total_cmp(a));
        let n = falling.len();
        let mut ranks: Vec<usize> = std::iter::successors((n > 0).then_some(1), |&rank| Some(rank + 1 + rank / 12))
            .take_while(|&rank| rank < n)
            .collect();
        ranks.extend((n > 0).then_some(n));
        ranks.reverse();
        let scores = ranks.iter().map(|&rank| falling[rank - 1]).collect();
        Self { n_samples: n, at_least: ranks, scores }
    }

    /// The share of training scores that are at least `score`, `score` itself counted in: `(1 + #) / (1 + n)`.
    ///
    /// Between the kept ranks the larger count is taken, so the p-value is never too small.
    pub fn p_value(&self, score: f32) -> f64 {
        // The last kept score below `score` has this many at or above it, itself included: an upper bound.
        let count = match self.scores.partition_point(|&kept| kept < score) {
            0 => self.n_samples,
            below => self.at_least[below - 1] - 1,
        };
        (1 + count) as f64 / (1 + self.n_samples) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn top_is_the_nth_largest_and_strict() {
        let threshold = Threshold::fit(ThresholdPolicy::Top(2), &[5.0, 1.0, 3.0, 4.0]).unwrap();
        assert_eq!(threshold.value, 4.0);
        assert!(!threshold.is_exceeded(4.0));
        assert!(threshold.is_exceeded(4.1));
    }

    #[test]
    fn too_few_rows_for_top_name_a_quantile() {
        let error = Threshold::fit(ThresholdPolicy::Top(2000), &[1.0; 30]).unwrap_err().to_string();
        assert_eq!(
            error,
            "threshold top = 2000 needs at least 2000 training rows, but there are 30: use threshold = { quantile = 0.99 }"
        );
    }

    proptest! {
        #[test]
        fn a_quantile_is_exceeded_by_at_most_its_share(scores in proptest::collection::vec(0f32..1e6, 1..400), q in 0.01f64..0.999) {
            let threshold = Threshold::fit(ThresholdPolicy::Quantile(q), &scores).unwrap();
            let above = scores.iter().filter(|&&score| threshold.is_exceeded(score)).count();
            prop_assert!(above as f64 <= (1.0 - q) * scores.len() as f64 + 1e-9);
        }

        #[test]
        fn p_values_are_never_too_small_and_close(scores in proptest::collection::vec(0f32..1e3, 1..400), score in -10f32..1.1e3) {
            let calibration = Calibration::fit(&scores);
            let count = scores.iter().filter(|&&other| other >= score).count();
            let exact = (1 + count) as f64 / (1 + scores.len()) as f64;
            let p = calibration.p_value(score);
            prop_assert!(p >= exact - 1e-12, "{p} {exact}");
            prop_assert!(p <= exact * 1.1 + 1.0 / (1 + scores.len()) as f64, "{p} {exact}");
        }
    }
}
