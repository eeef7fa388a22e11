//! Logistic regression: the log-odds of an anomaly are a weighted sum of the features.
//!
//! The weights `w` and the intercept `b` are those of the least `|w|² / 2 + C Σ c log(1 + exp(-y (w x + b)))`, where `y` is 1 for
//! an anomaly and -1 for a normal row and `c` is the weight of its class: scikit-learn's objective, so `C` means what it means
//! there. The intercept is not drawn to 0. Newton's method finds them, in float64.
//!
//! A feature's part of the log-odds is its weight times how far its value is from the mean.

mod newton;

use burn::tensor::Device;
use clustering::matrix::Matrix;
use serde::{Deserialize, Serialize};

use super::supervised::{ClassWeight, LogOdds, Parts, Platt, Probabilities, check_validation_fraction};
use super::{Context, Fit, FitError, Learned, Score};
use newton::Problem;

/// Most features: time grows with their square, and that of a step with the third power.
const MAX_FEATURES: usize = 1000;

/// What a weight, an intercept or a mean can be at most, so that no log-odds leave float64.
const LARGEST: f64 = 1e100;

/// Parameters of logistic regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticRegression {
    /// The inverse of the strength of the L2 penalty, as in scikit-learn.
    #[serde(rename = "C")]
    pub c: f64,
    /// How much a row of each class counts; `"balanced"`, or numbers.
    pub class_weight: Option<ClassWeight>,
    /// Most steps.
    pub max_iter: usize,
    /// No step is taken that would lower the mean loss by less.
    pub tol: f64,
    /// The share of the labelled rows, the newest ones, that probabilities are calibrated by.
    pub validation_fraction: f64,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self { c: 1.0, class_weight: None, max_iter: 100, tol: 1e-12, validation_fraction: 0.2 }
    }
}

impl Fit for LogisticRegression {
    type Learned = Coefficients;

    fn check(&self) -> Result<(), String> {
        if !(1e-9..=1e9).contains(&self.c) {
            return Err("C must be between 1e-9 and 1e9, such as 1".into());
        }
        if !(1..=10_000).contains(&self.max_iter) {
            return Err("max_iter must be between 1 and 10000".into());
        }
        if !(1e-15..=1e-3).contains(&self.tol) {
            return Err("tol must be between 1e-15 and 0.001".into());
        }
        check_validation_fraction(self.validation_fraction)?;
        self.class_weight.map_or(Ok(()), ClassWeight::check)
    }

    fn fit(&self, x: &Matrix, _context: &Context<'_>) -> Result<Coefficients, FitError> {
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples: x.n_samples() });
        }
        Err(FitError::NoLabels)
    }

    fn fit_labelled(
        &self,
        x: &Matrix,
        labels: &[Option<bool>],
        context: &Context<'_>,
    ) -> Result<Coefficients, FitError> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        assert_eq!(labels.len(), n_samples, "a label a row");
        if n_features > MAX_FEATURES {
            let why = format!("logistic-regression takes at most {MAX_FEATURES} features; use gradient-boosting");
            return Err(FitError::TooLarge { n_samples, n_features, why });
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        let Parts { older, newest } = Parts::split(labels, self.validation_fraction)?;
        let weights = ClassWeight::of(self.class_weight, &older);
        let problem = Problem::new(x, &older, weights, self.c);
        let (coefficients, intercept) = problem.minimum(self.max_iter, self.tol)?;
        let mut learned =
            Coefficients { means: problem.into_means(), coefficients, intercept, calibration: Platt::IDENTITY };
        let raw: Vec<f64> = newest.rows.iter().map(|&row| learned.log_odds(x.row(row))).collect();
        learned.calibration = Platt::fit(&raw, &newest.is_anomaly);
        learned.check(n_features).map_err(|problem| FitError::Numeric(format!("logistic regression: {problem}")))?;
        (context.on_step)();
        Ok(learned)
    }
}

/// What logistic regression learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coefficients {
    /// The mean of each feature: `(n_features)`.
    means: Vec<f64>,
    /// The weight of each feature: `(n_features)`.
    coefficients: Vec<f64>,
    /// The log-odds of a row of means.
    intercept: f64,
    /// From these log-odds to those that are believed.
    calibration: Platt,
}

impl Learned for Coefficients {
    fn check(&self, n_features: usize) -> Result<(), String> {
        if self.means.len() != n_features || self.coefficients.len() != n_features {
            return Err(format!("its coefficients are not of {n_features} features"));
        }
        let numbers = self.means.iter().chain(&self.coefficients).chain([&self.intercept]);
        if numbers.into_iter().any(|number| number.is_nan() || number.abs() > LARGEST) {
            return Err("a coefficient, a mean or its intercept is not a number that can be computed with".into());
        }
        self.calibration.check()
    }

    /// One sum a row is less work than its way to a GPU, so every device scores on the CPU.
    fn on_device(&self, _device: &Device) -> Box<dyn Score> {
        Box::new(Probabilities { calibration: self.calibration, model: self.clone() })
    }
}

impl LogOdds for Coefficients {
    fn log_odds(&self, row: &[f32]) -> f64 {
        let parts = self.coefficients.iter().zip(&self.means).zip(row);
        self.intercept + parts.map(|((weight, mean), &value)| weight * (f64::from(value) - mean)).sum::<f64>()
    }

    fn parts(&self, row: &[f32], parts: &mut [f64]) {
        let values = self.coefficients.iter().zip(&self.means).zip(row);
        parts.iter_mut().zip(values).for_each(|(part, ((weight, mean), &value))| {
            *part = weight * (f64::from(value) - mean);
        });
    }

    fn base(&self) -> f64 {
        self.intercept
    }

    fn expected(&self) -> Vec<f32> {
        self.means.iter().map(|&mean| mean as f32).collect()
    }
}

#[cfg(test)]
mod tests;
