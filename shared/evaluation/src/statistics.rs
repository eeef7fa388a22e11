//! Mean, deviation, median and quantile: one of each, for what scales, what scores and what reports.
//!
//! Values are finite. Sums are taken in the order of the values; where there are two functions for one thing, they differ
//! in the last bits, which models and verdicts are made of.

/// The spread of a normal distribution in units of its median absolute deviation (Rousseeuw and Croux, "Alternatives to the
/// Median Absolute Deviation", JASA 1993).
pub const MAD_TO_DEVIATION: f64 = 1.4826;

/// The mean, the sum divided by the number; of no values 0.
pub fn mean(values: impl IntoIterator<Item = f64, IntoIter: ExactSizeIterator + Clone>) -> f64 {
    let values = values.into_iter();
    let n = values.len().max(1) as f64;
    let sum = values.clone().sum::<f64>();
    // A sum that leaves float64 is a sum of parts: the mean of finite values is never larger than all of them.
    if sum.is_finite() { sum / n } else { values.map(|value| value / n).sum::<f64>().clamp(f64::MIN, f64::MAX) }
}

/// The mean, the first value and the mean distance from it: of equal values it is that value, to the last bit.
pub fn mean_from_first(values: &[f64]) -> f64 {
    let first = values.first().copied().unwrap_or(0.0);
    if values.iter().all(|value| (value - first).is_finite()) {
        first + mean(values.iter().map(|value| value - first))
    } else {
        mean(values.iter().copied())
    }
}

/// The population standard deviation, with `center` in the place of the mean.
pub fn deviation(values: &[f64], center: f64) -> f64 {
    let variance = mean(values.iter().map(|value| (value - center) * (value - center)));
    if variance < f64::MAX {
        return variance.sqrt();
    }
    // Squares that leave float64 are taken of shares of the largest distance, which is halved because it may leave it too.
    let halves = values.iter().map(|value| (value / 2.0 - center / 2.0).abs());
    let largest = halves.clone().fold(0.0, f64::max);
    (mean(halves.map(|half| (half / largest) * (half / largest))).sqrt() * largest * 2.0).min(f64::MAX)
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

/// From so many values on, the parts before and after a place are looked at side by side.
const SIDE_BY_SIDE: usize = 1 << 15;

/// Brings values into an order in which those at `places`, which rise, are the ones that sorting by `order` would put there, with
/// none that belongs after them before them: by selection, which costs less than sorting as long as the places are few.
///
/// # Panics
/// When the places do not rise, or one is not below the number of values.
pub fn place<T: Send>(
    values: &mut [T],
    places: &[usize],
    order: impl Fn(&T, &T) -> std::cmp::Ordering + Copy + Send + Sync,
) {
    assert!(places.is_sorted_by(|a, b| a < b), "places rise");
    place_from(0, values, places, order);
}

/// The same of values of which the first is the one at `first`.
fn place_from<T: Send>(
    first: usize,
    values: &mut [T],
    places: &[usize],
    order: impl Fn(&T, &T) -> std::cmp::Ordering + Copy + Send + Sync,
) {
    let (lower, upper) = places.split_at(places.len() / 2);
    let Some((&middle, upper)) = upper.split_first() else { return };
    let is_large = values.len() >= SIDE_BY_SIDE;
    let (before, _, after) = values.select_nth_unstable_by(middle - first, order);
    if is_large {
        rayon::join(|| place_from(first, before, lower, order), || place_from(middle + 1, after, upper, order));
    } else {
        place_from(first, before, lower, order);
        place_from(middle + 1, after, upper, order);
    }
}

/// The quantiles of values in any order, as [`quantile`] has them of sorted ones, to the bit. The values come into another order.
pub fn quantiles<const N: usize>(values: &mut [f64], shares: [f64; N]) -> [f64; N] {
    let Some(last) = values.len().checked_sub(1) else { return [0.0; N] };
    let mut places = Vec::with_capacity(2 * N);
    for share in shares {
        let (below, above, _) = around(last, share);
        places.extend([below, above]);
    }
    places.sort_unstable();
    places.dedup();
    place(values, &places, f64::total_cmp);
    shares.map(|share| quantile(values, share))
}

/// Puts in the place of each value how far it is from `center`: the median of these is the median absolute deviation.
pub fn distances_from(center: f64, values: &mut [f64]) {
    values.iter_mut().for_each(|value| *value = (*value - center).abs());
}

/// The linearly interpolated quantile of sorted values, as NumPy's default has it; of no values 0.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let (below, above, part) = around(last, q);
    let (lower, upper) = (sorted[below], sorted[above]);
    let step = upper - lower;
    if step.is_finite() { lower + step * part } else { lower * (1.0 - part) + upper * part }
}

/// The places of the two sorted values, up to `last`, that a quantile lies between, and how far it is from the first to the second.
fn around(last: usize, q: f64) -> (usize, usize, f64) {
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    (below, (below + 1).min(last), position - below as f64)
}

