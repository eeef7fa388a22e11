//! The minimum of the penalized loss, by Newton's method.
//!
//! The loss is divided by the sum of all weights, so that it is a mean and its size does not grow with the rows. A step solves
//! `H step = gradient` by a Cholesky factor of the second derivatives `H`, and is halved until the loss falls: the loss is
//! convex, so this reaches the minimum from anywhere.

use clustering::matrix::Matrix;
use faer::prelude::Solve;
use faer::{Mat, Side};
use rayon::prelude::*;

use crate::FitError;
use crate::supervised::{EachWeight, Labelled, log_loss, sigmoid};

/// Fewest rows that are added up by themselves.
const ROWS_A_PART: usize = 2048;

/// In so many parts at most, each of which has second derivatives of its own: sums of parts are added in order, on any number of
/// threads.
const MAX_PARTS: usize = 64;

/// How often a step is halved.
const HALVINGS: i32 = 40;

/// What makes second derivatives have an inverse where all rows are certain.
const RIDGE: f64 = 1e-12;

/// Rows to learn from, and what is to be small.
pub(super) struct Problem<'a> {
    x: &'a Matrix,
    labelled: &'a Labelled,
    weights: EachWeight,
    /// The mean of each feature: `(n_features)`.
    means: Vec<f64>,
    /// What the penalty `|w|² / 2` counts beside the mean loss.
    penalty: f64,
    total_weight: f64,
}

/// The loss somewhere.
struct Loss {
    value: f64,
    /// First derivatives, that of the intercept last: `(n_features + 1)`.
    gradient: Vec<f64>,
    /// Second derivatives, the lower half of them: `(n_features + 1, n_features + 1)`, row-major.
    hessian: Vec<f64>,
}

impl Loss {
    fn zero(n: usize) -> Self {
        Self { value: 0.0, gradient: vec![0.0; n], hessian: vec![0.0; n * n] }
    }

    fn plus(mut self, other: &Self) -> Self {
        self.value += other.value;
        self.gradient.iter_mut().zip(&other.gradient).for_each(|(sum, part)| *sum += part);
        self.hessian.iter_mut().zip(&other.hessian).for_each(|(sum, part)| *sum += part);
        self
    }
}

