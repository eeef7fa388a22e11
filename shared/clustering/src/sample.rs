//! Some of the rows, where all are too many.

use rand::{Rng, RngExt};

/// Indices of at most `most` of `n_samples` rows, rising: all of them, or one of each of as many strata of equal size, so
/// that they are spread over the history.
pub fn stratified(n_samples: usize, most: usize, rng: &mut impl Rng) -> Vec<usize> {
    if n_samples <= most {
        return (0..n_samples).collect();
    }
    let bound = |stratum: usize| (stratum as u128 * n_samples as u128 / most as u128) as usize;
    (0..most).map(|stratum| rng.random_range(bound(stratum)..bound(stratum + 1))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    proptest! {
        #[test]
        fn a_sample_is_in_order_and_spread(n in 1usize..5000, most in 1usize..500, seed: u64) {
            let sample = stratified(n, most, &mut ChaCha8Rng::seed_from_u64(seed));
            prop_assert_eq!(sample.len(), n.min(most));
            prop_assert!(sample.is_sorted_by(|a, b| a < b) && sample.iter().all(|&index| index < n));
            let gap = sample.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            prop_assert!(gap <= 2 * n.div_ceil(most));
        }
    }
}
