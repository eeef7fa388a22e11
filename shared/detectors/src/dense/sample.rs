//! Rows that a fit looks at.

use clustering::matrix::Matrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Indices of at most `most` rows, in order: all, or one of each of as many strata of equal size, so that they are
/// spread over the history.
pub(crate) fn sample_rows(n_samples: usize, most: usize, seed: u64) -> Vec<usize> {
    if n_samples <= most {
        return (0..n_samples).collect();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let bound = |stratum: usize| (stratum as u128 * n_samples as u128 / most as u128) as usize;
    (0..most).map(|stratum| rng.random_range(bound(stratum)..bound(stratum + 1))).collect()
}

/// The values of these rows, row by row.
pub(crate) fn float64(x: &Matrix, indices: &[usize]) -> Vec<f64> {
    indices.iter().flat_map(|&index| x.row(index).iter().map(|&value| f64::from(value))).collect()
}
