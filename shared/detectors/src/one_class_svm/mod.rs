//! The one-class support vector machine (Schölkopf, Platt, Shawe-Taylor, Smola and Williamson, "Estimating the support
//! of a high-dimensional distribution", 2001) with the kernel exp(-γ |x - y|²): a boundary around most of the rows.
//!
//! With as many rows as [`max_exact`](OneClassSvm::max_exact), the dual problem is solved as libsvm does, by sequential
//! minimal optimization. With more, whose kernel matrix would be too large, the kernel is approximated by random
//! Fourier features (Rahimi and Recht, "Random features for large-scale kernel machines", 2007), and the machine is a
//! linear one in them, trained by tensor arithmetic on the device.

mod fourier;
mod kernel;
mod linear;
mod model;
mod smo;

use clustering::matrix::Matrix;
use serde::{Deserialize, Serialize};

use super::{Array, Context, Fit, FitError, Learned};

pub use model::{FourierMachine, KernelMachine, SupportVectorMachine};

/// The default of [`OneClassSvm::max_exact`].
const MAX_EXACT: usize = 12_000;

/// Bytes of kernel rows that are remembered, where no other bound is given: those of the largest problem that is exact by
/// default.
const STATE_BYTES: usize = size_of::<f32>() * MAX_EXACT * MAX_EXACT;

/// Anomalies by a one-class support vector machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneClassSvm {
    /// The most training rows that may be outside of the boundary, and the least that are support vectors, as a share,
    /// in (0, 1].
    pub nu: f64,
    /// What multiplies squared distances in the kernel; without it, 1 / n_features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Random frequencies, where the kernel is approximated.
    pub n_components: usize,
    /// Most rows that the exact problem is solved for: its time grows with their square.
    pub max_exact: usize,
    /// How far the solution may be from an exact one; as libsvm's `eps`.
    pub tol: f64,
}

impl Default for OneClassSvm {
    fn default() -> Self {
        Self { nu: 0.5, gamma: None, n_components: 512, max_exact: MAX_EXACT, tol: 1e-3 }
    }
}

impl Fit for OneClassSvm {
    type Learned = SupportVectorMachine;

    fn check(&self) -> Result<(), String> {
        if !(self.nu > 0.0 && self.nu <= 1.0) {
            return Err("nu must be above 0 and at most 1".to_owned());
        }
        if self.gamma.is_some_and(|gamma| !(1e-12..=1e12).contains(&gamma)) {
            return Err("gamma must be between 1e-12 and 1e12".to_owned());
        }
        if !(1..=16_384).contains(&self.n_components) {
            return Err("n_components must be between 1 and 16384".to_owned());
        }
        if self.max_exact > 50_000 {
            return Err("max_exact must be at most 50000".to_owned());
        }
        if !(1e-6..=0.1).contains(&self.tol) {
            return Err("tol must be between 0.000001 and 0.1".to_owned());
        }
        Ok(())
    }

    fn fit(&self, x: &Matrix, context: &Context<'_>) -> Result<SupportVectorMachine, FitError> {
        let (n_samples, n_features) = (x.n_samples(), x.n_features());
        if n_samples < 2 {
            return Err(FitError::TooFewRows { n_samples, needed: 2, why: "a boundary".to_owned() });
        }
        if x.is_constant() {
            return Err(FitError::AllEqual { n_samples });
        }
        let model = if n_samples <= self.max_exact {
            SupportVectorMachine::Kernel(self.exact(x, context))
        } else {
            SupportVectorMachine::Fourier(linear::fit(x, self, self.gamma(n_features), context))
        };
        model.check(n_features).map_err(|problem| FitError::Numeric(format!("one-class SVM: {problem}")))?;
        (context.on_step)();
        Ok(model)
    }

    fn changes_after(&self) -> usize {
        self.max_exact
    }
}

impl OneClassSvm {
    fn gamma(&self, n_features: usize) -> f32 {
        self.gamma.unwrap_or(1.0 / n_features as f64) as f32
    }

    fn exact(&self, x: &Matrix, context: &Context<'_>) -> KernelMachine {
        let gamma = self.gamma(x.n_features());
        let bytes = context.max_state_bytes.unwrap_or(STATE_BYTES);
        let solution = smo::solve(kernel::CachedRows::new(x, gamma, bytes), self.nu, self.tol);
        let support: Vec<usize> = (0..x.n_samples()).filter(|&index| solution.alpha[index] > 0.0).collect();
        let vectors = support.iter().flat_map(|&index| x.row(index).iter().copied()).collect::<Vec<f32>>();
        // The coefficients add up to 1, so scores of many rows and of few are alike.
        let total: f64 = support.iter().map(|&index| solution.alpha[index]).sum();
        let coefficients: Vec<f32> = support.iter().map(|&index| (solution.alpha[index] / total) as f32).collect();
        KernelMachine {
            support_vectors: Array::new([support.len(), x.n_features()], vectors),
            coefficients: Array::new([support.len()], coefficients),
            gamma,
            rho: (solution.rho / total) as f32,
        }
    }
}

#[cfg(test)]
mod tests;
