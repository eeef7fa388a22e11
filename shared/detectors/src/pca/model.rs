//! What principal components score rows with.

use burn::tensor::{Device, Tensor};
use clustering::matrix::Matrix;
use clustering::ops::is_cpu;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::PcaScore;
use crate::dense::{Packed, finite, in_blocks, map_chunks};
use crate::{Array, ArrayMut, Explanation, Learned, Score, Scores};

/// Rows that a device scores at a time.
const BLOCK: usize = 2048;

/// Principal components and what they weigh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalComponents {
    /// What the score is made of.
    pub score: PcaScore,
    /// `(n_features)`
    pub mean: Array<f32>,
    /// Orthogonal unit vectors, the one with the largest variance first: `(n_components, n_features)`.
    pub components: Array<f32>,
    /// What a squared coordinate adds to the score: `(n_components)`.
    pub component_weights: Array<f32>,
    /// What the squared length of the residual adds to the score.
    pub residual_weight: f32,
}

impl Learned for PrincipalComponents {
    fn check(&self, n_features: usize) -> Result<(), String> {
        let n_components = self.component_weights.shape().first().copied().unwrap_or(0);
        if !self.mean.has_shape(&[n_features]) {
            return Err(format!("its mean is not of {n_features} features"));
        }
        if n_components > n_features || !self.component_weights.has_shape(&[n_components]) {
            return Err(format!("it has not one weight for each of at most {n_features} components"));
        }
        if !self.components.has_shape(&[n_components, n_features]) {
            return Err(format!("its components are not {n_components} of {n_features} features"));
        }
        if !(self.mean.is_finite() && self.components.is_finite()) {
            return Err("its mean or its components are not finite".to_owned());
        }
        let mut weights = self.component_weights.values().iter().chain([&self.residual_weight]);
        if !weights.all(|weight| weight.is_finite() && *weight >= 0.0) {
            return Err("its weights are not finite, or negative".to_owned());
        }
        Ok(())
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        vec![("mean", ArrayMut::F32(&mut self.mean)), ("components", ArrayMut::F32(&mut self.components))]
    }

    fn on_device(&self, device: &Device) -> Box<dyn Score> {
        if is_cpu(device) {
            return Box::new(PcaScorer { arithmetic: self.on_cpu(), exact: Exact::of(self) });
        }
        Box::new(PcaScorer { arithmetic: self.on_gpu(device), exact: Exact::of(self) })
    }
}

impl PrincipalComponents {
    fn n_features(&self) -> usize {
        self.mean.values().len()
    }

    fn n_components(&self) -> usize {
        self.component_weights.values().len()
    }

    /// Whether there is anything beside the components.
    fn has_residual(&self) -> bool {
        self.n_components() < self.n_features()
    }

    pub(super) fn on_cpu(&self) -> PcaArithmetic {
        let (p, k) = (self.n_features(), self.n_components());
        let onto = Packed::new(p, k, |feature, component| self.components.row(component)[feature]);
        let entry = |component: usize, feature: usize| {
            if component < k { self.components.row(component)[feature] } else { 0.0 }
        };
        let back = (self.has_residual() && k > 0).then(|| Packed::new(onto.width(), p, entry));
        PcaArithmetic::Cpu { onto, back, model: self.clone() }
    }

    pub(super) fn on_gpu(&self, device: &Device) -> PcaArithmetic {
        let (p, k) = (self.n_features(), self.n_components());
        let tensor =
            |n_columns: usize, values: &[f32]| Matrix::from_values(n_columns, values.to_vec()).to_tensor(device);
        let components = (k > 0).then(|| {
            let weights = tensor(k, self.component_weights.values()); // (1, n_components)
            (tensor(p, self.components.values()), weights)
        });
        PcaArithmetic::Gpu {
            device: device.clone(),
            mean: tensor(p, self.mean.values()),
            components,
            residual_weight: self.has_residual().then_some(self.residual_weight),
        }
    }
}

/// The model where it computes.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a detector has one of it")]
pub(super) enum PcaArithmetic {
    /// On the CPU.
    Cpu {
        /// Rows to coordinates: `(n_features, n_components)`.
        onto: Packed,
        /// Coordinates to rows: `(n_components rounded up, n_features)`, where there is a residual.
        back: Option<Packed>,
        model: PrincipalComponents,
    },
    /// On a device that tensors are sent to.
    Gpu {
        device: Device,
        /// `(1, n_features)`
        mean: Tensor<2>,
        /// `(n_components, n_features)` and `(1, n_components)`, where there are any.
        components: Option<(Tensor<2>, Tensor<2>)>,
        /// Where there is a residual.
        residual_weight: Option<f32>,
    },
}

impl PcaArithmetic {
    /// The scores `(n_samples)`.
    pub fn score(&self, x: &Matrix) -> Vec<f32> {
        let mut scores = match self {
            Self::Cpu { onto, back, model } => map_chunks(x, |rows| score_rows(model, onto, back.as_ref(), rows)),
            Self::Gpu { device, .. } => in_blocks(x, device, BLOCK, |x| self.score_block(x)),
        };
        scores.iter_mut().for_each(|score| *score = finite(*score));
        scores
    }

