//! From a score to a p-value, by scores that are known.

use evaluation::statistics::place;
use serde::{Deserialize, Serialize};

use super::policy::ThresholdPolicy;

/// Scores in short: enough of their upper tail to turn a score into a p-value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// How many scores there were.
    pub n_samples: usize,
    /// How many scores are at least as large as the score beside it, falling.
    pub at_least: Vec<usize>,
    /// Scores, rising.
    pub scores: Vec<f32>,
}

impl Calibration {
    /// Keeps ranks 1, 2, 3 ... near the top and ever wider steps below, about 8% apart.
    pub fn fit(scores: &[f32]) -> Self {
        Self::fit_with(scores, &[])
    }

    /// As [`fit`](Self::fit), with the rank of the threshold that `policy` finds among these scores: whatever exceeds that
    /// has a p-value of at most the rate that was asked for.
    pub fn fit_for(policy: ThresholdPolicy, scores: &[f32]) -> Self {
        let (n_out, rank) = (policy.n_out(scores.len()), policy.rank(scores.len()));
        if n_out == 0 {
            return Self::fit_with(scores, &[rank]);
        }
        let mut kept = scores.to_vec();
        kept.select_nth_unstable_by(n_out - 1, |a, b| b.total_cmp(a));
        Self::fit_with(&kept[n_out..], &[rank.saturating_sub(n_out)])
    }

    fn fit_with(scores: &[f32], exact: &[usize]) -> Self {
        let n = scores.len();
        let mut ranks: Vec<usize> = std::iter::successors((n > 0).then_some(1), |&rank| Some(rank + 1 + rank / 12))
            .take_while(|&rank| rank < n)
            .collect();
        ranks.extend((n > 0).then_some(n));
        ranks.extend(exact.iter().filter(|&&rank| (1..=n).contains(&rank)));
        ranks.sort_unstable();
        ranks.dedup();
        let places: Vec<usize> = ranks.iter().map(|rank| rank - 1).collect();
        let mut falling = scores.to_vec();
        place(&mut falling, &places, |a: &f32, b: &f32| b.total_cmp(a));
        ranks.reverse();
        let scores = ranks.iter().map(|&rank| falling[rank - 1]).collect();
        Self { n_samples: n, at_least: ranks, scores }
    }

    /// The share of scores that are at least `score`, `score` itself counted in: `(1 + #) / (1 + n)`.
    ///
    /// Between the kept ranks the larger count is taken, so the p-value is never too small.
    pub fn p_value(&self, score: f32) -> f64 {
        // The last kept score below `score` has this many at or above it, itself included: an upper bound.
        let count = match self.scores.partition_point(|&kept| kept < score) {
            0 => self.n_samples,
            below => self.at_least[below - 1] - 1,
        };
        (1.0 + count as f64) / (1.0 + self.n_samples as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::policy::Trimmed;
    use super::*;

    proptest! {
        /// What is kept is what stands at its rank when all scores are sorted, to the bit.
        #[test]
        fn what_is_kept_is_at_its_rank(scores in proptest::collection::vec((-8i32..8).prop_map(|x| x as f32 / 3.0), 1..400), trim in 0.01f64..0.5) {
            let mut sorted = scores.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let policy = ThresholdPolicy::TrimmedRate(Trimmed { false_alarm_rate: 0.1, trim });
            let trimmed = (Calibration::fit_for(policy, &scores), policy.n_out(scores.len()));
            for (calibration, n_out) in [(Calibration::fit(&scores), 0), trimmed] {
                prop_assert_eq!(calibration.n_samples, scores.len() - n_out);
                prop_assert!(calibration.at_least.is_sorted_by(|a, b| a > b) && calibration.at_least.last() == Some(&1));
                for (&rank, score) in calibration.at_least.iter().zip(&calibration.scores) {
                    prop_assert_eq!(score.to_bits(), sorted[n_out + rank - 1].to_bits());
                }
            }
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
