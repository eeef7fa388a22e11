//! Work on one feature's values at a time.

use clustering::matrix::Matrix;
use rayon::prelude::*;

/// Most features whose values are collected in one pass over the rows: float32 of one cache line.
const MAX_COLUMNS: usize = 16;

/// What `learn` makes of each feature's values, in the order of the features. It is called on several threads.
pub(super) fn map_columns<T: Send>(x: &Matrix, learn: impl Fn(Vec<f32>) -> T + Sync) -> Vec<T> {
    let n_features = x.n_features();
    // Few features are worth a pass each, so that every thread has one to work on.
    let n_columns = (n_features / MAX_COLUMNS).clamp(1, MAX_COLUMNS);
    let groups = (0..n_features).into_par_iter().step_by(n_columns);
    groups.flat_map_iter(|first| columns(x, first, n_columns.min(n_features - first)).into_iter().map(&learn)).collect()
}

/// The values of `n_columns` features from `first` on: each `(n_samples)`.
fn columns(x: &Matrix, first: usize, n_columns: usize) -> Vec<Vec<f32>> {
    let mut columns = vec![Vec::with_capacity(x.n_samples()); n_columns];
    for row in x.rows() {
        for (column, &value) in columns.iter_mut().zip(&row[first..]) {
            column.push(value);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_comes_once_and_in_order() {
        for n_features in [1, 2, 15, 16, 33, 100, 300] {
            let x = Matrix::from_values(n_features, (0..3 * n_features).map(|i| i as f32).collect());
            let expected: Vec<Vec<f32>> =
                (0..n_features).map(|feature| x.rows().map(|row| row[feature]).collect()).collect();
            assert_eq!(map_columns(&x, |column| column), expected);
        }
    }
}