/// The value below which a standard normal variable is with probability `p`, which is above 0 and below 1; by bisection of
/// the distribution function, to the last digits.
pub fn normal_quantile(p: f64) -> f64 {
    if p == 0.5 {
        return 0.0;
    }
    // Of the nearer tail, whose probabilities have all their digits.
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    // No smaller probability than that at the first bound is in float64.
    let (mut low, mut high) = (-40.0, 0.0);
    while high - low > 1e-15 * (1.0 - low) {
        let middle = (low + high) / 2.0;
        let below = libm::erfc(-middle / std::f64::consts::SQRT_2) / 2.0;
        if below < p { low = middle } else { high = middle }
    }
    (low + high) / 2.0
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

    /// `scipy.stats.norm.ppf` of SciPy 1.17.
    #[test]
    fn normal_quantiles_are_those_of_scipy() {
        let known = [
            (1e-300, -37.047_096_299_361_2),
            (1e-12, -7.034_483_825_301_131),
            (0.025, -1.959_963_984_540_054),
            (0.5, 0.0),
            (0.975, 1.959_963_984_540_054),
            (0.9999, 3.719_016_485_455_709),
        ];
        for (p, expected) in known {
            assert!(
                (normal_quantile(p) - expected).abs() < 1e-11 * (1.0 + expected.abs()),
                "{p} {}",
                normal_quantile(p)
            );
        }
    }

    #[test]
    fn equal_values_have_no_deviation_from_their_mean() {
        let values = [0.1; 1000];
        assert_eq!((mean_from_first(&values), deviation(&values, mean_from_first(&values))), (0.1, 0.0));
        assert!(mean(values) != 0.1, "why there are two");
    }

    #[test]
    fn the_largest_numbers_have_a_mean_and_a_deviation() {
        let largest = [f64::MAX, f64::MIN, f64::MAX, f64::MIN];
        assert_eq!((mean(largest), mean_from_first(&largest)), (0.0, 0.0));
        assert_eq!(mean_from_first(&[f64::MAX; 3]), f64::MAX);
        assert!((mean([f64::MAX; 3]) / f64::MAX - 1.0).abs() < 1e-15);
        assert!((deviation(&largest, 0.0) / f64::MAX - 1.0).abs() < 1e-15);
        assert_eq!(deviation(&[f64::MAX; 3], f64::MAX), 0.0);
        assert!((deviation(&[1e200, -1e200], 0.0) / 1e200 - 1.0).abs() < 1e-15);
        assert_eq!(quantile(&[f64::MIN, f64::MAX], 0.5), 0.0);
    }

    proptest! {
        /// Whatever the values, as long as they are finite.
        #[test]
        fn no_sum_leaves_float64(values in proptest::collection::vec(proptest::num::f64::NORMAL | proptest::num::f64::ZERO, 1..40)) {
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
            let slack = |bound: f64| bound.abs() * 1e-12;
            for mean in [mean(values.iter().copied()), mean_from_first(&values)] {
                prop_assert!(mean.is_finite() && mean >= least - slack(least) - slack(most), "{mean}");
                prop_assert!(mean <= most + slack(most) + slack(least), "{mean}");
                let deviation = deviation(&values, mean);
                prop_assert!(deviation.is_finite() && deviation >= 0.0, "{deviation}");
            }
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            prop_assert!([0.0, 0.25, 0.5, 0.9, 1.0].into_iter().all(|q| quantile(&sorted, q).is_finite()));
        }

        #[test]
        fn the_middle_is_that_of_the_sorted_values(mut values in proptest::collection::vec(-1e6f64..1e6, 1..60)) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let expected = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
            prop_assert_eq!(middle(&mut values), Some(expected));
            let median = median(&mut values);
            prop_assert!(expected.0 <= median && median <= expected.1);
        }

        /// With equal values, and zeros of both signs.
        #[test]
        fn selection_gives_what_sorting_gives(
            values in proptest::collection::vec(prop_oneof![(-3i32..3).prop_map(f64::from), Just(-0.0), -1e6f64..1e6], 1..400),
            shares in proptest::array::uniform3(0.0f64..=1.0),
            repeat in prop_oneof![9 => Just(1usize), 1 => Just(200)],
            step in 1usize..90,
        ) {
            let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<u64>>();
            let mut values = values.repeat(repeat);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let places: Vec<usize> = (0..values.len()).step_by(step).collect();
            let mut placed = values.clone();
            place(&mut placed, &places, f64::total_cmp);
            let at = |values: &[f64]| places.iter().map(|&place| values[place].to_bits()).collect::<Vec<u64>>();
            prop_assert_eq!(at(&placed), at(&sorted));
            for pair in places.windows(2) {
                let mut between = placed[pair[0]..pair[1]].to_vec();
                between.sort_by(f64::total_cmp);
                prop_assert_eq!(bits(&between), bits(&sorted[pair[0]..pair[1]]));
            }
            prop_assert_eq!(bits(&quantiles(&mut values, shares)), bits(&shares.map(|q| quantile(&sorted, q))));
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
