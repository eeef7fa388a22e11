//! How far a value is from the other values of its window, in units of their spread: the z-score (NIST/SEMATECH e-Handbook
//! of Statistical Methods, 1.3.5.17), and its robust form.
//!
//! Nothing is learned beforehand: centre and spread are those of the window itself.

use evaluation::statistics::{MAD_TO_DEVIATION, deviation, distances_from, mean_from_first, median};

/// What divides a distance when all values are equal, or nearly so.
const SMALLEST_SPREAD: f64 = 1e-9;

/// The values of a window in short.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowSummary {
    /// How many there are.
    pub count: u64,
    /// Their mean; or their median, where the summary is robust.
    pub center: f64,
    /// Their population standard deviation; or their median absolute deviation.
    pub spread: f64,
    /// Whether median and median absolute deviation were taken.
    pub is_robust: bool,
}

impl WindowSummary {
    /// The summary of finite values `(n_values)`, at least one; a robust one reorders them, in time that is linear in their
    /// number. Sums are taken in the order of the values.
    pub fn of(values: &mut [f64], is_robust: bool) -> Self {
        let center = if is_robust { median(values) } else { mean_from_first(values) };
        let spread = if is_robust {
            distances_from(center, values);
            median(values)
        } else {
            deviation(values, center)
        };
        Self { count: values.len() as u64, center, spread, is_robust }
    }

    /// How far `value` is from the centre, in spreads.
    pub fn score(&self, value: f64) -> f64 {
        let spread = if self.is_robust { MAD_TO_DEVIATION * self.spread } else { self.spread };
        let score = (value - self.center).abs() / spread.max(SMALLEST_SPREAD);
        // Values near the largest number leave neither centre nor spread; nothing can be said then.
        if score.is_nan() { 0.0 } else { score }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_among_known_ones() {
        let plain = WindowSummary::of(&mut [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], false);
        assert_eq!((plain.count, plain.center, plain.spread, plain.score(9.0)), (8, 5.0, 2.0, 2.0));
        let robust = WindowSummary::of(&mut [9.0, 1.0, 2.0, 6.0, 1.0, 4.0, 2.0], true);
        assert_eq!((robust.center, robust.spread), (2.0, 1.0));
        assert!((robust.score(9.0) - 7.0 / 1.4826).abs() < 1e-12);
        assert_eq!(WindowSummary::of(&mut [1.0, 2.0, 4.0, 3.0], true).center, 2.5);
    }

    #[test]
    fn equal_values_are_normal_and_anything_else_beside_them_is_not() {
        for robust in [false, true] {
            let equal = WindowSummary::of(&mut [0.1; 1000], robust);
            assert_eq!((equal.center, equal.spread, equal.score(0.1)), (0.1, 0.0, 0.0));
            assert!(equal.score(0.2) > 1e7);
        }
    }

    #[test]
    fn numbers_too_large_to_add_up_are_not_judged() {
        for robust in [false, true] {
            let huge = WindowSummary::of(&mut [f64::MAX, f64::MIN, f64::MAX], robust);
            assert!(huge.score(f64::MAX) >= 0.0);
        }
    }

    proptest! {
        /// By the textbook: no value of n is further from the mean than the root of n - 1 deviations (Samuelson, 1968).
        #[test]
        fn no_score_exceeds_what_is_possible(values in proptest::collection::vec(-1e6f64..1e6, 1..60)) {
            let summary = WindowSummary::of(&mut values.clone(), false);
            let most = ((values.len() - 1) as f64).sqrt();
            for value in &values {
                prop_assert!(summary.score(*value) <= most * (1.0 + 1e-9) + 1e-6);
            }
        }

        #[test]
        fn half_of_the_values_are_within_the_median_deviation(values in proptest::collection::vec(-1e6f64..1e6, 1..60)) {
            let summary = WindowSummary::of(&mut values.clone(), true);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            prop_assert!(sorted[(values.len() - 1) / 2] <= summary.center && summary.center <= sorted[values.len() / 2]);
            let within = values.iter().filter(|&&value| (value - summary.center).abs() <= summary.spread + 1e-9).count();
            prop_assert!(2 * within >= values.len());
        }
    }
}
