//! Many small sets of rows that are searched for neighbours again and again.

use burn::tensor::Device;

use super::cpu::{self, Packed, Rows};
use super::neighbors::NeighborIndex;
use crate::matrix::Matrix;

/// Sets of more rows have something that a search can pass over.
const MOST_ROWS: usize = 1024;

/// Sets of reference rows, made ready for the search of a neighbour in each of them, on the CPU: what a set takes is less than
/// the way of its rows to a GPU and back.
#[derive(Debug)]
pub struct NeighborSets {
    k: usize,
    n_features: usize,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    /// Few rows and few neighbours: every distance is computed.
    Small(Vec<Packed>),
    Large(Vec<NeighborIndex>),
}

impl NeighborSets {
    /// Of sets `(n_sets, n_rows, n_features)`, finite, row-major, to be searched for the `k`-th neighbour.
    ///
    /// # Panics
    /// When `k` is 0, a set has fewer rows than that, or `values` are not whole sets.
    pub fn new(values: &[f32], n_rows: usize, n_features: usize, k: usize) -> Self {
        assert!((1..=n_rows).contains(&k), "the neighbour {k} of {n_rows} rows");
        assert!(values.len().is_multiple_of(n_rows * n_features), "sets of {n_rows} rows of {n_features} features");
        let sets = values.chunks_exact(n_rows * n_features);
        let storage = if n_rows <= MOST_ROWS && k <= cpu::MOST_NEAREST {
            Storage::Small(sets.map(|values| Packed::new(Rows { values, n_features })).collect())
        } else {
            let index = |values: &[f32]| {
                NeighborIndex::new(&Matrix::from_values(n_features, values.to_vec()), k, &Device::flex())
            };
            Storage::Large(sets.map(index).collect())
        };
        Self { k, n_features, storage }
    }

    /// For each row of `x` `(n_samples, n_features)`, finite, the sum over the sets of the Euclidean distance to its `k`-th
    /// nearest row there: `(n_samples)`. Squared distances are at most [`f32::MAX`].
    ///
    /// # Panics
    /// When the rows have not as many features as those of the sets.
    pub fn sums_of_distances(&self, x: &Matrix) -> Vec<f64> {
        assert_eq!(x.n_features(), self.n_features, "rows of as many features as those of the sets");
        match &self.storage {
            Storage::Small(sets) => cpu::sums_of_distances(x.into(), sets, self.k),
            Storage::Large(sets) => {
                let mut sums = vec![0.0; x.n_samples()];
                for set in sets {
                    let found = set.search(x).squared_distances;
                    for (sum, squared) in sums.iter_mut().zip(found.chunks_exact(self.k)) {
                        *sum += f64::from(squared[self.k - 1].sqrt());
                    }
                }
                sums
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which way a set is searched is no matter of what is found.
    #[test]
    fn small_sets_give_what_a_search_of_large_ones_gives() {
        let values =
            |count: usize, step: usize| -> Vec<f32> { (0..count).map(|i| ((i * step) % 1013) as f32 / 17.0).collect() };
        for (n_rows, n_features, k) in [(256, 8, 5), (8, 3, 1), (100, 1, 8), (1_024, 4, 2)] {
            let sets = values(3 * n_rows * n_features, 7_919);
            // Rows of the sets, and others.
            let x = [&sets[..5 * n_features], &values(60 * n_features, 7_907)].concat();
            let x = Matrix::from_values(n_features, x);
            let small = NeighborSets::new(&sets, n_rows, n_features, k);
            assert!(matches!(small.storage, Storage::Small(_)));
            let index = |values: &[f32]| {
                NeighborIndex::new(&Matrix::from_values(n_features, values.to_vec()), k, &Device::flex())
            };
            let trees = sets.chunks_exact(n_rows * n_features).map(index).collect();
            let large = NeighborSets { k, n_features, storage: Storage::Large(trees) };
            assert_eq!(small.sums_of_distances(&x), large.sums_of_distances(&x), "{n_rows} {n_features} {k}");
        }
    }

    #[test]
    fn large_sets_are_searched_too() {
        let values: Vec<f32> = (0..4_000).map(|i| i as f32).collect();
        let sets = NeighborSets::new(&values, 2_000, 1, 2);
        // 0 is in the one set, so that the second nearest row is 1 away there, and 2,001 in the other.
        assert_eq!(sets.sums_of_distances(&Matrix::from_values(1, vec![0.0])), [1.0 + 2_001.0]);
    }
}