    /// `(block, n_features) -> (block, 1)`
    fn score_block(&self, x: Tensor<2>) -> Tensor<2> {
        let Self::Gpu { mean, components, residual_weight, .. } = self else { return x };
        let centered = x - mean.clone(); // (block, n_features)
        let Some((components, weights)) = components else {
            return squared_lengths(centered).mul_scalar(residual_weight.unwrap_or(0.0));
        };
        let coordinates = centered.clone().matmul(components.clone().transpose()); // (block, n_components)
        let squares = coordinates.clone() * coordinates.clone() * weights.clone(); // (block, n_components)
        let score = squares.sum_dim(1); // (block, 1)
        let Some(residual_weight) = residual_weight else { return score };
        let residual = centered - coordinates.matmul(components.clone()); // (block, n_features)
        score + squared_lengths(residual).mul_scalar(*residual_weight)
    }
}

fn squared_lengths(x: Tensor<2>) -> Tensor<2> {
    (x.clone() * x).sum_dim(1)
}

/// The scores of `rows` `(n_rows, n_features)` on the CPU.
fn score_rows(model: &PrincipalComponents, onto: &Packed, back: Option<&Packed>, rows: &[f32]) -> Vec<f32> {
    let mean = model.mean.values();
    let centered: Vec<f32> =
        rows.chunks_exact(mean.len()).flat_map(|row| row.iter().zip(mean)).map(|(x, m)| x - m).collect();
    let width = onto.width();
    let coordinates = onto.products(&centered); // (n_rows, width)
    let restored = back.map(|back| (back.products(&coordinates), back.width()));
    let weights = model.component_weights.values();
    let score = |(index, row): (usize, &[f32])| {
        let along: f32 = coordinates[index * width..]
            .iter()
            .zip(weights)
            .map(|(coordinate, weight)| coordinate * coordinate * weight)
            .sum();
        let squared = match &restored {
            Some((restored, width)) => row.iter().zip(&restored[index * width..]).map(|(x, r)| (x - r) * (x - r)).sum(),
            None if width == 0 => row.iter().map(|x| x * x).sum(),
            None => 0.0_f32,
        };
        along + model.residual_weight * squared
    };
    centered.chunks_exact(mean.len()).enumerate().map(score).collect()
}

/// A model on a device.
#[derive(Debug)]
struct PcaScorer {
    arithmetic: PcaArithmetic,
    exact: Exact,
}

impl Score for PcaScorer {
    fn score(&self, x: &Matrix) -> Scores {
        Scores::new(self.arithmetic.score(x))
    }

    fn explain(&self, x: &Matrix, _: &Scores) -> Option<Vec<Explanation>> {
        let rows: Vec<&[f32]> = x.rows().collect();
        Some(rows.into_par_iter().map(|row| self.exact.explain(row)).collect())
    }
}

/// The score as a quadratic form: with the components V and their weights w, `(x - m)ᵀ Q (x - m)` with
/// `Q = Vᵀ diag(w) V + r (I - Vᵀ V)`.
#[derive(Debug)]
struct Exact {
    model: PrincipalComponents,
    /// The diagonal of Q: `(n_features)`.
    diagonal: Vec<f64>,
}

impl Exact {
    fn of(model: &PrincipalComponents) -> Self {
        let residual_weight = if model.has_residual() { f64::from(model.residual_weight) } else { 0.0 };
        let mut diagonal = vec![residual_weight; model.n_features()];
        for (component, &weight) in model.component_weights.values().iter().enumerate() {
            for (entry, &value) in diagonal.iter_mut().zip(model.components.row(component)) {
                *entry += (f64::from(weight) - residual_weight) * f64::from(value).powi(2);
            }
        }
        Self { model: model.clone(), diagonal }
    }

    /// A feature's part of a residual is its square, and normal would be the reconstruction; its part of a quadratic
    /// form is its own factor times what it is multiplied with, and normal would be the value that makes the score
    /// least while the other features are as they are.
    fn explain(&self, row: &[f32]) -> Explanation {
        let model = &self.model;
        let centered: Vec<f64> =
            row.iter().zip(model.mean.values()).map(|(&x, &m)| f64::from(x) - f64::from(m)).collect();
        let mut weighted = vec![0.0; row.len()]; // Vᵀ diag(w) V (x - m)
        let mut residual = centered.clone(); // (I - Vᵀ V) (x - m)
        for (index, &weight) in model.component_weights.values().iter().enumerate() {
            let component = model.components.row(index);
            let coordinate: f64 = component.iter().zip(&centered).map(|(&v, c)| f64::from(v) * c).sum();
            for ((weighted, residual), &v) in weighted.iter_mut().zip(&mut residual).zip(component) {
                *weighted += f64::from(weight) * coordinate * f64::from(v);
                *residual -= coordinate * f64::from(v);
            }
        }
        let residual_weight = if model.has_residual() { f64::from(model.residual_weight) } else { 0.0 };
        let part = |index: usize| match model.score {
            PcaScore::Reconstruction => (residual[index].powi(2) * residual_weight, residual[index]),
            PcaScore::Components => {
                let gradient = weighted[index] + residual_weight * residual[index];
                let curvature = self.diagonal[index].max(f64::MIN_POSITIVE);
                (centered[index] * gradient, gradient / curvature)
            }
        };
        let parts: Vec<(f64, f64)> = (0..row.len()).map(part).collect();
        Explanation {
            contributions: parts.iter().map(|&(part, _)| finite(part as f32)).collect(),
            expected: row.iter().zip(&parts).map(|(&x, &(_, excess))| finite((f64::from(x) - excess) as f32)).collect(),
            is_approximate: false,
        }
    }
}
