//! From what a detector computes to log-odds that can be believed (Platt 1999, "Probabilistic outputs for support vector
//! machines"): a straight line, fitted to rows that were held back.
//!
//! The line rises, so it changes no order. It is fitted by Newton's method (Lin, Lin and Weng 2007, "A note on Platt's
//! probabilistic outputs"), to targets that are drawn in from 0 and 1, as few rows prove nothing.

use serde::{Deserialize, Serialize};

/// The slopes that are believed. A few rows that contradict all others must not turn the detector around, and a few that none
/// contradicts must not make it certain.
const SLOPES: std::ops::RangeInclusive<f64> = 0.1..=10.0;

const MAX_ITER: usize = 100;

/// The probability of these log-odds.
pub(crate) fn sigmoid(log_odds: f64) -> f64 {
    let small = (-log_odds.abs()).exp();
    if log_odds >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

/// The logarithmic loss of these log-odds where the probability should be `target`.
pub(crate) fn log_loss(log_odds: f64, target: f64) -> f64 {
    log_odds.max(0.0) - target * log_odds + (-log_odds.abs()).exp().ln_1p()
}

/// A line that rises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Platt {
    slope: f64,
    intercept: f64,
}

impl Platt {
    /// The line that changes nothing.
    pub const IDENTITY: Self = Self { slope: 1.0, intercept: 0.0 };

    /// Fits the line to what was computed of rows of both classes, and what they are: `(n_samples)`.
    pub fn fit(raw: &[f64], is_anomaly: &[bool]) -> Self {
        let anomalies = is_anomaly.iter().filter(|&&is_anomaly| is_anomaly).count() as f64;
        let normal = is_anomaly.len() as f64 - anomalies;
        let (high, low) = ((anomalies + 1.0) / (anomalies + 2.0), 1.0 / (normal + 2.0));
        let targets: Vec<f64> = is_anomaly.iter().map(|&is_anomaly| if is_anomaly { high } else { low }).collect();
        let fitted = newton(raw, &targets);
        if SLOPES.contains(&fitted.slope) {
            return fitted;
        }
        // Also where the slope is no number, as of values that no line fits.
        let slope = if fitted.slope > *SLOPES.end() { *SLOPES.end() } else { *SLOPES.start() };
        Self { slope, intercept: intercept(raw, &targets, slope) }
    }

    /// The calibrated log-odds.
    pub fn log_odds(self, raw: f64) -> f64 {
        self.slope * raw + self.intercept
    }

    /// What a part of a sum adds to the log-odds.
    pub fn part(self, raw: f64) -> f64 {
        self.slope * raw
    }

    /// Checks what was read from a file.
    pub fn check(self) -> Result<(), String> {
        if SLOPES.contains(&self.slope) && self.intercept.abs() <= 1e100 {
            Ok(())
        } else {
            Err("its calibration is no line that rises".into())
        }
    }
}

fn loss(raw: &[f64], targets: &[f64], line: Platt) -> f64 {
    raw.iter().zip(targets).map(|(&raw, &target)| log_loss(line.log_odds(raw), target)).sum()
}

/// The line of least loss.
fn newton(raw: &[f64], targets: &[f64]) -> Platt {
    let mean = targets.iter().sum::<f64>() / targets.len() as f64;
    let mut line = Platt { slope: 0.0, intercept: (mean / (1.0 - mean)).ln() };
    let mut best = loss(raw, targets, line);
    for _ in 0..MAX_ITER {
        let (mut slope, mut intercept) = (0.0, 0.0);
        let (mut squares, mut products, mut weights) = (1e-12, 0.0, 1e-12);
        for (&raw, &target) in raw.iter().zip(targets) {
            let p = sigmoid(line.log_odds(raw));
            let (error, weight) = (p - target, p * (1.0 - p));
            slope += error * raw;
            intercept += error;
            squares += weight * raw * raw;
            products += weight * raw;
            weights += weight;
        }
        let determinant = squares * weights - products * products;
        let step = (
            (weights * slope - products * intercept) / determinant,
            (squares * intercept - products * slope) / determinant,
        );
        let decrement = step.0 * slope + step.1 * intercept;
        let better = (0..30).map(|halvings| 0.5f64.powi(halvings)).find_map(|share| {
            let next = Platt { slope: line.slope - share * step.0, intercept: line.intercept - share * step.1 };
            let loss = loss(raw, targets, next);
            (loss < best).then_some((next, loss))
        });
        let Some((next, loss)) = better else { break };
        (line, best) = (next, loss);
        if decrement < 1e-12 {
            break;
        }
    }
    line
}

/// The intercept of least loss beside this slope, where the mean probability is the mean target.
fn intercept(raw: &[f64], targets: &[f64], slope: f64) -> f64 {
    let wanted: f64 = targets.iter().sum();
    let reach = raw.iter().fold(0.0f64, |reach, raw| reach.max((slope * raw).abs())) + 100.0;
    let (mut low, mut high) = (-reach, reach);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        let sum: f64 = raw.iter().map(|raw| sigmoid(slope * raw + middle)).sum();
        if sum < wanted { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}
