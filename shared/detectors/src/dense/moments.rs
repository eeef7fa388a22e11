//! Means and covariances in float64.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

/// Rows that are added up by themselves: sums of chunks are added in order, on any number of threads.
const CHUNK: usize = 2048;

/// Rows `(n_rows, n_features)` in float64, row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// All values.
    pub values: &'a [f64],
    /// How many there are in a row.
    pub n_features: usize,
}

impl<'a> Rows<'a> {
    /// How many rows.
    pub fn len(self) -> usize {
        self.values.len() / self.n_features
    }

    /// Row `index`.
    pub fn row(self, index: usize) -> &'a [f64] {
        &self.values[index * self.n_features..(index + 1) * self.n_features]
    }
}

/// Mean and covariance of rows.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    /// `(n_features)`
    pub mean: Vec<f64>,
    /// `(n_features, n_features)`, divided by the number of rows.
    pub covariance: Mat<f64>,
}

impl Moments {
    /// Of the rows with these indices, at least one.
    pub fn of(rows: Rows<'_>, indices: &[usize]) -> Self {
        let p = rows.n_features;
        let n = indices.len() as f64;
        let mean = mean(rows, indices);
        let scatter = |chunk: &[usize]| {
            let centered = centered(rows, chunk, &mean); // (n_features, n_rows), column-major
            let centered = MatRef::from_column_major_slice(&centered, p, chunk.len());
            let mut scatter = Mat::zeros(p, p);
            let (lower, full) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
            let (a, b) = (centered, centered.transpose());
            triangular::matmul(scatter.as_mut(), lower, Accum::Replace, a, full, b, full, 1.0 / n, Par::Seq);
            scatter
        };
        let mut covariance = chunked(indices, scatter).into_iter().reduce(|sum, part| sum + part);
        let covariance = covariance.get_or_insert_with(|| Mat::zeros(p, p));
        for column in 0..p {
            for row in 0..column {
                covariance[(row, column)] = covariance[(column, row)];
            }
        }
        Self { mean, covariance: std::mem::replace(covariance, Mat::new()) }
    }
}

/// The mean of each feature.
fn mean(rows: Rows<'_>, indices: &[usize]) -> Vec<f64> {
    let sum = |chunk: &[usize]| {
        let mut sum = vec![0.0; rows.n_features];
        chunk.iter().for_each(|&index| add(&mut sum, rows.row(index)));
        sum
    };
    let mut total = vec![0.0; rows.n_features];
    chunked(indices, sum).iter().for_each(|part| add(&mut total, part));
    total.iter().map(|sum| sum / indices.len() as f64).collect()
}

fn add(sum: &mut [f64], row: &[f64]) {
    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

/// Rows less the mean, one after the other.
pub(crate) fn centered(rows: Rows<'_>, indices: &[usize], mean: &[f64]) -> Vec<f64> {
    let row = |&index: &usize| rows.row(index).iter().zip(mean).map(|(value, mean)| value - mean);
    indices.iter().flat_map(row).collect()
}

/// What `part` makes of each chunk, in order.
fn chunked<T: Send>(indices: &[usize], part: impl Fn(&[usize]) -> T + Send + Sync) -> Vec<T> {
    if indices.len() <= CHUNK { vec![part(indices)] } else { indices.par_chunks(CHUNK).map(part).collect() }
}
