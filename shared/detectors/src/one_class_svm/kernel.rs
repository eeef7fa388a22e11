//! The kernel exp(-γ |x - y|²) of rows, and its values that a fit remembers.

use std::sync::Arc;

use clustering::matrix::Matrix;
use rayon::prelude::*;

use crate::dense::Packed;

/// exp(-γ d) of squared distances d, in place: within 1e-5 of the exact value as a share of it, and where that is below
/// 1e-37, 1e-38 or so.
///
/// Written out so that the compiler makes vector instructions of it: 2ⁿ 2ᶠ, with a whole n and f between -1/2 and 1/2.
pub(super) fn exp_minus(gamma: f32, squared_distances: &mut [f32]) {
    // Adding 1.5 · 2²³ rounds to a whole number, which then is in the lowest bits.
    const WHOLE: f32 = 12_582_912.0;
    // ln(2)ⁿ / n!
    const TERMS: [f32; 7] =
        [1.540_353e-4, 1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 2.402_265e-1, std::f32::consts::LN_2, 1.0];
    for value in squared_distances {
        let exponent = -gamma * std::f32::consts::LOG2_E * *value;
        // Not `max`, for the comparison takes NaN to the bound too.
        let exponent = if exponent > -126.0 { exponent } else { -126.0 };
        let shifted = exponent + WHOLE;
        let fraction = exponent - (shifted - WHOLE);
        let power = TERMS.iter().fold(0.0, |sum, term| sum * fraction + term);
        let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
        *value = power * scale;
    }
}

/// Rows of the kernel matrix of all rows with each other; those that were used last are remembered.
pub(super) struct CachedRows<'a> {
    x: &'a Matrix,
    points: Packed,
    gamma: f32,
    rows: Vec<Option<Arc<[f32]>>>,
    /// When each row was last asked for.
    used: Vec<u64>,
    time: u64,
    n_cached: usize,
    capacity: usize,
}

impl<'a> CachedRows<'a> {
    /// Of `x`, remembering rows in up to `max_bytes`, but always two.
    pub fn new(x: &'a Matrix, gamma: f32, max_bytes: usize) -> Self {
        let n = x.n_samples();
        let points = Packed::new(x.n_features(), n, |feature, row| x.row(row)[feature]);
        let capacity = (max_bytes / (4 * n)).max(2);
        let mut rows = Self { x, points, gamma, rows: vec![None; n], used: vec![0; n], time: 0, n_cached: 0, capacity };
        // As many as there is room for at once, by all threads: later ones are computed one at a time.
        rows.n_cached = capacity.min(n);
        let cached: Vec<Arc<[f32]>> = (0..rows.n_cached).into_par_iter().map(|index| rows.compute(index)).collect();
        rows.rows.iter_mut().zip(cached).for_each(|(row, cached)| *row = Some(cached));
        rows
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.x.n_samples()
    }

    /// How many rows are remembered.
    #[cfg(test)]
    pub fn n_cached(&self) -> usize {
        self.rows.iter().flatten().count()
    }

    /// Row `index` of the kernel matrix: `(n_samples)`.
    pub fn row(&mut self, index: usize) -> Arc<[f32]> {
        self.time += 1;
        self.used[index] = self.time;
        if let Some(row) = &self.rows[index] {
            return Arc::clone(row);
        }
        if self.n_cached == self.capacity {
            let cached = (0..self.rows.len()).filter(|&other| self.rows[other].is_some());
            if let Some(oldest) = cached.min_by_key(|&other| self.used[other]) {
                self.rows[oldest] = None;
                self.n_cached -= 1;
            }
        }
        let row = self.compute(index);
        self.rows[index] = Some(Arc::clone(&row));
        self.n_cached += 1;
        row
    }

    /// The sum of the first rows, each times its factor: `(n_samples)`.
    pub fn weighted_sum(&self, factors: &[f64]) -> Vec<f64> {
        let sum = |index: usize| {
            let row = self.rows[index].clone().unwrap_or_else(|| self.compute(index));
            // The matrix is symmetric.
            row.iter().zip(factors).map(|(&value, factor)| f64::from(value) * factor).sum()
        };
        (0..self.len()).into_par_iter().map(sum).collect()
    }

    fn compute(&self, index: usize) -> Arc<[f32]> {
        let mut row = self.points.squared_distances(self.x.row(index));
        row.truncate(self.len());
        exp_minus(self.gamma, &mut row);
        row.into()
    }
}
