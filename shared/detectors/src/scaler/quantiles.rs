//! Normal scores of ranks: [`Scaling::Quantile`](super::Scaling::Quantile) makes every feature of the history a normal
//! distribution (scikit-learn's `QuantileTransformer` with `output_distribution="normal"`).
//!
//! The value of rank `r` of `n`, ties at the middle of theirs, becomes the normal quantile of `(r - 1/2) / n`. A map is kept in
//! knots that are evenly spread over the scores, so that the tails have as many as the middle, and is linear between them.
//! Outside of all values it goes on with the logarithm of the distance, in the spread of the feature: a value that is
//! farther out than any other keeps being farther out, where scikit-learn gives all of them the outermost score.

use evaluation::statistics::normal_quantile;
use serde::{Deserialize, Serialize};

use super::{ROUNDINGS, scaled};

/// Most knots of a feature.
const MAX_KNOTS: usize = 256;

/// The map of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// Values of the history, rising: `(n_knots)`.
    pub values: Vec<f64>,
    /// The normal score of each, rising: `(n_knots)`.
    pub scores: Vec<f64>,
}

impl Quantiles {
    /// Of the values of a feature, sorted.
    pub(super) fn fit(sorted: &[f64]) -> Self {
        let distinct = distinct(sorted);
        let score = |&(_, proportion): &(f64, f64)| normal_quantile(proportion);
        let knots: Vec<(f64, f64)> = if distinct.len() <= MAX_KNOTS {
            distinct.iter().map(|group| (group.0, score(group))).collect()
        } else {
            let scores: Vec<f64> = distinct.iter().map(score).collect();
            spread(&scores).into_iter().map(|index| (distinct[index].0, scores[index])).collect()
        };
        let (values, scores) = knots.into_iter().unzip();
        Self { values, scores }
    }

    /// Checks what was read from a file.
    pub(super) fn check(&self) -> Result<(), String> {
        let n_knots = self.values.len();
        if !(1..=MAX_KNOTS).contains(&n_knots) || self.scores.len() != n_knots {
            return Err(format!("its scaler has {n_knots} quantiles and {} scores of a feature", self.scores.len()));
        }
        let rises = |values: &[f64]| {
            values.iter().all(|value| value.is_finite()) && values.windows(2).all(|pair| pair[0] < pair[1])
        };
        if rises(&self.values) && rises(&self.scores) {
            Ok(())
        } else {
            Err("its scaler has quantiles of a feature that do not rise".into())
        }
    }

    /// The normal score of a value; outside of all values, in logarithms of `spread`.
    pub(super) fn score(&self, x: f64, spread: f64) -> f64 {
        let (first, last) = (0, self.values.len() - 1);
        if x <= self.values[first] {
            return self.scores[first] - scaled(self.values[first], x, spread).ln_1p();
        }
        if x >= self.values[last] {
            return self.scores[last] + scaled(x, self.values[last], spread).ln_1p();
        }
        let upper = self.values.partition_point(|value| *value <= x);
        between(x, (&self.values, &self.scores), upper)
    }

    /// The value of a normal score.
    pub(super) fn value(&self, score: f64, spread: f64) -> f64 {
        let (first, last) = (0, self.scores.len() - 1);
        let beyond = |distance: f64| (distance.exp_m1() * spread).min(f64::MAX);
        if score <= self.scores[first] {
            return self.values[first] - beyond(self.scores[first] - score);
        }
        if score >= self.scores[last] {
            return self.values[last] + beyond(score - self.scores[last]);
        }
        let upper = self.scores.partition_point(|knot| *knot <= score);
        between(score, (&self.scores, &self.values), upper)
    }
}

/// On the line from the knot before `upper` to `upper`.
fn between(x: f64, (from, to): (&[f64], &[f64]), upper: usize) -> f64 {
    // Halves: a distance of two of the largest numbers leaves float64.
    let half = |knots: &[f64]| (knots[upper - 1] / 2.0, knots[upper] / 2.0);
    let ((from_low, from_high), (to_low, to_high)) = (half(from), half(to));
    let share = ((x / 2.0 - from_low) / (from_high - from_low)).clamp(0.0, 1.0);
    (to_low * (1.0 - share) + to_high * share) * 2.0
}

/// Each distinct value with the proportion of the history that is below it, half of those equal to it among them. Values that
/// differ by roundings are one.
fn distinct(sorted: &[f64]) -> Vec<(f64, f64)> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < sorted.len() {
        let first = sorted[start];
        let tolerance = ROUNDINGS * f64::EPSILON * first.abs();
        let len = sorted[start..].partition_point(|value| *value - first <= tolerance);
        groups.push((first, (start as f64 + len as f64 / 2.0) / sorted.len() as f64));
        start += len;
    }
    groups
}

/// Indices of the first and the last score, and of those nearest to points that are evenly spread between them.
fn spread(scores: &[f64]) -> Vec<usize> {
    let last = scores.len() - 1;
    let step = (scores[last] - scores[0]) / (MAX_KNOTS - 1) as f64;
    let point = |number: usize| scores[0] + step * number as f64;
    let nearest = |number| scores.partition_point(|score| *score < point(number)).min(last);
    let mut indices: Vec<usize> = (0..MAX_KNOTS - 1).map(nearest).chain([last]).collect();
    indices.dedup();
    indices
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_by(f64::total_cmp);
        values
    }

    /// `scipy.stats.norm.ppf((rankdata(x) - 0.5) / 5)` of 1, 2, 2, 3, 10.
    #[test]
    fn scores_are_those_of_scipy() {
        let quantiles = Quantiles::fit(&[1.0, 2.0, 2.0, 3.0, 10.0]);
        assert_eq!(quantiles.values, [1.0, 2.0, 3.0, 10.0]);
        let expected = [-1.2815515655446004, -0.2533471031357998, 0.5244005127080407, 1.2815515655446004];
        for (score, expected) in quantiles.scores.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
        assert!((quantiles.score(6.5, 1.0) - (0.524_400_512_708_040_7 + 1.281_551_565_544_600_4) / 2.0).abs() < 1e-12);
    }

    proptest! {
        /// Of many values too, whose map is kept in some of them.
        #[test]
        fn order_is_kept_everywhere(
            values in proptest::collection::vec(-1e6f64..1e6, 2..1500),
            others in proptest::collection::vec(-1e9f64..1e9, 2..50),
        ) {
            let quantiles = Quantiles::fit(&sorted(values.clone()));
            prop_assert_eq!(quantiles.check(), Ok(()));
            let all = sorted([values, others].concat());
            let scores: Vec<f64> = all.iter().map(|x| quantiles.score(*x, 3.0)).collect();
            prop_assert!(scores.is_sorted());
            for (x, score) in all.iter().zip(&scores) {
                let back = quantiles.value(*score, 3.0);
                prop_assert!((back - x).abs() <= 1e-6 * (1.0 + x.abs()), "{} {}", x, back);
            }
        }

        #[test]
        fn a_history_becomes_normal(seed in 0u64..1000, power in 1i32..9) {
            let n = 2_000;
            // Spread evenly in [0, 1), then bent.
            let value = |i: u64| ((i * 7919 + seed) % n) as f64 / n as f64;
            let column = sorted((0..n).map(|i| (value(i) * f64::from(power)).exp()).collect());
            let quantiles = Quantiles::fit(&column);
            for share in [0.01, 0.1, 0.5, 0.9, 0.99] {
                let x = column[(share * n as f64) as usize];
                let expected = normal_quantile(share);
                prop_assert!((quantiles.score(x, 1.0) - expected).abs() < 0.02, "{} {}", share, expected);
            }
        }
    }
}
