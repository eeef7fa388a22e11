//! Scores of different detectors on one scale.

use evaluation::statistics::place;
use serde::{Deserialize, Serialize};

use super::threshold::Calibration;

/// How deep in the tail of known scores a score is, on one scale for all detectors: `-ln` of its p-value, as a continuous
/// and rising function that goes on beyond the largest score that is known.
///
/// Between kept ranks it is interpolated. Beyond the largest score it rises with the logarithm of the excess over it, in units
/// of the mean excess over the 95th percentile: the order of scores is kept, and no single detector, whose scores have a
/// heavy tail, outweighs all others. The unit is never below a share of the distance from the median to the largest score, so
/// that this also holds of a tail of few scores, or of equal ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailDepth {
    known: Calibration,
    /// Mean excess over the 95th percentile.
    excess: f32,
}

impl TailDepth {
    /// By scores that are known, which are finite; at least one.
    pub fn fit(scores: &[f32]) -> Self {
        let mut falling = scores.to_vec();
        let n_tail = (falling.len() / 20).max(1).min(falling.len());
        // In order are the tail, and what else is asked for: the score in the middle and the smallest one.
        let mut places = vec![n_tail.saturating_sub(1), falling.len() / 2, falling.len().saturating_sub(1)];
        places.retain(|&place| place < falling.len());
        places.dedup();
        place(&mut falling, &places, |a: &f32, b: &f32| b.total_cmp(a));
        falling[..n_tail].sort_unstable_by(|a, b| b.total_cmp(a));
        let tail = &falling[..n_tail];
        let least = tail.last().copied().map_or(0.0, f64::from);
        let sum: f64 = tail.iter().map(|&score| f64::from(score) - least).sum();
        let excess = (sum / tail.len().max(1) as f64).max(smallest_unit(&falling));
        Self { known: Calibration::fit(scores), excess: (excess as f32).clamp(f32::MIN_POSITIVE, f32::MAX) }
    }

    /// Checks what was read from a file.
    pub(super) fn check(&self) -> Result<(), String> {
        let Calibration { n_samples, at_least, scores } = &self.known;
        let falls = at_least.is_sorted_by(|a, b| a > b) && at_least.first() == Some(n_samples);
        let is_sound = scores.is_sorted() && scores.len() == at_least.len() && falls && at_least.last() > Some(&0);
        if is_sound && self.excess.is_finite() && self.excess >= 0.0 {
            Ok(())
        } else {
            Err("its ranks are not whole".into())
        }
    }

    /// The depth of a score: 0 at or below the smallest that is known.
    pub fn of(&self, score: f32) -> f64 {
        let Calibration { n_samples, at_least, scores } = &self.known;
        let depth = |index: usize| ((1 + n_samples) as f64 / at_least[index] as f64).ln();
        let score = f64::from(score);
        let at = |index: usize| f64::from(scores[index]);
        match scores.partition_point(|&kept| f64::from(kept) <= score) {
            0 => 0.0,
            above if above == scores.len() => {
                let beyond = (score - at(above - 1)) / f64::from(self.excess).max(f64::MIN_POSITIVE);
                depth(above - 1) + beyond.min(1e300).ln_1p()
            }
            above => {
                let share = (score - at(above - 1)) / (at(above) - at(above - 1));
                depth(above - 1) + share * (depth(above) - depth(above - 1))
            }
        }
    }
}

/// The smallest unit of the excess over the largest of these scores, of which the first, the one in the middle and the last are those
/// of falling ones.
fn smallest_unit(falling: &[f32]) -> f64 {
    /// The share of the distance from the median to the largest score: about what the mean excess is of equally spaced scores.
    const SHARE: f64 = 1.0 / 32.0;
    /// In roundings of the largest score.
    const ROUNDINGS: f64 = 8.0;
    let at = |index: usize| falling.get(index).copied().map_or(0.0, f64::from);
    let largest = at(0);
    let distance = largest - at(falling.len() / 2);
    // Where half of the scores are the largest, the distance to the smallest; where all are, their own size.
    let distance = if distance > 0.0 { distance } else { largest - at(falling.len().saturating_sub(1)) };
    let distance = if distance > 0.0 { distance } else { largest.abs() };
    let distance = if distance > 0.0 { distance } else { 1.0 };
    (distance * SHARE).max(largest.abs() * f64::from(f32::EPSILON) * ROUNDINGS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The unit is that of sorted scores, to the bit.
        #[test]
        fn selection_gives_what_sorting_gives(scores in proptest::collection::vec((-9i32..9).prop_map(|x| x as f32 / 7.0), 1..400)) {
            let mut falling = scores.clone();
            falling.sort_by(|a, b| b.total_cmp(a));
            let tail = &falling[..(falling.len() / 20).max(1)];
            let least = f64::from(tail[tail.len() - 1]);
            let sum: f64 = tail.iter().map(|&score| f64::from(score) - least).sum();
            let excess = (sum / tail.len() as f64).max(smallest_unit(&falling)) as f32;
            prop_assert_eq!(TailDepth::fit(&scores).excess.to_bits(), excess.clamp(f32::MIN_POSITIVE, f32::MAX).to_bits());
        }

        /// Also of few scores, and where many are equal.
        #[test]
        fn what_is_just_above_the_largest_score_is_hardly_deeper(
            scores in proptest::collection::vec((-40i32..40, 0i32..8), 1..400), equal in 0usize..400,
        ) {
            let mut scores: Vec<f32> = scores.into_iter().map(|(x, power)| x as f32 * 10f32.powi(power - 4)).collect();
            let largest = scores.iter().copied().fold(f32::MIN, f32::max);
            scores.extend(std::iter::repeat_n(largest, equal));
            let tail = TailDepth::fit(&scores);
            prop_assert_eq!(tail.check(), Ok(()));
            let just_above = tail.of(largest.next_up()) - tail.of(largest);
            prop_assert!((0.0..0.2).contains(&just_above), "{just_above}");
            let mut sorted = scores.clone();
            sorted.sort_by(f32::total_cmp);
            let twice = largest + (largest - sorted[(sorted.len() - 1) / 2]);
            prop_assert!(tail.of(twice) - tail.of(largest) < 33f64.ln() + 0.1);
        }

        #[test]
        fn a_higher_score_is_deeper_in_the_tail(
            scores in proptest::collection::vec(-1e3f32..1e3, 1..400), a in -2e3f32..2e3, b in -2e3f32..2e3,
        ) {
            let tail = TailDepth::fit(&scores);
            prop_assert_eq!(tail.check(), Ok(()));
            let (low, high) = (tail.of(a.min(b)), tail.of(a.max(b)));
            prop_assert!(0.0 <= low && low <= high && high.is_finite(), "{low} {high}");
            let largest = scores.iter().copied().fold(f32::MIN, f32::max);
            prop_assert!(tail.of(largest + 1.0) > tail.of(largest));
        }
    }
}
