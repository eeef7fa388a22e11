//! What was learned, and scores by it.

use burn::tensor::{Device, Tensor, TensorData};
use clustering::matrix::Matrix;
use clustering::ops::is_cpu;
use serde::{Deserialize, Serialize};

use crate::dense::in_blocks;
use crate::{Array, ArrayMut, Explanation, Learned, Score, Scores};

use super::MAX_WIDTH;
use super::network::{Network, largest_output, n_weights};
use super::standard::{LIMIT, Standard};

/// A trained autoencoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconstruction {
    /// How many values come out of each layer, the input first: `n_features`, encoder, decoder, `n_features`.
    widths: Vec<usize>,
    /// Standardised values go into the network held within this bound on both sides of 0.
    clip: f32,
    /// What is subtracted before the network and added after it: `(n_features)`.
    center: Array<f32>,
    /// What is divided by before the network and multiplied by after it, 0 for a feature that does not vary: `(n_features)`.
    scale: Array<f32>,
    /// Layer after layer, `(n_inputs, n_outputs)` weights and `(n_outputs)` biases: `(n_weights)`.
    weights: Array<f32>,
}

impl Reconstruction {
    pub(super) fn new(widths: Vec<usize>, clip: f32, standard: Standard, weights: Vec<f32>) -> Self {
        let n_features = standard.center.len();
        Self {
            widths,
            clip,
            center: Array::new([n_features], standard.center),
            scale: Array::new([n_features], standard.scale),
            weights: Array::new([weights.len()], weights),
        }
    }

    /// How many values come out of each layer, the input first: `n_features`, encoder, decoder, `n_features`.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    fn check_shapes(&self, n_features: usize) -> Result<(), String> {
        let n_layers = self.widths.len();
        if n_layers < 3 || self.widths[0] != n_features || self.widths[n_layers - 1] != n_features {
            return Err(format!("its layers do not lead from {n_features} features back to them"));
        }
        if self.widths[1..n_layers - 1].iter().any(|width| !(1..=MAX_WIDTH).contains(width)) {
            return Err(format!("a layer of its network is not between 1 and {MAX_WIDTH} wide"));
        }
        if !n_weights(&self.widths).is_some_and(|n| self.weights.has_shape(&[n])) {
            return Err("it has not as many weights as its layers take".to_owned());
        }
        if !self.center.has_shape(&[n_features]) || !self.scale.has_shape(&[n_features]) {
            return Err(format!("its centre and scale are not {n_features} features wide"));
        }
        Ok(())
    }
}

impl Learned for Reconstruction {
    fn check(&self, n_features: usize) -> Result<(), String> {
        self.check_shapes(n_features)?;
        if !self.center.is_finite() || self.center.values().iter().any(|center| center.abs() > LIMIT) {
            return Err(format!("its centre is not between {:e} and {LIMIT:e}", -LIMIT));
        }
        if !self.scale.values().iter().all(|&scale| scale == 0.0 || (LIMIT.recip()..=LIMIT).contains(&scale)) {
            return Err(format!("its scale is neither 0 nor between {:e} and {LIMIT:e}", LIMIT.recip()));
        }
        if !(self.clip > 0.0 && self.clip <= LIMIT) {
            return Err(format!("the bound of what goes into its network is not between 0 and {LIMIT:e}"));
        }
        if !self.weights.is_finite() {
            return Err("its weights are not all finite".to_owned());
        }
        // So that nothing on the way is infinite either, nor the difference of two infinities.
        if largest_output(&self.widths, self.weights.values(), f64::from(self.clip)) > f64::from(LIMIT) {
            return Err(format!("its weights are so large that more than {LIMIT:e} may come out of the network"));
        }
        Ok(())
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        vec![
            ("center", ArrayMut::F32(&mut self.center)),
            ("scale", ArrayMut::F32(&mut self.scale)),
            ("weights", ArrayMut::F32(&mut self.weights)),
        ]
    }

    fn on_device(&self, device: &Device) -> Box<dyn Score> {
        Box::new(OnDevice::new(self, device))
    }
}

/// An autoencoder on a device.
#[derive(Debug)]
struct OnDevice {
    network: Network,
    clip: f32,
    /// `(1, n_features)`, as are the two below.
    center: Tensor<2>,
    scale: Tensor<2>,
    /// 1 / scale, and 0 where that is 0.
    inverse_scale: Tensor<2>,
    n_features: usize,
    /// Rows that are one tensor.
    rows_a_block: usize,
    device: Device,
}

impl OnDevice {
    fn new(learned: &Reconstruction, device: &Device) -> Self {
        let n_features = learned.center.values().len();
        let row = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [1, n_features]), device);
        let scale = learned.scale.values();
        Self {
            network: Network::new(&learned.widths, learned.weights.values(), device),
            clip: learned.clip,
            center: row(learned.center.values().to_vec()),
            scale: row(scale.to_vec()),
            inverse_scale: row(scale.iter().map(|&scale| if scale == 0.0 { 0.0 } else { scale.recip() }).collect()),
            n_features,
            rows_a_block: if is_cpu(device) { 64 } else { 1024 },
            device: device.clone(),
        }
    }

    /// Rows `(n_rows, n_features)`, held within bounds, and what the network takes them for.
    fn reconstruct(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let x = x.clamp(-LIMIT, LIMIT);
        let standard = (x.clone() - self.center.clone()) * self.inverse_scale.clone();
        let y = self.network.forward(standard.clamp(-self.clip, self.clip)); // (n_rows, n_features)
        (x, y * self.scale.clone() + self.center.clone())
    }

    /// The mean of each row's squared errors: `(n_rows, 1)`.
    fn mean_squared_errors(&self, x: Tensor<2>) -> Tensor<2> {
        let (x, y) = self.reconstruct(x);
        // What is squared is small enough for any sum of it.
        let share = (self.n_features as f32).sqrt().recip();
        ((x - y).clamp(-LIMIT, LIMIT) * share).square().sum_dim(1)
    }
}

impl Score for OnDevice {
    fn score(&self, x: &Matrix) -> Scores {
        Scores::new(in_blocks(x, &self.device, self.rows_a_block, |x| self.mean_squared_errors(x)))
    }

    /// Each feature's part of the mean squared error, and the reconstruction.
    fn explain(&self, x: &Matrix, _: &Scores) -> Option<Vec<Explanation>> {
        // (n_samples, n_features)
        let reconstructions = in_blocks(x, &self.device, self.rows_a_block, |x| self.reconstruct(x).1);
        let share = (self.n_features as f32).sqrt().recip();
        let part = |(x, y): (&f32, &f32)| ((x.clamp(-LIMIT, LIMIT) - y).clamp(-LIMIT, LIMIT) * share).powi(2);
        let explanation = |(row, expected): (&[f32], &[f32])| Explanation {
            contributions: row.iter().zip(expected).map(part).collect(),
            expected: expected.to_vec(),
            is_approximate: false,
        };
        Some(x.rows().zip(reconstructions.chunks_exact(self.n_features)).map(explanation).collect())
    }
}
