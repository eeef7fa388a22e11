use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-2.0_f32..2.0)).collect()
}

proptest! {
    #[test]
    fn products_and_distances_are_those_of_a_plain_loop(n in 1usize..12, p in 1usize..20, k in 1usize..40, seed: u64) {
        let (rows, matrix) = (random(n * p, seed), random(p * k, seed ^ 1));
        let packed = Packed::new(p, k, |feature, column| matrix[feature * k + column]);
        let (products, distances) = (packed.products(&rows), packed.squared_distances(&rows));
        for row in 0..n {
            for column in 0..k {
                let pairs = || (0..p).map(|i| (f64::from(rows[row * p + i]), f64::from(matrix[i * k + column])));
                let product: f64 = pairs().map(|(a, b)| a * b).sum();
                let distance: f64 = pairs().map(|(a, b)| (a - b).powi(2)).sum();
                let at = row * packed.width() + column;
                prop_assert!((f64::from(products[at]) - product).abs() < 1e-4);
                prop_assert!((f64::from(distances[at]) - distance).abs() < 1e-4 * (1.0 + distance));
            }
        }
    }

    #[test]
    fn a_rows_products_do_not_depend_on_its_batch(n in 1usize..150, p in 1usize..9, k in 1usize..20, seed: u64) {
        let (rows, matrix) = (random(n * p, seed), random(p * k, seed ^ 1));
        let packed = Packed::new(p, k, |feature, column| matrix[feature * k + column]);
        let all = map_chunks(&Matrix::from_values(p, rows.clone()), |rows| packed.products(rows));
        let single: Vec<f32> = rows.chunks_exact(p).flat_map(|row| packed.products(row)).collect();
        prop_assert_eq!(all, single);
    }

    #[test]
    fn moments_are_those_of_a_plain_loop(n in 2usize..40, p in 1usize..7, seed: u64) {
        let values: Vec<f64> = random(n * p, seed).into_iter().map(f64::from).collect();
        let rows = Rows { values: &values, n_features: p };
        let indices: Vec<usize> = (0..n).step_by(2).collect();
        let moments = Moments::of(rows, &indices);
        let mean = |column: usize| indices.iter().map(|&i| values[i * p + column]).sum::<f64>() / indices.len() as f64;
        for a in 0..p {
            prop_assert!((moments.mean[a] - mean(a)).abs() < 1e-12);
            for b in 0..p {
                let product = |&i: &usize| (values[i * p + a] - mean(a)) * (values[i * p + b] - mean(b));
                let covariance = indices.iter().map(product).sum::<f64>() / indices.len() as f64;
                prop_assert!((moments.covariance[(a, b)] - covariance).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn moments_of_many_rows_do_not_depend_on_the_threads() {
    let values: Vec<f64> = random(9000 * 3, 5).into_iter().map(f64::from).collect();
    let rows = Rows { values: &values, n_features: 3 };
    let all: Vec<usize> = (0..9000).collect();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let moments = pool.install(|| Moments::of(rows, &all));
        (moments.mean, (0..9).map(|i| moments.covariance[(i / 3, i % 3)]).collect::<Vec<f64>>())
    };
    assert_eq!(with(1), with(4));
}

#[test]
fn scores_are_finite_whatever_overflowed() {
    assert_eq!([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.5].map(finite), [f32::MAX, f32::MAX, f32::MIN, 1.5]);
}
