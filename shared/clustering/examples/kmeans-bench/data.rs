//! Rows to cluster, made from a seed.

use clustering::matrix::Matrix;
use rayon::prelude::*;

/// Clusters that the rows are drawn from; more or fewer may be looked for.
const N_COMPONENTS: u64 = 20;

/// Rows that one thread makes at a time.
const ROWS_A_CHUNK: usize = 1 << 14;

/// Rows of clusters that overlap, `(n_samples, n_features)`, with a standard deviation of 1 around centres between 2
/// and 8. A value follows from the seed and its place alone, whatever the number of threads.
pub fn overlapping(n_samples: usize, n_features: usize, seed: u64) -> Matrix {
    let mut values = vec![0.0; n_samples * n_features];
    values.par_chunks_mut(ROWS_A_CHUNK * n_features).enumerate().for_each(|(chunk, values)| {
        for (index, row) in values.chunks_exact_mut(n_features).enumerate() {
            fill(row, (chunk * ROWS_A_CHUNK + index) as u64, seed);
        }
    });
    Matrix::from_values(n_features, values)
}

fn fill(row: &mut [f32], index: u64, seed: u64) {
    let own = hash(seed, index);
    let component = own % N_COMPONENTS;
    for (feature, value) in row.iter_mut().enumerate() {
        let center = 2.0 + 6.0 * uniform(hash(hash(seed, !component), feature as u64));
        *value = center + noise(hash(own, feature as u64));
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014) over a key and a counter.
fn hash(key: u64, counter: u64) -> u64 {
    let mut z = key.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// From 0 to 1.
fn uniform(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1u64 << 24) as f32
}

/// Nearly normal, with mean 0 and variance 1: four uniform numbers, whose variance is 1/12 each.
fn noise(bits: u64) -> f32 {
    let sum: u64 = [0, 16, 32, 48].iter().map(|shift| (bits >> shift) & 0xffff).sum();
    (sum as f32 / 65536.0 - 2.0) * 3.0f32.sqrt()
}

/// The first `count` rows.
pub fn first_rows(matrix: &Matrix, count: usize) -> Matrix {
    Matrix::from_values(matrix.n_features(), matrix.values()[..count * matrix.n_features()].to_vec())
}
