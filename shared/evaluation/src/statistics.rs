//! Mean, deviation, median and quantile: one of each, for what scales, what scores and what reports.
//!
//! Values are finite. Sums are taken in the order of the values; where there are two functions for one thing, they differ
//! in the last bits, which models and verdicts are made of.

/// The spread of a normal distribution in units of its median absolute deviation (Rousseeuw and Croux, "Alternatives to the
/// Median Absolute Deviation", JASA 1993).
pub const MAD_TO_DEVIATION: f64 = 1.4826;

/// The mean, the sum divided by the number; of no values 0.
pub fn mean(values: impl IntoIterator<Item = f64, IntoIter: ExactSizeIterator>) -> f64 {
    let values = values.into_iter();
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

/// The mean, the first value and the mean distance from it: of equal values it is that value, to the last bit.
pub fn mean_from_first(values: &[f64]) -> f64 {
    let first = values.first().copied().unwrap_or(0.0);
    first + mean(values.iter().map(|value| value - first))
}

/// The population standard deviation, with `center` in the place of the mean.
pub fn deviation(values: &[f64], center: f64) -> f64 {
    mean(values.iter().map(|value| (value - center) * (value - center))).sqrt()
}

/// The lower and the upper of the two values in the middle, which of an odd number are the same; of no values none. The
/// values come into another order.
pub fn middle(values: &mut [f64]) -> Option<(f64, f64)> {
    let is_even = values.len().is_multiple_of(2);
    if values.is_empty() {
        return None;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(values.len() / 2, f64::total_cmp);
    let lower = if is_even { below.iter().copied().max_by(f64::total_cmp) } else { None };
    Some((lower.unwrap_or(upper), upper))
}

/// The value in the middle, or the mean of the two; of no values 0. The values come into another order.
pub fn median(values: &mut [f64]) -> f64 {
    let is_even = values.len().is_multiple_of(2);
    match middle(values) {
        // Halved before they are added: no sum is too large.
        Some((lower, upper)) if is_even => lower / 2.0 + upper / 2.0,
        Some((_, upper)) => upper,
        None => 0.0,
    }
}

/// Puts in the place of each value how far it is from `center`: the median of these is the median absolute deviation.
pub fn distances_from(center: f64, values: &mut [f64]) {
    values.iter_mut().for_each(|value| *value = (*value - center).abs());
}

/// The linearly interpolated quantile of sorted values, as NumPy's default has it; of no values 0.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!((mean(values), deviation(&values, 5.0), mean_from_first(&values)), (5.0, 2.0, 5.0));
        // numpy.quantile of NumPy 2.3.
        assert_eq!((quantile(&values, 0.25), quantile(&values, 0.75)), (4.0, 5.5));
        assert_eq!((mean([]), median(&mut []), quantile(&[], 0.5)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn equal_values_have_no_deviation_from_their_mean() {
        let values = [0.1; 1000];
        assert_eq!((mean_from_first(&values), deviation(&values, mean_from_first(&values))), (0.1, 0.0));
        assert!(mean(values) != 0.1, "why there are two");
    }

    proptest! {
        #[test]
        fn the_middle_is_that_of_the_sorted_values(mut values in proptest::collection::vec(-1e6f64..1e6, 1..60)) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let expected = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
            prop_assert_eq!(middle(&mut values), Some(expected));
            let median = median(&mut values);
            prop_assert!(expected.0 <= median && median <= expected.1);
        }

        #[test]
        fn half_of_the_values_are_within_the_median_deviation(values in proptest::collection::vec(-1e6f64..1e6, 1..60)) {
            let center = median(&mut values.clone());
            let mut distances = values.clone();
            distances_from(center, &mut distances);
            let spread = median(&mut distances);
            prop_assert!(2 * distances.iter().filter(|&&distance| distance <= spread + 1e-9).count() >= values.len());
        }
    }
}