impl<'a> Problem<'a> {
    pub fn new(x: &'a Matrix, labelled: &'a Labelled, weights: EachWeight, c: f64) -> Self {
        let mut means = vec![0.0; x.n_features()];
        for &row in &labelled.rows {
            means.iter_mut().zip(x.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        means.iter_mut().for_each(|sum| *sum /= labelled.rows.len() as f64);
        let total_weight: f64 = labelled.is_anomaly.iter().map(|&is_anomaly| weights.of(is_anomaly)).sum();
        Self { x, labelled, weights, means, penalty: 1.0 / (c * total_weight), total_weight }
    }

    pub fn into_means(self) -> Vec<f64> {
        self.means
    }

    /// The weights of the features and the intercept, which is that of rows less the means.
    ///
    /// # Errors
    /// [`FitError::Numeric`] when `max_iter` steps do not get there.
    pub fn minimum(&self, max_iter: usize, tol: f64) -> Result<(Vec<f64>, f64), FitError> {
        let mut at = vec![0.0; self.means.len() + 1];
        if let Some(intercept) = at.last_mut() {
            *intercept = self.log_odds_of_all();
        }
        let mut loss = self.loss(&at);
        for _ in 0..max_iter {
            let step = step(&loss)?;
            // What the step would lower a quadratic loss by.
            let gain = 0.5 * step.iter().zip(&loss.gradient).map(|(step, slope)| step * slope).sum::<f64>();
            if gain <= tol {
                return Ok(split(at));
            }
            let mut shares = (0..HALVINGS).map(|halvings| 0.5f64.powi(halvings));
            let better = shares.find_map(|share| {
                let next: Vec<f64> = at.iter().zip(&step).map(|(at, step)| at - share * step).collect();
                let next_loss = self.loss(&next);
                (next_loss.value < loss.value).then_some((next, next_loss))
            });
            match better {
                Some(found) => (at, loss) = found,
                // What is left to gain is below the rounding of the loss.
                None if gain <= 1e-9 * loss.value.max(1e-6) => return Ok(split(at)),
                None => break,
            }
        }
        Err(FitError::Numeric(format!(
            "logistic regression did not converge in {max_iter} steps: use a smaller C, more max_iter, or scaling = \"quantile\""
        )))
    }

    /// Where every row is as probable as the other.
    fn log_odds_of_all(&self) -> f64 {
        let anomalies = self.labelled.n_anomalies() as f64 * self.weights.anomaly;
        (anomalies / (self.total_weight - anomalies)).ln()
    }

    /// Mean loss and penalty, with their derivatives.
    fn loss(&self, at: &[f64]) -> Loss {
        let n = at.len();
        let rows = self.labelled.rows.len();
        let rows_a_part = rows.div_ceil(MAX_PARTS).max(ROWS_A_PART);
        let (indices, labels) = (&self.labelled.rows, &self.labelled.is_anomaly);
        let parts: Vec<Loss> = indices
            .par_chunks(rows_a_part)
            .zip(labels.par_chunks(rows_a_part))
            .map(|(rows, labels)| self.part(at, rows, labels))
            .collect();
        let mut loss = parts.iter().fold(Loss::zero(n), Loss::plus);
        let scale = 1.0 / self.total_weight;
        loss.value *= scale;
        loss.gradient.iter_mut().for_each(|slope| *slope *= scale);
        loss.hessian.iter_mut().for_each(|second| *second *= scale);
        for (feature, &weight) in at[..n - 1].iter().enumerate() {
            loss.value += 0.5 * self.penalty * weight * weight;
            loss.gradient[feature] += self.penalty * weight;
            loss.hessian[feature * n + feature] += self.penalty;
        }
        loss
    }

    /// What some rows add to the loss.
    fn part(&self, at: &[f64], rows: &[usize], labels: &[bool]) -> Loss {
        let n = at.len();
        let mut loss = Loss::zero(n);
        let mut row = vec![1.0; n];
        for (&index, &is_anomaly) in rows.iter().zip(labels) {
            let values = self.x.row(index).iter().zip(&self.means);
            row.iter_mut().zip(values).for_each(|(to, (&value, mean))| *to = f64::from(value) - mean);
            let log_odds: f64 = row.iter().zip(at).map(|(value, at)| value * at).sum();
            let (weight, target) = (self.weights.of(is_anomaly), f64::from(u8::from(is_anomaly)));
            let p = sigmoid(log_odds);
            loss.value += weight * log_loss(log_odds, target);
            let (slope, curvature) = (weight * (p - target), weight * p * (1.0 - p));
            for (feature, &value) in row.iter().enumerate() {
                loss.gradient[feature] += slope * value;
                let second = &mut loss.hessian[feature * n..=feature * n + feature];
                let factor = curvature * value;
                second.iter_mut().zip(&row).for_each(|(second, &other)| *second += factor * other);
            }
        }
        loss
    }
}

/// Newton's step, which is to be taken back.
fn step(loss: &Loss) -> Result<Vec<f64>, FitError> {
    let n = loss.gradient.len();
    // Features of very different size are brought to one, so that rounding of the large ones does not hide the small ones.
    let scales: Vec<f64> = (0..n).map(|index| (loss.hessian[index * n + index] + RIDGE).sqrt()).collect();
    let hessian = Mat::from_fn(n, n, |row, column| {
        let (low, high) = (row.min(column), row.max(column));
        let ridge = if row == column { RIDGE } else { 0.0 };
        loss.hessian[high * n + low] / (scales[row] * scales[column]) + ridge
    });
    let failed = |_| {
        FitError::Numeric(
            "logistic regression: the second derivatives have no inverse; use a smaller C, or scaling = \"quantile\""
                .into(),
        )
    };
    let factor = hessian.llt(Side::Lower).map_err(failed)?;
    let mut step = Mat::from_fn(n, 1, |row, _| loss.gradient[row] / scales[row]);
    factor.solve_in_place(&mut step);
    Ok((0..n).map(|row| step[(row, 0)] / scales[row]).collect())
}

fn split(mut at: Vec<f64>) -> (Vec<f64>, f64) {
    let intercept = at.pop().unwrap_or_default();
    (at, intercept)
}
