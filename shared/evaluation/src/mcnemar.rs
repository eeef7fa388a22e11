//! Whether one detector is right more often than another on the same rows, or luck would do.

use super::binomial::probability;

/// The exact test of McNemar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct McNemar {
    /// Rows that only the first is right about.
    pub only_first: u64,
    /// Rows that only the second is right about.
    pub only_second: u64,
    /// How probable it is that these two numbers are at least as far apart, if both detectors are equally good.
    pub p_value: f64,
}

/// Tests whether of two detectors one is better, by the rows that only one of them is right about (McNemar, Psychometrika
/// 12, 1947): if they are equally good, each such row is as likely to be the one's as the other's.
///
/// The p-value is that of the two-sided binomial test, exact for counts of any size.
pub fn mcnemar(only_first: u64, only_second: u64) -> McNemar {
    let (trials, fewer) = (only_first + only_second, only_first.min(only_second));
    let p_value = if 2 * fewer == trials { 1.0 } else { (2.0 * lower_tail(fewer, trials)).min(1.0) };
    McNemar { only_first, only_second, p_value }
}

/// The probability of at most `successes` in `trials` of a fair coin; `successes` is below half of them.
fn lower_tail(successes: u64, trials: u64) -> f64 {
    let mut term = probability(successes, trials, 0.5);
    let mut sum = term;
    // Terms fall ever faster away from the middle, so the sum is complete long before there are none left.
    for k in (1..=successes).rev() {
        term *= k as f64 / (trials - k + 1) as f64;
        let next = sum + term;
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn p_values_are_those_of_scipy() {
        // binomtest(min, n, 0.5).pvalue of SciPy 1.17.1.
        for (first, second, expected) in [
            (10, 2, 0.038_574_218_75),
            (0, 7, 0.015_625),
            (3, 12, 0.035_156_25),
            (15, 40, 0.001_015_847_194_125_285_4),
            (480, 520, 0.217_448_293_204_141_5),
            (49_500, 50_500, 0.001_582_359_878_851_515_4),
            (1_200, 1_600, 4.252_822_262_196_07e-14),
        ] {
            let found = mcnemar(first, second).p_value;
            assert!((found / expected - 1.0).abs() < 1e-9, "{first} {second}: {found} instead of {expected}");
        }
        for (first, second) in [(0, 0), (5, 5), (0, 1), (7, 6)] {
            assert_eq!(mcnemar(first, second).p_value, 1.0, "{first} {second}");
        }
        assert_eq!(mcnemar(499_000_000, 500_998_000).p_value, 0.0);
    }

    proptest! {
        #[test]
        fn it_is_a_probability_and_does_not_know_who_is_first(first in 0..3_000u64, second in 0..3_000u64) {
            let test = mcnemar(first, second);
            prop_assert!((0.0..=1.0).contains(&test.p_value));
            prop_assert_eq!(test.p_value, mcnemar(second, first).p_value);
        }

        #[test]
        fn it_is_the_sum_over_all_outcomes_as_far_apart(first in 0..25u64, second in 0..25u64) {
            let trials = first + second;
            let apart = |k: u64| k.abs_diff(trials - k);
            let expected: f64 =
                (0..=trials).filter(|&k| apart(k) >= apart(first)).map(|k| probability(k, trials, 0.5)).sum();
            prop_assert!((mcnemar(first, second).p_value - expected).abs() < 1e-12);
        }
    }
}
