//! What robust distances are computed with.

use burn::tensor::{Device, Tensor};
use clustering::matrix::Matrix;
use clustering::ops::is_cpu;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dense::{Packed, finite, in_blocks, map_chunks};
use crate::{Array, ArrayMut, Explanation, Learned, Score, Scores};

/// Rows that a device scores at a time.
const BLOCK: usize = 2048;

/// A robust centre and covariance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobustCovariance {
    /// `(n_features)`
    pub location: Array<f32>,
    /// The factor W of the precision P = W Wᵀ, the covariance's inverse: `(n_features, n_features)`.
    pub factor: Array<f32>,
}

impl Learned for RobustCovariance {
    fn check(&self, n_features: usize) -> Result<(), String> {
        if !self.location.has_shape(&[n_features]) {
            return Err(format!("its location is not of {n_features} features"));
        }
        if !self.factor.has_shape(&[n_features, n_features]) {
            return Err(format!("its factor is not {n_features} by {n_features}"));
        }
        if !(self.location.is_finite() && self.factor.is_finite()) {
            return Err("its location or its factor is not finite".to_owned());
        }
        Ok(())
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        vec![("location", ArrayMut::F32(&mut self.location)), ("factor", ArrayMut::F32(&mut self.factor))]
    }

    fn on_device(&self, device: &Device) -> Box<dyn Score> {
        let arithmetic = if is_cpu(device) { self.on_cpu() } else { self.on_gpu(device) };
        Box::new(McdScorer { model: self.clone(), arithmetic })
    }
}

impl RobustCovariance {
    pub(super) fn on_cpu(&self) -> McdArithmetic {
        let n_features = self.location.values().len();
        let factor = Packed::new(n_features, n_features, |feature, column| self.factor.row(feature)[column]);
        McdArithmetic::Cpu { location: self.location.values().to_vec(), factor }
    }

    pub(super) fn on_gpu(&self, device: &Device) -> McdArithmetic {
        let tensor = |array: &Array<f32>| {
            Matrix::from_values(self.location.values().len(), array.values().to_vec()).to_tensor(device)
        };
        McdArithmetic::Gpu { device: device.clone(), location: tensor(&self.location), factor: tensor(&self.factor) }
    }
}

/// The model where it computes.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a detector has one of it")]
pub(super) enum McdArithmetic {
    /// On the CPU.
    Cpu {
        /// `(n_features)`
        location: Vec<f32>,
        /// `(n_features, n_features)`
        factor: Packed,
    },
    /// On a device that tensors are sent to.
    Gpu {
        device: Device,
        /// `(1, n_features)`
        location: Tensor<2>,
        /// `(n_features, n_features)`
        factor: Tensor<2>,
    },
}

impl McdArithmetic {
    /// The squared distances `(n_samples)`.
    pub fn score(&self, x: &Matrix) -> Vec<f32> {
        let mut scores = match self {
            Self::Cpu { location, factor } => map_chunks(x, |rows| score_rows(location, factor, rows)),
            Self::Gpu { device, location, factor } => in_blocks(x, device, BLOCK, |x| {
                let whitened = (x - location.clone()).matmul(factor.clone()); // (block, n_features)
                (whitened.clone() * whitened).sum_dim(1) // (block, 1)
            }),
        };
        scores.iter_mut().for_each(|score| *score = finite(*score));
        scores
    }
}

/// The squared distances of `rows` `(n_rows, n_features)` on the CPU.
fn score_rows(location: &[f32], factor: &Packed, rows: &[f32]) -> Vec<f32> {
    let centered = rows.chunks_exact(location.len()).flat_map(|row| row.iter().zip(location)).map(|(x, m)| x - m);
    let whitened = factor.products(&centered.collect::<Vec<f32>>()); // (n_rows, width)
    whitened.chunks_exact(factor.width()).map(|row| row.iter().map(|value| value * value).sum()).collect()
}

/// A model on a device.
#[derive(Debug)]
struct McdScorer {
    model: RobustCovariance,
    arithmetic: McdArithmetic,
}

impl Score for McdScorer {
    fn score(&self, x: &Matrix) -> Scores {
        Scores::new(self.arithmetic.score(x))
    }

    fn explain(&self, x: &Matrix, _: &Scores) -> Option<Vec<Explanation>> {
        let rows: Vec<&[f32]> = x.rows().collect();
        Some(rows.into_par_iter().map(|row| self.model.explain(row)).collect())
    }
}

impl RobustCovariance {
    /// A feature's part of d² = (x - m)ᵀ P (x - m) is its own factor times what it is multiplied with. What would have
    /// been normal is its expectation, given all other features, of a normal distribution.
    fn explain(&self, row: &[f32]) -> Explanation {
        let n_features = row.len();
        let centered: Vec<f64> =
            row.iter().zip(self.location.values()).map(|(&x, &m)| f64::from(x) - f64::from(m)).collect();
        let mut whitened = vec![0.0; n_features];
        for (feature, value) in centered.iter().enumerate() {
            whitened.iter_mut().zip(self.factor.row(feature)).for_each(|(sum, &w)| *sum += value * f64::from(w));
        }
        let part = |feature: usize| {
            let weights = self.factor.row(feature);
            let gradient: f64 = weights.iter().zip(&whitened).map(|(&w, value)| f64::from(w) * value).sum();
            let precision: f64 = weights.iter().map(|&w| f64::from(w).powi(2)).sum();
            (centered[feature] * gradient, gradient / precision.max(f64::MIN_POSITIVE))
        };
        let parts: Vec<(f64, f64)> = (0..n_features).map(part).collect();
        Explanation {
            contributions: parts.iter().map(|&(part, _)| finite(part as f32)).collect(),
            expected: row.iter().zip(&parts).map(|(&x, &(_, excess))| finite((f64::from(x) - excess) as f32)).collect(),
            is_approximate: false,
        }
    }
}
