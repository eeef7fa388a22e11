//! Sequential minimal optimization with second-order working sets, as libsvm solves the one-class problem (Fan, Chen
//! and Lin, "Working set selection using second order information for training support vector machines", 2005).
//!
//! Minimized is `αᵀ K α / 2` with `0 <= αᵢ <= 1` and `Σ αᵢ = ν n`. A step changes two of the α: the one whose gradient
//! promises most, and that which with it lowers the objective most.

use super::kernel::CachedRows;

/// What stands for a curvature that is not positive, as of two rows that are the same.
const TAU: f64 = 1e-12;

/// The α, each in 0 to 1, and the kernel expansion's value at the boundary.
#[derive(Debug)]
pub(super) struct Solution {
    /// `(n_samples)`
    pub alpha: Vec<f64>,
    /// ρ: rows with a smaller sum of `αᵢ K(xᵢ, x)` are outside.
    pub rho: f64,
}

/// Solves until no two gradients violate the conditions of an optimum by more than `tol`, or for 10,000,000 steps, or
/// 100 a row.
pub(super) fn solve(mut kernel: CachedRows<'_>, nu: f64, tol: f64) -> Solution {
    let n = kernel.len();
    let mut alpha = feasible(n, nu);
    let first: Vec<f64> = alpha.iter().copied().take_while(|&alpha| alpha > 0.0).collect();
    let mut gradient = kernel.weighted_sum(&first);
    for _ in 0..(100 * n).max(10_000_000) {
        let Some(up) = most_promising(&alpha, &gradient) else { break };
        let row_up = kernel.row(up);
        let Some(down) = partner(&alpha, &gradient, up, &row_up, tol) else { break };
        let row_down = kernel.row(down);
        let curvature = curvature(row_up[down]);
        let step = ((gradient[down] - gradient[up]) / curvature).min(1.0 - alpha[up]).min(alpha[down]);
        // At a bound to the bit: what is nearly there would be chosen again and again.
        alpha[up] = if step >= 1.0 - alpha[up] { 1.0 } else { alpha[up] + step };
        alpha[down] = if step >= alpha[down] { 0.0 } else { alpha[down] - step };
        for ((gradient, &up), &down) in gradient.iter_mut().zip(row_up.iter()).zip(row_down.iter()) {
            *gradient += step * (f64::from(up) - f64::from(down));
        }
    }
    let rho = rho(&alpha, &gradient);
    Solution { alpha, rho }
}

/// The first ν n of the α are 1, and one is what is left.
fn feasible(n: usize, nu: f64) -> Vec<f64> {
    let total = nu * n as f64;
    (0..n).map(|index| (total - index as f64).clamp(0.0, 1.0)).collect()
}

/// The smallest gradient of an α that may grow.
fn most_promising(alpha: &[f64], gradient: &[f64]) -> Option<usize> {
    let mut best = None;
    let mut smallest = f64::INFINITY;
    for (index, (&alpha, &gradient)) in alpha.iter().zip(gradient).enumerate() {
        if alpha < 1.0 && gradient < smallest {
            (best, smallest) = (Some(index), gradient);
        }
    }
    best
}

/// The α that, shrinking while that of `up` grows, lowers the objective most; none when the largest violation is
/// within `tol`.
fn partner(alpha: &[f64], gradient: &[f64], up: usize, row: &[f32], tol: f64) -> Option<usize> {
    let mut best = None;
    let (mut most, mut largest) = (0.0, 0.0_f64);
    for (index, ((&alpha, &other), &value)) in alpha.iter().zip(gradient).zip(row).enumerate() {
        let violation = other - gradient[up];
        if alpha > 0.0 && violation > 0.0 {
            largest = largest.max(violation);
            let gain = violation * violation / curvature(value);
            if gain > most {
                (best, most) = (Some(index), gain);
            }
        }
    }
    if largest < tol { None } else { best }
}

/// Of the objective, along the line on which two α change, where the kernel of their rows is `value`.
fn curvature(value: f32) -> f64 {
    let curvature = 2.0 - 2.0 * f64::from(value);
    if curvature > 0.0 { curvature } else { TAU }
}

/// The mean gradient of the α between the bounds; without any, the middle of what is possible.
fn rho(alpha: &[f64], gradient: &[f64]) -> f64 {
    let (mut sum, mut n_free) = (0.0, 0_u32);
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    for (&alpha, &gradient) in alpha.iter().zip(gradient) {
        if alpha >= 1.0 {
            low = low.max(gradient);
        } else if alpha <= 0.0 {
            high = high.min(gradient);
        } else {
            sum += gradient;
            n_free += 1;
        }
    }
    match n_free {
        // With ν = 1 every α is 1, and nothing is outside but by rounding.
        0 if high == f64::INFINITY => low,
        0 => low / 2.0 + high / 2.0,
        _ => sum / f64::from(n_free),
    }
}
