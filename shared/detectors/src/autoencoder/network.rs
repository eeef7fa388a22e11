//! The network: fully connected layers, rectified between them.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use clustering::matrix::host_values;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::dropout::Dropout;

/// `relu(x W + b)` layer after layer, the last one without `relu`.
#[derive(Module, Debug)]
pub(super) struct Network {
    hidden: Vec<Linear>,
    output: Linear,
}

impl Network {
    /// A network of layers as wide as `widths` says, input and output included, on a device.
    ///
    /// `weights` holds, layer after layer, `(n_inputs, n_outputs)` weights and `(n_outputs)` biases: [`n_weights`] in all.
    pub(super) fn new(widths: &[usize], weights: &[f32], device: &Device) -> Self {
        let mut rest = weights;
        let mut take = |n: usize| {
            let (taken, left) = rest.split_at(n);
            rest = left;
            taken.to_vec()
        };
        let mut layer = |ends: &[usize]| {
            let weight = TensorData::new(take(ends[0] * ends[1]), [ends[0], ends[1]]);
            let bias = TensorData::new(take(ends[1]), [ends[1]]);
            Linear { weight: Param::from_data(weight, device), bias: Some(Param::from_data(bias, device)) }
        };
        let (inner, last) = widths.split_at(widths.len() - 2);
        let hidden = (0..inner.len()).map(|index| layer(&widths[index..index + 2])).collect();
        Self { hidden, output: layer(last) }
    }

    /// What the network makes of rows, `(n_samples, n_features)`, as is `x`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.hidden.iter().fold(x, |x, layer| relu(layer.forward(x))); // (n_samples, n_hidden)
        self.output.forward(x) // (n_samples, n_features)
    }

    /// As [`forward`](Self::forward), with a part of the hidden units left out.
    pub(super) fn forward_with(&self, x: Tensor<2>, dropout: &mut Dropout) -> Tensor<2> {
        let x = self.hidden.iter().fold(x, |x, layer| dropout.apply(relu(layer.forward(x)))); // (n_samples, n_hidden)
        self.output.forward(x) // (n_samples, n_features)
    }

    /// All weights, in the order that [`new`](Self::new) takes them in.
    pub(super) fn weights(&self) -> Vec<f32> {
        let mut weights = Vec::new();
        for layer in self.hidden.iter().chain([&self.output]) {
            weights.extend(host_values::<f32>(layer.weight.val().into_data()));
            weights.extend(layer.bias.iter().flat_map(|bias| host_values::<f32>(bias.val().into_data())));
        }
        weights
    }
}

/// How many weights and biases a network of these widths has; nothing where that is more than can be counted.
pub(super) fn n_weights(widths: &[usize]) -> Option<usize> {
    widths.windows(2).try_fold(0usize, |n, ends| n.checked_add(ends[0].checked_add(1)?.checked_mul(ends[1])?))
}

/// Weights to start from, uniform within `1 / sqrt(n_inputs)` on both sides of 0 (LeCun, Bottou, Orr and Müller 1998,
/// section 4.6), so that what goes through a layer keeps its order of magnitude.
///
/// They come from `rng`: burn's own generator is one for the whole process.
pub(super) fn initial_weights(widths: &[usize], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut weights = Vec::with_capacity(n_weights(widths).unwrap_or(0));
    for ends in widths.windows(2) {
        let bound = 1.0 / (ends[0] as f32).sqrt();
        weights.extend((0..(ends[0] + 1) * ends[1]).map(|_| (2.0 * rng.random::<f32>() - 1.0) * bound));
    }
    weights
}

/// The largest value that can leave a network whose inputs are within `bound` on both sides of 0.
pub(super) fn largest_output(widths: &[usize], weights: &[f32], bound: f64) -> f64 {
    let mut rest = weights;
    let mut bound = bound;
    for ends in widths.windows(2) {
        let (weight, left) = rest.split_at(ends[0] * ends[1]);
        let (bias, left) = left.split_at(ends[1]);
        rest = left;
        let mut sums: Vec<f64> = bias.iter().map(|&b| f64::from(b).abs()).collect(); // (n_outputs)
        for row in weight.chunks_exact(ends[1]) {
            sums.iter_mut().zip(row).for_each(|(sum, &w)| *sum += f64::from(w).abs() * bound);
        }
        bound = sums.into_iter().fold(0.0, f64::max);
    }
    bound
}
