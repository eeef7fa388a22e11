//! Whether values can be computed with, and how far they spread.

use super::lanes::Lanes;
use super::{Rows, multiversion};

/// Larger values are refused: the sum of the squares of 64 of them would leave float32.
const TOO_LARGE: f32 = 1e18;

/// Rows that are summed side by side, so that whole registers are added whatever the number of features.
const SIDE_BY_SIDE: usize = 8;

/// Sums of the differences to one row, and of their squares, feature by feature.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spread {
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Spread {
    pub(crate) fn new(n_features: usize) -> Self {
        Self { sums: vec![0.0; n_features], squares: vec![0.0; n_features] }
    }

    /// Of a chunk, around `origin` `(n_features)`; or the first row that has a value which is not finite or too large.
    pub(crate) fn of(x: Rows<'_>, origin: &[f32]) -> Result<Self, usize> {
        let origin: Vec<f32> = origin.iter().copied().cycle().take(SIDE_BY_SIDE * origin.len()).collect();
        let mut side_by_side = Self::new(origin.len());
        let mut usable = true;
        spread_chunk(x.values, &origin, &mut side_by_side, &mut usable);
        if !usable {
            let refused = |row: &[f32]| !row.iter().all(is_usable);
            return Err(x.values.chunks_exact(x.n_features).position(refused).unwrap_or(0));
        }
        let mut spread = Self::new(x.n_features);
        for lane in 0..SIDE_BY_SIDE {
            let part = lane * x.n_features..(lane + 1) * x.n_features;
            spread.add(&side_by_side.sums[part.clone()], &side_by_side.squares[part]);
        }
        Ok(spread)
    }

    /// Adds the next chunk.
    pub(crate) fn merge(&mut self, next: &Self) {
        self.add(&next.sums, &next.squares);
    }

    /// Whether all rows are equal.
    pub(crate) fn is_zero(&self) -> bool {
        self.squares.iter().all(|&sum| sum == 0.0)
    }

    /// Mean of the features' variances over `n_samples` rows.
    pub(crate) fn mean_variance(&self, n_samples: usize) -> f64 {
        let n = n_samples as f64;
        let variance = |(sum, squares): (&f64, &f64)| ((squares - sum * sum / n) / n).max(0.0);
        self.sums.iter().zip(&self.squares).map(variance).sum::<f64>() / self.sums.len() as f64
    }

    fn add(&mut self, sums: &[f64], squares: &[f64]) {
        self.sums.iter_mut().zip(sums).for_each(|(total, part)| *total += part);
        self.squares.iter_mut().zip(squares).for_each(|(total, part)| *total += part);
    }
}

fn is_usable(value: &f32) -> bool {
    value.abs() <= TOO_LARGE
}

multiversion!(fn spread_chunk(values: &[f32], origin: &[f32], spread: &mut Spread, usable: &mut bool) = spread_body);

#[inline(always)]
unsafe fn spread_body<V: Lanes>(values: &[f32], origin: &[f32], spread: &mut Spread, usable: &mut bool) {
    // Without an early end, so that whole registers are compared.
    *usable = values.iter().fold(true, |usable, value| usable & is_usable(value));
    for rows in values.chunks(origin.len()) {
        let sums = spread.sums.iter_mut().zip(spread.squares.iter_mut());
        for ((sum, square), (value, origin)) in sums.zip(rows.iter().zip(origin)) {
            let difference = f64::from(*value) - f64::from(*origin);
            *sum += difference;
            *square += difference * difference;
        }
    }
}
